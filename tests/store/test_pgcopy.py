"""The bytes of a binary COPY are those that PostgreSQL writes itself."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from sqlalchemy import create_engine

from ingestd.store import pgcopy
from ingestd.store.tables import leads
from tests.conftest import Postgres

LAST = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
COLUMNS = {
    "id": pl.Series([1, 2**63 - 1, -(2**63)], dtype=pl.Int64),
    "row": pl.Series([0, 2**31 - 1, 7], dtype=pl.UInt32),
    "status_id": pl.Series([-1, -(2**31), 128], dtype=pl.Int32),
    "priority": pl.Series([None, 0, -5], dtype=pl.Int64),
    "processed_by_id": pl.Series([None, 2**40, None], dtype=pl.Int64),
    "phone": pl.Series(["+4526000000", "x" * 127, "é" * 63]),
    "title": pl.Series(["", "\\N", '"quoted", \t\n'], dtype=pl.String),
    "city": pl.Series(["x" * 128, "", "🙂"], dtype=pl.String),
    "comments": pl.Series([None, "æøå" * 20_000, ""], dtype=pl.String),
    "company": pl.Series([None, "a", None], dtype=pl.String),
    "date_of_birth": pl.Series([date(1952, 9, 3), None, date(2000, 1, 1)], dtype=pl.Date),
    "scheduled_at": pl.Series([None, datetime(1999, 1, 1, tzinfo=UTC), LAST], dtype=pl.Datetime("us", "UTC")),
    "modified_at": pl.Series([LAST - timedelta(days=1)] * 3, dtype=pl.Datetime("us", "UTC")),
}


@pytest.mark.parametrize("rows", [1, 3])
def test_the_bytes_are_those_of_postgresql(postgres: Postgres, rows: int) -> None:
    frame = pl.DataFrame(COLUMNS).head(rows)
    layout = pgcopy.Layout.of(frame, dict(leads.c))
    assert sorted(layout.names) == sorted(frame.columns)
    made = pgcopy.HEADER + layout.rows(frame) + pgcopy.TRAILER
    names = ", ".join(f'"{name}"' for name in layout.names)
    engine = create_engine(postgres.new_database())
    with engine.begin() as connection:
        types = ", ".join(f'"{name}" {leads.c[name].type.compile(engine.dialect)}' for name in layout.names)
        connection.exec_driver_sql(f"CREATE TABLE given ({types})")
        cursor = connection.connection.cursor()
        with cursor.copy(f"COPY given ({names}) FROM STDIN (FORMAT binary)") as copy:
            copy.write(made)
        with cursor.copy(f"COPY given ({names}) TO STDOUT (FORMAT binary)") as copy:
            assert b"".join(bytes(piece) for piece in copy) == made
        there = cursor.execute(f"SELECT {names} FROM given").fetchall()
    engine.dispose()
    assert there == frame.select(layout.names).rows()


def test_short_and_whole_columns_come_first() -> None:
    layout = pgcopy.Layout.of(pl.DataFrame(COLUMNS), dict(leads.c))
    assert layout.numbers == {"id": 8, "row": 4, "status_id": 4}
    assert layout.short == ["phone", "title"]
    assert layout.others["modified_at"] == 8
    assert layout.others["comments"] == 0


def test_a_number_without_room_is_not_cut() -> None:
    frame = pl.DataFrame({"id": [1], "priority": [2**31]})
    with pytest.raises(pl.exceptions.InvalidOperationError, match="2147483648"):
        pgcopy.Layout.of(frame, dict(leads.c)).rows(frame)
