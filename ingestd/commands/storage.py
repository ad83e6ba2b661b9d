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


@storage.command(name="verify")
def verify(config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False) -> None:
    """Reads every received file and every log, and lists what is missing or not what was written. Exit code 1 then."""
    from dataclasses import asdict

    from ingestd import printing
    from ingestd.verifying import Verifier

    house, found = opened(config, home), 0
    with printing.progress() as progress:
        task = progress.add_task("files and logs", total=None)
        verifier = Verifier(ledger=house.ledger, spool=house.spool, logs=house.logs)
        for fault in verifier.faults(lambda done, of: progress.update(task, completed=done, total=of)):
            found += 1
            told = json.dumps(asdict(fault)) if as_json else f"delivery {fault.delivery}: {fault.key}: {fault.what}"
            typer.echo(told)
    if found:
        typer.echo(f"{found:,} are missing or damaged: put them back from a backup or a copy", err=True)
        raise typer.Exit(1)
    if not as_json:
        typer.echo("every file and every log is what was written")


@storage.command(name="adopt")
def adopt(config: Config = CONFIG, home: Home = HOME) -> None:
    """Notes that the files of the store were copied to the configured storage, once all of them are found there."""
    from ingestd.house import open_house
    from ingestd.store.migrations import upgrade

    house = open_house(config.resolve(), home.resolve())
    upgrade(house.engine)
    known = house.whereabouts.adopt(house.spool)
    typer.echo(f"{house.storage} has the files of all {known:,} deliveries")
