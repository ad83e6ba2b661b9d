"""The rules of time in the worker: once a minute, and never for long."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, update
from structlog.testing import capture_logs

from ingestd import worker
from ingestd.leads import segment_plan, segments
from ingestd.leads.segment_plan import Plan
from ingestd.store import tables
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import open_engine, sqlite_url, writing
from ingestd.worker import Clockwork, Placer
from tests.databases import ROOT
from tests.leads.conftest import NOON, Desk


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


def test_a_campaign_whose_segments_fail_stops_no_other(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (fibre,) = desk.leads({}, campaign="DK-FIBRE")
    made = {}
    for project in ("ENERGY", "FIBRE"):
        with writing(desk.engine) as connection:
            group = segments.add_group(connection, Deed(actor=COMMAND_LINE, at=NOON), project, "all")
            every = segments.add(connection, Deed(actor=COMMAND_LINE, at=NOON), ROOT / "schemas", group.id, "every", {})
            made[project] = every.id
    broken, plans, asked = desk.campaign("DK-ENERGY"), segment_plan.of_campaign, list[int]()

    def failing(connection: Any, campaign_id: int, *facts: Any) -> Plan:
        asked.append(campaign_id)
        if campaign_id == broken:
            raise OverflowError("no such moment\nof +4526141516")
        return plans(connection, campaign_id, *facts)

    monkeypatch.setattr(segment_plan, "of_campaign", failing)
    moment = [0.0]
    placer = Placer(engine=desk.engine, clock=lambda: moment[0])
    with capture_logs() as told:
        placer.sweep()
        moment[0] = worker.MINUTE_SECONDS - 1
        placer.sweep()
    failed = [event for event in told if event["event"] == "segments_failed"]
    assert [(each["campaign"], each["error"]) for each in failed] == [(broken, "OverflowError: no such moment")]
    assert (asked.count(broken), _segment(desk, fibre)) == (1, made["FIBRE"])
    monkeypatch.undo()
    moment[0] = worker.MINUTE_SECONDS
    placer.sweep()
    assert _segment(desk, 1) == made["ENERGY"]


def _segment(desk: Desk, number: int) -> int | None:
    found: int | None = desk.all_leads()[number - 1]["segment_id"]
    return found
