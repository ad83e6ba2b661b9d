"""Where the files of a store are, so that a wrong setting is not taken for files that were lost."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Notes that the files of a store that was in use are in its home; a new one decides at its first start."""
    op.add_column("identity", sa.Column("storage", sa.Text(), nullable=True))
    op.execute("UPDATE identity SET storage = ''")
