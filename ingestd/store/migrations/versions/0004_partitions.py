"""Leads in one partition a campaign, on PostgreSQL (DESIGN.md, "Beyond one PostgreSQL")."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NAMES = ("pk_leads", "ix_leads_campaign_id_phone", "ix_leads_campaign_id_pool_id")


def upgrade() -> None:
    """Moves the leads that are there into partitions; SQLite keeps its one table."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute("ALTER TABLE leads RENAME TO leads_before")
    for name in _NAMES:
        op.execute(f"ALTER INDEX {name} RENAME TO {name}_before")
    op.execute(
        "CREATE TABLE leads (LIKE leads_before INCLUDING DEFAULTS, CONSTRAINT pk_leads PRIMARY KEY (campaign_id, id)) "
        "PARTITION BY LIST (campaign_id)"
    )
    op.create_index("ix_leads_campaign_id_phone", "leads", ["campaign_id", "phone"])
    op.create_index("ix_leads_campaign_id_pool_id", "leads", ["campaign_id", "pool_id"])
    campaigns = op.get_bind().scalars(sa.text("SELECT DISTINCT campaign_id FROM leads_before")).all()
    for campaign in campaigns:
        op.execute(f"CREATE TABLE leads_c{campaign:d} PARTITION OF leads FOR VALUES IN ({campaign:d})")
    op.execute("INSERT INTO leads SELECT * FROM leads_before ORDER BY campaign_id, id")
    op.execute("DROP TABLE leads_before")
