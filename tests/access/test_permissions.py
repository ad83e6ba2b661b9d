"""Permissions and roles."""

from __future__ import annotations

import pytest

from ingestd.access.permissions import ROLES, Permission, Role, check_may_give, effective, permission_named, role_named
from ingestd.errors import Denied, Invalid


def test_the_permissions_are_those_of_the_rules() -> None:
    assert set(Permission) == {
        "lead_admin", "lead_pools", "manage_organisation", "manage_sources", "extended_data", "extended_insights",
        "dial",
    }  # fmt: skip


def test_each_role_has_more_than_the_one_before() -> None:
    assert ROLES[Role.AGENT] < ROLES[Role.TEAM_LEADER] < ROLES[Role.ADMIN] == set(Permission)


def test_exceptions_add_to_the_role_and_take_from_it() -> None:
    special = {Permission.LEAD_ADMIN: True, Permission.DIAL: False}
    assert effective(Role.AGENT, special) == {Permission.LEAD_ADMIN}
    assert effective(Role.AGENT, {}) == ROLES[Role.AGENT]


def test_nobody_gives_what_is_not_theirs() -> None:
    mine = frozenset({Permission.MANAGE_ORGANISATION})
    check_may_give(mine, mine)
    with pytest.raises(Denied) as denied:
        check_may_give(mine, {Permission.DIAL})
    assert denied.value.facts["permission"] == "dial"


def test_unknown_words_are_told_with_the_known_ones() -> None:
    with pytest.raises(Invalid, match="lead_admin, lead_pools"):
        permission_named("leads")
    with pytest.raises(Invalid, match="agent, team_leader, admin"):
        role_named("boss")
