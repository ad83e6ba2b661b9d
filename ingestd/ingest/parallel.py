"""Work on the parts of a large file by several threads: numpy and polars let others run while they count."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import polars as pl

S = TypeVar("S")
T = TypeVar("T")

MOST = 4
"""threads; beyond that they wait for each other's Python"""

MANY = 10_000
"""rows from which it is worth it: to have threads, and polars' own, meet each other takes longer than fewer"""


def in_parallel(work: Callable[[S], T], parts: Sequence[S], *, worth_it: bool) -> list[T]:
    """What `work` makes of each part, in the order of the parts; one after the other when threads are not worth it."""
    threads = min(_threads(), len(parts))
    if not worth_it or threads < 2:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(threads, "parts") as pool:
        return list(pool.map(work, parts))


def by_parts(work: Callable[[pl.DataFrame], pl.DataFrame], frame: pl.DataFrame) -> pl.DataFrame:
    """`work(frame)`, of a long frame done to its parts side by side; for what treats each row by itself."""
    parts = list(frame.iter_slices(max(MANY, -(-frame.height // _threads())))) or [frame]
    return pl.concat(in_parallel(work, parts, worth_it=len(parts) > 1), rechunk=True)


def _threads() -> int:
    return min(MOST, len(os.sched_getaffinity(0)))


def select(frame: pl.DataFrame, *columns: pl.Expr) -> pl.DataFrame:
    """`frame.select`, with the columns side by side only where there are many rows."""
    return frame.select(columns) if frame.height > MANY else frame.select_seq(columns)
