"""Dialling: an agent is given the best lead, calls, and says how it ended."""

from __future__ import annotations

from datetime import datetime, timedelta

from fastapi import Response
from pydantic import AwareDatetime, BaseModel, Field

from ingestd.access.permissions import Permission
from ingestd.leads import editing, shifts
from ingestd.leads.lead import Lead
from ingestd.store.engine import reading
from ingestd.web.api import tags
from ingestd.web.api.access import needs
from ingestd.web.api.bodies import Given
from ingestd.web.api.deliveries import Number
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.lead_changes import LONGEST_SECONDS, Values, plain
from ingestd.web.api.leads import LeadOut, agent_of, told
from ingestd.web.api.routes import Routes

routes = Routes("dialling")

DIALLING = needs(Permission.DIAL)


class DialWanted(Given):
    """Where to dial."""

    campaign: str = Field(max_length=64, description="code of the campaign")
    segment: int = Field(0, ge=0, lt=2**63, description="number of the only segment to call in; 0: the whole campaign")
    seconds: int = Field(
        int(editing.LEASE.total_seconds()), ge=1, le=LONGEST_SECONDS, description="for how long the lead is held"
    )


class HindranceOut(BaseModel):
    """Open leads within your reach that may not be called now, by the first rule that says so."""

    rule: str = Field(
        description="as in `explain`; `dialled`: their status is called by hand only; `not_now`: others are quicker"
    )
    leads: int
    next_at: datetime | None = Field(description="when the first of them may be called, where that is known")


class GivenOut(BaseModel):
    """The lead to call, or why there is none."""

    lead: LeadOut | None = Field(description="held for you until `locked_until`; null: there is none now")
    reasons: list[HindranceOut] = Field(
        description="without a lead: why, at most half a minute old; empty: no open lead is within your reach"
    )


class Ended(Given):
    """How a call ended."""

    status: str = Field(max_length=64, description="code of the status")
    scheduled_at: AwareDatetime | None = Field(
        None, description="when to call next, which is not past; Private, VIP and follow-up redials need it"
    )
    fields: Values = Field({}, description="what you learned; as with an edit")
    comment: str = Field("", max_length=500, description="kept in the history")


@routes.post("/dial/next", access=DIALLING, problems=(409,))
def next_lead(desk: AtDesk, caller: ByCaller, body: DialWanted) -> GivenOut:
    """The best lead that you may call in a campaign, held for you, and given to nobody else.

    Whoever was given one and has told no result gets the same one again, held anew. When it is of another campaign or
    segment than is asked for now, it goes back to the others first. Leads that you locked by hand stay as they are.
    409 `dialling_refused`: you may not call in the campaign, or it is not active. Ask again after a while when there is
    none.
    """
    with reading(desk.engine) as connection:
        login = agent_of(connection, caller).login
    lease = timedelta(seconds=body.seconds)
    given = desk.shifts.next_lead(login, body.campaign, desk.clock(), lease=lease, segment_id=body.segment)
    reasons = [HindranceOut(**vars(each)) for each in given.reasons]
    return GivenOut(lead=None if given.lead is None else _out(desk, given.lead), reasons=reasons)


@routes.post("/dial/{number}/result", access=DIALLING, problems=(404, 409))
def end_call(desk: AtDesk, caller: ByCaller, response: Response, number: Number, body: Ended) -> LeadOut:
    """How the call of a lead that you hold ended: status, fields and attempt in one, and the lead is free again.

    409 `lead_not_held`: you do not hold it, or have told its result already. 422 `value_unusable`: a time to call again
    is past, or is missing for a Private, VIP or follow-up redial.
    """
    with reading(desk.engine) as connection:
        who = agent_of(connection, caller)
    result = shifts.Result(
        status=body.status,
        at=desk.clock(),
        fields=plain(body.fields),
        scheduled_at=body.scheduled_at,
        comment=body.comment,
    )
    after = shifts.finish(desk.engine, desk.schemas, who, number, result)
    tags.mark(response, str(after.version))
    return _out(desk, after)


@routes.post("/dial/{number}/release", access=DIALLING, problems=(404, 409))
def release_lead(desk: AtDesk, caller: ByCaller, response: Response, number: Number) -> LeadOut:
    """Gives a lead back that you hold, without a call: the next agent gets it. 409 `lead_not_held`."""
    with reading(desk.engine) as connection:
        who = agent_of(connection, caller)
    after = shifts.release(desk.engine, who, number, desk.clock())
    tags.mark(response, str(after.version))
    return _out(desk, after)


def _out(desk: Desk, lead: Lead) -> LeadOut:
    with reading(desk.engine) as connection:
        return told(connection, [lead])[0]
