"""The table of problems: what was found wrong in which record. Every room of the road adds rows to it."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from ingestd.model import Severity, Stage

SCHEMA = pl.Schema(
    {
        "row": pl.UInt32,
        "stage": pl.String,
        "code": pl.String,
        "severity": pl.String,
        "column": pl.String,
        "field": pl.String,
        "value": pl.String,
        "message": pl.String,
        "suggestion": pl.String,
    }
)
"""`row` is the record's number in the file, 1 for the first record after the header; the rest is READING.md's list."""


_EMPTY = pl.DataFrame(schema=SCHEMA)


def empty() -> pl.DataFrame:
    """A table of no problems."""
    return _EMPTY.clone()


def gather(tables: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """All problems in file order; problems of one record stay in the order in which they were found."""
    some = [table for table in tables if not table.is_empty()]
    return pl.concat(some).sort("row", maintain_order=True) if some else empty()


def by_kind(table: pl.DataFrame, *told: pl.Expr, more: Iterable[str] = ()) -> pl.DataFrame:
    """Problems by what they are and the column they are in: `stage`, `code`, `severity`, `column`, and `more`.

    With `count`, what is `told` of each kind, and the `suggestion` of its first problem; the most frequent first.
    """
    kinds = table.group_by("stage", "code", "severity", "column", *more, maintain_order=True)
    counted = kinds.agg(pl.len().alias("count"), *told, pl.first("suggestion"))
    return counted.sort("count", descending=True, maintain_order=True)


def found(  # noqa: PLR0913 - one argument a column of the table, all by name
    rows: pl.DataFrame,
    *,
    stage: Stage,
    code: str,
    message: str | pl.Expr,
    severity: Severity = Severity.ERROR,
    column: str | pl.Expr = "",
    field: str = "",
    value: str | pl.Expr = "",
    suggestion: str | pl.Expr = "",
) -> pl.DataFrame:
    """One problem for each line of `rows`, a frame with at least the column `row`.

    Texts are literal strings; an expression is evaluated over `rows`, so a message may name the record's own value.
    """
    if rows.is_empty():  # mostly; for a small file all these empty tables took longer than its loading
        return empty()
    return rows.select(
        pl.col("row").cast(pl.UInt32),
        pl.lit(str(stage)).alias("stage"),
        pl.lit(code).alias("code"),
        pl.lit(str(severity)).alias("severity"),
        _text(column).alias("column"),
        pl.lit(field).alias("field"),
        _text(value).alias("value"),
        _text(message).alias("message"),
        _text(suggestion).alias("suggestion"),
    ).cast(SCHEMA)


def _text(value: str | pl.Expr) -> pl.Expr:
    return pl.lit(value) if isinstance(value, str) else value.cast(pl.String).fill_null("")
