"""`ingestd storage`: where received files and logs are kept."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ingestd.commands.options import CONFIG, HOME, AsJson, Config, Home, opened

storage = typer.Typer(help="Where received files and logs are kept.", no_args_is_help=True)


@storage.command(name="orphans")
def orphans(
    move: Annotated[bool, typer.Option("--move", help="Move them to orphans/; nothing is ever deleted.")] = False,
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Lists received files older than a day that no delivery names: left by a crash before the sender was answered."""
    house = opened(config, home)
    known = house.ledger.known_spool_key
    for each in list(house.spool.orphans(known)):
        moved = house.spool.put_aside(each.key, known) if move else ""
        if as_json:
            typer.echo(json.dumps({"key": each.key, "bytes": each.size, "moved_to": moved or None}))
        else:
            told = f" -> {moved}" if moved else ""
            typer.echo(f"{each.key}  {each.size:,} bytes, {each.modified:%Y-%m-%d %H:%M}{told}")


@storage.command(name="adopt")
def adopt(config: Config = CONFIG, home: Home = HOME) -> None:
    """Notes that the files of the store were copied to the configured storage, once all of them are found there."""
    from ingestd.house import open_house
    from ingestd.store.migrations import upgrade

    house = open_house(config.resolve(), home.resolve())
    upgrade(house.engine)
    known = house.whereabouts.adopt(house.spool)
    typer.echo(f"{house.storage} has the files of all {known:,} deliveries")
