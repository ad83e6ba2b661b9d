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

LOOKED_AT = 1 << 22
"""Bytes that tell whether a file is in another encoding throughout."""
MANY = 3
"""Strange letters from which the whole file is in doubt, and not only the records that have them."""
STRANGE_SHARE = 0.1
"""Of the letters above 127 within words: what a file of another encoding exceeds by far."""
_WITHIN_WORDS = "\u2018\u2019\u00b4\u2013\u2014\u2026\u2022\u00b7\u00a0\u00ad\u2122\u00a9\u00ae\u00b0\u00b2\u00d7"
"""Apostrophes, dashes, bullets, blanks and the like, which people put between letters"""
_CAPITALS = "ŠŽŸŒ"
"""Those that small letters of Macintosh become; `MÜller` is a slip of the hand"""
_SIGN, _CAPITAL, _CAPITAL_ASCII, _SMALL_ASCII = 1, 2, 3, 4


def require(data: bytes) -> None:
    """Refuses what would be read as wrong letters: Cyrillic, Greek, EBCDIC … are above 127 throughout."""
    head = np.frombuffer(data[:262144], np.uint8)
    high = int(np.count_nonzero(head >= 0x80))
    if high >= 16 and high > 0.25 * len(head):
        message = "The file is not UTF-8, and too many of its letters are unknown to be Western European text."
        raise Rejected("encoding_unknown", message, suggestion=SUGGESTION)


def strange_within(data: bytes) -> list[int]:
    """Where signs and capitals stand within words of a file that has few other letters there than these.

    So look MS-DOS's and Macintosh's letters in Windows-1252: `Gro§`, `MŸller`. Raises Rejected when they are `MANY`.
    """
    strange: list[int] = []
    letters = 0
    for start in range(0, min(len(data) - 2, LOOKED_AT), _CHUNK):
        view = np.frombuffer(data, np.uint8, min(_CHUNK + 2, len(data) - start), start)
        at = np.flatnonzero(view[1:-1] >= 0x80) + 1
        before, kind, after = (_KINDS[view[at + step]] for step in (-1, 0, 1))
        within = (before >= _CAPITAL_ASCII) & (after >= _CAPITAL_ASCII)
        odd = (kind == _SIGN) | ((kind == _CAPITAL) & (after == _SMALL_ASCII))
        letters += int(np.count_nonzero(within))
        strange += (at[within & odd] + start).tolist()
    if len(strange) <= STRANGE_SHARE * letters:
        return []
    if len(strange) >= MANY:
        message = f"The file is not UTF-8, and {len(strange):,} signs within its words are not Windows-1252 either."
        raise Rejected("encoding_unknown", message, suggestion=SUGGESTION)
    return strange


def _kinds() -> npt.NDArray[np.uint8]:
    """What each byte of Windows-1252 is within a word."""
    kinds = np.zeros(256, np.uint8)
    for byte in range(256):
        letter = bytes([byte]).decode("cp1252", "replace")
        if byte < 0x80:
            kinds[byte] = letter.isalpha() * (_SMALL_ASCII if letter.islower() else _CAPITAL_ASCII)
        elif letter not in _WITHIN_WORDS:
            kinds[byte] = _CAPITAL if letter in _CAPITALS else _SIGN * (not letter.isalpha())
    return kinds


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


_KINDS = _kinds()
