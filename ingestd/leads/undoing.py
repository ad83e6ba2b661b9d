"""Undoing a lead pool: what its delivery loaded is taken back, as long as nobody has worked with it.

Everything or nothing, in one transaction with what follows, such as another run of the same file. The receipt, the log
and the pool itself stay, and say what was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, case, delete, func, or_, select, update

from ingestd.errors import Conflict, Denied, Rejected
from ingestd.ingest import updates
from ingestd.leads import access, pools, rights, selection
from ingestd.leads.pools import LOADED, Pool
from ingestd.model import Delivery, PoolState, State
from ingestd.store import audit, fences
from ingestd.store.audit import Deed
from ingestd.store.lead_tables import lead_events
from ingestd.store.ledger import Ledger
from ingestd.store.tables import leads as table
from ingestd.store.tables import pools as pools_table

UNDONE = Rejected(
    "undone",
    "loaded, and undone afterwards: its leads were taken back",
    suggestion="run it again, for example with another mapping, or send the file again",
)
_UNDOABLE = (*LOADED, PoolState.UPLOAD_FAILED)
"""A file of which every record was rejected has no lead to take back, and may be run again as any other."""
_ENDED = (State.COMPLETED, State.COMPLETED_WITH_REJECTS)


@dataclass(frozen=True, kw_only=True)
class Undone:
    """What was taken back."""

    pool_id: int
    delivery_id: int
    deleted: int
    """leads"""


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """What undoing a pool would do at the moment."""

    leads: int
    """that the pool has, and that would be taken back, all of them"""
    refusal: Conflict | Denied | None
    """why not; None when it can be undone"""


def undo(connection: Connection, deed: Deed, number: int, ledger: Ledger, beyond: ColumnElement[bool]) -> Undone:
    """Takes the leads of a pool back; its delivery counts as not loaded from now on.

    Raises Missing, Denied when leads of it are `beyond` reach, and Conflict that says why not: the pool is not loaded,
    or became of no file, or its file changed leads of other pools, or somebody has called, holds or has changed one of
    its leads.
    """
    pool = pools.taken(connection, number)
    _refuse_state(pool)
    delivery = ledger.taken(connection, _delivery_id(connection, pool))
    _refuse_delivery(delivery)
    rights.check_reach(connection, pool.its_leads, beyond)
    deleted = _take_back(connection, pool, deed)
    ledger.call_off(connection, delivery, UNDONE)
    connection.execute(update(pools_table).where(pools_table.c.id == number).values(state=PoolState.UNDONE))
    before, after = {"state": pool.state}, {"state": PoolState.UNDONE, "deleted": deleted, "delivery": delivery.id}
    audit.note(connection, deed, "pool_undone", f"pool:{number}", before=before, after=after)
    return Undone(pool_id=number, delivery_id=delivery.id, deleted=deleted)


def look(connection: Connection, at: datetime, number: int, ledger: Ledger, beyond: ColumnElement[bool]) -> Prospect:
    """What `undo` would do now; whoever works with a lead meanwhile changes it. Raises Missing."""
    pool = pools.seen(connection, number)
    leads = connection.scalar(select(func.count()).select_from(table).where(pool.its_leads)) or 0
    try:
        _refuse_state(pool)
        delivery = ledger.find(connection, _delivery_id(connection, pool))
        assert delivery is not None  # pools refer to it
        _refuse_delivery(delivery)
        rights.check_reach(connection, pool.its_leads, beyond)
        _refuse_kept(pool, _kept(connection, at, pool.its_leads, ~_free(at)))
    except (Conflict, Denied) as problem:
        return Prospect(leads=leads, refusal=problem)
    return Prospect(leads=leads, refusal=None)


def _refuse_state(pool: Pool) -> None:
    if pool.state not in _UNDOABLE:
        told = f"pool {pool.id} is {pool.state}; only a pool that is loaded can be undone"
        raise Conflict("pool_state", told, state=pool.state)


def _delivery_id(connection: Connection, pool: Pool) -> int:
    number: int | None = connection.scalar(select(pools_table.c.delivery_id).where(pools_table.c.id == pool.id))
    if number is None:
        told = f"pool {pool.id} became of no file; its leads were made one by one"
        raise Conflict("pool_without_file", told)
    return number


def _refuse_delivery(delivery: Delivery) -> None:
    if delivery.state not in _ENDED:
        told = f"delivery {delivery.id} is {delivery.state}; it is not loaded"
        raise Conflict("pool_state", told, state=delivery.state)
    if delivery.counts.updated:
        told = (
            f"delivery {delivery.id} changed {delivery.counts.updated:,} leads of other pools, and what they were "
            "before is not kept; correct them by another file or by hand"
        )
        raise Conflict("pool_updated_leads", told, updated=delivery.counts.updated)


def _take_back(connection: Connection, pool: Pool, deed: Deed) -> int:
    """Deletes the leads, all of them: whoever gets one to call meanwhile makes it stay, and then all stay."""
    gone = connection.scalars(delete(table).where(pool.its_leads, _free(deed.at)).returning(table.c.id)).all()
    _refuse_kept(pool, _kept(connection, deed.at, pool.its_leads))
    if gone:
        mine = (lead_events.c.campaign_id == pool.campaign_id,)
        connection.execute(delete(lead_events).where(*mine, selection.among(connection, lead_events.c.lead_id, gone)))
    fences.overtake(connection, pool.campaign_id)
    return len(gone)


_WHY = {
    "called": "were called",
    "locked": "are held by somebody",
    "changed": "were changed by somebody, or by a later file",
}


def _refuse_kept(pool: Pool, kept: Mapping[str, int]) -> None:
    if kept:
        told = "; ".join(f"{count:,} {_WHY[why]}" for why, count in kept.items())
        message = f"pool {pool.id} cannot be undone, because of its leads: {told}"
        raise Conflict("pool_in_use", message, kept=kept)


def _kept(connection: Connection, at: datetime, *which: ColumnElement[bool]) -> dict[str, int]:
    """Leads that cannot be taken back, by the first reason that holds."""
    called = or_(table.c.attempts > 0, table.c.called_at.is_not(None))
    why: ColumnElement[str] = case((called, "called"), (~access.unlocked(at), "locked"), else_="changed")
    reasons = select(why.label("why")).where(*which).subquery()
    rows = connection.execute(select(reasons.c.why, func.count()).group_by(reasons.c.why).order_by(reasons.c.why))
    return {row[0]: row[1] for row in rows}


def _free(at: datetime) -> ColumnElement[bool]:
    """Nobody has called, holds or has changed it."""
    return and_(_untouched(), table.c.attempts == 0, table.c.called_at.is_(None), access.unlocked(at))


def _untouched() -> ColumnElement[bool]:
    """Every change of a lead counts its version on. What rules of time did is no touch, nor is a lock that is over.

    What a later file did is one. All versions are compared with those that have events: by that, a lead that is changed
    while this waits for it is not deleted either.
    """
    event = lead_events.c
    its = select(func.count(event.version.distinct())).where(
        event.campaign_id == table.c.campaign_id, event.lead_id == table.c.id
    )
    told = its.correlate(table).scalar_subquery()
    touched = or_(event.kind == updates.KIND, and_(event.by_id.is_not(None), event.field != "lock"))
    touches = its.where(touched).correlate(table).scalar_subquery()
    return or_(table.c.version == 0, and_(table.c.version == told, touches == 0))
