"""Users: made, moved, given a role; nobody gives a power that is not theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from ingestd.access import people, sessions
from ingestd.access.people import Person
from ingestd.access.permissions import ROLES, Permission, check_may_give, role_named
from ingestd.errors import Conflict
from ingestd.organisation import changes, owners
from ingestd.organisation.changes import Record
from ingestd.store.audit import Deed

Permissions = frozenset[Permission]
EVERYTHING: Permissions = frozenset(Permission)
"""What the command line may: whoever reads the home and the store can do anything anyway."""


def create(
    connection: Connection,
    deed: Deed,
    login: str,
    values: Mapping[str, Any],
    *,
    mine: Permissions = EVERYTHING,
) -> Record:
    """A new user; `mine` is what the caller may do. Raises Denied for a role with more than that."""
    check_may_give(mine, ROLES[role_named(values.get("role", "agent"))])
    return changes.create(connection, deed, "user", login, values)


def edit(
    connection: Connection,
    deed: Deed,
    login: str,
    values: Mapping[str, Any],
    *,
    seen: str | None = None,
    confirmed: bool = False,
    mine: Permissions = EVERYTHING,
) -> Record:
    """Changes a user, as `owners.edit` does; a user who is deactivated is out at once."""
    person = people.known(connection, login)
    check_may_give(mine, person.permissions)
    if "role" in values:
        check_may_give(mine, ROLES[role_named(values["role"])])
    if values.get("active") is False and deed.actor.user_id == person.id:
        raise Conflict("yourself", "you cannot deactivate yourself; somebody else can")
    after = owners.edit(connection, deed, "user", login, values, seen=seen, confirmed=confirmed)
    if not after.facts["active"]:
        sessions.end_all(connection, person.id)
    return after


def allow(
    connection: Connection,
    deed: Deed,
    login: str,
    permission: Permission,
    *,
    granted: bool,
    mine: Permissions = EVERYTHING,
) -> Person:
    """Grants a user a permission beyond the role, or revokes one; raises Missing or Denied."""
    person = people.known(connection, login)
    check_may_give(mine, person.permissions | {permission})
    return people.allow(connection, deed, person, permission, granted=granted)


def set_password(
    connection: Connection, deed: Deed, login: str, encoded: str, *, mine: Permissions = EVERYTHING
) -> None:
    """Another password for a user, by its argon2id hash; raises Missing, and Denied for a user with more power."""
    person = people.known(connection, login)
    check_may_give(mine, person.permissions)
    people.set_password(connection, deed, person, encoded)
