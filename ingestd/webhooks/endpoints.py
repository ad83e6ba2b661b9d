"""Endpoints: where events are sent, which ones, and with which secret they are signed."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, delete, insert, select, update

from ingestd.errors import Invalid, Missing, Stale
from ingestd.store import audit
from ingestd.store.audit import Deed
from ingestd.store.outbox import EVENTS
from ingestd.store.webhook_tables import webhook_attempts, webhook_messages
from ingestd.store.webhook_tables import webhooks as table

SECRET_BYTES = 32
"""The specification wants 24 to 64."""
LONGEST_URL = 2_000


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Somebody who is told."""

    id: int
    url: str
    events: tuple[str, ...]
    """empty: all of them"""
    description: str
    active: bool
    disabled_why: str
    """why it was switched off by itself; empty: it was not"""
    created_at: datetime
    created_by: str
    version: int


def add(
    connection: Connection, deed: Deed, url: str, events: Sequence[str], description: str = ""
) -> tuple[Endpoint, str]:
    """Makes an endpoint; it and its secret, which is shown this once. Raises Invalid."""
    _check({"url": url, "events": events})
    secret = f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"
    values = {"url": url, "events": " ".join(events), "description": description, "secret": secret, "active": True}
    signed = {"created_at": deed.at, "created_by": deed.actor.name}
    made = connection.execute(insert(table).values(**values, **signed)).inserted_primary_key
    assert made is not None
    found = known(connection, made[0])
    audit.note(connection, deed, "webhook_added", f"webhook:{found.id}", after=_facts(found))
    return found, secret


def change(
    connection: Connection, deed: Deed, number: int, values: Mapping[str, Any], *, seen: str | None = None
) -> Endpoint:
    """Sets what is named of `url`, `events`, `description` and `active`; raises Missing, Invalid, or Stale.

    `seen` is the version that the editor saw. One that is switched on again is no longer `disabled_why`.
    """
    before = known(connection, number, lock=True)
    if seen is not None and seen != str(before.version):
        raise Stale("changed_since", f"the webhook {number} has changed since it was read")
    _check(values)
    stored = {**values, "version": before.version + 1}
    if "events" in values:
        stored["events"] = " ".join(values["events"])
    if values.get("active"):
        stored["disabled_why"] = ""
    connection.execute(update(table).where(table.c.id == number).values(stored))
    after = known(connection, number)
    audit.note(connection, deed, "webhook_changed", f"webhook:{number}", before=_facts(before), after=_facts(after))
    return after


def remove(connection: Connection, deed: Deed, number: int) -> None:
    """Removes an endpoint with its messages and their log; raises Missing."""
    before = known(connection, number, lock=True)
    its = select(webhook_messages.c.id).where(webhook_messages.c.webhook_id == number)
    connection.execute(delete(webhook_attempts).where(webhook_attempts.c.message_id.in_(its)))
    connection.execute(delete(webhook_messages).where(webhook_messages.c.webhook_id == number))
    connection.execute(delete(table).where(table.c.id == number))
    audit.note(connection, deed, "webhook_removed", f"webhook:{number}", before=_facts(before))


def every(connection: Connection) -> list[Endpoint]:
    """All endpoints, in the order in which they were made."""
    return [_endpoint(row) for row in connection.execute(_ALL.order_by(table.c.id)).mappings()]


def known(connection: Connection, number: int, *, lock: bool = False) -> Endpoint:
    """One endpoint, which nobody else changes until the transaction ends when it is to `lock`; raises Missing."""
    query = _ALL.where(table.c.id == number)
    row = connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    if row is None:
        raise Missing("webhook_unknown", f"there is no webhook {number}")
    return _endpoint(row)


_ALL = select(*(table.c[name] for name in Endpoint.__dataclass_fields__))


def _endpoint(row: Mapping[Any, Any]) -> Endpoint:
    return Endpoint(**{**row, "events": tuple(row["events"].split())})


def _facts(endpoint: Endpoint) -> dict[str, Any]:
    """For the audit; never the secret."""
    return {name: getattr(endpoint, name) for name in ("url", "events", "description", "active", "disabled_why")}


def _check(values: Mapping[str, Any]) -> None:
    if "url" in values and (fault := _url_fault(values["url"])):
        raise Invalid("url_unusable", f"the URL {fault}", field="url")
    for event in values.get("events", ()):
        if event not in EVENTS:
            raise Invalid(
                "event_unknown", f"no event is called {event!r}; they are {', '.join(EVENTS)}", field="events"
            )


def _url_fault(text: str) -> str:
    """What is wrong with a URL; empty: nothing. Where it leads is looked at when it is connected to."""
    try:
        url, port = urlsplit(text), urlsplit(text).port
    except ValueError:
        return "cannot be read"
    if url.scheme not in ("http", "https") or not url.hostname:
        return "is not https://host/path or http://host/path"
    if url.username or url.password:
        return "holds a login, which everybody would see; the signature tells who sends"
    if url.fragment or port == 0 or len(text) > LONGEST_URL:
        return f"has a fragment, the port 0, or more than {LONGEST_URL:,} characters"
    if not text.isascii() or any(sign <= " " or sign == "\x7f" for sign in text):
        return "holds blanks or letters that a URL writes as %20 or xn--"
    return ""
