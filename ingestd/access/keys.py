"""API keys, `id.secret`: only the SHA-256 of the random secret is kept, and the whole is shown once."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update

from ingestd.access.people import Person
from ingestd.access.permissions import Permission
from ingestd.access.sessions import TOKEN_BYTES, digest
from ingestd.errors import Conflict, Invalid, Missing
from ingestd.store import audit
from ingestd.store.access_tables import api_keys
from ingestd.store.audit import Deed
from ingestd.store.tables import sources, users

USE_PRECISION = timedelta(minutes=1)
"""How exactly the last use is known; a write for each request would cost more than the request."""
LONGEST_NAME = 200
PARTNERS = frozenset({Permission.LEAD_POOLS})
"""What a key for a partner's programs may do: import, and see what became of it."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key, without its secret."""

    id: str
    name: str
    user_id: int | None
    """whose it is: it can do no more than this user; None: it belongs to the house"""
    user: str | None
    """the login"""
    source: str | None
    """the only source that it may act for; None: any"""
    permissions: frozenset[Permission]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    """to the minute"""
    revoked_at: datetime | None

    def spent(self, at: datetime) -> str:
        """Why the key is not taken any more; empty while it is."""
        if self.revoked_at is not None:
            return "the key was revoked"
        return "the key has expired" if self.expires_at is not None and self.expires_at <= at else ""


@dataclass(frozen=True, kw_only=True)
class Issued:
    """A new key, and the one sight of its secret."""

    key: Key
    secret: str
    """`id.secret`, as the header `Authorization: Bearer` takes it"""


def issue(
    connection: Connection,
    deed: Deed,
    name: str,
    permissions: Collection[Permission],
    *,
    user_id: int | None = None,
    source: str | None = None,
    expires_at: datetime | None = None,
) -> Issued:
    """Makes a key; raises Invalid or Missing when it would open nothing, or for a source that is not there."""
    _check(connection, deed, name, permissions, source, expires_at)
    number, secret = secrets.token_hex(6), secrets.token_urlsafe(TOKEN_BYTES)
    values = {
        "id": number,
        "name": name.strip(),
        "user_id": user_id,
        "source": source,
        "permissions": " ".join(sorted(permissions)),
        "created_at": deed.at,
        "created_by": deed.actor.name,
        "expires_at": expires_at,
    }
    connection.execute(insert(api_keys).values(**values, digest=digest(secret)))
    told = {name: values[name] for name in ("name", "user_id", "source", "permissions", "expires_at")}
    audit.note(connection, deed, "key_added", f"key:{number}", after=told)
    return Issued(key=known(connection, number), secret=f"{number}.{secret}")


def _check(
    connection: Connection,
    deed: Deed,
    name: str,
    permissions: Collection[Permission],
    source: str | None,
    expires_at: datetime | None,
) -> None:
    if not name.strip() or len(name) > LONGEST_NAME:
        raise Invalid("name_unusable", f"a key has a name of up to {LONGEST_NAME} characters", field="name")
    if not permissions:
        raise Invalid("permissions_missing", "a key without permissions opens nothing; name one", field="permissions")
    if expires_at is not None and expires_at <= deed.at:
        raise Invalid("expiry_past", "a key that has expired already opens nothing", field="expires_at")
    there = select(sources.c.id).where(sources.c.name == source, sources.c.active)
    if source is not None and connection.scalar(there) is None:
        raise Missing("source_unknown", f"there is no active source {source!r}")


def find(connection: Connection, presented: str) -> Key | None:
    """The key whose `id.secret` this is, spent or not; None when no key has this secret."""
    number, _, secret = presented.partition(".")
    kept = connection.scalar(select(api_keys.c.digest).where(api_keys.c.id == number)) or ""
    return known(connection, number) if hmac.compare_digest(kept, digest(secret)) else None


def known(connection: Connection, number: str) -> Key:
    """A key by its id; raises Missing."""
    found = _read(connection, api_keys.c.id == number)
    if not found:
        raise Missing("key_unknown", f"there is no key {number!r}")
    return found[0]


def every(connection: Connection, *, user_id: int | None = None, source: str | None = None) -> list[Key]:
    """Every key, the newest first; of a user or a source when one is named."""
    where = [api_keys.c.user_id == user_id] if user_id is not None else []
    where += [api_keys.c.source == source] if source is not None else []
    return _read(connection, *where)


def revoke(connection: Connection, deed: Deed, key: Key) -> None:
    """Ends a key for good; raises Conflict when it was ended before."""
    if key.revoked_at is not None:
        raise Conflict("key_revoked", f"the key {key.id} was revoked before")
    connection.execute(update(api_keys).where(api_keys.c.id == key.id).values(revoked_at=deed.at))
    audit.note(connection, deed, "key_revoked", f"key:{key.id}")


def used(connection: Connection, number: str, at: datetime) -> None:
    """Notes that a key came in, to the minute."""
    minute = at.replace(second=0, microsecond=0)
    connection.execute(update(api_keys).where(api_keys.c.id == number).values(last_used_at=minute))


def may(key: Key, person: Person | None) -> frozenset[Permission]:
    """What a key may do now: no more than its user, `person`, who may have lost something since."""
    if key.user_id is None:
        return key.permissions
    return key.permissions & person.permissions if person is not None and person.active else frozenset()


def _read(connection: Connection, *where: Any) -> list[Key]:
    columns = [api_keys.c[name] for name in Key.__dataclass_fields__ if name != "user"]
    query = select(*columns, users.c.login.label("user")).outerjoin(users, users.c.id == api_keys.c.user_id)
    rows = connection.execute(query.where(*where).order_by(api_keys.c.created_at.desc(), api_keys.c.id)).mappings()
    return [Key(**{**row, "permissions": frozenset(map(Permission, row["permissions"].split()))}) for row in rows]
