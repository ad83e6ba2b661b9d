"""The tables of imports by API: requests that may come twice, and leads that are pushed one by one."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table, Text

from ingestd.store.lead_tables import metadata
from ingestd.store.tables import Id, Instant, Phone

__all__ = ["idempotency_keys", "metadata", "pushed_leads"]

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("caller", Text, primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("delivery_id", Id, nullable=False),
    Column("row", Integer),
    Column("expires_at", Instant, nullable=False),
    Index(None, "expires_at"),
)
"""What was answered to a request that named itself, written in the transaction of its delivery.

`digest` is that of target and body. The answer is told anew from the delivery, or from the `row` of a pushed lead, so
that nothing of a lead is kept here.
"""

pushed_leads = Table(
    "pushed_leads",
    metadata,
    Column("delivery_id", Id, ForeignKey("deliveries.id"), primary_key=True, autoincrement=False),
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("pushed_at", Instant, nullable=False),
    Column("pushed_by", Text, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("lead_id", Id),
    Column("phone", Phone),
    Column("owner", Text),
    Column("fields", Text),
    Column("problems", Text, nullable=False),
    Index(None, "lead_id"),
    Index(None, "phone"),
    sqlite_with_rowid=False,
)
"""The fate of every lead that came one by one: the log of their pool. `fields` and `problems` are JSON.

`fields` is what was sent, kept of those that became no lead. Anonymising blanks what tells who somebody is.
"""
