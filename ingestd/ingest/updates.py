"""Updates: what records say of leads that are there is written, on top of what others have written meanwhile."""

from __future__ import annotations

import polars as pl
from sqlalchemy import Connection

from ingestd.ingest import comparing
from ingestd.store import updating


def write(connection: Connection, updates: pl.DataFrame, campaign_id: int) -> None:
    """Writes the updates of a screening whose fence was passed.

    A lead that somebody changed since then keeps what the record does not change.
    """
    moved = updating.update_leads(connection, comparing.written(updates), campaign_id)
    if moved.is_empty():
        return
    compared = tuple(comparing.columns(updates))
    there = updating.held(connection, campaign_id, moved, compared)
    again = comparing.rebased(updates.filter(pl.col("id").is_in(moved.implode())), there)
    left = updating.update_leads(connection, comparing.written(again), campaign_id)
    assert left.is_empty(), "a lead that is held cannot change by other hands"
