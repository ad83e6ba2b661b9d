"""The tables of saved views: what somebody looks for in Lead Admin or among lead pools, under a name."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, Table, Text, UniqueConstraint

from ingestd.store.lead_tables import metadata
from ingestd.store.tables import Id, Instant

__all__ = ["metadata", "saved_views", "view_stars"]

saved_views = Table(
    "saved_views",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("owner_id", Id, ForeignKey("users.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("filter", Text, nullable=False),
    Column("columns", Text, nullable=False),
    Column("sort", Text, nullable=False),
    Column("everybody", Boolean, nullable=False),
    Column("team_id", Id, ForeignKey("teams.id")),
    Column("changed_at", Instant, nullable=False),
    Column("version", Integer, nullable=False),
    UniqueConstraint("owner_id", "kind", "name"),
    Index(None, "team_id"),
)
"""`kind` is the list that it is of, `leads` or `pools`; `filter` and `columns` are JSON.

Seen by its owner, by `everybody`, or by a team with all that is below it.
"""

view_stars = Table(
    "view_stars",
    metadata,
    Column("user_id", Id, ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("view_id", Id, ForeignKey("saved_views.id"), primary_key=True, autoincrement=False),
    Index(None, "view_id"),
)
"""The views that each user has starred."""
