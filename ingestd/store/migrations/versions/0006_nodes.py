"""Nodes: the daemons on this store, what they do, and the results that each still has to hand back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Makes the tables, and room for the node that received a delivery."""
    op.add_column("deliveries", sa.Column("node_id", _NUMBER, nullable=True))
    op.create_table(
        "nodes",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("home", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("results", sa.Boolean(), nullable=False),
        sa.Column("since", _MOMENT, nullable=False),
        sa.Column("beat_at", _MOMENT, nullable=False),
        sa.Column("ended_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nodes")),
        sa.UniqueConstraint("home", name=op.f("uq_nodes_home")),
        sa.UniqueConstraint("name", name=op.f("uq_nodes_name")),
    )
    op.create_table(
        "node_processes",
        sa.Column("node_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("since", _MOMENT, nullable=False),
        sa.Column("beat_at", _MOMENT, nullable=False),
        sa.Column("doing", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name=op.f("fk_node_processes_node_id_nodes")),
        sa.PrimaryKeyConstraint("node_id", "name", name=op.f("pk_node_processes")),
    )
    op.create_table(
        "results_due",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("node_id", _NUMBER, nullable=False),
        sa.Column("delivery_id", _NUMBER, nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name=op.f("fk_results_due_node_id_nodes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_results_due")),
    )
    op.create_index(op.f("ix_results_due_node_id_id"), "results_due", ["node_id", "id"])
