"""What a list of leads shows of their pools: where each lead came from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Text, and_, case, func, literal, select

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
    """`user:<login>` of who typed the leads or uploaded their file, else `source:<name>`"""


def of_pools(connection: Connection, numbers: Iterable[int]) -> dict[int, PoolFacts]:
    """These pools by number."""
    return {each.id: each for each in _read(connection, selection.among(connection, pools.c.id, numbers))}


def where(connection: Connection, *conditions: ColumnElement[bool]) -> list[PoolFacts]:
    """The pools for which conditions on their table hold."""
    return _read(connection, *conditions)


def _read(connection: Connection, *conditions: ColumnElement[bool]) -> list[PoolFacts]:
    return [_facts(row) for row in connection.execute(_EVERY.where(*conditions))]


_BY_USER = "user:"
"""How the name of a user begins who has sent a file or leads by page, API or command, where a partner has a login."""

UPLOADER: ColumnElement[str] = case(
    (pools.c.delivery_id.is_(None), literal(_BY_USER, Text) + pools.c.uploaded_by),
    (
        and_(
            deliveries.c.protocol.in_(("http", "import")), func.substr(deliveries.c.login, 1, len(_BY_USER)) == _BY_USER
        ),
        deliveries.c.login,
    ),
    else_=literal("source:", Text) + deliveries.c.source,
)
"""`PoolFacts.uploaded_by`, over pools beside the deliveries that they became of."""

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
        UPLOADER.label("uploaded_by"),
    )
    .join_from(pools, campaigns, campaigns.c.id == pools.c.campaign_id)
    .join(projects, projects.c.id == campaigns.c.project_id)
    .outerjoin(deliveries, deliveries.c.id == pools.c.delivery_id)
)


def _facts(row: Any) -> PoolFacts:
    return PoolFacts(**{name: getattr(row, name) for name in PoolFacts.__dataclass_fields__})
