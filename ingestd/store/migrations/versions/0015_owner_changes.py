"""Change Owner as something that is asked for, goes on by itself and can be looked at."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Makes the tables."""
    _changes()
    op.create_table(
        "owner_change_parts",
        sa.Column("change_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("first_lead", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("leads", sa.Text(), nullable=False),
        _to("owner_change_parts", "change_id", "owner_changes"),
        sa.PrimaryKeyConstraint("change_id", "first_lead", name="pk_owner_change_parts"),
    )
    op.create_table(
        "owner_change_results",
        sa.Column("change_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("lead_id", _NUMBER, autoincrement=False, nullable=False),
        _to("owner_change_results", "change_id", "owner_changes"),
        sa.PrimaryKeyConstraint("change_id", "outcome", "lead_id", name="pk_owner_change_results"),
        sqlite_with_rowid=False,
    )


def _changes() -> None:
    op.create_table(
        "owner_changes",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("to_id", _NUMBER, nullable=False),
        sa.Column("by_id", _NUMBER, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("key_id", sa.String(16), nullable=True),
        sa.Column("permissions", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Boolean(), nullable=False) for name in ("retain", "unlock", "deactivated")),
        sa.Column("filter", sa.Text(), nullable=True),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("after_campaign", _NUMBER, nullable=False, server_default=sa.text("0")),
        sa.Column("after_lead", _NUMBER, nullable=False, server_default=sa.text("0")),
        sa.Column("moved", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("refused", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("problem", sa.Text(), nullable=False, server_default=""),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("ended_at", _MOMENT, nullable=True),
        _to("owner_changes", "to_id", "owners"),
        _to("owner_changes", "by_id", "users"),
        sa.PrimaryKeyConstraint("id", name="pk_owner_changes"),
    )
    waiting = sa.text("ended_at IS NULL")
    op.create_index("ix_owner_changes_waiting", "owner_changes", ["id"], sqlite_where=waiting, postgresql_where=waiting)


def _to(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=f"fk_{table}_{column}_{other}")
