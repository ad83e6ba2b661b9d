"""Tables: a delivery may hold its header again, or a second table under other columns; neither may pass for records."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from ingestd.ingest.parallel import select
from ingestd.ingest.reading.assembly import header_like, header_need, known_names

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """Rows that repeat the header, and the rows that stand under another one; both in ascending order."""

    same: Numbers
    other: Numbers
    foreign: Numbers
    """good rows below another header"""


def find(cells: pl.DataFrame, names: tuple[str, ...], rows: pl.Series, broken: Numbers) -> Repeats:
    """Looks for headers among the good records; `broken` are rejected rows that name columns of ours.

    Below a header of other columns every record is foreign, until ours comes again: a record of the other table may by
    chance have as many fields as ours, and its cells would stand under wrong names.
    """
    same, other = array("q"), array("q")
    known = known_names(names)
    own = [name.strip().casefold() for name in names]
    for index in _candidates(cells, names).tolist():
        record = cells.row(index)
        if [cell.strip().casefold() for cell in record] == own:
            same.append(int(rows[index]))
        elif header_like(list(record), names, known):
            other.append(int(rows[index]))
    ours, others = np.array(same, np.int64), np.array(other, np.int64)
    return Repeats(same=ours, other=others, foreign=_foreign(rows, ours, others, broken))


def _foreign(rows: pl.Series, ours: Numbers, others: Numbers, broken: Numbers) -> Numbers:
    """The rows below a header of `others` or a `broken` one, which are no headers themselves."""
    away = np.concatenate((others, broken))
    if not len(away):
        return away
    switches = np.concatenate((away, ours))
    order = np.argsort(switches)
    numbers = rows.to_numpy().astype(np.int64)
    at = np.searchsorted(switches[order], numbers, side="right") - 1
    below = numbers[(at >= 0) & (order < len(away))[np.maximum(at, 0)]]
    return np.setdiff1d(below, np.concatenate((ours, others)), assume_unique=True)


def _candidates(cells: pl.DataFrame, names: tuple[str, ...]) -> Numbers:
    """Records in which one of the first columns holds a name of ours: with fewer columns than these, half cannot."""
    known = sorted({spelled for name in names for spelled in (name, name.strip())})
    looked_at = cells.columns[: len(names) - header_need(names) + 1]
    if not any(select(cells, pl.col(looked_at).is_in(known).any()).row(0)):  # nearly always, and quicker told
        return np.empty(0, np.int64)
    return (
        cells.select(pl.any_horizontal(pl.col(looked_at).is_in(known)).arg_true())
        .to_series()
        .to_numpy()
        .astype(np.int64)
    )
