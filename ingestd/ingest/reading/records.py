"""Records: the exact reader. It says, record by record, what a text means; every faster way must agree with it.

The rules, over text in which LF (or CR LF) ends a line:

- A field that starts with the quote ends at the next quote that is not doubled, and there a delimiter or a line end
  must follow; anything else is a fault. It may span lines.
- Inside a field that does not start with it, `"` is a letter when the quotes of that field are even in number. Odd, the
  record is at fault: after a lost separator a quoted comma would shift the columns in silence.
- `'` as a quote is also an apostrophe: a letter in unquoted fields, and in quoted ones between a letter and a letter or
  space (`won't`, `Kids' boots`). There `""` is a fault: a writer that changed its quotes leaves it behind.
- A CR that ends no line is a fault outside quotes.
- A faulty record costs its first line; reading resumes on the next one. So an unclosed quote never swallows the file.
- A record over several lines, one of which would make a whole record by itself, may be two records that a stray quote
  has glued together; of two fields only where `'` quotes, as any line with a comma would do. Such a record is a fault
  as a whole, or, when every one of its lines looks like a record, only its first line is: then the lines between are
  read for themselves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from ingestd.errors import Rejected

ROW_LIKE = 3
"""Fewer fields than this are no proof that a line is a record by itself."""
RESUME_FROM = 4
"""Columns from which lines that all have the right number of delimiters are taken for records of their own."""
GLANCE = 65_536
"""Bytes within which a record must end to be certain at a glance."""
MANY_DOUBTS = 2_000
"""Glances in vain, net of the others, after which the file is not worth them."""
BUDGET = 20_000_000
"""Quotes looked at for records that never close. Beyond it the file is refused: the work would grow with its square."""

_LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") | frozenset(range(0x80, 0x100))
_SPACE, _CR = 0x20, 0x0D


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How the text separates, quotes and escapes; one byte each, empty when there is none."""

    delimiter: bytes
    quote: bytes = b'"'
    escape: bytes = b""
    skip_space: bool = False
    """True when one space after a delimiter belongs to the delimiter."""
    pairs: bool = True
    """True when CR LF ends a line like LF; False for text whose CR and LF were exchanged (see `Text.lined`)."""


class Fault(NamedTuple):
    """Why a record is rejected."""

    code: str
    message: str


class Record(NamedTuple):
    """One record: where it ends (line end included), its physical lines, and its cells or its fault."""

    end: int
    lines: int
    cells: list[bytes]
    fault: Fault | None


class Reader:
    """Reads single records out of `text`, which must end with LF. Mutable only in the work that it counts."""

    def __init__(self, text: bytes, dialect: Dialect, *, max_lines: int, max_bytes: int) -> None:
        self.text = text
        self.dialect = dialect
        self.max_lines = max_lines
        self.max_bytes = max_bytes
        self._looked = 0
        self._spent = 0
        self._doubts = 0
        self._whole_record: re.Pattern[bytes] | None = None

    def certain(self, start: int, width: int) -> int:
        """How many lines the record at `start` has when one glance says that it is good; 0 when it takes `at` to tell.

        Files full of notes that span lines are read in a tenth of the time so. Good means here: good beyond the guard
        against glued records, not blank, and in the form that every reader understands alike.
        """
        dialect, text = self.dialect, self.text
        plain = dialect.quote == b'"' and dialect.pairs and not dialect.escape and not dialect.skip_space
        if not plain or self._doubts > MANY_DOUBTS or text[start] in b"\r\n":
            return 0
        if self._whole_record is None:
            self._whole_record = _whole_record(dialect.delimiter, width)
        found = self._whole_record.match(text, start, start + min(self.max_bytes, GLANCE))
        if found is None:
            self._doubts += 2
            return 0
        self._doubts = max(0, self._doubts - 1)
        lines = _lines(text, start, found.end())
        glued = width >= ROW_LIKE and any(text.count(dialect.delimiter, *line) >= width - 1 for line in lines[1:])
        return 0 if glued or len(lines) > self.max_lines else len(lines)

    def at(self, start: int, width: int | None) -> Record:
        """The record that starts at `start`; with `width`, one of another number of fields is at fault."""
        stop = self.text.find(b"\n", start) + 1
        if stop - start > self.max_bytes:
            message = f"The line has {stop - start:,} bytes; at most {self.max_bytes:,} are read as one record."
            return Record(stop, 1, [], Fault("record_too_long", message))
        quote = self.dialect.quote
        if quote and self.text.find(quote, start, stop) >= 0:
            self._looked = 0
            record = self._walk(start, stop, len(self.text))
            if record.fault is not None:
                self._spend()
        else:
            record = self._plain(start, stop)
        if record.lines > 1 and record.fault is None:
            record = self._several_lines(start, stop, record, width)
        if record.fault is None and width is not None and len(record.cells) != width:
            return record._replace(fault=_wrong_count(len(record.cells), width))
        return record

    def _plain(self, start: int, stop: int) -> Record:
        """A line without any quote."""
        line = self.text[start : self._content_end(start, stop)]
        fault = _STRAY_CR if b"\r" in line else None
        cells = line.split(self.dialect.delimiter)
        if self.dialect.skip_space:
            cells[1:] = [cell.removeprefix(b" ") for cell in cells[1:]]
        return Record(stop, 1, cells, fault)

    def _content_end(self, start: int, stop: int) -> int:
        return stop - 2 if self.dialect.pairs and stop - 2 >= start and self.text[stop - 2] == _CR else stop - 1

    def _walk(self, start: int, stop: int, bound: int) -> Record:
        """Field by field. `stop` is the end of the first line; quoted fields may reach further, to `bound`."""
        text, dialect = self.text, self.dialect
        cells: list[bytes] = []
        doubt: Fault | None = None
        at, line_stop, bound = start, stop, min(bound, start + self.max_bytes)
        while True:
            if dialect.skip_space and cells and text[at] == _SPACE:
                at += 1
            quoted = text.startswith(dialect.quote, at)
            field = self._quoted(at, bound, len(cells)) if quoted else self._bare(at, line_stop, len(cells))
            if isinstance(field, Fault):
                return Record(stop, 1, [], field)
            cell, after = field
            cells.append(cell)
            doubt = doubt or (self._doubt(at + 1, after - 1) if quoted else None)
            line_stop = line_stop if after < line_stop else text.find(b"\n", after) + 1
            if after == self._content_end(after, line_stop):
                break
            if not text.startswith(dialect.delimiter, after):
                return Record(stop, 1, [], _after_quote(len(cells), dialect.quote))
            at = after + 1
        lines = text.count(b"\n", start, line_stop)
        if lines > self.max_lines:
            return Record(stop, 1, [], self._unclosed(len(cells) - 1))
        return Record(line_stop, lines, cells, doubt)

    def _doubt(self, start: int, end: int) -> Fault | None:
        """What makes the text of a quoted field mean two things; its record ends where it seems to."""
        escape = self.dialect.escape
        if escape and self.text.find(escape * 2, start, end) >= 0:
            return _AMBIGUOUS_ESCAPE
        if self.dialect.quote == b"'" and self.text.find(b'""', start, end) >= 0:
            return _AMBIGUOUS_DOUBLED
        return None

    def _quoted(self, at: int, bound: int, position: int) -> tuple[bytes, int] | Fault:
        """The cell of the quoted field at `at`, and where the field ends."""
        close = self._close(at + 1, bound)
        if close < 0:
            return self._unclosed(position)
        return self._unquoted(self.text[at + 1 : close]), close + 1

    def _bare(self, at: int, line_stop: int, position: int) -> tuple[bytes, int] | Fault:
        """The cell of the unquoted field at `at`, and where it ends."""
        edge = self._content_end(at, line_stop)
        after = self.text.find(self.dialect.delimiter, at, edge)
        after = edge if after < 0 else after
        cell = self.text[at:after]
        return self._bare_fault(cell, position) or (cell, after)

    def _close(self, at: int, bound: int) -> int:
        """Where the quoted field closes whose text starts at `at`; -1 when it does not within `bound`."""
        text, quote = self.text, self.dialect.quote
        opened = at
        while (end := text.find(quote, at, bound)) >= 0:
            self._looked += 1
            if self.dialect.escape and self._escaped(opened, end):
                at = end + 1
            elif text.startswith(quote, end + 1):
                at = end + 2
            elif quote == b"'" and end > opened and self._apostrophe(end):
                at = end + 1
            else:
                return end
        return -1

    def _spend(self) -> None:
        self._spent += self._looked
        if self._spent > BUDGET:
            message = "Far too many quoted fields of the file are never closed."
            raise Rejected("quotes_unreadable", message, suggestion="Write the file again with doubled quotes.")

    def _apostrophe(self, at: int) -> bool:
        before, after = self.text[at - 1], self.text[at + 1]
        return before in _LETTERS and after != self.dialect.delimiter[0] and (after in _LETTERS or after == _SPACE)

    def _escaped(self, opened: int, end: int) -> bool:
        before = end
        while before > opened and self.text.startswith(self.dialect.escape, before - 1):
            before -= 1
        return (end - before) % 2 == 1

    def _unquoted(self, inner: bytes) -> bytes:
        quote, escape = self.dialect.quote, self.dialect.escape
        if escape and escape in inner:
            # In one go from left to right: the quote of a backslash must not make a pair with the next one.
            return re.sub(re.escape(escape + quote) + b"|" + quote * 2, quote, inner)
        return inner.replace(quote * 2, quote)

    def _bare_fault(self, field: bytes, position: int) -> Fault | None:
        quote = self.dialect.quote
        if quote == b'"' and field.count(quote) % 2 == 1:
            message = f"Field {position + 1} contains a single {quote.decode()} but does not start with one."
            return Fault("stray_quote", message)
        return _STRAY_CR if b"\r" in field else None

    def _unclosed(self, position: int) -> Fault:
        quote = self.dialect.quote.decode()
        message = (
            f"Field {position + 1} opens with {quote} and is not closed within {self.max_lines:,} lines"
            f" and {self.max_bytes:,} bytes."
        )
        return Fault("unclosed_quote", message)

    def _several_lines(self, start: int, stop: int, record: Record, width: int | None) -> Record:
        """Guards against records that stray quotes have glued together; see the rules above."""
        if width is None or (width < ROW_LIKE and not self._apostrophes_may_glue(start, record, width)):
            return record
        lines = _lines(self.text, start, record.end)
        if len(record.cells) != width:
            glued = any(self._whole(begin, end, width) for begin, end in lines[1:])
            fault = _wrong_count(len(record.cells), width)
            return Record(stop, 1, [], fault) if glued else record._replace(fault=fault)
        delimiter = self.dialect.delimiter
        if width >= RESUME_FROM and all(self.text.count(delimiter, *line) == width - 1 for line in lines):
            return Record(stop, 1, [], _AMBIGUOUS)
        if any(self._whole(begin, end, width) for begin, end in lines[1:]):
            return record._replace(fault=_AMBIGUOUS)
        return record

    def _apostrophes_may_glue(self, start: int, record: Record, width: int) -> bool:
        """Of two fields, too, `'` may be no quote, unless it stands around the whole record: `1,'t Hooft`."""
        if self.dialect.quote != b"'" or width < 2:
            return False
        last = self._content_end(start, record.end) - 1
        return not (self.text.startswith(b"'", start) and self.text.startswith(b"'", last))

    def _whole(self, begin: int, end: int, width: int) -> bool:
        """Whether one physical line makes a record of `width` fields by itself."""
        if self.text.count(self.dialect.delimiter, begin, end) < width - 1:
            return False
        record = self._walk(begin, end, end)
        return record.fault is None and len(record.cells) == width


def _whole_record(delimiter: bytes, width: int) -> re.Pattern[bytes]:
    """Matches a record of `width` fields in the plain form; possessive, so that it never tries twice."""
    separator = re.escape(delimiter)
    field = b'(?:"(?:[^"]++|"")*+"|[^"\\r\\n' + separator + b"]*+)"
    return re.compile(field + (b"(?:" + separator + field + b"){%d}" % (width - 1)) + b"\\r?\\n")


def _lines(text: bytes, start: int, end: int) -> list[tuple[int, int]]:
    lines: list[tuple[int, int]] = []
    while start < end:
        stop = text.find(b"\n", start) + 1
        lines.append((start, stop))
        start = stop
    return lines


def _wrong_count(found: int, expected: int) -> Fault:
    code = "too_few_fields" if found < expected else "too_many_fields"
    fields = "1 field" if found == 1 else f"{found} fields"
    return Fault(code, f"The record has {fields}, but the header has {expected}.")


def _after_quote(position: int, quote: bytes) -> Fault:
    message = f"In field {position} text follows the closing {quote.decode()}; a quote inside a field must be doubled."
    return Fault("stray_quote", message)


_STRAY_CR = Fault("stray_line_end", "The record contains a line end of another kind than the file's, outside quotes.")
_AMBIGUOUS = Fault(
    "ambiguous_quotes",
    "The record spans several lines, but single lines of it look like whole records: a quote is missing or too much.",
)

_AMBIGUOUS_ESCAPE = Fault("ambiguous_escape", "Two backslashes in a row can mean one or two.")

_AMBIGUOUS_DOUBLED = Fault("ambiguous_quotes", 'In a field quoted by \', "" can mean one quote or two.')

SUGGESTIONS = {
    "bytes_not_text": "Save the whole file in one encoding, UTF-8 at best.",
    "nul_byte": "Write the file again without NUL bytes.",
    "too_few_fields": "A separator is missing, or a line break stands in a field that is not quoted.",
    "too_many_fields": "There is a separator too many, or a field that contains the separator is not quoted.",
    "stray_quote": "Put quotes around the whole field and double the quotes inside it.",
    "unclosed_quote": "Close the quote at the end of the field, or remove it.",
    "stray_line_end": "Use one kind of line end in the whole file, and quote fields that contain line breaks.",
    "ambiguous_quotes": "Check the quotes of these lines; send the records on one line each.",
    "record_too_long": "Check whether a line end is missing.",
    "cell_error": "Correct the formula, or put the value in its place.",
    "ambiguous_escape": "Double quotes inside fields instead of writing a backslash before them.",
}
"""What a partner can do about a fault, by its code."""
