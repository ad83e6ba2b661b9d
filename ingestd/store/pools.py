"""Lead pools: each file is one (LEADS.md). Totals are counted from the leads, so that they always equal them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, case, func, insert, select, update

from ingestd.model import Delivery, PoolState
from ingestd.store import tables


def create(connection: Connection, delivery: Delivery, campaign_id: int, state: PoolState) -> int:
    """The pool that a delivery becomes; its number. A retried delivery takes over its pool of the failed upload."""
    values = {
        "campaign_id": campaign_id,
        "delivery_id": delivery.id,
        "name": delivery.name,
        "state": state,
        "uploaded_by": f"{delivery.source} ({delivery.login})",
        "uploaded_at": delivery.received_at,
    }
    failed = (tables.pools.c.delivery_id == delivery.id, tables.pools.c.state == PoolState.UPLOAD_FAILED)
    again: int | None = connection.scalar(select(tables.pools.c.id).where(*failed))
    if again is not None:
        connection.execute(update(tables.pools).where(tables.pools.c.id == again).values(values))
        return again
    inserted = connection.execute(insert(tables.pools).values(values)).inserted_primary_key
    assert inserted is not None
    number: int = inserted[0]
    return number


def latest(
    connection: Connection,
    *,
    limit: int,
    campaign: str | None = None,
    before: int | None = None,
    source: str | None = None,
) -> list[dict[str, Any]]:
    """The newest pools first, with the columns an operator sees (LEADS.md, "Lead pools").

    `before` is the number from which to go on; with `source` those of its deliveries only.
    """
    query = _shown(source).order_by(tables.pools.c.id.desc()).limit(limit)
    if campaign:
        query = query.where(tables.campaigns.c.code == campaign)
    if before is not None:
        query = query.where(tables.pools.c.id < before)
    return [_with_totals(connection, dict(row)) for row in connection.execute(query).mappings().all()]


def one(connection: Connection, pool_id: int, *, source: str | None = None) -> dict[str, Any] | None:
    """One pool with the same columns; None when there is none, or with `source` none of its deliveries."""
    row = connection.execute(_shown(source).where(tables.pools.c.id == pool_id)).mappings().one_or_none()
    return None if row is None else _with_totals(connection, dict(row))


def _shown(source: str | None) -> Select[Any]:
    pool, camp, project = tables.pools.c, tables.campaigns.c, tables.projects.c
    query = (
        select(
            pool.id,
            pool.name,
            project.name.label("project"),
            camp.code.label("campaign"),
            camp.id.label("campaign_id"),
            pool.state,
            pool.uploaded_at,
            pool.uploaded_by,
            pool.delivery_id,
        )
        .join_from(tables.pools, tables.campaigns, camp.id == pool.campaign_id)
        .join(tables.projects, project.id == camp.project_id)
    )
    if source is None:
        return query
    delivery = tables.deliveries.c
    return query.join(tables.deliveries, delivery.id == pool.delivery_id).where(delivery.source == source)


def owners(connection: Connection, pool_id: int) -> list[dict[str, Any]]:
    """Who owns how many leads of a pool, the most first."""
    lead, team, user = tables.leads.c, tables.teams.c, tables.users.c
    name = func.coalesce(team.name, user.name).label("owner")
    query = (
        select(tables.owners.c.kind, name, tables.owners.c.ownership_code, func.count().label("leads"))
        .select_from(tables.leads)
        .join(tables.owners, tables.owners.c.id == lead.owner_id)
        .outerjoin(tables.teams, team.id == lead.owner_id)
        .outerjoin(tables.users, user.id == lead.owner_id)
        .where(lead.pool_id == pool_id, lead.campaign_id == _campaign_of(connection, pool_id))
        .group_by(tables.owners.c.kind, name, tables.owners.c.ownership_code)
        .order_by(func.count().desc(), name)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def _campaign_of(connection: Connection, pool_id: int) -> int:
    return connection.scalar(select(tables.pools.c.campaign_id).where(tables.pools.c.id == pool_id)) or 0


def _with_totals(connection: Connection, pool: dict[str, Any]) -> dict[str, Any]:
    lead, status = tables.leads.c, tables.statuses.c
    is_open = case((status.kind == "open", 1), else_=0)
    unused = case((status.code == "unprocessed", 1), else_=0)
    counted = (
        select(func.count(), func.coalesce(func.sum(is_open), 0), func.coalesce(func.sum(unused), 0))
        .join_from(tables.leads, tables.statuses, status.id == lead.status_id)
        .where(lead.campaign_id == pool.pop("campaign_id"), lead.pool_id == pool["id"])
    )
    total, opened, unprocessed = connection.execute(counted).one()
    shares = {
        "percent_closed": round(100 * (total - opened) / total, 1) if total else 0.0,
        "percent_used": round(100 * (total - unprocessed) / total, 1) if total else 0.0,
    }
    ready = opened if pool["state"] == PoolState.ACTIVE else 0
    return {**pool, "total": total, "total_open": opened, "ready_to_dial": ready, **shares}
