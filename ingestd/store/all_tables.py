"""Every table, whichever module describes it: what migrations are held against."""

from __future__ import annotations

from ingestd.store import (
    access_tables,
    import_tables,
    lead_tables,
    mapping_tables,
    owner_change_tables,
    segment_tables,
    tables,
    view_tables,
    webhook_tables,
)

DESCRIBED_IN = (
    tables,
    access_tables,
    lead_tables,
    import_tables,
    mapping_tables,
    segment_tables,
    owner_change_tables,
    webhook_tables,
    view_tables,
)

metadata = tables.metadata
