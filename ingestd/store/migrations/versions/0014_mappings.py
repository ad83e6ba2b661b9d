"""Mappings have versions; a delivery may have one of its own, waits for a confirmation, and is run again."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """The mapping that a source has now is its first version."""
    made = op.create_table(
        "mapping_versions",
        sa.Column("source_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("mapping", sa.Text(), nullable=False),
        sa.Column("saved_at", _INSTANT, nullable=False),
        sa.Column("saved_by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False, server_default=""),
        sa.ForeignKeyConstraint(["source_id"], ["sources.id"], name=op.f("fk_mapping_versions_source_id_sources")),
        sa.PrimaryKeyConstraint("source_id", "version", name=op.f("pk_mapping_versions")),
    )
    moment = datetime.now(UTC)
    for number, definition in op.get_bind().execute(sa.text("SELECT id, definition FROM sources")).all():
        mapping = json.dumps(json.loads(definition).get("mapping", {}), ensure_ascii=False)
        facts = {"source_id": number, "version": 1, "mapping": mapping, "saved_at": moment}
        op.execute(made.insert().values(**facts, saved_by="configuration"))
    op.add_column("deliveries", sa.Column("mapping_version", sa.Integer(), nullable=True))
    op.add_column("deliveries", sa.Column("confirmed_at", _INSTANT, nullable=True))
    op.add_column("deliveries", sa.Column("rerun_of", _NUMBER, nullable=True))
