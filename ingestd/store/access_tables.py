"""The tables of who may do what, and of who did: passwords, sessions, keys, the audit."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Table, Text

from ingestd.store.tables import Id, Instant, metadata

__all__ = ["api_keys", "applied", "audit", "metadata", "sessions", "source_versions", "user_passwords"]

user_passwords = Table(
    "user_passwords",
    metadata,
    Column("user_id", Id, ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("hash", Text, nullable=False),
    Column("changed_at", Instant, nullable=False),
)
"""Apart from the users, so that no list of users can show a hash."""

user_permissions = Table(
    "user_permissions",
    metadata,
    Column("user_id", Id, ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("permission", String(32), primary_key=True),
    Column("granted", Boolean, nullable=False),
)
"""What a user has beyond the role (`granted`), or lacks of it."""

sessions = Table(
    "sessions",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("user_id", Id, ForeignKey("users.id"), nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Index(None, "user_id"),
)
"""`digest` is the SHA-256 of the random token that the browser has: who reads the table cannot come in by it."""

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("user_id", Id, ForeignKey("users.id")),
    Column("source", String(64)),
    Column("permissions", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Instant),
    Column("last_used_at", Instant),
    Column("revoked_at", Instant),
)
"""A key of a user can do no more than the user; one without belongs to the house. `permissions` are words."""

audit = Table(
    "audit",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("user_id", Id),
    Column("key_id", String(16)),
    Column("action", String(32), nullable=False),
    Column("subject", Text, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("why", Text, nullable=False),
    Index(None, "subject", "id"),
)
"""Who changed what, when and why. Triggers of the database refuse to change or delete a line."""

applied = Table(
    "applied",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("facts", Text, nullable=False),
)
"""What the configuration said when it was last applied; so a later one knows what it changes, and what others did."""

source_versions = Table(
    "source_versions",
    metadata,
    Column("source_id", Id, ForeignKey("sources.id"), primary_key=True, autoincrement=False),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("definition", Text, nullable=False),
    Column("saved_at", Instant, nullable=False),
    Column("saved_by", Text, nullable=False),
)
