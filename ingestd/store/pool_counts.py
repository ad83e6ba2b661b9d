"""The totals of lead pools: read from their counts, not from millions of leads, and always equal to them.

What changes or deletes leads is counted by triggers of the database, whoever does it; only what puts leads in says so
here, because a trigger for each of 262,000 rows would cost a load more than it takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl
from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select

from ingestd.store.lead_tables import pool_counts as table
from ingestd.store.sums import Counted
from ingestd.store.tables import leads


@dataclass(frozen=True, kw_only=True)
class Group:
    """The leads of a pool that have one status and result, and are called and deactivated or not."""

    status_id: int
    result_id: int | None
    """the last status that people gave; None: the one that they have"""
    called: bool
    deactivated: bool
    leads: int
    attempts: int


_ADD = insert(table)
_COUNTED = Counted(
    table=table,
    kinds=("pool_id", "status_id", "result_id", "called", "deactivated"),
    figures=("leads", "attempts"),
)
_OF_POOLS = _COUNTED.sums().where(table.c.pool_id.in_(bindparam("pools", expanding=True)))


def add(connection: Connection, frame: pl.DataFrame) -> None:
    """Counts new leads, which nobody has called yet: `pool_id`, `status_id`."""
    pool = frame["pool_id"]
    # Nearly always one: grouping by both took 40 ms.
    for part in [frame] if pool.min() == pool.max() else frame.partition_by("pool_id"):
        for status_id, count in part["status_id"].value_counts(name="leads").iter_rows():
            kind = {"pool_id": part["pool_id"][0], "status_id": status_id, "result_id": None}
            new = {"called": False, "deactivated": False, "leads": count, "attempts": 0}
            connection.execute(_ADD, {**kind, **new})


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
    called, gone = or_(leads.c.attempts > 0, leads.c.called_at.is_not(None)), leads.c.deactivated_at.is_not(None)
    kinds = (leads.c.pool_id, leads.c.status_id, leads.c.result_id, called, gone)
    counted = select(*kinds, func.count(), func.sum(leads.c.attempts)).group_by(*kinds)
    connection.execute(_ADD.from_select([*_COUNTED.kinds, *_COUNTED.figures], counted))


def crowded(connection: Connection, *, most: int) -> list[int]:
    """Pools whose rows had better be summed up, `most` at once."""
    return [row.pool_id for row in _COUNTED.crowded(connection, "pool_id", most=most)]


def sum_up(connection: Connection, number: int) -> None:
    """Puts the sums of a pool's rows in their place. What is counted meanwhile adds its rows beside them."""
    _COUNTED.put_together(connection, table.c.pool_id == number)
