"""What a list of leads shows of their pools: where each lead came from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, select

from ingestd.leads import selection
from ingestd.store.tables import campaigns, deliveries, pools, projects


@dataclass(frozen=True, kw_only=True)
class PoolFacts:
    """One pool."""

    id: int
    campaign_id: int
    campaign: str
    project: str
    name: str
    file: str | None
    """None for leads that were typed"""
    delivery: int | None
    uploaded_at: datetime
    uploaded_by: str
    """`source:<name>`, or `user:<login>` for leads that were typed"""


def of_pools(connection: Connection, numbers: Iterable[int]) -> dict[int, PoolFacts]:
    """These pools by number."""
    return {each.id: each for each in _read(connection, selection.among(connection, pools.c.id, numbers))}


def where(connection: Connection, *conditions: ColumnElement[bool]) -> list[PoolFacts]:
    """The pools for which conditions on their table hold."""
    return _read(connection, *conditions)


def _read(connection: Connection, *conditions: ColumnElement[bool]) -> list[PoolFacts]:
    return [_facts(row) for row in connection.execute(_EVERY.where(*conditions))]


_EVERY: Select[Any] = (
    select(
        pools.c.id,
        pools.c.campaign_id,
        campaigns.c.code.label("campaign"),
        projects.c.code.label("project"),
        pools.c.name,
        deliveries.c.name.label("file"),
        pools.c.delivery_id.label("delivery"),
        pools.c.uploaded_at,
        pools.c.uploaded_by.label("typed_by"),
        deliveries.c.source,
    )
    .join_from(pools, campaigns, campaigns.c.id == pools.c.campaign_id)
    .join(projects, projects.c.id == campaigns.c.project_id)
    .outerjoin(deliveries, deliveries.c.id == pools.c.delivery_id)
)


def _facts(row: Any) -> PoolFacts:
    by = f"user:{row.typed_by}" if row.delivery is None else f"source:{row.source}"
    given = {name: getattr(row, name) for name in PoolFacts.__dataclass_fields__ if name != "uploaded_by"}
    return PoolFacts(**given, uploaded_by=by)
