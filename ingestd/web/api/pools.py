"""Lead pools: what deliveries became."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, Field

from ingestd.access.permissions import Permission
from ingestd.errors import Missing
from ingestd.model import PoolState
from ingestd.store import pools
from ingestd.store.engine import reading
from ingestd.web.api import paging
from ingestd.web.api.access import needs
from ingestd.web.api.deliveries import Number
from ingestd.web.api.desk import AtDesk, ByCaller
from ingestd.web.api.paging import Cursor, Limit
from ingestd.web.api.routes import Routes

routes = Routes("pools")

LOOKING = needs(Permission.LEAD_POOLS, bound_keys=True)


class OwnerShare(BaseModel):
    """Who owns how many leads of a pool."""

    kind: Literal["team", "user"]
    owner: str
    ownership_code: str | None
    leads: int


class PoolOut(BaseModel):
    """A lead pool. Totals are counted from the leads, so that they always equal them."""

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


class Pools(BaseModel):
    """A page of pools, the newest first."""

    items: list[PoolOut]
    next: str | None = Field(description="the `cursor` of the next page; null after the last")


@routes.get("/pools", access=LOOKING)
def list_pools(
    desk: AtDesk,
    caller: ByCaller,
    campaign: Annotated[str | None, Query(max_length=64, description="code of the campaign")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Pools:
    """Lead pools with their totals, the newest first."""
    before = paging.number_of(cursor)
    with reading(desk.engine) as connection:
        found = pools.latest(connection, limit=limit + 1, campaign=campaign, before=before, source=caller.source)
    items = [PoolOut(**each) for each in found[:limit]]
    return Pools(items=items, next=paging.following([each["id"] for each in found], limit))


@routes.get("/pools/{number}", access=LOOKING, problems=(404,))
def get_pool(desk: AtDesk, caller: ByCaller, number: Number) -> PoolDetails:
    """One lead pool with its owners."""
    with reading(desk.engine) as connection:
        found = pools.one(connection, number, source=caller.source)
        if found is None:
            raise Missing("pool_unknown", f"there is no pool {number}")
        return PoolDetails(**found, owners=[OwnerShare(**each) for each in pools.owners(connection, number)])
