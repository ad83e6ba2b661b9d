"""Leads typed in by hand: checked, screened and owned as those of a file."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from ingestd.errors import Rejected
from ingestd.ingest import screening
from ingestd.leads import creating, editing
from ingestd.leads.checking import Refused
from ingestd.leads.editing import Edit
from ingestd.model import Outcome
from ingestd.store import loading, tables
from ingestd.store.engine import reading, writing
from tests.databases import ROOT
from tests.leads.conftest import NOON, Desk

SCHEMAS = ROOT / "schemas"


def typed(desk: Desk, campaign: str = "DK-ENERGY", login: str = "copenhagen-1", **wish: Any) -> creating.Created:
    owner, at = wish.pop("owner", None), wish.pop("at", NOON)
    wanted = creating.Typed(campaign=campaign, values=wish, by=desk.agent(login), at=at, owner=owner)
    return creating.create(desk.engine, SCHEMAS, wanted)


def test_the_first_lead_of_a_campaign_may_be_typed(desk: Desk) -> None:
    made = typed(desk, phone=" 26 14 15 16 ", first_name="Anna", postcode="2100", date_of_birth="31-01-1980")
    here = desk.lead(made.lead_id)
    assert made.outcome is Outcome.INSERTED
    assert (here.fields["phone"], here.fields["first_name"]) == ("+4526141516", "Anna")
    assert str(here.fields["date_of_birth"]) == "1980-01-31"
    assert here.owner_id == desk.owner("team:company")  # hand-made leads are everybody's
    assert (here.created_by_id, here.status, here.version) == (desk.owner("user:copenhagen-1"), "unprocessed", 1)
    assert ("status", None, "unprocessed") in desk.told(made.lead_id)


def test_the_owner_may_be_named_or_coded(desk: Desk) -> None:
    named = typed(desk, phone="26141501", owner="user:aarhus-1", ownership_code="DE")
    coded = typed(desk, phone="26141502", ownership_code="dk-cph")
    assert desk.lead(named.lead_id).owner_id == desk.owner("user:aarhus-1")
    assert desk.lead(coded.lead_id).owner_id == desk.owner("team:copenhagen")
    with pytest.raises(Refused, match="DK-XXX belongs to no team"):
        typed(desk, phone="26141503", ownership_code="DK-XXX")
    with pytest.raises(Rejected, match="there is no active team or user 'team:moon'"):
        typed(desk, phone="26141503", owner="team:moon")


def test_all_problems_are_told_at_once(desk: Desk) -> None:
    with pytest.raises(Refused) as refused:
        typed(desk, phone="12", email="anna@", postcode="21000")
    assert {problem.field: problem.code for problem in refused.value.problems} == {
        "phone": "phone_too_short",
        "email": "email_invalid",
        "postcode": "postcode_invalid",
    }
    with pytest.raises(Refused, match="Phone is empty"):
        typed(desk, first_name="Anna")
    with pytest.raises(Rejected, match="no field shoe_size"):
        typed(desk, phone="26141516", shoe_size="42")
    assert desk.all_leads() == []


def test_a_number_is_taken_once_where_duplicates_are_refused(desk: Desk) -> None:
    first = typed(desk, phone="26141516")
    with pytest.raises(Refused, match=f"has this number already, as lead {first.lead_id}"):
        typed(desk, phone="+45 26141516")


def test_a_number_that_is_there_is_updated_where_the_campaign_says_so(desk: Desk) -> None:
    first = typed(desk, "DE-ENERGY", phone="030 123456", city="Berlin")
    again = typed(desk, "DE-ENERGY", phone="030 123456", city="Potsdam")
    same = typed(desk, "DE-ENERGY", phone="030 123456", city="Potsdam")
    assert [first.outcome, again.outcome, same.outcome] == [Outcome.INSERTED, Outcome.UPDATED, Outcome.UNCHANGED]
    assert first.lead_id == again.lead_id == same.lead_id
    assert ("city", "Berlin", "Potsdam") in desk.told(first.lead_id)
    assert desk.lead(first.lead_id).version == 2


def test_typing_a_number_again_keeps_what_somebody_edits_meanwhile(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.set("campaigns", "code", "DK-ENERGY", on_duplicate="update")
    first = typed(desk, phone="26141516", first_name="Anna", city="Lund", supplier="A", consumption_kwh="4000")
    meant = screening.screen

    def screened(*given: Any, **facts: Any) -> Any:
        found = meant(*given, **facts)
        values = {"city": "Odense", "supplier": "B"}
        with writing(desk.engine) as connection:
            wish = Edit(values=values, by=desk.owner("user:copenhagen-2"), at=NOON)
            editing.edit(connection, SCHEMAS, first.lead_id, wish)
        return found

    monkeypatch.setattr(screening, "screen", screened)
    made = typed(desk, phone="26141516", first_name="Berta", city="Lund", supplier="A", consumption_kwh="5000")
    here = desk.lead(made.lead_id)
    assert (made.lead_id, made.outcome) == (first.lead_id, Outcome.UPDATED)
    assert (here.fields["first_name"], here.fields["city"]) == ("Berta", "Odense")
    assert (here.extra["supplier"], here.extra["consumption_kwh"]) == ("B", 5000)


def test_a_second_lead_is_kept_where_the_campaign_says_so(desk: Desk) -> None:
    first, second = (typed(desk, "DK-FIBRE", phone="26141516") for _ in range(2))
    assert first.lead_id != second.lead_id


def test_a_listed_number_is_refused_or_closed(desk: Desk) -> None:
    with writing(desk.engine) as connection:
        loading.add_do_not_call(connection, 0, ["+4526141516", "+4930123456"], "asked")
    with pytest.raises(Refused, match="global do-not-call list"):
        typed(desk, phone="26141516")
    closed = typed(desk, "DE-ENERGY", phone="030 123456")
    assert desk.lead(closed.lead_id).status == "in_global_do_not_call_list"
    assert [remark.code for remark in closed.remarks] == ["do_not_call"]


def test_what_one_user_types_within_an_hour_shares_a_pool(desk: Desk) -> None:
    first = typed(desk, phone="26141501")
    soon = typed(desk, phone="26141502", at=NOON + timedelta(minutes=59))
    later = typed(desk, phone="26141503", at=NOON + timedelta(minutes=61))
    other = typed(desk, phone="26141504", login="copenhagen-2")
    elsewhere = typed(desk, "DK-FIBRE", phone="26141505")
    leads = [desk.lead(made.lead_id) for made in (first, soon, later, other, elsewhere)]
    pools = [each.pool_id for each in leads]
    assert pools[0] == pools[1]
    assert len(set(pools)) == 4
    assert [each.row for each in leads] == [1, 2, 1, 1, 1]
    with reading(desk.engine) as connection:
        pool = connection.execute(select(tables.pools).where(tables.pools.c.id == pools[0])).mappings().one()
    assert (pool["uploaded_by"], pool["state"]) == ("copenhagen-1", "Active")
    assert pool["name"] == "typed by copenhagen-1, 2026-06-15 12:00 UTC"


def test_many_who_type_the_same_number_at_once_make_one_lead(desk: Desk) -> None:
    ends: list[str] = []
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        try:
            ends.append(typed(desk, phone="26141516").outcome)
        except Refused as refused:
            ends.append(refused.problems[0].code)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == [*["duplicate_in_campaign"] * 3, "inserted"]
    assert len(desk.all_leads()) == 1
