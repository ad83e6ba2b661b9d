"""The totals of lead pools, kept by the database itself whenever a lead changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_COLUMNS = "(pool_id, status_id, called, deactivated, leads, attempts)"
_GONE = "(old.pool_id, old.status_id, old.attempts > 0, old.deactivated_at IS NOT NULL, -1, -old.attempts)"
_COME = "(new.pool_id, new.status_id, new.attempts > 0, new.deactivated_at IS NOT NULL, 1, new.attempts)"
_CHANGED = """(old.pool_id <> new.pool_id OR old.status_id <> new.status_id OR old.attempts <> new.attempts
 OR (old.deactivated_at IS NULL) <> (new.deactivated_at IS NULL))"""
_COUNTED = "pool_id, status_id, attempts, deactivated_at"


def upgrade() -> None:
    """Counts the leads that are there, and has every later change counted."""
    op.create_table(
        "pool_counts",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("pool_id", _NUMBER, nullable=False),
        sa.Column("status_id", sa.Integer(), nullable=False),
        sa.Column("called", sa.Boolean(), nullable=False),
        sa.Column("deactivated", sa.Boolean(), nullable=False),
        sa.Column("leads", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pool_counts"),
    )
    op.create_index("ix_pool_counts_pool_id", "pool_counts", ["pool_id"])
    op.execute(f"""INSERT INTO pool_counts {_COLUMNS}
        SELECT pool_id, status_id, attempts > 0, deactivated_at IS NOT NULL, count(*), sum(attempts)
        FROM leads GROUP BY 1, 2, 3, 4""")  # noqa: S608 - our columns
    if op.get_bind().dialect.name == "postgresql":
        _on_postgresql()
    else:
        _on_sqlite()


def _on_sqlite() -> None:
    op.execute(f"""CREATE TRIGGER leads_changed_counts AFTER UPDATE OF {_COUNTED} ON leads WHEN {_CHANGED}
        BEGIN INSERT INTO pool_counts {_COLUMNS} VALUES {_GONE}, {_COME}; END""")  # noqa: S608 - our columns
    op.execute(f"""CREATE TRIGGER leads_deleted_counts AFTER DELETE ON leads
        BEGIN INSERT INTO pool_counts {_COLUMNS} VALUES {_GONE}; END""")  # noqa: S608 - our columns


def _on_postgresql() -> None:
    """Partitions made later get the triggers of their table when they become a part of it."""
    for name, values in (("changed", f"{_GONE}, {_COME}"), ("deleted", _GONE)):
        op.execute(f"""CREATE FUNCTION leads_{name}_counts() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO pool_counts {_COLUMNS} VALUES {values}; RETURN NULL; END $$""")  # noqa: S608 - our columns
    op.execute(f"""CREATE TRIGGER leads_changed_counts AFTER UPDATE OF {_COUNTED} ON leads FOR EACH ROW
        WHEN {_CHANGED} EXECUTE FUNCTION leads_changed_counts()""")
    op.execute("""CREATE TRIGGER leads_deleted_counts AFTER DELETE ON leads FOR EACH ROW
        EXECUTE FUNCTION leads_deleted_counts()""")
