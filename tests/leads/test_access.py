"""Who may call and see a lead: each rule alone, and the two forms of the rules against each other."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update

from ingestd.access import people
from ingestd.access.permissions import Permission
from ingestd.errors import Rejected
from ingestd.leads import access, agents, statuses
from ingestd.model import PoolState
from ingestd.store import lead_tables, tables
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing
from tests.leads.conftest import MINUTE, NOON, Desk

CALLER = "copenhagen-1"


def explained(desk: Desk, number: int, login: str = CALLER, *permissions: str) -> access.Explanation:
    who = desk.agent(login, *permissions)
    with reading(desk.engine) as connection:
        return access.explain(connection, number, who, NOON)


def refusals(desk: Desk, number: int, login: str = CALLER) -> dict[str, str]:
    """The rules of calling that do not hold, with their facts."""
    return {rule.name: rule.fact for rule in explained(desk, number, login).calling if not rule.holds}


@pytest.mark.parametrize(
    ("owner", "may"),
    [
        ("user:copenhagen-1", True),
        ("team:copenhagen", True),
        ("team:denmark", True),
        ("team:company", True),
        ("user:copenhagen-2", False),
        ("user:lead-denmark", False),
        ("team:copenhagen-evening", False),
        ("team:aarhus", False),
        ("team:germany", False),
    ],
)
def test_agents_call_what_is_theirs_or_owned_at_or_above_their_team(desk: Desk, owner: str, may: bool) -> None:
    (number,) = desk.leads({}, owner=owner)
    told = explained(desk, number)
    assert told.may_call is may
    assert {rule.name for rule in told.calling if not rule.holds} == (set() if may else {"owner"})
    assert owner in next(rule.fact for rule in told.calling if rule.name == "owner")


@pytest.mark.parametrize(
    ("rule", "values", "fact"),
    [
        ("not_deactivated", {"deactivated_at": NOON}, "deactivated at 2026-06-15 12:00:00 UTC"),
        ("due", {"scheduled_at": NOON + MINUTE}, "scheduled for 2026-06-15 12:01:00 UTC"),
        ("attempts_left", {"attempts": 8}, "8 of 8 attempts"),
    ],
)
def test_a_no_has_its_reason(desk: Desk, rule: str, values: dict[str, Any], fact: str) -> None:
    (number,) = desk.leads(values)
    told = refusals(desk, number)
    assert list(told) == [rule]
    assert fact in told[rule]


def test_a_closed_lead_is_nobodys_to_call(desk: Desk) -> None:
    (number,) = desk.leads({})
    desk.change(number, "success")
    assert refusals(desk, number) == {"status_open": "its status is Success, which is closed"}


def test_a_lock_of_somebody_else_counts_until_its_time(desk: Desk) -> None:
    other = desk.owner("user:aarhus-1")
    held, over = desk.leads(
        {"locked_by_id": other, "locked_until": NOON + MINUTE}, {"locked_by_id": other, "locked_until": NOON}
    )
    assert refusals(desk, held) == {"not_locked": "user:aarhus-1 holds it until 2026-06-15 12:01:00 UTC"}
    assert refusals(desk, held, "aarhus-1") == {}
    assert refusals(desk, over) == {}


@pytest.mark.parametrize(("campaign", "which"), [(0, "global list"), (1, "list of DK-ENERGY")])
def test_a_listed_number_is_nobodys_to_call(desk: Desk, campaign: int, which: str) -> None:
    (number,) = desk.leads({})
    values = {"campaign_id": campaign and desk.campaign(), "phone": desk.lead(number).phone}
    with writing(desk.engine) as connection:
        connection.execute(insert(tables.do_not_call).values(**values, reason="", added_at=NOON))
    told = refusals(desk, number)
    assert list(told) == ["not_listed"]
    assert which in told["not_listed"]


def test_private_and_vip_outlive_their_pool(desk: Desk) -> None:
    plain, private = desk.leads({}, {})
    desk.change(private, "manual_redial_private")
    desk.set("pools", "id", desk.lead(plain).pool_id, state=PoolState.INACTIVE)
    assert refusals(desk, plain) == {"pool_active": "the pool a pool is Inactive"}
    assert refusals(desk, private) == {}


def test_unresolved_is_kept_for_who_called(desk: Desk) -> None:
    (number,) = desk.leads({})
    desk.change(number, "unresolved", CALLER, call=True)
    assert refusals(desk, number) == {}
    assert refusals(desk, number, "aarhus-1") == {"not_kept": f"Unresolved is kept for user:{CALLER}, who called it"}


def test_a_campaign_ends_with_its_last_day_by_its_own_clock(desk: Desk) -> None:
    (number,) = desk.leads({})
    desk.set("campaigns", "code", "DK-ENERGY", expires_on=NOON.date())
    assert refusals(desk, number) == {}
    desk.set("campaigns", "code", "DK-ENERGY", expires_on=NOON.date() - timedelta(days=1))
    assert refusals(desk, number) == {"campaign_active": "DK-ENERGY expired after 2026-06-14"}
    late = NOON.replace(hour=22, minute=30)  # the next day has begun in Copenhagen
    campaign = access.Campaign(
        id=1,
        code="X",
        active=True,
        expires_on=NOON.date(),
        timezone="Europe/Copenhagen",
        max_attempts=1,
        access=frozenset(),
    )
    assert (campaign.running(late - timedelta(hours=1)), campaign.running(late)) == (True, False)


def test_a_campaign_may_be_for_some_only(desk: Desk) -> None:
    (number,) = desk.leads({})
    assert explained(desk, number).may_call
    with writing(desk.engine) as connection:
        values = {"campaign_id": desk.campaign(), "owner_id": desk.owner("team:aarhus")}
        connection.execute(insert(lead_tables.campaign_access).values(values))
    assert list(refusals(desk, number)) == ["campaign_access"]
    assert refusals(desk, number, "aarhus-1") == {}


def test_a_user_who_left_calls_nobody(desk: Desk) -> None:
    (number,) = desk.leads({})
    desk.set("users", "login", CALLER, active=False)
    assert refusals(desk, number) == {"agent_active": f"{CALLER} is deactivated"}


def test_without_the_permission_to_dial_nobody_is_called(desk: Desk) -> None:
    (number,) = desk.leads({})
    allow(desk, CALLER, Permission.DIAL, granted=False)
    assert refusals(desk, number) == {"may_dial": f"{CALLER} lacks the permission dial"}


def test_deactivated_leads_are_for_leaders_and_extended_data(desk: Desk) -> None:
    (number,) = desk.leads({"deactivated_at": NOON})
    seen = {login: explained(desk, number, login).may_see for login in (CALLER, "lead-denmark", "admin")}
    assert seen == {CALLER: False, "lead-denmark": True, "admin": True}
    assert explained(desk, number, CALLER, "extended_data").may_see
    assert not explained(desk, number, CALLER, "extended_insights").may_see


def test_other_teams_are_seen_with_extended_permissions_only(desk: Desk) -> None:
    (number,) = desk.leads({}, owner="team:aarhus")
    assert not explained(desk, number).may_see
    assert "needs Extended Data Permissions" in explained(desk, number).seeing[1].fact
    assert not explained(desk, number, "lead-germany").may_see
    assert explained(desk, number, "lead-denmark").may_see
    assert explained(desk, number, CALLER, "extended_insights").may_see


def test_who_called_a_lead_still_sees_it_when_it_went_elsewhere(desk: Desk) -> None:
    (number,) = desk.leads({"processed_by_id": desk.owner(f"user:{CALLER}")}, owner="team:germany")
    told = explained(desk, number)
    assert (told.may_call, told.may_see) == (False, True)


def test_an_unknown_lead_or_user_is_refused(desk: Desk) -> None:
    with pytest.raises(Rejected, match="there is no lead 999") as refused:
        explained(desk, 999)
    assert refused.value.code == "lead_unknown"
    with pytest.raises(Rejected, match="there is no user 'nobody'"):
        desk.agent("nobody")


def test_the_way_up_and_down_the_tree(desk: Desk) -> None:
    named = ["team:copenhagen-evening", "team:copenhagen", "team:denmark", "team:company"]
    assert desk.agent("copenhagen-evening-1").teams == tuple(desk.owner(name) for name in named)
    with reading(desk.engine) as connection:
        below = agents.below(connection, desk.owner("team:denmark"))
        assert agents.top_team(connection) == desk.owner("team:company")
    assert below == {desk.owner(f"team:{key}") for key in ("denmark", "copenhagen", "copenhagen-evening", "aarhus")}


TEAMS = 6
PARENTS = st.tuples(*(st.integers(0, max(0, number - 1)) for number in range(1, TEAMS)))
LEAD = st.fixed_dictionaries(
    {
        "owner": st.integers(0, TEAMS * 2 - 1),
        "status": st.sampled_from(
            ["unprocessed", "manual_redial_vip", "manual_redial_private", "unresolved", "busy", "success", "anonymised"]
        ),
        "deactivated_at": st.sampled_from([None, NOON]),
        "scheduled_at": st.sampled_from([None, NOON - MINUTE, NOON, NOON + MINUTE]),
        "attempts": st.sampled_from([0, 7, 8]),
        "locked": st.sampled_from([None, *range(TEAMS)]),
        "locked_until": st.sampled_from([None, NOON - MINUTE, NOON, NOON + MINUTE]),
        "processed": st.sampled_from([None, *range(TEAMS)]),
        "created": st.sampled_from([None, *range(TEAMS)]),
        "pool": st.integers(0, 1),
        "phone": st.sampled_from(["+4526000001", "+4526000002"]),
    }
)
WORLD = st.fixed_dictionaries(
    {
        "parents": PARENTS,
        "leads": st.lists(LEAD, min_size=1, max_size=25),
        "agent": st.integers(0, TEAMS - 1),
        "role": st.sampled_from(["agent", "team_leader", "admin"]),
        "active": st.booleans(),
        "permissions": st.sets(st.sampled_from(["extended_data", "extended_insights"])),
        "may_dial": st.sampled_from([True, True, True, False]),
        "campaign_active": st.booleans(),
        "expires_on": st.sampled_from([None, date(2026, 6, 14), date(2026, 6, 15)]),
        "access": st.sets(st.integers(0, TEAMS * 2 - 1), max_size=2),
        "listed": st.sampled_from(["", "", "global", "here", "elsewhere"]),
    }
)


class World:
    """A random organisation: as many users as teams, each in the team of the same number, and one campaign."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.campaign = desk.campaign()
        self.pools = (desk.pool(), desk.pool(state=PoolState.INACTIVE))
        self.owners: list[int] = []
        with writing(desk.engine) as connection:
            for number in range(TEAMS * 2):
                self.owners.append(self._owner(connection, number))

    def _owner(self, connection: Any, number: int) -> int:
        kind = "team" if number < TEAMS else "user"
        made = connection.execute(insert(tables.owners).values(kind=kind)).inserted_primary_key[0]
        if kind == "team":
            values = {"key": f"t{number}", "name": f"t{number}", "active": True}
            connection.execute(insert(tables.teams).values(id=made, **values))
        else:
            values = {"login": f"u{number - TEAMS}", "name": "u", "role": "agent", "active": True}
            connection.execute(insert(tables.users).values(id=made, team_id=self.owners[number - TEAMS], **values))
        return int(made)

    def build(self, world: dict[str, Any]) -> None:
        user = self.owners[TEAMS:]
        with writing(self.desk.engine) as connection:
            for number, parent in enumerate(world["parents"], start=1):
                team = tables.teams.c.id == self.owners[number]
                connection.execute(update(tables.teams).where(team).values(parent_id=self.owners[parent]))
            mine = tables.users.c.id == user[world["agent"]]
            connection.execute(update(tables.users).where(mine).values(role=world["role"], active=world["active"]))
            state = {"active": world["campaign_active"], "expires_on": world["expires_on"]}
            connection.execute(update(tables.campaigns).where(tables.campaigns.c.id == self.campaign).values(state))
            connection.execute(delete(lead_tables.campaign_access))
            for owner in world["access"]:
                values = {"campaign_id": self.campaign, "owner_id": self.owners[owner]}
                connection.execute(insert(lead_tables.campaign_access).values(values))
            self._list(connection, world["listed"])
            connection.execute(delete(tables.leads))
            book = statuses.read(connection)
            rows = [self._lead(number, each, book) for number, each in enumerate(world["leads"], start=1)]
            connection.execute(insert(tables.leads), rows)

    def _list(self, connection: Any, which: str) -> None:
        connection.execute(delete(tables.do_not_call))
        if which:
            number = {"global": 0, "here": self.campaign, "elsewhere": self.campaign + 1}[which]
            values = {"campaign_id": number, "phone": "+4526000001", "reason": "", "added_at": NOON}
            connection.execute(insert(tables.do_not_call).values(values))

    def _lead(self, number: int, wanted: dict[str, Any], book: statuses.StatusBook) -> dict[str, Any]:
        users = dict(enumerate(self.owners[TEAMS:]))
        plain = {name: wanted[name] for name in ("phone", "deactivated_at", "scheduled_at", "attempts", "locked_until")}
        return {
            **plain,
            "campaign_id": self.campaign,
            "id": number,
            "pool_id": self.pools[wanted["pool"]],
            "row": number,
            "owner_id": self.owners[wanted["owner"]],
            "status_id": book.by_code[wanted["status"]].id,
            "locked_by_id": users.get(wanted["locked"]),
            "processed_by_id": users.get(wanted["processed"]),
            "created_by_id": users.get(wanted["created"]),
        }


def test_both_forms_of_the_rules_agree_over_random_worlds(desk: Desk) -> None:
    desk.leads({})  # makes the campaign's partition
    world = World(desk)

    @given(WORLD)
    @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    def agree(wanted: dict[str, Any]) -> None:
        world.build(wanted)
        who = desk.agent(f"u{wanted['agent']}", *wanted["permissions"])
        if not wanted["may_dial"]:
            who = replace(who, permissions=who.permissions - {Permission.DIAL})
        with reading(desk.engine) as connection:
            known, book = access.campaigns(connection).values(), statuses.read(connection)
            calls = set(connection.scalars(select(tables.leads.c.id).where(access.callable_by(who, known, book, NOON))))
            sees = set(connection.scalars(select(tables.leads.c.id).where(access.visible_to(who))))
            told = [access.explain(connection, number, who, NOON) for number in range(1, len(wanted["leads"]) + 1)]
        assert {each.lead_id for each in told if each.may_call} == calls
        assert {each.lead_id for each in told if each.may_see} == sees

    agree()


def test_permissions_are_those_of_the_role_with_the_exceptions_of_the_user(desk: Desk) -> None:
    assert not desk.agent(CALLER).sees_everything
    allow(desk, CALLER, Permission.EXTENDED_INSIGHTS, granted=True)
    assert desk.agent(CALLER).sees_everything
    assert desk.agent("admin").sees_everything
    for permission in (Permission.EXTENDED_DATA, Permission.EXTENDED_INSIGHTS):
        allow(desk, "admin", permission, granted=False)
    assert not desk.agent("admin").sees_everything
    assert not desk.agent("admin").sees_deactivated


def allow(desk: Desk, login: str, permission: Permission, *, granted: bool) -> None:
    deed = Deed(actor=COMMAND_LINE, at=NOON)
    with writing(desk.engine) as connection:
        people.allow(connection, deed, people.known(connection, login), permission, granted=granted)
