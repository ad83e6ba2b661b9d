"""What names may look like, the same at every door."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import PurePath

PARTIAL_SUFFIXES = (".part", ".partial", ".filepart", ".tmp", ".crdownload")
"""Names under which clients write before they rename to the final name (RECEIVING.md, Drop folder)."""

LONGEST = 180
"""bytes of UTF-8; file systems take 255, results add `.<delivery id>.rejected.csv`, claims a campaign code of 64"""

_LONGEST_EXTENSION = 20  # bytes, with its dot
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # the same as a campaign code in settings.py
_FORBIDDEN = {"Cc", "Zl", "Zp", "Cs"}  # control characters, line and paragraph separators, lone surrogates
_TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
"""Turn the text after them around, so that `.exe` is shown as `.csv`. The marks of one place, which names in Arabic or
Hebrew have, and the joiners of other scripts, turn nothing."""


def is_partial(name: str) -> bool:
    """True when the sender says by the name that the file is not finished, or not meant for us."""
    return name.startswith((".", "~")) or name.endswith("~") or name.casefold().endswith(PARTIAL_SUFFIXES)


def is_folder(name: str) -> bool:
    """True for a name that can be a campaign code."""
    return bool(_FOLDER.fullmatch(name)) and not is_partial(name)


def label(raw: str) -> str:
    """The text of a name that came as bytes and was decoded with `surrogateescape`.

    Names that are not UTF-8 are read as Windows-1252, or as Latin-1 where that has no character. Stores cannot keep
    lone surrogates, and replacing them would make two names one (RECEIVING.md).
    """
    given = _bytes(raw)
    for encoding in ("utf-8", "cp1252"):
        try:
            return given.decode(encoding)
        except UnicodeDecodeError:
            continue
    return given.decode("latin-1")


def problem(name: str) -> str:
    """Why a name is refused, as the end of a sentence; empty when it is fine."""
    if not name or name in (".", "..") or "/" in name:
        return "is not a file name"
    if any(unicodedata.category(character) in _FORBIDDEN for character in name):
        return "contains control characters"
    if any(unicodedata.bidirectional(character) in _TURNING for character in name):
        return "contains characters that turn the text around"
    if len(name.encode()) > LONGEST:
        return f"is longer than {LONGEST} bytes"
    return ""


def shortened(raw: str) -> str:
    """The name if it is not too long, else its beginning, a hash that keeps it apart from others, and its extension."""
    given = _bytes(raw)
    if len(given) <= LONGEST:
        return raw
    extension = PurePath(raw).suffix
    if len(_bytes(extension)) > _LONGEST_EXTENSION:
        extension = ""
    tail = f"~{hashlib.sha256(given).hexdigest()[:16]}{extension}"
    stem = raw.removesuffix(extension)
    while len(_bytes(stem + tail)) > LONGEST:  # by characters: half a one would be no text
        stem = stem[:-1]
    return stem + tail


def _bytes(raw: str) -> bytes:
    return raw.encode("utf-8", "surrogateescape")
