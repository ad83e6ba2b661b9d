"""Deliveries: what needs attention, what is in progress, what was received."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import Query, Request, Response

from ingestd.access.permissions import Permission
from ingestd.ingest import tracing
from ingestd.leads import rights
from ingestd.leads.reruns import NOT_RETRIED
from ingestd.model import Delivery, State
from ingestd.organisation import silence
from ingestd.store import deliveries as ledger
from ingestd.store import organisation
from ingestd.store.deliveries import MOST_COUNTED, Counts, Wanted
from ingestd.store.engine import reading
from ingestd.web.api import paging
from ingestd.web.api.access import needs
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.leads import agent_of
from ingestd.web.api.paging import Cursor
from ingestd.web.pages.rendering import Here, here, show
from ingestd.web.pages.routes import Pages

pages = Pages()

LOOKING = needs(Permission.LEAD_POOLS)
PAGE = 50
BATCH = 100
"""deliveries whose logs are looked through before the next ones are asked for"""

View = Literal["attention", "progress", "all"]
VIEWS: tuple[tuple[View, str], ...] = (("attention", "Needs attention"), ("progress", "In progress"), ("all", "All"))
PERIODS = {"day": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=30)}
PERIOD_TITLES = (("day", "last 24 hours"), ("week", "last 7 days"), ("month", "last 30 days"))
_PHONE_LETTERS = frozenset("0123456789+()-/. ")

Search = Annotated[str, Query(max_length=200)]


@pages.get("/deliveries", access=LOOKING)
def list_deliveries(  # noqa: PLR0913, PLR0917 - each is a part of the request
    request: Request,
    desk: AtDesk,
    view: View | Literal[""] = "",
    source: Annotated[str, Query(max_length=64)] = "",
    state: State | Literal[""] = "",
    period: Literal["day", "week", "month", ""] = "",
    q: Search = "",
    cursor: Cursor = None,
) -> Response:
    """The list, newest first, with the feeds that are silent on top."""
    at, before, text = desk.clock(), paging.number_of(cursor), _plain(q)
    with reading(desk.engine) as connection:
        counts = ledger.counts(connection, at=at, source=source or None)
        chosen: View = view or ("attention" if counts.attention and not (text or state) else "all")
        wanted = Wanted(
            source=source or None,
            states=(state,) if state else ledger.IN_PROGRESS if chosen == "progress" else (),
            since=at - PERIODS[period] if period else None,
            text=text,
            attention=chosen == "attention",
        )
        found = ledger.latest(connection, wanted, at=at, limit=PAGE + 1, before=before)
        silent = silence.silent(connection, at)
        names = sorted(each.name for each in organisation.all_sources(connection))
    return show(
        request,
        "deliveries.html",
        fragment="list",
        at=at,
        view=chosen,
        not_retried=NOT_RETRIED,
        tabs=_tabs(here(request), counts, chosen),
        found=found[:PAGE],
        next=paging.following([each.id for each in found], PAGE),
        silent=silent,
        sources=[(name, name) for name in names],
        periods=PERIOD_TITLES,
        states=[(each.value, each.value.replace("_", " ")) for each in State],
        phone=text if is_phone(text) else "",
        filtered=bool(source or state or period or text),
    )


@pages.get("/deliveries/phones", access=LOOKING)
def trace_phone(request: Request, desk: AtDesk, caller: ByCaller, q: Search = "") -> Response:
    """Why was this lead rejected? The records of all files in which a number stands, as far as the time allows.

    What became of a record is told in any case; the lead and its owner, to those who see the lead.
    """
    number = q.strip()
    traced = tracing.trace(_logged(desk), desk.logs, number) if tracing.digits(number) else None
    named = {each.lead_id for each in traced.found if each.lead_id is not None} if traced else set()
    with reading(desk.engine) as connection:
        seen = rights.seen_among(connection, agent_of(connection, caller), named)
    return show(request, "deliveries_phone.html", fragment="found", number=number, traced=traced, seen=seen)


def _plain(text: str) -> str:
    """What is looked for; the number of a delivery is written #24 in the list."""
    number = text.strip().removeprefix("#")
    return number if number.isdecimal() else text.strip()


def is_phone(text: str) -> bool:
    """Whether a search is for a phone number: digits enough, and nothing but what stands in numbers."""
    return bool(tracing.digits(text)) and _PHONE_LETTERS.issuperset(text)


def _logged(desk: Desk) -> Iterator[Delivery]:
    """Every delivery with a log, the newest first."""
    before: int | None = None
    while True:
        with reading(desk.engine) as connection:
            found = ledger.latest(connection, Wanted(), at=desk.clock(), limit=BATCH, before=before)
        yield from (each for each in found if each.log_key and each.counts.records)
        if len(found) < BATCH:
            return
        before = found[-1].id


def _tabs(where: Here, counts: Counts, chosen: View) -> list[tuple[str, str, str, bool]]:
    numbers = {"attention": counts.attention, "progress": counts.in_progress, "all": counts.every}
    return [(title, where.to(view=name, state=None), told(numbers[name]), name == chosen) for name, title in VIEWS]


def told(count: int) -> str:
    """A count as far as it was counted."""
    return f"{count:,}" if count <= MOST_COUNTED else f"{MOST_COUNTED:,}+"
