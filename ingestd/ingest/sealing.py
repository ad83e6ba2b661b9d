"""Files that tell whether they are still what was written: their SHA-256 stands behind their bytes.

Bits turn over on disks and in memory, and readers may not notice: neither CSV nor what polars packs has a checksum.
"""

from __future__ import annotations

import hashlib
from io import SEEK_END, BytesIO
from pathlib import Path

from ingestd.errors import IngestdError

_MARK = b"\0sha256:"
LENGTH = len(_MARK) + hashlib.sha256().digest_size
"""bytes of a seal"""


class Broken(IngestdError):
    """Something else was written, or there is no seal where one has to be."""


def sealed(content: bytes) -> bytes:
    """The same with a seal behind it."""
    return content + _seal(content)


def seal(written: Path | BytesIO) -> None:
    """Puts a seal behind what was just written there. Raises OSError."""
    if isinstance(written, BytesIO):
        seal_of_it = _seal(written.getvalue())
        written.seek(0, SEEK_END)
        written.write(seal_of_it)
        return
    with written.open("r+b") as file:
        its = hashlib.file_digest(file, "sha256").digest()
        file.seek(0, SEEK_END)
        file.write(_MARK + its)


def opened(content: bytes, *, expected: bool = True) -> bytes:
    """What was sealed; raises Broken. Where no seal is expected, content without one is returned as it is."""
    inside, its = content[:-LENGTH], content[-LENGTH:]
    if not its.startswith(_MARK):
        if expected:
            raise Broken("it has no seal")
        return content
    if its != _seal(inside):
        raise Broken("its bytes are not those that were written")
    return inside


def _seal(content: bytes) -> bytes:
    return _MARK + hashlib.sha256(content).digest()
