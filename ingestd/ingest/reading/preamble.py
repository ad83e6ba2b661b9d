"""The preamble: what stands above the header. A title is skipped, a record never is without a word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ingestd.errors import Rejected

MAX_PREAMBLE = 20
"""Records looked at for the header, blank ones not counted."""

_MANY = 3
"""Numbers or addresses below each other that are a column: a letterhead has one for calls and one for the fax."""
_JUDGED = 80
"""A longer cell is no telephone number and no address."""
_TOLD = 60
"""Characters of a line that a message quotes."""
_PHONE = re.compile(r"\+?[\s()./-]*\d(?:[\s()./-]*\d){6,14}[\s)]*")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_DAY = r"(?:\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|(?:19|20)\d\d(?:0\d|1[0-2])(?:[0-2]\d|3[01]))"
_DAYS = re.compile(rf"{_DAY}(?:\s*[-/]\s*{_DAY})?")
"""A day, or from which to which: what a report says of itself, and what would pass for a telephone number"""


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A line above the header that is not blank."""

    line: int
    cells: tuple[str, ...]
    """without the white space around them"""

    @property
    def filled(self) -> int:
        return sum(cell != "" for cell in self.cells)

    @property
    def more_than_a_title(self) -> bool:
        """Whether it may be a record: with two cells, or a number or an address for the only one."""
        return self.filled > 1 or any(_contact(cell) for cell in self.cells)

    @property
    def text(self) -> str:
        return " ".join(cell for cell in self.cells if cell)[:_TOLD]


def doubtful(skipped: Sequence[Skipped], names: Sequence[str], line: int) -> tuple[Skipped, ...]:
    """The lines above a header of these `names` that may hold more than a title, for a warning.

    Raises Rejected when one of them is certainly the record or the header of another table: skipped as preamble, its
    records would end in no log.
    """
    found = of_a_table(skipped, names)
    if found is not None:
        above = f"Line {found.line} stands above the header in line {line}"
        message = f"{above}, but “{found.text}” belongs to a table of its own."
        raise Rejected("records_above_header", message, suggestion="Send one table in a file.", line=found.line)
    return tuple(each for each in skipped if each.more_than_a_title)


def of_a_table(lines: Iterable[Skipped], names: Sequence[str] = ()) -> Skipped | None:
    """The first line that certainly belongs to a table, if there is one.

    That is a header with two of these `names` and a line below it, a line that begins with a number or an address, and
    one that makes a column of them.
    """
    known = {name.strip().casefold() for name in names}
    columns: Counter[tuple[int, str]] = Counter()
    head: Skipped | None = None
    for each in lines:
        found = [(column, kind) for column, cell in enumerate(each.cells) if (kind := _contact(cell))]
        columns.update(found)
        first = next((cell for cell in each.cells if cell), "")
        if head is not None:
            return head
        if (each.filled > 1 and _contact(first)) or any(columns[key] >= _MANY for key in found):
            return each
        if sum(cell.casefold() in known for cell in each.cells if cell) > 1:
            head = each
    return None


def _contact(cell: str) -> str:
    """`phone` or `email` when the cell is one; a day is not, though many look like a number."""
    if len(cell) > _JUDGED or _DAYS.fullmatch(cell):
        return ""
    return "phone" if _PHONE.fullmatch(cell) else "email" if _EMAIL.fullmatch(cell) else ""
