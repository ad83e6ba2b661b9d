"""Imports by API: what a sender wants for one delivery alone, requests that may come twice, leads one by one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Deliveries that are there already were sent as their sources have it."""
    op.add_column("deliveries", sa.Column("default_owner", sa.String(80), nullable=True))
    op.add_column("deliveries", sa.Column("mapping", sa.Text(), nullable=True))
    op.create_table(
        "idempotency_keys",
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("delivery_id", _NUMBER, nullable=False),
        sa.Column("row", sa.Integer(), nullable=True),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("caller", "key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_expires_at", "idempotency_keys", ["expires_at"])
    _pushed_leads()


def _pushed_leads() -> None:
    op.create_table(
        "pushed_leads",
        sa.Column("delivery_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("row", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("pushed_at", _MOMENT, nullable=False),
        sa.Column("pushed_by", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("lead_id", _NUMBER, nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("fields", sa.Text(), nullable=True),
        sa.Column("problems", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], name="fk_pushed_leads_delivery_id_deliveries"),
        sa.PrimaryKeyConstraint("delivery_id", "row", name="pk_pushed_leads"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_pushed_leads_lead_id", "pushed_leads", ["lead_id"])
    op.create_index("ix_pushed_leads_phone", "pushed_leads", ["phone"])
