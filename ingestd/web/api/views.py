"""Saved views of leads and of lead pools: filter, columns and sort under a name; one's own, and what others share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission
from ingestd.errors import Stale
from ingestd.leads import columns, view_kinds, views
from ingestd.leads.agents import Agent
from ingestd.leads.views import Content, Kind, View
from ingestd.store.engine import reading, writing
from ingestd.web.api import tags
from ingestd.web.api.access import needs
from ingestd.web.api.bodies import Given
from ingestd.web.api.deliveries import Number
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.leads import agent_of
from ingestd.web.api.routes import Routes
from ingestd.web.api.tags import IfMatch

routes = Routes("views")

LOOKING = needs(Permission.LEAD_ADMIN, Permission.DIAL, Permission.LEAD_POOLS)

Shared = Annotated[str, Field(max_length=80, description="`nobody`, `everybody`, or `team:<key>` with all below it")]
Name = Annotated[str, Field(min_length=1, max_length=views.LONGEST_NAME)]
Said = Annotated[
    dict[str, Any] | None,
    Field(
        description="of leads as in `/leads/search`; of pools texts by some of "
        "`campaign`, `project`, `state`, `name`, `by`, `since`, `until`; null: everything"
    ),
]
Shown = Annotated[
    list[Annotated[str, Field(max_length=200)]] | None,
    Field(
        max_length=columns.MOST,
        description="of leads names of `/lead-fields`; of pools columns of their list, and figures of `/kpis` "
        "as `kpi:<figure>`; null: the default ones",
    ),
]
SortBy = Annotated[
    str | None,
    Field(max_length=200, description="a column; `-` before it for descending; null: the newest upload first"),
]


class ViewIn(Given):
    """A view to be saved."""

    kind: Kind = Field(Kind.LEADS, description="what it lists; views of pools need the permission `lead_pools`")
    name: Name
    filter: Said = None
    columns: Shown = None
    sort: SortBy = None
    shared: Shared = views.NOBODY


class ViewEdit(Given):
    """What is to be another; what is left out stays."""

    name: Name | None = None
    filter: Said = None
    columns: Shown = None
    sort: SortBy = None
    shared: Shared | None = None


class Copy(Given):
    """What the copy is called."""

    name: Name | None = Field(None, description="null: as the view, with `(copy)`")


class ViewOut(BaseModel):
    """A saved view."""

    id: int
    kind: Kind
    name: str
    owner: str = Field(description="login of the user who saved it")
    mine: bool = Field(description="only its owner changes it")
    starred: bool = Field(description="by whoever asks")
    shared: str = Field(description="`nobody`, `everybody`, or `team:<key>`")
    filter: dict[str, Any]
    told: str = Field(description="the filter as a sentence")
    columns: list[str]
    sort: str
    changed_at: datetime
    version: int


@routes.get("/views", access=LOOKING)
def list_views(
    desk: AtDesk, caller: ByCaller, kind: Annotated[Kind, Query(description="what they list")] = Kind.LEADS
) -> list[ViewOut]:
    """One's own views and those that are shared with one: the starred ones first, then by name."""
    with reading(desk.engine) as connection:
        found = views.seen(connection, agent_of(connection, caller), kind)
        return [_out(desk, connection, each) for each in found]


@routes.post("/views", access=LOOKING, status_code=201, problems=(409,))
def save_view(desk: AtDesk, caller: ByCaller, response: Response, body: ViewIn) -> ViewOut:
    """Saves a view. 409 `exists`: one has a view of that name already."""
    with writing(desk.engine) as connection:
        content = Content(
            kind=body.kind,
            name=body.name,
            filter=body.filter or {},
            columns=tuple(body.columns or ()),
            sort=body.sort or "",
            shared=body.shared,
        )
        who, at = agent_of(connection, caller), desk.clock()
        judged = view_kinds.judged(connection, desk.schemas, content, at)
        return _marked(desk, connection, response, views.save(connection, caller.deed(at), who, judged))


@routes.get("/views/{number}", access=LOOKING, problems=(404,))
def get_view(desk: AtDesk, caller: ByCaller, response: Response, number: Number) -> ViewOut:
    """One view."""
    with reading(desk.engine) as connection:
        return _marked(desk, connection, response, views.one(connection, agent_of(connection, caller), number))


@routes.patch("/views/{number}", access=LOOKING, problems=(404, 409, 412))
def edit_view(
    desk: AtDesk, caller: ByCaller, response: Response, number: Number, body: ViewEdit, if_match: IfMatch = None
) -> ViewOut:
    """Changes a view of one's own. 403 `view_of_another`: copy it instead."""
    with writing(desk.engine) as connection:
        who, at = agent_of(connection, caller), desk.clock()
        before = views.one(connection, who, number)
        judged = view_kinds.judged(connection, desk.schemas, _edited(before.content, body), at)
        seen = _version(tags.seen(if_match))
        return _marked(desk, connection, response, views.edit(connection, caller.deed(at), who, number, judged, seen))


@routes.delete("/views/{number}", access=LOOKING, status_code=204, problems=(404,))
def remove_view(desk: AtDesk, caller: ByCaller, number: Number) -> None:
    """Takes a view of one's own away. 403 `view_of_another`."""
    with writing(desk.engine) as connection:
        views.remove(connection, caller.deed(desk.clock()), agent_of(connection, caller), number)


@routes.post("/views/{number}/copy", access=LOOKING, status_code=201, problems=(404, 409))
def copy_view(desk: AtDesk, caller: ByCaller, response: Response, number: Number, body: Copy) -> ViewOut:
    """A view of one's own that says the same, shared with nobody."""
    with writing(desk.engine) as connection:
        who, deed = agent_of(connection, caller), caller.deed(desk.clock())
        return _marked(desk, connection, response, views.copy(connection, deed, who, number, body.name))


@routes.put("/views/{number}/star", access=LOOKING, problems=(404,))
def star_view(desk: AtDesk, caller: ByCaller, number: Number) -> ViewOut:
    """Puts a view at the top of one's own list."""
    return _starred(desk, caller, number, starred=True)


@routes.delete("/views/{number}/star", access=LOOKING, problems=(404,))
def unstar_view(desk: AtDesk, caller: ByCaller, number: Number) -> ViewOut:
    """Takes it from the top."""
    return _starred(desk, caller, number, starred=False)


def _starred(desk: Desk, caller: Caller, number: int, *, starred: bool) -> ViewOut:
    with writing(desk.engine) as connection:
        who: Agent = agent_of(connection, caller)
        return _out(desk, connection, views.star(connection, who, number, starred=starred))


def _edited(before: Content, body: ViewEdit) -> Content:
    """A filter, columns or a sort of null are the default ones."""
    given = body.model_dump(exclude_unset=True)
    names = {"filter": {}, "columns": (), "sort": ""}
    wanted = {name: names[name] if value is None and name in names else value for name, value in given.items()}
    whole = {**vars(before), **{name: value for name, value in wanted.items() if value is not None}}
    return Content(**{**whole, "columns": tuple(whole["columns"])})


def _version(tag: str | None) -> int | None:
    if tag is None:
        return None
    version = tags.version(tag)
    if version is None:
        raise Stale("changed_since", "the tag is none that this view ever had")
    return version


def _marked(desk: Desk, connection: Connection, response: Response, view: View) -> ViewOut:
    tags.mark(response, str(view.version))
    return _out(desk, connection, view)


def _out(desk: Desk, connection: Connection, view: View) -> ViewOut:
    content = view.content
    return ViewOut(
        **{name: getattr(view, name) for name in ("id", "owner", "mine", "starred", "changed_at", "version")},
        kind=content.kind,
        name=content.name,
        shared=content.shared,
        filter=dict(content.filter),
        told=view_kinds.told(connection, desk.schemas, content),
        columns=list(content.columns),
        sort=content.sort,
    )
