"""Change Owner: leads that get another owner, a few at once or a million in the background."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Query, Response
from pydantic import BaseModel, Field, StrictBool, StrictInt, model_validator
from sqlalchemy import Connection

from ingestd.access.permissions import Permission
from ingestd.leads import columns, filters, owner_changes, selection
from ingestd.leads.owner_changes import AT_ONCE, MOST_NAMED, OwnerChange, Progress, Wish
from ingestd.store.engine import reading, writing
from ingestd.web.api import paging
from ingestd.web.api.access import needs
from ingestd.web.api.bodies import Given
from ingestd.web.api.deliveries import LARGEST, Number
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.leads import agent_of
from ingestd.web.api.paging import Cursor, Limit
from ingestd.web.api.routes import Routes

routes = Routes("change owner")

MOVING = needs(Permission.LEAD_ADMIN)
LARGEST_BODY = 24 * 1024 * 1024
"""A million numbers of twenty digits."""
AGAIN_SECONDS = 2

Id = Annotated[StrictInt, Field(ge=1, le=LARGEST)]


class Asked(Given):
    """Which leads, to whom, and what becomes of those that are held or retained."""

    ids: list[Id] | None = Field(
        None, min_length=1, max_length=MOST_NAMED, description="numbers of the leads; or `filter`"
    )
    filter: dict[str, Any] | None = Field(
        None,
        description="any filter, as for `/leads/search`: its leads, up to a million, are found when this is asked for. "
        "Or an object of `campaign`, `pool`, `owner`, `status` and `deactivated`, all of which hold: it may mean more "
        "leads, also such that come to match before it ends",
    )
    to: str = Field(max_length=200, description="`team:<key>`, `user:<login>` or `code:<Lead Ownership Code>`")
    retain: StrictBool = Field(False, description="Private and VIP redials stay with the agents who have them")
    unlock: StrictBool = Field(False, description="unlock and move what somebody holds; else it is refused")
    deactivated: StrictBool = Field(False, description="move deactivated leads too; else they are refused")
    why: str = Field("", max_length=500, description="the reason, for the history of each lead and the audit")

    @model_validator(mode="after")
    def _one_of_both(self) -> Asked:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("name `ids` or a `filter`")
        return self


class OwnerChangeOut(BaseModel):
    """A change as it stands."""

    id: int
    state: Progress
    to: str = Field(description="`team:<key>` or `user:<login>`")
    by: str = Field(description="`user:<login>`")
    why: str
    retain: bool
    unlock: bool
    deactivated: bool
    filter: dict[str, Any] | None = Field(
        description="null: the leads were named. Values of personal fields, such as names and numbers, are not kept"
    )
    total: int = Field(description="leads that were meant when it was asked for")
    done: int = Field(description="leads that were decided about; the sum of `moved` and `refused`")
    moved: int
    refused: dict[str, int] = Field(
        description="by reason: `locked`, `deactivated`, `retained`, `already_theirs`, `unknown` (or not yours to move)"
    )
    problem: str = Field(description="why it failed")
    created_at: datetime
    ended_at: datetime | None


class OwnerChanges(BaseModel):
    """A page of changes, the newest first."""

    items: list[OwnerChangeOut]
    next: str | None = Field(description="the `cursor` of the next page; null after the last")


class ResultOut(BaseModel):
    """What became of one lead."""

    lead: int
    outcome: str = Field(description="`moved`, or the reason why not")


class Results(BaseModel):
    """A page of leads, by outcome and number."""

    items: list[ResultOut]
    next: str | None = Field(description="the `cursor` of the next page; null after the last")


@routes.post("/owner-changes", access=MOVING, status_code=201, largest=LARGEST_BODY)
def change_owner(desk: AtDesk, caller: ByCaller, response: Response, body: Asked) -> OwnerChangeOut:
    """Gives leads another owner: those that the caller may change. `User Processed By` and `Uploaded By` stay.

    Up to 1,000 leads are moved before the answer, 201. More go on in the background, 202: `GET` says how far. Every
    lead is decided about by itself; both sides are told.
    """
    with reading(desk.engine) as connection:
        who, leads = agent_of(connection, caller), _leads(connection, desk, body)
    wish = Wish(
        to=body.to,
        leads=leads,
        retain=body.retain,
        unlock=body.unlock,
        deactivated=body.deactivated,
        why=body.why,
    )
    number = owner_changes.begin(desk.engine, caller, who, wish, desk.clock())
    now = _at_once(desk, number)
    response.headers["Location"] = f"/api/v1/owner-changes/{number}"
    if now.ended_at is None:
        desk.ring()
        response.status_code = 202
        response.headers["Retry-After"] = str(AGAIN_SECONDS)
    return _out(now)


@routes.get("/owner-changes", access=MOVING)
def list_owner_changes(desk: AtDesk, caller: ByCaller, limit: Limit = 50, cursor: Cursor = None) -> OwnerChanges:
    """One's own changes, the newest first; with `extended_data` those of everybody."""
    before = paging.number_of(cursor)
    with reading(desk.engine) as connection:
        who = agent_of(connection, caller)
        found = owner_changes.latest(connection, limit=limit + 1, by=who, before=before)
    return OwnerChanges(
        items=[_out(each) for each in found[:limit]], next=paging.following([each.id for each in found], limit)
    )


@routes.get("/owner-changes/{number}", access=MOVING, problems=(404,))
def get_owner_change(desk: AtDesk, caller: ByCaller, response: Response, number: Number) -> OwnerChangeOut:
    """How far a change is."""
    with reading(desk.engine) as connection:
        found = owner_changes.find(connection, number, by=agent_of(connection, caller))
    if found.ended_at is None:
        response.headers["Retry-After"] = str(AGAIN_SECONDS)
    return _out(found)


@routes.get("/owner-changes/{number}/results", access=MOVING, problems=(404,))
def get_results(
    desk: AtDesk,
    caller: ByCaller,
    number: Number,
    outcome: Annotated[
        Literal["moved", "locked", "deactivated", "retained", "already_theirs", "unknown"] | None,
        Query(description="only these leads"),
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Results:
    """Every lead that was decided about: moved, or why not."""
    after = paging.key_of(cursor, str, int)
    with reading(desk.engine) as connection:
        owner_changes.find(connection, number, by=agent_of(connection, caller))
        found = owner_changes.results_of(connection, number, limit=limit + 1, outcome=outcome, after=after)
    last = found[limit - 1] if len(found) > limit else None
    return Results(
        items=[ResultOut(lead=each.lead, outcome=each.outcome) for each in found[:limit]],
        next=None if last is None else paging.cursor(last.outcome, last.lead),
    )


@routes.post("/owner-changes/{number}/cancel", access=MOVING, problems=(404, 409))
def cancel_owner_change(desk: AtDesk, caller: ByCaller, number: Number) -> OwnerChangeOut:
    """Stops a change; what was moved stays moved. 409 `owner_change_ended`: there is nothing to stop."""
    with writing(desk.engine) as connection:
        who = agent_of(connection, caller)
        return _out(owner_changes.cancel(connection, caller.deed(desk.clock()), number, by=who))


def _leads(connection: Connection, desk: Desk, body: Asked) -> Sequence[int] | Mapping[str, Any] | filters.Filter:
    """Those that are named, or the filter in whichever form it has."""
    if body.filter is None:
        return body.ids or []
    if selection.is_plain(body.filter):
        return body.filter
    return filters.parsed(body.filter, columns.fields_of(connection, desk.schemas))


def _at_once(desk: Desk, number: int) -> OwnerChange:
    """The change as it stands when a small one is done, unless a worker is at it already."""
    with reading(desk.engine) as connection:
        now = owner_changes.find(connection, number)
    while now.ended_at is None and now.total <= AT_ONCE:
        further = owner_changes.advance(desk.engine, desk.clock(), number=number)
        if further is None:
            with reading(desk.engine) as connection:
                return owner_changes.find(connection, number)
        now = further
    return now


def _out(change: OwnerChange) -> OwnerChangeOut:
    return OwnerChangeOut(done=change.done, **{name: value for name, value in vars(change).items() if name != "by_id"})
