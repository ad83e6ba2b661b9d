"""What received files are since somebody was anonymised: other bytes than came."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from ingestd.model import Delivery
from ingestd.store.lead_tables import erasures


@dataclass(frozen=True, kw_only=True)
class Rewritten:
    """A received file as it is now."""

    sha256: str
    size: int
    """bytes"""


def latest(connection: Connection, delivery_id: int) -> Rewritten | None:
    """What the file of a delivery is since the last time; None while it is as it came."""
    query = select(erasures.c.sha256, erasures.c.size).where(erasures.c.delivery_id == delivery_id)
    row = connection.execute(query.order_by(erasures.c.at.desc()).limit(1)).one_or_none()
    return None if row is None else Rewritten(sha256=row.sha256, size=row.size)


def kept(connection: Connection, delivery: Delivery) -> Rewritten:
    """What the kept file of a delivery is: as it came, or as it was rewritten last."""
    as_it_came = Rewritten(sha256=delivery.sha256, size=delivery.size)
    return latest(connection, delivery.id) or as_it_came


def all_latest(connection: Connection) -> dict[int, Rewritten]:
    """Delivery → what its file is now, for each that was rewritten."""
    query = select(erasures.c.delivery_id, erasures.c.sha256, erasures.c.size).order_by(erasures.c.at)
    return {row.delivery_id: Rewritten(sha256=row.sha256, size=row.size) for row in connection.execute(query)}
