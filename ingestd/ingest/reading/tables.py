"""Tables: a delivery may hold its header again, or a second table under other columns; neither may pass for records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from ingestd.ingest.reading.assembly import header_like, header_need


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """Rows that repeat the header, and the rows that stand under another one; both in ascending order."""

    same: list[int]
    other: list[int]
    foreign: list[int]
    """good rows below another header"""


def find(cells: pl.DataFrame, rows: pl.Series, broken: list[int]) -> Repeats:
    """Looks for headers among the good records; `broken` are rejected rows that name columns of ours.

    Below a header of other columns every record is foreign, until ours comes again: a record of the other table may by
    chance have as many fields as ours, and its cells would stand under wrong names.
    """
    same: list[int] = []
    other: list[int] = []
    names = tuple(cells.columns)
    for index in _candidates(cells):
        record = cells.row(index)
        if [cell.strip().casefold() for cell in record] == [name.strip().casefold() for name in names]:
            same.append(int(rows[index]))
        elif header_like(list(record), names):
            other.append(int(rows[index]))
    switches = sorted([(row, True) for row in (*other, *broken)] + [(row, False) for row in same])
    return Repeats(same=same, other=other, foreign=_foreign(rows, switches, {*same, *other}))


def _foreign(rows: pl.Series, switches: list[tuple[int, bool]], headers: set[int]) -> list[int]:
    if not any(away for _, away in switches):
        return []
    numbers = rows.to_numpy()
    at = np.searchsorted(np.array([row for row, _ in switches]), numbers, side="right") - 1
    away = np.array([away for _, away in switches])
    below = numbers[(at >= 0) & away[np.maximum(at, 0)]]
    return [row for row in below.tolist() if row not in headers]


def _candidates(cells: pl.DataFrame) -> list[int]:
    """Records in which one of the first columns holds a name of ours: with fewer columns than these, half cannot."""
    names = tuple(cells.columns)
    known = sorted({spelled for name in names for spelled in (name, name.strip())})
    looked_at = cells.columns[: len(names) - header_need(names) + 1]
    return cells.select(pl.any_horizontal(pl.col(looked_at).is_in(known)).arg_true()).to_series().to_list()
