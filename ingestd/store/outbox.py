"""The outbox: what webhooks are told is written in the transaction of what happened, so neither is there without the
other."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from ingestd.model import State
from ingestd.store.webhook_tables import webhook_messages, webhooks

TEST = "webhook.test"
EVENTS = (
    *(f"delivery.{state}" for state in State if state.final),
    *(f"pool.{verb}" for verb in ("activated", "deactivated", "emptied")),
)
"""Everything that webhooks may be told; and TEST, which is only told when somebody asks for it."""

Facts = Callable[[], Mapping[str, Any]]

_LISTENING = select(webhooks.c.id, webhooks.c.events).where(webhooks.c.active)


def announce(connection: Connection, event: str, at: datetime, facts: Facts) -> None:
    """Queues an event for every endpoint that is active and wants it; `facts` are only asked for when there is one."""
    assert event in EVENTS, event
    wanting = [row.id for row in connection.execute(_LISTENING) if not row.events or event in row.events.split()]
    if wanting:
        body = packed(event, at, facts())
        connection.execute(insert(webhook_messages), [message(each, event, at, body) for each in wanting])


def message(webhook_id: int, event: str, at: datetime, body: str) -> dict[str, Any]:
    """A row of the outbox; its name stays the same through all attempts, so that a receiver knows it again."""
    named = {"webhook_id": webhook_id, "message": f"msg_{secrets.token_hex(12)}", "event": event}
    return {**named, "at": at, "body": body, "state": "pending", "next_at": at}


def packed(event: str, at: datetime, facts: Mapping[str, Any]) -> str:
    """The body, as the Standard Webhooks specification has it."""
    told = {"type": event, "timestamp": at.isoformat(), "data": facts}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"), default=str)
