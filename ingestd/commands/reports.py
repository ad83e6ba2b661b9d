"""`ingestd report`: figures over a period.

Heavy modules are imported inside the commands, as in `cli`.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from ingestd import printing
from ingestd.commands.options import CONFIG, HOME, AsJson, Config, Home


class By(StrEnum):
    """What each row is of."""

    CAMPAIGN = "campaign"
    POOL = "pool"
    TEAM = "team"
    USER = "user"


class Every(StrEnum):
    """How long a period is."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


def report(
    by: Annotated[By, typer.Option("--by", help="What each row is of.")] = By.CAMPAIGN,
    first: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day; else today.")
    ] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day; else today.")] = None,
    every: Annotated[Every, typer.Option("--every", help="Weeks begin on Monday.")] = Every.DAY,
    timezone: Annotated[str, typer.Option("--timezone", help="Whose days, such as Europe/Copenhagen.")] = "UTC",
    user: Annotated[
        str | None, typer.Option("--as", help="Only what this user may see; else everything.", metavar="USER")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one column a status.")] = False,
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Counts leads that came, calls, contacts, successes and statuses, by day, week or month."""
    from ingestd.commands.options import opened
    from ingestd.leads import agents, reports
    from ingestd.store.engine import reading

    today = datetime.now(UTC)
    start, end = (first or last or today).date(), (last or today).date()
    wish = reports.Wish(by=by.value, start=start, end=end, every=every.value, timezone=timezone)
    with reading(opened(config, home).engine) as connection:
        rows = reports.report(connection, wish, None if user is None else agents.agent(connection, user))
    if as_csv:
        sys.stdout.write(reports.as_csv(rows, by.value).decode())
        return
    names = ("period", "key", "name", *reports.FIGURES)
    if as_json:
        printing.print_json(
            [{**{name: getattr(row, name) for name in names}, "statuses": row.statuses} for row in rows]
        )
        return
    table = printing.table_of("period", by.value, "name", *(name.replace("_", " ") for name in reports.FIGURES))
    for row in rows:
        figures = (getattr(row, name) for name in reports.FIGURES)
        table.add_row(f"{row.period}", row.key, row.name, *("" if each is None else f"{each:,}" for each in figures))
    printing.print_table(table)
