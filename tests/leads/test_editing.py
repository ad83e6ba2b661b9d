"""Editing, deactivating and holding a lead."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Connection

from ingestd.errors import Rejected
from ingestd.leads import dialling, editing, timed
from ingestd.leads.checking import Refused
from ingestd.leads.lead import Lead
from ingestd.store import loading, updating
from ingestd.store.engine import writing
from tests.databases import ROOT
from tests.leads.conftest import MINUTE, NOON, Desk

AGENT, OTHER, LEADER = "copenhagen-1", "aarhus-1", "lead-denmark"


def edited(desk: Desk, number: int, *, version: int | None = None, by: str = AGENT, **values: str | None) -> Lead:
    wish = editing.Edit(values=values, by=desk.owner(f"user:{by}"), at=NOON, version=version, why="asked")
    with writing(desk.engine) as connection:
        return editing.edit(connection, ROOT / "schemas", number, wish)


def done(desk: Desk, verb: Callable[..., Lead], number: int, by: str = AGENT, **wish: Any) -> Lead:
    with writing(desk.engine) as connection:
        return verb(connection, number, by=desk.owner(f"user:{by}"), **{"at": NOON, **wish})


def test_an_edit_is_read_as_an_import_reads_it(desk: Desk) -> None:
    (number,) = desk.leads({"country": "DE", "city": "Kiel"})
    after = edited(desk, number, phone="030 123456", postcode="10115", city="", priority="7")
    assert after.fields["phone"] == "+4930123456"  # of the lead's own country
    assert (after.fields["postcode"], after.fields["city"], after.fields["priority"]) == ("10115", None, 7)
    assert (after.version, after.modified_by_id, after.modified_at) == (1, desk.owner(f"user:{AGENT}"), NOON)
    assert set(desk.told(number)) == {
        ("phone", f"+4526{number:06d}", "+4930123456"),
        ("postcode", None, "10115"),
        ("city", "Kiel", None),
        ("priority", None, "7"),
    }


def test_the_templates_fields_are_edited_too(desk: Desk) -> None:
    (number,) = desk.leads({"extra": '{"supplier":"Nordstrom","consumption_kwh":9000}'})
    after = edited(desk, number, consumption_kwh="12000")
    assert after.extra == {"supplier": "Nordstrom", "consumption_kwh": 12000}
    assert desk.told(number) == [("consumption_kwh", "9000", "12000")]


def test_an_edit_that_says_nothing_new_changes_nothing(desk: Desk) -> None:
    (number,) = desk.leads({"city": "Kiel"})
    assert edited(desk, number, city=" Kiel ").version == 0
    assert desk.told(number) == []


def test_an_edit_of_an_old_version_names_both(desk: Desk) -> None:
    (number,) = desk.leads({})
    edited(desk, number, version=0, city="Kiel")
    with pytest.raises(Rejected, match=f"lead {number} has version 1, not 0") as refused:
        edited(desk, number, version=0, city="Lund")
    assert refused.value.code == "version_conflict"
    assert desk.lead(number).fields["city"] == "Kiel"


def test_an_import_that_updates_a_lead_counts_its_version(desk: Desk) -> None:
    (number,) = desk.leads({})
    with writing(desk.engine) as connection:
        changes = pl.DataFrame({"id": [number], "version": [0], "city": ["Lund"]})
        updating.update_leads(connection, changes, desk.campaign(), NOON)
    with pytest.raises(Rejected, match="has version 1, not 0"):
        edited(desk, number, version=0, city="Kiel")


def test_every_problem_of_an_edit_is_told(desk: Desk) -> None:
    (number,) = desk.leads({})
    with pytest.raises(Refused) as refused:
        edited(desk, number, phone="", email="x", date_of_birth="2090-01-01")
    told = {problem.field: problem.code for problem in refused.value.problems}
    assert told == {"phone": "required_missing", "email": "email_invalid", "date_of_birth": "out_of_range"}
    with pytest.raises(Rejected, match="who owned the lead when it came"):
        edited(desk, number, ownership_code="DK")
    with pytest.raises(Rejected, match="no field shoe_size"):
        edited(desk, number, shoe_size="42")


def test_a_phone_that_was_never_one_does_not_hold_up_other_edits(desk: Desk) -> None:
    (number,) = desk.leads({"phone": "unknown"})
    assert edited(desk, number, city="Kiel").fields["phone"] == "unknown"
    assert edited(desk, number, phone="26141516").fields["phone"] == "+4526141516"


def test_a_new_number_is_screened(desk: Desk) -> None:
    one, two = desk.leads({}, {})
    with writing(desk.engine) as connection:
        loading.add_do_not_call(connection, 0, ["+4526141516"], "asked")
    with pytest.raises(Refused, match="on a do-not-call list"):
        edited(desk, one, phone="26141516")
    with pytest.raises(Refused, match=f"has this number already, as lead {two}"):
        edited(desk, one, phone=f"+4526{two:06d}")
    (first, second) = desk.leads({}, {}, campaign="DK-FIBRE")  # which keeps duplicates
    assert edited(desk, first, phone=f"+4526{second:06d}").fields["phone"] == f"+4526{second:06d}"


def test_a_lead_is_taken_out_of_use_and_back(desk: Desk) -> None:
    (number,) = desk.leads({})
    assert done(desk, editing.deactivate, number, why="moved").deactivated_at == NOON
    assert done(desk, editing.deactivate, number, at=NOON + MINUTE).deactivated_at == NOON
    assert done(desk, editing.activate, number, at=NOON + MINUTE).deactivated_at is None
    assert done(desk, editing.activate, number).version == 2
    assert [field for field, *_ in desk.told(number)] == ["deactivated_at", "deactivated_at"]


def test_a_lease_keeps_others_away_until_its_time(desk: Desk) -> None:
    (number,) = desk.leads({})
    held = done(desk, editing.lock, number, lease=timedelta(minutes=5))
    assert held.locked_until == NOON + timedelta(minutes=5)
    told = f"lead {number} is locked by user:{AGENT} until 2026-06-15 12:05:00 UTC"
    for verb in (editing.lock, editing.deactivate, editing.unlock):
        with pytest.raises(Rejected, match=told) as refused:
            done(desk, verb, number, OTHER)
        assert refused.value.code == "lead_locked"
    with pytest.raises(Rejected, match=told):
        edited(desk, number, by=OTHER, city="Kiel")
    assert done(desk, editing.lock, number, OTHER, at=NOON + timedelta(minutes=5)).version == 2


def test_the_holder_may_prolong_and_release(desk: Desk) -> None:
    (number,) = desk.leads({})
    done(desk, editing.lock, number)
    longer = done(desk, editing.lock, number, at=NOON + MINUTE)
    assert longer.locked_until == NOON + MINUTE + editing.LEASE
    free = done(desk, editing.unlock, number)
    assert (free.locked_by_id, free.locked_until) == (None, None)
    assert done(desk, editing.unlock, number).version == free.version


def test_an_admin_may_break_a_lock(desk: Desk) -> None:
    (number,) = desk.leads({})
    done(desk, editing.lock, number)
    assert done(desk, editing.unlock, number, "admin", force=True).locked_by_id is None
    agent = str(desk.owner(f"user:{AGENT}"))
    assert desk.told(number) == [("lock", None, agent), ("lock", agent, None)]


@pytest.mark.parametrize("lease", [timedelta(0), timedelta(seconds=-1), timedelta(days=1)])
def test_a_lease_has_a_sensible_length(desk: Desk, lease: timedelta) -> None:
    (number,) = desk.leads({})
    with pytest.raises(Rejected, match="a lead is held for up to 12:00:00"):
        done(desk, editing.lock, number, lease=lease)


def test_nothing_is_written_when_a_verb_fails(desk: Desk) -> None:
    (number,) = desk.leads({})

    def both(connection: Connection) -> None:
        editing.lock(connection, number, by=desk.owner(f"user:{AGENT}"), at=NOON)
        editing.lock(connection, number, by=desk.owner(f"user:{OTHER}"), at=NOON)

    with pytest.raises(Rejected), writing(desk.engine) as connection:
        both(connection)
    assert (desk.lead(number).version, desk.told(number)) == (0, [])


def test_who_holds_a_lead_does_not_modify_it(desk: Desk) -> None:
    (number,) = desk.leads({})
    edited(desk, number, by=LEADER, city="Kiel")
    signed = (desk.owner(f"user:{LEADER}"), NOON)
    shift = dialling.start(desk.engine, AGENT, "DK-ENERGY", NOON + MINUTE)
    given, _ = dialling.next_lead(desk.engine, shift, NOON + MINUTE)
    assert given is not None
    assert (given.id, given.modified_by_id, given.modified_at) == (number, *signed)
    later = NOON + 2 * MINUTE
    for verb in (editing.unlock, editing.lock):
        with writing(desk.engine) as connection:
            here = verb(connection, number, by=desk.owner(f"user:{AGENT}"), at=later)
        assert (here.modified_by_id, here.modified_at) == signed
    timed.apply(desk.engine, NOON + 60 * MINUTE)
    here = desk.lead(number)
    assert (here.locked_by_id, here.modified_by_id, here.modified_at) == (None, *signed)
    assert here.version == 5
    desk.change(number, "not_interested", login=AGENT, at=NOON + 61 * MINUTE)
    assert desk.lead(number).modified_by_id == desk.owner(f"user:{AGENT}")
