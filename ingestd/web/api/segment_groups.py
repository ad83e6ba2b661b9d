"""Groups of segments: switched on and off together, in the order in which leads come into them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Query, Response
from pydantic import BaseModel, Field, StrictBool
from sqlalchemy import Connection

from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission
from ingestd.errors import Missing
from ingestd.leads import access, placing, segment_views, segments
from ingestd.leads.segments import Group
from ingestd.settings.frozen import Name
from ingestd.store.engine import reading, writing
from ingestd.web.api import tags
from ingestd.web.api.bodies import Given
from ingestd.web.api.deliveries import Number
from ingestd.web.api.desk import AtDesk, ByCaller
from ingestd.web.api.leads import agent_of
from ingestd.web.api.routes import Routes
from ingestd.web.api.segments import LOOKING, MANAGING, Numbered, SegmentOut, Title, Why, shown, told
from ingestd.web.api.tags import IfMatch

routes = Routes("segments")

Order = Annotated[list[Numbered], Field(max_length=1000, description="every number once, the first one first")]


class GroupOut(BaseModel):
    """A segment group with its segments in their order."""

    id: int
    project: str
    name: str
    active: bool
    position: int
    version: int = Field(description="the `ETag`")
    created_by: str | None
    created_at: datetime
    modified_by: str | None
    modified_at: datetime
    segments: list[SegmentOut]


class GroupDetails(GroupOut):
    """A segment group, and how far the leads of its project are in their segments."""

    computed: int = Field(description="leads that were looked at since the segments of the project last changed")
    pending: int | None = Field(description="leads that wait for it; null: not counted yet")


class GroupNew(Given):
    """A group to be made, behind those of its project."""

    project: Name
    name: Title
    active: StrictBool = True


class GroupEdit(Given):
    """What is to be another; what is left out stays."""

    name: Title | None = None
    active: StrictBool | None = None


class GroupCopy(Given):
    """A copy of a group with its segments; it is not active at first."""

    name: Title
    project: Name | None = Field(None, description="another project than its own")


class GroupsOrder(Given):
    """The order of a project's groups."""

    project: Name
    groups: Order


class SegmentsOrder(Given):
    """The order of a group's segments."""

    segments: Order


class ContestOut(BaseModel):
    """A segment, and what others before it take from it."""

    id: int
    matches: int = Field(description="leads that its filter matches")
    taken: dict[int, int] = Field(description="segment before it → how many of these it takes")
    left: int = Field(description="the leads that it has")
    exact: bool = Field(description="false: there are at least so many; counting all would take too long")


@routes.get("/segment-groups", access=LOOKING)
def list_groups(
    desk: AtDesk,
    caller: ByCaller,
    project: Annotated[str | None, Query(max_length=64, description="code of the project")] = None,
) -> list[GroupOut]:
    """Groups with their segments, in their order. Who may only dial is told of the active ones."""
    with reading(desk.engine) as connection:
        found = segments.groups(connection, project)
    return [_out(each, caller) for each in found if _is_shown(each, caller)]


@routes.post("/segment-groups", access=MANAGING, status_code=201, problems=(409,))
def add_group(desk: AtDesk, caller: ByCaller, response: Response, body: GroupNew, why: Why = "") -> GroupOut:
    """Makes a group."""
    deed = caller.deed(desk.clock(), why)
    with writing(desk.engine) as connection:
        made = segments.add_group(connection, deed, body.project, body.name, active=body.active)
    return _marked(response, made, caller)


@routes.put("/segment-groups/order", access=MANAGING, problems=(409,))
def order_groups(desk: AtDesk, caller: ByCaller, body: GroupsOrder, why: Why = "") -> list[GroupOut]:
    """Sets the order of a project's groups. 409 `order_incomplete` unless each is named once."""
    deed = caller.deed(desk.clock(), why)
    with writing(desk.engine) as connection:
        ordered = segments.order_groups(connection, deed, body.project, body.groups)
    return [_out(each, caller) for each in ordered]


@routes.get("/segment-groups/{number}", access=LOOKING, problems=(404,))
def get_group(desk: AtDesk, caller: ByCaller, response: Response, number: Number) -> GroupDetails:
    """One group, and how far the leads are in their segments."""
    with reading(desk.engine) as connection:
        found = _shown_group(connection, number, caller)
        project_id = segments.project_number(connection, found.project)
        done = placing.progress(connection, project_id)
    plain = _marked(response, found, caller)
    return GroupDetails(**plain.model_dump(), computed=done.computed, pending=done.pending)


@routes.patch("/segment-groups/{number}", access=MANAGING, problems=(404, 409, 412))
def edit_group(
    desk: AtDesk,
    caller: ByCaller,
    response: Response,
    number: Number,
    body: GroupEdit,
    why: Why = "",
    if_match: IfMatch = None,
) -> GroupOut:
    """Renames a group, or switches it on or off; the leads follow within moments."""
    deed, values = caller.deed(desk.clock(), why), tags.named(body)
    with writing(desk.engine) as connection:
        after = segments.edit_group(connection, deed, number, values, seen=tags.seen(if_match))
    return _marked(response, after, caller)


@routes.delete("/segment-groups/{number}", access=MANAGING, status_code=204, problems=(404, 412))
def delete_group(desk: AtDesk, caller: ByCaller, number: Number, why: Why = "", if_match: IfMatch = None) -> None:
    """Takes a group away with all its segments."""
    with writing(desk.engine) as connection:
        segments.remove_group(connection, caller.deed(desk.clock(), why), number, seen=tags.seen(if_match))


@routes.post("/segment-groups/{number}/copy", access=MANAGING, status_code=201, problems=(404, 409))
def copy_group(
    desk: AtDesk, caller: ByCaller, response: Response, number: Number, body: GroupCopy, why: Why = ""
) -> GroupOut:
    """The same segments in a new group, which is not active."""
    deed = caller.deed(desk.clock(), why)
    with writing(desk.engine) as connection:
        made = segments.copy_group(connection, deed, desk.schemas, number, body.name, project=body.project)
    return _marked(response, made, caller)


@routes.put("/segment-groups/{number}/order", access=MANAGING, problems=(404, 409, 412))
def order_segments(
    desk: AtDesk,
    caller: ByCaller,
    response: Response,
    number: Number,
    body: SegmentsOrder,
    why: Why = "",
    if_match: IfMatch = None,
) -> GroupOut:
    """Sets the order of a group's segments. 409 `order_incomplete` unless each is named once."""
    deed = caller.deed(desk.clock(), why)
    with writing(desk.engine) as connection:
        after = segments.order(connection, deed, number, body.segments, seen=tags.seen(if_match))
    return _marked(response, after, caller)


@routes.get("/segment-groups/{number}/contested", access=MANAGING, problems=(404,))
def get_contested(desk: AtDesk, caller: ByCaller, number: Number) -> list[ContestOut]:
    """How many leads each active segment of a group matches, and how many of these others before it take.

    Of the leads that the caller sees.
    """
    with reading(desk.engine) as connection:
        seen = access.visible_to(agent_of(connection, caller))
        found = segment_views.contested(connection, segments.group(connection, number), seen)
    return [ContestOut(**vars(each), left=each.left) for each in found]


def _is_shown(group: Group, caller: Caller) -> bool:
    return group.active or Permission.LEAD_ADMIN in caller.permissions


def _shown_group(connection: Connection, number: int, caller: Caller) -> Group:
    found = segments.group(connection, number)
    if not _is_shown(found, caller):
        raise Missing("segment_group_unknown", f"there is no segment group {number}")
    return found


def _out(group: Group, caller: Caller) -> GroupOut:
    facts = {**vars(group), "segments": [told(each, caller) for each in shown(group, caller)]}
    if Permission.LEAD_ADMIN not in caller.permissions:
        facts |= {"created_by": None, "modified_by": None}
    return GroupOut(**facts)


def _marked(response: Response, group: Group, caller: Caller) -> GroupOut:
    tags.mark(response, str(group.version))
    return _out(group, caller)
