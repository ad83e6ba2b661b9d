"""What is done to chosen leads, or to all that match: another owner, a lock, out of use and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import Form, Query, Request, Response
from pydantic import Field

from ingestd.access.callers import Caller
from ingestd.errors import Invalid, Rejected
from ingestd.leads import bulk, meant, owner_changes
from ingestd.leads.bulk import Action
from ingestd.leads.listing import Count
from ingestd.leads.owner_changes import MOST_NAMED
from ingestd.settings import code_key
from ingestd.store import rules
from ingestd.store.engine import reading, writing
from ingestd.web.api import owner_changes as api
from ingestd.web.api import paging
from ingestd.web.api.deliveries import LARGEST, Number
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.leads import agent_of
from ingestd.web.api.owner_changes import Asked
from ingestd.web.api.paging import Cursor
from ingestd.web.pages import lead_admin, lead_filter
from ingestd.web.pages.lead_admin import ADMINISTERING
from ingestd.web.pages.local import local_path
from ingestd.web.pages.rendering import onward, show
from ingestd.web.pages.routes import Pages
from ingestd.web.pages.typed import ByForm, Typed

pages = Pages()

Do = Literal["owner", "lock", "unlock", "deactivate", "activate"]
MOST_CHOSEN = 1_000
"""leads that one form names; of more, the filter is named"""
PAGE = 100

TITLES: Mapping[str, tuple[str, str]] = {
    "owner": ("Change Owner", "Give them to this owner"),
    "lock": ("Lock", "Lock them"),
    "unlock": ("Unlock", "Unlock them"),
    "deactivate": ("Deactivate", "Deactivate them"),
    "activate": ("Activate", "Activate them"),
}
"""What each is called, and the button that does it."""

ABOUT: Mapping[str, str] = {
    "lock": "You hold them for 15 minutes: until then nobody else calls or changes them.",
    "unlock": "Locks of other users are taken as well. Somebody may be talking to the lead at this moment.",
    "deactivate": "Nobody calls them any more, and only team leaders and admins see them. They can be activated again.",
    "activate": "They can be called and seen again.",
}

REASONS: Mapping[str, tuple[str, str]] = {
    "locked": ("Locked", "Somebody holds them. Wait, or do it again with “unlock and move”."),
    "deactivated": ("Deactivated", "They are out of use. Do it again with “move deactivated leads too”."),
    "retained": ("Retained", "Private and VIP redials that stay with the agents who have them, as you chose."),
    "already_theirs": ("Theirs already", "They belonged to the new owner before."),
    "unknown": ("Not found", "They are not there, or not yours to move."),
}
"""Why a lead was not moved, for people, and what to do."""

Id = Annotated[int, Field(ge=1, le=LARGEST)]
Why = Annotated[str, Form(max_length=500, pattern=r"^[^\x00]*$")]
Sentence = Annotated[str, Form(max_length=lead_filter.LONGEST)]
Back = Annotated[str, Form(max_length=lead_filter.LONGEST)]
Leads = Annotated[list[Id], Form(max_length=MOST_CHOSEN)]


@dataclass(frozen=True, kw_only=True)
class Meant:
    """Which leads a form means."""

    leads: list[int]
    """their numbers; empty: all of the filter"""
    filter: str
    count: Count
    whole: bool
    """True for all of the filter"""


@pages.get("/leads/act", access=ADMINISTERING)
def ask(  # noqa: PLR0913, PLR0917 - each is a part of the request
    request: Request,
    desk: AtDesk,
    caller: ByCaller,
    do: Do,
    lead: Annotated[list[Id], Query(max_length=MOST_CHOSEN)] = [],  # noqa: B006 - FastAPI copies it
    all: bool = False,  # noqa: A002 - the parameter of the address
    filter: Annotated[str, Query(max_length=lead_filter.LONGEST)] = "",  # noqa: A002
    back: Annotated[str, Query(max_length=lead_filter.LONGEST)] = "/leads",
) -> Response:
    """Says what will be done to how many leads, and asks for what has to be known."""
    return _question(request, desk, do, _meant(desk, caller, lead, filter, whole=all), back)


def _question(
    request: Request,
    desk: Desk,
    do: Do,
    these: Meant,
    back: str,
    *,
    typed: Typed | None = None,
    problem: Rejected | Invalid | None = None,
) -> Response:
    """The dialog; once more with what was typed, when that cannot be done."""
    with reading(desk.engine) as connection:
        offered = lead_admin.suggestions(connection) if do == "owner" else {"owners": []}
    return show(
        request,
        "lead_act.html",
        fragment="ask",
        status=HTTPStatus.OK if problem is None else HTTPStatus.UNPROCESSABLE_ENTITY,
        do=do,
        meant=these,
        all=these.whole,
        typed=typed or {},
        problem=problem,
        back=local_path(back),
        title=TITLES[do][0],
        confirm=TITLES[do][1],
        about=ABOUT.get(do, ""),
        most=MOST_NAMED if do == "owner" else bulk.MOST,
        owners=offered["owners"],
    )


@pages.post("/leads/act", access=ADMINISTERING)
def act(  # noqa: PLR0913, PLR0917 - each is a part of the request
    request: Request,
    desk: AtDesk,
    caller: ByCaller,
    do: Annotated[Literal["lock", "unlock", "deactivate", "activate"], Form()],
    lead: Leads = [],  # noqa: B006 - FastAPI copies it
    all: Annotated[bool, Form()] = False,  # noqa: A002 - the field's name
    filter: Sentence = "",  # noqa: A002
    why: Why = "",
    back: Back = "/leads",
) -> Response:
    """Does it to each lead by itself; both sides are told."""
    numbers = _numbers(desk, caller, lead, filter, whole=all, most=bulk.MOST)
    with reading(desk.engine) as connection:
        who = agent_of(connection, caller)
    action = Action(do)
    wish = bulk.Wish(action=action, by=who, at=desk.clock(), why=why, force=action == Action.UNLOCK)
    done = bulk.do(desk.engine, wish, numbers)
    reasons = Counter(each.code for each in done.refused)
    return show(
        request, "lead_acted.html", do=do, title=TITLES[do][0], done=done, reasons=reasons, back=local_path(back)
    )


@pages.post("/leads/owner", access=ADMINISTERING)
def change_owner(  # noqa: PLR0913, PLR0917 - each is a part of the request
    request: Request,
    desk: AtDesk,
    caller: ByCaller,
    typed: ByForm,
    to: Annotated[str, Form(max_length=200, pattern=r"^[^\x00]*$")] = "",
    lead: Leads = [],  # noqa: B006 - FastAPI copies it
    all: Annotated[bool, Form()] = False,  # noqa: A002 - the field's name
    filter: Sentence = "",  # noqa: A002
    retain: Annotated[bool, Form()] = False,
    unlock: Annotated[bool, Form()] = False,
    deactivated: Annotated[bool, Form()] = False,
    why: Why = "",
    back: Back = "/leads",
) -> Response:
    """Gives the leads another owner; the next page has both sides, and follows a large change."""
    try:
        numbers = _numbers(desk, caller, lead, filter, whole=all, most=MOST_NAMED)
        named = _owner(desk, to.strip())
        wish = Asked(ids=numbers, to=named, retain=retain, unlock=unlock, deactivated=deactivated, why=why)
        begun = api.change_owner(desk, caller, Response(), wish)
    except (Rejected, Invalid) as problem:
        these = _meant(desk, caller, lead, filter, whole=all)
        return _question(request, desk, "owner", these, back, typed=typed, problem=problem)
    return onward(f"/leads/owner-changes/{begun.id}")


@pages.get("/leads/owner-changes/{number}", access=ADMINISTERING)
def show_owner_change(
    request: Request,
    desk: AtDesk,
    caller: ByCaller,
    number: Number,
    outcome: Annotated[str, Query(max_length=40)] = "moved",
    cursor: Cursor = None,
) -> Response:
    """Both sides of a change: which leads were moved, which were not, and why not."""
    after = paging.key_of(cursor, str, int)
    chosen = outcome if outcome in REASONS else "moved"
    with reading(desk.engine) as connection:
        found = owner_changes.find(connection, number, by=agent_of(connection, caller))
        results = owner_changes.results_of(connection, number, limit=PAGE + 1, outcome=chosen, after=after)
    last = results[PAGE - 1] if len(results) > PAGE else None
    return show(
        request,
        "owner_change.html",
        fragment="whole",
        change=found,
        outcome=chosen,
        results=results[:PAGE],
        next=None if last is None else paging.cursor(last.outcome, last.lead),
        reasons=REASONS,
    )


@pages.post("/leads/owner-changes/{number}/cancel", access=ADMINISTERING)
def cancel_owner_change(desk: AtDesk, caller: ByCaller, number: Number) -> Response:
    """Stops a change; what was moved stays moved."""
    with writing(desk.engine) as connection:
        owner_changes.cancel(connection, caller.deed(desk.clock()), number, by=agent_of(connection, caller))
    return onward(f"/leads/owner-changes/{number}", "The change is stopped. What was moved stays moved.")


def _meant(desk: Desk, caller: Caller, lead: list[int], filter: str, *, whole: bool) -> Meant:  # noqa: A002
    """What a form means, counted; raises Invalid for a filter that is none."""
    if whole:
        return Meant(leads=[], filter=filter, count=lead_admin.meant(desk, caller, filter)[1], whole=True)
    wanted = sorted(set(lead))
    return Meant(leads=wanted, filter=filter, count=Count(leads=len(wanted), exact=True), whole=False)


def _owner(desk: Desk, text: str) -> str:
    """The owner whom people mean: by name, key, login or Lead Ownership Code; what is none of these as it is.

    Raises Rejected for what several are called.
    """
    if not text or ":" in text:
        return text
    with reading(desk.engine) as connection:
        codes, offered = rules.owners(connection).by_code, lead_admin.suggestions(connection)["owners"]
    called = {text.casefold(), f"{text.casefold()}, team"}
    found = [owner for owner, name in offered if not called.isdisjoint({name.casefold(), owner.partition(":")[2]})]
    if len(found) > 1:
        raise Rejected("owner_unknown", f"several are called {text!r}: {', '.join(found)}", suggestion="choose one")
    return found[0] if found else f"code:{text}" if code_key(text) in codes else text


def _numbers(desk: Desk, caller: Caller, lead: list[int], filter: str, *, whole: bool, most: int) -> list[int]:  # noqa: A002
    """The numbers of the leads that are meant; raises Invalid when there are none or too many."""
    if not whole:
        if not lead:
            raise Invalid("request_unusable", "no lead was chosen: tick some, or all that match", field="lead")
        return sorted(set(lead))
    tree, _ = lead_admin.meant(desk, caller, filter)
    with reading(desk.engine) as connection:
        found = meant.numbers(connection, tree, agent_of(connection, caller), desk.clock(), most=most)
    if not found:
        raise Rejected("lead_unknown", "no lead matches any more", suggestion="go back to the list")
    return found
