"""Segments: groups, filters, and how far the leads have been put into them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """The order of dialling is made anew by whoever dials next."""
    _groups()
    _segments()
    _progress()
    _leads()
    op.drop_table("dial_stages")
    op.create_table(
        "dial_stages",
        sa.Column("campaign_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("owner_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("segment_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("load_sequence", sa.BigInteger(), nullable=False),
        sa.Column("last_key", sa.String(40), nullable=True),
        sa.PrimaryKeyConstraint("campaign_id", "owner_id", "segment_id", name="pk_dial_stages"),
    )


def _signed() -> list[sa.Column[object]]:
    return [
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("modified_by", sa.Text(), nullable=False),
        sa.Column("modified_at", _MOMENT, nullable=False),
    ]


def _groups() -> None:
    op.create_table(
        "segment_groups",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("project_id", _NUMBER, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        *_signed(),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_segment_groups_project_id_projects"),
        sa.PrimaryKeyConstraint("id", name="pk_segment_groups"),
        sa.UniqueConstraint("project_id", "name", name="uq_segment_groups_project_id_name"),
        sqlite_autoincrement=True,
    )


def _segments() -> None:
    op.create_table(
        "segments",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("group_id", _NUMBER, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("fields", sa.Text(), nullable=False),
        *_signed(),
        sa.ForeignKeyConstraint(["group_id"], ["segment_groups.id"], name="fk_segments_group_id_segment_groups"),
        sa.PrimaryKeyConstraint("id", name="pk_segments"),
        sa.UniqueConstraint("group_id", "name", name="uq_segments_group_id_name"),
        sqlite_autoincrement=True,
    )


def _progress() -> None:
    op.create_table(
        "segment_progress",
        sa.Column("campaign_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("meaning", sa.String(64), nullable=False),
        sa.Column("seen", sa.String(32), nullable=False),
        sa.Column("last_lead", sa.BigInteger(), nullable=True),
        sa.Column("placed", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("total", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name="fk_segment_progress_campaign_id_campaigns"),
        sa.PrimaryKeyConstraint("campaign_id", name="pk_segment_progress"),
    )
    op.create_table(
        "segment_arrivals",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("campaign_id", _NUMBER, nullable=False),
        sa.Column("first_lead", sa.BigInteger(), nullable=False),
        sa.Column("last_lead", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_segment_arrivals"),
    )
    op.create_index("ix_segment_arrivals_campaign_id_id", "segment_arrivals", ["campaign_id", "id"])


def _leads() -> None:
    op.add_column("leads", sa.Column("placed_version", sa.Integer(), nullable=True))
    given = sa.text("segment_id IS NOT NULL")
    indexed = ["campaign_id", "segment_id", "owner_id", "dial_key"]
    op.create_index("ix_leads_with_segment_id", "leads", indexed, sqlite_where=given, postgresql_where=given)
    changed = sa.text("version != coalesce(placed_version, 0)")
    index = "ix_leads_changed_since_placed"
    op.create_index(index, "leads", ["campaign_id", "id"], sqlite_where=changed, postgresql_where=changed)
