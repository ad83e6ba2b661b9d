"""What statuses do to their leads, the history of every lead, and who may call in a campaign."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """The statuses get their rules from the configuration at the next start."""
    _statuses()
    _history()
    _dialling()
    op.create_table(
        "erasures",
        sa.Column("delivery_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("lead_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("by_id", _NUMBER, nullable=False),
        sa.Column("rows", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], name="fk_erasures_delivery_id_deliveries"),
        sa.PrimaryKeyConstraint("delivery_id", "lead_id", "at", name="pk_erasures"),
    )
    op.create_table(
        "campaign_access",
        sa.Column("campaign_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("owner_id", _NUMBER, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name="fk_campaign_access_campaign_id_campaigns"),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name="fk_campaign_access_owner_id_owners"),
        sa.PrimaryKeyConstraint("campaign_id", "owner_id", name="pk_campaign_access"),
    )


def _statuses() -> None:
    op.add_column("statuses", sa.Column("set_by", sa.String(8), nullable=False, server_default="anyone"))
    op.add_column("statuses", sa.Column("may_become", sa.Text(), nullable=False, server_default="[]"))
    for name in ("counts_attempt", "takes_owner", "gives_back", "outlives_pool", "kept_for_caller"):
        op.add_column("statuses", sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("statuses", sa.Column("after_days", sa.Integer(), nullable=True))
    op.add_column("statuses", sa.Column("then", sa.String(64), nullable=True))


def _history() -> None:
    op.create_table(
        "lead_events",
        sa.Column("campaign_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("lead_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("field", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("by_id", _NUMBER, nullable=True),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.Column("why", sa.Text(), nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("campaign_id", "lead_id", "version", "field", name="pk_lead_events"),
        sqlite_with_rowid=False,
    )


def _dialling() -> None:
    """The order of dialling, and indexes of what imports leave empty."""
    op.add_column("leads", sa.Column("dial_key", sa.String(40), nullable=True))
    indexed = {
        "dial_key": ["campaign_id", "owner_id", "dial_key"],
        "scheduled_at": ["campaign_id", "scheduled_at"],
        "locked_until": ["campaign_id", "locked_until"],
        "status_at": ["campaign_id", "status_id", "status_at"],
    }
    for name, columns in indexed.items():
        given = sa.text(f"{name} IS NOT NULL")
        op.create_index(f"ix_leads_with_{name}", "leads", columns, sqlite_where=given, postgresql_where=given)
    op.create_table(
        "dial_stages",
        sa.Column("campaign_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("owner_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("load_sequence", sa.BigInteger(), nullable=False),
        sa.Column("last_key", sa.String(40), nullable=True),
        sa.PrimaryKeyConstraint("campaign_id", "owner_id", name="pk_dial_stages"),
    )
    op.add_column("campaigns", sa.Column("expired_sequence", sa.BigInteger(), nullable=True))
    op.add_column("campaigns", sa.Column("limited_attempts", sa.Integer(), nullable=True))
