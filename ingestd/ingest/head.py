"""The head of a file: its first bytes, of which the last line may have been cut in two."""

from __future__ import annotations

from collections.abc import Iterable

_UTF_16 = {b"\xff\xfe": b"\n\0", b"\xfe\xff": b"\0\n"}
SIZE = 1024 * 1024
"""bytes of a file from which its columns are known and suggested"""
_PACKED = (b"PK\x03\x04", b"\x1f\x8b")


def beginning(pieces: Iterable[bytes], size: int = SIZE) -> bytes:
    """The whole lines among the first bytes; all of a file that has no more, or is packed and cannot be read in parts.

    >>> beginning([b"a,b\\n1,", b"2\\n3,4\\n"], size=7)
    b'a,b\\n'
    """
    gathered = bytearray()
    for piece in pieces:
        gathered += piece
        if len(gathered) > size and not is_packed(bytes(gathered[:4])):
            return whole_lines(bytes(gathered[:size]))
    return bytes(gathered)


def whole_lines(data: bytes) -> bytes:
    """The same without what comes after its last line end; all of it when there is no line to be kept, or it is packed.

    >>> whole_lines(b"a,b\\r\\n1,2\\r\\n3")
    b'a,b\\r\\n1,2\\r\\n'
    """
    if is_packed(data):
        return data
    for mark, newline in _UTF_16.items():
        if data.startswith(mark):
            return _until_unit(data, newline)
    newline = b"\n" if b"\n" in data else b"\r"
    return data[: data.rfind(newline) + 1] or data


def is_packed(data: bytes) -> bool:
    """True for what can only be read as a whole: zip, and with it xlsx; gzip."""
    return data.startswith(_PACKED)


def _until_unit(data: bytes, newline: bytes) -> bytes:
    """In UTF-16 the two bytes of a line end begin at an even place."""
    at = data.rfind(newline)
    while at % 2 == 1:
        at = data.rfind(newline, 0, at + 1)
    return data[: at + 2] if at >= 0 else data
