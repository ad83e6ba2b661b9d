"""The assembly: clean lines and what the exact reader made of the suspect ones become one table, in file order."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from ingestd.ingest.reading import header as headers
from ingestd.ingest.reading.records import Dialect, Fault, Reader, Record
from ingestd.ingest.reading.scan import Lines, marked, positions
from ingestd.ingest.reading.text import SWAP_LINE_ENDS, Positions, Text
from ingestd.model import Stage

_BOM = b"\xef\xbb\xbf"

GOOD, REJECTED, BLANK, CONTINUATION = 0, 1, 2, 3


class Disagreement(Exception):
    """The fast reader found other records than the scan; the file is then read exactly throughout."""


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """A record that was rejected: the line (0 for the first of the scan) where it starts, and why."""

    line: int
    stage: Stage
    fault: Fault
    header_like: bool = False


@dataclass(kw_only=True)
class Body:
    """The records below the header, as they are put together."""

    text: Text
    dialect: Dialect
    swapped: bool
    names: tuple[str, ...]
    lines: Lines
    fate: npt.NDArray[np.uint8]
    """What became of each physical line: the fate of the record that starts there, or CONTINUATION"""
    rejections: list[Rejection] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    cells: list[list[bytes]] | None = None
    """The good records, when all are read exactly (tests do); else they are in `pieces`, for polars"""


def settle(body: Body, reader: Reader) -> None:
    """Reads every suspect line exactly; what it settles on is spliced between the clean stretches of `pieces`.

    A record that is long or odd but without doubt stays in its clean stretch: polars reads it as we would.
    """
    starts, ends = body.lines.starts, body.lines.ends
    if not len(ends):
        return
    bad, nul = marked_lines(body, body.text.bad), marked_lines(body, _nul_positions(body.text.work))
    damaged = bad | nul
    empty = ends - starts == 1
    suspects = np.flatnonzero(body.lines.suspect)
    clean_from, next_line = int(starts[0]), 0
    for line, start in zip(suspects.tolist(), starts[suspects].tolist(), strict=True):
        if line < next_line:
            continue
        if empty[line]:
            body.fate[line] = BLANK
            body.pieces.append(reader.text[clean_from:start])
            clean_from, next_line = start + 1, line + 1
            continue
        certain = 0 if body.cells is not None else reader.certain(start, len(body.names))
        if certain and not damaged[line : line + certain].any():
            body.fate[line + 1 : line + certain] = CONTINUATION
            next_line = line + certain
            continue
        record = reader.at(start, len(body.names))
        body.pieces.append(reader.text[clean_from:start])
        clean_from, next_line = record.end, line + record.lines
        body.fate[line + 1 : next_line] = CONTINUATION
        _settle_one(body, record, line, bool(bad[line:next_line].any()), bool(nul[line:next_line].any()))
    body.pieces.append(reader.text[clean_from : int(ends[-1])])


def _nul_positions(work: bytes) -> Positions:
    return positions(work, b"\0") if b"\0" in work else np.empty(0, np.int64)


def marked_lines(body: Body, offsets: Positions) -> npt.NDArray[np.bool_]:
    """Which lines contain one of the offsets of the working text."""
    return marked(body.lines.ends, offsets[offsets >= body.lines.starts[0]])


def _settle_one(body: Body, record: Record, line: int, bad: bool, nul: bool) -> None:
    if bad:
        message = f"The record contains bytes that are no {body.text.encoding} text."
        body.rejections.append(Rejection(line=line, stage=Stage.DECODE, fault=Fault("bytes_not_text", message)))
    if nul:
        fault = Fault("nul_byte", "The record contains a NUL byte.")
        body.rejections.append(Rejection(line=line, stage=Stage.DECODE, fault=fault))
    if record.fault is None and not bad and not nul:
        if headers.blank(record):
            body.fate[line] = BLANK
        else:
            _keep(body, record.cells)
        return
    body.fate[line] = REJECTED
    blank_line = len(record.cells) == 1 and not record.cells[0].strip(b" \t")
    if blank_line and not bad and not nul:
        body.fate[line] = BLANK
    elif record.fault is not None:
        cells = [cell.decode(errors="replace") for cell in record.cells]
        like = bool(cells) and header_like(cells, body.names)
        body.rejections.append(Rejection(line=line, stage=Stage.STRUCTURE, fault=record.fault, header_like=like))


def _keep(body: Body, cells: list[bytes]) -> None:
    if body.swapped:
        cells = [cell.translate(SWAP_LINE_ENDS) for cell in cells]
    if body.cells is not None:
        body.cells.append(cells)
    else:
        body.pieces.append(_canonical(body, cells))


def _canonical(body: Body, cells: list[bytes]) -> bytes:
    """The record in the one form which polars reads beyond doubt: every cell quoted."""
    quote = body.dialect.quote
    if not quote:
        return body.dialect.delimiter.join(cells) + b"\n"
    return body.dialect.delimiter.join(quote + cell.replace(quote, quote * 2) + quote for cell in cells) + b"\n"


def header_like(cells: list[str], names: tuple[str, ...]) -> bool:
    """Whether a record repeats the names of columns, at least half of them and two: then it is a header itself."""
    known = {name.strip().casefold() for name in names}
    return sum(cell.strip().casefold() in known for cell in cells) >= header_need(names)


def header_need(names: tuple[str, ...]) -> int:
    """How many names make a record a header."""
    return min(len(names), max(2, (len(names) + 1) // 2))


def frame(body: Body) -> pl.DataFrame:
    """The good records as text columns; raises Disagreement when the fast reader does not find all of them."""
    wanted = int(np.count_nonzero(body.fate == GOOD))
    if wanted == 0 or body.cells is not None:
        return _exact_frame(body)
    text = b"".join(body.pieces)
    body.pieces.clear()
    if text.startswith(_BOM):
        text = _BOM + text  # polars drops one from the beginning, where it is the first letter of a cell
    try:
        cells = pl.read_csv(
            text,
            has_header=False,
            separator=body.dialect.delimiter.decode(),
            quote_char=body.dialect.quote.decode() or None,
            schema=dict.fromkeys(body.names, pl.String),
            empty_string_is_null=False,
            extra_columns="raise",
            missing_columns="raise",
            glob=False,
        )
    except pl.exceptions.PolarsError as error:
        raise Disagreement from error
    if cells.height != wanted:
        raise Disagreement
    return cells


def _exact_frame(body: Body) -> pl.DataFrame:
    columns = zip(*(body.cells or []), strict=True) if body.cells else ([] for _ in body.names)
    decoded = ([cell.decode() for cell in column] for column in columns)
    return pl.DataFrame([pl.Series(n, column, dtype=pl.String) for n, column in zip(body.names, decoded, strict=True)])
