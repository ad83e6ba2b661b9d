"""What people said last of a lead that a rule or a list has closed, so that its pool's figures keep it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_COLUMNS = "(pool_id, status_id, result_id, called, deactivated, leads, attempts)"


def _called(row: str) -> str:
    return f"({row}.attempts > 0 OR {row}.called_at IS NOT NULL)"


def _kind(row: str) -> str:
    return f"{row}.pool_id, {row}.status_id, {row}.result_id, {_called(row)}, {row}.deactivated_at IS NOT NULL"


_GONE = f"({_kind('old')}, -1, -old.attempts)"
_COME = f"({_kind('new')}, 1, new.attempts)"
_CHANGED = """(old.pool_id <> new.pool_id OR old.status_id <> new.status_id OR old.attempts <> new.attempts
 OR coalesce(old.result_id, 0) <> coalesce(new.result_id, 0)
 OR (old.called_at IS NULL) <> (new.called_at IS NULL)
 OR (old.deactivated_at IS NULL) <> (new.deactivated_at IS NULL))"""
_COUNTED = "pool_id, status_id, result_id, attempts, called_at, deactivated_at"


def upgrade() -> None:
    """Adds what is empty, so that no row is written anew, and counts calls without an attempt as calls."""
    op.add_column("leads", sa.Column("result_id", sa.Integer()))
    op.add_column("pool_counts", sa.Column("result_id", sa.Integer()))
    for called, sign in (("false", "-"), ("true", "")):  # found by the index of leads that were called
        op.execute(f"""INSERT INTO pool_counts (pool_id, status_id, called, deactivated, leads, attempts)
            SELECT pool_id, status_id, {called}, deactivated_at IS NOT NULL, {sign}count(*), 0
            FROM leads WHERE called_at IS NOT NULL AND attempts = 0 GROUP BY 1, 2, 4""")  # noqa: S608 - our columns
    if op.get_bind().dialect.name == "postgresql":
        _on_postgresql()
    else:
        _on_sqlite()


def _on_sqlite() -> None:
    op.execute("DROP TRIGGER leads_changed_counts")
    op.execute("DROP TRIGGER leads_deleted_counts")
    op.execute(f"""CREATE TRIGGER leads_changed_counts AFTER UPDATE OF {_COUNTED} ON leads WHEN {_CHANGED}
        BEGIN INSERT INTO pool_counts {_COLUMNS} VALUES {_GONE}, {_COME}; END""")  # noqa: S608 - our columns
    op.execute(f"""CREATE TRIGGER leads_deleted_counts AFTER DELETE ON leads
        BEGIN INSERT INTO pool_counts {_COLUMNS} VALUES {_GONE}; END""")  # noqa: S608 - our columns


def _on_postgresql() -> None:
    """The triggers of the partitions go and come with those of their table."""
    for name, values in (("changed", f"{_GONE}, {_COME}"), ("deleted", _GONE)):
        op.execute(f"""CREATE OR REPLACE FUNCTION leads_{name}_counts() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO pool_counts {_COLUMNS} VALUES {values}; RETURN NULL; END $$""")  # noqa: S608 - our columns
    op.execute("DROP TRIGGER leads_changed_counts ON leads")
    op.execute(f"""CREATE TRIGGER leads_changed_counts AFTER UPDATE OF {_COUNTED} ON leads FOR EACH ROW
        WHEN {_CHANGED} EXECUTE FUNCTION leads_changed_counts()""")
