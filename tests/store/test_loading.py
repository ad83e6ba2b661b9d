"""Bulk loading on both databases: what goes in comes out exactly, and every fence holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, func, inspect, select

from ingestd.ingest import load
from ingestd.store import loading, tables, updating
from ingestd.store.engine import reading, writing
from ingestd.store.lead_tables import lead_events
from tests.running import at_once

NOW = datetime(2026, 6, 15, 12, 30, 15, 250, tzinfo=UTC)

FIELDS: dict[str, Any] = {
    "external_id": pl.String,
    "alternative_phone": pl.String,
    "title": pl.String,
    "first_name": pl.String,
    "city": pl.String,
    "state": pl.String,
    "comments": pl.String,
    "extra": pl.String,
    "date_of_birth": pl.Date,
    "priority": pl.Int64,
    "scheduled_at": pl.Datetime("us", "UTC"),
}
HARD = [
    "", " ", '"', "''", "\\", "\\N", "\\.", "a\n\\.\nb", "NULL", "null", "a,b", "a\tb", "\r", "\r\n", "x\ry", "\x01",
    "'; --", "{}", "æøå", "🙂", "\ufeff", "\u2028", "+45", "=1",
]  # fmt: skip
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXT = st.one_of(st.none(), st.sampled_from(HARD), st.text(LETTERS))
PHONE = st.one_of(st.sampled_from(HARD[1:]), st.text(LETTERS, min_size=1))
VALUES = {
    pl.String: TEXT,
    pl.Date: st.one_of(st.none(), st.dates()),
    pl.Int64: st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1)),
    pl.Datetime("us", "UTC"): st.one_of(
        st.none(),
        st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001 - given below
    ),
}
RECORD = st.fixed_dictionaries({name: VALUES[kind] for name, kind in FIELDS.items()})
FEW = st.sampled_from((0, loading.FEW))
"""PostgreSQL's COPY is made of whole columns, or row by row."""
PROPERTY = settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture
def connection(organised: Engine) -> Iterator[Connection]:
    """A transaction that is rolled back in the end."""
    with rolled_back(organised) as opened:
        yield opened


@contextmanager
def rolled_back(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as opened, opened.begin() as transaction:
        yield opened
        transaction.rollback()


def records(rows: list[dict[str, Any]], phones: list[str] | None = None) -> pl.DataFrame:
    """New records as screening leaves them; row by row the phones +4526000001, +4526000002 …"""
    numbers = range(1, len(rows) + 1)
    frame = pl.DataFrame([[row.get(name) for name in FIELDS] for row in rows], schema=FIELDS, orient="row")
    return frame.with_columns(
        pl.Series("row", numbers, dtype=pl.UInt32),
        pl.Series("phone", phones or [f"+4526{number:06}" for number in numbers], dtype=pl.String),
        pl.lit("unprocessed").alias("status"),
        pl.lit(1, dtype=pl.Int64).alias("owner_id"),
    )


def insert(
    connection: Connection,
    campaign: int,
    rows: list[dict[str, Any]],
    phones: list[str] | None = None,
    *,
    first: int = 1,
) -> None:
    target = load.Target(campaign_id=campaign, pool_id=7, statuses={"unprocessed": 1})
    loading.insert_leads(connection, load.lead_frame(load.number(records(rows, phones), first), target))


def stored(connection: Connection, campaign: int) -> list[dict[str, Any]]:
    query = select(tables.leads).where(tables.leads.c.campaign_id == campaign).order_by(tables.leads.c.id)
    return [dict(row) for row in connection.execute(query).mappings()]


def only(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: row[name] for name in FIELDS} for row in rows]


@PROPERTY
@given(rows=st.lists(RECORD, min_size=1, max_size=6), few=FEW)
def test_every_value_of_a_new_lead_comes_back_exactly(
    organised: Engine, campaign: int, rows: list[dict[str, Any]], few: int
) -> None:
    with rolled_back(organised) as connection, patch.object(loading, "FEW", few):
        insert(connection, campaign, rows)
        found = stored(connection, campaign)
    assert only(found) == rows
    assert [row["row"] for row in found] == list(range(1, len(rows) + 1))


@PROPERTY
@given(rows=st.lists(st.tuples(RECORD, RECORD), min_size=1, max_size=4), few=FEW)
def test_every_value_of_an_updated_lead_comes_back_exactly(
    organised: Engine, campaign: int, rows: list[tuple[dict[str, Any], dict[str, Any]]], few: int
) -> None:
    with rolled_back(organised) as connection, patch.object(loading, "FEW", few):
        insert(connection, campaign, [before for before, _ in rows])
        changes = records([after for _, after in rows]).drop("row", "phone", "status", "owner_id")
        numbers = pl.Series("id", range(1, len(rows) + 1))
        updating.update_leads(connection, changes.with_columns(numbers, version=pl.lit(0)), campaign, NOW)
        found = stored(connection, campaign)
    assert only(found) == [after for _, after in rows]
    assert [row["phone"] for row in found] == [f"+4526{number:06}" for number in range(1, len(rows) + 1)]


@PROPERTY
@given(rows=st.lists(RECORD, min_size=1, max_size=4), phones=st.lists(PHONE, min_size=4, max_size=4, unique=True))
def test_existing_leads_are_found_by_any_phone_with_every_value(
    organised: Engine, campaign: int, rows: list[dict[str, Any]], phones: list[str]
) -> None:
    """Phones may be any text: campaigns that close leads with an invalid phone keep it as it came."""
    with rolled_back(organised) as connection:
        insert(connection, campaign, rows, phones[: len(rows)])
        wanted = pl.Series("phone", [*phones, "never there"], dtype=pl.String)
        found = loading.existing(connection, campaign, wanted, tuple(FIELDS))
        leads = {lead["phone"]: lead for lead in stored(connection, campaign)}
    assert set(found["phone"]) == set(phones[: len(rows)])
    assert {column: kind for column, kind in found.schema.items() if column in FIELDS} == FIELDS
    for row in found.to_dicts():
        assert row == {name: leads[row["phone"]][name] for name in row}


def test_long_texts_are_kept(connection: Connection, campaign: int) -> None:
    text = 'æ"\n,\\' * 200_000
    insert(connection, campaign, [{"comments": text}])
    assert stored(connection, campaign)[0]["comments"] == text


def test_more_rows_than_a_batch_are_all_there_in_order(connection: Connection, campaign: int) -> None:
    count = 2 * loading.BATCH + 1
    insert(connection, campaign, [{"priority": number} for number in range(count)])
    found = stored(connection, campaign)
    assert [row["priority"] for row in found] == list(range(count))
    changes = pl.DataFrame({"id": [row["id"] for row in found], "priority": [-row["priority"] for row in found]})
    updating.update_leads(connection, changes.with_columns(version=pl.lit(0)), campaign, NOW)
    assert [row["priority"] for row in stored(connection, campaign)] == [-number for number in range(count)]


def test_an_update_touches_its_own_campaign_only(connection: Connection, campaign: int, other: int) -> None:
    insert(connection, campaign, [{"city": "here"}])
    insert(connection, other, [{"city": "there"}])
    updating.update_leads(connection, pl.DataFrame({"id": [1], "version": [0], "city": ["new"]}), campaign, NOW)
    assert [row["city"] for row in (*stored(connection, campaign), *stored(connection, other))] == ["new", "there"]


def test_a_lead_of_another_version_stays_and_is_told(connection: Connection, campaign: int) -> None:
    insert(connection, campaign, [{"city": "a"}, {"city": "b"}, {"city": "c"}])
    connection.execute(tables.leads.update().where(tables.leads.c.id == 2).values(version=1, city="hers"))
    changes = pl.DataFrame({"id": [3, 2, 1], "version": [0, 0, 0], "city": ["z", "y", "x"]})
    assert updating.update_leads(connection, changes, campaign, NOW).to_list() == [2]
    found = [(row["city"], row["version"]) for row in stored(connection, campaign)]
    assert found == [("x", 1), ("hers", 1), ("z", 1)]
    assert [row["modified_at"] for row in stored(connection, campaign)] == [NOW, None, NOW]
    there = updating.held(connection, campaign, pl.Series([2, 1]), ("city", "date_of_birth"))
    assert there.sort("id").rows() == [(1, 1, "x", None), (2, 1, "hers", None)]
    assert updating.update_leads(connection, changes.clear(), campaign, NOW).is_empty()


@pytest.mark.parametrize("few", [1, 100])
def test_history_is_told_in_any_number(connection: Connection, campaign: int, few: int) -> None:
    rows = [(1, 1, "city", None, "it's; \t\\N"), (1, 1, "phone", "+4526", ""), (2, 7, "city", "ø" * 200, None)]
    columns = {"lead_id": pl.Int64, "version": pl.Int64, "field": pl.String, "before": pl.String, "after": pl.String}
    told = updating.Told(campaign_id=campaign, kind="imported", at=NOW, why="delivery 7")
    with patch.object(loading, "FEW", few):
        updating.tell(connection, pl.DataFrame(rows, schema=columns, orient="row"), told)
        updating.tell(connection, pl.DataFrame(schema=columns), told)
    found = connection.execute(select(lead_events).order_by(lead_events.c.lead_id, lead_events.c.field)).mappings()
    same = {"campaign_id": campaign, "kind": "imported", "at": NOW, "why": "delivery 7", "by_id": None}
    assert [dict(row) for row in found] == [{**same, **dict(zip(columns, row, strict=True))} for row in rows]


def test_a_lead_is_known_in_its_own_campaign_only(connection: Connection, campaign: int, other: int) -> None:
    insert(connection, campaign, [{}])
    phones = pl.Series(["+4526000001"])
    assert loading.existing(connection, campaign, phones, ()).rows() == [("+4526000001", 1)]
    assert loading.existing(connection, other, phones, ()).is_empty()


def test_of_several_leads_with_a_phone_the_oldest_is_known(connection: Connection, campaign: int) -> None:
    insert(connection, campaign, [{"city": "old"}], ["+4526000001"], first=5)
    insert(connection, campaign, [{"city": "new"}], ["+4526000001"], first=8)
    found = loading.existing(connection, campaign, pl.Series(["+4526000001", "+4526000001"]), ("city",))
    assert found.rows() == [("+4526000001", 5, "old")]


def test_no_phones_are_no_question(connection: Connection, campaign: int) -> None:
    insert(connection, campaign, [{}])
    nothing = pl.Series("phone", [], dtype=pl.String)
    assert loading.existing(connection, campaign, nothing, ("city",)).schema == {
        "phone": pl.String,
        "id": pl.Int64,
        "city": pl.String,
    }
    assert loading.listed(connection, campaign, nothing).is_empty()


def test_a_listed_number_says_which_list_has_it(connection: Connection, campaign: int, other: int) -> None:
    loading.add_do_not_call(connection, 0, ["+1", "+2"], "asked")
    loading.add_do_not_call(connection, campaign, ["+2", "+3"], "asked")
    loading.add_do_not_call(connection, other, ["+4"], "asked")
    found = loading.listed(connection, campaign, pl.Series(["+1", "+2", "+3", "+4", "+5", "+1"]))
    assert dict(found.rows()) == {"+1": True, "+2": True, "+3": False}


def test_a_number_is_added_to_a_list_once(connection: Connection, campaign: int) -> None:
    numbers = [f"+{number}" for number in range(loading.BATCH + 5)]
    assert loading.add_do_not_call(connection, 0, numbers, "asked") == loading.BATCH + 5
    assert loading.add_do_not_call(connection, 0, [*numbers, "+x"], "again") == 1
    assert loading.add_do_not_call(connection, campaign, numbers[:2], "other list") == 2
    reasons = select(tables.do_not_call.c.reason).where(tables.do_not_call.c.phone == "+0")
    assert sorted(connection.scalars(reasons)) == ["asked", "other list"]


def test_blocks_of_lead_numbers_never_overlap(organised: Engine) -> None:
    """Also when two workers take the very first block at once."""
    first: list[int] = []
    at_once(*[lambda: first.append(loading.reserve_numbers(organised, 10))] * 6)
    assert sorted(first) == [1, 11, 21, 31, 41, 51]
    assert loading.reserve_numbers(organised, 0) == 61


def test_lists_imported_at_once_add_each_number_once(organised: Engine) -> None:
    added: list[int] = []

    def add() -> None:
        with writing(organised) as connection:
            added.append(loading.add_do_not_call(connection, 0, ["+1", "+2", "+3"], "asked"))

    at_once(*[add] * 4)
    assert sorted(added) == [0, 0, 0, 3]
    with reading(organised) as connection:
        assert connection.scalar(select(func.count()).select_from(tables.do_not_call)) == 3
        assert connection.scalar(select(tables.do_not_call_sequence.c.value)) == 4


def test_dates_are_kept_as_the_rest_of_the_store_reads_them(connection: Connection, campaign: int) -> None:
    moment = datetime(2026, 12, 1, 9, 30, 0, 1, tzinfo=UTC)
    insert(connection, campaign, [{"date_of_birth": date(1980, 4, 3), "scheduled_at": moment}])
    lead = tables.leads.c
    query = select(lead.id).where(lead.date_of_birth == date(1980, 4, 3), lead.scheduled_at == moment)
    assert connection.scalars(query).all() == [1]


def test_a_large_first_load_leaves_its_indexes(organised: Engine, campaign: int, other: int) -> None:
    before = {index["name"] for index in inspect(organised).get_indexes("leads")}
    with rolled_back(organised) as connection:
        insert(connection, campaign, [{}] * loading.WORTH_IT)
        insert(connection, other, [{}] * 3, first=loading.WORTH_IT + 1)
        assert {index["name"] for index in inspect(connection).get_indexes("leads")} == before
        phones = pl.Series(["+4526000001", "+4526020000", "+4526020001"])
        found = loading.existing(connection, campaign, phones, ())
        assert found["phone"].to_list() == ["+4526000001", "+4526020000"]
        assert connection.scalar(select(func.count()).select_from(tables.leads)) == loading.WORTH_IT + 3


def test_a_large_first_load_that_fails_leaves_its_indexes(organised: Engine, campaign: int) -> None:
    before = {index["name"] for index in inspect(organised).get_indexes("leads")}
    with rolled_back(organised) as connection:
        insert(connection, campaign, [{}] * loading.WORTH_IT)
    assert {index["name"] for index in inspect(organised).get_indexes("leads")} == before


def test_a_partition_that_nobody_has_looked_at_is_not_read_for_each_number(campaign: int, organised: Engine) -> None:
    """A second file comes before PostgreSQL has counted the first; it must not guess its way through all leads."""
    phones = [f"+4526{number:06}" for number in range(10_000)]
    with writing(organised) as connection:
        insert(connection, campaign, [{}] * len(phones), phones)
    strangers = [f"+4527{number:06}" for number in range(loading.WORTH_TWO)]
    with reading(organised) as connection:
        if connection.dialect.name == "postgresql":  # a minute is what it took, and is a fault however slow the machine
            connection.exec_driver_sql("SET LOCAL statement_timeout = '20s'")
        found = loading.existing(connection, campaign, pl.Series([*phones, *strangers]), (), beside=organised)
    assert found["phone"].sort().to_list() == phones
