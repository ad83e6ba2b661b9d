"""The assembly: clean lines and what the exact reader made of the suspect ones become one table, in file order."""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from ingestd.errors import Rejected
from ingestd.ingest.reading import header as headers
from ingestd.ingest.reading.records import Dialect, Fault, Reader, Record
from ingestd.ingest.reading.scan import Lines, holding, marked
from ingestd.ingest.reading.text import SWAP_LINE_ENDS, Text
from ingestd.ingest.reading.western import Positions
from ingestd.model import Stage

BOM = "\ufeff"
_BOM = BOM.encode()

BATCH = 1 << 16
"""Lines whose numbers are Python objects at the same time."""

GOOD, REJECTED, BLANK, CONTINUATION = 0, 1, 2, 3


class Disagreement(Exception):
    """The fast reader found other records than the scan; the file is then read exactly throughout."""


@dataclass(frozen=True, kw_only=True)
class Rejections:
    """Which records were rejected, and why; as bare numbers, for a file may hold a million of them."""

    lines: array[int] = field(default_factory=lambda: array("q"))
    """where the records start, 0 for the first line of the scan, ascending; one number for each fault"""
    kinds: array[int] = field(default_factory=lambda: array("i"))
    """positions in `faults`, one for each of `lines`"""
    faults: dict[tuple[Stage, Fault], int] = field(default_factory=dict)
    header_like: array[int] = field(default_factory=lambda: array("q"))
    """lines of the rejected records that name columns"""

    def add(self, line: int, stage: Stage, fault: Fault) -> None:
        """Notes a fault of the record that starts in `line`."""
        self.lines.append(line)
        self.kinds.append(self.faults.setdefault((stage, fault), len(self.faults)))


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
    max_cells: int
    rejections: Rejections = field(default_factory=Rejections)
    clean: io.BytesIO = field(default_factory=io.BytesIO)
    above: int = 0
    """The lines at the beginning of `clean` that are no records"""
    cells: list[list[bytes]] | None = None
    """The good records, when all are read exactly (tests do); else they are in `clean`, for polars"""
    known: frozenset[str] = field(init=False)
    """The names of the columns, as they are compared"""

    def __post_init__(self) -> None:
        """Works out what every rejected record is compared with."""
        self.known = known_names(self.names)


def settle(body: Body, reader: Reader) -> None:
    """Reads every suspect line exactly; what it settles on is spliced between the clean stretches of `clean`.

    A record that is long or odd but without doubt stays in its clean stretch: polars reads it as we would.
    """
    starts, ends = body.lines.starts, body.lines.ends
    if not len(ends):
        return
    text = memoryview(reader.text)
    bad, nul = marked_lines(body, body.text.bad), holding(reader.text, int(starts[0]), ends, b"\0")
    damaged = bad | nul
    sound = not damaged.any()
    clean_from, next_line = int(starts[0]), 0
    for line, start, empty_to in _suspects(body):
        if line < next_line:
            continue
        if empty_to:
            body.fate[line:empty_to] = BLANK
            body.clean.write(text[clean_from:start])
            clean_from, next_line = int(ends[empty_to - 1]), empty_to
            continue
        certain = 0 if body.cells is not None else reader.certain(start, len(body.names))
        if certain and (sound or not damaged[line : line + certain].any()):
            body.fate[line + 1 : line + certain] = CONTINUATION
            next_line = line + certain
            continue
        record = reader.at(start, len(body.names))
        body.clean.write(text[clean_from:start])
        clean_from, next_line = record.end, line + record.lines
        body.fate[line + 1 : next_line] = CONTINUATION
        if sound:
            _settle_one(body, record, line)
        else:
            _settle_one(body, record, line, bool(bad[line:next_line].any()), bool(nul[line:next_line].any()))
    if body.clean.tell():
        body.clean.write(text[clean_from : int(ends[-1])])
    elif reader.text.startswith(_BOM, clean_from):
        body.clean = io.BytesIO(reader.text[clean_from : int(ends[-1])])
    else:  # nearly always: a stream around the bytes costs no copy of them, and polars skips those above
        body.clean = io.BytesIO(reader.text[: int(ends[-1])])
        body.above = reader.text.count(b"\n", 0, clean_from)


def _suspects(body: Body) -> Iterator[tuple[int, int, int]]:
    """Every suspect line with its start; where a run of empty lines begins, also the line behind it, else 0.

    Of a run only the first line is given: no record ends on an empty line, so that either all of them belong to one
    quoted field, or all of them are blank records.
    """
    starts, suspect = body.lines.starts, body.lines.suspect
    empty = _empty_lines(body)
    edges = np.diff(empty.view(np.int8), prepend=np.int8(0), append=np.int8(0))
    heads, behind = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    inner = empty.copy()
    inner[heads] = False
    lines = np.flatnonzero(suspect & ~inner)
    for at in range(0, len(lines), BATCH):
        some = lines[at : at + BATCH]
        empty_to = np.zeros(len(some), np.int64)
        is_head = empty[some]
        empty_to[is_head] = behind[np.searchsorted(heads, some[is_head])]
        yield from zip(some.tolist(), starts[some].tolist(), empty_to.tolist(), strict=True)


def _empty_lines(body: Body) -> npt.NDArray[np.bool_]:
    """Lines that are nothing but a line end."""
    lengths = body.lines.ends - body.lines.starts
    empty: npt.NDArray[np.bool_] = lengths == 1
    if body.dialect.pairs:
        two = np.flatnonzero(lengths == 2)
        empty[two] = np.frombuffer(body.text.work, np.uint8)[body.lines.starts[two]] == ord("\r")
    return empty


def marked_lines(body: Body, offsets: Positions) -> npt.NDArray[np.bool_]:
    """Which lines contain one of the offsets of the working text."""
    return marked(body.lines.ends, offsets[offsets >= body.lines.starts[0]])


def _settle_one(body: Body, record: Record, line: int, bad: bool = False, nul: bool = False) -> None:
    if bad:
        message = f"The record contains bytes that are no {body.text.encoding} text."
        body.rejections.add(line, Stage.DECODE, Fault("bytes_not_text", message))
    if nul:
        body.rejections.add(line, Stage.DECODE, Fault("nul_byte", "The record contains a NUL byte."))
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
        body.rejections.add(line, Stage.STRUCTURE, record.fault)
        cells = [cell.decode(errors="replace") for cell in record.cells]
        if cells and header_like(cells, body.names, body.known):
            body.rejections.header_like.append(line)


def _keep(body: Body, cells: list[bytes]) -> None:
    if body.swapped:
        cells = [cell.translate(SWAP_LINE_ENDS) for cell in cells]
    if body.cells is not None:
        body.cells.append(cells)
    else:
        body.clean.write(_canonical(body, cells))


def _canonical(body: Body, cells: list[bytes]) -> bytes:
    """The record in the one form which polars reads beyond doubt: every cell quoted."""
    quote = body.dialect.quote
    if not quote:
        return body.dialect.delimiter.join(cells) + b"\n"
    return body.dialect.delimiter.join(quote + cell.replace(quote, quote * 2) + quote for cell in cells) + b"\n"


def compared(name: str) -> str:
    """A name in the form in which cells are compared with it.

    Where files are joined, a byte order mark is left before the first name, and makes its quotes letters.
    """
    return (name[1:].strip('"') if name.startswith(BOM) else name).strip().casefold()


def known_names(names: tuple[str, ...]) -> frozenset[str]:
    """The names in the form in which they are compared with cells."""
    return frozenset(map(compared, names))


def header_like(cells: list[str], names: tuple[str, ...], known: frozenset[str]) -> bool:
    """Whether a record repeats the names of columns, at least half of them and two: then it is a header itself."""
    return sum(compared(cell) in known for cell in cells) >= header_need(names)


def header_need(names: tuple[str, ...]) -> int:
    """How many names make a record a header."""
    return min(len(names), max(2, (len(names) + 1) // 2))


def frame(body: Body) -> pl.DataFrame:
    """The good records as text columns; raises Disagreement when the fast reader does not find all of them.

    The columns have numbers for names, see `numbered`.
    """
    wanted = int(np.count_nonzero(body.fate == GOOD))
    require_cells(wanted, len(body.names), body.max_cells)
    if wanted == 0 or body.cells is not None:
        return _exact_frame(body)
    text = body.clean.getvalue()
    body.clean.close()
    if not body.above and text.startswith(_BOM):
        text = _BOM + text  # polars drops one from the beginning, where it is the first letter of a cell
    try:
        cells = pl.read_csv(
            text,
            has_header=False,
            skip_lines=body.above,
            separator=body.dialect.delimiter.decode(),
            quote_char=body.dialect.quote.decode() or None,
            schema=dict.fromkeys(numbered(len(body.names)), pl.String),
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
    named = zip(numbered(len(body.names)), decoded, strict=True)
    return pl.DataFrame([pl.Series(name, column, dtype=pl.String) for name, column in named])


def numbered(width: int) -> list[str]:
    """Names for columns while they are worked on: polars takes a header like `^x$` or `*` for a pattern of names."""
    return [f"c{column}" for column in range(width)]


def require_cells(records: int, width: int, most: int) -> None:
    """Raises Rejected when a table of so many records and columns has more cells than are read."""
    if records * width > most:
        message = f"The table has {records:,} records of {width:,} columns; at most {most:,} cells are read."
        suggestion = "Split the file, and leave out columns that hold nothing."
        raise Rejected("too_many_cells", message, suggestion=suggestion)
