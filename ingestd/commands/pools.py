"""`ingestd pools`: lists the lead pools, and does something with a whole one.

Heavy modules are imported inside the commands, as in `cli`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ingestd import printing
from ingestd.commands import reruns
from ingestd.commands.mappings import FromFile, Pairs
from ingestd.commands.options import (
    CONFIG,
    HOME,
    As,
    AsJson,
    Config,
    Home,
    Limit,
    Why,
    caller,
    delivery_of,
    opened,
    spelt,
)

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from ingestd.store.audit import Deed

pools = typer.Typer(help="Lead pools with their totals; and what is done with a whole one.")

Number = Annotated[int, typer.Argument(help="The pool's number.", metavar="POOL")]


@pools.callback(invoke_without_command=True)
def list_pools(
    context: typer.Context,
    config: Config = CONFIG,
    home: Home = HOME,
    limit: Limit = 50,
    campaign: Annotated[str | None, typer.Option("--campaign", help="Only of this campaign.")] = None,
    kpi: Annotated[
        list[str] | None,
        typer.Option("--kpi", help="Adds a figure, such as success_rate, count:busy, share:success, first:success."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Lists the lead pools with their totals."""
    if context.invoked_subcommand is not None:
        return
    from ingestd.leads import kpis
    from ingestd.store import pools as queries
    from ingestd.store.engine import reading
    from ingestd.store.ledger import now
    from ingestd.store.tables import campaigns

    with reading(opened(config, home).engine) as connection:
        code = spelt(connection, campaigns.c.code, campaign, "campaign") if campaign else None
        found = queries.latest(connection, limit=limit, campaign=code)
        figures = kpis.measured_all(connection, [pool["id"] for pool in found], kpi or (), now())
        for pool in found:
            pool["kpis"] = {each.name: figure for each, figure in figures[pool["id"]]}
        if as_json:
            for pool in found:
                pool["owners"] = queries.owners(connection, pool["id"])
    if as_json:
        printing.print_json(found)
        return
    table = printing.table_of(
        "id", "pool", "project", "campaign", "state", "ready", "open", "% closed", "total", "uploaded by",
        *(kpi or ()),
    )  # fmt: skip
    for pool in found:
        table.add_row(
            str(pool["id"]), pool["name"], pool["project"], pool["campaign"], pool["state"],
            f"{pool['ready_to_dial']:,}", f"{pool['total_open']:,}", f"{pool['percent_closed']}", f"{pool['total']:,}",
            pool["uploaded_by"], *("" if each is None else f"{each:,}" for each in pool["kpis"].values()),
        )  # fmt: skip
    printing.print_table(table)


@pools.command()
def activate(number: Number, by: As, why: Why = "", config: Config = CONFIG, home: Home = HOME) -> None:
    """Lets the leads of an inactive pool be called again."""
    from ingestd.leads import pools as deeds

    with _doing(config, home, by, why) as (connection, deed):
        deeds.activate(connection, deed, number)
    typer.echo(f"pool {number} is active")


@pools.command()
def deactivate(number: Number, by: As, why: Why = "", config: Config = CONFIG, home: Home = HOME) -> None:
    """Stops the calls of an active pool, but those of VIP and Private redials."""
    from ingestd.leads import pools as deeds

    with _doing(config, home, by, why) as (connection, deed):
        deeds.deactivate(connection, deed, number)
    typer.echo(f"pool {number} is inactive")


@pools.command()
def shuffle(number: Number, by: As, why: Why = "", config: Config = CONFIG, home: Home = HOME) -> None:
    """Has the leads of a pool dialled in a random order, in place of the file's."""
    from ingestd.leads import pools as deeds

    with _doing(config, home, by, why) as (connection, deed):
        count = deeds.shuffle(connection, deed, number)
    typer.echo(f"pool {number}: {count:,} leads are in a random order")


@pools.command()
def delete(
    number: Number, by: As, why: Why = "", config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False
) -> None:
    """Deletes the leads of a pool that nobody has called or holds, for good; its log stays."""
    from ingestd.leads import pools as deeds
    from ingestd.leads import rights

    with _doing(config, home, by, why) as (connection, deed):
        gone = deeds.delete_unprocessed(
            connection, deed, number, rights.out_of_reach(connection, caller(connection, by))
        )
    if as_json:
        printing.print_json({"deleted": gone.deleted, "kept": dict(gone.kept)})
        return
    typer.echo(f"pool {number}: {gone.deleted:,} deleted")
    for reason, count in gone.kept.items():
        typer.echo(f"{count:,} stay: {reason}")


@pools.command()
def confirm(
    number: Number,
    by: As,
    pairs: Pairs = None,
    from_file: FromFile = None,
    save: reruns.Save = False,
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
) -> None:
    """Has a pool loaded that is awaiting confirmation; columns that still match no field are ignored."""
    house = opened(config, home)
    delivery = delivery_of(house, number, pool=True)
    reruns.confirmed(house, delivery.id, reruns.Asked(by=by, why=why, pairs=pairs, file=from_file, save=save))


@pools.command()
def undo(
    number: Number, by: As, why: Why = "", config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False
) -> None:
    """Takes all leads of a pool back while nobody has worked with them; its log stays, its file may be run again."""
    from ingestd.leads import rights, undoing

    ledger = opened(config, home).ledger
    with _doing(config, home, by, why) as (connection, deed):
        undone = undoing.undo(connection, deed, number, ledger, rights.out_of_reach(connection, caller(connection, by)))
    if as_json:
        printing.print_json({"deleted": undone.deleted, "delivery": undone.delivery_id})
        return
    typer.echo(f"pool {number} is undone; leads taken back: {undone.deleted:,}")
    typer.echo(f"delivery {undone.delivery_id} counts as not loaded")


@contextmanager
def _doing(config: Path, home: Path, login: str, why: str) -> Iterator[tuple[Connection, Deed]]:
    """A transaction of a user who may work with pools."""
    from ingestd.store.engine import writing
    from ingestd.store.ledger import now

    with writing(opened(config, home).engine) as connection:
        yield connection, caller(connection, login).deed(now(), why)
