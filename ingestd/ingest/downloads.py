"""The downloads of a pool's log: full, errors, rejected, original, summary."""

from __future__ import annotations

import json
from collections.abc import Iterator

from sqlalchemy import Engine

from ingestd.errors import Rejected
from ingestd.ingest import pushlog
from ingestd.ingest.poollog import PoolLog
from ingestd.model import Delivery
from ingestd.receipts import receipt
from ingestd.spool import Spool
from ingestd.storage import Storage
from ingestd.store import pushes
from ingestd.store.engine import reading
from ingestd.store.orders import PUSH


def pieces(
    delivery: Delivery,
    kind: str,
    *,
    logs: Storage,
    spool: Spool,
    as_json: bool = False,
    engine: Engine | None = None,
) -> Iterator[bytes]:
    """One download in pieces; raises Rejected when the delivery has none yet. `kind` is one of poollog.KINDS.

    `as_json` gives the full log and the errors as JSON lines instead of CSV. `engine` is that of the store, for the log
    of leads that came one by one.
    """
    if delivery.protocol == PUSH and engine is not None:
        with reading(engine) as connection:
            rows = pushes.rows(connection, delivery.id)
        return pushlog.pieces(delivery, rows, kind, as_json=as_json)
    state = f"delivery {delivery.id} is {delivery.state}{_why(delivery)}"
    if kind == "original":
        if not delivery.spool_key:
            raise Rejected("no_original", f"{state}; its file was not kept", suggestion=_first(delivery))
        return spool.pieces(delivery.spool_key)
    if not delivery.log_key:
        advice = _first(delivery) if delivery.state.final else "wait until the delivery has ended"
        raise Rejected("no_log", f"{state}; it has no log", suggestion=advice)
    log = PoolLog(storage=logs, key=delivery.log_key)
    if kind == "summary":
        return iter([_summary(delivery, log)])
    if kind == "rejected":
        return log.rejected()
    return log.full(as_json=as_json) if kind == "full" else log.errors(as_json=as_json)


def _why(delivery: Delivery) -> str:
    """The reason of one that was refused at the door is in no log, and told in its place."""
    reason = receipt(delivery).get("reason")
    return f": {reason['message']}" if reason else ""


def _first(delivery: Delivery) -> str:
    """A duplicate was neither kept nor loaded: everything there is belongs to the first delivery of the file."""
    return f"take that of delivery {delivery.duplicate_of}" if delivery.duplicate_of else delivery.suggestion


def _summary(delivery: Delivery, log: PoolLog) -> bytes:
    ended = {
        "state": delivery.state,
        "pool": delivery.pool_id,
        "committed_at": delivery.finished_at.isoformat() if delivery.finished_at else None,
        "stage_seconds": json.loads(delivery.timings or "{}"),
    }
    return json.dumps({**log.summary, **ended}, ensure_ascii=False, indent=1).encode() + b"\n"
