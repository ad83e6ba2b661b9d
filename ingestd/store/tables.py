"""Every table of the store (LEADS.md, "The nouns"), the same on SQLite and PostgreSQL.

Every unique key of a lead contains its campaign, so that the table can be partitioned by campaign (DESIGN.md).
Leads carry no foreign keys: they are loaded a hundred thousand at a time by a transaction that has just checked
what they refer to.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
    func,
    literal_column,
)
from sqlalchemy.engine import Dialect

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Instant(TypeDecorator[datetime]):
    """A moment in UTC. SQLite forgets time zones, so they are put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Only aware moments are taken: a naive one would change its meaning in silence."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"a moment without time zone: {value!r}")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Always aware, always UTC."""
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


# An integer that SQLite takes as its rowid when it is the only primary key.
Id = BigInteger().with_variant(Integer(), "sqlite")

Phone = Text().with_variant(Text(collation="C"), "postgresql")
"""Compared and sorted byte by byte, as SQLite does it; by the rules of a language it takes three times as long."""

identity = Table(
    "identity",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", String(32), nullable=False),
    Column("storage", Text),
    CheckConstraint("id = 1", name="single"),
)
"""A random name, kept in the home too: a store without its home's files would take acknowledged files for strangers.

`storage` is the URL of the files, empty for the home; none before the first start has decided.
"""

owners = Table(
    "owners",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("kind", String(4), nullable=False),
    Column("ownership_code", String(64)),
    Column("ownership_code_key", String(64), unique=True),
    CheckConstraint("kind in ('team', 'user')", name="kind"),
)
"""Whoever can own a lead. One number space for teams and users makes the Lead Ownership Code unique over both."""

teams = Table(
    "teams",
    metadata,
    Column("id", Id, ForeignKey("owners.id"), primary_key=True, autoincrement=False),
    Column("key", String(64), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("parent_id", Id, ForeignKey("teams.id")),
    Column("active", Boolean, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("id", Id, ForeignKey("owners.id"), primary_key=True, autoincrement=False),
    Column("login", String(64), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("team_id", Id, ForeignKey("teams.id"), nullable=False),
    Column("role", String(16), nullable=False),
    Column("active", Boolean, nullable=False),
)

projects = Table(
    "projects",
    metadata,
    Column("id", Id, primary_key=True),
    Column("code", String(64), nullable=False, unique=True),
    Column("name", Text, nullable=False),
)

campaigns = Table(
    "campaigns",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", Id, ForeignKey("projects.id"), nullable=False),
    Column("code", String(64), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("template", String(64)),
    Column("region", String(2), nullable=False),
    Column("timezone", String(64), nullable=False),
    Column("expires_on", Date),
    Column("max_attempts", Integer, nullable=False),
    Column("on_duplicate", String(8), nullable=False),
    Column("on_do_not_call", String(8), nullable=False),
    Column("on_invalid_phone", String(8), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("load_sequence", BigInteger, nullable=False, server_default="0"),
    Column("expired_sequence", BigInteger),
    Column("limited_attempts", Integer),
)
"""`load_sequence` grows with every load, so a load that screened against an older state of the campaign is noticed.

The last two say what the rules of time have done with every lead: expired what was loaded until then, and closed what
had so many attempts.
"""

sources = Table(
    "sources",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("definition", Text, nullable=False),
    Column("active", Boolean, nullable=False),
)
"""`definition` is the source as written in `config/sources.toml`, as JSON, so that every worker reads the same."""

statuses = Table(
    "statuses",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("code", String(64), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("kind", String(6), nullable=False),
    Column("import_may_set", Boolean, nullable=False),
    Column("dial_order", Integer),
    Column("set_by", String(8), nullable=False, server_default="anyone"),
    Column("may_become", Text, nullable=False, server_default="[]"),
    Column("counts_attempt", Boolean, nullable=False, server_default=false()),
    Column("takes_owner", Boolean, nullable=False, server_default=false()),
    Column("gives_back", Boolean, nullable=False, server_default=false()),
    Column("outlives_pool", Boolean, nullable=False, server_default=false()),
    Column("kept_for_caller", Boolean, nullable=False, server_default=false()),
    Column("after_days", Integer),
    Column("then", String(64)),
    CheckConstraint("kind in ('open', 'closed')", name="kind"),
)
"""`may_become` is a JSON list of codes, with `open` and `closed` written out."""

configuration_versions = Table(
    "configuration_versions",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("sha256", String(64), nullable=False),
    Column("applied_at", Instant, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("source", String(64), nullable=False),
    Column("login", Text, nullable=False),
    Column("peer", Text, nullable=False),
    Column("protocol", String(16), nullable=False),
    Column("name", Text, nullable=False),
    Column("folder", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("completeness", String(8), nullable=False),
    Column("evidence", Text, nullable=False),
    Column("expected_records", Integer),
    Column("spool_key", Text, nullable=False),
    Column("state", String(24), nullable=False),
    Column("stage", String(16), nullable=False, server_default=""),
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("received_at", Instant, nullable=False),
    Column("queued_at", Instant),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    Column("published_at", Instant),
    Column("reason_code", String(64), nullable=False, server_default=""),
    Column("reason", Text, nullable=False, server_default=""),
    Column("suggestion", Text, nullable=False, server_default=""),
    Column("pool_id", Id),
    Column("node_id", Id),
    Column("duplicate_of", Id),
    Column("previous_version", Id),
    Column("mapping", Text),
    Column("mapping_version", Integer),
    Column("confirmed_at", Instant),
    Column("rerun_of", Id),
    Column("log_key", Text, nullable=False, server_default=""),
    Column("timings", Text, nullable=False, server_default=""),
    Column("default_owner", String(80)),
    Column("records", Integer, nullable=False, server_default="0"),
    Column("inserted", Integer, nullable=False, server_default="0"),
    Column("updated", Integer, nullable=False, server_default="0"),
    Column("unchanged", Integer, nullable=False, server_default="0"),
    Column("duplicate", Integer, nullable=False, server_default="0"),
    Column("rejected", Integer, nullable=False, server_default="0"),
    Column("discarded", Integer, nullable=False, server_default="0"),
    Index(None, "source", "name", "sha256"),
    Index(None, "spool_key"),
    Index(None, "sha256"),
)

# `mapping` is the delivery's own, as JSON; without one its source's is taken, and `mapping_version` is the number of
# the one that it was read with. `confirmed_at`: somebody said that columns which match no field are to be ignored.

# Looked through twice a second by idle workers; nearly always empty.
Index(
    "ix_deliveries_unpublished",
    deliveries.c.id,
    sqlite_where=deliveries.c.published_at.is_(None),
    postgresql_where=deliveries.c.published_at.is_(None),
)

# Finds what a source has to load next. Those that have not ended are among the unpublished, and no other column may
# tell them: PostgreSQL writes an updated row to every index anew when a column of one of them has changed.
Index(
    "ix_deliveries_unpublished_source",
    deliveries.c.source,
    deliveries.c.id,
    sqlite_where=deliveries.c.published_at.is_(None),
    postgresql_where=deliveries.c.published_at.is_(None),
)

folder_files = Table(
    "folder_files",
    metadata,
    Column("source", String(64), primary_key=True),
    Column("path", Text, primary_key=True),
    Column("mark", Text, nullable=False),
    Column("delivery_id", Id),
    Column("taken_at", Instant, nullable=False),
)
"""Files of the drop folder that were taken and left where they are. `path` is escaped as in a URL, because names may be
no text; `mark` is what changes when a file is written to or replaced."""

companions = Table(
    "companions",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("source", String(64), nullable=False),
    Column("folder", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("value", String(64), nullable=False),
    Column("file", Text, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("delivery_id", Id, ForeignKey("deliveries.id")),
    Index(None, "source", "folder", "name"),
)
"""What a partner says about a file in another one, such as `leads.csv.sha256`, before or after it.

`name` is the file that is spoken of, `file` the one that speaks, `delivery_id` the delivery that it was held against.
"""

jobs = Table(
    "jobs",
    metadata,
    Column("source", String(64), primary_key=True),
    Column("delivery_id", Id, ForeignKey("deliveries.id"), nullable=False),
    Column("turn", BigInteger, nullable=False),
    Column("state", String(8), nullable=False),
    Column("not_before", Instant, nullable=False),
    Column("worker", Text),
    CheckConstraint("state in ('ready', 'running')", name="state"),
)
"""The line of the local dispatcher, written in the ledger's own transaction: one place for each source that has
something to load, in the order of `turn`, with the delivery that is to be loaded next or now. Empty on PostgreSQL."""

nodes = Table(
    "nodes",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("home", String(32), nullable=False, unique=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("place", Text, nullable=False),
    Column("version", String(32), nullable=False),
    Column("roles", Text, nullable=False),
    Column("results", Boolean, nullable=False),
    Column("since", Instant, nullable=False),
    Column("beat_at", Instant, nullable=False),
    Column("ended_at", Instant),
)
"""The daemons on this store. `home` is what their home calls itself, `place` the machine and folder where it lies;
`results`: partners fetch their results there."""

node_processes = Table(
    "node_processes",
    metadata,
    Column("node_id", Id, ForeignKey("nodes.id"), primary_key=True, autoincrement=False),
    Column("name", String(64), primary_key=True),
    Column("since", Instant, nullable=False),
    Column("beat_at", Instant, nullable=False),
    Column("doing", Text, nullable=False),
)
"""What each process of a node is doing, as a JSON object; each writes its own row."""

results_due = Table(
    "results_due",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("node_id", Id, ForeignKey("nodes.id"), nullable=False),
    Column("delivery_id", Id, nullable=False),
    Index(None, "node_id", "id"),
)
"""Results that a node still has to hand back in its own home; empty when one home has the store to itself."""

receipts = Table(
    "receipts",
    metadata,
    Column("delivery_id", Id, ForeignKey("deliveries.id"), primary_key=True, autoincrement=False),
    Column("epoch", Integer, nullable=False),
    Column("committed_at", Instant, nullable=False),
)
"""That a delivery was loaded. The primary key is what makes loading exactly once (DESIGN.md, "Durability")."""

pools = Table(
    "pools",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("campaign_id", Id, ForeignKey("campaigns.id"), nullable=False),
    Column("delivery_id", Id, ForeignKey("deliveries.id"), unique=True),
    Column("name", Text, nullable=False),
    Column("state", String(24), nullable=False),
    Column("uploaded_by", Text, nullable=False),
    Column("uploaded_at", Instant, nullable=False),
    Index(None, "campaign_id"),
)

leads = Table(
    "leads",
    metadata,
    Column("campaign_id", Id, primary_key=True, autoincrement=False),
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("pool_id", Id, nullable=False),
    Column("row", Integer, nullable=False),
    Column("owner_id", Id, nullable=False),
    Column("status_id", Integer, nullable=False),
    Column("external_id", Text),
    Column("phone", Phone, nullable=False),
    Column("alternative_phone", Phone),
    Column("title", Text),
    Column("first_name", Text),
    Column("last_name", Text),
    Column("full_name", Text),
    Column("company", Text),
    Column("email", Text),
    Column("address", Text),
    Column("postcode", Text),
    Column("city", Text),
    Column("state", Text),
    Column("country", Text),
    Column("date_of_birth", Date),
    Column("language", Text),
    Column("priority", Integer),
    Column("scheduled_at", Instant),
    Column("comments", Text),
    Column("ownership_code", Text),
    Column("extra", Text),
    Column("original_owner_id", Id),
    Column("processed_by_id", Id),
    Column("created_by_id", Id),
    Column("modified_by_id", Id),
    Column("modified_at", Instant),
    Column("status_at", Instant),
    Column("called_at", Instant),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("deactivated_at", Instant),
    Column("locked_by_id", Id),
    Column("locked_until", Instant),
    Column("segment_id", Id),
    Column("dial_rank", Integer),
    Column("dial_key", String(40)),
    Column("version", Integer, nullable=False, server_default="0"),
    Column("placed_version", Integer),
    Column("result_id", Integer),
    # With the lead's number, so that the leads of a pool are walked in order, and not sorted for each page. A partition
    # of PostgreSQL is of one campaign, which would only be one more thing to compare.
    Index(None, "campaign_id", "phone").ddl_if(dialect="sqlite"),
    Index(None, "campaign_id", "pool_id", "id").ddl_if(dialect="sqlite"),
    Index(None, "phone").ddl_if(dialect="postgresql"),
    Index(None, "pool_id", "id").ddl_if(dialect="postgresql"),
    postgresql_partition_by="LIST (campaign_id)",
)
"""One person or company to call. `row` is the record's number in its file, `extra` the template's fields as JSON.

What an import leaves empty costs a load nothing, so the columns from `original_owner_id` on are empty until somebody
works with the lead: no original owner is the owner, no `status_at` is the moment of the upload, no `dial_rank` the row.
`placed_version` is the version for which `segment_id` was worked out; none is 0, that of a lead nobody has changed.
`result_id` is the last status that people gave, where a rule, a list or anonymising gave another one since.
"""

# Whatever an import leaves empty is in none of these, so loading does not pay for them.
for _name, _columns in {
    "dial_key": ("campaign_id", "owner_id", "dial_key"),
    "scheduled_at": ("campaign_id", "scheduled_at"),
    "locked_until": ("campaign_id", "locked_until"),
    "status_at": ("campaign_id", "status_id", "status_at"),
    "segment_id": ("campaign_id", "segment_id", "owner_id", "dial_key"),
    "modified_at": ("campaign_id", "modified_at"),
    "called_at": ("campaign_id", "called_at"),
    "processed_by_id": ("campaign_id", "processed_by_id"),
    "deactivated_at": ("campaign_id", "deactivated_at"),
}.items():
    _given = leads.c[_name].is_not(None)
    _indexed = [leads.c[column] for column in _columns]
    Index(f"ix_leads_with_{_name}", *_indexed, sqlite_where=_given, postgresql_where=_given)

CHANGED_SINCE_PLACED = leads.c.version != func.coalesce(leads.c.placed_version, literal_column("0"))
"""Leads that somebody changed since their segment was worked out. Every change counts the version on, so whoever makes
one need not think of segments; and none is lost, in whatever order transactions end."""

Index(
    "ix_leads_changed_since_placed",
    leads.c.campaign_id,
    leads.c.id,
    sqlite_where=CHANGED_SINCE_PLACED,
    postgresql_where=CHANGED_SINCE_PLACED,
)

lead_numbers = Table(
    "lead_numbers",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("next", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="single"),
)
"""The next free lead number. Blocks are taken from it before loading, so the log can name every lead."""

do_not_call = Table(
    "do_not_call",
    metadata,
    Column("campaign_id", Id, primary_key=True, autoincrement=False),
    Column("phone", String(20).with_variant(String(20, "C"), "postgresql"), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("added_at", Instant, nullable=False),
)
"""Numbers nobody may call; campaign 0 is the global list. Not a foreign key for that reason."""

do_not_call_sequence = Table(
    "do_not_call_sequence",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="single"),
)
"""Grows with every change of a do-not-call list, so a load that screened against an older list is noticed."""
