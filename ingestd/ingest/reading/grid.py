"""The grid: the rows of a worksheet as text, within bounds, and nothing of it lost or moved.

openpyxl parses the XML. Its own way from there to rows fills every gap with cells, drops rows that come in another
order and leaves escapes in texts; so that part is done here.
"""

from __future__ import annotations

import datetime as dt
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

from openpyxl.cell.read_only import ReadOnlyCell
from openpyxl.cell.text import Text
from openpyxl.reader.excel import ExcelReader
from openpyxl.utils import get_column_letter
from openpyxl.worksheet._reader import FORMULA_TAG, INLINE_STRING, VALUE_TAG, WorkSheetParser
from openpyxl.xml.constants import SHARED_STRINGS, SHEET_MAIN_NS
from openpyxl.xml.functions import iterparse

from ingestd.errors import Rejected
from ingestd.ingest.reading.assembly import require_cells
from ingestd.model import DialectHints

MAX_ROW, MAX_COLUMN = 1_048_576, 16_384
"""What Excel itself has."""
MAX_ABSENT = 1_000
"""Rows between the records that may be missing from the file altogether; they count as blank records."""
MAX_CELLS = 20_000_000
"""Cells of a sheet; here each one is a Python object for a while."""

_CLOCK = re.compile(r"[hs]|AM/PM", re.IGNORECASE)
_LITERALS = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.')
_ESCAPE = re.compile(r"_x([0-9A-F]{4})_(?:(?<=_xD[89AB][0-9A-F]{2}_)_x(D[C-F][0-9A-F]{2})_)?", re.IGNORECASE | re.ASCII)
"""One character, or the two halves of one beyond U+FFFF"""
_ITEM = f"{{{SHEET_MAIN_NS}}}si"
_UNCOMPUTED = "The workbook contains formulas without values."
_SUGGESTION = "Open it in Excel, save it again as .xlsx or as CSV UTF-8, and send that."


class Parser(WorkSheetParser):
    """openpyxl's parser, which takes a formula that was never computed for an empty cell."""

    def parse_row(self, row: Any) -> tuple[int, list[dict[str, Any]]]:
        """Called for each row; raises Rejected when a formula of it has no value."""
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


class Excel(ExcelReader):
    """openpyxl's reader, but with shared strings as they stand in the file: openpyxl cuts a part of the escapes out."""

    def read_strings(self) -> None:
        """Called by openpyxl before it reads the sheets."""
        package: Any = self.package
        part = package.find(SHARED_STRINGS)
        if part is not None:
            with self.archive.open(part.PartName[1:]) as source:
                self.shared_strings = _strings(source)


def _strings(source: IO[bytes]) -> list[str]:
    found: list[str] = []
    for _, node in iterparse(source):
        if node.tag == _ITEM:
            text: Any = Text.from_tree(node)
            found.append(text.content)
            node.clear()
    return found


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


def grid(sheet: Any, hints: DialectHints) -> Grid:
    """The rows of a sheet of openpyxl's; raises Rejected when they are out of bounds or out of order."""
    result = Grid(title=sheet.title)
    for row in filled_rows(sheet):
        _append(result, row, hints)
    return result


def filled_rows(sheet: Any) -> Iterator[Values]:
    """The rows in which anything stands, one after the other; raises Rejected when they are out of order."""
    last = absent = 0
    with sheet._get_source() as source:  # noqa: SLF001 - the way that openpyxl's own rows take
        book = sheet.parent
        parser = Parser(
            source,
            sheet._shared_strings,  # noqa: SLF001
            data_only=True,
            epoch=book.epoch,
            date_formats=book._date_formats,  # noqa: SLF001
            timedelta_formats=book._timedelta_formats,  # noqa: SLF001
        )
        for number, cells in parser.parse():
            parser.row_dimensions.clear()  # heights and styles, which it would collect
            _require_order(number, last)
            absent, last = absent + number - last - 1, number
            values = _values(sheet, number, cells)
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


def _values(sheet: Any, number: int, cells: list[dict[str, Any]]) -> Values:
    values: list[str] = []
    errors: list[int] = []
    for cell in cells:
        column = cell["column"]
        if column > MAX_COLUMN:
            raise _out_of_range(f"column {column:,}")
        if cell["row"] != number or column < 1:
            message = f"Row {number:,} of the sheet has a cell that says it is in row {cell['row']:,}."
            raise Rejected("rows_out_of_order", message, suggestion=_SUGGESTION)
        if cell["value"] is None or (text := _text(sheet, cell)) == "":
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


def _text(sheet: Any, cell: dict[str, Any]) -> str:
    """The cell's value as text that loses nothing: `1`, `1.5`, `TRUE`, `2024-05-31`, `2024-05-31 12:30:00`."""
    value = cell["value"]
    if isinstance(value, str):
        return unescaped(value)
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, dt.datetime):
        shown = ReadOnlyCell(sheet, **cell).number_format or ""
        day_only = value.time() == dt.time() and not _CLOCK.search(_LITERALS.sub("", shown))
        return value.date().isoformat() if day_only else value.isoformat(sep=" ")
    return str(value)
