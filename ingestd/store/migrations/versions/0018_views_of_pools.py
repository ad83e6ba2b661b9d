"""Saved views of lead pools beside those of leads: each list has names of its own."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_KEPT = "id, owner_id, name, filter, columns, sort, everybody, team_id, changed_at, version"


def upgrade() -> None:
    """Views keep their numbers and stars. The table is a new one: SQLite changes no constraint of one that is there."""
    _views()
    op.execute(f"INSERT INTO saved_views ({_KEPT}, kind) SELECT {_KEPT}, 'leads' FROM lead_views")  # noqa: S608 - ours
    stars = [dict(row) for row in op.get_bind().execute(sa.text("SELECT user_id, view_id FROM view_stars")).mappings()]
    op.drop_table("view_stars")
    op.drop_table("lead_views")
    _stars(stars)
    if op.get_bind().dialect.name == "postgresql":
        key = "pg_get_serial_sequence('saved_views', 'id')"
        op.execute(f"SELECT setval({key}, coalesce(max(id), 0) + 1, false) FROM saved_views")  # noqa: S608 - ours


def _views() -> None:
    op.create_table(
        "saved_views",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("owner_id", _NUMBER, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("columns", sa.Text(), nullable=False),
        sa.Column("sort", sa.Text(), nullable=False),
        sa.Column("everybody", sa.Boolean(), nullable=False),
        sa.Column("team_id", _NUMBER, nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_saved_views_owner_id_users"),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name="fk_saved_views_team_id_teams"),
        sa.PrimaryKeyConstraint("id", name="pk_saved_views"),
        sa.UniqueConstraint("owner_id", "kind", "name", name="uq_saved_views_owner_id_kind_name"),
    )
    op.create_index("ix_saved_views_team_id", "saved_views", ["team_id"])


def _stars(given: list[dict[str, Any]]) -> None:
    made = op.create_table(
        "view_stars",
        sa.Column("user_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("view_id", _NUMBER, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_view_stars_user_id_users"),
        sa.ForeignKeyConstraint(["view_id"], ["saved_views.id"], name="fk_view_stars_view_id_saved_views"),
        sa.PrimaryKeyConstraint("user_id", "view_id", name="pk_view_stars"),
    )
    op.create_index("ix_view_stars_view_id", "view_stars", ["view_id"])
    op.bulk_insert(made, given)
