"""The week that lies behind a demo: whole deliveries and real calls, in the past, and the same each time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select

from ingestd import week
from ingestd.house import House
from ingestd.model import State
from ingestd.store import tables
from ingestd.store.engine import reading
from tests.running import prepared

MONDAY = datetime(2026, 6, 15, 10, 0, tzinfo=UTC)


def test_a_week_has_deliveries_of_each_day_and_calls(tmp_path: Path) -> None:
    with prepared(tmp_path) as house:
        week.live(house, MONDAY)
        check(house)


def check(house: House) -> None:
    deliveries = house.ledger.latest(limit=100)
    days = {each.received_at.date() for each in deliveries}
    assert days == {(MONDAY - timedelta(days=before)).date() for before in range(1, 8)}
    assert {each.source for each in deliveries} == {"nordlead", "stadtwerk", "fibreweb"}
    assert {each.state for each in deliveries} == {State.COMPLETED, State.COMPLETED_WITH_REJECTS, State.REFUSED}
    assert all(each.finished_at == each.received_at and each.published_at for each in deliveries)
    with reading(house.engine) as connection:
        lead = tables.leads.c
        called, first, last = connection.execute(
            select(func.count(), func.min(lead.called_at), func.max(lead.called_at)).where(lead.called_at.is_not(None))
        ).one()
    assert called > 100
    assert MONDAY - timedelta(days=8) < first < last < MONDAY
