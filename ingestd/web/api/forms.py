"""Forms with a file (multipart/form-data), read while they come: fields first, then the file, which goes to the disk.

The way of web frameworks, which is to keep the whole form before anybody looks at it, would take files from whoever may
not send any, and of any size.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from ingestd.errors import Invalid
from ingestd.web.api.routes import too_large

LARGEST_FIELDS = 64 * 1024
"""bytes of all fields together with their names; the file's own are counted by its source's limit"""
FIELD_COSTS = 64
"""bytes for which each field counts beside what it says: a field of nothing takes memory, too"""
OVERHEAD = LARGEST_FIELDS + 16 * 1024
"""bytes by which a form may be longer than its file"""


@dataclass(kw_only=True)
class Form:
    """A form that is coming in."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str = ""
    begun: bool = False
    """the file has begun: all fields are known"""
    ended: bool = False
    """the form's last boundary has come"""
    _name: str = ""
    _headers: dict[bytes, bytes] = field(default_factory=dict)
    _header: list[bytes] = field(default_factory=lambda: [b"", b""])
    _value: bytearray = field(default_factory=bytearray)
    _size: int = 0
    _content: list[bytes] = field(default_factory=list)

    async def head(self, body: AsyncIterator[bytes], boundary: bytes) -> AsyncIterator[bytes]:
        """Reads the fields, and returns the file's bytes that are still to come. Raises Invalid, HTTPException 413."""
        parser = MultipartParser(boundary, self._callbacks())  # type: ignore[arg-type]  # a dict of our methods
        async for chunk in body:
            self._feed(parser, chunk)
            if self.begun:
                return self._rest(parser, body)
        raise _unusable("it has no file")

    async def _rest(self, parser: MultipartParser, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        while self._content:
            yield self._content.pop(0)
        async for chunk in body:
            self._feed(parser, chunk)
            while self._content:
                yield self._content.pop(0)
        if not self.ended:
            raise _unusable("its last boundary is missing, so the file may not be whole")

    def _feed(self, parser: MultipartParser, chunk: bytes) -> None:
        try:
            if chunk:
                parser.write(chunk)
        except MultipartParseError as problem:
            raise _unusable(str(problem)) from problem

    def _callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": lambda data, start, end: self._add_header(0, data[start:end]),
            "on_header_value": lambda data, start, end: self._add_header(1, data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._part_named,
            "on_part_data": lambda data, start, end: self._data(data[start:end]),
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        if self.begun:
            raise _unusable("the file comes last; no field or second file after it")
        self._headers, self._value = {}, bytearray()
        self._count(FIELD_COSTS)

    def _add_header(self, side: int, data: bytes) -> None:
        self._count(len(data))
        self._header[side] += data

    def _header_end(self) -> None:
        name, value = self._header
        self._headers[name.lower()] = value
        self._header = [b"", b""]

    def _part_named(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" in options:
            self.begun = True
            self.filename = options[b"filename"].decode("utf-8", "replace")

    def _data(self, data: bytes) -> None:
        if self.begun:
            self._content.append(data)
            return
        self._count(len(data))
        self._value += data

    def _count(self, size: int) -> None:
        """Before anything is kept of it: whoever sends is not known to mean well."""
        self._size += size
        if self._size > LARGEST_FIELDS:
            raise too_large(LARGEST_FIELDS)

    def _part_end(self) -> None:
        if self.begun:
            return
        try:
            self.fields[self._name] = self._value.decode()
        except UnicodeDecodeError as problem:
            raise _unusable(f"the field {self._name} is not UTF-8") from problem

    def _end(self) -> None:
        self.ended = True


def boundary_of(request: Request) -> bytes:
    """What stands between the parts; raises Invalid for what is no such form."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary: bytes = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not re.fullmatch(rb"[\x20-\x7e]{1,70}", boundary):
        raise _unusable("its Content-Type is not multipart/form-data with a boundary")
    return boundary


def _unusable(told: str) -> Invalid:
    return Invalid("form_unusable", f"the form cannot be read: {told}", field="body")
