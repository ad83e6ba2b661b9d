"""The tables of what happens to leads later: who may call them, history, the order of dialling, anonymising."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Date, ForeignKey, Index, Integer, String, Table, Text

from ingestd.store.access_tables import metadata
from ingestd.store.tables import Id, Instant

__all__ = ["campaign_access", "dial_stages", "erasures", "lead_events", "metadata", "pool_calls", "pool_counts"]

campaign_access = Table(
    "campaign_access",
    metadata,
    Column("campaign_id", Id, ForeignKey("campaigns.id"), primary_key=True, autoincrement=False),
    Column("owner_id", Id, ForeignKey("owners.id"), primary_key=True, autoincrement=False),
)
"""The users, and the teams with all that is below them, who may call in a campaign; one without any is everybody's."""

dial_stages = Table(
    "dial_stages",
    metadata,
    Column("campaign_id", Id, primary_key=True, autoincrement=False),
    Column("owner_id", Id, primary_key=True, autoincrement=False),
    Column("segment_id", Id, primary_key=True, autoincrement=False),
    Column("load_sequence", BigInteger, nullable=False),
    Column("last_key", String(40)),
)
"""How far the leads of an owner are in dial order, with a `dial_key`: up to `last_key`; None: all of them.

Counts as long as nothing was loaded into the campaign since. Those of a segment are counted by themselves; `segment_id`
0 is the whole campaign.
"""

lead_events = Table(
    "lead_events",
    metadata,
    Column("campaign_id", Id, primary_key=True, autoincrement=False),
    Column("lead_id", Id, primary_key=True, autoincrement=False),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("field", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("at", Instant, nullable=False),
    Column("by_id", Id),
    Column("before", Text),
    Column("after", Text),
    Column("why", Text, nullable=False, server_default=""),
    Index(None, "at"),
    sqlite_with_rowid=False,
)
"""What happened to each lead: one row for each field that a change touched, and never changed afterwards.

`version` is the lead's own after the change, so the key needs no counter, keeps a lead's history together, and begins
with the campaign. No `by_id`: a rule of time, or a delivery. Only anonymising blanks what is in `before`, `after` and
`why`.
"""

erasures = Table(
    "erasures",
    metadata,
    Column("delivery_id", Id, ForeignKey("deliveries.id"), primary_key=True, autoincrement=False),
    Column("lead_id", Id, primary_key=True, autoincrement=False),
    Column("at", Instant, primary_key=True),
    Column("by_id", Id, nullable=False),
    Column("rows", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
)
"""Which records of a received file were blanked for an anonymised lead; hash and size of the file since then."""

pool_counts = Table(
    "pool_counts",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("pool_id", Id, nullable=False, index=True),
    Column("status_id", Integer, nullable=False),
    Column("result_id", Integer),
    Column("called", Boolean, nullable=False),
    Column("deactivated", Boolean, nullable=False),
    Column("leads", BigInteger, nullable=False),
    Column("attempts", BigInteger, nullable=False),
)
"""How many leads of each kind a pool has: the sum of its rows, some of which take away.

Triggers of the database add rows for whatever changes or deletes leads, in its transaction; a load adds its own
(`store/pool_counts.py`). Rows are only ever added, so that those who work with leads of one pool never wait for each
other; now and then they are summed up.
"""

pool_calls = Table(
    "pool_calls",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("pool_id", Id, nullable=False),
    Column("day", Date, nullable=False),
    Column("calls", BigInteger, nullable=False),
    Index(None, "pool_id", "day"),
)
"""How often the leads of a pool were called on a day of UTC: the sum of its rows, as in `pool_counts`."""
