"""The workbook: the visible sheet of an .xlsx file that holds the table, every cell as text."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import warnings
import zipfile
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl
from openpyxl.xml.constants import SHEET_MAIN_NS

from ingestd.errors import Rejected
from ingestd.ingest import problems
from ingestd.ingest.reading import header, trailer
from ingestd.ingest.reading.assembly import numbered
from ingestd.ingest.reading.draft import Draft, finish, header_only
from ingestd.ingest.reading.grid import Grid, filled_rows, grid
from ingestd.ingest.reading.header import Candidate, Header
from ingestd.ingest.reading.package import Package, Worksheet
from ingestd.ingest.reading.preamble import MAX_PREAMBLE, Skipped, doubtful, of_a_table
from ingestd.ingest.reading.records import SUGGESTIONS, Fault, Record
from ingestd.ingest.reading.sheet import RECORDS, Sheet, TextFacts
from ingestd.ingest.reading.trailer import Trailer
from ingestd.model import DialectHints, Severity, Stage

BATCH = 4096
"""Rows that are tuples of full width at the same time."""

_FIRST = 4 * MAX_PREAMBLE
"""Rows among which the header must be, blank ones counted."""
_SURE = 3
"""The likeness to a table that no other sheet can surpass."""
_STRICT = b"http://purl.oclc.org/ooxml/spreadsheetml/main"
_NEWLINE = "\r\n"
_SUGGESTION = "Open it in Excel, save it again as .xlsx or as CSV UTF-8, and send that."


@dataclass(frozen=True, kw_only=True)
class Form:
    """How the sheet is written as text; the rejected records are handed back so."""

    delimiter: str
    quote: str


@dataclass(frozen=True, kw_only=True)
class Other:
    """A visible sheet that is not read."""

    title: str
    beginning: Sequence[Skipped]
    """its first rows, without blank ones"""
    table: Skipped | None
    """a row that is certainly a record"""


def read(data: bytes, hints: DialectHints) -> Sheet:
    """Reads a workbook; raises Rejected when it is too large, damaged or holds no table."""
    _require_bounds(data, hints.max_bytes)
    found, others = _render(data, hints)
    if not found.rows:
        raise Rejected("empty_file", "The workbook is empty.", suggestion="Send it with a header and records.")
    form = _form(hints)
    cut = trailer.cut_rows(found.rows, hints.trailer, form.delimiter) if hints.trailer else None
    head, index = _header(found)
    left_out = _left_out(others, found, head)
    facts = replace(_facts(found.title, head, form), announced=cut.announced if cut else None)
    return _sheet(found, head, index, left_out=left_out, facts=facts, cut=cut)


def _require_bounds(data: bytes, max_bytes: int) -> None:
    """The unpacked size, which zip readers keep to; and that the workbook is of the kind that is read."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if any(info.flag_bits & 0x1 for info in archive.infolist()):
                raise Rejected("zip_encrypted", "The workbook is encrypted.", suggestion="Send it without password.")
            if sum(info.file_size for info in archive.infolist()) > max_bytes:
                message = f"Unpacked, the workbook has more than {max_bytes:,} bytes."
                raise Rejected("too_large_unpacked", message, suggestion="Split it into smaller files.")
            _refuse_strict(archive.read("xl/workbook.xml"))
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, KeyError) as error:
        raise _damaged() from error


def _refuse_strict(book: bytes) -> None:
    """Strict Open XML has other names for everything, and openpyxl knows none of them: it would find no sheet."""
    if _STRICT in book and SHEET_MAIN_NS.encode() not in book:
        message = "This is a workbook in the format “Strict Open XML Spreadsheet”, which is not read."
        raise Rejected("format_unsupported", message, suggestion="Save it as “Excel Workbook (.xlsx)” or as .csv.")


def _damaged() -> Rejected:
    return Rejected("workbook_damaged", "The workbook cannot be opened: it is damaged.", suggestion=_SUGGESTION)


def _render(data: bytes, hints: DialectHints) -> tuple[Grid, list[Other]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl warns of styles and extensions, none of which are cells
        try:
            package = Package(data)
            try:
                return _chosen(package.visible(), hints)
            finally:
                package.archive.close()
        except Rejected:
            raise
        except Exception as error:
            # A foreign parser over foreign bytes: whatever it raises, the file is at fault.
            raise _damaged() from error


def _chosen(visible: Sequence[Worksheet], hints: DialectHints) -> tuple[Grid, list[Other]]:
    """The visible sheet that holds most likely the table, the first of those alike, and what the others begin with."""
    chosen, best, likely = None, Grid(), 0
    for sheet in visible:
        found = grid(sheet, hints)
        if (likeness := _likeness(found)) > likely:
            chosen, best, likely = sheet, found, likeness
        if likely == _SURE:
            break
    return best, [_glance(sheet) for sheet in visible if sheet is not chosen]


def _likeness(found: Grid) -> int:
    """How much the sheet looks like the table: 0 for one without anything, 1 for a title."""
    if of_a_table(_lines(found)):
        return _SURE
    return 2 if any(each.more_than_a_title for each in _lines(found)) else min(1, len(found.rows))


def _lines(found: Grid) -> Iterator[Skipped]:
    return (_skipped(line, row) for line, row in enumerate(found.rows, start=1) if row)


def _glance(sheet: Worksheet) -> Other:
    lines = (_skipped(row.number, row.texts) for row in filled_rows(sheet))
    beginning = list(itertools.islice(lines, _FIRST))
    return Other(title=sheet.title, beginning=beginning, table=of_a_table(itertools.chain(beginning, lines)))


def _skipped(line: int, row: Sequence[str]) -> Skipped:
    return Skipped(line=line, cells=tuple(cell.strip() for cell in row))


def _left_out(others: Sequence[Other], found: Grid, head: Header) -> pl.DataFrame:
    """A warning for each sheet that may hold more than a title; raises Rejected when one certainly holds records."""
    for other in others:
        line = other.table or of_a_table(other.beginning, head.names)
        if line is not None:
            message = f"The workbook has tables on two sheets, “{found.title}” and “{other.title}” (row {line.line})."
            suggestion = "Send each sheet as a file of its own, or hide those that are not meant."
            raise Rejected("workbook_sheets", message, suggestion=suggestion)
    titles = [each.title for each in others if any(line.more_than_a_title for line in each.beginning)]
    return problems.found(
        pl.DataFrame({"title": titles}, schema={"title": pl.String}).with_columns(row=pl.lit(1)),
        stage=Stage.STRUCTURE,
        code="sheet_skipped",
        severity=Severity.WARNING,
        value=pl.col("title"),
        message=pl.format("The sheet “{}” was left out; “{}” was read.", "title", pl.lit(found.title)),
        suggestion="Send one table in a workbook.",
    )


def _sheet(
    found: Grid, head: Header, index: int, *, left_out: pl.DataFrame, facts: TextFacts, cut: Trailer | None
) -> Sheet:
    original, offsets = _original(found, Form(delimiter=facts.delimiter, quote=facts.quote))
    below = len(found.rows) - index - 1
    if not below:
        raise header_only(head.line)
    numbers = np.arange(index + 2, len(found.rows) + 1)
    records = pl.DataFrame(
        {
            "row": np.arange(1, below + 1),
            "line_start": numbers,
            "line_end": numbers,
            "offset": offsets[index + 1 : -1],
            "length": np.diff(offsets[index + 1 :]),
        },
        schema_overrides=dict(RECORDS),
    )
    rejected = _cell_errors(found, head)
    good = ~np.isin(np.arange(1, below + 1), rejected["row"].to_numpy())
    draft = Draft(
        head=head,
        header_bytes=codecs.BOM_UTF8 + original[offsets[index] : offsets[index + 1]],
        cells=_cells(found, index + 1).filter(pl.Series(good)),
        rows=pl.Series("row", np.flatnonzero(good) + 1, dtype=pl.UInt32),
        records=records,
        blank=np.empty(0, np.int64),
        problems=problems.gather([left_out, rejected]),
        foreign_headers=np.empty(0, np.int64),
        original=original,
        facts=facts,
        trailer=cut,
    )
    return finish(draft)


def _cells(found: Grid, first: int) -> pl.DataFrame:
    """The rows from `first` on as text columns, made rectangular batch by batch."""
    schema = dict.fromkeys(numbered(found.width), pl.String)
    frames = [
        pl.DataFrame([_padded(found, row) for row in found.rows[at : at + BATCH]], schema=schema, orient="row")
        for at in range(first, len(found.rows), BATCH)
    ]
    return pl.concat(frames)


def _padded(found: Grid, row: Sequence[str]) -> Sequence[str]:
    return (*row, *("",) * (found.width - len(row)))


def _form(hints: DialectHints) -> Form:
    """As the source's files are, so that its rejected records can be sent again; else as CSV usually is."""
    delimiter, quote = hints.delimiter or ",", hints.quote or '"'
    usable = all(len(each.encode()) == 1 and each not in "\r\n" for each in (delimiter, quote)) and delimiter != quote
    return Form(delimiter=delimiter, quote=quote) if usable else Form(delimiter=",", quote='"')


def _original(found: Grid, form: Form) -> tuple[bytes, npt.NDArray[np.int64]]:
    """The sheet as CSV, with the offset of every row and of the end.

    The byte order mark proves that it is UTF-8: to Excel, and to us where another encoding was agreed.
    """
    stream = io.BytesIO()
    offsets = array("q", [stream.write(codecs.BOM_UTF8)])
    for row in found.rows:
        offsets.append(offsets[-1] + stream.write(_line(_padded(found, row), form)))
    return stream.getvalue(), np.array(offsets, np.int64)


def _cell_errors(found: Grid, head: Header) -> pl.DataFrame:
    """One problem for each cell below the header that holds an error such as `#REF!`."""
    places = [
        (row, column) for row, column in zip(found.error_rows, found.error_columns, strict=True) if row >= head.line
    ]
    fault = Fault("cell_error", "The cell holds an error instead of a value.")
    rows = pl.DataFrame(
        {
            "row": [row - head.line + 1 for row, _ in places],
            "line": [row + 1 for row, _ in places],
            "column": [head.names[column] for _, column in places],
            "value": [found.rows[row][column] for row, column in places],
        },
        schema={"row": pl.UInt32, "line": pl.UInt32, "column": pl.String, "value": pl.String},
    )
    return problems.found(
        rows,
        stage=Stage.STRUCTURE,
        code=fault.code,
        message=pl.format("Line {}: {}", "line", pl.lit(fault.message)),
        column=pl.col("column"),
        value=pl.col("value"),
        suggestion=SUGGESTIONS[fault.code],
    )


def _header(found: Grid) -> tuple[Header, int]:
    """The header and its index; columns that are empty throughout were never rendered."""
    rows = list(_candidates(found))
    # Not the width: a single note far to the right of the table says nothing about how many names the header has.
    index = header.require_position(rows, max(map(_filled, found.rows[:_FIRST]), default=0))
    names, line = _padded(found, found.rows[index]), index + 1
    if index in found.error_rows:
        raise Rejected("header_unreadable", f"The header in row {line} holds an error.", suggestion=_SUGGESTION)
    header.require_names(names, line)
    head = Header(
        names=header.filled_names(names),
        start=0,
        end=0,
        line=line,
        end_line=line,
        preamble_lines=line - 1,
        doubtful=doubtful(header.skipped(rows[:index]), names, line),
    )
    return head, index


def _filled(row: Sequence[str]) -> int:
    return sum(cell.strip() != "" for cell in row)


def _candidates(found: Grid) -> Iterator[Candidate]:
    for line, row in enumerate(itertools.islice(found.rows, _FIRST), start=1):
        record = Record(0, 1, [cell.encode() for cell in _padded(found, row)], None)
        yield Candidate(record=record, start=0, line=line, blank=header.blank(record))


def _line(row: Sequence[str], form: Form) -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=form.delimiter, quotechar=form.quote, lineterminator=_NEWLINE).writerow(row)
    return stream.getvalue().encode()


def _facts(title: str, head: Header, form: Form) -> TextFacts:
    return TextFacts(
        container="xlsx",
        member=title,
        encoding="",
        fallback=False,
        delimiter=form.delimiter,
        quote=form.quote,
        newline=_NEWLINE,
        skip_initial_space=False,
        escape="",
        header_line=head.line,
        preamble_lines=head.preamble_lines,
    )
