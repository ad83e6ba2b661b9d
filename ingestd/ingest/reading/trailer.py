"""The trailer: a last line that is no record but says how many records there are (a control total)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ingestd.errors import Rejected
from ingestd.ingest.reading.text import Text

LONGEST = 1_000
"""bytes of a last line that is looked at: the operator's pattern meets the partner's text here"""


@dataclass(frozen=True, kw_only=True)
class Trailer:
    """A trailer that was cut off: its number, and the original bytes around that, line ends included."""

    pattern: str
    line: str
    number: tuple[int, int]
    """where the number stands in `line`"""
    before: bytes
    after: bytes
    encoding: str

    @property
    def announced(self) -> int:
        """How many records there are."""
        return int(_digits(self.line[slice(*self.number)]))

    def saying(self, records: int) -> bytes:
        """The same for another number of records; with zeros before it, if the pattern wants as many digits."""
        start, end = self.number
        plain = str(records)
        padded = plain.zfill(end - start)
        found = re.search(self.pattern, self.line[:start] + plain + self.line[end:])
        digits = plain if found is not None and found["rows"] == plain else padded
        return self.before + digits.encode(self.encoding) + self.after


def cut_text(decoded: Text, pattern: str) -> tuple[Text, Trailer]:
    """The text without its last line, and that; raises Rejected when the last line is no trailer."""
    content = decoded.work.rstrip(b"\r\n\t ")
    start = max(content.rfind(b"\n"), content.rfind(b"\r")) + 1
    # Bytes that are no text stand for themselves, so that what comes before the number has its length.
    line = content[start : start + LONGEST + 1].decode("utf-8", "surrogateescape")
    number = _number(line, pattern)
    places = [start + len(line[:end].encode("utf-8", "surrogateescape")) for end in (0, *number)]
    offset, begin, behind = decoded.offsets(np.array(places, np.int64)).tolist()
    cut = Trailer(
        pattern=pattern,
        line=line,
        number=number,
        before=decoded.original[offset:begin],
        after=decoded.original[behind:],
        encoding="utf-8" if decoded.encoding.startswith("utf-8") else decoded.encoding,
    )
    kept = replace(
        decoded, work=decoded.work[:start], original=decoded.original[:offset], bad=decoded.bad[decoded.bad < start]
    )
    return kept, cut


def cut_rows(rows: list[Sequence[str]], pattern: str, delimiter: str = ",") -> Trailer:
    """The same for the rows of a sheet, the last of which is taken away; it is read as a line of CSV.

    Also as one with commas, whatever the delimiter: the pattern may have been made for workbooks alone.
    """
    lines = [_line(rows[-1], each) for each in (delimiter, ",")]
    line = next((each for each in lines if re.search(pattern, each[:LONGEST])), lines[0])
    start, end = number = _number(line[: LONGEST + 1], pattern)
    rows.pop()
    before, after = line[:start].encode(), line[end:].encode() + b"\r\n"
    return Trailer(pattern=pattern, line=line, number=number, before=before, after=after, encoding="utf-8")


def _line(row: Sequence[str], delimiter: str) -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter, lineterminator="").writerow(row)
    return stream.getvalue()


def _number(line: str, pattern: str) -> tuple[int, int]:
    """Where the number of records stands in a last line; raises Rejected when there is none."""
    found = re.search(pattern, line) if len(line) <= LONGEST else None
    if found is None:
        raise _missing(f"its last line is {line[:80]!r}")
    digits = _digits(found["rows"] or "")
    if not (digits.isascii() and digits.isdigit()):
        raise _missing(f"its last line has no number of records: {line[:80]!r}")
    return found.span("rows")


def _digits(number: str) -> str:
    """Without what may stand between thousands."""
    return re.sub(r"[ .,']", "", number)


def _missing(why: str) -> Rejected:
    message = f"The file does not end with the line that says how many records it has: {why}."
    return Rejected("trailer_missing", message, suggestion="Send the whole file; it may have been cut.")
