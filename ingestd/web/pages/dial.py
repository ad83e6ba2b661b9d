"""Dialling: an agent chooses where, is given a lead, calls, says how it ended, and has the next one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Form, Query, Request, Response
from pydantic import BeforeValidator
from sqlalchemy import Connection

from ingestd import schemas
from ingestd.access.callers import Caller
from ingestd.errors import Conflict, Invalid, Missing, Rejected
from ingestd.leads import access, do_not_call, editing, rights, segments, shifts, statuses, telling
from ingestd.leads.agents import Agent
from ingestd.leads.lead import Lead, owner_names
from ingestd.leads.statuses import Status, StatusBook
from ingestd.organisation import changes
from ingestd.schemas import LeadField
from ingestd.store import rules
from ingestd.store.engine import reading, writing
from ingestd.web.api.deliveries import Number
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.dialling import DIALLING
from ingestd.web.api.leads import agent_of
from ingestd.web.pages.rendering import onward, show
from ingestd.web.pages.routes import Pages
from ingestd.web.pages.typed import ByForm, Typed, moment

pages = Pages()

CALLS_SHOWN = 5
KEYS = "123456789abcdefghijklmnopqrstuvwxyz"
"""Of the buttons for results, in their order."""
UNEDITED = ("ownership_code", "scheduled_at")
"""Fields that are no business of a call: the first stays as it came, the second has a place of its own."""
ENDS = ("Open: dialled again", "Open: called again by hand only", "Closed: it is done")
"""What becomes of a lead after a call."""
RULES: Mapping[str, str] = {
    "not_deactivated": "are deactivated",
    "dialled": "have a status that is called by hand only",
    "attempts_left": "have had all the call attempts of the campaign",
    "pool_active": "are in a lead pool that is not active",
    "not_kept": "are kept for the agent who called before",
    "due": "are scheduled for later",
    "not_locked": "are with another agent at the moment",
    "not_now": "are just being given to others",
}
"""What `shifts.Reason.rule` says of leads, for people."""

Code = Annotated[str, Query(max_length=64)]
CodeField = Annotated[str, Form(max_length=64, pattern=r"^[^\x00]*$")]
SegmentNumber = Annotated[int, BeforeValidator(lambda text: text or 0), Query(ge=0, lt=2**63)]
SegmentField = Annotated[int, BeforeValidator(lambda text: text or 0), Form(ge=0, lt=2**63)]
"""0, and nothing chosen: the whole campaign."""
Recorded = Annotated[int, Query(ge=0, lt=2**63)]
"""The lead whose result was told just now; 0: none."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A campaign in which the person may dial, with the segments that may be chosen."""

    code: str
    name: str
    segments: tuple[tuple[int, str], ...]


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the last result made of its lead."""

    lead: int
    status: str
    mine: bool
    """True when the person may correct it"""


@pages.get("/dial", access=DIALLING)
def choose(
    request: Request,
    desk: AtDesk,
    caller: ByCaller,
    campaign: Code = "",
    segment: SegmentNumber = 0,
    none: Code = "",
    recorded: Recorded = 0,
) -> Response:
    """Where to dial; and after the last lead, why there is no other."""
    with reading(desk.engine) as connection:
        who = agent_of(connection, caller)
        found = choices(connection, who, desk.clock())
        before = _told(connection, who, recorded)
        holds = shifts.held(connection, who, desk.clock())
        place = {} if holds is None else _place(access.campaigns(connection)[holds.campaign_id].code, 0)
    chosen = next((each for each in found if each.code == campaign), None)
    reasons = desk.shifts.reasons(who.login, campaign, desk.clock(), segment) if none and chosen else ()
    return show(
        request,
        "dial.html",
        fragment="where",
        choices=found,
        chosen=chosen,
        segment=segment,
        ended=bool(none and chosen),
        reasons=reasons,
        told=RULES,
        before=before,
        holds=holds,
        place=place,
    )


@pages.post("/dial/next", access=DIALLING)
def begin(desk: AtDesk, caller: ByCaller, campaign: CodeField = "", segment: SegmentField = 0) -> Response:
    """Takes the next lead."""
    return _next(desk, caller, campaign, segment)


@pages.get("/dial/{number}", access=DIALLING)
def show_lead(
    request: Request,
    desk: AtDesk,
    caller: ByCaller,
    number: Number,
    campaign: Code = "",
    segment: SegmentNumber = 0,
    recorded: Recorded = 0,
) -> Response:
    """The lead that the person holds; and what the last result made of its lead."""
    return _lead_page(request, desk, caller, number, _place(campaign, segment), recorded=recorded)


@pages.post("/dial/{number}/result", access=DIALLING)
def end_call(request: Request, desk: AtDesk, caller: ByCaller, number: Number, typed: ByForm) -> Response:
    """How the call ended; what cannot be kept is said on the page, with all that was typed. Then the next lead."""
    place = _place(typed.get("campaign", ""), _whole(typed.get("segment", "")))
    with reading(desk.engine) as connection:
        who = agent_of(connection, caller)
        here = rights.see(connection, who, number)
    try:
        shifts.finish(desk.engine, desk.schemas, who, number, _result(desk, here, typed))
    except (Rejected, Invalid, Conflict) as problem:
        return _lead_page(request, desk, caller, number, place, typed=typed, problem=problem)
    if typed.get("then") == "stop":
        return onward("/dial?" + urlencode({**place, "recorded": number}), "You have stopped dialling.")
    return _next(desk, caller, place["campaign"], place["segment"], recorded=number)


@pages.post("/dial/{number}/hold", access=DIALLING)
def hold(
    desk: AtDesk, caller: ByCaller, number: Number, campaign: CodeField = "", segment: SegmentField = 0
) -> Response:
    """Holds the lead anew for the whole lease."""
    with writing(desk.engine) as connection:
        who = agent_of(connection, caller)
        rights.check_held(connection, who, number)
        editing.lock(connection, number, by=who.id, at=desk.clock())
    return onward(f"/dial/{number}?{urlencode(_place(campaign, segment))}", "The lead is yours for longer.")


@pages.post("/dial/{number}/release", access=DIALLING)
def release(
    desk: AtDesk, caller: ByCaller, number: Number, campaign: CodeField = "", segment: SegmentField = 0
) -> Response:
    """Gives the lead back without a call."""
    with reading(desk.engine) as connection:
        who = agent_of(connection, caller)
    shifts.release(desk.engine, who, number, desk.clock())
    return onward("/dial?" + urlencode(_place(campaign, segment)), "The lead was given back; no call was counted.")


def choices(connection: Connection, who: Agent, at: datetime) -> list[Choice]:
    """Where a user may dial now, by name."""
    facts = {each.key: each.facts for each in changes.every(connection, "campaign")}
    mine = [each for each in access.campaigns(connection).values() if each.running(at) and each.open_to(who)]
    groups = segments.groups(connection)
    found = []
    for code in (each.code for each in mine):
        here = [group for group in groups if group.active and group.project == facts[code]["project"]]
        named = [(each.id, f"{group.name}: {each.name}") for group in here for each in group.segments if each.active]
        found.append(Choice(code=code, name=facts[code]["name"], segments=tuple(named)))
    return sorted(found, key=lambda each: each.name)


def results(book: StatusBook, status: str) -> list[tuple[str, list[tuple[str, Status]]]]:
    """The statuses that a call may end with, by what becomes of the lead, each with its key. Pure."""
    may = book.by_code[status].may_become
    allowed = [each for each in book.by_code.values() if each.code in may and each.set_by != "system"]
    keys = iter(KEYS)
    groups = []
    for title in ENDS:
        its = [each for each in allowed if _end(each) == title]
        groups.append((title, [(next(keys, ""), each) for each in its]))
    return [group for group in groups if group[1]]


def _end(status: Status) -> str:
    again, by_hand, done = ENDS
    if not status.open:
        return done
    return by_hand if status.dial_order is None else again


def _next(desk: Desk, caller: Caller, campaign: str, segment: int, *, recorded: int = 0) -> Response:
    with reading(desk.engine) as connection:
        login = agent_of(connection, caller).login
    place = _place(campaign, segment)
    if not campaign:
        return onward("/dial", "Choose a campaign first.")
    given = desk.shifts.next_lead(login, campaign, desk.clock(), segment_id=segment)
    if recorded:
        place["recorded"] = recorded
    if given.lead is None:
        return onward("/dial?" + urlencode({**place, "none": "1"}))
    return onward(f"/dial/{given.lead.id}?{urlencode(place)}")


def _told(connection: Connection, who: Agent, number: int) -> Told | None:
    """What became of a lead whose result was told; None when the person does not see it any more, or told none."""
    with suppress(Missing):
        here = rights.see(connection, who, number)
        status = statuses.read(connection).by_code[here.status].name
        return Told(lead=number, status=status, mine=rights.theirs(connection, who, number))
    return None


def _lead_page(  # noqa: PLR0913 - the request, who asks, and what is said on it
    request: Request,
    desk: Desk,
    caller: Caller,
    number: int,
    place: Mapping[str, Any],
    *,
    typed: Typed | None = None,
    problem: Rejected | Invalid | Conflict | None = None,
    recorded: int = 0,
) -> Response:
    with reading(desk.engine) as connection:
        who = agent_of(connection, caller)
        (here,) = do_not_call.without_listed(connection, [rights.see(connection, who, number)])
        book, campaign = statuses.read(connection), rules.campaign_of(connection, here.campaign_id)
        owner = owner_names(connection, [here.owner_id])[here.owner_id]
        before = _told(connection, who, recorded)
        calls = [
            each for each in telling.history_of(connection, here) if each.kind == "call" and each.field == "status"
        ]
    fields = _fields(desk, campaign.template)
    return show(
        request,
        "dial_lead.html",
        status=HTTPStatus.OK if problem is None else HTTPStatus.UNPROCESSABLE_ENTITY,
        lead=here,
        held=here.locked_by_id == who.id,
        owner=owner,
        campaign=campaign,
        book=book,
        calls=calls[: -CALLS_SHOWN - 1 : -1],
        results=results(book, here.status),
        fields=[(name, field, _text(_value(here, name))) for name, field in fields],
        typed=typed or {},
        problem=problem,
        back=place,
        before=before,
        at=desk.clock(),
    )


def _fields(desk: Desk, template: str | None) -> list[tuple[str, LeadField]]:
    """Every field that an agent may change, by the name that editing knows."""
    return [(each.name, each) for each in schemas.read(desk.schemas, template).fields if each.name not in UNEDITED]


def _value(here: Lead, name: str) -> Any:
    return here.fields[name] if name in here.fields else here.extra.get(name)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _result(desk: Desk, here: Lead, typed: Typed) -> shifts.Result:
    """What a form says; fields that stand as the person saw them are not touched. Raises Invalid."""
    with reading(desk.engine) as connection:
        campaign = rules.campaign_of(connection, here.campaign_id)
    changed = {}
    for name, _ in _fields(desk, campaign.template):
        wanted = typed.get(f"field.{name}")
        if wanted is not None and wanted != typed.get(f"was.{name}", ""):
            changed[name] = wanted or None
    comment = typed.get("comment", "")
    if len(comment) > 500:
        raise Invalid("value_unusable", "a comment has at most 500 characters", field="comment")
    return shifts.Result(
        status=typed.get("status", ""),
        at=desk.clock(),
        fields=changed,
        scheduled_at=moment(typed.get("scheduled_at", ""), campaign.timezone, "scheduled_at"),
        comment=comment,
    )


def _place(campaign: str, segment: int) -> dict[str, Any]:
    return {"campaign": campaign, "segment": segment}


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0
