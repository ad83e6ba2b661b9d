"""Deliveries: what came, and what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel, Field

from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission
from ingestd.errors import Missing
from ingestd.model import Completeness, Delivery, State
from ingestd.receipts import receipt
from ingestd.store import orders
from ingestd.web.api import paging
from ingestd.web.api.access import needs
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.paging import Cursor, Limit
from ingestd.web.api.routes import Routes
from ingestd.web.api.teams import Why

routes = Routes("deliveries")

LOOKING = needs(Permission.LEAD_POOLS, bound_keys=True)
LARGEST = 2**63 - 1
Number = Annotated[int, Path(ge=1, le=LARGEST)]


class CountsOut(BaseModel):
    """How the records ended; they add up to `records`."""

    records: int
    inserted: int
    updated: int
    unchanged: int
    duplicate: int
    rejected: int
    discarded: int


class ReasonOut(BaseModel):
    """Why a delivery was not loaded."""

    code: str
    message: str
    suggestion: str


class DeliveryOut(BaseModel):
    """One received file or batch."""

    id: int
    source: str
    file: str
    folder: str
    bytes: int
    sha256: str
    protocol: str
    owner: str | None = Field(description="`team:<key>` or `user:<login>` that was asked for as default owner")
    mapping: dict[str, str] | None = Field(description="header → field that was asked for, over the source's own")
    state: State
    stage: str = Field(description="the room of the road, while it is running")
    completeness: Completeness
    completeness_evidence: str
    received_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    attempts: int
    lead_pool: int | None
    duplicate_of: int | None
    previous_version: int | None
    mapping_version: int | None = Field(description="of its source's saved mapping, when its records were judged by it")
    rerun_of: int | None = Field(description="the delivery whose bytes this one reads once more")
    counts: CountsOut
    reason: ReasonOut | None


class Deliveries(BaseModel):
    """A page of deliveries, the newest first."""

    items: list[DeliveryOut]
    next: str | None = Field(description="the `cursor` of the next page; null after the last")


@routes.get("/deliveries", access=LOOKING)
def list_deliveries(
    desk: AtDesk,
    caller: ByCaller,
    source: Annotated[str | None, Query(max_length=64)] = None,
    state: Annotated[list[State] | None, Query(description="one of these")] = None,
    name: Annotated[str | None, Query(max_length=255, description="the file's whole name")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Deliveries:
    """What was received, the newest first."""
    if caller.source is not None:
        source = source or caller.source
    if source is not None and not caller.may_act_for(source):
        return Deliveries(items=[], next=None)
    before = paging.number_of(cursor)
    found = desk.ledger.latest(limit=limit + 1, before=before, source=source, states=state or (), name=name)
    items = [out(each) for each in found[:limit]]
    return Deliveries(items=items, next=paging.following([each.id for each in found], limit))


@routes.get("/deliveries/{number}", access=LOOKING, problems=(404,))
def get_delivery(desk: AtDesk, caller: ByCaller, number: Number) -> DeliveryOut:
    """One delivery."""
    return out(known(desk, caller, number))


@routes.post("/deliveries/{number}/retry", access=LOOKING, status_code=202, problems=(404, 409))
def retry_delivery(desk: AtDesk, caller: ByCaller, number: Number, why: Why = "") -> DeliveryOut:
    """Queues a refused, failed or cancelled delivery once more, for example after its mapping was mended."""
    known(desk, caller, number)
    desk.ledger.retry(number, caller.deed(desk.clock(), why))
    return out(known(desk, caller, number))


@routes.post("/deliveries/{number}/cancel", access=LOOKING, problems=(404, 409))
def cancel_delivery(desk: AtDesk, caller: ByCaller, number: Number, why: Why = "") -> DeliveryOut:
    """Ends a delivery that waits and that no worker has begun."""
    known(desk, caller, number)
    desk.ledger.cancel(number, caller.deed(desk.clock(), why))
    return out(known(desk, caller, number))


def known(desk: Desk, caller: Caller, number: int) -> Delivery:
    """A delivery that the caller may see; raises Missing, also for one of another source than the key's."""
    found = desk.ledger.get(number)
    if found is None or not caller.may_act_for(found.source):
        raise Missing("delivery_unknown", f"there is no delivery {number}")
    return found


def out(delivery: Delivery) -> DeliveryOut:
    """As programs are told. Our own errors, which speak of our machines, are not."""
    told: dict[str, Any] = receipt(delivery)
    same = ("source", "folder", "protocol", "state", "stage", "received_at", "queued_at", "started_at", "finished_at",
            "attempts", "duplicate_of", "previous_version", "mapping_version", "rerun_of", "sha256",
            "completeness")  # fmt: skip
    return DeliveryOut(
        id=delivery.id,
        file=delivery.name,
        bytes=delivery.size,
        completeness_evidence=delivery.evidence,
        owner=delivery.default_owner,
        mapping=None if delivery.mapping is None else dict(orders.mapping(delivery.mapping)),
        lead_pool=delivery.pool_id,
        counts=told["counts"],
        reason=told.get("reason"),
        **{name: getattr(delivery, name) for name in same},
    )
