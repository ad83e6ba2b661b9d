"""Sessions of people: a random token for the browser, of which only the SHA-256 is kept."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select

from ingestd.access import people
from ingestd.access.people import Person
from ingestd.store.access_tables import sessions

TOKEN_BYTES = 32


def start(connection: Connection, user_id: int, *, at: datetime, lasts: timedelta) -> str:
    """A new session of a user; its token. What has expired is cleared away."""
    connection.execute(delete(sessions).where(sessions.c.expires_at <= at))
    token = secrets.token_urlsafe(TOKEN_BYTES)
    values = {"digest": digest(token), "user_id": user_id, "started_at": at, "expires_at": at + lasts}
    connection.execute(insert(sessions).values(values))
    return token


def person(connection: Connection, token: str, *, at: datetime) -> Person | None:
    """Whose session it is; None when it has expired or ended, or the user is no longer active."""
    this = (sessions.c.digest == digest(token), sessions.c.expires_at > at)
    user_id = connection.scalar(select(sessions.c.user_id).where(*this))
    found = None if user_id is None else people.by_id(connection, user_id)
    return found if found is not None and found.active else None


def end(connection: Connection, token: str) -> None:
    """Ends one session, if it is there."""
    connection.execute(delete(sessions).where(sessions.c.digest == digest(token)))


def end_all(connection: Connection, user_id: int) -> None:
    """Ends every session of a user."""
    connection.execute(delete(sessions).where(sessions.c.user_id == user_id))


def digest(secret: str) -> str:
    """How tokens and secrets are kept. They are random, so a slow hash would protect nothing more."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
