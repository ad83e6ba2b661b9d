"""Change Owner: both sides of the answer, in batches that may be stopped and gone on with."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ingestd.errors import Rejected
from ingestd.leads import access, owner_change
from ingestd.leads.owner_change import Moved
from ingestd.leads.selection import Filter
from ingestd.store import rules
from ingestd.store.engine import reading
from tests.leads.conftest import MINUTE, NOON, Desk

LEADER = "lead-denmark"


def move(desk: Desk, leads: Any, to: str = "team:aarhus", **wish: Any) -> Moved:
    walk = {name: wish.pop(name) for name in ("after", "progress", "go_on", "batch") if name in wish}
    with reading(desk.engine) as connection:
        owner = rules.owners(connection).by_name[to]
    wanted = owner_change.Move(to=owner, by=desk.owner(f"user:{LEADER}"), at=NOON, why="moved house", **wish)
    return owner_change.change_owner(desk.engine, wanted, leads, **walk)


def sides(moved: Moved) -> dict[str, list[int]]:
    return {"moved": list(moved.moved), **{reason: list(numbers) for reason, numbers in moved.refused.items()}}


def test_both_sides_are_told(desk: Desk) -> None:
    held = {"locked_by_id": desk.owner("user:copenhagen-1"), "locked_until": NOON + MINUTE}
    lapsed = {**held, "locked_until": NOON}
    plain, locked, free, gone, theirs = desk.leads(
        {}, held, lapsed, {"deactivated_at": NOON}, {"owner_id": desk.owner("team:aarhus")}
    )
    told = move(desk, [plain, locked, free, gone, theirs, 999, plain])
    assert sides(told) == {
        "moved": [plain, free],
        "locked": [locked],
        "deactivated": [gone],
        "already_theirs": [theirs],
        "unknown": [999],
    }
    assert told.finished
    assert told.looked_at == 6
    owners = [desk.lead(number).owner_id == desk.owner("team:aarhus") for number in (plain, locked, free, gone)]
    assert owners == [True, False, True, False]


def test_who_called_and_who_uploaded_stay(desk: Desk) -> None:
    caller = desk.owner("user:copenhagen-1")
    (number,) = desk.leads({"processed_by_id": caller, "created_by_id": caller})
    move(desk, [number])
    move(desk, [number], to="user:aarhus-1")
    here = desk.lead(number)
    assert (here.processed_by_id, here.created_by_id) == (caller, caller)
    assert here.original_owner_id == desk.owner("team:denmark")
    assert here.modified_by_id == desk.owner(f"user:{LEADER}")
    first, second, third = (str(desk.owner(name)) for name in ("team:denmark", "team:aarhus", "user:aarhus-1"))
    assert desk.told(number) == [("owner", first, second), ("owner", second, third)]


def test_locked_and_deactivated_leads_move_when_told_to(desk: Desk) -> None:
    held = {"locked_by_id": desk.owner("user:copenhagen-1"), "locked_until": NOON + MINUTE}
    locked, gone, plain = desk.leads(held, {"deactivated_at": NOON}, {})
    told = move(desk, [locked, gone, plain], unlock=True, deactivated=True)
    assert list(told.moved) == [locked, gone, plain]
    assert desk.lead(locked).locked_by_id is None
    assert [field for field, *_ in desk.told(locked)] == ["lock", "owner"]
    assert [field for field, *_ in desk.told(plain)] == ["owner"]
    assert desk.lead(gone).deactivated_at == NOON


@pytest.mark.parametrize("retain", [True, False])
def test_private_and_vip_may_be_retained(desk: Desk, retain: bool) -> None:
    private, vip, common = desk.leads({}, {}, {})
    for number, status in ((private, "private"), (vip, "vip"), (common, "common")):
        desk.change(number, f"manual_redial_{status}")
    told = move(desk, [private, vip, common], retain=retain)
    assert list(told.moved) == ([common] if retain else [private, vip, common])
    assert list(told.refused.get("retained", ())) == ([private, vip] if retain else [])
    assert (desk.lead(private).owner_id == desk.owner("user:copenhagen-1")) is retain


def test_a_filter_names_leads_of_every_campaign(desk: Desk) -> None:
    here = desk.leads({}, {}, {})
    there = desk.leads({}, {}, campaign="DE-ENERGY")
    others = desk.leads({}, owner="team:germany")
    desk.change(here[0], "success")
    told = move(desk, Filter(owner_id=desk.owner("team:denmark"), status="open"), batch=2)
    assert sorted(told.moved) == sorted([*here[1:], *there])
    pool = desk.lead(others[0]).pool_id
    assert list(move(desk, Filter(pool_id=pool, campaign_id=desk.campaign()), to="team:berlin").moved) == others
    assert move(desk, Filter(campaign_id=999)).looked_at == 0
    with pytest.raises(Rejected, match="there is no status 'sold'"):
        move(desk, Filter(status="sold"))


@pytest.mark.parametrize("by_number", [True, False])
def test_a_change_that_was_cancelled_goes_on_where_it_ended(desk: Desk, by_number: bool) -> None:
    numbers = desk.leads(*({} for _ in range(7)))
    leads = numbers if by_number else Filter(campaign_id=desk.campaign())
    seen: list[int] = []
    first = move(desk, leads, batch=3, progress=lambda so_far: seen.append(so_far.looked_at), go_on=lambda: not seen)
    assert (first.finished, list(first.moved), seen) == (False, numbers[:3], [3])
    rest = move(desk, leads, batch=3, after=first.cursor)
    assert (rest.finished, list(rest.moved)) == (True, numbers[3:])
    assert all(len(desk.told(number)) == 1 for number in numbers)


def test_the_same_wish_again_moves_nobody(desk: Desk) -> None:
    numbers = desk.leads({}, {})
    move(desk, numbers)
    assert sides(move(desk, numbers)) == {"moved": [], "already_theirs": numbers}


def test_nobody_moves_nothing(desk: Desk) -> None:
    assert sides(move(desk, [])) == {"moved": []}


def test_agents_call_what_moved_to_them(desk: Desk) -> None:
    """LEADS.md: after a change, the rules of calling look at the new owner."""
    (number,) = desk.leads({})
    move(desk, [number], to="user:aarhus-1")
    for login, may in (("aarhus-1", True), ("copenhagen-1", False), ("aarhus-2", False)):
        with reading(desk.engine) as connection:
            told = access.explain(connection, number, desk.agent(login), NOON + timedelta(minutes=1))
        assert told.may_call is may
