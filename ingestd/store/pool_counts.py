"""The totals of lead pools: read from their counts, not from millions of leads, and always equal to them.

What changes or deletes leads is counted by triggers of the database, whoever does it; only what puts leads in says so
here, because a trigger for each of 262,000 rows would cost a load more than it takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    bindparam,
    cast,
    delete,
    func,
    insert,
    or_,
    select,
)

from ingestd.store.lead_tables import pool_counts as table
from ingestd.store.tables import leads

ENOUGH = 64
"""Rows of a pool from which they are summed up; fewer are added quicker than they are rewritten."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """The leads of a pool that have one status, and are called and deactivated or not."""

    status_id: int
    called: bool
    deactivated: bool
    leads: int
    attempts: int


_ADD = insert(table)
_KINDS = (table.c.pool_id, table.c.status_id, table.c.called, table.c.deactivated)
_COLUMNS = [column.name for column in table.c if column.name != "id"]
# PostgreSQL makes a sum of bigint a numeric.
_LEADS = cast(func.sum(table.c.leads), BigInteger).label("leads")
_ATTEMPTS = cast(func.sum(table.c.attempts), BigInteger).label("attempts")
_SUMS = select(*_KINDS, _LEADS, _ATTEMPTS).group_by(*_KINDS)


def _any_left(rows: FromClause) -> ColumnElement[bool]:
    return or_(func.sum(rows.c.leads) != 0, func.sum(rows.c.attempts) != 0)


_OF_POOLS = _SUMS.where(table.c.pool_id.in_(bindparam("pools", expanding=True))).having(_any_left(table))


def add(connection: Connection, frame: pl.DataFrame) -> None:
    """Counts new leads, which nobody has called yet: `pool_id`, `status_id`."""
    for pool_id, status_id, count in frame.group_by("pool_id", "status_id").len().iter_rows():
        kind = {"pool_id": pool_id, "status_id": status_id, "called": False, "deactivated": False}
        connection.execute(_ADD, {**kind, "leads": count, "attempts": 0})


def of_pools(connection: Connection, numbers: Iterable[int]) -> Mapping[int, list[Group]]:
    """The groups of each of these pools."""
    found: dict[int, list[Group]] = {number: [] for number in numbers}
    for row in connection.execute(_OF_POOLS, {"pools": list(found)}).mappings():
        facts = dict(row)
        found[facts.pop("pool_id")].append(Group(**facts))
    return found


def recount(connection: Connection) -> None:
    """Counts every lead anew; for those who put leads in by other ways than a load."""
    connection.execute(delete(table))
    called, gone = leads.c.attempts > 0, leads.c.deactivated_at.is_not(None)
    kinds = (leads.c.pool_id, leads.c.status_id, called, gone)
    counted = select(*kinds, func.count(), func.sum(leads.c.attempts)).group_by(*kinds)
    connection.execute(_ADD.from_select(_COLUMNS, counted))


def crowded(connection: Connection, *, most: int) -> list[int]:
    """Pools whose rows had better be summed up, `most` at once."""
    many = select(table.c.pool_id).group_by(table.c.pool_id).having(func.count() > ENOUGH).limit(most)
    return list(connection.scalars(many))


def sum_up(connection: Connection, number: int) -> None:
    """Puts the sums of a pool's rows in their place. What is counted meanwhile adds its rows beside them."""
    mine = table.c.pool_id == number
    if connection.dialect.name == "postgresql":
        # One statement: only the rows that it deletes are summed, whatever others commit meanwhile.
        gone = delete(table).where(mine).returning(*table.c).cte("gone")
        kinds = [gone.c[column.name] for column in _KINDS]
        sums = select(*kinds, func.sum(gone.c.leads), func.sum(gone.c.attempts)).group_by(*kinds)
        connection.execute(_ADD.from_select(_COLUMNS, sums.having(_any_left(gone))))
        return
    last = connection.scalar(select(func.max(table.c.id)))  # SQLite has one writer, which is this one
    connection.execute(_ADD.from_select(_COLUMNS, _SUMS.where(mine).having(_any_left(table))))
    connection.execute(delete(table).where(mine, table.c.id <= last))
