"""Reports: what came, what was called and what became of it, as far as the person may see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any, get_args
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import Query, Request, Response

from ingestd.access.permissions import Permission
from ingestd.errors import Invalid
from ingestd.leads import reports, statuses
from ingestd.leads.reports import By, Every, Row, Wish
from ingestd.organisation import changes
from ingestd.store.engine import reading
from ingestd.web.api.desk import AtDesk, ByCaller
from ingestd.web.api.leads import agent_of
from ingestd.web.api.reports import LOOKING
from ingestd.web.pages.rendering import by_htmx, here, show
from ingestd.web.pages.routes import Pages

pages = Pages()

USUAL = timedelta(days=29)
"""Before the last day, when nobody says which is the first."""
MOST_ROWS = 500
"""Rows of a table; the download has all of them."""
COUNTED = ("uploaded", "calls", "attempts", "contacts", "won", "successes", "closed")

Word = Annotated[str, Query(max_length=64)]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """What a chart shows of one period: parts are (what, count, tone), each drawn over the one before it."""

    title: str
    parts: tuple[tuple[str, int, str], ...]


@pages.get("/reports", access=LOOKING)
def show_report(  # noqa: PLR0913, PLR0917 - each is a part of the request
    request: Request,
    desk: AtDesk,
    caller: ByCaller,
    by: By | str = "campaign",
    every: Every | str = "day",
    start: Annotated[str, Query(alias="from", max_length=10)] = "",
    end: Annotated[str, Query(alias="to", max_length=10)] = "",
    timezone: Word = "",
    figures: Word = "",
) -> Response:
    """The choice at once; the figures after it, because counting takes longer."""
    with reading(desk.engine) as connection:
        who = agent_of(connection, caller)
        zones = zones_of(each.facts.get("timezone", "UTC") for each in changes.every(connection, "campaign"))
        book = statuses.read(connection)
    wish, problem = None, None
    try:
        wish = wished((by, every), (start, end), timezone or zones[0], desk.clock())
        reports.periods(wish)
    except Invalid as found:
        wish, problem = None, found
    rows: list[Row] = []
    wanted = wish is not None and bool(by_htmx(request) or figures)
    if wish is not None and wanted:
        with reading(desk.engine) as connection:
            rows = reports.report(connection, wish, who)
    return show(
        request,
        "reports.html",
        fragment="figures",
        status=200 if problem is None else 422,
        wish=wish,
        problem=problem,
        wanted=wanted and wish is not None,
        everything=Permission.EXTENDED_INSIGHTS in caller.permissions,
        zones=[(each, each) for each in zones],
        statuses={code: status.name for code, status in book.by_code.items()},
        bys=[(each, each) for each in get_args(By)],
        periods=[(each, each) for each in get_args(Every)],
        query=urlencode(_query(wish)) if wish else "",
        later=here(request).to(figures="now"),
        most=MOST_ROWS,
        **(_told(rows, wish) if wish else {}),
    )


def wished(kinds: tuple[str, str], days: tuple[str, str], timezone: str, at: datetime) -> Wish:
    """What an address asks for; the last thirty days, unless it says which. Pure; raises Invalid."""
    by, every = kinds
    if by not in get_args(By) or every not in get_args(Every):
        raise Invalid("value_unusable", "choose what the report is of, and by which periods", field="by")
    try:
        today = at.astimezone(ZoneInfo(timezone)).date()
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid("value_unusable", f"there is no time zone {timezone!r}", field="timezone") from None
    last = _day(days[1], "to") or today
    first = _day(days[0], "from") or max(date.min + USUAL, last) - USUAL
    return Wish(by=by, start=first, end=last, every=every, timezone=timezone)  # type: ignore[arg-type]  # both looked at


def zones_of(known: Iterable[str]) -> list[str]:
    """The time zones of campaigns, the most usual first, and UTC. Pure."""
    found = [zone for zone, _ in Counter(known).most_common()]
    return [*found, *(["UTC"] if "UTC" not in found else [])]


def summed(rows: Iterable[Row], key: Callable[[Row], Any]) -> list[Row]:
    """One row for each key, in the order in which these first come. Pure."""
    found: dict[Any, Row] = {}
    for row in rows:
        into = found.setdefault(key(row), Row(period=row.period, key=row.key, name=row.name))
        for name in COUNTED:
            setattr(into, name, getattr(into, name) + getattr(row, name))
        for code, count in row.statuses.items():
            into.statuses[code] = into.statuses.get(code, 0) + count
    return list(found.values())


def bars(starts: Sequence[date], rows: Iterable[Row], parts: Sequence[tuple[str, str, str]]) -> list[Bar]:
    """A bar for each period, also where nothing was; parts are (figure, title, tone). Pure."""
    by_period = {row.period: row for row in summed(rows, lambda row: row.period)}
    return [
        Bar(
            title=start.isoformat(),
            parts=tuple(
                (title, getattr(by_period[start], name) if start in by_period else 0, tone)
                for name, title, tone in parts
            ),
        )
        for start in starts
    ]


def _told(rows: list[Row], wish: Wish) -> dict[str, Any]:
    starts = reports.periods(wish)
    keys = sorted(summed(rows, lambda row: row.key), key=lambda row: (-row.calls, -row.uploaded, row.key))
    calls = (("calls", "calls", "calm"), ("contacts", "contacts", "busy"), ("won", "successes", "good"))
    return {
        "keys": keys,
        "by_period": summed(rows, lambda row: row.period),
        "total": next(iter(summed(rows, lambda _: None)), None),
        "calls": bars(starts, rows, calls),
        "uploads": bars(starts, rows, (("uploaded", "leads that came", "calm"),)),
    }


def _query(wish: Wish) -> dict[str, str]:
    named = {"by": wish.by, "every": wish.every, "from": wish.start.isoformat(), "to": wish.end.isoformat()}
    return {**named, "timezone": wish.timezone}


def _day(text: str, name: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Invalid("value_unusable", f"{text!r} is no day; write YYYY-MM-DD", field=name) from None
