"""The tables of segments: groups, their filters, and how far the leads have been put into them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from ingestd.store.lead_tables import metadata
from ingestd.store.tables import Id, Instant

__all__ = ["metadata", "segment_arrivals", "segment_groups", "segment_progress", "segments"]

segment_groups = Table(
    "segment_groups",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("project_id", Id, ForeignKey("projects.id"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("position", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("modified_by", Text, nullable=False),
    Column("modified_at", Instant, nullable=False),
    UniqueConstraint("project_id", "name"),
    sqlite_autoincrement=True,
)
"""Numbers are never given twice, here and below: leads keep that of a segment until they are looked at again."""

segments = Table(
    "segments",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("group_id", Id, ForeignKey("segment_groups.id"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("position", Integer, nullable=False),
    Column("filter", Text, nullable=False),
    Column("fields", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("modified_by", Text, nullable=False),
    Column("modified_at", Instant, nullable=False),
    UniqueConstraint("group_id", "name"),
    sqlite_autoincrement=True,
)
"""`filter` is the filter as JSON; `fields` are title and kind of each field that it names, and whether it is personal,
also as JSON, so that it means the same wherever it is read, and whatever becomes of the templates."""

segment_progress = Table(
    "segment_progress",
    metadata,
    Column("campaign_id", Id, ForeignKey("campaigns.id"), primary_key=True, autoincrement=False),
    Column("meaning", String(64), nullable=False),
    Column("seen", String(32), nullable=False),
    Column("last_lead", BigInteger),
    Column("placed", BigInteger, nullable=False, server_default="0"),
    Column("total", BigInteger),
)
"""How far a campaign's leads have been put into the segments that `meaning` is the digest of.

`last_lead` is the last one that was looked at; None: all were. `placed` of `total` is the same for people. `seen` are
the versions of organisation and statuses for which `meaning` was last worked out.
"""

segment_arrivals = Table(
    "segment_arrivals",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("campaign_id", Id, nullable=False),
    Column("first_lead", BigInteger, nullable=False),
    Column("last_lead", BigInteger, nullable=False),
    Index(None, "campaign_id", "id"),
)
"""Leads that were inserted and not yet put into a segment, as ranges of numbers: one row for each load, written by it.

Nothing else of a load concerns segments, so it costs the same whether it brings one lead or a million.
"""
