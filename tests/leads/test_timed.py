"""The rules of time, by a clock that the tests hold."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from ingestd.leads import timed
from ingestd.leads.timed import Ended
from ingestd.store.engine import try_turn, writing
from tests.leads.conftest import MINUTE, NOON, Desk

DAY = timedelta(days=1)


def status_of(desk: Desk, *numbers: int) -> list[str]:
    return [desk.lead(number).status for number in numbers]


def passes(desk: Desk, at: datetime = NOON) -> Ended:
    return timed.apply(desk.engine, at)


def test_unresolved_is_abandoned_after_seven_days(desk: Desk) -> None:
    old, young, busy = desk.leads({}, {}, {})
    desk.change(old, "unresolved", at=NOON - 7 * DAY, call=True)
    desk.change(young, "unresolved", at=NOON - 7 * DAY + MINUTE, call=True)
    desk.change(busy, "busy", at=NOON - 30 * DAY)
    assert passes(desk) == Ended(leads={"abandoned": 1})
    assert status_of(desk, old, young, busy) == ["abandoned", "unresolved", "busy"]
    assert ("status", "unresolved", "abandoned") in desk.told(old)
    assert passes(desk) == Ended()


def test_a_campaign_that_expired_takes_its_open_leads_along(desk: Desk) -> None:
    fresh, redial, done = desk.leads({}, {}, {})
    (elsewhere,) = desk.leads({}, campaign="DK-FIBRE")
    desk.change(redial, "automatic_redial", scheduled_at=NOON + DAY)
    desk.change(done, "success")
    desk.set("campaigns", "code", "DK-ENERGY", expires_on=NOON.date())
    assert passes(desk) == Ended()
    assert passes(desk, NOON + DAY) == Ended(leads={"expired": 2})
    assert status_of(desk, fresh, redial, done, elsewhere) == ["expired", "expired", "success", "unprocessed"]
    desk.change(fresh, "busy", at=NOON + DAY)  # opened again
    assert passes(desk, NOON + DAY) == Ended(leads={"expired": 1})


def test_what_is_loaded_into_an_expired_campaign_expires_too(desk: Desk) -> None:
    desk.leads({})
    desk.set("campaigns", "code", "DK-ENERGY", expires_on=NOON.date() - DAY)
    assert passes(desk) == Ended(leads={"expired": 1})
    (later,) = desk.leads({})
    desk.set("campaigns", "code", "DK-ENERGY", load_sequence=5)  # as the load does
    assert passes(desk) == Ended(leads={"expired": 1})
    assert status_of(desk, later) == ["expired"]


def test_a_limit_that_was_lowered_closes_what_is_above_it(desk: Desk) -> None:
    three, two, done = desk.leads({"attempts": 2}, {"attempts": 1}, {"attempts": 4})
    desk.change(three, "busy", call=True)
    desk.change(two, "busy", call=True)
    desk.change(done, "success", call=True)
    assert passes(desk) == Ended()
    desk.set("campaigns", "code", "DK-ENERGY", max_attempts=3)
    assert passes(desk) == Ended(leads={"max_call_attempts": 1})
    assert status_of(desk, three, two, done) == ["max_call_attempts", "busy", "success"]


def test_locks_lapse_and_who_is_calling_is_not_disturbed(desk: Desk) -> None:
    agent = desk.owner("user:copenhagen-1")
    over, held = desk.leads(
        {"locked_by_id": agent, "locked_until": NOON}, {"locked_by_id": agent, "locked_until": NOON + MINUTE}
    )
    assert passes(desk) == Ended(unlocked=1)
    assert (desk.lead(over).locked_by_id, desk.lead(held).locked_by_id) == (None, agent)
    assert desk.told(over) == [("lock", str(agent), None)]
    desk.set("campaigns", "code", "DK-ENERGY", expires_on=NOON.date() - DAY)
    assert passes(desk).leads == {"expired": 1}
    assert passes(desk, NOON + MINUTE) == Ended(leads={"expired": 1}, unlocked=1)
    assert status_of(desk, over, held) == ["expired", "expired"]


def test_it_stops_between_batches_and_goes_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timed, "BATCH", 2)
    desk.leads(*({} for _ in range(5)))
    desk.set("campaigns", "code", "DK-ENERGY", expires_on=NOON.date() - DAY)
    ends = [timed.apply(desk.engine, NOON, iter([True] * 6 + [False]).__next__) for _ in range(5)]
    assert [ended.finished for ended in ends] == sorted(ended.finished for ended in ends)
    assert not ends[0].finished
    assert sum(ended.leads.get("expired", 0) for ended in ends) == 5
    assert {row["status_id"] for row in desk.all_leads()} == {desk.status("expired")}


def test_what_another_node_is_doing_is_left_to_it(desk: Desk) -> None:
    if desk.engine.dialect.name == "sqlite":  # which has one node
        with writing(desk.engine) as connection:
            assert try_turn(connection, "rules of time")
        return
    (number,) = desk.leads({})
    desk.change(number, "unresolved", at=NOON - 8 * DAY, call=True)
    with writing(desk.engine) as connection:
        assert try_turn(connection, "rules of time")
        assert passes(desk) == Ended()
    assert status_of(desk, number) == ["unresolved"]
    assert passes(desk) == Ended(leads={"abandoned": 1})
