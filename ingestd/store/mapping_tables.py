"""The table of what the saved mapping of each source was."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Integer, Table, Text

from ingestd.store.lead_tables import metadata
from ingestd.store.tables import Id, Instant

__all__ = ["mapping_versions", "metadata"]

mapping_versions = Table(
    "mapping_versions",
    metadata,
    Column("source_id", Id, ForeignKey("sources.id"), primary_key=True, autoincrement=False),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("mapping", Text, nullable=False),
    Column("saved_at", Instant, nullable=False),
    Column("saved_by", Text, nullable=False),
    Column("why", Text, nullable=False, server_default=""),
)
"""Every mapping that a source had, as JSON: header → field. The newest is the one in its definition.

Written by whatever changes the definition: API, command line, `org import`. Lines are added and never changed.
"""
