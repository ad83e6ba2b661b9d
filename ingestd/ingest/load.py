"""Load: one transaction that inserts and updates leads, counts, signs the receipt and ends the delivery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from ingestd.store import loading
from ingestd.store.tables import leads


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where new leads go."""

    campaign_id: int
    pool_id: int
    first_number: int
    statuses: Mapping[str, int]
    """status code → its number"""


def pack_extra(frame: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """The campaign's own fields as one JSON text `extra`, null where all of them are empty."""
    if not names:
        return frame
    packed = pl.struct(names).struct.json_encode()
    empty = pl.all_horizontal(pl.col(name).is_null() for name in names)
    return frame.with_columns(pl.when(~empty).then(packed).alias("extra")).drop(names)


def lead_frame(new: pl.DataFrame, target: Target) -> pl.DataFrame:
    """The new records as rows of the table of leads, sorted by number so that the index grows at few places."""
    status = pl.col("status").replace_strict(dict(target.statuses), return_dtype=pl.Int32)
    given = new.with_columns(
        pl.lit(target.campaign_id, dtype=pl.Int64).alias("campaign_id"),
        pl.lit(target.pool_id, dtype=pl.Int64).alias("pool_id"),
        (pl.int_range(pl.len(), dtype=pl.Int64) + target.first_number).alias("id"),
        status.alias("status_id"),
    )
    absent = {column.name: pl.lit(None) for column in leads.columns if column.name not in given.columns}
    return given.with_columns(**absent).select(loading.LEAD_COLUMNS)
