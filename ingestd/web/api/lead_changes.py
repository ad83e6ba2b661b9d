"""Changing leads: typed in by hand, edited, given another status, held, taken out of use, anonymised."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Query, Response
from pydantic import AwareDatetime, BaseModel, Field
from sqlalchemy import Connection

from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission
from ingestd.errors import Missing, Stale
from ingestd.leads import anonymise, creating, editing, rights, statuses
from ingestd.leads.agents import Agent
from ingestd.leads.lead import Lead
from ingestd.model import Outcome
from ingestd.store.engine import reading, writing
from ingestd.web.api import tags
from ingestd.web.api.access import SIGNED_IN, needs
from ingestd.web.api.bodies import Given
from ingestd.web.api.deliveries import Number
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.leads import LeadOut, agent_of, told
from ingestd.web.api.routes import Routes
from ingestd.web.api.tags import IfMatch

routes = Routes("leads")

WORKING = needs(Permission.LEAD_ADMIN, Permission.DIAL)
LEADING = needs(Permission.LEAD_ADMIN)

Why = Annotated[str, Query(max_length=500, description="the reason, for the lead's history")]
Values = Annotated[
    dict[str, str | int | None],
    Field(max_length=500, description="fields as people write them; null or an empty text empties one"),
]
LONGEST_SECONDS = int(editing.LONGEST_LEASE.total_seconds())


class Typed(Given):
    """A lead that is typed in."""

    campaign: str = Field(max_length=64, description="code of the campaign")
    fields: Values
    owner: str | None = Field(
        None,
        max_length=200,
        description="`team:<key>` or `user:<login>`; without: its ownership code, else the top team",
    )


class Remark(BaseModel):
    """Something about one field that was no reason to refuse the lead."""

    field: str
    code: str
    message: str


class CreatedOut(BaseModel):
    """What became of what was typed."""

    outcome: Outcome = Field(
        description="`inserted`; `updated` or `unchanged` when the campaign had the number already"
    )
    lead: LeadOut | None = Field(description="null when it is one that you do not see")
    remarks: list[Remark]


class Edit(Given):
    """What is changed."""

    fields: Values


class NewStatus(Given):
    """Another status."""

    status: str = Field(max_length=64, description="code of the status")
    call: bool = Field(False, description="it is how your call ended: an attempt. You hold the lead, or may call it")
    retain_owner: bool = Field(False, description="Private and VIP do not make you the owner")
    scheduled_at: AwareDatetime | None = Field(None, description="when to call next, which is not past")


class Lease(Given):
    """For how long a lead is held."""

    seconds: int = Field(int(editing.LEASE.total_seconds()), ge=1, le=LONGEST_SECONDS)


class Unlock(Given):
    """How a lead is given free."""

    force: bool = Field(False, description="also when somebody else holds it; needs the permission `lead_admin`")


class ErasedOut(BaseModel):
    """What became of one delivery."""

    delivery_id: int
    rows: list[int] = Field(description="the records that were blanked, in the file and in its log")
    sha256: str = Field(description="of the kept file as it is now")
    size: int = Field(description="of the kept file as it is now, in bytes")


class AnonymisedOut(BaseModel):
    """What was cleaned, and what is left."""

    lead: LeadOut
    erased: list[ErasedOut]
    left: list[str] = Field(description="places where a number or address of the person is still found")


class StatusOut(BaseModel):
    """One status with its rules."""

    code: str
    name: str
    kind: str = Field(description="`open` or `closed`")
    set_by: str = Field(description="`anyone`, or `system`: imports and rules only")
    may_become: list[str]
    dial_order: int | None = Field(description="the smaller, the sooner; null: not dialled")
    import_may_set: bool
    counts_attempt: bool
    takes_owner: bool = Field(description="whoever gives it becomes the owner")
    gives_back: bool = Field(description="after a status that takes the owner, the lead returns to its original owner")
    outlives_pool: bool = Field(description="callable also in a deactivated pool")
    kept_for_caller: bool = Field(description="waits for the agent who called")
    after_days: int | None = Field(description="after so many days it becomes `then` by itself")
    then: str | None


@routes.get("/statuses", access=SIGNED_IN)
def list_statuses(desk: AtDesk) -> list[StatusOut]:
    """Every status, with those that may follow it."""
    with reading(desk.engine) as connection:
        book = statuses.read(connection)
    return [StatusOut(**{**vars(each), "may_become": sorted(each.may_become)}) for each in book.by_code.values()]


@routes.post("/leads", access=WORKING, status_code=201, problems=(409,))
def create_lead(desk: AtDesk, caller: ByCaller, response: Response, body: Typed) -> CreatedOut:
    """Types a lead in, under the checks, lists and duplicate rules of a file.

    What one user types within an hour shares a pool. Agents do it in campaigns they call in, for owners in their reach.
    422 `lead_refused`: `errors` has every problem. 200 when the number was there and its lead was kept or updated.
    """
    with reading(desk.engine) as connection:
        who = agent_of(connection, caller)
        wish = creating.Typed(
            campaign=body.campaign, values=plain(body.fields), by=who, at=desk.clock(), owner=body.owner
        )
        creating.check_may(connection, wish)
    made = creating.create(desk.engine, desk.schemas, wish)
    if made.outcome == Outcome.INSERTED:
        response.headers["Location"] = f"/api/v1/leads/{made.lead_id}"
    else:
        response.status_code = 200
    remarks = [Remark(field=each.field, code=each.code, message=each.message) for each in made.remarks]
    return CreatedOut(outcome=made.outcome, lead=_seen(desk, who, made.lead_id), remarks=remarks)


@routes.patch("/leads/{number}", access=WORKING, problems=(404, 409, 412))
def edit_lead(
    desk: AtDesk,
    caller: ByCaller,
    response: Response,
    number: Number,
    body: Edit,
    why: Why = "",
    if_match: IfMatch = None,
) -> LeadOut:
    """Changes fields, judged as an import judges them: 422 `lead_refused`. 409 `lead_locked`: somebody holds it."""
    version = seen_version(if_match)

    def change(connection: Connection, by: int, at: datetime) -> Lead:
        wish = editing.Edit(values=plain(body.fields), by=by, at=at, why=why, version=version)
        return editing.edit(connection, desk.schemas, number, wish)

    return changed(desk, caller, response, number, change)


@routes.post("/leads/{number}/status", access=WORKING, problems=(404, 409, 412))
def set_status(
    desk: AtDesk,
    caller: ByCaller,
    response: Response,
    number: Number,
    body: NewStatus,
    why: Why = "",
    if_match: IfMatch = None,
) -> LeadOut:
    """Gives a lead another status, with what that does to owner, attempts and lock.

    409 `status_not_allowed`: `facts.may_become` has the statuses that may follow. 409 `do_not_call`: nobody may call
    its number, so its status stays closed. 409 `not_callable`: it was no `call` of yours; `facts.rules` says why. 422
    `value_unusable`: a time to call again is past, or a `call` ended as a Private, VIP or follow-up redial without one.
    """
    version = seen_version(if_match)

    def change(connection: Connection, by: int, at: datetime) -> Lead:
        if body.call:
            rights.check_call(connection, agent_of(connection, caller), number, at)
        wish = statuses.Change(
            to=body.status,
            by=by,
            at=at,
            why=why,
            call=body.call,
            retain_owner=body.retain_owner,
            scheduled_at=body.scheduled_at,
            version=version,
        )
        return statuses.change_status(connection, number, wish)

    return changed(desk, caller, response, number, change)


@routes.post("/leads/{number}/lock", access=WORKING, problems=(404, 409))
def lock_lead(desk: AtDesk, caller: ByCaller, response: Response, number: Number, body: Lease | None = None) -> LeadOut:
    """Holds a lead, or holds it longer: until the lease is over nobody else calls or changes it."""
    lease = timedelta(seconds=(body or Lease()).seconds)

    def change(connection: Connection, by: int, at: datetime) -> Lead:
        return editing.lock(connection, number, by=by, at=at, lease=lease)

    return changed(desk, caller, response, number, change)


@routes.post("/leads/{number}/unlock", access=WORKING, problems=(404, 409))
def unlock_lead(
    desk: AtDesk, caller: ByCaller, response: Response, number: Number, body: Unlock | None = None
) -> LeadOut:
    """Gives a lead free."""
    force = (body or Unlock()).force
    if force:
        caller.require((Permission.LEAD_ADMIN,))

    def change(connection: Connection, by: int, at: datetime) -> Lead:
        return editing.unlock(connection, number, by=by, at=at, force=force)

    return changed(desk, caller, response, number, change)


@routes.post("/leads/{number}/deactivate", access=LEADING, problems=(404, 409))
def deactivate_lead(desk: AtDesk, caller: ByCaller, response: Response, number: Number, why: Why = "") -> LeadOut:
    """Takes a lead out of use: nobody calls it, and only leaders see it. Twice changes nothing."""

    def change(connection: Connection, by: int, at: datetime) -> Lead:
        return editing.deactivate(connection, number, by=by, at=at, why=why)

    return changed(desk, caller, response, number, change)


@routes.post("/leads/{number}/activate", access=LEADING, problems=(404, 409))
def activate_lead(desk: AtDesk, caller: ByCaller, response: Response, number: Number, why: Why = "") -> LeadOut:
    """Takes a lead into use again. Twice changes nothing."""

    def change(connection: Connection, by: int, at: datetime) -> Lead:
        return editing.activate(connection, number, by=by, at=at, why=why)

    return changed(desk, caller, response, number, change)


@routes.post("/leads/{number}/anonymise", access=needs(Permission.EXTENDED_DATA), problems=(404, 409))
def anonymise_lead(desk: AtDesk, caller: ByCaller, number: Number) -> AnonymisedOut:
    """Blanks a person for good: the lead, its history, and its record in logs, results and received files.

    Needs `lead_admin` too. `erased` and `left` prove what was cleaned, and say where the person is still found.
    """
    caller.require((Permission.LEAD_ADMIN,))
    with writing(desk.engine) as connection:
        who = agent_of(connection, caller)
        rights.take(connection, who, number)
    places = anonymise.Places(
        engine=desk.engine, ledger=desk.ledger, spool=desk.spool, logs=desk.logs, schemas=desk.schemas
    )
    done = anonymise.anonymise(places, number, by=who.id, at=desk.clock())
    for delivery in done.deliveries:
        desk.hand_back(delivery)
    lead = _seen(desk, who, number)
    assert lead is not None, "anonymising does not hide a lead from whoever may see every one"
    erased = [ErasedOut(**{**vars(each), "rows": list(each.rows)}) for each in done.erased]
    return AnonymisedOut(lead=lead, erased=erased, left=list(done.left))


def changed(
    desk: Desk, caller: Caller, response: Response, number: int, change: Callable[[Connection, int, datetime], Lead]
) -> LeadOut:
    """One change in one transaction, of a lead that the caller may change; the lead as it is then, with its `ETag`."""
    with writing(desk.engine) as connection:
        who = agent_of(connection, caller)
        rights.take(connection, who, number)
        after = change(connection, who.id, desk.clock())
        tags.mark(response, str(after.version))
        return told(connection, [after])[0]


def plain(fields: dict[str, str | int | None]) -> dict[str, str | None]:
    """Values as people write them."""
    return {name: None if value is None else str(value) for name, value in fields.items()}


def seen_version(header: str | None) -> int | None:
    """The version in an `If-Match`; None: any. Raises Stale for a tag that no lead has."""
    tag = tags.seen(header)
    if tag is None:
        return None
    version = tags.version(tag)
    if version is None:
        raise Stale("version_conflict", "the tag in If-Match is none of this lead")
    return version


def _seen(desk: Desk, who: Agent, number: int) -> LeadOut | None:
    with reading(desk.engine) as connection:
        try:
            return told(connection, [rights.see(connection, who, number)])[0]
        except Missing:
            return None
