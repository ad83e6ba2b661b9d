"""Bulk loading of leads and the questions that screening asks, each in the database's own fastest way (READING.md).

The driver's connection is taken from the SQLAlchemy connection, so rows, counters and receipt commit in one
transaction.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar, cast

import polars as pl
from sqlalchemy import (
    Column,
    Connection,
    Date,
    Engine,
    Integer,
    String,
    TextualSelect,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    update,
)

from ingestd.places import places
from ingestd.store import fences, partitions, pgcopy, pool_counts
from ingestd.store.engine import reading, unless_there, writing
from ingestd.store.lead_tables import lead_events
from ingestd.store.ledger import now
from ingestd.store.segment_tables import segment_arrivals
from ingestd.store.tables import Instant, do_not_call, lead_numbers, leads

T = TypeVar("T")

LEAD_COLUMNS = tuple(itertools.takewhile(lambda name: name != "original_owner_id", leads.columns.keys()))
"""The columns that new leads can have, in the order of the table; the others are for what happens to leads later."""

BATCH = 2_000
"""Rows handed to a driver at once: enough to make the call cheap, few enough to stay in the processor's cache."""

COPY_BATCH = 8_000
"""The same for PostgreSQL's COPY, whose bytes are made column by column: each call of polars costs a little."""

FIRST_PART = 8
"""What part of a batch the first one is."""

FEW = 2_000
"""Rows up to which PostgreSQL's COPY is written row by row."""

WORTH_TWO = 50_000
"""Phones from which two connections look for them."""

WORTH_IT = 20_000
"""Rows from which SQLite's indexes are built behind them; dropping and making them costs every reader a new look."""


# Built once: building them for each small delivery cost more than running them.
_NEXT_NUMBER = select(lead_numbers.c.next).with_for_update()
_MOVE_NUMBERS = update(lead_numbers).values(next=bindparam("following"))
# For many numbers PostgreSQL would rather read all leads of a campaign, 5.2 s instead of 0.6 for 10 million. This holds
# until the end of the transaction, which asks nothing else.
_WALK_INDEX = select(*(func.set_config(name, "off", True) for name in ("enable_seqscan", "jit")))
# Phones travel as one text: a row each took four times as long on PostgreSQL, an array of them three times.
_WANTED = {
    "postgresql": "json_array_elements_text(CAST(:phones AS json)) AS wanted(value)",
    "sqlite": "json_each(:phones) AS wanted",
}
# Number by number, whatever the database believes of a table it has not looked at yet: PostgreSQL does not pull a
# subquery with OFFSET apart, and SQLite does not turn a CROSS JOIN around. Else it reads all leads for all numbers.
_PROBES = {
    "postgresql": "SELECT found.* FROM {wanted} CROSS JOIN LATERAL "
    "(SELECT {columns} FROM {table} WHERE {table}.phone = wanted.value{more} OFFSET 0) AS found",
    "sqlite": "SELECT {columns} FROM {wanted} CROSS JOIN {table} ON {table}.phone = wanted.value{more}",
}
_ANY_LEAD = select(leads.c.id).where(leads.c.campaign_id == bindparam("campaign")).limit(1)
_ARRIVED = insert(segment_arrivals)
_ANY_LISTED = (
    select(do_not_call.c.phone).where(do_not_call.c.campaign_id.in_((0, bindparam("campaign", type_=Integer)))).limit(1)
)


def reserve_numbers(engine: Engine, count: int) -> int:
    """Takes a block of `count` lead numbers for good and returns its first; unused ones stay gaps."""
    # Forgotten only together with the load that uses the numbers: logs are written in the order of commits.
    with writing(engine, forgettable=True) as connection:
        first: int | None = connection.scalar(_NEXT_NUMBER)
        if first is None:  # the very first load; two may find that at once
            connection.execute(unless_there(connection, lead_numbers).values(id=1, next=1))
            first = connection.scalar(_NEXT_NUMBER)
            assert first is not None
        connection.execute(_MOVE_NUMBERS, {"following": first + count})
    return first


def insert_leads(connection: Connection, frame: pl.DataFrame) -> None:
    """Inserts new leads of one campaign by number.

    `frame` has at least one row, and of LEAD_COLUMNS those that have values, in their order: dates as polars dates,
    instants in UTC.
    """
    assert frame.columns == [name for name in LEAD_COLUMNS if name in frame.columns], f"not of leads: {frame.columns}"
    pool_counts.add(connection, frame)
    campaign_id = frame["campaign_id"][0]
    if connection.dialect.name == "postgresql":
        _insert_into_partition(connection, frame, campaign_id)
    else:
        _insert_into_table(connection, frame)
    arrived = {"campaign_id": campaign_id, "first_lead": frame["id"].min(), "last_lead": frame["id"].max()}
    connection.execute(_ARRIVED, arrived)


def _insert_into_partition(connection: Connection, frame: pl.DataFrame, campaign_id: int) -> None:
    if partitions.there(connection, campaign_id):
        copy(connection, frame, partitions.name(campaign_id))
        return
    same = _constants(frame) if frame.height > FEW else {}
    with partitions.made(connection, campaign_id) as table, partitions.filled_in(connection, table, same):
        copy(connection, frame.drop(same), table, "FREEZE")


def _insert_into_table(connection: Connection, frame: pl.DataFrame) -> None:
    statement, varying = _sqlite_insert(frame)
    cursor = connection.connection.cursor()
    batches = (sqlite_text(batch).get_columns() for batch in by_number(frame, varying))
    with _indexes_later(connection, frame.height), _ahead(batches, frame.height) as coming:
        for columns in coming:
            # By columns: a third quicker than the frame's own rows().
            cursor.executemany(statement, list(zip(*(column.to_list() for column in columns), strict=True)))
    cursor.close()


@contextmanager
def _indexes_later(connection: Connection, coming: int) -> Iterator[None]:
    """Builds the indexes in one go behind the rows, where that is less work: when most leads are only just coming."""
    there = connection.exec_driver_sql("SELECT max(rowid) FROM leads").scalar() or 0
    if coming < WORTH_IT or there > coming // 4:
        yield
        return
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'leads' AND sql IS NOT NULL"
    # Those of what an import leaves empty stay: nothing is put into them, and building them would read all rows again.
    indexes = [(name, sql) for name, sql in connection.exec_driver_sql(query) if " WHERE " not in sql]
    for name, _ in indexes:
        connection.exec_driver_sql(f'DROP INDEX "{name}"')
    yield
    for _, statement in indexes:
        connection.exec_driver_sql(statement)


@contextmanager
def _ahead(batches: Iterator[T], rows: int) -> Iterator[Iterator[T]]:
    """The batches, each made by a thread while the one before it is taken by the database."""
    if rows <= BATCH:  # there is no other one
        yield batches
        return
    with ThreadPoolExecutor(1, "batches") as thread:

        def each() -> Iterator[T]:
            coming = thread.submit(next, batches, None)
            while (batch := coming.result()) is not None:
                coming = thread.submit(next, batches, None)
                yield batch

        yield each()


def existing(
    connection: Connection,
    campaign_id: int,
    phones: pl.Series,
    columns: tuple[str, ...],
    *,
    beside: Engine | None = None,
) -> pl.DataFrame:
    """The leads of a campaign that have one of `phones`: `phone`, `id`, `columns`; of several, the oldest.

    `beside` is for a second connection, which looks for half of many phones at the same time: only where `connection`
    has written nothing.
    """
    wanted = tuple(leads.c[name] for name in ("phone", "id", *columns))
    if connection.scalar(_ANY_LEAD, {"campaign": campaign_id}) is None:
        phones = phones.clear()  # the first file of a campaign has nothing to be compared with
    probe = _of_campaign(connection, campaign_id, wanted)
    found = probe.ask(connection, phones, beside)
    frame = pl.DataFrame(found, schema={column.name: polars_type(column) for column in wanted}, orient="row")
    if frame.is_empty():
        return frame
    return frame.sort("id").unique("phone", keep="first", maintain_order=True)


def with_phones(connection: Connection, campaign_id: int, phones: pl.Series) -> list[int]:
    """The number of every lead of a campaign that has one of `phones`, in order."""
    if connection.scalar(_ANY_LEAD, {"campaign": campaign_id}) is None:
        return []
    found = _of_campaign(connection, campaign_id, (leads.c.id,)).ask(connection, phones)
    return sorted(row[0] for row in found)


def listed(connection: Connection, campaign_id: int, phones: pl.Series) -> pl.DataFrame:
    """Which of `phones` nobody may call: `phone`, `global_list` (True when the global list has it)."""
    wanted = (do_not_call.c.phone, do_not_call.c.campaign_id)
    if connection.scalar(_ANY_LISTED, {"campaign": campaign_id}) is None:
        return pl.DataFrame(schema={"phone": pl.String, "global_list": pl.Boolean})
    probe = _Probe(table="do_not_call", columns=wanted, more=f" AND do_not_call.campaign_id IN (0, {campaign_id:d})")
    found = probe.ask(connection, phones)
    frame = pl.DataFrame(found, schema={"phone": pl.String, "list": pl.Int64}, orient="row")
    return frame.group_by("phone").agg((pl.col("list") == 0).any().alias("global_list"))


def add_do_not_call(connection: Connection, campaign_id: int, phones: list[str], reason: str) -> int:
    """Puts numbers (E.164) on a list, 0 being the global one; returns how many are new."""
    fences.lists_change(connection)  # first: it holds its row until the commit, so imports go one after the other
    columns, values = "campaign_id, phone, reason, added_at", ":campaign, wanted.value, :reason, :moment"
    given = f"SELECT {values} FROM {_WANTED[connection.dialect.name]} WHERE true"  # noqa: S608 - our columns
    query = f"INSERT INTO do_not_call ({columns}) {given} ON CONFLICT DO NOTHING"
    typed = text(query).bindparams(bindparam("moment", type_=Instant), bindparam("campaign", type_=Integer))
    said = {"campaign": campaign_id, "reason": reason, "moment": now(), "phones": json.dumps(phones)}
    added: int = connection.execute(typed, said).rowcount
    return added


def remove_do_not_call(connection: Connection, campaign_id: int, phone: str) -> bool:
    """Takes a number (E.164) off a list, 0 being the global one; False when it is not on it."""
    fences.lists_change(connection)
    this = (do_not_call.c.campaign_id == campaign_id, do_not_call.c.phone == phone)
    return connection.execute(delete(do_not_call).where(*this)).rowcount == 1


@dataclass(frozen=True, kw_only=True)
class _Probe:
    """A question for the rows of a table that have one of many phones; each phone is looked up in an index."""

    table: str
    columns: tuple[Column[Any], ...]
    more: str
    """what else holds for a row"""

    def ask(self, connection: Connection, phones: pl.Series, beside: Engine | None = None) -> list[tuple[Any, ...]]:
        """The rows; the phones are sorted, so that the index is walked and not jumped about in.

        Of many phones a second connection takes the upper half, where there may be one: each walks its own part.
        """
        if phones.is_empty():
            return []
        values = phones.unique().sort()
        if beside is None or len(values) < WORTH_TWO:
            return self._rows(connection, values)
        lower, upper = values.head(len(values) // 2), values.slice(len(values) // 2)
        with ThreadPoolExecutor(1, "probe") as thread:
            later = thread.submit(self._rows_of_another, beside, upper)
            return self._rows(connection, lower) + later.result()

    def _rows(self, connection: Connection, values: pl.Series) -> list[tuple[Any, ...]]:
        kind = connection.dialect.name
        if kind == "postgresql":
            connection.execute(_WALK_INDEX)
        found = connection.execute(_asked(kind, self), {"phones": json.dumps(values.to_list())})
        return [tuple(row) for row in found]

    def _rows_of_another(self, engine: Engine, values: pl.Series) -> list[tuple[Any, ...]]:
        with reading(engine) as connection:
            return self._rows(connection, values)


@lru_cache(maxsize=1024)
def _asked(kind: str, probe: _Probe) -> TextualSelect:
    # Names of our own tables and columns, never of a partner's: nothing here comes from a file.
    names = ", ".join(f"{probe.table}.{column.name}" for column in probe.columns)
    query = _PROBES[kind].format(wanted=_WANTED[kind], columns=names, table=probe.table, more=probe.more)
    return text(query).columns(*probe.columns)


def _of_campaign(connection: Connection, campaign_id: int, columns: tuple[Column[Any], ...]) -> _Probe:
    """For leads of one campaign: on PostgreSQL in its partition, whose index of phones needs no campaign."""
    if connection.dialect.name == "postgresql":
        return _Probe(table=partitions.name(campaign_id), columns=columns, more="")
    return _Probe(table="leads", columns=columns, more=f" AND leads.campaign_id = {campaign_id:d}")


def _sqlite_insert(frame: pl.DataFrame) -> tuple[str, list[str]]:
    """The statement, and the columns it binds. What is the same in all rows is not bound 262,000 times.

    Columns without a value are left out, and numbers that never change (campaign, pool) stand in the statement: a third
    less time than binding everything.
    """
    constants = _constants(frame)
    filled = [column.name for column in frame.get_columns() if column.null_count() < frame.height]
    varying = [name for name in filled if name not in constants]
    names = ", ".join(f'"{name}"' for name in (*constants, *varying))
    values = ", ".join([*(f"{value:d}" for value in constants.values()), *("?" * len(varying))])
    return f"INSERT INTO leads ({names}) VALUES ({values})", varying  # noqa: S608 - our columns, numbers, question marks


def _constants(frame: pl.DataFrame) -> dict[str, int]:
    """Columns of numbers that are the same in all rows, such as campaign and pool."""
    numbers = [column for column in frame.get_columns() if column.dtype.is_integer() and not column.null_count()]
    return {column.name: column[0] for column in numbers if column.min() == column.max()}


def by_number(frame: pl.DataFrame, columns: list[str], size: int = BATCH) -> Iterator[pl.DataFrame]:
    """Batches in the order of `id`, gathered one at a time: sorting the whole frame would hold all of it twice."""
    wanted = pl.DataFrame([frame[name] for name in columns])
    if frame.height <= size:  # so few do not make the database jump about
        yield wanted
        return
    order = _order(frame["id"])
    begin, end = 0, size // FIRST_PART  # so that the database soon has something to do
    while begin < frame.height:
        yield wanted[order.slice(begin, end - begin)]
        begin, end = end, end + size


def _order(numbers: pl.Series) -> pl.Series:
    """Where the least of these lead numbers is, then the next one, and so on.

    Those of one block, as new leads have them, are each put in its place: while they are sorted, the database has
    nothing to do.
    """
    first, last = cast("int", numbers.min()), cast("int", numbers.max())
    if last - first + 1 != len(numbers):
        return numbers.arg_sort()
    return places(numbers - first, len(numbers))


def copy(connection: Connection, frame: pl.DataFrame, table: str, *options: str) -> None:
    """Sends rows of leads to a table of PostgreSQL that has their columns, in the order of `id`."""
    given = pl.DataFrame([column for column in frame.get_columns() if column.null_count() < frame.height])
    how = _copy_rows if given.height <= FEW else _copy_columns
    with closing(connection.connection.cursor()) as cursor:
        how(cursor, given, f"COPY {table}", options)


def _copy_rows(cursor: Any, given: pl.DataFrame, into: str, options: tuple[str, ...]) -> None:
    """Row by row by the driver: the bytes of whole columns are only quicker for many rows."""
    names = ", ".join(f'"{name}"' for name in given.columns)
    with cursor.copy(f"{into} ({names}) FROM STDIN ({', '.join(('FORMAT text', *options))})") as copy:
        for row in given.rows():
            copy.write_row(row)


def _copy_columns(cursor: Any, given: pl.DataFrame, into: str, options: tuple[str, ...]) -> None:
    layout = pgcopy.Layout.of(given, dict(leads.c))
    batches = (layout.rows(batch) for batch in by_number(given, layout.names, COPY_BATCH))
    _send(cursor, f"{into} {_binary(layout, *options)}", batches, given.height)


def copy_events(connection: Connection, events: pl.DataFrame) -> None:
    """Sends the history of leads to PostgreSQL, in the order in which it stands."""
    layout = pgcopy.Layout.of(events, dict(lead_events.c))
    batches = (layout.rows(batch) for batch in events.iter_slices(COPY_BATCH))
    with closing(connection.connection.cursor()) as cursor:
        _send(cursor, f"COPY lead_events {_binary(layout)}", batches, events.height)


def _binary(layout: pgcopy.Layout, *options: str) -> str:
    names = ", ".join(f'"{name}"' for name in layout.names)
    return f"({names}) FROM STDIN ({', '.join(('FORMAT binary', *options))})"


def _send(cursor: Any, statement: str, batches: Iterator[bytes], rows: int) -> None:
    with cursor.copy(statement) as copy, _ahead(batches, rows) as coming:
        copy.write(pgcopy.HEADER)
        for batch in coming:
            copy.write(batch)
        copy.write(pgcopy.TRAILER)


def sqlite_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Dates and instants as the text in which SQLAlchemy keeps them on SQLite."""
    return frame.with_columns(
        pl.col(pl.Date).dt.strftime("%Y-%m-%d"),
        pl.col(pl.Datetime).dt.strftime("%Y-%m-%d %H:%M:%S%.6f"),
    )


def polars_type(column: Column[Any]) -> Any:
    """What a column of leads is in a frame."""
    if isinstance(column.type, Date):
        return pl.Date
    if isinstance(column.type, Instant):
        return pl.Datetime("us", "UTC")
    return pl.String if isinstance(column.type, String) else pl.Int64
