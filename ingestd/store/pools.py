"""Lead pools: each file is one (LEADS.md). Totals come from counts that always equal the leads (`pool_counts`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, insert, select, update

from ingestd.model import Delivery, PoolState
from ingestd.store import pool_counts, tables
from ingestd.store.pool_counts import Group

# Built once: building them for each small delivery cost more than running them.
_NEW = insert(tables.pools)
_UNLOADED = select(tables.pools.c.id).where(
    tables.pools.c.delivery_id == bindparam("delivery"),
    tables.pools.c.state.in_((PoolState.UPLOAD_FAILED, PoolState.AWAITING_CONFIRMATION)),
)


def create(connection: Connection, delivery: Delivery, campaign_id: int, state: PoolState) -> int:
    """The pool that a delivery becomes; its number. It takes over the one of an attempt that loaded nothing."""
    values = {
        "campaign_id": campaign_id,
        "delivery_id": delivery.id,
        "name": delivery.name,
        "state": state,
        "uploaded_by": f"{delivery.source} ({delivery.login})",
        "uploaded_at": delivery.received_at,
    }
    again: int | None = connection.scalar(_UNLOADED, {"delivery": delivery.id})
    if again is not None:
        connection.execute(update(tables.pools).where(tables.pools.c.id == again).values(values))
        return again
    inserted = connection.execute(_NEW, values).inserted_primary_key
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
    query = shown(source).order_by(tables.pools.c.id.desc()).limit(limit)
    if campaign:
        query = query.where(tables.campaigns.c.code == campaign)
    if before is not None:
        query = query.where(tables.pools.c.id < before)
    return with_totals(connection, [dict(row) for row in connection.execute(query).mappings()])


def one(connection: Connection, pool_id: int, *, source: str | None = None) -> dict[str, Any] | None:
    """One pool with the same columns; None when there is none, or with `source` none of its deliveries."""
    row = connection.execute(shown(source).where(tables.pools.c.id == pool_id)).mappings().one_or_none()
    return None if row is None else with_totals(connection, [dict(row)])[0]


def shown(source: str | None) -> Select[Any]:
    """Asks for the columns that an operator sees, but the totals; with `source` of its deliveries only."""
    pool, camp, project = tables.pools.c, tables.campaigns.c, tables.projects.c
    query = (
        select(
            pool.id,
            pool.name,
            project.name.label("project"),
            camp.code.label("campaign"),
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
    """Who owns how many leads of a pool, the most first; `key` is that of the team, or the login of the user."""
    lead, team, user = tables.leads.c, tables.teams.c, tables.users.c
    name, key = func.coalesce(team.name, user.name).label("owner"), func.coalesce(team.key, user.login).label("key")
    query = (
        select(tables.owners.c.kind, key, name, tables.owners.c.ownership_code, func.count().label("leads"))
        .select_from(tables.leads)
        .join(tables.owners, tables.owners.c.id == lead.owner_id)
        .outerjoin(tables.teams, team.id == lead.owner_id)
        .outerjoin(tables.users, user.id == lead.owner_id)
        .where(lead.pool_id == pool_id, lead.campaign_id == _campaign_of(connection, pool_id))
        .group_by(tables.owners.c.kind, key, name, tables.owners.c.ownership_code)
        .order_by(func.count().desc(), name)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def _campaign_of(connection: Connection, pool_id: int) -> int:
    return connection.scalar(select(tables.pools.c.campaign_id).where(tables.pools.c.id == pool_id)) or 0


def with_totals(connection: Connection, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same pools with their totals."""
    numbers = [pool["id"] for pool in found]
    counts, stopped = pool_counts.of_pools(connection, numbers), _stopped(connection, numbers)
    status = tables.statuses.c
    rows = connection.execute(select(status.id, status.code, status.kind, status.dial_order, status.outlives_pool))
    book = {row.id: row for row in rows}
    return [
        {**pool, **_totals(PoolState(pool["state"]), counts[pool["id"]], book, stopped=pool["id"] in stopped)}
        for pool in found
    ]


def _stopped(connection: Connection, numbers: list[int]) -> set[int]:
    """Those of a campaign that is switched off. One that has expired has no open leads, once a rule has seen it."""
    its, camp = tables.pools.c, tables.campaigns.c
    query = select(its.id).join_from(tables.pools, tables.campaigns, camp.id == its.campaign_id)
    return set(connection.scalars(query.where(its.id.in_(numbers), ~camp.active)))


def _totals(state: PoolState, groups: Iterable[Group], book: Mapping[int, Any], *, stopped: bool) -> dict[str, Any]:
    """Ready to dial is what dialling gives out in its time.

    Its status is in the order of dialling, its pool active unless the status outlives that, its campaign not stopped,
    and the lead itself not deactivated.
    """
    total = opened = unprocessed = ready = 0
    for group in groups:
        status = book[group.status_id]
        total += group.leads
        unprocessed += group.leads if status.code == "unprocessed" else 0
        if status.kind == "open":
            opened += group.leads
            given_out = state == PoolState.ACTIVE or (state == PoolState.INACTIVE and status.outlives_pool)
            dialled = status.dial_order is not None and given_out and not stopped
            ready += group.leads if dialled and not group.deactivated else 0
    return {
        "total": total,
        "total_open": opened,
        "ready_to_dial": ready,
        "percent_closed": round(100 * (total - opened) / total, 1) if total else 0.0,
        "percent_used": round(100 * (total - unprocessed) / total, 1) if total else 0.0,
    }
