"""Projects and campaigns."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from fastapi import Response
from pydantic import Field, StrictBool

from ingestd.access.permissions import Permission
from ingestd.organisation import campaigns, changes
from ingestd.organisation.changes import Record
from ingestd.settings.frozen import Name
from ingestd.settings.organisation import OWNER
from ingestd.store.engine import reading, writing
from ingestd.web.api import tags
from ingestd.web.api.access import needs
from ingestd.web.api.bodies import Given
from ingestd.web.api.desk import AtDesk, ByCaller
from ingestd.web.api.routes import Routes
from ingestd.web.api.tags import IfMatch
from ingestd.web.api.teams import MANAGING, Confirm, Title, Why

routes = Routes("campaigns")

LOOKING = needs(Permission.MANAGE_ORGANISATION, Permission.LEAD_ADMIN, Permission.LEAD_POOLS, Permission.DIAL)

Region = Annotated[str, Field(pattern="^[A-Z]{2}$", description="country of phones whose record names none")]
Attempts = Annotated[int, Field(ge=1, le=1000, description="call attempts for one lead")]
Timezone = Annotated[str, Field(max_length=64, description="IANA time zone")]
Access = Annotated[
    tuple[Annotated[str, Field(pattern=OWNER)], ...],
    Field(max_length=1000, description="who may call in it, as `team:<key>` and `user:<login>`; empty: everybody"),
]


class ProjectOut(Given):
    """What campaigns are grouped by."""

    code: Name
    name: Title


class ProjectEdit(Given):
    """Another name."""

    name: Title


class CampaignOut(Given):
    """A campaign and its rules; docs/configuration.md explains each."""

    code: Name
    name: Title
    project: Name
    template: Name | None = None
    region: Region
    timezone: Timezone = "UTC"
    expires: date | None = None
    max_attempts: Attempts = 10
    access: Access = ()
    on_duplicate: Literal["reject", "update", "keep"] = "reject"
    on_do_not_call: Literal["reject", "close"] = "reject"
    on_invalid_phone: Literal["reject", "close"] = "reject"
    active: StrictBool = True


class CampaignEdit(Given):
    """What is to be another; what is left out stays."""

    name: Title | None = None
    project: Name | None = None
    template: Name | None = None
    region: Region | None = None
    timezone: Timezone | None = None
    expires: date | None = Field(None, description="null: never")
    max_attempts: Attempts | None = None
    access: Access | None = None
    on_duplicate: Literal["reject", "update", "keep"] | None = None
    on_do_not_call: Literal["reject", "close"] | None = None
    on_invalid_phone: Literal["reject", "close"] | None = None
    active: StrictBool | None = None


@routes.get("/projects", access=LOOKING)
def list_projects(desk: AtDesk) -> list[ProjectOut]:
    """Every project, by code."""
    with reading(desk.engine) as connection:
        return [ProjectOut(code=each.key, **each.facts) for each in changes.every(connection, "project")]


@routes.post("/projects", access=MANAGING, status_code=201, problems=(409,))
def add_project(desk: AtDesk, caller: ByCaller, body: ProjectOut, why: Why = "") -> ProjectOut:
    """Makes a project."""
    deed = caller.deed(desk.clock(), why)
    with writing(desk.engine) as connection:
        made = changes.create(connection, deed, "project", body.code, {"name": body.name})
        return ProjectOut(code=made.key, **made.facts)


@routes.patch("/projects/{code}", access=MANAGING, problems=(404,))
def edit_project(desk: AtDesk, caller: ByCaller, code: str, body: ProjectEdit, why: Why = "") -> ProjectOut:
    """Renames a project."""
    deed = caller.deed(desk.clock(), why)
    with writing(desk.engine) as connection:
        after = changes.edit(connection, deed, "project", code, body.model_dump())
        return ProjectOut(code=after.key, **after.facts)


@routes.get("/campaigns", access=LOOKING)
def list_campaigns(desk: AtDesk) -> list[CampaignOut]:
    """Every campaign, by code."""
    with reading(desk.engine) as connection:
        return [_out(record) for record in changes.every(connection, "campaign")]


@routes.get("/campaigns/{code}", access=LOOKING, problems=(404,))
def get_campaign(desk: AtDesk, response: Response, code: str) -> CampaignOut:
    """One campaign."""
    with reading(desk.engine) as connection:
        return _marked(response, changes.get(connection, "campaign", code))


@routes.post("/campaigns", access=MANAGING, status_code=201, problems=(409,))
def add_campaign(desk: AtDesk, caller: ByCaller, response: Response, body: CampaignOut, why: Why = "") -> CampaignOut:
    """Makes a campaign."""
    deed, values = caller.deed(desk.clock(), why), body.model_dump(mode="json", exclude={"code"})
    with writing(desk.engine) as connection:
        return _marked(response, campaigns.create(connection, deed, body.code, values, folder=desk.schemas))


@routes.patch("/campaigns/{code}", access=MANAGING, problems=(404, 409, 412))
def edit_campaign(  # noqa: PLR0913, PLR0917 - each is a part of the request
    desk: AtDesk,
    caller: ByCaller,
    response: Response,
    code: str,
    body: CampaignEdit,
    why: Why = "",
    if_match: IfMatch = None,
    confirm: Confirm = False,
) -> CampaignOut:
    """Changes a campaign, or ends it and begins it anew; the next delivery is loaded by the new rules."""
    deed, values = caller.deed(desk.clock(), why), tags.named(body, "template", "expires")
    seen = tags.seen(if_match)
    with writing(desk.engine) as connection:
        after = campaigns.edit(connection, deed, code, values, folder=desk.schemas, seen=seen, confirmed=confirm)
        return _marked(response, after)


def _out(record: Record) -> CampaignOut:
    return CampaignOut(code=record.key, **record.facts)


def _marked(response: Response, record: Record) -> CampaignOut:
    tags.mark(response, record.tag)
    return _out(record)
