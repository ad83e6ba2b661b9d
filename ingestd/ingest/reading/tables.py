"""Tables: a delivery may hold its header again, or a second table under other columns; neither may pass for records."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from ingestd.ingest.parallel import MANY
from ingestd.ingest.reading.assembly import BOM, compared, header_like, header_need, known_names

Numbers = npt.NDArray[np.int64]

TOGETHER = 65_536
"""Cells that are compared with the names in one go, where a column has fewer."""


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
    own = [compared(name) for name in names]
    for index in _candidates(cells, names).tolist():
        record = cells.row(index)
        if [compared(cell) for cell in record] == own:
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
    known = sorted({spelled for name in names for spelled in (name, name.strip(), BOM + name, f'{BOM}"{name}"')})
    looked_at = cells.columns[: len(names) - header_need(names) + 1]
    # Nearly always there is none, and of many records that is told sooner with the columns side by side.
    if cells.height > MANY and not any(cells.select(pl.col(looked_at).is_in(known).any()).row(0)):
        return np.empty(0, np.int64)
    # Short columns in one go: for each look the names are made into a set, and the work would grow with their square.
    at_once = max(1, TOGETHER // max(1, cells.height))
    parts = [looked_at[at : at + at_once] for at in range(0, len(looked_at), at_once)]
    found = [pl.concat([cells[name] for name in part]).is_in(known).arg_true() for part in parts]
    return np.unique(np.concatenate([hits.to_numpy() % max(1, cells.height) for hits in found])).astype(np.int64)
