"""The same done to many leads: each ends as it would alone, with the same history, and is refused in the same words."""

from __future__ import annotations

import re
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, text, update

from ingestd.errors import Denied, Refused, Rejected
from ingestd.leads import bulk, editing, rights, statuses
from ingestd.leads.bulk import Action, Done, Wish
from ingestd.leads.statuses import Change
from ingestd.store.engine import repeated, writing
from ingestd.store.tables import leads
from tests.leads.conftest import MINUTE, NOON, Desk
from tests.running import until

LEADER = "lead-denmark"


def rows(desk: Desk) -> list[dict[str, Any]]:
    """Leads of every kind that the rules tell apart."""
    agent, other = desk.owner("user:copenhagen-1"), desk.owner("team:aarhus")
    private = {"status_id": desk.status("manual_redial_private"), "owner_id": agent}
    return [
        {},
        {"priority": 5, "scheduled_at": NOON - MINUTE},
        {"locked_by_id": agent, "locked_until": NOON + MINUTE},
        {"locked_by_id": agent, "locked_until": NOON - MINUTE},
        {"locked_by_id": desk.owner(f"user:{LEADER}"), "locked_until": NOON + MINUTE},
        {**private, "original_owner_id": other},
        private,
        {"status_id": desk.status("success"), "status_at": NOON - MINUTE},
        {"status_id": desk.status("anonymised")},
        {"attempts": 8},
        {"attempts": 9, "dial_rank": 3},
        {"deactivated_at": NOON - MINUTE},
    ]


def one(connection: Connection, desk: Desk, wish: Wish, number: int) -> None:
    """The same deed as the API does it to a single lead."""
    rights.take(connection, wish.by, number)
    by, at = wish.by.id, wish.at
    if wish.action == Action.LOCK:
        editing.lock(connection, number, by=by, at=at, lease=wish.lease)
    elif wish.action == Action.UNLOCK:
        editing.unlock(connection, number, by=by, at=at, force=wish.force)
    elif wish.action == Action.STATUS:
        change = Change(to=wish.status, by=by, at=at, why=wish.why, retain_owner=wish.retain_owner)
        statuses.change_status(connection, number, change)
    else:
        verb = editing.activate if wish.action == Action.ACTIVATE else editing.deactivate
        verb(connection, number, by=by, at=at, why=wish.why)


def one_by_one(desk: Desk, wish: Wish, numbers: list[int]) -> dict[int, tuple[str, str]]:
    refused = {}
    for number in numbers:
        try:
            with writing(desk.engine) as connection:
                one(connection, desk, wish, number)
        except (Rejected, Refused) as problem:
            refused[number] = (problem.code, problem.message)
    return refused


def stand(desk: Desk, numbers: list[int]) -> list[Any]:
    """What is left of leads when what tells them apart is taken away."""
    apart = ("id", "phone", "pool_id", "dial_key")
    found = {each["id"]: each for each in desk.all_leads()}
    return [
        (
            {name: value for name, value in found[number].items() if name not in apart},
            _without_pool(found[number]["dial_key"]),
            desk.told(number),
        )
        for number in numbers
    ]


def _without_pool(key: str | None) -> str | None:
    """The place of a lead in the order of dialling (`order.key`), whatever its pool."""
    return None if key is None else key[:20] + key[30:]


DEEDS: list[tuple[Action, dict[str, Any]]] = [
    (Action.LOCK, {"lease": timedelta(minutes=3)}),
    (Action.UNLOCK, {"force": True}),
    (Action.STATUS, {"status": "manual_redial_vip", "why": "asked for"}),
    (Action.STATUS, {"status": "manual_redial_vip", "retain_owner": True}),
    (Action.STATUS, {"status": "automatic_redial"}),
    (Action.STATUS, {"status": "expired"}),
    (Action.DEACTIVATE, {"why": "old"}),
    (Action.ACTIVATE, {}),
]


def test_many_end_as_each_alone(desk: Desk) -> None:
    for action, facts in DEEDS:
        many, singles = desk.leads(*rows(desk)), desk.leads(*rows(desk))
        wish = Wish(action=action, by=desk.agent(LEADER), at=NOON, **facts)
        done = bulk.do(desk.engine, wish, [*many, 999_999])
        alone = one_by_one(desk, wish, [*singles, 999_999])
        assert stand(desk, many) == stand(desk, singles), (action, facts)
        assert refusals({each.lead: (each.code, each.detail) for each in done.refused}, many) == refusals(
            alone, singles
        ), (action, facts)
        assert sorted([*done.done, *(each.lead for each in done.refused)]) == [*many, 999_999]


def refusals(told: dict[int, tuple[str, str]], numbers: list[int]) -> list[tuple[int, str, str]]:
    """By their places in the list, which is longer than it by one that nobody has."""
    places = {number: place for place, number in enumerate(numbers)} | {999_999: len(numbers)}
    return [
        (places[number], code, re.sub(r"lead \d+", "lead", words)) for number, (code, words) in sorted(told.items())
    ]


def statements(desk: Desk, wish: Wish, numbers: list[int]) -> tuple[int, Done]:
    """How many statements it takes."""
    said: list[str] = []
    listener = lambda *facts: said.append(facts[2])  # noqa: E731 - the same object is taken off again
    event.listen(desk.engine, "before_cursor_execute", listener)
    try:
        done = bulk.do(desk.engine, wish, numbers)
    finally:
        event.remove(desk.engine, "before_cursor_execute", listener)
    return len(said), done


def test_a_hundred_take_no_more_statements_than_ten(desk: Desk) -> None:
    wish = Wish(action=Action.STATUS, by=desk.agent(LEADER), at=NOON, status="manual_redial_private")
    few, many = desk.leads(*({} for _ in range(10))), desk.leads(*({"attempts": 8} for _ in range(100)))
    small, _ = statements(desk, wish, few)
    large, done = statements(desk, wish, many)
    assert large <= small + 3, "and these are closed by the limit of attempts too"
    assert done.done == tuple(many)
    assert {desk.lead(number).status for number in many} == {"max_call_attempts"}


def test_what_cannot_be_done_to_any_lead_is_said_at_once(desk: Desk) -> None:
    (number,) = desk.leads({})
    agent = desk.agent("copenhagen-1")
    with pytest.raises(Denied, match="lead_admin"):
        bulk.do(desk.engine, Wish(action=Action.UNLOCK, by=agent, at=NOON, force=True), [number])
    with pytest.raises(Rejected, match="no status"):
        bulk.do(desk.engine, Wish(action=Action.STATUS, by=agent, at=NOON, status="none"), [number])
    with pytest.raises(Rejected, match="a lead is held for up to"):
        bulk.do(desk.engine, Wish(action=Action.LOCK, by=agent, at=NOON, lease=timedelta(days=1)), [number])
    assert desk.lead(number).version == 0


def test_leads_of_several_campaigns_are_taken_in_the_order_of_change_owner(desk: Desk) -> None:
    later = desk.leads({}, {}, campaign="DK-FIBRE")  # the lower numbers are in the campaign that comes last
    first = desk.leads({}, {}, campaign="DK-ENERGY")
    assert desk.campaign("DK-ENERGY") < desk.campaign("DK-FIBRE")
    asked: list[str] = []

    def hear(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(desk.engine, "before_cursor_execute", hear)
    with writing(desk.engine) as connection:
        assert rights.take_all(connection, desk.agent("admin"), later + first) == {}
    event.remove(desk.engine, "before_cursor_execute", hear)
    assert any("ORDER BY leads.campaign_id, leads.id" in statement for statement in asked)


def test_two_that_wait_for_each_other_are_both_done(desk: Desk) -> None:
    if desk.engine.dialect.name == "sqlite":  # whose writers take turns
        return
    first, last = desk.leads({}, {})
    wish = Wish(action=Action.DEACTIVATE, by=desk.agent("admin"), at=NOON)
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with ThreadPoolExecutor(1) as pool:
        doing: list[Future[Done]] = []

        def load() -> None:  # takes them in no order
            with writing(desk.engine) as connection:
                connection.execute(update(leads).where(leads.c.id == last).values(city="Lund"))
                doing.append(pool.submit(bulk.do, desk.engine, wish, [first, last]))
                until(lambda: len(doing) > 1 or connection.scalar(waiting), "it waits for the second one")
                connection.execute(update(leads).where(leads.c.id == first).values(city="Lund"))

        repeated(load)  # the database decides who has to begin again
        assert doing[0].result() == Done(done=(first, last), refused=())
    assert [desk.lead(number).fields["city"] for number in (first, last)] == ["Lund", "Lund"]
