"""The draft: records as they were read, before blank ones, repeated headers and foreign tables are taken out."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from ingestd.errors import Rejected
from ingestd.ingest import problems
from ingestd.ingest.reading import tables
from ingestd.ingest.reading.header import Header
from ingestd.ingest.reading.sheet import Sheet, TextFacts
from ingestd.model import Severity, Stage


@dataclass(frozen=True, kw_only=True)
class Draft:
    """Everything that a sheet is made of."""

    head: Header
    header_bytes: bytes
    cells: pl.DataFrame
    rows: pl.Series
    records: pl.DataFrame
    blank: list[int]
    """Records already known to be blank"""
    problems: pl.DataFrame
    foreign_headers: list[int]
    """Rejected records that name columns of ours: headers of another table"""
    original: bytes
    facts: TextFacts


def finish(draft: Draft) -> Sheet:
    """The sheet; raises Rejected when nothing but blank records is left."""
    blank = sorted([*draft.blank, *_empty(draft.cells, draft.rows)])
    if len(blank) == draft.records.height:
        raise header_only(draft.head.line)
    repeats = tables.find(draft.cells, draft.rows, draft.foreign_headers)
    foreign = sorted(set(repeats.foreign) - set(blank))
    cells, rows = draft.cells, draft.rows
    out = pl.Series("row", [*blank, *repeats.same, *repeats.other, *foreign], dtype=pl.UInt32)
    if len(out):
        keep = ~rows.is_in(out.implode())
        cells, rows = cells.filter(keep), rows.filter(keep)
    found = [
        draft.problems,
        _found(
            draft.records, blank, "blank_record", "the record is blank and was left out.", severity=Severity.WARNING
        ),
        _found(draft.records, repeats.same, "header_repeated", "the header is repeated here.", _ONE_HEADER),
        _found(draft.records, repeats.other, "header_repeated", "a header with other columns stands here.", _ONE_TABLE),
        _found(draft.records, foreign, "other_table", "the record stands below another table's header.", _ONE_TABLE),
    ]
    return Sheet(
        header=draft.head.names,
        header_bytes=draft.header_bytes,
        cells=cells,
        rows=rows,
        records=draft.records,
        problems=problems.gather(found),
        discarded=pl.Series("row", blank, dtype=pl.UInt32),
        original=draft.original,
        facts=draft.facts,
    )


_ONE_HEADER = "Send the header once, in the first line."
_ONE_TABLE = "Send one table in a file."


def header_only(line: int) -> Rejected:
    """The refusal of a file without a single record."""
    message = "The file has a header, but no records."
    return Rejected("header_only", message, suggestion="Send it again with its records.", line=line)


def _empty(cells: pl.DataFrame, rows: pl.Series) -> list[int]:
    """Records whose cells are all empty. Column by column: hardly any record is left after the first ones."""
    left = pl.arange(cells.height, dtype=pl.UInt32, eager=True)
    for name in cells.columns:
        column = cells[name] if len(left) == cells.height else cells[name].gather(left)
        left = left.filter(column.str.strip_chars(" \t") == "")
        if left.is_empty():
            break
    return rows.gather(left).to_list()


def _found(
    records: pl.DataFrame,
    rows: list[int],
    code: str,
    message: str,
    suggestion: str = "",
    *,
    severity: Severity = Severity.ERROR,
) -> pl.DataFrame:
    """One problem for each of `rows`, with the line on which its record starts."""
    places = records[[row - 1 for row in rows]] if rows else records.clear()
    said = pl.format("Line {}: {}", pl.col("line_start"), pl.lit(message))
    return problems.found(
        places, stage=Stage.STRUCTURE, code=code, message=said, suggestion=suggestion, severity=severity
    )
