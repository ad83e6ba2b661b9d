"""Companions: what partners say about their files in other files."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table of companions, and room for the number of records that a companion announces."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("deliveries", sa.Column("expected_records", sa.Integer(), nullable=True))
    op.create_table(
        "companions",
        sa.Column("id", number, autoincrement=True, nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("value", sa.String(length=64), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("delivery_id", number, nullable=True),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], name=op.f("fk_companions_delivery_id_deliveries")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_companions")),
    )
    op.create_index(op.f("ix_companions_source_folder_name"), "companions", ["source", "folder", "name"])
