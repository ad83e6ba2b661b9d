"""What is done with a delivery after it has ended: undone, run again with another mapping, or let go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import Form, Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission
from ingestd.errors import Conflict, Invalid, Missing, Refused, Rejected
from ingestd.ingest.judging import campaign_code
from ingestd.leads import reruns, rights, undoing
from ingestd.leads.reruns import Wish
from ingestd.leads.undoing import Prospect
from ingestd.model import UPLOAD, Delivery, State
from ingestd.organisation import mappings
from ingestd.store import orders, pools
from ingestd.store.engine import reading, writing
from ingestd.store.mappings import Version
from ingestd.web import problems
from ingestd.web.api.deliveries import Number, known
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.reruns import CHANGING, places_of
from ingestd.web.pages import columns, refusals
from ingestd.web.pages.columns import Beginning, Table
from ingestd.web.pages.insights import Insights
from ingestd.web.pages.rendering import Here, onward, show
from ingestd.web.pages.routes import Pages

pages = Pages()

GUESSED = "guess"
"""In the place of a version: every column as it is suggested, by what it looks like."""

Like = Annotated[str, Query(max_length=20)]
Why = Annotated[str, Form(max_length=500)]


class Typed(BaseModel):
    """The form as it was sent."""

    to: list[str] = Field([], max_length=columns.MOST)
    """the field of each column, in the order of the file; empty ignores it"""
    save: Literal["", "yes"] = ""
    why: str = Field("", max_length=500)


Sent = Annotated[Typed, Form()]


@dataclass(frozen=True, kw_only=True)
class Offer:
    """How the columns of a file may be read."""

    table: Table
    versions: Sequence[Version]
    """of its source's mapping, the newest first"""


@pages.get("/deliveries/{number}/rerun", access=CHANGING)
def ask_again(request: Request, desk: AtDesk, caller: ByCaller, number: Number, like: Like = "") -> Response:
    """How its columns are to be read, and what that takes back; `like` starts from a version of the mapping."""
    return _columns(request, desk, caller, known(desk, caller, number), Typed(), like=like)


@pages.post("/deliveries/{number}/rerun", access=CHANGING)
def run_again(request: Request, desk: AtDesk, caller: ByCaller, number: Number, typed: Sent) -> Response:
    """Reads its file once more as a new delivery; what the former run loaded is undone before."""
    delivery = known(desk, caller, number)
    try:
        wish = _wish(request, desk, caller, delivery, typed)
        with reading(desk.engine) as connection:
            beyond = rights.out_of_reach(connection, caller)
        done = reruns.rerun(places_of(desk), caller.deed(desk.clock(), typed.why.strip()), number, wish, beyond)
    except (Refused, Rejected) as problem:
        return _columns(request, desk, caller, delivery, typed, problem=problem)
    desk.ring()
    back = f" {done.undone.deleted:,} leads of the former run were taken back." if done.undone else ""
    return onward(f"/deliveries/{done.delivery_id}", f"This is the new run of delivery {number}.{back}")


@pages.post("/deliveries/{number}/confirm", access=CHANGING)
def confirm(request: Request, desk: AtDesk, caller: ByCaller, number: Number, typed: Sent) -> Response:
    """Lets it go on that waits because of its columns; those without a field are ignored."""
    delivery = known(desk, caller, number)
    try:
        wish = _wish(request, desk, caller, delivery, typed)
        reruns.confirm(places_of(desk), caller.deed(desk.clock(), typed.why.strip()), number, wish)
    except (Refused, Rejected) as problem:
        return _columns(request, desk, caller, delivery, typed, problem=problem)
    desk.ring()
    return onward(f"/deliveries/{number}", f"Delivery {number} is confirmed and queued.")


@pages.get("/deliveries/{number}/undo", access=CHANGING)
def ask_undo(request: Request, desk: AtDesk, caller: ByCaller, number: Number) -> Response:
    """What undoing would take away, or why it cannot be."""
    return _undoing(request, desk, caller, known(desk, caller, number))


@pages.post("/deliveries/{number}/undo", access=CHANGING)
def undo(request: Request, desk: AtDesk, caller: ByCaller, number: Number, why: Why = "") -> Response:
    """Takes the leads of its pool back; all of them, or none."""
    delivery = known(desk, caller, number)
    try:
        with writing(desk.engine) as connection:
            pool = _pool_of(delivery)
            beyond = rights.out_of_reach(connection, caller)
            gone = undoing.undo(connection, caller.deed(desk.clock(), why.strip()), pool, desk.ledger, beyond)
    except (Refused, Rejected) as problem:
        return _undoing(request, desk, caller, delivery, why=why, problem=problem)
    desk.ring()
    return onward(
        f"/deliveries/{number}", f"Undone: {gone.deleted:,} leads were taken back. The file and its log stay."
    )


def _columns(
    request: Request,
    desk: Desk,
    caller: Caller,
    delivery: Delivery,
    typed: Typed,
    *,
    like: str = "",
    problem: Refused | Rejected | None = None,
) -> Response:
    """The page that asks for the columns; with why it could not be done when there is a problem."""
    status = HTTPStatus.OK if problem is None else problems.status_of(problem)
    offer: Offer | None = None
    try:
        offer = _offer(request, desk, delivery, like)
    except (Refused, Rejected) as unreadable:
        problem = problem or unreadable
    with reading(desk.engine) as connection:
        beyond = rights.out_of_reach(connection, caller)
        prospect = reruns.look(connection, desk.clock(), delivery, desk.ledger, beyond)
        facts = _about(connection, delivery, prospect, problem)
    guessed = [] if offer is None else [each.field or "" for each in offer.table.columns]
    kept = len(typed.to) == len(guessed)
    return show(
        request,
        "delivery_rerun.html",
        status=status,
        here=Here(path=f"/deliveries/{delivery.id}/rerun", query=(("like", like),)),
        waiting=delivery.state is State.AWAITING_CONFIRMATION,
        offer=offer,
        chosen=typed.to if kept else guessed,
        whys=columns.WHYS,
        likes=[] if offer is None else _likes(offer.versions),
        like=like,
        typed=typed,
        may_save=delivery.source != UPLOAD,
        **facts,
    )


def _undoing(
    request: Request,
    desk: Desk,
    caller: Caller,
    delivery: Delivery,
    *,
    why: str = "",
    problem: Refused | Rejected | None = None,
) -> Response:
    status = HTTPStatus.OK if problem is None else problems.status_of(problem)
    with reading(desk.engine) as connection:
        try:
            beyond = rights.out_of_reach(connection, caller)
            prospect = undoing.look(connection, desk.clock(), _pool_of(delivery), desk.ledger, beyond)
        except Conflict as nothing:
            prospect = Prospect(leads=0, refusal=nothing)
        facts = _about(connection, delivery, prospect, problem)
    return show(
        request,
        "delivery_undo.html",
        status=status,
        here=Here(path=f"/deliveries/{delivery.id}/undo"),
        why=why,
        **facts,
    )


def _about(
    connection: Connection, delivery: Delivery, prospect: Prospect, problem: Refused | Rejected | None
) -> dict[str, Any]:
    """What both pages say; what stands in the way anyhow is told once."""
    told = prospect.refusal or problem
    return {
        "back": f"/deliveries/{delivery.id}",
        "delivery": delivery,
        "pool": None if delivery.pool_id is None else pools.one(connection, delivery.pool_id),
        "leads": prospect.leads,
        "possible": prospect.refusal is None,
        "refusal": None if told is None else refusals.of(told),
    }


def _pool_of(delivery: Delivery) -> int:
    if delivery.pool_id is None:
        told = f"delivery {delivery.id} is {delivery.state}; it has become no pool"
        raise Conflict("pool_state", told, state=delivery.state)
    return delivery.pool_id


def _wish(request: Request, desk: Desk, caller: Caller, delivery: Delivery, typed: Typed) -> Wish:
    """A field for each column of the file, so that nothing of another mapping shows through; raises Denied, Invalid."""
    if typed.save:
        caller.require([Permission.MANAGE_SOURCES])
    _, beginning = _file(request, desk, delivery)
    return Wish(mapping=columns.chosen(beginning.header, typed.to), save=bool(typed.save))


def _offer(request: Request, desk: Desk, delivery: Delivery, like: str) -> Offer:
    """Raises Missing, Conflict and Rejected when its columns cannot be known, and Invalid when they are too many."""
    campaign, beginning = _file(request, desk, delivery)
    with reading(desk.engine) as connection:
        versions = [] if delivery.source == UPLOAD else mappings.versions(connection, delivery.source)
    if len(beginning.header) > columns.MOST:
        told = f"the file has {len(beginning.header):,} columns; more than {columns.MOST} are mapped over the API"
        raise Invalid("mapping_unusable", told)
    table = columns.suggested(desk, beginning, campaign, _saved(delivery, versions, like))
    return Offer(table=table if like == GUESSED else columns.certain(table), versions=versions)


def _file(request: Request, desk: Desk, delivery: Delivery) -> tuple[str, Beginning]:
    """The campaign of a file and its columns, as they would be read now."""
    with reading(desk.engine) as connection:
        source = orders.source(connection, delivery)
    if source is None:
        raise Conflict("source_inactive", f"the source {delivery.source!r} is not active any more")
    insights: Insights = request.app.state.insights
    return campaign_code(source, delivery.folder), insights.beginning(delivery, source.hints())


def _saved(delivery: Delivery, versions: Sequence[Version], like: str) -> Mapping[str, str]:
    """The mapping to start from: a version's, none, or that with which the file was read."""
    if like == GUESSED:
        return {}
    by_number = {str(each.version): each.mapping for each in versions}
    if like and like not in by_number:
        raise Missing("mapping_version_unknown", f"the mapping of {delivery.source!r} has no version {like}")
    if like:
        return by_number[like]
    newest = versions[0].mapping if versions else {}
    own = orders.mapping(delivery.mapping) if delivery.mapping else {}
    return {**by_number.get(str(delivery.mapping_version), newest), **own}


def _likes(versions: Sequence[Version]) -> list[tuple[str, str]]:
    """What the columns can start from, beside how the file was read."""
    told = [
        (str(each.version), f"version {each.version} of {each.saved_at:%Y-%m-%d}, by {each.saved_by}")
        for each in versions
    ]
    return [*told, (GUESSED, "none: suggest fields")]
