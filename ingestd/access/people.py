"""Users as those who come in: their password and what they may do."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from ingestd.access.permissions import ROLES, Permission, Role, effective
from ingestd.errors import Invalid, Missing
from ingestd.store import audit
from ingestd.store.access_tables import sessions, user_passwords, user_permissions
from ingestd.store.audit import Deed
from ingestd.store.tables import teams, users

SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 1024
"""characters; length is what counts (NIST SP 800-63B, 3.1.1)"""


@dataclass(frozen=True, kw_only=True)
class Person:
    """A user with all that the user may do."""

    id: int
    login: str
    name: str
    team_id: int
    team: str
    """key of the team"""
    role: Role
    active: bool
    permissions: frozenset[Permission]


def by_login(connection: Connection, login: str) -> Person | None:
    """A user by login, active or not."""
    return _find(connection, users.c.login == login)


def by_id(connection: Connection, number: int) -> Person | None:
    """A user by number, active or not."""
    return _find(connection, users.c.id == number)


def known(connection: Connection, login: str) -> Person:
    """A user by login; raises Missing."""
    person = by_login(connection, login)
    if person is None:
        raise Missing("user_unknown", f"there is no user {login!r}")
    return person


def password_hash(connection: Connection, login: str) -> str:
    """The argon2id hash of an active user's password; empty when there is none, and nobody comes in."""
    query = select(user_passwords.c.hash).join(users, users.c.id == user_passwords.c.user_id)
    return connection.scalar(query.where(users.c.login == login, users.c.active)) or ""


def with_passwords(connection: Connection) -> set[int]:
    """The numbers of the users that have a password."""
    return set(connection.scalars(select(user_passwords.c.user_id)))


def check_password(password: str) -> None:
    """Raises Invalid for a password that is too short to be kept."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        told = f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters"
        raise Invalid("password_unusable", told, field="password")


def set_password(connection: Connection, deed: Deed, person: Person, encoded: str) -> None:
    """Gives a user another password, by its argon2id hash, and ends the user's sessions."""
    values = {"hash": encoded, "changed_at": deed.at}
    here = user_passwords.c.user_id == person.id
    if connection.execute(update(user_passwords).where(here).values(values)).rowcount == 0:
        connection.execute(insert(user_passwords).values(user_id=person.id, **values))
    connection.execute(delete(sessions).where(sessions.c.user_id == person.id))
    audit.note(connection, deed, "password_set", f"user:{person.login}")


def exceptions(connection: Connection, user_id: int) -> dict[Permission, bool]:
    """What a user has beyond the role (True), or lacks of it (False)."""
    table = user_permissions.c
    query = select(table.permission, table.granted).where(table.user_id == user_id)
    return {Permission(word): granted for word, granted in connection.execute(query)}


def allow(connection: Connection, deed: Deed, person: Person, permission: Permission, *, granted: bool) -> Person:
    """Grants a permission or revokes it; where the role says the same already, no exception is kept."""
    if granted != (permission in person.permissions):
        table = user_permissions
        connection.execute(delete(table).where(table.c.user_id == person.id, table.c.permission == permission))
        if granted != (permission in ROLES[person.role]):
            connection.execute(insert(table).values(user_id=person.id, permission=permission, granted=granted))
        action = "permission_granted" if granted else "permission_revoked"
        audit.note(connection, deed, action, f"user:{person.login}", after={"permission": permission})
    found = by_id(connection, person.id)
    assert found is not None
    return found


def _find(connection: Connection, this: ColumnElement[bool]) -> Person | None:
    columns = (users.c.id, users.c.login, users.c.name, users.c.team_id, users.c.role, users.c.active)
    query = select(*columns, teams.c.key.label("team")).join(teams, teams.c.id == users.c.team_id).where(this)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    role = Role(row["role"])
    return Person(**{**row, "role": role}, permissions=effective(role, exceptions(connection, row["id"])))
