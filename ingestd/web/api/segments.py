"""Segments: filters over the leads of a project; each lead is in the first one that matches."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import BaseModel, Field, StrictBool
from sqlalchemy import Connection

from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission
from ingestd.errors import Missing
from ingestd.leads import access, do_not_call, filters, lead, segment_views, segments
from ingestd.leads.segment_views import Preview
from ingestd.leads.segments import Segment
from ingestd.settings.frozen import Name
from ingestd.store.engine import reading, writing
from ingestd.web.api import tags
from ingestd.web.api.access import needs
from ingestd.web.api.bodies import Given
from ingestd.web.api.deliveries import LARGEST, Number
from ingestd.web.api.desk import AtDesk, ByCaller
from ingestd.web.api.leads import agent_of
from ingestd.web.api.routes import Routes
from ingestd.web.api.tags import IfMatch

routes = Routes("segments")

LOOKING = needs(Permission.LEAD_ADMIN, Permission.DIAL)
MANAGING = needs(Permission.LEAD_ADMIN)

Title = Annotated[str, Field(min_length=1, max_length=segments.LONGEST_NAME, description="the name people see")]
Numbered = Annotated[int, Field(ge=1, le=LARGEST)]
Why = Annotated[str, Query(max_length=500, description="the reason, for the audit")]
Tree = Annotated[
    dict[str, Any],
    Field(
        description='comparisons, `{"field": "city", "op": "is", "value": "Lund"}`, joined by `all`, `any` and `not`'
    ),
]


class SegmentOut(BaseModel):
    """A segment. Who may only dial is told nothing of its filter."""

    id: int
    group: int
    name: str
    active: bool
    filter: dict[str, Any] | None = Field(description="null without the permission `lead_admin`")
    told: str | None = Field(description="the filter as a sentence")
    problem: str = Field(description="why no lead matches it any more, such as a name that is gone; else empty")
    position: int
    version: int = Field(description="the `ETag`")
    created_by: str | None
    created_at: datetime
    modified_by: str | None
    modified_at: datetime


class SegmentNew(Given):
    """A segment to be made, behind those of its group."""

    group: Numbered
    name: Title
    filter: Tree
    active: StrictBool = True


class SegmentEdit(Given):
    """What is to be another; what is left out stays."""

    name: Title | None = None
    filter: Tree | None = None
    active: StrictBool | None = None


class SegmentCopy(Given):
    """A copy of a segment: directly behind it, or last in another group."""

    name: Title
    group: Numbered | None = None


class PreviewWanted(Given):
    """A filter to be looked at before it is kept."""

    project: Name
    filter: Tree


class MatchOut(BaseModel):
    """A lead that the filter finds."""

    id: int
    campaign: str
    owner: str
    status: str
    fields: dict[str, Any]


class PreviewOut(BaseModel):
    """What a filter finds, of the leads that the caller sees."""

    count: int
    exact: bool = Field(description="false: there are at least so many; counting all would take too long")
    told: str = Field(description="the filter as a sentence")
    examples: list[MatchOut] = Field(description="up to ten of the newest")


@routes.get("/segments", access=LOOKING)
def list_segments(
    desk: AtDesk,
    caller: ByCaller,
    project: Annotated[str | None, Query(max_length=64, description="code of the project")] = None,
) -> list[SegmentOut]:
    """Segments in the order in which leads come into them. Who may only dial is told of the active ones."""
    with reading(desk.engine) as connection:
        return [told(each, caller) for group in segments.groups(connection, project) for each in shown(group, caller)]


@routes.post("/segments", access=MANAGING, status_code=201, problems=(404, 409))
def add_segment(desk: AtDesk, caller: ByCaller, response: Response, body: SegmentNew, why: Why = "") -> SegmentOut:
    """Makes a segment. 422 `filter_unusable` says where and why; 409 `exists`, `too_many_segments`."""
    deed = caller.deed(desk.clock(), why)
    with writing(desk.engine) as connection:
        made = segments.add(connection, deed, desk.schemas, body.group, body.name, body.filter, active=body.active)
    return _marked(response, made, caller)


@routes.post("/segments/preview", access=MANAGING)
def preview_segment(desk: AtDesk, caller: ByCaller, body: PreviewWanted) -> PreviewOut:
    """How many leads a filter finds, and ten of them, without keeping anything."""
    with reading(desk.engine) as connection:
        who = agent_of(connection, caller)
        tree = segments.checked(connection, desk.schemas, body.project, body.filter)
        found = segment_views.preview(connection, body.project, tree, who)
        return PreviewOut(
            count=found.count, exact=found.exact, told=filters.told(tree), examples=_examples(connection, found)
        )


@routes.get("/segments/{number}", access=LOOKING, problems=(404,))
def get_segment(desk: AtDesk, caller: ByCaller, response: Response, number: Number) -> SegmentOut:
    """One segment."""
    with reading(desk.engine) as connection:
        found = segments.segment(connection, number)
        if found not in shown(segments.group(connection, found.group_id), caller):
            raise Missing("segment_unknown", f"there is no segment {number}")
    return _marked(response, found, caller)


@routes.patch("/segments/{number}", access=MANAGING, problems=(404, 409, 412))
def edit_segment(
    desk: AtDesk,
    caller: ByCaller,
    response: Response,
    number: Number,
    body: SegmentEdit,
    why: Why = "",
    if_match: IfMatch = None,
) -> SegmentOut:
    """Changes a segment; its leads follow within moments, see `pending` of its group."""
    deed, values = caller.deed(desk.clock(), why), tags.named(body)
    with writing(desk.engine) as connection:
        after = segments.edit(connection, deed, desk.schemas, number, values, seen=tags.seen(if_match))
    return _marked(response, after, caller)


@routes.delete("/segments/{number}", access=MANAGING, status_code=204, problems=(404, 412))
def delete_segment(desk: AtDesk, caller: ByCaller, number: Number, why: Why = "", if_match: IfMatch = None) -> None:
    """Takes a segment away; its leads come into the next one that matches, or none."""
    with writing(desk.engine) as connection:
        segments.remove(connection, caller.deed(desk.clock(), why), number, seen=tags.seen(if_match))


@routes.post("/segments/{number}/copy", access=MANAGING, status_code=201, problems=(404, 409))
def copy_segment(
    desk: AtDesk, caller: ByCaller, response: Response, number: Number, body: SegmentCopy, why: Why = ""
) -> SegmentOut:
    """The same filter under another name."""
    deed = caller.deed(desk.clock(), why)
    with writing(desk.engine) as connection:
        made = segments.copy(connection, deed, desk.schemas, number, body.name, group_id=body.group)
    return _marked(response, made, caller)


def shown(group: segments.Group, caller: Caller) -> tuple[Segment, ...]:
    """The segments of a group that a caller is told of: who may only dial, of those that can be dialled in."""
    if Permission.LEAD_ADMIN in caller.permissions:
        return group.segments
    return tuple(each for each in group.segments if group.active and each.active)


def told(each: Segment, caller: Caller) -> SegmentOut:
    """A segment as a caller is told of it."""
    facts = {**vars(each), "group": each.group_id}
    if Permission.LEAD_ADMIN not in caller.permissions:
        facts |= {"filter": None, "told": None, "problem": "", "created_by": None, "modified_by": None}
    return SegmentOut(**{name: facts[name] for name in SegmentOut.model_fields})


def _marked(response: Response, each: Segment, caller: Caller) -> SegmentOut:
    tags.mark(response, str(each.version))
    return told(each, caller)


def _examples(connection: Connection, found: Preview) -> list[MatchOut]:
    names = lead.owner_names(connection, [each.owner_id for each in found.examples])
    codes = {each.id: each.code for each in access.campaigns(connection).values()}
    return [
        MatchOut(
            id=each.id,
            campaign=codes[each.campaign_id],
            owner=names[each.owner_id],
            status=each.status,
            fields=dict(each.fields),
        )
        for each in do_not_call.without_listed(connection, found.examples)
    ]
