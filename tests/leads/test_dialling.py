"""Dialling: the order, one lead for one agent, and whatever changes the order."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import polars as pl
import pytest

from ingestd.access import people
from ingestd.access.permissions import Permission
from ingestd.errors import Rejected
from ingestd.leads import dialling, editing, owner_change, placing, segments, timed
from ingestd.leads.dialling import Shift
from ingestd.leads.lead import Lead
from ingestd.leads.statuses import Change
from ingestd.model import PoolState
from ingestd.store import fences, rules, tables, updating
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing
from tests.databases import ROOT
from tests.leads.conftest import MINUTE, NOON, Desk
from tests.running import at_once

AGENT = "copenhagen-1"


def shift(desk: Desk, login: str = AGENT, at: datetime = NOON) -> Shift:
    return dialling.start(desk.engine, login, "DK-ENERGY", at)


def given(desk: Desk, times: int, login: str = AGENT, at: datetime = NOON) -> list[int | None]:
    """The numbers of the leads that an agent is given one after the other."""
    mine, found = shift(desk, login, at), []
    for _ in range(times):
        taken, mine = dialling.next_lead(desk.engine, mine, at)
        found.append(taken.id if taken else None)
    return found


def test_leads_come_in_the_order_of_their_statuses(desk: Desk) -> None:
    names = ["unprocessed", "automatic_redial", "manual_redial_common", "manual_redial_private", "manual_redial_vip",
             "incoming_call", "blank_call", "lost_incoming_call"]  # fmt: skip
    numbers = desk.leads(*({"status_id": desk.status(name)} for name in names))
    closed, by_hand = desk.leads({"status_id": desk.status("success")}, {"status_id": desk.status("busy")})
    assert given(desk, 9) == [*reversed(numbers), None]
    assert {desk.lead(number).locked_by_id for number in (closed, by_hand)} == {None}


def test_inside_one_status_priority_then_time_then_file_order(desk: Desk) -> None:
    before = NOON - timedelta(hours=1)
    rows = [{}, {"priority": 5}, {"priority": 90}, {"scheduled_at": NOON}, {"scheduled_at": before}, {"dial_rank": 0}]
    plain, five, ninety, due, overdue, first = desk.leads(*rows)
    (newer,) = desk.leads({})
    assert given(desk, 8) == [ninety, five, overdue, due, first, plain, newer, None]


def test_only_what_may_be_called_is_given(desk: Desk) -> None:
    held = {"locked_by_id": desk.owner("user:aarhus-1"), "locked_until": NOON + MINUTE}
    desk.leads({"deactivated_at": NOON}, held, {"attempts": 8}, {"scheduled_at": NOON + MINUTE})
    desk.leads({}, owner="team:aarhus")
    desk.leads({}, campaign="DE-ENERGY")
    (mine,) = desk.leads({}, owner=f"user:{AGENT}")
    assert given(desk, 2) == [mine, None]


def test_a_lead_is_held_until_its_result(desk: Desk) -> None:
    (number,) = desk.leads({})
    taken, mine = dialling.next_lead(desk.engine, shift(desk), NOON, lease=timedelta(minutes=10))
    assert taken is not None
    assert (taken.locked_by_id, taken.locked_until) == (mine.agent.id, NOON + timedelta(minutes=10))
    assert ("lock", None, str(mine.agent.id)) in desk.told(number)
    assert given(desk, 1, "copenhagen-2") == [None]
    wish = Change(to="automatic_redial", by=mine.agent.id, at=NOON, scheduled_at=NOON + MINUTE)
    after = dialling.result(desk.engine, number, wish)
    assert (after.attempts, after.locked_by_id, after.processed_by_id) == (1, None, mine.agent.id)
    assert given(desk, 1, "copenhagen-2") == [None]
    assert given(desk, 1, "copenhagen-2", NOON + MINUTE) == [number]


def test_a_lead_that_was_left_comes_again_when_its_lease_is_over(desk: Desk) -> None:
    (number,) = desk.leads({})
    assert given(desk, 1) == [number]
    assert given(desk, 1, "copenhagen-2", NOON + editing.LEASE) == [number]


def test_more_leads_than_are_staged_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "STAGED", 3)
    first = desk.leads(*({} for _ in range(8)))
    assert given(desk, 4) == first[:4]
    (better,) = desk.leads({"priority": 1})  # a load that comes while agents dial
    with writing(desk.engine) as connection:
        values = {"load_sequence": tables.campaigns.c.load_sequence + 1}
        connection.execute(tables.campaigns.update().where(tables.campaigns.c.code == "DK-ENERGY").values(values))
    assert given(desk, 6) == [better, *first[4:], None]


def test_leads_that_move_to_an_owner_come_in_their_place(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "STAGED", 2)
    elsewhere = desk.leads({}, {}, {}, owner="team:aarhus")
    mine = desk.leads({}, {}, {})
    assert given(desk, 1) == mine[:1]
    with reading(desk.engine) as connection:
        owner = rules.owners(connection).by_name["team:denmark"]
    move = owner_change.Move(to=owner, by=owner.id, at=NOON)
    owner_change.change_owner(desk.engine, move, elsewhere)
    assert given(desk, 6) == [*elsewhere, *mine[1:], None]


def test_a_deactivated_pool_is_not_dialled_but_its_private_leads(desk: Desk) -> None:
    plain, private = desk.leads({}, {})
    desk.change(private, "manual_redial_private")
    pool = desk.lead(plain).pool_id
    desk.set("pools", "id", pool, state=PoolState.INACTIVE)
    assert given(desk, 2) == [private, None]
    desk.set("pools", "id", pool, state=PoolState.ACTIVE)
    with writing(desk.engine) as connection:
        dialling.reorder(connection, desk.campaign(), pool)
    assert given(desk, 2) == [plain, None]


@pytest.mark.parametrize("how", ["pool", "file"])
def test_a_lead_that_was_held_while_the_order_was_made_anew_is_dialled_again(desk: Desk, how: str) -> None:
    (number,) = desk.leads({})
    assert given(desk, 1) == [number]
    with writing(desk.engine) as connection:
        if how == "pool":
            dialling.reorder(connection, desk.campaign(), desk.lead(number).pool_id)
        else:
            assert fences.passed(connection, fences.seen(connection, desk.campaign()))
            changes = pl.DataFrame({"id": [number], "version": [desk.lead(number).version], "city": ["Lund"]})
            assert updating.update_leads(connection, changes, desk.campaign(), NOON).is_empty()
    assert given(desk, 1, "copenhagen-2", NOON + MINUTE) == [None]  # staged now, and held by the first agent
    timed.apply(desk.engine, NOON + editing.LEASE)
    assert given(desk, 2, "copenhagen-2", NOON + editing.LEASE) == [number, None]


def test_a_status_that_is_dialled_and_kept_is_for_who_called(desk: Desk) -> None:
    desk.set("statuses", "code", "automatic_redial", kept_for_caller=True)
    (number,) = desk.leads({})
    desk.change(number, "automatic_redial", call=True)
    with writing(desk.engine) as connection:
        dialling.reorder(connection, desk.campaign(), desk.lead(number).pool_id)
    assert given(desk, 1, "copenhagen-2") == [None]
    assert given(desk, 1) == [number]


def segment(desk: Desk, name: str, tree: Any, *, active: bool = True) -> int:
    """A segment in a group of its own, with the leads that belong to it."""
    deed = Deed(actor=COMMAND_LINE, at=NOON)
    with writing(desk.engine) as connection:
        its = segments.add_group(connection, deed, "ENERGY", name)
        made = segments.add(connection, deed, ROOT / "schemas", its.id, name, tree, active=active)
    assert placing.work(desk.engine).finished
    return made.id


def in_segment(desk: Desk, number: int, times: int, at: datetime = NOON) -> list[int | None]:
    """The numbers of the leads that an agent is given in a segment."""
    mine, found = dialling.start(desk.engine, AGENT, "DK-ENERGY", at, segment_id=number), []
    for _ in range(times):
        taken, mine = dialling.next_lead(desk.engine, mine, at)
        found.append(taken.id if taken else None)
    return found


def test_a_segment_narrows_what_is_given(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "STAGED", 2)
    numbers = desk.leads(*({"city": city} for city in ["Lund"] * 7 + ["Kiel", "Kiel", "50% Kiel"]))
    asked: list[dict[str, Any]] = [
        {"field": "city", "op": "in", "value": ["Kiel", "Ærø"]},
        {"field": "city", "op": "contains", "value": "%"},
        {"field": "postcode", "op": "in", "value": [str(code) for code in range(4000, 4040)]},
    ]
    kiel = segment(desk, "Kiel", {"all": [{"any": asked}, {"field": "owner", "op": "below", "value": "team:company"}]})
    segment(desk, "everything", {})
    assert in_segment(desk, kiel, 2) == numbers[7:9]
    assert in_segment(desk, kiel, 2) == [numbers[9], None]
    assert given(desk, 3) == numbers[:3]


def test_a_lead_that_no_longer_belongs_to_the_segment_is_not_given(desk: Desk) -> None:
    first, second, third = desk.leads({"city": "Kiel"}, {"city": "Kiel"}, {"city": "Kiel", "priority": -1})
    segment(desk, "best", {"field": "priority", "op": "from", "value": 9})
    kiel = segment(desk, "Kiel", {"field": "city", "op": "is", "value": "Kiel"})
    with writing(desk.engine) as connection:  # nothing is put into another segment meanwhile
        for number, values in ((first, {"city": "Lund"}), (second, {"priority": 9})):
            connection.execute(tables.leads.update().where(tables.leads.c.id == number).values(version=1, **values))
    assert in_segment(desk, kiel, 2) == [third, None]


def test_leads_that_come_into_a_segment_are_given_soon(desk: Desk) -> None:
    kiel = segment(desk, "Kiel", {"field": "city", "op": "is", "value": "Kiel"})
    assert in_segment(desk, kiel, 1) == [None]
    first, second = desk.leads({"city": "Kiel"}, {})
    assert placing.work(desk.engine).moved == 1
    assert in_segment(desk, kiel, 2) == [first, None]
    with writing(desk.engine) as connection:
        wish = editing.Edit(values={"city": "Kiel"}, by=desk.owner("user:admin"), at=NOON)
        editing.edit(connection, ROOT / "schemas", second, wish)
    assert in_segment(desk, kiel, 2) == [second, None]


def test_a_segment_that_is_not_there_or_not_active_is_refused(desk: Desk) -> None:
    off = segment(desk, "off", {}, active=False)
    with writing(desk.engine) as connection:
        elsewhere = segments.add_group(connection, Deed(actor=COMMAND_LINE, at=NOON), "FIBRE", "x").id
    for number in (off, elsewhere + 50):
        with pytest.raises(Rejected, match="no active segment"):
            in_segment(desk, number, 1)


def test_who_may_not_dial_is_told_why(desk: Desk) -> None:
    desk.leads({})
    mine = shift(desk)
    desk.set("campaigns", "code", "DK-ENERGY", active=False)
    with pytest.raises(Rejected, match="DK-ENERGY is not active"):
        shift(desk)
    with pytest.raises(Rejected, match="DK-ENERGY is not active"):  # what a shift knows is believed for seconds only
        dialling.next_lead(desk.engine, mine, NOON + dialling.FRESH)
    with pytest.raises(Rejected, match="the campaign 'X' does not exist"):
        dialling.start(desk.engine, AGENT, "X", NOON)
    desk.set("campaigns", "code", "DK-ENERGY", active=True)
    desk.set("users", "login", AGENT, active=False)
    with pytest.raises(Rejected, match=f"{AGENT} is deactivated"):
        shift(desk)


LEADS, AGENTS, CALLS = 10_000, 50, 12


def test_fifty_agents_at_once_never_get_the_same_lead(desk: Desk) -> None:
    numbers = desk.leads(*({} for _ in range(LEADS)))
    logins = [AGENT, "copenhagen-2", "aarhus-1", "copenhagen-evening-1", "admin"]
    given_out: list[Lead] = []

    def work(mine: Shift) -> None:
        for _ in range(CALLS):
            taken, mine = dialling.next_lead(desk.engine, mine, NOON)
            assert taken is not None
            given_out.append(taken)

    at_once(*(partial(work, shift(desk, logins[each % 4])) for each in range(AGENTS)))
    taken = Counter(lead.id for lead in given_out)
    assert set(taken.values()) == {1}
    assert set(taken) == set(numbers[: AGENTS * CALLS])  # and these are the first ones of the file


def any_result(desk: Desk, number: int, to: str, **wish: Any) -> Lead:
    return dialling.result(desk.engine, number, Change(to=to, by=desk.owner(f"user:{AGENT}"), at=NOON, **wish))


def test_results_change_what_comes_next(desk: Desk) -> None:
    one, two, three = desk.leads({}, {}, {})
    assert given(desk, 1) == [one]
    any_result(desk, one, "manual_redial_vip", scheduled_at=NOON)
    assert given(desk, 1) == [one]  # before everything else again
    any_result(desk, one, "success")
    assert given(desk, 3) == [two, three, None]


def test_nobody_is_given_leads_without_the_permission_to_dial(desk: Desk) -> None:
    desk.leads({})
    with writing(desk.engine) as connection:
        this, deed = people.known(connection, AGENT), Deed(actor=COMMAND_LINE, at=NOON)
        people.allow(connection, deed, this, Permission.DIAL, granted=False)
    with pytest.raises(Rejected, match="copenhagen-1 lacks the permission dial"):
        shift(desk)
