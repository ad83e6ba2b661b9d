"""The same bytes under two names: one of the two is loaded, unless their source allows both."""

from __future__ import annotations

from sqlalchemy import Connection, and_, bindparam, func, or_, select

from ingestd.model import Delivery, State
from ingestd.store.tables import deliveries

_LOADED = (State.COMPLETED, State.COMPLETED_WITH_REJECTS)
_COMING = (State.QUEUED, State.RUNNING, State.AWAITING_CONFIRMATION)

# Built once, as the statements of the ledger: each delivery asks. One that waits for its proof may never be loaded, so
# another one goes before it; then it is the other one that was there first.
_ITS = deliveries.c
_SAME_CONTENT = (
    select(_ITS.id)
    .where(
        _ITS.sha256 == bindparam("sha256"),
        _ITS.source == bindparam("source"),
        func.lower(_ITS.folder) == bindparam("folder"),
        _ITS.id != bindparam("its_own"),
        or_(_ITS.state.in_(_LOADED), and_(_ITS.id < bindparam("its_own"), _ITS.state.in_(_COMING))),
    )
    .order_by(_ITS.id)
    .limit(1)
)


def same_content(connection: Connection, delivery: Delivery) -> int | None:
    """The first delivery that its source sent with the same bytes under another name, and that is or will be loaded.

    Another campaign's folder is another place: one list may be meant for two campaigns. What has no file of its own,
    as leads that were pushed or a rehearsal, is like no other.
    """
    if not delivery.sha256:
        return None
    place = {"source": delivery.source, "folder": delivery.folder.lower(), "its_own": delivery.id}
    return connection.scalar(_SAME_CONTENT, {"sha256": delivery.sha256, **place})
