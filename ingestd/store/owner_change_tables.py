"""The tables of Change Owner: each change with how far it has come, and what became of every lead."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, text

from ingestd.store.lead_tables import metadata
from ingestd.store.tables import Id, Instant

__all__ = ["metadata", "owner_change_parts", "owner_change_results", "owner_changes"]

owner_changes = Table(
    "owner_changes",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("state", String(16), nullable=False),
    Column("to_id", Id, ForeignKey("owners.id"), nullable=False),
    Column("by_id", Id, ForeignKey("users.id"), nullable=False),
    Column("actor", Text, nullable=False),
    Column("key_id", String(16)),
    Column("permissions", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("retain", Boolean, nullable=False),
    Column("unlock", Boolean, nullable=False),
    Column("deactivated", Boolean, nullable=False),
    Column("filter", Text),
    Column("total", Integer, nullable=False),
    Column("after_campaign", Id, nullable=False, server_default=text("0")),
    Column("after_lead", Id, nullable=False, server_default=text("0")),
    Column("moved", Integer, nullable=False, server_default=text("0")),
    Column("refused", Text, nullable=False, server_default="{}"),
    Column("problem", Text, nullable=False, server_default=""),
    Column("created_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Index(
        "ix_owner_changes_waiting",
        "id",
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)
"""`permissions` are those of the request, as words: what is done later is done with no more. `filter` is JSON; none:
the leads were named. `total` are the leads that were meant when it was asked for. Everything up to `after_…` is done.
`refused` is JSON, reason → how many.
"""

owner_change_parts = Table(
    "owner_change_parts",
    metadata,
    Column("change_id", Id, ForeignKey("owner_changes.id"), primary_key=True, autoincrement=False),
    Column("first_lead", Id, primary_key=True, autoincrement=False),
    Column("leads", Text, nullable=False),
)
"""The leads that were named, a few thousand in a part, as a sorted list in JSON."""

owner_change_results = Table(
    "owner_change_results",
    metadata,
    Column("change_id", Id, ForeignKey("owner_changes.id"), primary_key=True, autoincrement=False),
    Column("outcome", String(16), primary_key=True),
    Column("lead_id", Id, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
"""What became of each lead: `moved`, or why not."""
