"""Messages on their way: claimed by a sender, retried, logged; and replayed when somebody asks for it.

A message is sent at least once. Its claim is a moment: until then it is one sender's, and afterwards anybody's, so a
sender that was killed holds nothing back for longer. Nothing here is decided by the order of messages.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, and_, delete, func, insert, select, update

from ingestd.errors import Conflict, Missing
from ingestd.store import audit, outbox
from ingestd.store.audit import Actor, Deed
from ingestd.store.engine import reading, writing
from ingestd.store.webhook_tables import webhook_attempts, webhooks
from ingestd.store.webhook_tables import webhook_messages as table
from ingestd.webhooks import endpoints

CLAIM = timedelta(seconds=60)
"""How long a message is one sender's; longer than the longest attempt."""
PAUSES = tuple(
    timedelta(seconds=seconds) for seconds in (5, 60, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
"""Before each further try: three days and a half in all, as the specification proposes."""
LONGEST_ANSWER = 500
"""characters of an answer that are kept"""
GONE = 410

ENDPOINT = Actor(name="webhook endpoint")
"""Who switches an endpoint off by answering 410."""


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A message that a sender has to send now."""

    id: int
    webhook_id: int
    message: str
    event: str
    body: str
    tries: int
    attempts: int
    url: str
    secret: str
    claim: str


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """How one attempt ended."""

    at: datetime
    milliseconds: int
    status: int | None
    """None: nobody answered"""
    error: str = ""
    answer: str = ""
    """the beginning of the answer"""
    wait: timedelta = timedelta(0)
    """what the answer's `Retry-After` asks for"""

    @property
    def arrived(self) -> bool:
        """True for an answer 2xx; a redirect is none."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message as its log shows it."""

    id: int
    webhook_id: int
    message: str
    event: str
    at: datetime
    state: str
    """`pending`, `delivered` or `failed`"""
    attempts: int
    next_at: datetime | None
    body: str


def claim(engine: Engine, at: datetime, *, limit: int, but: frozenset[int] = frozenset()) -> list[Claimed]:
    """Takes what is due, at most one message of each endpoint, and none of those in `but`: one that is slow or dead
    keeps no others waiting."""
    active = select(webhooks.c.id).where(webhooks.c.active)
    due = and_(table.c.next_at <= at, table.c.webhook_id.in_(active), table.c.webhook_id.not_in(but))
    oldest = select(func.min(table.c.id)).where(due).group_by(table.c.webhook_id).limit(limit)
    with reading(engine) as connection:
        wanted = connection.scalars(oldest).all()
    if not wanted:
        return []
    token = secrets.token_hex(16)
    with writing(engine, forgettable=True) as connection:  # a claim that is lost is made again
        free = select(table.c.id).where(table.c.id.in_(wanted), due).with_for_update(skip_locked=True)
        taken = {"claim": token, "next_at": at + CLAIM}
        connection.execute(update(table).where(table.c.id.in_(connection.scalars(free).all())).values(taken))
        mine = [
            table.c[name] for name in ("id", "webhook_id", "message", "event", "body", "tries", "attempts", "claim")
        ]
        query = select(*mine, webhooks.c.url, webhooks.c.secret).join(webhooks, webhooks.c.id == table.c.webhook_id)
        rows = connection.execute(query.where(table.c.claim == token)).mappings().all()
    return [Claimed(**row) for row in rows]


def settle(engine: Engine, sent: Claimed, attempt: Attempt) -> str:
    """Writes an attempt down; the state of the message then. One that somebody else has claimed since is left alone."""
    pause = PAUSES[sent.tries] if sent.tries < len(PAUSES) else None
    again = None if pause is None else attempt.at + max(pause, min(attempt.wait, PAUSES[-1]))
    if attempt.arrived:
        state, again = "delivered", None
    else:
        state = "failed" if again is None or attempt.status == GONE else "pending"
        again = again if state == "pending" else None
    numbered = {"tries": sent.tries + 1, "attempts": sent.attempts + 1}
    with writing(engine) as connection:
        mine = update(table).where(table.c.id == sent.id, table.c.claim == sent.claim)
        values = {**numbered, "state": state, "next_at": again, "claim": None}
        if connection.execute(mine.values(values)).rowcount == 0:
            return "overtaken"
        told = {name: getattr(attempt, name) for name in ("at", "milliseconds", "status", "error", "answer")}
        connection.execute(insert(webhook_attempts).values(message_id=sent.id, attempt=sent.attempts + 1, **told))
        if attempt.status == GONE:
            _disable(connection, sent.webhook_id, attempt.at)
    return state


def _disable(connection: Connection, webhook_id: int, at: datetime) -> None:
    """Whoever answers 410 wants no more; what waits for it has failed, and can be replayed."""
    told = {"active": False, "disabled_why": "it answered 410 Gone", "version": webhooks.c.version + 1}
    this = and_(webhooks.c.id == webhook_id, webhooks.c.active)
    if connection.execute(update(webhooks).where(this).values(told)).rowcount:
        why = "it answered 410 Gone"
        audit.note(connection, Deed(actor=ENDPOINT, at=at, why=why), "webhook_disabled", f"webhook:{webhook_id}")
    waiting = and_(table.c.webhook_id == webhook_id, table.c.state == "pending")
    connection.execute(update(table).where(waiting).values(state="failed", next_at=None, claim=None))


def test(connection: Connection, webhook_id: int, at: datetime) -> Message:
    """Queues an event that tells nothing; raises Missing, or Conflict for an endpoint that is switched off."""
    _require_active(connection, webhook_id)
    body = outbox.packed(outbox.TEST, at, {"webhook": webhook_id})
    made = connection.execute(insert(table).values(outbox.message(webhook_id, outbox.TEST, at, body)))
    assert made.inserted_primary_key is not None
    return known(connection, webhook_id, made.inserted_primary_key[0])


def replay(connection: Connection, webhook_id: int, number: int, at: datetime) -> Message:
    """Sends a message once more, under its old name, with all its tries before it.

    Raises Missing, or Conflict: it was not sent at all yet, or its endpoint is switched off.
    """
    here = known(connection, webhook_id, number, lock=True)
    _require_active(connection, webhook_id)
    if here.state == "pending" and here.attempts == 0:
        raise Conflict("message_pending", f"message {number} waits to be sent already")
    fresh = {"state": "pending", "tries": 0, "next_at": at, "claim": None}
    connection.execute(update(table).where(table.c.id == number).values(fresh))
    return known(connection, webhook_id, number)


def _require_active(connection: Connection, webhook_id: int) -> None:
    if not endpoints.known(connection, webhook_id).active:
        raise Conflict("webhook_inactive", f"webhook {webhook_id} is switched off; switch it on first")


def latest(connection: Connection, webhook_id: int, *, limit: int, before: int | None = None) -> list[Message]:
    """The messages of an endpoint, the newest first, from the one before `before` on."""
    query = _SHOWN.where(table.c.webhook_id == webhook_id).order_by(table.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(table.c.id < before)
    return [Message(**row) for row in connection.execute(query).mappings()]


def known(connection: Connection, webhook_id: int, number: int, *, lock: bool = False) -> Message:
    """One message of an endpoint; raises Missing."""
    query = _SHOWN.where(table.c.webhook_id == webhook_id, table.c.id == number)
    row = connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    if row is None:
        raise Missing("message_unknown", f"webhook {webhook_id} has no message {number}")
    return Message(**row)


def attempts(connection: Connection, number: int) -> list[Attempt]:
    """Every attempt to send a message, the first one first."""
    its = webhook_attempts.c
    columns = (its.at, its.milliseconds, its.status, its.error, its.answer)
    query = select(*columns).where(its.message_id == number).order_by(its.attempt)
    return [Attempt(**row) for row in connection.execute(query).mappings()]


def forget(engine: Engine, before: datetime) -> int:
    """Removes messages of before a moment that wait for nothing any more, with their log; how many."""
    with writing(engine) as connection:
        old = connection.scalars(
            select(table.c.id).where(table.c.at < before, table.c.next_at.is_(None)).limit(1_000)
        ).all()
        connection.execute(delete(webhook_attempts).where(webhook_attempts.c.message_id.in_(old)))
        connection.execute(delete(table).where(table.c.id.in_(old)))
    return len(old)


_SHOWN = select(*(table.c[name] for name in Message.__dataclass_fields__))
