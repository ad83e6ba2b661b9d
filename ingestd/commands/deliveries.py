"""`ingestd deliveries`: lists what was received, and ends or repeats a delivery.

Heavy modules are imported inside the commands, as in `cli`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

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
    deed,
    delivery_of,
    opened,
    spelt,
)

if TYPE_CHECKING:
    from ingestd.house import House
    from ingestd.model import Delivery

deliveries = typer.Typer(help="What was received, and what became of it.")

Number = Annotated[int, typer.Argument(help="The delivery's number.", metavar="DELIVERY")]


@deliveries.callback(invoke_without_command=True)
def list_deliveries(
    context: typer.Context,
    config: Config = CONFIG,
    home: Home = HOME,
    limit: Limit = 50,
    source_name: Annotated[str | None, typer.Option("--source", help="Only of this source.")] = None,
    as_json: AsJson = False,
) -> None:
    """Lists what was received, and what became of it."""
    if context.invoked_subcommand is not None:
        return
    house = opened(config, home)
    found = house.ledger.latest(limit=limit, source=_source(house, source_name) if source_name else None)
    if as_json:
        printing.print_json([_told(each) for each in found])
        return
    table = printing.table_of(
        "id",
        "received (UTC)",
        "source",
        "file",
        "complete",
        "state",
        "records",
        "loaded",
        "rejected",
        "duplicate",
        "why",
    )
    for each in found:
        counts = each.counts
        table.add_row(
            str(each.id), f"{each.received_at:%Y-%m-%d %H:%M:%S}", each.source, each.name,
            each.completeness, each.state,
            f"{counts.records:,}", f"{counts.loaded:,}", f"{counts.rejected:,}", f"{counts.duplicate:,}",
            f"duplicate of {each.duplicate_of}" if each.duplicate_of else each.reason,
        )  # fmt: skip
    printing.print_table(table)


def _source(house: House, name: str) -> str:
    """A source, active or not, or uploads; raises Missing."""
    from ingestd.model import UPLOAD
    from ingestd.store.engine import reading
    from ingestd.store.tables import sources

    if name == UPLOAD:
        return name
    with reading(house.engine) as connection:
        return spelt(connection, sources.c.name, name, "source")


def _told(delivery: Delivery) -> dict[str, Any]:
    """The receipt, and what only operators are told."""
    from ingestd.receipts import receipt

    return {**receipt(delivery), "source": delivery.source, "stage": delivery.stage, "detail": delivery.reason}


@deliveries.command()
def show(number: Number, config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False) -> None:
    """Says what became of one delivery: its file, its counts, and why it was refused or failed."""
    delivery = delivery_of(opened(config, home), number)
    if as_json:
        printing.print_json(_told(delivery))
        return
    typer.echo(f"{delivery.name}, {delivery.size:,} bytes, of {delivery.source} by {delivery.protocol}")
    typer.echo(f"received {delivery.received_at:%Y-%m-%d %H:%M:%S} UTC, {delivery.completeness}: {delivery.evidence}")
    printing.report(delivery, as_json=False)


@deliveries.command()
def retry(number: Number, why: Why = "", config: Config = CONFIG, home: Home = HOME) -> None:
    """Queues a refused, failed or cancelled delivery once more; the running daemon takes it up, else the next one."""
    house = opened(config, home)
    house.ledger.retry(delivery_of(house, number).id, deed(why))
    typer.echo(f"delivery {number} is queued")


@deliveries.command()
def cancel(number: Number, why: Why = "", config: Config = CONFIG, home: Home = HOME) -> None:
    """Ends a delivery that waits and that no worker has begun; its file is kept, and it can be queued again."""
    house = opened(config, home)
    house.ledger.cancel(delivery_of(house, number).id, deed(why))
    typer.echo(f"delivery {number} is cancelled")


@deliveries.command()
def rerun(
    number: Number,
    by: As,
    pairs: Pairs = None,
    from_file: FromFile = None,
    save: reruns.Save = False,
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Reads the file of a delivery once more, as a new one; what it had loaded is taken back before: both or nothing.

    What is named of the mapping is laid over the source's, for the new delivery.
    """
    asked = reruns.Asked(by=by, why=why, pairs=pairs, file=from_file, save=save)
    reruns.run_again(opened(config, home), number, asked, as_json=as_json)


@deliveries.command()
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
    """Lets a delivery go on that is awaiting confirmation; columns that still match no field are ignored."""
    asked = reruns.Asked(by=by, why=why, pairs=pairs, file=from_file, save=save)
    reruns.confirmed(opened(config, home), number, asked)
