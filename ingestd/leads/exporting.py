"""All leads of a filter as one file, whatever their number: CSV as it is found, Excel and Parquet by way of a file.

One state of the store is exported, and nobody who writes waits for it. Memory holds CHUNK leads at a time. An export
carries personal data out, so the audit has who began it, by which filter, and how many leads were in it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine

from ingestd.errors import Invalid
from ingestd.ingest import poollog
from ingestd.leads import columns, filters, listing
from ingestd.leads.columns import Column
from ingestd.leads.conditions import EXTRA
from ingestd.leads.filter_fields import Kind
from ingestd.leads.listing import Wish
from ingestd.store import audit
from ingestd.store.audit import Deed
from ingestd.store.engine import reading, writing

CHUNK = 5_000
"""leads that are in memory at once"""
PART = 50_000
"""leads of a row group of Parquet"""
PIECE = 256 * 1024
"""bytes of a finished file that are handed on at once"""
MOST_IN_EXCEL = 1_048_575
"""rows of a worksheet, without the titles"""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""without it Excel takes UTF-8 for the code page of its machine"""


class Format(StrEnum):
    """What the file is."""

    CSV = "csv"
    XLSX = "xlsx"
    PARQUET = "parquet"


MEDIA_TYPES: Mapping[Format, str] = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    Format.PARQUET: "application/vnd.apache.parquet",
}


@dataclass(frozen=True, kw_only=True)
class Export:
    """What is to be exported, and how."""

    wish: Wish
    """its limit and cursor do not count"""
    columns: Sequence[Column]
    format: Format


def pieces(
    engine: Engine, export: Export, deed: Deed, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[bytes]:
    """The file in pieces; raises Invalid for a sort that is not offered, or too many rows for Excel.

    The first piece comes once it is certain that there will be a file. The audit has the beginning before any lead is
    read, and the end with the number of leads, also when nobody waited for it.
    """
    _note(engine, deed, export, "lead_export_begun", {})
    begun, rows, whole = clock(), 0, False

    def counted(chunks: Iterator[list[tuple[Any, ...]]]) -> Iterator[list[tuple[Any, ...]]]:
        nonlocal rows
        for chunk in chunks:
            rows += len(chunk)
            yield chunk

    try:
        with _snapshot(engine) as connection:
            yield from _WRITERS[export.format](counted(chunks(connection, export)), export.columns)
        whole = True
    finally:
        told = {"leads": rows, "whole": whole, "seconds": round(clock() - begun, 1)}
        _note(engine, deed, export, "leads_exported", told)


def chunks(connection: Connection, export: Export) -> Iterator[list[tuple[Any, ...]]]:
    """The cells of the leads in their order, CHUNK leads at a time."""
    for places in listing.every(connection, export.wish, size=CHUNK):
        yield columns.cells(connection, places, export.columns, export.wish.at, listed=export.wish.who is None)


@contextmanager
def _snapshot(engine: Engine) -> Iterator[Connection]:
    """One state of the store for as long as it takes; SQLite's readers have one anyway."""
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with reading(engine) as connection:
        yield connection


def _note(engine: Engine, deed: Deed, export: Export, action: str, told: Mapping[str, Any]) -> None:
    facts = {
        "filter": filters.written(export.wish.tree, personal=False),
        "columns": [column.name for column in export.columns],
        "format": export.format,
        **told,
    }
    with writing(engine) as connection:
        audit.note(connection, deed, action, "leads", after=facts)


def _csv(found: Iterator[list[tuple[Any, ...]]], wanted: Sequence[Column]) -> Iterator[bytes]:
    """RFC 4180 in UTF-8, safe to open in a spreadsheet."""
    titles = pl.DataFrame({column.name: [column.title] for column in wanted})
    begun = False
    for chunk in found:
        if not begun:
            yield BYTE_ORDER_MARK + _lines(titles)
            begun = True
        yield _lines(_frame(chunk, wanted))
    if not begun:
        yield BYTE_ORDER_MARK + _lines(titles)


def _lines(frame: pl.DataFrame) -> bytes:
    return poollog.csv_lines(frame, datetime_format="%Y-%m-%dT%H:%M:%SZ")


_TYPES: Mapping[Kind, Any] = {
    Kind.NUMBER: pl.Int64,
    Kind.NUMBERED: pl.Int64,
    Kind.DAY: pl.Date,
    Kind.MOMENT: pl.Datetime("us", "UTC"),
    Kind.FLAG: pl.Boolean,
}


def _frame(rows: list[tuple[Any, ...]], wanted: Sequence[Column]) -> pl.DataFrame:
    schema = {column.name: _type(column) for column in wanted}
    return pl.DataFrame(rows, schema=schema, orient="row", strict=False)


def _type(column: Column) -> Any:
    """Days and moments of a template's fields are kept as text."""
    if column.name.startswith(EXTRA) and column.kind in (Kind.DAY, Kind.MOMENT):
        return pl.String
    return _TYPES.get(column.kind, pl.String)


def _xlsx(found: Iterator[list[tuple[Any, ...]]], wanted: Sequence[Column]) -> Iterator[bytes]:
    import xlsxwriter  # type: ignore[import-untyped]  # noqa: PLC0415 - only who exports to Excel waits for it

    with tempfile.TemporaryDirectory(prefix="ingestd-export-") as folder:
        path = Path(folder) / "leads.xlsx"
        # Row by row to a file; texts stay texts, whatever they begin with.
        options = {
            "constant_memory": True, "tmpdir": folder, "strings_to_formulas": False, "strings_to_urls": False,
            "strings_to_numbers": False, "default_date_format": "yyyy-mm-dd hh:mm:ss",
        }  # fmt: skip
        with xlsxwriter.Workbook(path, options) as workbook:
            sheet, day = workbook.add_worksheet("Leads"), workbook.add_format({"num_format": "yyyy-mm-dd"})
            sheet.write_row(0, 0, [column.title for column in wanted], workbook.add_format({"bold": True}))
            sheet.freeze_panes(1, 0)
            row = 0
            for chunk in found:
                if row + len(chunk) > MOST_IN_EXCEL:
                    told = f"a worksheet of Excel holds {MOST_IN_EXCEL:,} leads, and these are more"
                    raise Invalid("export_too_long", f"{told}; export them as csv or parquet", field="format")
                for cells in chunk:
                    row += 1
                    _fill_row(sheet, row, cells, day)
        yield from _of_file(path)


def _fill_row(sheet: Any, row: int, cells: tuple[Any, ...], day: Any) -> None:
    for column, value in enumerate(cells):
        if isinstance(value, datetime):
            sheet.write_datetime(row, column, value.replace(tzinfo=None))
        elif isinstance(value, date):
            sheet.write_datetime(row, column, value, day)
        elif value is not None:
            sheet.write(row, column, value)


def _parquet(found: Iterator[list[tuple[Any, ...]]], wanted: Sequence[Column]) -> Iterator[bytes]:
    """In parts, which are then put together: polars writes no Parquet row by row."""
    with tempfile.TemporaryDirectory(prefix="ingestd-export-") as made:
        folder = Path(made)
        kept, height, number = [_frame([], wanted)], 0, 0
        for chunk in found:
            kept.append(_frame(chunk, wanted))
            height += len(chunk)
            if height >= PART:
                pl.concat(kept).write_parquet(folder / f"part-{number:06d}.parquet")
                kept, height, number = [], 0, number + 1
        if kept or not number:
            pl.concat(kept).write_parquet(folder / f"part-{number:06d}.parquet")
        whole = folder / "leads.parquet"
        pl.scan_parquet(folder / "part-*.parquet").sink_parquet(whole, row_group_size=PART, maintain_order=True)
        yield from _of_file(whole)


def _of_file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


_WRITERS: Mapping[Format, Callable[[Iterator[list[tuple[Any, ...]]], Sequence[Column]], Iterator[bytes]]] = {
    Format.CSV: _csv,
    Format.XLSX: _xlsx,
    Format.PARQUET: _parquet,
}
