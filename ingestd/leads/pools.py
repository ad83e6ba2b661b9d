"""What is done with a whole lead pool: activate, deactivate, shuffle, delete what nobody has worked with (LEADS.md).

Each verb takes the campaign's row first, as loads and the order of dialling do, so that none of them acts upon what
another is just changing.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, case, delete, func, literal, select, update

from ingestd.errors import Conflict, Missing
from ingestd.leads import access, dialling, rights, selection, statuses
from ingestd.model import PoolState
from ingestd.store import audit, fences, outbox, pool_calls, pool_counts
from ingestd.store.audit import Deed
from ingestd.store.engine import reading, writing
from ingestd.store.lead_tables import lead_events
from ingestd.store.tables import campaigns
from ingestd.store.tables import leads as table
from ingestd.store.tables import pools as pools_table

LOADED = (PoolState.ACTIVE, PoolState.INACTIVE)
_PRIME = 2**31 - 1
"""Products of two numbers below it fit into the 63 bits that both databases have."""


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """What became of the leads of a pool whose unprocessed ones were to go."""

    deleted: int
    kept: Mapping[str, int] = field(default_factory=dict)
    """`processed`: it has another status; `called`: somebody has called it; `locked`: somebody holds it → how many"""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A pool as it is now."""

    id: int
    campaign_id: int
    state: PoolState

    @property
    def its_leads(self) -> ColumnElement[bool]:
        """Its leads, as a condition."""
        return and_(table.c.campaign_id == self.campaign_id, table.c.pool_id == self.id)


def activate(connection: Connection, deed: Deed, number: int) -> None:
    """Gives the leads of an inactive pool out again; raises Missing, or Conflict when it is not inactive."""
    _switch(connection, deed, number, PoolState.INACTIVE, PoolState.ACTIVE)


def deactivate(connection: Connection, deed: Deed, number: int) -> None:
    """Stops the calls of an active pool, but those of VIP and Private redials; raises Missing, or Conflict."""
    _switch(connection, deed, number, PoolState.ACTIVE, PoolState.INACTIVE)


def _switch(connection: Connection, deed: Deed, number: int, before: PoolState, after: PoolState) -> None:
    pool = taken(connection, number)
    if pool.state != before:
        told = f"pool {number} is {pool.state}; only a pool that is {before} becomes {after}"
        raise Conflict("pool_state", told, state=pool.state)
    connection.execute(update(pools_table).where(pools_table.c.id == number).values(state=after))
    dialling.reorder(connection, pool.campaign_id, number)
    verb = "activated" if after == PoolState.ACTIVE else "deactivated"
    audit.note(connection, deed, f"pool_{verb}", f"pool:{number}", before={"state": before}, after={"state": after})
    outbox.announce(connection, f"pool.{verb}", deed.at, lambda: {"lead_pool": number, "state": after})


def settle(engine: Engine) -> int:
    """Sums up what has been counted of pools that are worked with, a hundred at once; how many counts it were."""
    with reading(engine) as connection:
        crowded = pool_counts.crowded(connection, most=100)
        called = pool_calls.crowded(connection, most=100)
    for number in crowded:
        with writing(engine, forgettable=True) as connection:
            pool_counts.sum_up(connection, number)
    for number, day in called:
        with writing(engine, forgettable=True) as connection:
            pool_calls.sum_up(connection, number, day)
    return len(crowded) + len(called)


def shuffle(connection: Connection, deed: Deed, number: int, *, seed: int | None = None) -> int:
    """Gives the leads of a pool a random order of dialling, in place of the file's; how many leads it has.

    The same `seed` gives the same order. Raises Missing, or Conflict when the pool is not loaded.
    """
    pool = _loaded(connection, number)
    scattered = _scattered(table.c.id, random.Random(seed))  # noqa: S311 - an order of calls is no secret
    place = func.row_number().over(order_by=(scattered, table.c.id)).label("place")
    placed = select(table.c.id, place).where(pool.its_leads).subquery("placed")
    these = (table.c.campaign_id == pool.campaign_id, table.c.id == placed.c.id)
    count: int = connection.execute(update(table).where(*these).values(dial_rank=placed.c.place)).rowcount
    dialling.reorder(connection, pool.campaign_id, number)
    audit.note(connection, deed, "pool_shuffled", f"pool:{number}", after={"leads": count})
    return count


def _scattered(key: ColumnElement[int], chance: random.Random) -> ColumnElement[Any]:
    """A random polynomial of the third degree over a prime field: any four leads stand in an independent order.

    Arithmetic alone, because the databases have neither a hash nor a seeded generator in common.
    """
    here = key % _PRIME
    value: ColumnElement[Any] = literal(chance.randrange(1, _PRIME), key.type)
    for _ in range(3):
        value = (value * here + literal(chance.randrange(_PRIME), key.type)) % _PRIME
    return value


def delete_unprocessed(connection: Connection, deed: Deed, number: int, beyond: ColumnElement[bool]) -> Deleted:
    """Deletes the leads of a pool that nobody has called or holds, with their history; the pool's log stays.

    Raises Missing, Conflict when the pool is not loaded, or Denied when leads of it are `beyond` reach: nothing brings
    them back.
    """
    pool = _loaded(connection, number)
    rights.check_reach(connection, pool.its_leads, beyond)
    unprocessed = table.c.status_id == statuses.read(connection).get("unprocessed").id
    uncalled = and_(table.c.attempts == 0, table.c.called_at.is_(None))
    these = and_(pool.its_leads, unprocessed, uncalled, access.unlocked(deed.at))
    gone = connection.scalars(delete(table).where(these).returning(table.c.id)).all()
    told = (lead_events.c.campaign_id == pool.campaign_id, selection.among(connection, lead_events.c.lead_id, gone))
    if gone:
        connection.execute(delete(lead_events).where(*told))
        fences.overtake(connection, pool.campaign_id)
    kept = _kept(connection, pool, case((~unprocessed, "processed"), (~uncalled, "called"), else_="locked"))
    done = {"deleted": len(gone), "kept": kept}
    audit.note(connection, deed, "pool_emptied", f"pool:{number}", after=done)
    outbox.announce(connection, "pool.emptied", deed.at, lambda: {"lead_pool": number, **done})
    return Deleted(deleted=len(gone), kept=kept)


def _kept(connection: Connection, pool: Pool, why: ColumnElement[str]) -> dict[str, int]:
    reasons = select(why.label("why")).where(pool.its_leads).subquery()
    rows = connection.execute(select(reasons.c.why, func.count()).group_by(reasons.c.why).order_by(reasons.c.why))
    return {row[0]: row[1] for row in rows}


def _loaded(connection: Connection, number: int) -> Pool:
    pool = taken(connection, number)
    if pool.state not in LOADED:
        told = f"pool {number} is {pool.state}; it has to be loaded first"
        raise Conflict("pool_state", told, state=pool.state)
    return pool


def seen(connection: Connection, number: int) -> Pool:
    """The pool as it is now, which nothing holds; raises Missing."""
    its = pools_table.c
    found = connection.execute(select(its.campaign_id, its.state).where(its.id == number)).one_or_none()
    if found is None:
        raise Missing("pool_unknown", f"there is no pool {number}")
    return Pool(id=number, campaign_id=found.campaign_id, state=PoolState(found.state))


def taken(connection: Connection, number: int) -> Pool:
    """The pool, with its campaign held until the transaction ends; raises Missing."""
    pool, before = pools_table.c, seen(connection, number)
    connection.execute(select(campaigns.c.id).where(campaigns.c.id == before.campaign_id).with_for_update())
    state = connection.scalar(select(pool.state).where(pool.id == number).with_for_update())
    return replace(before, state=PoolState(state or ""))
