"""Lists of lead pools: filtered and sorted by what the database has of each, and read page by page by the last key.

Totals are no order: they would have to be summed up for every pool that there is before the first one is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Text, literal, select, tuple_

from ingestd.errors import Invalid
from ingestd.store import pools
from ingestd.store.tables import campaigns, projects
from ingestd.store.tables import pools as table

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which pools; what is empty or None asks for nothing."""

    campaign: str = ""
    """the code"""
    project: str = ""
    """the code"""
    state: str = ""
    name: str = ""
    """a part of it, whatever the capitals"""
    uploaded_by: str = ""
    """a part of it, whatever the capitals"""
    since: datetime | None = None
    until: datetime | None = None
    """uploaded before this moment"""
    source: str | None = None
    """of deliveries of this source"""


@dataclass(frozen=True, kw_only=True)
class Sort:
    """One order; pools that are equal in it follow by their number."""

    column: ColumnElement[Any]
    key: Callable[[Row], Any]
    """what a row has in that column"""


def _by_text(column: ColumnElement[str], name: str) -> Sort:
    return Sort(column=column, key=lambda row: row[name])


SORTS: Mapping[str, Sort] = {
    # The number grows with every upload, and is a key of the table.
    "uploaded": Sort(column=table.c.id, key=lambda row: row["id"]),
    "name": _by_text(table.c.name, "name"),
    "project": _by_text(projects.c.name, "project"),
    "campaign": _by_text(campaigns.c.code, "campaign"),
    "state": _by_text(table.c.state, "state"),
    "uploaded_by": _by_text(table.c.uploaded_by, "uploaded_by"),
}
NEWEST = "-uploaded"
"""The order when none is asked for: the newest upload first."""

After = tuple[str | int, int]
"""What the last pool of the page before has in the order's column, and its number."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of pools."""

    rows: list[Row]
    following: After | None
    """where the next page begins; None after the last one"""


def page(connection: Connection, wanted: Wanted, *, sort: str = "", after: After | None = None, limit: int) -> Page:
    """Pools with the columns and totals that an operator sees. `sort` is one of SORTS, after a minus downwards.

    Raises Invalid for another.
    """
    by, down = order(sort or NEWEST)
    query = pools.shown(wanted.source).where(*_conditions(wanted))
    keys = (by.column, table.c.id)
    if after is not None:
        kind = BigInteger() if by.column is table.c.id else Text()
        last = tuple_(literal(after[0], kind), literal(after[1], BigInteger()))
        query = query.where(tuple_(*keys) < last if down else tuple_(*keys) > last)
    query = query.order_by(*(key.desc() if down else key.asc() for key in keys)).limit(limit + 1)
    found = [dict(row) for row in connection.execute(query).mappings()]
    shown = found[:limit]
    further = len(found) > limit
    return Page(
        rows=pools.with_totals(connection, shown),
        following=(by.key(shown[-1]), shown[-1]["id"]) if further else None,
    )


def order(sort: str) -> tuple[Sort, bool]:
    """The order that a text means, and whether it is downwards; raises Invalid for one that is none."""
    name = sort.removeprefix("-")
    if name not in SORTS:
        told = f"pools are not sorted by {name!r}; use one of {', '.join(SORTS)}, with a minus for downwards"
        raise Invalid("sort_unknown", told, field="query.sort")
    return SORTS[name], sort.startswith("-")


def _conditions(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    exact = ((campaigns.c.code, wanted.campaign), (projects.c.code, wanted.project), (table.c.state, wanted.state))
    yield from (column == value for column, value in exact if value)
    parts = ((table.c.name, wanted.name), (table.c.uploaded_by, wanted.uploaded_by))
    yield from (column.icontains(value, autoescape=True) for column, value in parts if value)
    if wanted.since is not None:
        yield table.c.uploaded_at >= wanted.since
    if wanted.until is not None:
        yield table.c.uploaded_at < wanted.until


def campaigns_of_pools(connection: Connection) -> list[tuple[str, str]]:
    """Code and name of every campaign, by code."""
    query = select(campaigns.c.code, campaigns.c.name).order_by(campaigns.c.code)
    return [(code, name) for code, name in connection.execute(query)]


def projects_of_pools(connection: Connection) -> list[tuple[str, str]]:
    """Code and name of every project, by name."""
    return [
        (code, name)
        for code, name in connection.execute(select(projects.c.code, projects.c.name).order_by(projects.c.name))
    ]
