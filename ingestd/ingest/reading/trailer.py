"""The trailer: a last line that is no record but says how many records there are (a control total)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ingestd.errors import Rejected
from ingestd.ingest.reading.text import Text

LONGEST = 1_000
"""bytes of a last line that is looked at: the operator's pattern meets the partner's text here"""


def cut_text(decoded: Text, pattern: str) -> tuple[Text, int]:
    """The text without its last line, and the number in that; raises Rejected when the last line is no trailer."""
    content = decoded.work.rstrip(b"\r\n\t ")
    start = max(content.rfind(b"\n"), content.rfind(b"\r")) + 1
    announced = _announced(content[start : start + LONGEST + 1].decode("utf-8", "replace"), pattern)
    (offset,) = decoded.offsets(np.array([start], np.int64)).tolist()
    kept = replace(
        decoded, work=decoded.work[:start], original=decoded.original[:offset], bad=decoded.bad[decoded.bad < start]
    )
    return kept, announced


def cut_rows(rows: list[Sequence[str]], pattern: str) -> int:
    """The same for the rows of a sheet, the last of which is taken away; it is read as a line of CSV."""
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="").writerow(rows[-1])
    announced = _announced(stream.getvalue()[: LONGEST + 1], pattern)
    rows.pop()
    return announced


def _announced(line: str, pattern: str) -> int:
    found = re.search(pattern, line) if len(line) <= LONGEST else None
    if found is None:
        raise _missing(f"its last line is {line[:80]!r}")
    digits = re.sub(r"[ .,']", "", found["rows"] or "")
    if not (digits.isascii() and digits.isdigit()):
        raise _missing(f"its last line has no number of records: {line[:80]!r}")
    return int(digits)


def _missing(why: str) -> Rejected:
    message = f"The file does not end with the line that says how many records it has: {why}."
    return Rejected("trailer_missing", message, suggestion="Send the whole file; it may have been cut.")
