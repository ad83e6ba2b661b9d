"""The order of dialling is made anew once: leads that were held while it was made had lost their place."""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forgets how far the order goes, not the order: the next agent of each campaign has the missing leads put in."""
    op.execute("DELETE FROM dial_stages")
