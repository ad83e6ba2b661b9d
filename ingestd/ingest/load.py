"""Load: one transaction that inserts and updates leads, counts, signs the receipt and ends the delivery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from ingestd.ingest.lookup import looked_up, repeated
from ingestd.ingest.parallel import MANY, by_parts
from ingestd.store import loading

_MOST_DIGITS = 15  # of a number in E.164
_PADDING = pl.Series([10 ** (_MOST_DIGITS - size) for size in range(_MOST_DIGITS + 1)], dtype=pl.Int64)


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where new leads go."""

    campaign_id: int
    pool_id: int
    statuses: Mapping[str, int]
    """status code → its number"""


def pack_extra(frame: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """The campaign's own fields as one JSON text `extra`, null where all of them are empty."""
    if not names:
        return frame
    packed = pl.struct(names).struct.json_encode()
    empty = pl.all_horizontal(pl.col(name).is_null() for name in names)
    extra = pl.when(~empty).then(packed).alias("extra")
    return frame.drop(names).hstack(by_parts(lambda part: part.select(extra), frame.select(names)))


def number(new: pl.DataFrame, first: int) -> pl.DataFrame:
    """The new records with lead numbers as `id`, given in the order of their phones; the frame keeps the file's order.

    Inserted by number, both indexes of the table are then walked from left to right instead of jumped about in
    (READING.md: half the time at 10 million leads). The order of the file is kept in `row`.
    """
    place = _order(new["phone"]).rank("ordinal").cast(pl.Int64)
    return new.with_columns((place + (first - 1)).alias("id"))


def _order(phones: pl.Series) -> pl.Series:
    """What has the order of these texts. Many, and all in E.164, are ranked as numbers: a third of the time."""
    if phones.len() < MANY:
        return phones
    digits = phones.str.strip_prefix("+")
    sizes = digits.str.len_bytes()
    numbers = digits.cast(pl.Int64, strict=False)
    signed = digits.str.starts_with("+") | digits.str.starts_with("-")
    e164 = (phones.str.len_bytes() == sizes + 1) & (sizes <= _MOST_DIGITS) & numbers.is_not_null() & ~signed
    if not e164.all():
        return phones
    return numbers * _PADDING.gather(sizes) * (_MOST_DIGITS + 1) + sizes


def lead_frame(new: pl.DataFrame, target: Target) -> pl.DataFrame:
    """The numbered new records as rows of the table of leads, with the columns that the file has."""
    same = {"campaign_id": target.campaign_id, "pool_id": target.pool_id}
    added = [repeated(value, new.height, pl.Int64).alias(name) for name, value in same.items()]
    status = looked_up(new["status"], target.statuses, pl.Int32).alias("status_id")
    assert not status.has_nulls(), "a record has a status that the store does not know"
    given = {column.name: column for column in (*new.get_columns(), *added, status)}
    return pl.DataFrame([given[name] for name in loading.LEAD_COLUMNS if name in given])
