"""One delivery: what came, what became of every record, and what one can do about it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Form, Query, Request, Response

from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission
from ingestd.errors import Unavailable
from ingestd.ingest.insight import Group
from ingestd.leads import reruns
from ingestd.model import Delivery, Outcome, State
from ingestd.receipts import receipt
from ingestd.store import deliveries, pools
from ingestd.store.engine import reading
from ingestd.web.api.deliveries import Number, known
from ingestd.web.api.desk import AtDesk, ByCaller
from ingestd.web.pages import mending
from ingestd.web.pages.deliveries import LOOKING
from ingestd.web.pages.insights import Insights
from ingestd.web.pages.local import local_path
from ingestd.web.pages.rendering import onward, show
from ingestd.web.pages.routes import Pages

pages = Pages()

STAGES = ("read", "map", "validate", "resolve", "screen", "load")
"""Of the road, in their order (ingest/road.py)."""
RETRYABLE = (State.REFUSED, State.FAILED, State.CANCELLED)
CANCELLABLE = (State.RECEIVED, State.QUEUED, State.AWAITING_CONFIRMATION)
_TONES: Mapping[Outcome, str] = {
    Outcome.INSERTED: "good",
    Outcome.UPDATED: "good2",
    Outcome.UNCHANGED: "calm",
    Outcome.DUPLICATE: "warn",
    Outcome.REJECTED: "bad",
    Outcome.DISCARDED: "off",
}

Next = Annotated[str, Form(max_length=2_000)]
Word = Annotated[str, Query(max_length=64)]


@dataclass(frozen=True, kw_only=True)
class Download:
    """What one can take along."""

    title: str
    address: str
    about: str


@pages.get("/deliveries/{number}", access=LOOKING)
def show_delivery(request: Request, desk: AtDesk, caller: ByCaller, number: Number) -> Response:
    """All of it; what takes longer comes after the page."""
    delivery = known(desk, caller, number)
    with reading(desk.engine) as connection:
        later = deliveries.next_version(connection, delivery.id)
        mend = mending.address(connection, delivery)
    insights: Insights = request.app.state.insights
    summary, groups, problem = _logged(insights, delivery)
    return show(
        request,
        "delivery.html",
        fragment="whole",
        at=desk.clock(),
        delivery=delivery,
        parts=parts(delivery),
        summary=summary,
        groups=groups,
        log_problem=problem,
        timings=timings(delivery),
        stages=STAGES,
        downloads=downloads(delivery),
        next_version=later,
        why=why(delivery, caller),
        retryable=delivery.state in RETRYABLE and delivery.reason_code not in reruns.NOT_RETRIED,
        rerunnable=reruns.rerunnable(delivery),
        undoable=delivery.state in reruns.LOADED and delivery.counts.loaded > 0,
        mending=mend,
        cancellable=delivery.state in CANCELLABLE,
    )


@pages.get("/deliveries/{number}/columns", access=LOOKING)
def show_columns(request: Request, desk: AtDesk, caller: ByCaller, number: Number) -> Response:
    """What each column is mapped to, and how full, various and valid it is."""
    delivery = known(desk, caller, number)
    insights: Insights = request.app.state.insights
    return show(
        request, "delivery_columns.html", fragment="part", delivery=delivery, columns=insights.columns(delivery)
    )


@pages.get("/deliveries/{number}/pool", access=LOOKING)
def show_pool(request: Request, desk: AtDesk, caller: ByCaller, number: Number) -> Response:
    """The lead pool that it became, and who owns its leads."""
    delivery = known(desk, caller, number)
    with reading(desk.engine) as connection:
        pool = None if delivery.pool_id is None else pools.one(connection, delivery.pool_id)
        owners = [] if pool is None else pools.owners(connection, pool["id"])
    return show(request, "delivery_pool.html", fragment="part", delivery=delivery, pool=pool, owners=owners)


@pages.get("/deliveries/{number}/rows", access=LOOKING)
def show_rows(
    request: Request,
    desk: AtDesk,
    caller: ByCaller,
    number: Number,
    code: Word,
    column: Annotated[str | None, Query(max_length=1_000)] = None,
    after: Annotated[int, Query(ge=0, lt=2**32)] = 0,
) -> Response:
    """The records behind a group of problems, with the line as it came."""
    delivery = known(desk, caller, number)
    insights: Insights = request.app.state.insights
    found, following = insights.records(delivery, code, column, after)
    return show(
        request,
        "delivery_rows.html",
        fragment="part",
        delivery=delivery,
        code=code,
        column=column,
        found=found,
        after=after,
        following=following,
    )


@pages.post("/deliveries/{number}/retry", access=LOOKING)
def retry(desk: AtDesk, caller: ByCaller, number: Number, next: Next = "") -> Response:  # noqa: A002 - the field's name
    """Queues it once more; raises Rejected when that cannot be."""
    known(desk, caller, number)
    desk.ledger.retry(number, caller.deed(desk.clock()))
    desk.ring()
    return onward(local_path(next or f"/deliveries/{number}"), f"Delivery {number} is queued again.")


@pages.post("/deliveries/{number}/cancel", access=LOOKING)
def cancel(desk: AtDesk, caller: ByCaller, number: Number, next: Next = "") -> Response:  # noqa: A002 - the field's name
    """Ends it before it is begun; raises Rejected when that cannot be."""
    known(desk, caller, number)
    desk.ledger.cancel(number, caller.deed(desk.clock()))
    return onward(local_path(next or f"/deliveries/{number}"), f"Delivery {number} is cancelled. Its file is kept.")


def parts(delivery: Delivery) -> list[tuple[str, int, str]]:
    """How the records ended: word, count, tone; they add up to the records."""
    return [(outcome.value, getattr(delivery.counts, outcome), _TONES[outcome]) for outcome in Outcome]


def timings(delivery: Delivery) -> list[tuple[str, float]]:
    """Seconds by stage, with the time in the queue first."""
    spent: dict[str, float] = json.loads(delivery.timings or "{}")
    waited = _between(delivery.queued_at, delivery.started_at)
    return ([("wait", waited)] if waited is not None else []) + list(spent.items())


def why(delivery: Delivery, caller: Caller) -> dict[str, str] | None:
    """Why it was not loaded. Our own errors speak of our machines: only who manages the sources reads them."""
    if delivery.reason and Permission.MANAGE_SOURCES in caller.permissions:
        return {"code": delivery.reason_code, "message": delivery.reason, "suggestion": delivery.suggestion}
    told: dict[str, str] | None = receipt(delivery).get("reason")
    return told


def downloads(delivery: Delivery) -> list[Download]:
    """What there is of it, under the addresses of the API."""
    base = f"/api/v1/deliveries/{delivery.id}"
    found = []
    if delivery.log_key:
        found = [Download(title="Full Log", address=f"{base}/log.csv", about="the fate of every record")]
        found.append(Download(title="Errors", address=f"{base}/errors.csv", about="every problem, one a line"))
    if delivery.log_key and delivery.counts.rejected:
        about = "the rejected records as they came, to mend and send again"
        found.append(Download(title="Rejected", address=f"{base}/rejected.csv", about=about))
    if delivery.spool_key:
        found.append(Download(title="Original", address=f"{base}/original", about="the file as it came"))
    if delivery.log_key:
        found.append(Download(title="Summary", address=f"{base}/summary", about="how it was read, as JSON"))
    return found


def _logged(insights: Insights, delivery: Delivery) -> tuple[Mapping[str, Any], Sequence[Group], str]:
    """The summary of its log and its groups of problems; a log that cannot be read does not hide the rest."""
    try:
        return insights.summary(delivery), insights.groups(delivery), ""
    except Unavailable:
        return {}, [], "The log cannot be read at the moment. What the ledger knows is shown; try again later."


def _between(earlier: datetime | None, later: datetime | None) -> float | None:
    return None if earlier is None or later is None else max(0.0, (later - earlier).total_seconds())
