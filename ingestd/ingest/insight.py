"""What the log and the original of a delivery tell an operator: groups of problems, their records, the columns.

Groups and records come from the log alone; columns and original lines from the file, which is read once more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from ingestd.errors import Rejected
from ingestd.ingest import problems, reading
from ingestd.ingest.poollog import PoolLog
from ingestd.ingest.reading import Sheet
from ingestd.model import DialectHints, Severity

EXAMPLES = 3
LONGEST_LINE = 2_000
"""characters of an original record that are shown"""


@dataclass(frozen=True, kw_only=True)
class Group:
    """All problems of one code and column."""

    stage: str
    code: str
    severity: str
    column: str
    """the header as written; empty when it is about the whole record"""
    count: int
    message: str
    """of the first one"""
    suggestion: str
    examples: tuple[str, ...]
    """up to EXAMPLES different values, the first ones"""


@dataclass(frozen=True, kw_only=True)
class Found:
    """One problem in one record."""

    row: int
    line_start: int | None
    value: str
    message: str
    suggestion: str
    outcome: str
    original: str | None = None
    """the record as it came; None when the file cannot be read like that any more"""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the file."""

    header: str
    field: str
    """what it is mapped to; empty: ignored"""
    filled: int
    """good records in which it is not blank"""
    distinct: int
    """different texts among them"""
    invalid: int
    """records with an error in this column"""
    samples: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Every column, in file order."""

    records: int
    """good records: those that could be read"""
    columns: tuple[Column, ...]


def groups(log: PoolLog) -> list[Group]:
    """Problems by code and column, errors before warnings, the most frequent first; raises as PoolLog does."""
    found = log.problems()
    if found.is_empty():
        return []
    values = pl.col("value").filter(pl.col("value") != "").unique(maintain_order=True).head(EXAMPLES)
    told = problems.by_kind(found, pl.first("message"), values.alias("examples"))
    ordered = told.sort("severity", maintain_order=True)
    assert sorted(Severity) == [Severity.ERROR, Severity.WARNING], "errors come first by the alphabet"
    return [Group(**{**row, "examples": tuple(row["examples"])}) for row in ordered.iter_rows(named=True)]


def records(log: PoolLog, *, code: str, column: str | None, after: int, limit: int) -> list[Found]:
    """The problems of one group in file order, from the record after the number `after` on, one for each record."""
    these = (pl.col("code") == code) & (pl.col("row") > after)
    if column is not None:
        these &= pl.col("column") == column
    found = log.problems().filter(these).unique("row", keep="first", maintain_order=True).head(limit)
    if found.is_empty():
        return []
    ends = log.rows().select("row", "outcome").filter(pl.col("row").is_in(found["row"].implode()))
    joined = found.join(ends, on="row", how="left", validate="m:1", maintain_order="left")
    names = ("row", "line_start", "value", "message", "suggestion", "outcome")
    return [Found(**{**row, "outcome": row["outcome"] or ""}) for row in joined.select(names).iter_rows(named=True)]


def read_again(data: bytes, name: str, hints: DialectHints | None) -> Sheet | None:
    """The file as it was read for the log; None when it cannot be read by now, as after a change of its dialect."""
    try:
        return reading.read(data, name=name, hints=hints or DialectHints())
    except Rejected:
        return None


def with_originals(sheet: Sheet, found: Sequence[Found]) -> list[Found]:
    """With the records as they came, where their place is still the one in the log."""
    wanted = sheet.records.filter(pl.col("row").is_in([each.row for each in found]))
    places = {record["row"]: record for record in wanted.iter_rows(named=True)}
    return [replace(each, original=_original(sheet, each, places.get(each.row))) for each in found]


def _original(sheet: Sheet, found: Found, place: dict[str, Any] | None) -> str | None:
    if place is None or place["line_start"] != found.line_start:
        return None
    piece = sheet.original[place["offset"] : place["offset"] + place["length"]]
    return piece.decode(sheet.facts.encoding or "utf-8", "replace").rstrip("\r\n")[:LONGEST_LINE]


def columns(sheet: Sheet, log: PoolLog) -> Columns:
    """How full and how various each column is, and how often it was invalid."""
    fields = {header: field for field, header in _mapping(log.summary).items()}
    wrong = log.problems().filter(pl.col("severity") == Severity.ERROR).unique(["row", "column"])
    invalid = dict(wrong["column"].value_counts().iter_rows())
    return Columns(
        records=sheet.cells.height,
        columns=tuple(_column(sheet.cells[name], fields.get(name, ""), invalid.get(name, 0)) for name in sheet.header),
    )


def _column(cells: pl.Series, field: str, invalid: int) -> Column:
    filled = cells.filter(cells.str.strip_chars() != "")
    samples = tuple(text[:60] for text in filled.unique(maintain_order=True).head(EXAMPLES))
    return Column(
        header=cells.name,
        field=field,
        filled=len(filled),
        distinct=filled.n_unique() if len(filled) else 0,
        invalid=invalid,
        samples=samples,
    )


def _mapping(summary: Mapping[str, Any]) -> dict[str, str]:
    mapping: dict[str, str] = summary.get("mapping", {})
    return mapping
