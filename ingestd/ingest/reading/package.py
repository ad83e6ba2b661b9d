"""The package: the parts of an .xlsx file that hold cells and what cells refer to, opened within bounds.

openpyxl finds the parts. It would make objects of all that a workbook can hold, and of some of it before anybody can
look at how much there is; so the parts that may be large are read here.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from openpyxl.reader.excel import ExcelReader
from openpyxl.xml.constants import ARC_STYLE, SHARED_STRINGS, SHEET_MAIN_NS
from openpyxl.xml.functions import iterparse

from ingestd.errors import Rejected
from ingestd.ingest.reading import formats
from ingestd.ingest.reading.formats import Formats

MAX_COLUMN = 16_384
"""What Excel itself has."""
MAX_STRINGS = 5_000_000
"""Different texts of a workbook; all of them are in memory."""
_MAX_TAGS = 16 * MAX_COLUMN
"""Tags of a row or text: more than a full row of formatted texts has."""
_UNSUSPICIOUS = 300_000
"""Tags of a part that may be packed however well."""
_MAX_PACKED = 20
"""Tags that may come out of one byte: of the same row again and again it is 3, of nothing but `<c/>` it is 250."""
_WHOLE = {"[Content_Types].xml": 200_000, "xl/workbook.xml": 200_000, ARC_STYLE: 1_000_000}
"""How many tags the parts may have that are made objects of as a whole; Excel knows 65,490 styles of cells."""

_ITEM, _TEXT, _RUN = (f"{{{SHEET_MAIN_NS}}}{name}" for name in ("si", "t", "r"))
_SUGGESTION = "Copy the table into a new workbook, or save it as CSV UTF-8, and send that."


class Package(ExcelReader):
    """A workbook without its cells."""

    def __init__(self, data: bytes) -> None:
        """Raises whatever openpyxl and its parsers raise for a damaged workbook, and Rejected."""
        super().__init__(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
        self.size = len(data)
        self.formats = Formats()
        self._require_few_tags()
        self.read_manifest()
        self.read_strings()
        self.read_workbook()
        if ARC_STYLE in self.valid_files:
            with self.opened(ARC_STYLE) as source:
                self.formats = formats.read(source)

    def _require_few_tags(self) -> None:
        for name, most in _WHOLE.items():
            if name in self.valid_files:
                with self.archive.open(name) as source:
                    tags = sum(piece.count(b"<") for piece in iter(lambda: source.read(1 << 18), b""))
                if tags > most:
                    message = f"The workbook has far more styles, names or parts than any real one ({name})."
                    raise Rejected("too_large_unpacked", message, suggestion=_SUGGESTION)

    def read_strings(self) -> None:
        """The shared strings as they stand in the file: openpyxl cuts a part of the escapes out."""
        package: Any = self.package
        part = package.find(SHARED_STRINGS)
        if part is not None:
            with self.opened(part.PartName[1:]) as source:
                self.shared_strings = _strings(source)

    def visible(self) -> list[Worksheet]:
        """The sheets that are shown, in their order."""
        return [
            Worksheet(package=self, title=sheet.name, part=relation.target)
            for sheet, relation in self.parser.find_sheets()
            if sheet.state == "visible" and relation.target in self.valid_files and "chartsheet" not in relation.Type
        ]

    @contextmanager
    def opened(self, part: str) -> Iterator[Guarded]:
        """The bytes of a part."""
        info = self.archive.getinfo(part)
        with self.archive.open(info) as source:
            yield Guarded(source, min(info.compress_size, self.size))


@dataclass(frozen=True, kw_only=True)
class Worksheet:
    """A sheet that has not been read."""

    package: Package
    title: str
    part: str


class Guarded:
    """The bytes of a part, with a look at its tags: a row is in memory as a whole before its cells can be counted."""

    def __init__(self, source: IO[bytes], packed: int) -> None:
        self.source = source
        self.packed = packed
        """bytes of the file that it comes from"""
        self.tags = 0
        self.since = 0
        """tags since the last row or text was complete"""

    def read(self, size: int = -1) -> bytes:
        """Raises Rejected when a row has more tags than rows have, or when the whole is nothing but repetition."""
        piece = self.source.read(size)
        tags = piece.count(b"<")
        self.tags += tags
        self.since += tags
        if self.since > _MAX_TAGS:
            message = f"A row of the workbook has far more cells than {MAX_COLUMN:,}."
            raise Rejected("cell_out_of_range", message, suggestion=_SUGGESTION)
        if self.tags > _UNSUSPICIOUS and self.tags > _MAX_PACKED * self.packed:
            message = (
                f"{self.packed:,} bytes of the workbook unpack to {self.tags:,} tags or more: it only repeats itself."
            )
            raise Rejected("too_large_unpacked", message, suggestion=_SUGGESTION)
        return piece

    def finish(self) -> None:
        """Reads to the end, where it shows whether anything was damaged."""
        while self.source.read(1 << 18):
            pass


def _strings(source: Guarded) -> list[str]:
    """The texts, read without openpyxl's objects: they take many times as long, even for an empty text."""
    found: list[str] = []
    for _, node in iterparse(source):
        if node.tag == _ITEM:
            if len(found) == MAX_STRINGS:
                message = f"The workbook has more than {MAX_STRINGS:,} different texts."
                raise Rejected("too_many_cells", message, suggestion="Split it into smaller files.")
            found.append(_plain(node))
            node.clear()
            source.since = 0
    return found


def _plain(item: Any) -> str:
    """The text, or its parts that look different; not how it is pronounced."""
    if len(item) == 1 and item[0].tag == _TEXT:  # nearly always
        return item[0].text or ""
    parts = [*item.findall(_TEXT), *item.findall(f"{_RUN}/{_TEXT}")] if len(item) else []
    return "".join(part.text or "" for part in parts)
