"""Requests that name themselves by an `Idempotency-Key`: what they were answered, so that none is done twice.

The answer is written in the transaction of the work itself. A request that dies before its commit leaves nothing
behind, and one whose answer is lost after it finds here what it did.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

from ingestd.errors import Conflict
from ingestd.store.import_tables import idempotency_keys


@dataclass(frozen=True, kw_only=True)
class Named:
    """A request that names itself."""

    caller: str
    """keys are each caller's own"""
    key: str
    digest: str
    """of target and body: another one with the same key is another request"""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a request was answered."""

    digest: str
    status: int
    delivery_id: int
    row: int | None = None
    """of a pushed lead"""


_TABLE = idempotency_keys.c


def find(connection: Connection, caller: str, key: str, at: datetime) -> Answer | None:
    """What a caller was answered under a key that is still kept."""
    columns = [_TABLE[name] for name in Answer.__dataclass_fields__]
    this = (_TABLE.caller == caller, _TABLE.key == key, _TABLE.expires_at > at)
    row = connection.execute(select(*columns).where(*this)).mappings().one_or_none()
    return None if row is None else Answer(**row)


def keep(connection: Connection, named: Named, answer: Answer, *, at: datetime, until: datetime) -> None:
    """Writes an answer down, in the transaction of what it tells; raises Conflict when another one was quicker.

    That ends the transaction: what it did is done already.
    """
    this = (_TABLE.caller == named.caller, _TABLE.key == named.key)
    connection.execute(delete(idempotency_keys).where(*this, _TABLE.expires_at <= at))
    values = {"status": answer.status, "delivery_id": answer.delivery_id, "row": answer.row, "expires_at": until}
    row = {"caller": named.caller, "key": named.key, "digest": named.digest, **values}
    try:
        connection.execute(insert(idempotency_keys).values(row))
    except IntegrityError as problem:
        raise in_flight() from problem


def in_flight() -> Conflict:
    """Another request with the key is being dealt with at this moment."""
    told = "a request with this Idempotency-Key is being dealt with; ask again in a moment"
    return Conflict("idempotency_key_in_flight", told, seconds=1)


def sweep(connection: Connection, at: datetime) -> int:
    """Forgets what is past its time; returns how many keys that were."""
    return connection.execute(delete(idempotency_keys).where(_TABLE.expires_at <= at)).rowcount
