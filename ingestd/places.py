"""Putting rows in their places by number, in a tenth of the time of sorting them."""

from __future__ import annotations

import numpy as np
import polars as pl


def places(numbers: pl.Series, count: int) -> pl.Series:
    """Where each of the numbers 0 to `count` - 1 stands among `numbers`.

    One that is not among them stands past the end, so that taking it raises instead of giving what is another's.
    """
    found = np.full(count, numbers.len(), np.uint32)
    found[numbers.to_numpy()] = np.arange(numbers.len(), dtype=np.uint32)
    return pl.Series(found)
