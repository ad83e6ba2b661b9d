"""Western European text: what speaks against it in bytes that are not UTF-8, of which it is assumed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ingestd.errors import Rejected

Positions = npt.NDArray[np.int64]

SUGGESTION = "Save the file as CSV UTF-8 and send it again."

# Letters and signs in UTF-8 that nobody writes so in Windows-1252: `Ã¦`, `Â°`, `â€œ`; of rarer ones two in a row,
# because `Spaß«` and `été…”` are such sequences by chance.
_UTF8 = re.compile(
    rb"\xc2[\xa0-\xbf]|[\xc3-\xc5][\x80-\xbf]|\xe2[\x80-\x84][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}"
    rb"|(?:[\xc6-\xdf][\x80-\xbf]){2}|(?:[\xe0-\xef][\x80-\xbf]{2}){2}"
)
_CHUNK = 1 << 18


def require(data: bytes) -> None:
    """Refuses what would be read as wrong letters: Cyrillic, Greek, EBCDIC … are above 127 throughout."""
    head = np.frombuffer(data[:262144], np.uint8)
    high = int(np.count_nonzero(head >= 0x80))
    if high >= 16 and high > 0.25 * len(head):
        message = "The file is not UTF-8, and too many of its letters are unknown to be Western European text."
        raise Rejected("encoding_unknown", message, suggestion=SUGGESTION)


def utf8_within(data: bytes, most: int) -> list[int]:
    """Where Windows-1252 text has characters that were written in UTF-8; raises Rejected for more than `most`.

    Some programs put together what came in two encodings.
    """
    found: list[int] = []
    for at in _leads(data):
        if _UTF8.match(data, at):
            found.append(at)
        if len(found) > most:
            message = f"More than {most:,} letters of the file are UTF-8, and others are not."
            raise Rejected("encoding_unknown", message, suggestion=SUGGESTION)
    return found


def _leads(data: bytes) -> Iterator[int]:
    """Offsets of the bytes that may begin a character in UTF-8: C2 and above, before one of 80 to BF."""
    for start in range(0, len(data) - 1, _CHUNK):
        view = np.frombuffer(data, np.uint8, min(_CHUNK + 1, len(data) - start), start)
        leads = np.flatnonzero(view[:-1] >= 0xC2)
        following = view[leads + 1]
        yield from (leads[(following >= 0x80) & (following <= 0xBF)] + start).tolist()
