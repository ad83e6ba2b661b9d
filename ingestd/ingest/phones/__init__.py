"""Telephone numbers as people type them, turned into E.164: exactly what libphonenumber says, at the speed of polars.

The truth is `phonenumbers.parse`, `is_valid_number` and `format_number` (`reference.py`). Plain numbers (digits, one
leading `+`, common separators) and the usual odd ones (`written.py`) are decided by the same rules and the same
metadata as polars expressions (`plain.py`, `metadata.py`); all others go to `phonenumbers` itself, once per distinct
value. Columns too short for polars go the same way in Python (`singly.py`).

Before all of that, `read` refuses cells in which a program has written a number as an amount (`amounts.py`).
"""

from __future__ import annotations

import polars as pl

from ingestd.ingest.phones import amounts, plain, reference, singly, written
from ingestd.places import places

SCHEMA = pl.Schema({"e164": pl.String, "reason": pl.String, "extension": pl.String})
"""What `normalise` returns, one line a number."""

MESSAGES = reference.MESSAGES | {
    amounts.IS_AN_AMOUNT: "is an amount: a program took the phone number for one and changed it"
}
"""What each reason says about a cell, for people."""

FEW = 1_000
"""numbers: fewer are looked at one at a time, 5 µs each; polars takes 5 ms to sort and judge however few there are."""


def read(numbers: pl.Series, regions: pl.Series | str) -> pl.DataFrame:
    """As `normalise`, but a cell that holds an amount is none, with the reason `amounts.IS_AN_AMOUNT`."""
    spoilt = amounts.written(numbers)
    if spoilt is None:
        return normalise(numbers, regions)
    others = normalise(numbers.zip_with(~spoilt, pl.Series([None], dtype=pl.String)), regions)
    reason = pl.when(spoilt).then(pl.lit(amounts.IS_AN_AMOUNT)).otherwise("reason")
    return others.with_columns(reason=reason)


def normalise(numbers: pl.Series, regions: pl.Series | str) -> pl.DataFrame:
    """The E.164 form of each number, or the reason why there is none; same height and order as `numbers`.

    numbers: as typed; null and "" are absent and give neither a number nor a reason.
    regions: where a number without international prefix is dialled, ISO 3166-1 alpha-2 in upper case; one for all or
        one a number. Null or a region unknown to libphonenumber (also "ZZ"): only numbers with a `+` can be read.

    e164: `+` and digits; null when absent or invalid.
    reason: null when valid or absent, else a code of `reference.REASONS`.
    extension: digits to dial after the call is answered, null when there are none. E.164 cannot hold them, so a caller
        who keeps only `e164` has changed the cell and should say so.
    """
    if isinstance(regions, pl.Series):
        assert regions.len() == numbers.len(), f"{numbers.len()} numbers, but {regions.len()} regions"
    if numbers.len() < FEW:
        return singly.decide(numbers, [regions] * numbers.len() if isinstance(regions, str) else regions)
    typed = written.lines(numbers, regions)
    decided, unsure = plain.decide(typed)
    absent = typed.filter((pl.col("number") == "").fill_null(value=True)).select("row")
    every = pl.concat([decided, singly.decide_distinct(unsure), absent], how="diagonal", rechunk=True)
    assert every.height == numbers.len(), f"{numbers.len()} numbers, but {every.height} answers"
    return every[places(every["row"], numbers.len())].select(SCHEMA.names())
