"""Lead pools: activated and deactivated, shuffled, and emptied of what nobody has worked with."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from sqlalchemy import false, func, select

from ingestd.errors import Conflict, Missing
from ingestd.leads import dialling, pools
from ingestd.model import PoolState
from ingestd.store import audit, tables
from ingestd.store import pools as queries
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing
from ingestd.store.lead_tables import lead_events
from tests.leads.conftest import MINUTE, NOON, Desk

AGENT = "copenhagen-1"
DEED = Deed(actor=COMMAND_LINE, at=NOON, why="asked")
EMPTY = partial(pools.delete_unprocessed, beyond=false())


def do(desk: Desk, verb: Any, number: int, **wish: Any) -> Any:
    with writing(desk.engine) as connection:
        return verb(connection, DEED, number, **wish)


def given(desk: Desk, times: int) -> list[int | None]:
    """The numbers of the leads that an agent is given one after the other."""
    mine, found = dialling.start(desk.engine, AGENT, "DK-ENERGY", NOON), []
    for _ in range(times):
        taken, mine = dialling.next_lead(desk.engine, mine, NOON)
        found.append(taken.id if taken else None)
    return found


def noted(desk: Desk, pool: int) -> list[tuple[str, Any, Any]]:
    with reading(desk.engine) as connection:
        found = audit.latest(connection, limit=9, subject=f"pool:{pool}")
    return [(entry.action, entry.before, entry.after) for entry in found]


def total(desk: Desk, pool: int) -> int:
    with reading(desk.engine) as connection:
        found = queries.one(connection, pool)
    assert found is not None
    return int(found["total"])


def test_a_deactivated_pool_gives_only_its_vip_and_private_redials(desk: Desk) -> None:
    first, vip, private, last = desk.leads({}, {}, {}, {})
    desk.change(vip, "manual_redial_vip")
    desk.change(private, "manual_redial_private")
    pool = desk.lead(first).pool_id
    (elsewhere,) = desk.leads({})
    do(desk, pools.deactivate, pool)
    assert given(desk, 4) == [vip, private, elsewhere, None]
    do(desk, pools.activate, pool)
    assert given(desk, 3) == [first, last, None]
    assert noted(desk, pool) == [
        ("pool_activated", {"state": "Inactive"}, {"state": "Active"}),
        ("pool_deactivated", {"state": "Active"}, {"state": "Inactive"}),
    ]


def test_an_agent_who_is_dialling_is_given_no_more_of_it_at_once(desk: Desk) -> None:
    first, _second = desk.leads({}, {})
    mine = dialling.start(desk.engine, AGENT, "DK-ENERGY", NOON)
    taken, mine = dialling.next_lead(desk.engine, mine, NOON)
    assert taken is not None
    assert taken.id == first
    do(desk, pools.deactivate, taken.pool_id)
    assert dialling.next_lead(desk.engine, mine, NOON)[0] is None


@pytest.mark.parametrize("state", [state for state in PoolState if state != PoolState.ACTIVE])
def test_only_an_active_pool_is_deactivated(desk: Desk, state: PoolState) -> None:
    pool = desk.pool(state=state)
    with pytest.raises(Conflict, match=f"pool {pool} is {state}; only a pool that is Active becomes Inactive"):
        do(desk, pools.deactivate, pool)
    assert noted(desk, pool) == []


@pytest.mark.parametrize("state", [state for state in PoolState if state != PoolState.INACTIVE])
def test_only_an_inactive_pool_is_activated(desk: Desk, state: PoolState) -> None:
    pool = desk.pool(state=state)
    with pytest.raises(Conflict, match=f"pool {pool} is {state}; only a pool that is Inactive becomes Active"):
        do(desk, pools.activate, pool)


@pytest.mark.parametrize("verb", [pools.activate, pools.deactivate, pools.shuffle, EMPTY])
def test_a_pool_that_is_not_there_is_missing(desk: Desk, verb: Any) -> None:
    with pytest.raises(Missing, match="there is no pool 99"):
        do(desk, verb, 99)


@pytest.mark.parametrize("verb", [pools.shuffle, EMPTY])
def test_what_is_not_loaded_is_neither_shuffled_nor_emptied(desk: Desk, verb: Any) -> None:
    pool = desk.pool(state=PoolState.LOADING)
    with pytest.raises(Conflict, match="it has to be loaded first"):
        do(desk, verb, pool)


def test_a_shuffled_pool_is_dialled_in_another_order(desk: Desk) -> None:
    numbers = desk.leads(*({} for _ in range(30)))
    behind = desk.leads({}, {})
    pool = desk.lead(numbers[0]).pool_id
    assert given(desk, 1) == numbers[:1]  # the order of the file, which is then staged
    assert do(desk, pools.shuffle, pool, seed=1) == 30
    order = given(desk, 32)
    assert order[:29] != numbers[1:]
    assert sorted(order[:29], key=str) == sorted(numbers[1:], key=str)
    assert order[29:] == [*behind, None]
    assert noted(desk, pool) == [("pool_shuffled", None, {"leads": 30})]


def ranks(desk: Desk, pool: int) -> list[int]:
    return [each["dial_rank"] for each in desk.all_leads() if each["pool_id"] == pool]


def test_the_same_seed_gives_the_same_order_and_each_place_once(desk: Desk) -> None:
    numbers = desk.leads(*({} for _ in range(200)))
    pool = desk.lead(numbers[0]).pool_id
    seen = []
    for seed in (1, 2, 1, None):
        do(desk, pools.shuffle, pool, seed=seed)
        seen.append(ranks(desk, pool))
    assert all(sorted(each) == list(range(1, 201)) for each in seen)
    assert seen[0] == seen[2]
    assert len({tuple(each) for each in seen}) == 3
    moved = sum(abs(rank - place) for place, rank in enumerate(seen[0], start=1)) / 200
    assert 40 < moved < 95  # a random order moves a lead by a third of the pool


def test_only_leads_that_nobody_worked_with_are_deleted(desk: Desk) -> None:
    held = {"locked_by_id": desk.owner("user:aarhus-1"), "locked_until": NOON + MINUTE}
    rows = [{}, {}, held, {"locked_by_id": 1, "locked_until": NOON}, {"attempts": 1}, {"deactivated_at": NOON}]
    plain, done, locked, lapsed, called, away = desk.leads(*rows)
    (elsewhere,) = desk.leads({})
    desk.change(done, "success")
    pool = desk.lead(plain).pool_id
    kept = {"called": 1, "locked": 1, "processed": 1}
    assert do(desk, EMPTY, pool) == pools.Deleted(deleted=3, kept=kept)
    assert [each["id"] for each in desk.all_leads()] == [done, locked, called, elsewhere]
    assert total(desk, pool) == 3
    assert {lapsed, away}.isdisjoint(each["id"] for each in desk.all_leads())
    assert noted(desk, pool) == [("pool_emptied", None, {"deleted": 3, "kept": kept})]
    assert given(desk, 3) == [called, elsewhere, None]


def test_deleted_leads_leave_no_history_and_others_keep_theirs(desk: Desk) -> None:
    one, two = desk.leads({}, {})
    assert given(desk, 1) == [one]
    desk.set("leads", "id", one, locked_by_id=None, locked_until=None)
    desk.change(two, "success")
    do(desk, EMPTY, desk.lead(one).pool_id)
    with reading(desk.engine) as connection:
        left = set(connection.scalars(select(lead_events.c.lead_id)))
    assert left == {two}


def test_a_load_that_screened_before_notices_that_leads_are_gone(desk: Desk) -> None:
    (number,) = desk.leads({})
    query = select(func.sum(tables.campaigns.c.load_sequence)).where(tables.campaigns.c.code == "DK-ENERGY")
    pool = desk.lead(number).pool_id
    seen = []
    for _ in range(3):
        with reading(desk.engine) as connection:
            seen.append(int(connection.scalar(query) or 0))
        do(desk, EMPTY, pool)
    assert seen == [seen[0], seen[0] + 1, seen[0] + 1]  # the second time there was nothing to delete
