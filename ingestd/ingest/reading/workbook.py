"""The workbook: the first visible sheet of an .xlsx file that holds anything, every cell as text."""

from __future__ import annotations

import csv
import datetime as dt
import io
import itertools
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import openpyxl
import polars as pl

from ingestd.errors import Rejected
from ingestd.ingest import problems
from ingestd.ingest.reading import header
from ingestd.ingest.reading.draft import Draft, finish, header_only
from ingestd.ingest.reading.header import Candidate, Header
from ingestd.ingest.reading.records import Record
from ingestd.ingest.reading.sheet import RECORDS, Sheet, TextFacts
from ingestd.model import DialectHints

_NEWLINE = "\r\n"
_CLOCK = re.compile(r"[hs]|AM/PM", re.IGNORECASE)
_LITERALS = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.')
_SUGGESTION = "Open it in Excel, save it again as .xlsx or as CSV UTF-8, and send that."
_UNCACHED = re.compile(rb"<c (?![^>]*\bt=\"str\")[^>]*><f(?:/>|[^>]*/>|[^>]*>[^<]*</f>)(?:<v\s*/>|<v></v>)?</c>")


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """A sheet as CSV text: each row's text, by the number of the row in the sheet."""

    title: str
    numbers: list[int]
    rows: list[tuple[str, ...]]


def read(data: bytes, hints: DialectHints) -> Sheet:
    """Reads a workbook; raises Rejected when it is too large, damaged or holds no table."""
    _require_bounds(data, hints.max_bytes)
    rendering = _render(data, hints.max_bytes)
    if not rendering.rows:
        raise Rejected("empty_file", "The workbook is empty.", suggestion="Send it with a header and records.")
    return _sheet(rendering)


def _require_bounds(data: bytes, max_bytes: int) -> None:
    """The unpacked size, which zip readers keep to, and formulas whose values were never computed."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if any(info.flag_bits & 0x1 for info in archive.infolist()):
                raise Rejected("zip_encrypted", "The workbook is encrypted.", suggestion="Send it without password.")
            if sum(info.file_size for info in archive.infolist()) > max_bytes:
                message = f"Unpacked, the workbook has more than {max_bytes:,} bytes."
                raise Rejected("too_large_unpacked", message, suggestion="Split it into smaller files.")
            for info in archive.infolist():
                if info.filename.startswith("xl/worksheets/") and _UNCACHED.search(archive.read(info)):
                    message = "The workbook contains formulas without values."
                    raise Rejected("formula_without_value", message, suggestion=_SUGGESTION)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, KeyError) as error:
        raise _damaged() from error


def _damaged() -> Rejected:
    return Rejected("workbook_damaged", "The workbook cannot be opened: it is damaged.", suggestion=_SUGGESTION)


def _render(data: bytes, max_bytes: int) -> Rendering:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl warns of styles and extensions, none of which are cells
        try:
            workbook = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
            try:
                return _first_filled(workbook, max_bytes)
            finally:
                workbook.close()
        except Rejected:
            raise
        except Exception as error:
            # A foreign parser over foreign bytes: whatever it raises, the file is at fault.
            raise _damaged() from error


def _first_filled(workbook: Any, max_bytes: int) -> Rendering:
    for sheet in workbook.worksheets:
        if sheet.sheet_state != "visible":
            continue
        sheet.reset_dimensions()  # the size that a file claims for its sheet is often wrong
        numbers, rows = _rows(sheet, max_bytes)
        if rows:
            return Rendering(title=sheet.title, numbers=numbers, rows=rows)
    return Rendering(title="", numbers=[], rows=[])


def _rows(sheet: Any, max_bytes: int) -> tuple[list[int], list[tuple[str, ...]]]:
    """The rows as text from the first filled one on, rectangular; blank rows at the end are left out."""
    rows: list[tuple[str, ...]] = []
    size = 0
    for cells in sheet.iter_rows():
        row = [_text(cell) for cell in cells]
        while row and not row[-1]:
            row.pop()
        size += sum(map(len, row)) + len(row) + 1
        if size > max_bytes:
            message = f"As text, the sheet has more than {max_bytes:,} bytes."
            raise Rejected("too_large_unpacked", message, suggestion="Split it into smaller files.")
        rows.append(tuple(row))
    while rows and not rows[-1]:
        rows.pop()
    width = max(map(len, rows), default=0)
    if width * len(rows) > max_bytes:
        raise Rejected("too_large_unpacked", f"The sheet has {len(rows):,} rows of {width:,} columns.")
    padded = [row + ("",) * (width - len(row)) for row in rows]
    return list(range(1, len(rows) + 1)), padded


def _text(cell: Any) -> str:
    """The cell's value as text that loses nothing: `1`, `1.5`, `TRUE`, `2024-05-31`, `2024-05-31 12:30:00`."""
    value = cell.value
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, dt.datetime):
        day_only = value.time() == dt.time() and not _CLOCK.search(_LITERALS.sub("", cell.number_format or ""))
        return value.date().isoformat() if day_only else value.isoformat(sep=" ")
    return str(value)


def _sheet(rendering: Rendering) -> Sheet:
    head, index = _header(rendering)
    lines = [_line(row) for row in rendering.rows]
    offsets = np.cumsum([0, *map(len, lines)])
    original = b"".join(lines)
    below = rendering.rows[index + 1 :]
    if not below:
        raise header_only(head.line)
    cells = pl.DataFrame(below, schema=dict.fromkeys(head.names, pl.String), orient="row")
    numbers = np.array(rendering.numbers[index + 1 :])
    rows = pl.Series("row", np.arange(1, len(below) + 1), dtype=pl.UInt32)
    records = pl.DataFrame(
        {
            "row": rows,
            "line_start": numbers,
            "line_end": numbers,
            "offset": offsets[index + 1 : -1],
            "length": np.diff(offsets[index + 1 :]),
        },
        schema_overrides=dict(RECORDS),
    )
    draft = Draft(
        head=head,
        header_bytes=lines[index],
        cells=cells,
        rows=rows,
        records=records,
        blank=[],
        problems=problems.empty(),
        foreign_headers=[],
        original=original,
        facts=_facts(rendering.title, head),
    )
    return finish(draft)


def _header(rendering: Rendering) -> tuple[Header, int]:
    """The header and its index; columns that are empty throughout were never rendered."""
    found = list(_candidates(rendering))
    index = header.position(found, len(rendering.rows[0]))
    if index is None:
        raise Rejected("header_unreadable", "No row of the sheet's beginning looks like a header.")
    names, line = rendering.rows[index], rendering.numbers[index]
    header.require_names(names, line)
    head = Header(names=header.filled_names(names), start=0, end=0, line=line, end_line=line, preamble_lines=line - 1)
    return head, index


def _candidates(rendering: Rendering) -> Iterator[Candidate]:
    for row, number in itertools.islice(zip(rendering.rows, rendering.numbers, strict=True), 4 * header.MAX_PREAMBLE):
        record = Record(0, 1, [cell.encode() for cell in row], None)
        yield Candidate(record=record, start=0, line=number)


def _line(row: tuple[str, ...]) -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator=_NEWLINE).writerow(row)
    return stream.getvalue().encode()


def _facts(title: str, head: Header) -> TextFacts:
    return TextFacts(
        container="xlsx",
        member=title,
        encoding="",
        fallback=False,
        delimiter=",",
        quote='"',
        newline=_NEWLINE,
        skip_initial_space=False,
        escape="",
        header_line=head.line,
        preamble_lines=head.preamble_lines,
    )
