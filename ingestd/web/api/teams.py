"""Teams: the tree in which users sit."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response
from pydantic import BaseModel, Field, StrictBool

from ingestd.access.permissions import Permission
from ingestd.organisation import changes, owners
from ingestd.organisation.changes import Record
from ingestd.settings.frozen import Code, Name
from ingestd.store.engine import reading, writing
from ingestd.web.api import tags
from ingestd.web.api.access import needs
from ingestd.web.api.bodies import Given
from ingestd.web.api.desk import AtDesk, ByCaller
from ingestd.web.api.routes import Routes
from ingestd.web.api.tags import IfMatch

routes = Routes("teams")

LOOKING = needs(Permission.MANAGE_ORGANISATION, Permission.LEAD_ADMIN, Permission.LEAD_POOLS)
MANAGING = needs(Permission.MANAGE_ORGANISATION)

Title = Annotated[str, Field(min_length=1, max_length=200, description="the name people see")]
Confirm = Annotated[bool, Query(description="do it although leads are affected")]
Why = Annotated[str, Query(max_length=500, description="the reason, for the audit")]


class TeamOut(BaseModel):
    """A team."""

    key: str
    name: str
    parent: str | None = Field(description="key of the team above; null for the top-level team")
    code: str | None = Field(description="Lead Ownership Code")
    active: bool


class TeamNew(Given):
    """A team to be made."""

    key: Name
    name: Title
    parent: Name = Field(description="key of the team above")
    code: Code | None = None


class TeamEdit(Given):
    """What is to be another; what is left out stays."""

    name: Title | None = None
    parent: Name | None = None
    code: Code | None = Field(None, description="null takes it away")
    active: StrictBool | None = None


@routes.get("/teams", access=LOOKING)
def list_teams(desk: AtDesk) -> list[TeamOut]:
    """Every team, by key."""
    with reading(desk.engine) as connection:
        return [_out(record) for record in changes.every(connection, "team")]


@routes.get("/teams/{key}", access=LOOKING, problems=(404,))
def get_team(desk: AtDesk, response: Response, key: str) -> TeamOut:
    """One team."""
    with reading(desk.engine) as connection:
        return _marked(response, changes.get(connection, "team", key))


@routes.post("/teams", access=MANAGING, status_code=201, problems=(409,))
def add_team(desk: AtDesk, caller: ByCaller, response: Response, body: TeamNew, why: Why = "") -> TeamOut:
    """Makes a team below another one."""
    deed = caller.deed(desk.clock(), why)
    with writing(desk.engine) as connection:
        return _marked(response, changes.create(connection, deed, "team", body.key, body.model_dump(exclude={"key"})))


@routes.patch("/teams/{key}", access=MANAGING, problems=(404, 409, 412))
def edit_team(  # noqa: PLR0913, PLR0917 - each is a part of the request
    desk: AtDesk,
    caller: ByCaller,
    response: Response,
    key: str,
    body: TeamEdit,
    why: Why = "",
    if_match: IfMatch = None,
    confirm: Confirm = False,
) -> TeamOut:
    """Renames a team, moves it, changes its Lead Ownership Code, or takes it out and in.

    409 `in_use` names what hangs on it; `confirmation_needed` says how many leads are affected.
    """
    deed, values = caller.deed(desk.clock(), why), tags.named(body, "code")
    with writing(desk.engine) as connection:
        seen = tags.seen(if_match)
        after = owners.edit(connection, deed, "team", key, values, seen=seen, confirmed=confirm)
        return _marked(response, after)


def _out(record: Record) -> TeamOut:
    return TeamOut(key=record.key, **record.facts)


def _marked(response: Response, record: Record) -> TeamOut:
    tags.mark(response, record.tag)
    return _out(record)
