"""New values of leads that are there, as a file or a program brings them: nothing that others wrote meanwhile is lost.

A lead is written only while it has the version with which it was looked at. The others are told, to be looked at again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import repeat

import polars as pl
from sqlalchemy import Connection, insert, text

from ingestd.store import loading, partitions
from ingestd.store.lead_tables import lead_events
from ingestd.store.tables import leads

_NOT_SET = ("id", "version")
# Whoever edits what he read before is told; where the lead stands in the order of dialling may be another place. No
# user did it.
_COUNTED = "version = {table}.version + 1, dial_key = NULL, modified_at = {at}, modified_by_id = NULL"
_TELL = (
    "INSERT INTO lead_events (campaign_id, lead_id, version, field, before, after, kind, at, why) "
    "VALUES ({campaign}, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_MOVED = (
    "SELECT leads.id FROM json_each(:numbers) AS wanted CROSS JOIN leads "
    "ON leads.campaign_id = :campaign AND leads.id = wanted.value WHERE leads.version <> :version"
)
_HELD = {
    "postgresql": "SELECT {columns} FROM {table} WHERE id IN "
    "(SELECT CAST(value AS bigint) FROM json_array_elements_text(CAST(:numbers AS json))) ORDER BY id FOR UPDATE",
    "sqlite": "SELECT {columns} FROM leads WHERE campaign_id = :campaign AND id IN "
    "(SELECT value FROM json_each(:numbers))",
}


@dataclass(frozen=True, kw_only=True)
class Told:
    """What is the same in all events of a load."""

    campaign_id: int
    kind: str
    at: datetime
    why: str


def update_leads(connection: Connection, frame: pl.DataFrame, campaign_id: int, at: datetime) -> pl.Series:
    """Writes new values of existing leads, modified at a moment, and counts their versions on.

    `frame` has `id`, `version` and the columns to set, null meaning null. Returns the numbers of the leads that have
    another version by now; they stay as they are.
    """
    if not frame.height:
        return frame["id"]
    if connection.dialect.name == "postgresql":
        return _merge(connection, frame, campaign_id, at)
    moved = pl.Series("id", list(_moved(connection, frame, campaign_id)), dtype=pl.Int64)
    _each(connection, frame.filter(~pl.col("id").is_in(moved.implode())) if len(moved) else frame, campaign_id, at)
    return moved


def tell(connection: Connection, events: pl.DataFrame, told: Told) -> None:
    """Writes the history of leads: `lead_id`, `version`, `field`, `before`, `after`, in the order of the leads."""
    same = {"campaign_id": told.campaign_id, "kind": told.kind, "at": told.at, "why": told.why}
    if events.height <= loading.FEW:
        rows = [{**same, **event} for event in events.iter_rows(named=True)]
        if rows:
            connection.execute(insert(lead_events), rows)
    elif connection.dialect.name == "postgresql":
        whole = events.with_columns(pl.lit(value).alias(name) for name, value in same.items())
        loading.copy_events(connection, whole)
    else:
        _tell_each(connection, events, told)


def _tell_each(connection: Connection, events: pl.DataFrame, told: Told) -> None:
    said = [repeat(text) for text in (told.kind, _text(told.at), told.why)]
    cursor = connection.connection.cursor()
    for batch in events.iter_slices(loading.BATCH):
        columns = [column.to_list() for column in batch.get_columns()]
        cursor.executemany(_TELL.format(campaign=f"{told.campaign_id:d}"), list(zip(*columns, *said, strict=False)))
    cursor.close()


def _text(at: datetime) -> str:
    """A moment as SQLAlchemy keeps it on SQLite."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"


def held(connection: Connection, campaign_id: int, numbers: pl.Series, columns: tuple[str, ...]) -> pl.DataFrame:
    """`id`, `version` and `columns` of leads by their numbers; nobody else changes them until the transaction ends."""
    wanted = tuple(leads.c[name] for name in ("id", "version", *columns))
    named = ", ".join(f'"{column.name}"' for column in wanted)
    query = _HELD[connection.dialect.name].format(columns=named, table=partitions.name(campaign_id))
    given = {"numbers": json.dumps(numbers.to_list()), "campaign": campaign_id}
    found = [tuple(row) for row in connection.execute(text(query).columns(*wanted), given)]
    return pl.DataFrame(found, schema={column.name: loading.polars_type(column) for column in wanted}, orient="row")


def _each(connection: Connection, frame: pl.DataFrame, campaign_id: int, at: datetime) -> None:
    names = [name for name in frame.columns if name not in _NOT_SET]
    settings = ", ".join([*(f'"{name}" = ?' for name in names), _COUNTED.format(table="leads", at=f"'{_text(at)}'")])
    statement = f"UPDATE leads SET {settings} WHERE campaign_id = {campaign_id:d} AND id = ?"  # noqa: S608 - our columns
    cursor = connection.connection.cursor()
    for batch in loading.by_number(frame, [*names, "id"]):
        columns = loading.sqlite_text(batch).get_columns()
        cursor.executemany(statement, list(zip(*(column.to_list() for column in columns), strict=True)))
    cursor.close()


def _moved(connection: Connection, frame: pl.DataFrame, campaign_id: int) -> Iterator[int]:
    """Asked first, which is enough where one writes at a time. Leads mostly have one of a few versions."""
    for (version,), part in frame.select(_NOT_SET).group_by("version"):
        given = {"numbers": json.dumps(part["id"].to_list()), "campaign": campaign_id, "version": version}
        yield from connection.scalars(text(_MOVED), given)


def _merge(connection: Connection, frame: pl.DataFrame, campaign_id: int, at: datetime) -> pl.Series:
    """By way of a table that lasts as long as the transaction: one statement for all leads."""
    columns = ", ".join(f'"{name}"' for name in frame.columns)
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE coming ON COMMIT DROP AS SELECT {columns} FROM leads LIMIT 0")  # noqa: S608 - our columns
    loading.copy(connection, frame, "coming")
    table = partitions.name(campaign_id)
    names = [name for name in frame.columns if name not in _NOT_SET]
    counted = _COUNTED.format(table=table, at=f"'{_text(at)}+00'")
    settings = ", ".join([*(f'"{name}" = coming."{name}"' for name in names), counted])
    same = f"{table}.id = coming.id AND {table}.version = coming.version"
    done = f"WITH done AS (UPDATE {table} SET {settings} FROM coming WHERE {same} RETURNING {table}.id)"  # noqa: S608 - our columns
    left = "SELECT id FROM coming WHERE NOT EXISTS (SELECT FROM done WHERE done.id = coming.id)"
    moved = connection.exec_driver_sql(f"{done} {left}").scalars().all()
    connection.exec_driver_sql("DROP TABLE coming")
    return pl.Series("id", moved, dtype=pl.Int64)
