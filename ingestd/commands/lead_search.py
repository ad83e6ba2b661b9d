"""`ingestd lead list --where …` and `ingestd lead export`: Lead Admin on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingestd import printing
from ingestd.commands import files
from ingestd.commands.options import CONFIG, HOME, Config, Home, Why, deed, opened

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ingestd.house import House
    from ingestd.leads.agents import Agent
    from ingestd.leads.columns import Column
    from ingestd.leads.listing import Wish

Where = Annotated[
    str | None, typer.Option("--where", help='Such as "city is Copenhagen and status is open".', metavar="SENTENCE")
]
AsJsonFilter = Annotated[str | None, typer.Option("--filter", help="The same as JSON, as in the API.", metavar="JSON")]
Columns = Annotated[str | None, typer.Option("--columns", help="Such as id,phone,city; or the name of a set.")]
SortBy = Annotated[str | None, typer.Option("--sort", help="A column; with - before it, descending.")]
VisibleTo = Annotated[str | None, typer.Option("--visible-to", help="Only what this user sees.")]


def listed(
    house: House,
    where: Iterable[str | None],
    filters: Iterable[Any],
    shown: str | None,
    sort: str | None,
    limit: int,
    who: str | None,
    *,
    as_json: bool,
) -> None:
    """The first leads of sentences and filters that all hold."""
    from ingestd.leads import columns, listing
    from ingestd.store.engine import reading

    with reading(house.engine) as connection:
        wish, wanted = _wish(house, connection, where, filters, shown, sort, limit, who, patience=60.0)
        page = listing.page(connection, wish)
        rows = columns.cells(connection, page.places, wanted, wish.at, listed=wish.who is None)
    if as_json:
        names = [column.name for column in wanted]
        printing.print_json([dict(zip(names, row, strict=True)) for row in rows])
    else:
        table = printing.table_of(*(column.name for column in wanted))
        for row in rows:
            table.add_row(*("" if value is None else str(value) for value in row))
        printing.print_table(table)
    if page.next:
        typer.echo("there are more; --limit shows them, ingestd lead export writes all of them to a file", err=True)


def export(
    output: Annotated[Path, typer.Option("-o", "--output", help="The file; .csv, .xlsx or .parquet.")],
    where: Where = None,
    as_filter: AsJsonFilter = None,
    columns: Columns = None,
    sort: SortBy = None,
    visible_to: VisibleTo = None,
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
) -> None:
    """Writes all leads of a filter to a file; the audit says that they left the house."""
    from ingestd.leads import exporting
    from ingestd.leads.exporting import Export, Format
    from ingestd.store.engine import reading

    kind = output.suffix.removeprefix(".").lower()
    if kind not in list(Format):
        raise typer.BadParameter(f"{output.name} is neither .csv nor .xlsx nor .parquet")
    house = opened(config, home)
    with reading(house.engine) as connection:
        wish, wanted = _wish(house, connection, [where], [_parsed(as_filter)], columns, sort, 1, visible_to)
    made = exporting.pieces(house.engine, Export(wish=wish, columns=wanted, format=Format(kind)), deed(why))
    files.write_whole(made, output)
    typer.echo(f"{output}: {output.stat().st_size:,} bytes")


def meant_by(house: House, connection: Connection, where: str | None, as_filter: str | None, who: Agent) -> list[int]:
    """The numbers of the leads of a sentence and a filter that both hold, found now among those that a user sees."""
    from ingestd.leads import meant, owner_changes, rights
    from ingestd.leads.filters import comparisons
    from ingestd.store.ledger import now

    wish, _ = _wish(house, connection, [where], [_parsed(as_filter)], None, None, 1, None)
    if next(comparisons(wish.tree), None) is None:
        raise typer.BadParameter("the filter compares nothing, and would mean every lead")
    return meant.numbers(connection, wish.tree, rights.changing(who), now(), most=owner_changes.MOST_NAMED)


def _parsed(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError as problem:
        raise typer.BadParameter(f"--filter is no JSON: {problem}") from problem


def asked(as_filter: str | None, **plain: Any) -> list[Any]:
    """The filter as JSON, and what plain options ask for."""
    compared = [{"field": name, "op": "is", "value": value} for name, value in plain.items() if value is not None]
    return [_parsed(as_filter), {"all": compared}]


def _wish(
    house: House,
    connection: Connection,
    where: Iterable[str | None],
    given: Iterable[Any],
    shown: str | None,
    sort: str | None,
    limit: int,
    who: str | None,
    **facts: Any,
) -> tuple[Wish, list[Column]]:
    from ingestd.leads import agents, columns, filter_text, filters, ordering
    from ingestd.leads.filters import Every
    from ingestd.leads.listing import Wish
    from ingestd.store.ledger import now

    fields = columns.fields_of(connection, house.schemas)
    every = columns.known(fields)
    parts = [filter_text.read(sentence, fields) for sentence in where if sentence]
    parts += [filters.parsed(tree, fields) for tree in given if tree]
    names = columns.SETS.get(shown or "", tuple(filter(None, (shown or "").replace(" ", "").split(","))))
    wish = Wish(
        tree=Every(parts=tuple(parts)),
        sort=ordering.parsed(sort, every),
        limit=limit,
        who=agents.agent(connection, who) if who else None,
        at=now(),
        **facts,
    )
    return wish, columns.chosen(names, every)
