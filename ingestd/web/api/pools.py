"""Lead pools: what deliveries became."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission
from ingestd.errors import Missing
from ingestd.leads import kpis, rights, undoing
from ingestd.leads import pools as deeds
from ingestd.leads.kpis import Kpi
from ingestd.model import PoolState
from ingestd.store import pools
from ingestd.store.audit import Deed
from ingestd.store.engine import reading, writing
from ingestd.web.api import paging
from ingestd.web.api.access import needs
from ingestd.web.api.deliveries import Number
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.paging import Cursor, Limit
from ingestd.web.api.routes import Routes

routes = Routes("pools")

LOOKING = needs(Permission.LEAD_POOLS, bound_keys=True)
CHANGING = needs(Permission.LEAD_POOLS)

Kpis = Annotated[
    list[str] | None,
    Query(max_length=20, description="figures, such as `success_rate`, `count:busy`, `share:success`, `first:success`"),
]
Why = Annotated[str, Query(max_length=500, description="the reason, for the audit")]


class OwnerShare(BaseModel):
    """Who owns how many leads of a pool."""

    kind: Literal["team", "user"]
    owner: str
    ownership_code: str | None
    leads: int


class PoolOut(BaseModel):
    """A lead pool. Totals always equal its leads."""

    id: int
    name: str
    project: str
    campaign: str
    state: PoolState
    uploaded_at: datetime
    uploaded_by: str
    delivery_id: int | None
    total: int
    total_open: int
    ready_to_dial: int
    percent_closed: float
    percent_used: float


class PoolDetails(PoolOut):
    """A lead pool with its owners."""

    owners: list[OwnerShare]


class KpiOut(BaseModel):
    """A figure that can be asked for."""

    kpi: str
    unit: str = Field(description="`leads`, `percent`, `attempts` or `days`")
    meaning: str


class Figure(KpiOut):
    """One figure of a pool."""

    value: float | None = Field(description="null: there is nothing yet that it could be counted from")


class PoolRow(PoolOut):
    """A lead pool with the figures that were asked for."""

    kpis: list[Figure]


class Pools(BaseModel):
    """A page of pools, the newest first."""

    items: list[PoolRow]
    next: str | None = Field(description="the `cursor` of the next page; null after the last")


class UndoneOut(BaseModel):
    """What was taken back."""

    deleted: int = Field(description="leads")
    delivery_id: int
    pool: PoolOut


class Kept(BaseModel):
    """Leads that were not deleted, by the first reason that holds."""

    processed: int = Field(0, description="they have another status")
    called: int = Field(0, description="somebody has called them")
    locked: int = Field(0, description="somebody holds them")


class DeletedOut(BaseModel):
    """What became of the leads of a pool."""

    deleted: int
    kept: Kept
    pool: PoolOut


@routes.get("/pools", access=LOOKING)
def list_pools(
    desk: AtDesk,
    caller: ByCaller,
    campaign: Annotated[str | None, Query(max_length=64, description="code of the campaign")] = None,
    kpi: Kpis = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Pools:
    """Lead pools with their totals, and figures when some are asked for, the newest first. 422 `kpi_unknown`."""
    before = paging.number_of(cursor)
    with reading(desk.engine) as connection:
        found = pools.latest(connection, limit=limit + 1, campaign=campaign, before=before, source=caller.source)
        figures = kpis.measured_all(connection, [each["id"] for each in found[:limit]], kpi or (), desk.clock())
    items = [PoolRow(**each, kpis=_figures(figures[each["id"]])) for each in found[:limit]]
    return Pools(items=items, next=paging.following([each["id"] for each in found], limit))


@routes.get("/pools/{number}", access=LOOKING, problems=(404,))
def get_pool(desk: AtDesk, caller: ByCaller, number: Number) -> PoolDetails:
    """One lead pool with its owners."""
    with reading(desk.engine) as connection:
        found = pools.one(connection, number, source=caller.source)
        if found is None:
            raise Missing("pool_unknown", f"there is no pool {number}")
        return PoolDetails(**found, owners=[OwnerShare(**each) for each in pools.owners(connection, number)])


@routes.get("/pools/{number}/kpis", access=LOOKING, problems=(404,))
def get_kpis(
    desk: AtDesk,
    caller: ByCaller,
    number: Number,
    kpi: Kpis = None,
) -> list[Figure]:
    """Figures of a pool, in the order asked for; all but those of single statuses when none is. 422 `kpi_unknown`."""
    with reading(desk.engine) as connection:
        found = kpis.measured(connection, number, kpi or (), desk.clock(), source=caller.source)
    return _figures(found)


@routes.get("/kpis", access=LOOKING)
def list_kpis(desk: AtDesk) -> list[KpiOut]:
    """Every figure that a pool can be asked for."""
    with reading(desk.engine) as connection:
        return [KpiOut(kpi=each.name, unit=each.unit, meaning=each.meaning) for each in kpis.known(connection)]


@routes.post("/pools/{number}/activate", access=CHANGING, problems=(404, 409))
def activate_pool(desk: AtDesk, caller: ByCaller, number: Number, why: Why = "") -> PoolOut:
    """The leads of an inactive pool may be called again. 409 `pool_state`: it is not inactive."""
    return _done(desk, caller, number, why, deeds.activate)


@routes.post("/pools/{number}/deactivate", access=CHANGING, problems=(404, 409))
def deactivate_pool(desk: AtDesk, caller: ByCaller, number: Number, why: Why = "") -> PoolOut:
    """The leads of an active pool are not called any more, but VIP and Private redials. 409 `pool_state`."""
    return _done(desk, caller, number, why, deeds.deactivate)


@routes.post("/pools/{number}/shuffle", access=CHANGING, problems=(404, 409))
def shuffle_pool(desk: AtDesk, caller: ByCaller, number: Number, why: Why = "") -> PoolOut:
    """The leads are dialled in a random order, in place of the file's. 409 `pool_state`: it is not loaded."""
    return _done(desk, caller, number, why, deeds.shuffle)


@routes.delete("/pools/{number}/unprocessed", access=CHANGING, problems=(404, 409))
def delete_unprocessed(desk: AtDesk, caller: ByCaller, number: Number, why: Why = "") -> DeletedOut:
    """Deletes the leads that nobody has called or holds, for good; the log of the pool stays. 409 `pool_state`.

    403 when the pool has leads that the caller may not change; `extended_data` reaches all.
    """
    with writing(desk.engine) as connection:
        beyond = rights.out_of_reach(connection, caller)
        gone = deeds.delete_unprocessed(connection, caller.deed(desk.clock(), why), number, beyond)
        return DeletedOut(deleted=gone.deleted, kept=Kept(**gone.kept), pool=_shown(connection, number))


def _figures(found: list[tuple[Kpi, float | None]]) -> list[Figure]:
    return [Figure(kpi=each.name, unit=each.unit, meaning=each.meaning, value=value) for each, value in found]


@routes.post("/pools/{number}/undo", access=CHANGING, problems=(404, 409))
def undo_pool(desk: AtDesk, caller: ByCaller, number: Number, why: Why = "") -> UndoneOut:
    """Takes all leads of a pool back while nobody has worked with them; log, receipt and pool stay.

    409 `pool_in_use` says what holds it: leads that were called, are held or were changed. `pool_updated_leads`: its
    file changed leads of other pools, and what they were is not kept. 403 when the pool has leads that the caller may
    not change; `extended_data` reaches all.
    """
    with writing(desk.engine) as connection:
        beyond = rights.out_of_reach(connection, caller)
        undone = undoing.undo(connection, caller.deed(desk.clock(), why), number, desk.ledger, beyond)
        shown = _shown(connection, number)
    return UndoneOut(deleted=undone.deleted, delivery_id=undone.delivery_id, pool=shown)


def _done(
    desk: Desk, caller: Caller, number: int, why: str, verb: Callable[[Connection, Deed, int], object]
) -> PoolOut:
    with writing(desk.engine) as connection:
        verb(connection, caller.deed(desk.clock(), why), number)
        return _shown(connection, number)


def _shown(connection: Connection, number: int) -> PoolOut:
    found = pools.one(connection, number)
    assert found is not None, "a pool is never deleted"
    return PoolOut(**found)
