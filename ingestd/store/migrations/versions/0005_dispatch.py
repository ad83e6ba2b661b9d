"""Dispatch: each source in the line once; on PostgreSQL the line is procrastinate's."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

PROCRASTINATE = Path(__file__).parents[1] / "procrastinate_3_10.sql"
"""The schema of the library as it was then. A later version of it comes with a migration of its own; the test of the
migrations says when that is due."""


def upgrade() -> None:
    """Makes the line anew; every daemon gives the sources their places in it when it starts."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.drop_table("jobs")
    op.create_table(
        "jobs",
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("delivery_id", number, nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.CheckConstraint("state in ('ready', 'running')", name=op.f("ck_jobs_state")),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], name=op.f("fk_jobs_delivery_id_deliveries")),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_jobs")),
    )
    unpublished = sa.text("published_at IS NULL")
    op.create_index(
        "ix_deliveries_unpublished_source",
        "deliveries",
        ["source", "id"],
        sqlite_where=unpublished,
        postgresql_where=unpublished,
    )
    if op.get_bind().dialect.name == "postgresql":
        # To the driver itself: many statements at once, whose percent signs are no parameters.
        op.get_bind().connection.cursor().execute(PROCRASTINATE.read_text(encoding="utf-8"))
