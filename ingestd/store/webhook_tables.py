"""The tables of webhooks: who is told of what, each message until it has arrived, and every attempt to send it."""

from __future__ import annotations

from sqlalchemy import Boolean, CheckConstraint, Column, ForeignKey, Index, Integer, String, Table, Text

from ingestd.store.lead_tables import metadata
from ingestd.store.tables import Id, Instant

__all__ = ["metadata", "webhook_attempts", "webhook_messages", "webhooks"]

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("url", Text, nullable=False),
    Column("events", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("disabled_why", Text, nullable=False, server_default=""),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
)
"""An endpoint. `events` are words, none for all. `secret` is as it is: a signature is made with it, not compared."""

webhook_messages = Table(
    "webhook_messages",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("webhook_id", Id, ForeignKey("webhooks.id"), nullable=False),
    Column("message", String(40), nullable=False),
    Column("event", String(64), nullable=False),
    Column("at", Instant, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(9), nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at", Instant),
    Column("claim", String(32)),
    CheckConstraint("state in ('pending', 'delivered', 'failed')", name="state"),
    Index(None, "webhook_id", "id"),
)
"""One event for one endpoint. `next_at`: when it is sent next, and none once that is over; who sends it puts that off
first, so that nobody else does, and somebody does should the sender die. `tries` counts since the last replay."""

_due = webhook_messages.c.next_at.is_not(None)
Index("ix_webhook_messages_due", webhook_messages.c.next_at, sqlite_where=_due, postgresql_where=_due)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("message_id", Id, ForeignKey("webhook_messages.id"), primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("milliseconds", Integer, nullable=False),
    Column("status", Integer),
    Column("error", Text, nullable=False),
    Column("answer", Text, nullable=False),
)
"""No `status`: nobody answered, and `error` says why. `answer` is the beginning of what came back."""
