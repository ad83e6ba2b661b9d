"""Cells in which a program has written a telephone number as an amount: `1512345678.0`, `1.512345678E9`.

To libphonenumber the point is a separator and the last 0 one more digit, so it finds another number, which is often in
use: that of a stranger. What the number was before cannot be told either, because amounts have no leading zeros.
"""

from __future__ import annotations

import polars as pl

IS_AN_AMOUNT = "phone_is_a_number"
"""The reason why such a cell gives no number to dial; beside those of `reference.REASONS`."""

# Six digits before the point at least: some write phones like 20.000000. With a 0 in front it was never an amount.
_AMOUNT = r"\A[+-]?(?:[1-9][0-9]{5,}\.0+|[0-9]{1,3}(?:[.,][0-9]+)?[eE][+-]?[0-9]{1,2})\z"
_ENDS_LIKE_ONE = r"(?m)(?:\.0+|[eE][+-]?[0-9]{1,2})$"


def written(numbers: pl.Series) -> pl.Series | None:
    """Which of the cells hold an amount, null for null; None where no cell does, as nearly always."""
    # All cells in one text: one look at it takes a third of the time of a look at each of them.
    if not numbers.str.join("\n").str.contains(_ENDS_LIKE_ONE).item():
        return None
    amounts = numbers.str.contains(_AMOUNT)
    return amounts if amounts.any() else None
