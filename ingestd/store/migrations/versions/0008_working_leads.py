"""What happens to a lead after its import: owners, locks, attempts, changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Adds the columns; on PostgreSQL every partition gets them."""
    for name in ("original_owner_id", "processed_by_id", "created_by_id", "modified_by_id"):
        op.add_column("leads", sa.Column(name, _NUMBER, nullable=True))
    for name in ("modified_at", "status_at", "called_at"):
        op.add_column("leads", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.add_column("leads", sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("leads", sa.Column("deactivated_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("leads", sa.Column("locked_by_id", _NUMBER, nullable=True))
    op.add_column("leads", sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("leads", sa.Column("segment_id", _NUMBER, nullable=True))
    op.add_column("leads", sa.Column("dial_rank", sa.Integer(), nullable=True))
    op.add_column("leads", sa.Column("version", sa.Integer(), nullable=False, server_default="0"))
