"""The rules of time in the worker: once a minute, and never for long."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import Engine, update
from structlog.testing import capture_logs

from ingestd import worker
from ingestd.store import tables
from ingestd.store.engine import open_engine, sqlite_url, writing
from ingestd.worker import Clockwork
from tests.leads.conftest import Desk


@pytest.fixture
def desk(organised: Engine) -> Desk:
    desk = Desk(engine=organised)
    desk.leads({}, {})
    with writing(organised) as connection:
        connection.execute(update(tables.campaigns).values(expires_on=date(2020, 1, 1)))
    return desk


def test_leads_expire_once_a_minute(desk: Desk) -> None:
    moment = [0.0]
    clockwork = Clockwork(engine=desk.engine, clock=lambda: moment[0])
    with capture_logs() as told:
        clockwork.sweep()
    assert [event["expired"] for event in told] == [2]
    desk.change(1, "busy", "admin")
    moment[0] = worker.MINUTE_SECONDS - 1
    clockwork.sweep()
    assert desk.lead(1).status == "busy"
    moment[0] = worker.MINUTE_SECONDS
    clockwork.sweep()
    assert desk.lead(1).status == "expired"


def test_a_turn_that_takes_too_long_is_gone_on_with_in_the_next(desk: Desk) -> None:
    ticks = iter([0.0, 10.0, 20.0])  # every look at the clock is a quarter of a second later, and more
    clockwork = Clockwork(engine=desk.engine, clock=lambda: next(ticks))
    clockwork.sweep()
    assert desk.lead(1).status == "unprocessed"
    assert clockwork.due_at == 0.0


def test_a_database_that_is_away_is_told(tmp_path: Path) -> None:
    clockwork = Clockwork(engine=open_engine(sqlite_url(tmp_path / "nowhere")), clock=lambda: 5.0)
    with capture_logs() as told:
        clockwork.sweep()
    assert [event["event"] for event in told] == ["time_rules_failed"]
    assert clockwork.due_at == 65.0
