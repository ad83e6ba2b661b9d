"""How pools were used: every call is counted once, on its day of UTC."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone

from sqlalchemy import func, insert, select

from ingestd.leads import pools
from ingestd.store import pool_calls, sums
from ingestd.store.engine import reading, writing
from ingestd.store.lead_tables import pool_calls as counted
from tests.leads.conftest import NOON, Desk

DAYS = pool_calls.last_days(NOON, 3)


def calls(desk: Desk, numbers: Sequence[int]) -> list[list[int]]:
    with reading(desk.engine) as connection:
        found = pool_calls.of_pools(connection, numbers, DAYS)
    return [found[number] for number in numbers]


def test_days_are_those_of_utc() -> None:
    assert [date(2026, 6, 13), date(2026, 6, 14), date(2026, 6, 15)] == DAYS
    late = datetime(2026, 6, 15, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert pool_calls.last_days(late, 1) == [date(2026, 6, 14)]


def test_calls_are_counted_on_their_day_and_nothing_else_is(desk: Desk) -> None:
    first, second = desk.leads({}, {})
    (other,) = desk.leads({})
    desk.change(first, "busy", call=True, at=NOON - timedelta(days=1))
    desk.change(first, "success", call=True)
    desk.change(second, "busy")  # without a call
    desk.change(other, "busy", call=True, at=NOON - timedelta(days=3))  # before the days that are asked for
    mine, others = desk.lead(first).pool_id, desk.lead(other).pool_id
    assert calls(desk, [mine, others, 7777]) == [[0, 1, 1], [0, 0, 0], [0, 0, 0]]


def test_many_calls_are_put_together_and_stay_as_many(desk: Desk) -> None:
    (lead,) = desk.leads({})
    number, most = desk.lead(lead).pool_id, sums.ENOUGH + 1
    with writing(desk.engine) as connection:
        rows = [{"pool_id": number, "day": DAYS[1], "calls": 1}] * most
        connection.execute(insert(counted), [*rows, {"pool_id": number, "day": DAYS[2], "calls": 2}])
    assert pools.settle(desk.engine) == 1
    with reading(desk.engine) as connection:
        assert connection.scalar(select(func.count()).select_from(counted)) == 2
    assert calls(desk, [number]) == [[0, most, 2]]
    assert pools.settle(desk.engine) == 0
