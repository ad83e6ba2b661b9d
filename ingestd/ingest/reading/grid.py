"""The grid: the rows of a worksheet as text, within bounds, and nothing of it lost or moved.

openpyxl parses the XML. Its own way from there to rows fills every gap with cells, drops rows that come in another
order and leaves escapes in texts; so that part is done here.
"""

from __future__ import annotations

import datetime as dt
import re
from array import array
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from openpyxl.utils import get_column_letter
from openpyxl.worksheet._reader import DATA_TAG, FORMULA_TAG, INLINE_STRING, ROW_TAG, VALUE_TAG, WorkSheetParser
from openpyxl.xml.functions import iterparse

from ingestd.errors import Rejected
from ingestd.ingest.reading.assembly import require_cells
from ingestd.ingest.reading.formats import Formats
from ingestd.ingest.reading.package import MAX_COLUMN, Guarded, Worksheet
from ingestd.model import DialectHints

MAX_ROW = 1_048_576
"""What Excel itself has."""
MAX_ABSENT = 1_000
"""Rows between the records that may be missing from the file altogether; they count as blank records."""
MAX_CELLS = 20_000_000
"""Cells of a sheet; here each one is a Python object for a while."""

_CLOCK = re.compile(r"[hs]|AM/PM", re.IGNORECASE)
_LITERALS = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.')
_ESCAPE = re.compile(r"_x([0-9A-F]{4})_(?:(?<=_xD[89AB][0-9A-F]{2}_)_x(D[C-F][0-9A-F]{2})_)?", re.IGNORECASE | re.ASCII)
"""One character, or the two halves of one beyond U+FFFF"""
_UNCOMPUTED = "The workbook contains formulas without values."
_SUGGESTION = "Open it in Excel, save it again as .xlsx or as CSV UTF-8, and send that."


class Parser(WorkSheetParser):
    """openpyxl's parser, but a formula that was never computed is no empty cell, and no row is larger than rows are."""

    cells = 0
    """how many there were, the empty ones too: each costs time"""

    def __init__(self, source: Guarded, *args: Any, **facts: Any) -> None:
        super().__init__(source, *args, **facts)
        self.guarded = source

    def parse(self) -> Generator[tuple[int, list[dict[str, Any]]]]:
        """The rows. What follows them, such as links and merged cells, holds no values, and is only read."""
        for _, element in iterparse(self.source):
            if element.tag == ROW_TAG:
                self.guarded.since = 0
                row = self.parse_row(element)
                element.clear()
                yield row
            elif element.tag == DATA_TAG:
                break
        self.guarded.finish()

    def parse_row(self, row: Any) -> tuple[int, list[dict[str, Any]]]:
        """Raises Rejected when a formula has no value, or when there are too many cells."""
        self.cells += len(row)
        if self.cells > MAX_CELLS:
            message = f"The sheet has more than {MAX_CELLS:,} cells, those without a value counted."
            raise Rejected("too_many_cells", message, suggestion="Delete rows and columns that hold nothing.")
        if next(row.iter(FORMULA_TAG), None) is not None and any(_uncomputed(cell) for cell in row):
            raise Rejected("formula_without_value", _UNCOMPUTED, suggestion=_SUGGESTION)
        parsed: tuple[int, list[dict[str, Any]]] = super().parse_row(row)
        return parsed


def _uncomputed(cell: Any) -> bool:
    """A formula of text may have computed an empty one, but then it says so."""
    if cell.find(FORMULA_TAG) is None or cell.find(INLINE_STRING) is not None:
        return False
    value = cell.find(VALUE_TAG)
    return value is None or not (value.text or cell.get("t") == "str")


@dataclass(kw_only=True)
class Grid:
    """A sheet as text: its rows from the first on, without what is empty at their ends, and where errors stand."""

    title: str = ""
    rows: list[Sequence[str]] = field(default_factory=list)
    width: int = 0
    size: int = 0
    """characters, about"""
    absent: int = 0
    """rows that are not in the file at all"""
    error_rows: array[int] = field(default_factory=lambda: array("q"))
    """positions in `rows` of the cells that hold an error"""
    error_columns: array[int] = field(default_factory=lambda: array("q"))


def unescaped(text: str) -> str:
    """`_x000D_` is a carriage return, and `_x005F_` protects what only looks so (ECMA-376, ST_Xstring)."""
    return _ESCAPE.sub(_character, text) if "_x" in text else text


def _character(found: re.Match[str]) -> str:
    first, second = int(found[1], 16), int(found[2] or "0", 16)
    if second:
        return chr(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))
    # Half a character and NUL are no text; as written, they harm nobody.
    return found[0] if first == 0 or 0xD800 <= first <= 0xDFFF else chr(first)


class Values(NamedTuple):
    """A row that is not empty."""

    number: int
    """1 for the first of the sheet"""
    texts: list[str]
    """the last of them is not empty"""
    errors: list[int]
    """the columns (0 for the first) that hold an error"""
    absent: int = 0
    """rows between it and the filled one above that are not in the file at all"""


def grid(sheet: Worksheet, hints: DialectHints) -> Grid:
    """The rows of a sheet; raises Rejected when they are out of bounds or out of order."""
    result = Grid(title=sheet.title)
    for row in filled_rows(sheet):
        _append(result, row, hints)
    return result


def filled_rows(sheet: Worksheet) -> Iterator[Values]:
    """The rows in which anything stands, one after the other; raises Rejected when they are out of order."""
    last = absent = 0
    package = sheet.package
    known = package.formats
    with package.opened(sheet.part) as source:
        parser = Parser(
            source,
            package.shared_strings,
            data_only=True,
            epoch=package.wb.epoch,
            date_formats=known.dates,
            timedelta_formats=known.timedeltas,
        )
        for number, cells in parser.parse():
            parser.row_dimensions.clear()  # heights and styles, which it would collect
            _require_order(number, last)
            absent, last = absent + number - last - 1, number
            values = _values(known, number, cells)
            if values.texts:
                yield values._replace(absent=absent)
                absent = 0


def _require_order(number: int, last: int) -> None:
    if number > MAX_ROW:
        raise _out_of_range(f"row {number:,}")
    if number <= last:
        message = f"The sheet has row {number:,} after row {last:,}; the order of its records is not certain."
        raise Rejected("rows_out_of_order", message, suggestion=_SUGGESTION)


def _out_of_range(what: str) -> Rejected:
    message = f"The sheet has a {what}; a sheet has at most {MAX_ROW:,} rows of {MAX_COLUMN:,} columns."
    return Rejected("cell_out_of_range", message, suggestion=_SUGGESTION)


def _values(known: Formats, number: int, cells: list[dict[str, Any]]) -> Values:
    values: list[str] = []
    errors: list[int] = []
    for cell in cells:
        column = cell["column"]
        if column > MAX_COLUMN:
            raise _out_of_range(f"column {column:,}")
        if cell["row"] != number or column < 1:
            message = f"Row {number:,} of the sheet has a cell that says it is in row {cell['row']:,}."
            raise Rejected("rows_out_of_order", message, suggestion=_SUGGESTION)
        if cell["value"] is None or (text := _text(known, cell)) == "":
            continue
        if len(values) >= column:
            message = f"Row {number:,} of the sheet has its cell {get_column_letter(column)} twice or out of order."
            raise Rejected("rows_out_of_order", message, suggestion=_SUGGESTION)
        values.extend([""] * (column - len(values) - 1))
        values.append(text)
        if cell["data_type"] == "e":
            errors.append(column - 1)
    return Values(number, values, errors)


def _append(result: Grid, row: Values, hints: DialectHints) -> None:
    """Puts a row in its place, below as many blank ones as stand before it."""
    number, width = row.number, len(row.texts)
    result.absent += row.absent
    if result.absent > MAX_ABSENT:
        message = f"Above row {number:,} the sheet leaves out {result.absent:,} rows; at most {MAX_ABSENT:,} may be."
        suggestion = "Delete the blank rows, and whatever stands far below the table."
        raise Rejected("too_many_blank_rows", message, suggestion=suggestion)
    if number > hints.max_records + 1:  # the header
        message = f"The sheet has {number:,} rows or more; at most {hints.max_records:,} records are read."
        raise Rejected("too_many_records", message, suggestion="Split it into smaller files.")
    result.width = max(result.width, width)
    require_cells(number, result.width, min(MAX_CELLS, hints.max_cells))
    result.size += sum(map(len, row.texts)) + width + 1
    if max(result.size, number * result.width) > hints.max_bytes:
        message = f"As text, the sheet has more than {hints.max_bytes:,} bytes."
        raise Rejected("too_large_unpacked", message, suggestion="Split it into smaller files.")
    result.rows.extend([()] * (number - 1 - len(result.rows)))
    result.rows.append(tuple(row.texts))
    result.error_rows.extend([number - 1] * len(row.errors))
    result.error_columns.extend(row.errors)


def _text(known: Formats, cell: dict[str, Any]) -> str:
    """The cell's value as text that loses nothing: `1`, `1.5`, `TRUE`, `2024-05-31`, `2024-05-31 12:30:00`."""
    value = cell["value"]
    if isinstance(value, str):
        return unescaped(value)
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, dt.datetime):
        shown = known.shown(cell["style_id"])
        day_only = value.time() == dt.time() and not _CLOCK.search(_LITERALS.sub("", shown))
        return value.date().isoformat() if day_only else value.isoformat(sep=" ")
    return str(value)
