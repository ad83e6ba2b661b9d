"""The draft: records as they were read, before blank ones, repeated headers and foreign tables are taken out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from ingestd.errors import Rejected
from ingestd.ingest import problems
from ingestd.ingest.reading import tables
from ingestd.ingest.reading.header import Header
from ingestd.ingest.reading.sheet import Sheet, TextFacts
from ingestd.ingest.reading.tables import Numbers
from ingestd.ingest.reading.trailer import Trailer
from ingestd.model import Severity, Stage

BLANKS_TOLD = 100
"""Blank records with a problem of their own, the first ones: a file may be millions of them, and all are counted."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """Everything that a sheet is made of."""

    head: Header
    header_bytes: bytes
    cells: pl.DataFrame
    """The columns have numbers for names: `c0`, `c1` …"""
    rows: pl.Series
    records: pl.DataFrame
    blank: Numbers
    """Records already known to be blank"""
    problems: pl.DataFrame
    foreign_headers: Numbers
    """Rejected records that name columns of ours: headers of another table"""
    original: bytes
    facts: TextFacts
    trailer: Trailer | None


def finish(draft: Draft) -> Sheet:
    """The sheet; raises Rejected when nothing but blank records is left."""
    blank = np.sort(np.concatenate((draft.blank, _empty(draft.cells, draft.rows))))
    if len(blank) == draft.records.height:
        raise header_only(draft.head.line)
    repeats = tables.find(draft.cells, draft.head.names, draft.rows, draft.foreign_headers)
    foreign = np.setdiff1d(repeats.foreign, blank, assume_unique=True)
    cells, rows = _without(draft, np.concatenate((blank, repeats.same, repeats.other, foreign)))
    cells.columns = list(draft.head.names)
    found = [
        _above(draft.head),
        draft.problems,
        _found(draft.records, blank[:BLANKS_TOLD], "blank_record", _BLANK, severity=Severity.WARNING),
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
        problems=_gathered(found),
        discarded=pl.Series("row", blank, dtype=pl.UInt32),
        original=draft.original,
        facts=draft.facts,
        trailer=draft.trailer,
    )


_BLANK = "the record is blank and was left out."
_ONE_HEADER = "Send the header once, in the first line."
_ONE_TABLE = "Send one table in a file."


def _above(head: Header) -> pl.DataFrame:
    """A warning for each line above the header that may be more than a title; it is told with the first record."""
    lines = pl.DataFrame(
        {"line": [each.line for each in head.doubtful], "value": [each.text for each in head.doubtful]},
        schema={"line": pl.UInt32, "value": pl.String},
    ).with_columns(row=pl.lit(1))
    return problems.found(
        lines,
        stage=Stage.STRUCTURE,
        code="preamble_skipped",
        severity=Severity.WARNING,
        value=pl.col("value"),
        message=pl.format(
            "Line {}: it stands above the header, in line {}, and was left out.", "line", pl.lit(head.line)
        ),
        suggestion="Begin the file with the header.",
    )


def header_only(line: int) -> Rejected:
    """The refusal of a file without a single record."""
    message = "The file has a header, but no records."
    return Rejected("header_only", message, suggestion="Send it again with its records.", line=line)


def _without(draft: Draft, out: Numbers) -> tuple[pl.DataFrame, pl.Series]:
    """The good records and their numbers without those in `out`, in a frame of its own."""
    if not len(out):
        return draft.cells.clone(), draft.rows
    gone = np.zeros(draft.records.height + 1, np.bool_)
    gone[out] = True
    keep = pl.Series(~gone[draft.rows.to_numpy()])
    return draft.cells.filter(keep), draft.rows.filter(keep)


def _gathered(found: list[pl.DataFrame]) -> pl.DataFrame:
    """All problems in file order; a single table is in it already, and sorting a million rows would copy them."""
    filled = [table for table in found if not table.is_empty()]
    return filled[0] if len(filled) == 1 else problems.gather(filled)


def _empty(cells: pl.DataFrame, rows: pl.Series) -> Numbers:
    """Records whose cells are all empty. Column by column: hardly any record is left after the first ones."""
    left = pl.Series(np.arange(cells.height, dtype=np.uint32))
    for name in cells.columns:
        column = cells[name] if len(left) == cells.height else cells[name].gather(left)
        left = left.filter(column.str.strip_chars(" \t") == "")
        if left.is_empty():
            break
    return rows.gather(left).to_numpy().astype(np.int64)


def _found(
    records: pl.DataFrame,
    rows: Numbers,
    code: str,
    message: str,
    suggestion: str = "",
    *,
    severity: Severity = Severity.ERROR,
) -> pl.DataFrame:
    """One problem for each of `rows`, with the line on which its record starts."""
    if not len(rows):
        return problems.empty()
    places = records[rows - 1]
    said = pl.format("Line {}: {}", pl.col("line_start"), pl.lit(message))
    return problems.found(
        places, stage=Stage.STRUCTURE, code=code, message=said, suggestion=suggestion, severity=severity
    )
