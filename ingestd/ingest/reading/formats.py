"""The formats of numbers in a workbook: what says that a number is a day, and whether it has a time.

openpyxl makes objects of everything that a cell can look like, fonts and borders too: half a minute for as many styles
as fit into a small file. Only these are needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from openpyxl.styles.numbers import BUILTIN_FORMATS, is_date_format, is_timedelta_format
from openpyxl.xml.constants import SHEET_MAIN_NS
from openpyxl.xml.functions import iterparse

_STYLES, _FORMATS = f"{{{SHEET_MAIN_NS}}}cellXfs", f"{{{SHEET_MAIN_NS}}}numFmts"


class Readable(Protocol):
    """What the XML parser reads."""

    def read(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True, kw_only=True)
class Formats:
    """The format of each style of cells, by the style's number."""

    codes: tuple[str, ...] = ()
    dates: frozenset[int] = frozenset()
    """the styles that show days or times"""
    timedeltas: frozenset[int] = frozenset()
    """the styles that show how long something takes"""

    def shown(self, style: int) -> str:
        """The format of a style, such as `yyyy-mm-dd`; empty for one that there is not."""
        return self.codes[style] if 0 <= style < len(self.codes) else ""


def read(source: Readable) -> Formats:
    """Out of `xl/styles.xml`; raises what the XML parser and `int` raise for what is damaged."""
    named: dict[int, str] = {}
    numbers: list[int] = []
    for _, node in iterparse(source):
        if node.tag == _FORMATS:
            named.update((int(each.get("numFmtId")), each.get("formatCode") or "") for each in node)
        elif node.tag == _STYLES:
            numbers.extend(int(each.get("numFmtId") or 0) for each in node)
    codes = {number: named.get(number) or BUILTIN_FORMATS.get(number, "") for number in set(numbers)}
    dates = {number for number, code in codes.items() if is_date_format(code)}
    timedeltas = {number for number, code in codes.items() if is_timedelta_format(code)}
    return Formats(
        codes=tuple(codes[number] for number in numbers),
        dates=frozenset(style for style, number in enumerate(numbers) if number in dates),
        timedeltas=frozenset(style for style, number in enumerate(numbers) if number in timedeltas),
    )
