"""Users: who sits where, and what they may do."""

from __future__ import annotations

from typing import Annotated

from fastapi import Response
from pydantic import BaseModel, Field, SecretStr, StrictBool
from sqlalchemy import Connection

from ingestd.access import people
from ingestd.access.people import LONGEST_PASSWORD, SHORTEST_PASSWORD
from ingestd.access.permissions import Permission, Role
from ingestd.accounts import hash_password
from ingestd.organisation import changes, users
from ingestd.organisation.changes import Record
from ingestd.settings.frozen import Code, Name
from ingestd.store.engine import reading, writing
from ingestd.web.api import tags
from ingestd.web.api.bodies import Given
from ingestd.web.api.desk import AtDesk, ByCaller
from ingestd.web.api.routes import Routes
from ingestd.web.api.tags import IfMatch
from ingestd.web.api.teams import LOOKING, MANAGING, Confirm, Title, Why

routes = Routes("users")


class UserOut(BaseModel):
    """A user."""

    login: str
    name: str
    team: str = Field(description="key of the team")
    role: Role
    code: str | None = Field(description="Lead Ownership Code")
    active: bool
    permissions: list[Permission] = Field(description="those of the role, with the user's exceptions")
    has_password: bool


class UserNew(Given):
    """A user to be made; without a password nobody comes in as this user yet."""

    login: Name
    name: Title
    team: Name
    role: Role = Role.AGENT
    code: Code | None = None


class UserEdit(Given):
    """What is to be another; what is left out stays."""

    name: Title | None = None
    team: Name | None = None
    role: Role | None = None
    code: Code | None = Field(None, description="null takes it away")
    active: StrictBool | None = None


class PasswordNew(Given):
    """A password."""

    password: Annotated[SecretStr, Field(min_length=SHORTEST_PASSWORD, max_length=LONGEST_PASSWORD)]


class PermissionEdit(Given):
    """Whether a user may do one thing."""

    granted: StrictBool


@routes.get("/users", access=LOOKING)
def list_users(desk: AtDesk) -> list[UserOut]:
    """Every user, by login."""
    with reading(desk.engine) as connection:
        having = people.with_passwords(connection)
        return [_out(connection, record, having) for record in changes.every(connection, "user")]


@routes.get("/users/{login}", access=LOOKING, problems=(404,))
def get_user(desk: AtDesk, response: Response, login: str) -> UserOut:
    """One user."""
    with reading(desk.engine) as connection:
        return _marked(connection, response, changes.get(connection, "user", login))


@routes.post("/users", access=MANAGING, status_code=201, problems=(409,))
def add_user(desk: AtDesk, caller: ByCaller, response: Response, body: UserNew, why: Why = "") -> UserOut:
    """Makes a user, with a role that can do no more than you can."""
    deed, values = caller.deed(desk.clock(), why), body.model_dump(exclude={"login"})
    with writing(desk.engine) as connection:
        record = users.create(connection, deed, body.login, values, mine=caller.permissions)
        return _marked(connection, response, record)


@routes.patch("/users/{login}", access=MANAGING, problems=(404, 409, 412))
def edit_user(  # noqa: PLR0913, PLR0917 - each is a part of the request
    desk: AtDesk,
    caller: ByCaller,
    response: Response,
    login: str,
    body: UserEdit,
    why: Why = "",
    if_match: IfMatch = None,
    confirm: Confirm = False,
) -> UserOut:
    """Changes name, team, role or Lead Ownership Code, or shuts a user out and lets one in again."""
    deed, values = caller.deed(desk.clock(), why), tags.named(body, "code")
    seen = tags.seen(if_match)
    with writing(desk.engine) as connection:
        after = users.edit(connection, deed, login, values, seen=seen, confirmed=confirm, mine=caller.permissions)
        return _marked(connection, response, after)


@routes.put("/users/{login}/password", access=MANAGING, status_code=204, problems=(404,))
def set_user_password(desk: AtDesk, caller: ByCaller, login: str, body: PasswordNew) -> None:
    """Gives a user another password, and ends the user's sessions."""
    password = body.password.get_secret_value()
    encoded = desk.hashing.submit(hash_password, password, desk.cost).result()
    with writing(desk.engine) as connection:
        users.set_password(connection, caller.deed(desk.clock()), login, encoded, mine=caller.permissions)


@routes.put("/users/{login}/permissions/{permission}", access=MANAGING, problems=(404,))
def allow_user(
    desk: AtDesk, caller: ByCaller, login: str, permission: Permission, body: PermissionEdit, why: Why = ""
) -> UserOut:
    """Grants a user a permission beyond the role, or revokes one of the role."""
    deed, mine = caller.deed(desk.clock(), why), caller.permissions
    with writing(desk.engine) as connection:
        users.allow(connection, deed, login, permission, granted=body.granted, mine=mine)
        record = changes.get(connection, "user", login)
        return _out(connection, record, people.with_passwords(connection))


def _out(connection: Connection, record: Record, having: set[int]) -> UserOut:
    person = people.known(connection, record.key)
    may = sorted(person.permissions)
    return UserOut(login=record.key, **record.facts, permissions=may, has_password=person.id in having)


def _marked(connection: Connection, response: Response, record: Record) -> UserOut:
    tags.mark(response, record.tag)
    return _out(connection, record, people.with_passwords(connection))
