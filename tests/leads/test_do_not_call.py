"""Do-not-call lists and the leads that are there already."""

from __future__ import annotations

import threading

import pytest

from ingestd.errors import Rejected
from ingestd.leads import do_not_call
from ingestd.leads.do_not_call import Added
from ingestd.store import audit, loading
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing
from tests.leads.conftest import MINUTE, NOON, Desk

DEED = Deed(actor=COMMAND_LINE, at=NOON, why="asked")


def phone(desk: Desk, number: int) -> str:
    return str(desk.lead(number).fields["phone"])


def added(desk: Desk, *phones: str, campaign: str | None = None) -> Added:
    with writing(desk.engine) as connection:
        return do_not_call.add(connection, phones, campaign, DEED)


def removed(desk: Desk, number: str) -> bool:
    with writing(desk.engine) as connection:
        return do_not_call.remove(connection, number, None, DEED)


def test_open_leads_of_a_listed_number_are_closed_and_closed_ones_are_not_touched(desk: Desk) -> None:
    there, done, other = desk.leads({}, {}, {})
    desk.change(done, "success")
    assert added(desk, phone(desk, there), phone(desk, done)) == Added(added=2, known=0, closed=1)
    found = [desk.lead(number).status for number in (there, done, other)]
    assert found == ["in_global_do_not_call_list", "success", "unprocessed"]
    assert ("status", "unprocessed", "in_global_do_not_call_list") in desk.told(there)
    with reading(desk.engine) as connection:
        (entry,) = audit.latest(connection, limit=1)
    assert (entry.action, entry.after) == ("do_not_call.add", {"numbers": 2, "added": 2, "closed": 1})


def test_a_campaigns_list_closes_leads_of_that_campaign_only(desk: Desk) -> None:
    (here,) = desk.leads({})
    (elsewhere,) = desk.leads({"phone": phone(desk, here)}, campaign="DK-FIBRE")
    assert added(desk, phone(desk, here), campaign="DK-ENERGY").closed == 1
    assert [desk.lead(number).status for number in (here, elsewhere)] == ["in_do_not_call_list", "unprocessed"]


def test_a_lead_that_somebody_holds_is_closed_and_its_lock_ends(desk: Desk) -> None:
    agent = desk.owner("user:copenhagen-1")
    (held,) = desk.leads({"locked_by_id": agent, "locked_until": NOON + MINUTE})
    assert added(desk, phone(desk, held)).closed == 1
    assert desk.lead(held).locked_by_id is None
    assert ("lock", str(agent), None) in desk.told(held)


def test_many_numbers_are_worked_off_in_batches(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(do_not_call, "BATCH", 2)
    numbers = desk.leads(*({} for _ in range(5)))
    assert added(desk, *(phone(desk, number) for number in numbers)).closed == 5


def test_a_number_that_is_taken_off_reopens_nothing(desk: Desk) -> None:
    (there,) = desk.leads({})
    listed = phone(desk, there)
    added(desk, listed)
    assert removed(desk, listed)
    assert not removed(desk, listed)
    assert desk.lead(there).status == "in_global_do_not_call_list"


def test_an_unknown_campaign_is_refused(desk: Desk) -> None:
    with pytest.raises(Rejected, match="nowhere"):
        added(desk, "+4526000001", campaign="nowhere")


def test_a_load_that_screened_before_the_number_was_added_screens_again(desk: Desk) -> None:
    (there,) = desk.leads({})
    with reading(desk.engine) as connection:
        seen = loading.fence(connection, desk.lead(there).campaign_id)
    added(desk, phone(desk, there))
    with writing(desk.engine) as connection:
        assert not loading.pass_fence(connection, seen)


def test_an_addition_waits_for_a_load_that_has_passed_and_closes_its_leads(desk: Desk) -> None:
    """Also for the very first number of all, when there is no sequence yet that a load could hold."""
    (there,) = desk.leads({})
    wanted, campaign_id = phone(desk, there), desk.lead(there).campaign_id
    with reading(desk.engine) as connection:
        seen = loading.fence(connection, campaign_id)
    results: list[Added] = []
    adding = threading.Thread(target=lambda: results.append(added(desk, wanted)))
    with writing(desk.engine) as connection:
        assert loading.pass_fence(connection, seen)
        adding.start()
        adding.join(0.2)
        assert adding.is_alive()
    adding.join(20)
    assert [done.closed for done in results] == [1]
