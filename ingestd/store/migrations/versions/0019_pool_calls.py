"""Calls of each pool by day, so that lists of pools show how they are worked with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_SHOWN = timedelta(days=14)
_DAY = {"sqlite": "date(calls.at)", "postgresql": "(calls.at AT TIME ZONE 'UTC')::date"}


def upgrade() -> None:
    """Counts the calls of the last two weeks, which are all that is shown; later ones are counted as they end."""
    made = op.create_table(
        "pool_calls",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("pool_id", _NUMBER, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pool_calls"),
    )
    op.create_index("ix_pool_calls_pool_id_day", made.name, ["pool_id", "day"])
    connection = op.get_bind()
    query = sa.text(f"""INSERT INTO pool_calls (pool_id, day, calls)
        SELECT leads.pool_id, {_DAY[connection.dialect.name]}, count(*)
        FROM (SELECT DISTINCT campaign_id, lead_id, version, at FROM lead_events
              WHERE kind = 'call' AND at >= :since) AS calls
        JOIN leads ON leads.campaign_id = calls.campaign_id AND leads.id = calls.lead_id
        GROUP BY 1, 2""")  # noqa: S608 - ours
    since = sa.bindparam("since", type_=sa.DateTime(timezone=True))
    connection.execute(query.bindparams(since), {"since": datetime.now(UTC) - _SHOWN})
