"""Who may call the leads of an owner: the same as the rules of calling say of each agent and lead."""

from __future__ import annotations

import pytest

from ingestd.access import people
from ingestd.access.permissions import Permission
from ingestd.leads import access, agents
from ingestd.leads.crews import Crews
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing
from ingestd.store.facts import world
from ingestd.store.lead_tables import campaign_access
from tests.leads.conftest import NOON, Desk

DEED = Deed(actor=COMMAND_LINE, at=NOON)


def crews(desk: Desk) -> Crews:
    with reading(desk.engine) as connection:
        return Crews.read(connection)


def open_only_to(desk: Desk, owner: str) -> None:
    with writing(desk.engine) as connection:
        values = {"campaign_id": desk.campaign(), "owner_id": desk.owner(owner)}
        connection.execute(campaign_access.insert().values(values))


@pytest.mark.parametrize("only", ["", "team:denmark", "team:copenhagen-evening", "user:berlin-1"])
def test_crews_are_those_whom_the_rules_of_calling_let_call(desk: Desk, only: str) -> None:
    if only:
        open_only_to(desk, only)
    found = crews(desk)
    with reading(desk.engine) as connection:
        logins = [login for login in world(connection)["user"] if login in found.callers]
    for owner in ("team:company", "team:denmark", "user:copenhagen-1"):
        (number,) = desk.leads({}, owner=owner)
        with reading(desk.engine) as connection:
            told = {
                login: access.explain(connection, number, agents.agent(connection, login), NOON) for login in logins
            }
        may = [login for login, explained in told.items() if all(rule.holds for rule in explained.calling)]
        assert found.of(owner, "DK-ENERGY") == sorted(may)
        assert found.counts("DK-ENERGY").get(owner, 0) == len(may)


def test_whoever_may_not_dial_or_is_not_active_is_in_no_crew(desk: Desk) -> None:
    assert "copenhagen-1" in crews(desk).of("team:copenhagen")
    with writing(desk.engine) as connection:
        person = people.known(connection, "copenhagen-1")
        people.allow(connection, DEED, person, Permission.DIAL, granted=False)
    desk.set("users", "login", "copenhagen-2", active=False)
    left = crews(desk).of("team:copenhagen")
    assert "copenhagen-1" not in left
    assert "copenhagen-2" not in left
    assert crews(desk).of("user:copenhagen-1") == []
    assert crews(desk).of("team:nobody") == []


def test_owners_are_a_tree_from_the_top(desk: Desk) -> None:
    owners = crews(desk).owners()
    assert owners[0].word == "team:company"
    assert owners[0].path == ()
    words = [owner.word for owner in owners]
    assert len(words) == len(set(words))
    evening = next(owner for owner in owners if owner.word == "team:copenhagen-evening")
    assert (evening.kind, evening.name, evening.code) == ("team", "Copenhagen Evening", "DK-CPH-EVE")
    assert evening.path == ("Company", "Denmark", "Copenhagen")
    assert words.index("team:copenhagen") < words.index("user:copenhagen-1") < words.index("team:copenhagen-evening")
    desk.set("teams", "key", "copenhagen", active=False)
    assert "team:copenhagen" not in [owner.word for owner in crews(desk).owners()]
