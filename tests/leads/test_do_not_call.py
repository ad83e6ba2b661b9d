"""Do-not-call lists and the leads that are there already."""

from __future__ import annotations

import threading

import pytest

from ingestd import schemas
from ingestd.errors import Invalid, Missing, Rejected
from ingestd.leads import dialling, do_not_call, lead, statuses
from ingestd.leads.do_not_call import Added
from ingestd.leads.statuses import Change
from ingestd.store import audit, fences, loading
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing
from tests.databases import ROOT
from tests.leads.conftest import MINUTE, NOON, Desk

DEED = Deed(actor=COMMAND_LINE, at=NOON, why="asked")


def phone(desk: Desk, number: int) -> str:
    return str(desk.lead(number).fields["phone"])


def added(desk: Desk, *phones: str, campaign: str | None = None) -> Added:
    with writing(desk.engine) as connection:
        return do_not_call.add(connection, phones, campaign, DEED)


def only_listed(desk: Desk, number: str, campaign_id: int = 0) -> None:
    """Puts a number on a list without a look at the leads that have it."""
    with writing(desk.engine) as connection:
        loading.add_do_not_call(connection, campaign_id, [number], "")


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


def test_every_number_that_is_none_is_named_and_what_helps(desk: Desk) -> None:
    nowhere = "does not begin with a known country code"
    for region, numbers, told in (
        (
            None,
            ["+4526141516", "26141517", "12"],
            f"'26141517' {nowhere}; '12' {nowhere}; write numbers with + and country code, or name their country",
        ),
        ("DK", ["26141516", "12", "nobody"], "'12' is too short for a phone number; 'nobody' is not a phone number"),
        ("DK", ["12"] * 12, "; '12' is too short for a phone number; and 2 more"),
    ):
        with pytest.raises(Invalid) as refused, reading(desk.engine) as connection:
            do_not_call.readable(connection, numbers, None, region)
        assert refused.value.message.endswith(told)
    assert refused.value.facts["field"] == "numbers.0"


def test_many_numbers_are_worked_off_in_batches(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(do_not_call, "BATCH", 2)
    numbers = desk.leads(*({} for _ in range(5)))
    listed = "\n".join(phone(desk, number) for number in numbers).encode()
    given = {"name": "list.txt", "schema": schemas.read(ROOT / "schemas"), "campaign": None, "region": None}
    done = do_not_call.import_list(desk.engine, listed, **given, deed=DEED)  # type: ignore[arg-type]
    assert (done.added, done.closed) == (5, 5)


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
        seen = fences.seen(connection, desk.lead(there).campaign_id)
    added(desk, phone(desk, there))
    with writing(desk.engine) as connection:
        assert not fences.passed(connection, seen)


def test_an_addition_waits_for_a_load_that_has_passed_and_closes_its_leads(desk: Desk) -> None:
    """Also for the very first number of all, when there is no sequence yet that a load could hold."""
    (there,) = desk.leads({})
    wanted, campaign_id = phone(desk, there), desk.lead(there).campaign_id
    with reading(desk.engine) as connection:
        seen = fences.seen(connection, campaign_id)
    results: list[Added] = []
    adding = threading.Thread(target=lambda: results.append(added(desk, wanted)))
    with writing(desk.engine) as connection:
        assert fences.passed(connection, seen)
        adding.start()
        adding.join(0.2)
        assert adding.is_alive()
    adding.join(20)
    assert [done.closed for done in results] == [1]


def test_a_private_lead_goes_back_to_its_original_owner(desk: Desk) -> None:
    (there,) = desk.leads({})
    desk.change(there, "manual_redial_private")
    mine, before = desk.owner("user:copenhagen-1"), desk.owner("team:denmark")
    assert desk.lead(there).owner_id == mine
    assert added(desk, phone(desk, there)).closed == 1
    assert desk.lead(there).owner_id == before
    assert ("owner", str(mine), str(before)) in desk.told(there)


def test_an_alternative_number_that_is_listed_closes_nothing_but_no_agent_is_given_it(desk: Desk) -> None:
    (there,) = desk.leads({"alternative_phone": "+4531000001"}, owner="team:copenhagen")
    shift = dialling.start(desk.engine, "copenhagen-1", "DK-ENERGY", NOON)
    found, shift = dialling.next_lead(desk.engine, shift, NOON)
    assert found is not None
    assert found.fields["alternative_phone"] == "+4531000001"
    assert added(desk, "+4531000001", campaign="DE-ENERGY").closed == 0  # the list of another campaign
    assert next_alternative(desk, there) == "+4531000001"
    assert added(desk, "+4531000001").closed == 0
    assert next_alternative(desk, there) is None
    assert desk.lead(there).fields["alternative_phone"] == "+4531000001"


def next_alternative(desk: Desk, number: int) -> object:
    with reading(desk.engine) as connection:
        return do_not_call.without_listed(connection, [lead.find(connection, number)])[0].fields["alternative_phone"]


def test_a_lead_whose_number_is_listed_is_not_opened_again(desk: Desk) -> None:
    done, listed, elsewhere = desk.leads({}, {}, {})
    desk.change(done, "not_interested", call=True)
    added(desk, phone(desk, done), phone(desk, listed))
    added(desk, phone(desk, elsewhere), campaign="DE-ENERGY")  # another campaign's list
    assert desk.change(listed, "removed").status == "removed"
    for number in (done, listed):
        with pytest.raises(Rejected, match="is on a do-not-call list") as refused:
            desk.change(number, "automatic_redial")
        assert refused.value.code == "do_not_call"
    assert desk.change(elsewhere, "automatic_redial").status == "automatic_redial"
    assert removed(desk, phone(desk, listed))
    assert desk.change(listed, "automatic_redial").status == "automatic_redial"


def test_a_number_that_is_listed_while_its_lead_is_opened_closes_it(desk: Desk) -> None:
    """Whoever opens it has not seen the list yet, and the list not yet that it is open."""
    (there,) = desk.leads({})
    wanted = phone(desk, there)
    desk.change(there, "success")
    results: list[Added] = []
    adding = threading.Thread(target=lambda: results.append(added(desk, wanted)))
    with writing(desk.engine) as connection:
        wish = Change(to="automatic_redial", by=desk.owner("user:copenhagen-1"), at=NOON)
        assert statuses.change_status(connection, there, wish).status == "automatic_redial"
        adding.start()
        adding.join(0.2)
        assert adding.is_alive()
    adding.join(20)
    assert [done.closed for done in results] == [1]
    assert desk.lead(there).status == "in_global_do_not_call_list"


def test_an_open_lead_of_a_listed_number_is_closed_and_given_to_nobody(desk: Desk) -> None:
    """However it came to be open, such as by a version that opened it without a look at the lists."""
    here, globally, callable_one = desk.leads({}, {}, {})
    only_listed(desk, phone(desk, here), desk.campaign())
    only_listed(desk, phone(desk, globally))
    shift = dialling.start(desk.engine, "copenhagen-1", "DK-ENERGY", NOON)
    found, shift = dialling.next_lead(desk.engine, shift, NOON)
    assert found is not None
    assert found.id == callable_one
    assert dialling.next_lead(desk.engine, shift, NOON)[0] is None
    assert [desk.lead(number).status for number in (here, globally)] == [
        "in_do_not_call_list",
        "in_global_do_not_call_list",
    ]
    assert desk.lead(here).locked_by_id is None
    assert ("status", "unprocessed", "in_do_not_call_list") in desk.told(here)


def test_who_was_given_a_lead_does_not_get_it_again_when_its_number_is_listed(desk: Desk) -> None:
    (there,) = desk.leads({})
    shift = dialling.start(desk.engine, "copenhagen-1", "DK-ENERGY", NOON)
    found, shift = dialling.next_lead(desk.engine, shift, NOON)
    assert found is not None
    only_listed(desk, phone(desk, there))
    assert dialling.next_lead(desk.engine, shift, NOON, again=True)[0] is None
    assert desk.lead(there).locked_by_id is None


def test_a_list_is_read_in_pages_and_a_number_says_on_which_lists_it_is(desk: Desk) -> None:
    added(desk, "+4526000001", "+4526000002", "+4526000003")
    added(desk, "+4526000002", campaign="DK-ENERGY")
    with reading(desk.engine) as connection:
        first = do_not_call.page(connection, None, limit=2)
        rest = do_not_call.page(connection, None, limit=2, after=first[-1].phone)
        both = do_not_call.of_number(connection, "+4526000002")
        with pytest.raises(Missing):
            do_not_call.page(connection, "nowhere", limit=1)
    assert [each.phone for each in (*first, *rest)] == ["+4526000001", "+4526000002", "+4526000003"]
    assert [(each.campaign, each.reason) for each in both] == [(None, "asked"), ("DK-ENERGY", "asked")]


def test_nobody_is_taken_off_a_list_without_a_reason(desk: Desk) -> None:
    added(desk, "+4526000001")
    with pytest.raises(Invalid, match="say why"), writing(desk.engine) as connection:
        do_not_call.remove(connection, "+4526000001", None, Deed(actor=COMMAND_LINE, at=NOON, why=" "))


def test_what_is_no_number_is_refused_with_its_place(desk: Desk) -> None:
    with reading(desk.engine) as connection:
        assert do_not_call.readable(connection, ["26 00 00 01"], "DK-ENERGY", None) == ["+4526000001"]
        with pytest.raises(Invalid, match="does not begin") as caught:
            do_not_call.readable(connection, ["+4526000001", "26000001"], None, None)
    assert caught.value.facts == {"field": "numbers.1"}
