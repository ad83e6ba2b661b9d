"""Permissions, and the roles that are named sets of them (LEADS.md, "Permissions"). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from ingestd.errors import Denied, Invalid


class Permission(StrEnum):
    """One thing that somebody may or may not do."""

    LEAD_ADMIN = "lead_admin"
    """see, edit and reassign leads"""
    LEAD_POOLS = "lead_pools"
    """import leads; see deliveries, pools and their logs; activate and deactivate pools"""
    MANAGE_ORGANISATION = "manage_organisation"
    """teams, users, Lead Ownership Codes, projects, campaigns; the audit"""
    MANAGE_SOURCES = "manage_sources"
    """partner feeds with their logins and keys"""
    EXTENDED_DATA = "extended_data"
    """deactivated leads, and leads outside one's own team"""
    EXTENDED_INSIGHTS = "extended_insights"
    """reports outside one's own team"""
    DIAL = "dial"
    """be given leads to call"""


class Role(StrEnum):
    """A named set of permissions; every user has exactly one."""

    AGENT = "agent"
    TEAM_LEADER = "team_leader"
    ADMIN = "admin"


ROLES: Mapping[Role, frozenset[Permission]] = {
    Role.AGENT: frozenset({Permission.DIAL}),
    Role.TEAM_LEADER: frozenset({Permission.DIAL, Permission.LEAD_ADMIN, Permission.LEAD_POOLS}),
    Role.ADMIN: frozenset(Permission),
}


def effective(role: Role, exceptions: Mapping[Permission, bool]) -> frozenset[Permission]:
    """What a user may do: the role's permissions, with those granted (True) and without those revoked (False)."""
    granted = {permission for permission, given in exceptions.items() if given}
    return (ROLES[role] | granted) - {permission for permission, given in exceptions.items() if not given}


def permission_named(word: str) -> Permission:
    """A permission by its name; raises Invalid that lists them all."""
    try:
        return Permission(word)
    except ValueError:
        known = ", ".join(Permission)
        raise Invalid(
            "permission_unknown", f"no permission is called {word!r}; they are {known}", field="permissions"
        ) from None


def role_named(word: str) -> Role:
    """A role by its name; raises Invalid that lists them all."""
    try:
        return Role(word)
    except ValueError:
        raise Invalid("role_unknown", f"no role is called {word!r}; they are {', '.join(Role)}", field="role") from None


def check_may_give(mine: frozenset[Permission], given: Iterable[Permission]) -> None:
    """Nobody gives away what they have not: raises Denied, else who manages users could become anybody."""
    lacking = sorted(set(given) - mine)
    if lacking:
        told = f"you cannot give, or have power over, the permission {lacking[0]}, because you lack it yourself"
        raise Denied("permission_beyond_yours", told, permission=lacking[0])
