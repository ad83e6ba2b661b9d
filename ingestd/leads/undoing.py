"""Undoing a lead pool: what its delivery loaded is taken back, as long as nobody has worked with it.

Everything or nothing, in one transaction with what follows, such as another run of the same file. The receipt, the log
and the pool itself stay, and say what was.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, case, delete, func, or_, select, update

from ingestd.errors import Conflict, Rejected
from ingestd.leads import access, pools, selection
from ingestd.leads.pools import LOADED, Pool
from ingestd.model import Delivery, PoolState, State
from ingestd.store import audit
from ingestd.store.audit import Deed
from ingestd.store.lead_tables import lead_events
from ingestd.store.ledger import Ledger
from ingestd.store.tables import campaigns
from ingestd.store.tables import leads as table
from ingestd.store.tables import pools as pools_table

UNDONE = Rejected(
    "undone",
    "loaded, and undone afterwards: its leads were taken back",
    suggestion="run it again, for example with another mapping, or send the file again",
)
_ENDED = (State.COMPLETED, State.COMPLETED_WITH_REJECTS)


@dataclass(frozen=True, kw_only=True)
class Undone:
    """What was taken back."""

    pool_id: int
    delivery_id: int
    deleted: int
    """leads"""


def undo(connection: Connection, deed: Deed, number: int, ledger: Ledger) -> Undone:
    """Takes the leads of a pool back; its delivery counts as not loaded from now on.

    Raises Missing, and Conflict that says why not: the pool is not loaded, or became of no file, or its file changed
    leads of other pools, or somebody has called, holds or has changed one of its leads.
    """
    pool = pools.taken(connection, number)
    if pool.state not in LOADED:
        told = f"pool {number} is {pool.state}; only a pool that is loaded can be undone"
        raise Conflict("pool_state", told, state=pool.state)
    delivery = _delivery(connection, pool, ledger)
    deleted = _take_back(connection, pool, deed)
    ledger.call_off(connection, delivery, UNDONE)
    connection.execute(update(pools_table).where(pools_table.c.id == number).values(state=PoolState.UNDONE))
    before, after = {"state": pool.state}, {"state": PoolState.UNDONE, "deleted": deleted, "delivery": delivery.id}
    audit.note(connection, deed, "pool_undone", f"pool:{number}", before=before, after=after)
    return Undone(pool_id=number, delivery_id=delivery.id, deleted=deleted)


def _delivery(connection: Connection, pool: Pool, ledger: Ledger) -> Delivery:
    number = connection.scalar(select(pools_table.c.delivery_id).where(pools_table.c.id == pool.id))
    if number is None:
        told = f"pool {pool.id} became of no file; its leads were made one by one"
        raise Conflict("pool_without_file", told)
    delivery = ledger.taken(connection, number)
    if delivery.state not in _ENDED:
        raise Conflict("pool_state", f"delivery {number} is {delivery.state}; it is not loaded", state=delivery.state)
    if delivery.counts.updated:
        told = (
            f"delivery {number} changed {delivery.counts.updated:,} leads of other pools, and what they were before "
            "is not kept; correct them by another file or by hand"
        )
        raise Conflict("pool_updated_leads", told, updated=delivery.counts.updated)
    return delivery


def _take_back(connection: Connection, pool: Pool, deed: Deed) -> int:
    """Deletes the leads, all of them: whoever gets one to call meanwhile makes it stay, and then all stay."""
    free = and_(_untouched(), table.c.attempts == 0, table.c.called_at.is_(None), access.unlocked(deed.at))
    gone = connection.scalars(delete(table).where(pool.its_leads, free).returning(table.c.id)).all()
    if kept := _kept(connection, pool, deed):
        told = "; ".join(f"{count:,} {_WHY[why]}" for why, count in kept.items())
        message = f"pool {pool.id} cannot be undone, because of its leads: {told}"
        raise Conflict("pool_in_use", message, kept=kept)
    if gone:
        mine = (lead_events.c.campaign_id == pool.campaign_id,)
        connection.execute(delete(lead_events).where(*mine, selection.among(connection, lead_events.c.lead_id, gone)))
    # A load that found one of them to be there already has to look once more.
    grown = {"load_sequence": campaigns.c.load_sequence + 1}
    connection.execute(update(campaigns).where(campaigns.c.id == pool.campaign_id).values(grown))
    return len(gone)


_WHY = {
    "called": "were called",
    "locked": "are held by somebody",
    "changed": "were changed by somebody, or by a later file",
}


def _kept(connection: Connection, pool: Pool, deed: Deed) -> dict[str, int]:
    """What stayed, by the first reason that holds."""
    called = or_(table.c.attempts > 0, table.c.called_at.is_not(None))
    why: ColumnElement[str] = case((called, "called"), (~access.unlocked(deed.at), "locked"), else_="changed")
    reasons = select(why.label("why")).where(pool.its_leads).subquery()
    rows = connection.execute(select(reasons.c.why, func.count()).group_by(reasons.c.why).order_by(reasons.c.why))
    return {row[0]: row[1] for row in rows}


def _untouched() -> ColumnElement[bool]:
    """Every change of a lead counts its version on. Those by rules of time alone do not count; a later file's do.

    Compared with the number of their events, so that a lead that is changed while this waits for it is not deleted.
    """
    by_rules = (
        select(func.count(lead_events.c.version.distinct()))
        .where(
            lead_events.c.campaign_id == table.c.campaign_id,
            lead_events.c.lead_id == table.c.id,
            lead_events.c.by_id.is_(None),
        )
        .correlate(table)
        .scalar_subquery()
    )
    return or_(table.c.version == 0, table.c.version == by_rules)
