"""The header: found below a preamble, and refused when it names nothing or names two columns alike."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ingestd.errors import Rejected
from ingestd.ingest.reading.preamble import MAX_PREAMBLE, Skipped, doubtful
from ingestd.ingest.reading.records import Reader, Record
from ingestd.ingest.reading.text import SWAP_LINE_ENDS

MAX_COLUMNS = 2_000
"""Columns of a table: what is done for each of them would make a small file of many the work of a large one."""

_DATA = re.compile(
    r"""[^@\s]+@[^@\s]+\.[^@\s]+                                  # e-mail address
    | \+?[\d\s()./-]*\d{3}[\d\s()./-]*\d{4}                       # telephone number
    | \d{1,4}[-/.]\d{1,2}[-/.]\d{2,4}([ T]\d{1,2}:\d{2}.*)?       # date
    | \d{1,2}:\d{2}(:\d{2})?                                      # time
    """,
    re.VERBOSE,
)
_NUMBER = re.compile(r"[-+]?[$€£]?\d[\d.,]*%?")
_YEAR = re.compile(r"(19|20)\d\d([-/](19|20)?\d\d)?")
_JUDGED = 80
"""Longer names are not compared with the patterns of data: these would take the square of the length."""
_SEPARATORS = re.compile(r"[\s;,|]+")


@dataclass(frozen=True, kw_only=True)
class Header:
    """The names of the columns, and where they stand."""

    names: tuple[str, ...]
    start: int
    end: int
    line: int
    end_line: int
    preamble_lines: int
    doubtful: tuple[Skipped, ...] = ()
    """Lines above it that may hold more than a title"""


FIRST_RECORDS = 200
"""Records among which the header is looked for, and that tell one dialect from another."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A record that may be the header, with its place."""

    record: Record
    start: int
    line: int
    blank: bool


def candidates(reader: Reader, limit: int) -> list[Candidate]:
    """The first records of a text, up to `limit` that are not blank."""
    found: list[Candidate] = []
    at, line, filled = 0, 1, 0
    while at < len(reader.text) and filled < limit and len(found) < 10 * limit:
        record = reader.at(at, None)
        empty = blank(record)
        found.append(Candidate(record=record, start=at, line=line, blank=empty))
        filled += not empty
        at, line = record.end, line + record.lines
    return found


def blank(record: Record) -> bool:
    """Nothing but spaces: an empty line, or only empty fields."""
    return record.fault is None and not b"".join(record.cells).strip(b" \t")


def usual_width(found: Sequence[Candidate]) -> int:
    """The most frequent number of fields; the first one's among equals.

    A single field is then rather a title's: above a header and a record there may be as many lines of it.
    """
    widths = [len(each.record.cells) for each in found if each.record.fault is None and not each.blank]
    counts = Counter(widths)
    equals = [width for width, count in counts.items() if count == max(counts.values())]
    wider = [width for width in equals if width > 1 and len(widths) > 2]
    return (wider or equals or [0])[0]


def position(found: Sequence[Candidate], width: int) -> int | None:
    """Index of the header: the first record that is neither blank nor preamble."""
    for index, candidate in enumerate(found):
        if not candidate.blank and not _is_preamble(candidate.record, width):
            return index
    return None


def require_position(found: Sequence[Candidate], width: int) -> int:
    """The same; raises Rejected when no header is there, or so far down that what is above it is no preamble."""
    index = position(found, width)
    if index is None or len(skipped(found[:index])) > MAX_PREAMBLE:
        message = "No line of the file's beginning looks like a header."
        raise Rejected("header_unreadable", message, suggestion=_SUGGESTION)
    return index


def skipped(above: Sequence[Candidate]) -> list[Skipped]:
    """What stands above a header, but for blank lines."""
    return [
        Skipped(line=each.line, cells=tuple(cell.decode(errors="replace").strip() for cell in each.record.cells))
        for each in above
        if not each.blank
    ]


def _is_preamble(record: Record, width: int) -> bool:
    if record.fault is not None or width < 2:
        return False
    filled = [cell for cell in record.cells if cell.strip()]
    return len(filled) < max(2, (width + 1) // 2)


def find(reader: Reader, known: Sequence[Candidate], *, swapped: bool, encoding_bad: int | None) -> Header:
    """The header of the reader's text; `encoding_bad` is the offset of the first byte that is no text.

    `known` are the first records, if they have been read already.
    """
    found = known or candidates(reader, FIRST_RECORDS)
    if all(candidate.blank for candidate in found):
        raise Rejected("empty_file", "The file is empty.", suggestion="Send a file with a header and records.")
    width = usual_width(found)
    index = require_position(found, width)
    chosen = found[index]
    _require_plain_preamble(found[:index], width)
    raw = reader.text[chosen.start : chosen.record.end]
    if encoding_bad is not None and encoding_bad < chosen.record.end:
        raise _unreadable(chosen.line, "it contains bytes that are no text")
    if b"\0" in raw:
        raise _unreadable(chosen.line, "it contains a NUL byte")
    if chosen.record.fault is not None:
        raise _unreadable(chosen.line, chosen.record.fault.message)
    cells = chosen.record.cells
    names = [(cell.translate(SWAP_LINE_ENDS) if swapped else cell).decode() for cell in cells]
    require_names(names, chosen.line)
    return Header(
        names=filled_names(names),
        start=chosen.start,
        end=chosen.record.end,
        line=chosen.line,
        end_line=chosen.line + chosen.record.lines - 1,
        preamble_lines=chosen.line - 1,
        doubtful=doubtful(skipped(found[:index]), names, chosen.line),
    )


_SUGGESTION = "Put one header line with the names of the columns above the records."


def _unreadable(line: int, why: str) -> Rejected:
    message = f"The header in line {line} cannot be read: {why}"
    return Rejected("header_unreadable", message, suggestion=_SUGGESTION, line=line)


def _require_plain_preamble(preamble: Sequence[Candidate], width: int) -> None:
    """A line of one field with as many words as there are columns is rather the header, separated in another way."""
    for candidate in preamble:
        text = b" ".join(candidate.record.cells).decode(errors="replace")
        words = [word for word in _SEPARATORS.split(text) if word]
        if len(candidate.record.cells) == 1 and len(words) == width > 2:
            raise _unreadable(candidate.line, "it is not separated like the records.")


def require_names(names: Sequence[str], line: int) -> None:
    """Raises Rejected for too many names, for names that look like data, and for two alike but for case and spaces."""
    if len(names) > MAX_COLUMNS:
        message = f"The header in line {line} has {len(names):,} columns; at most {MAX_COLUMNS:,} are read."
        raise Rejected("too_many_columns", message, suggestion="Leave out the columns that no lead needs.", line=line)
    filled = [name.strip() for name in names if name.strip()]
    short = [name for name in filled if len(name) <= _JUDGED]
    numbers = [name for name in short if _NUMBER.fullmatch(name)]
    only_years = all(_YEAR.fullmatch(name) for name in numbers) and len(numbers) < len(filled)
    if not filled:
        raise _unreadable(line, "it names no column.")
    data = [name for name in short if _DATA.fullmatch(name) and not _YEAR.fullmatch(name)]
    if data or (len(numbers) * 2 >= len(filled) and not only_years):
        value = (data or numbers)[0]
        message = f"Line {line} should be the header, but “{value[:60]}” looks like data."
        raise Rejected("no_header", message, suggestion=_SUGGESTION, line=line)
    seen: dict[str, int] = {}
    for column, name in enumerate(names, start=1):
        key = name.strip().casefold()
        if key and key in seen:
            message = (
                f"The header in line {line} has “{name.strip()}” twice: in column {seen[key]} and in column {column}."
            )
            raise Rejected("doubled_header", message, suggestion="Give every column its own name.", line=line)
        seen[key] = column


def filled_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names as written; an empty one in position n becomes `column_n`, with `_` added until it is unique."""
    taken = set(names)
    result: list[str] = []
    for column, written in enumerate(names, start=1):
        name = written
        if not name.strip():
            name = f"column_{column}"
            while name in taken:
                name += "_"
            taken.add(name)
        result.append(name)
    return tuple(result)
