"""Saved views, and indexes for looking at leads: those of a pool in order, and those that somebody worked with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """On a large store the index of pools is built anew for some minutes."""
    op.drop_index("ix_leads_campaign_id_pool_id", "leads")
    op.create_index("ix_leads_campaign_id_pool_id_id", "leads", ["campaign_id", "pool_id", "id"])
    for name in ("modified_at", "called_at", "processed_by_id", "deactivated_at"):
        given = sa.text(f"{name} IS NOT NULL")
        columns = ["campaign_id", name]
        op.create_index(f"ix_leads_with_{name}", "leads", columns, sqlite_where=given, postgresql_where=given)
    _views()


def _views() -> None:
    op.create_table(
        "lead_views",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("owner_id", _NUMBER, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("columns", sa.Text(), nullable=False),
        sa.Column("sort", sa.Text(), nullable=False),
        sa.Column("everybody", sa.Boolean(), nullable=False),
        sa.Column("team_id", _NUMBER, nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_lead_views_owner_id_users"),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name="fk_lead_views_team_id_teams"),
        sa.PrimaryKeyConstraint("id", name="pk_lead_views"),
        sa.UniqueConstraint("owner_id", "name", name="uq_lead_views_owner_id_name"),
    )
    op.create_index("ix_lead_views_team_id", "lead_views", ["team_id"])
    op.create_table(
        "view_stars",
        sa.Column("user_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("view_id", _NUMBER, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_view_stars_user_id_users"),
        sa.ForeignKeyConstraint(["view_id"], ["lead_views.id"], name="fk_view_stars_view_id_lead_views"),
        sa.PrimaryKeyConstraint("user_id", "view_id", name="pk_view_stars"),
    )
    op.create_index("ix_view_stars_view_id", "view_stars", ["view_id"])
