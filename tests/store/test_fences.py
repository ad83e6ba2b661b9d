"""Fences on both databases: what was loaded or listed since a file was screened holds its load back."""

from __future__ import annotations

from contextlib import nullcontext

import polars as pl
import pytest
from sqlalchemy import Connection, Engine, func, select

from ingestd.ingest import load
from ingestd.store import fences, loading, tables
from ingestd.store.engine import reading, writing
from tests.running import at_once


def fence_passes(engine: Engine, seen: fences.Fence) -> bool:
    with writing(engine) as connection:
        return fences.passed(connection, seen)


def fence_of(engine: Engine, campaign: int) -> fences.Fence:
    with reading(engine) as connection:
        return fences.seen(connection, campaign)


def test_a_fence_is_passed_once(organised: Engine, campaign: int, other: int) -> None:
    seen, beside = fence_of(organised, campaign), fence_of(organised, other)
    assert fence_passes(organised, seen)
    assert not fence_passes(organised, seen)
    assert fence_passes(organised, beside)  # another campaign does not matter
    assert fence_passes(organised, fence_of(organised, campaign))


def test_an_import_of_any_list_raises_the_fence(organised: Engine, campaign: int) -> None:
    for listing in (0, campaign):
        seen = fence_of(organised, campaign)
        with writing(organised) as connection:
            loading.add_do_not_call(connection, listing, ["+1"], "asked")
        assert not fence_passes(organised, seen)
        assert fence_passes(organised, fence_of(organised, campaign))


def test_a_load_that_was_rolled_back_leaves_the_fence_open(organised: Engine, campaign: int) -> None:
    seen = fence_of(organised, campaign)
    with organised.connect() as connection, connection.begin() as transaction:
        assert fences.passed(connection, seen)
        transaction.rollback()
    assert fence_passes(organised, seen)


def insert_one(connection: Connection, campaign: int) -> None:
    record = pl.DataFrame({"row": [1], "phone": ["+4526000001"], "status": ["unprocessed"], "owner_id": [1]})
    target = load.Target(campaign_id=campaign, pool_id=7, statuses={"unprocessed": 1})
    loading.insert_leads(connection, load.lead_frame(load.number(record, 1), target))


def load_large(engine: Engine, seen: fences.Fence, campaign: int) -> bool:
    """A load of so many leads that its transaction may begin before they are ready; of one lead, for speed."""
    with fences.begun(engine, seen, fences.MANY) as its_connection:
        connection = its_connection()
        if connection is None:
            return False
        insert_one(connection, campaign)
    return True


def test_a_load_that_was_overtaken_is_told_when_it_is_ready(organised: Engine, campaign: int) -> None:
    seen = fence_of(organised, campaign)
    assert load_large(organised, seen, campaign)
    assert not load_large(organised, seen, campaign)
    with reading(organised) as connection:
        assert connection.scalar(select(func.count()).select_from(tables.leads)) == 1


def test_nothing_is_left_of_a_load_that_was_begun_and_failed(organised: Engine, campaign: int) -> None:
    seen = fence_of(organised, campaign)
    with pytest.raises(ZeroDivisionError), fences.begun(organised, seen, fences.MANY):
        raise ZeroDivisionError
    assert load_large(organised, seen, campaign)  # neither the fence nor a table of the campaign


def test_a_load_that_inserts_nothing_leaves_no_table_behind(organised: Engine, campaign: int) -> None:
    """On PostgreSQL, where it has begun to make one; on SQLite it has not even begun."""
    seen = fence_of(organised, campaign)
    told = pytest.raises(AssertionError, match="nothing was inserted")
    with told if organised.dialect.name == "postgresql" else nullcontext(), fences.begun(organised, seen, fences.MANY):
        pass
    assert load_large(organised, seen, campaign)


def test_of_loads_at_once_only_one_passes_the_fence(organised: Engine, campaign: int) -> None:
    seen = fence_of(organised, campaign)
    passed: list[bool] = []
    at_once(*[lambda: passed.append(fence_passes(organised, seen))] * 4)
    assert sorted(passed) == [False, False, False, True]
