"""Companions that came before their file: who takes them, each within the transaction of somebody else."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, select, update

from ingestd.model import Arrival, Delivery
from ingestd.store.tables import companions


def there(connection: Connection, place: Arrival | Delivery) -> bool:
    """Whether a companion waits for a file of this name."""
    return connection.scalar(select(companions.c.id).where(*_waiting(place)).limit(1)) is not None


def give(connection: Connection, place: Arrival | Delivery, delivery_id: int) -> None:
    """They are the delivery's from now on, before anybody has held it against them.

    Else a second file of the name, which comes before that is done, would be judged by the companions of the first.
    """
    connection.execute(update(companions).where(*_waiting(place)).values(delivery_id=delivery_id))


def give_back(connection: Connection, delivery: Delivery) -> None:
    """They wait for the next file of the name; those of which a newer one waits already are of no use any more."""
    newer = list(connection.scalars(select(companions.c.kind).where(*_waiting(delivery))))
    its_own = companions.c.delivery_id == delivery.id
    connection.execute(delete(companions).where(its_own, companions.c.kind.in_(newer)))
    connection.execute(update(companions).where(its_own).values(delivery_id=None))


def _waiting(place: Arrival | Delivery) -> tuple[Any, ...]:
    table = companions.c
    about = (table.source == place.source, table.folder == place.folder.lower(), table.name == place.name)
    return *about, table.delivery_id.is_(None)
