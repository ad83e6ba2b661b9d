"""Text: the file's bytes as one UTF-8 working copy, with the way back to the original offsets."""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from ingestd.errors import Rejected
from ingestd.ingest.reading import western
from ingestd.ingest.reading.western import SUGGESTION, Positions

CHUNK = 1 << 20
"""Bytes transcoded at once, so that Python's wide strings never hold the whole file."""

PIECE = 1 << 18
"""Bytes copied to be looked at, few enough to stay in the processor's cache."""

MAX_BAD = 500_000
"""Bytes that are no text, each of which costs time; with more of them the file is refused as a whole."""

FALLBACK = "cp1252"
SWAP_LINE_ENDS = bytes.maketrans(b"\r\n", b"\n\r")

_BOMS = (
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)


@dataclass(frozen=True, kw_only=True)
class Text:
    """A decoded file; `work` is its text in UTF-8."""

    original: bytes
    work: bytes
    encoding: str
    fallback: bool
    bom: int
    """bytes of the byte order mark, which is not part of `work`"""
    bad: Positions
    """offsets in `work` of what is no text, ascending"""

    def lined(self, *, swapped: bool) -> Text:
        """With line ends as the readers want them: LF at the end of every line, the last one too.

        A file of CR lines is read with CR and LF exchanged; so the readers know one line end only, and exactness costs
        an exchange back in the cells.
        """
        work = self.work.translate(SWAP_LINE_ENDS) if swapped else self.work
        return replace(self, work=work if work.endswith(b"\n") else work + b"\n")

    def offsets(self, bounds: Positions) -> Positions:
        """The offsets in `original` of ascending offsets in `work`."""
        if self.encoding.startswith("utf-8"):
            return np.minimum(bounds + self.bom, len(self.original))
        per_char, per_astral = (2, 2) if self.encoding.startswith("utf-16") else (1, 0)
        sizes = np.zeros(len(bounds), np.int64)
        view = np.frombuffer(self.work, np.uint8)
        begin = 0
        for end in _batches(bounds):
            sizes[begin:end] = _sizes(view, bounds[begin - 1] if begin else 0, bounds[begin:end], per_char, per_astral)
            begin = end
        return np.minimum(np.cumsum(sizes) + self.bom, len(self.original))


def decode(data: bytes, *, pinned: str | None) -> Text:
    """Raises Rejected when the bytes are in no encoding we read."""
    encoding, bom = _recognised(data, pinned)
    if encoding.startswith("utf-8") or encoding == "":
        proven = encoding != ""
        text = _utf8(data, bom=bom, proven=proven)
        if text is not None:
            return text
        western.require(data)
        return _single_byte(data, FALLBACK, fallback=True)
    if encoding.startswith("utf-16"):
        return _utf16(data, encoding, bom)
    return _single_byte(data, encoding, fallback=False)


def _recognised(data: bytes, pinned: str | None) -> tuple[str, int]:
    """Encoding ("" when nothing proves one) and length of the byte order mark."""
    mark, bom = next(((name, len(sign)) for sign, name in _BOMS if data.startswith(sign)), ("", 0))
    if pinned is not None:
        return _pinned(data, pinned, mark, bom)
    if mark.startswith("utf-32") or _is_utf32(data):
        raise Rejected("encoding_unknown", "The file is UTF-32 text, which is not read.", suggestion=SUGGESTION)
    return (mark, bom) if mark else (_bare_utf16(data), 0)


def _pinned(data: bytes, pinned: str, mark: str, bom: int) -> tuple[str, int]:
    try:
        name = codecs.lookup(pinned).name
    except LookupError as error:
        raise Rejected("encoding_unknown", f"No encoding is called {pinned}.", suggestion=SUGGESTION) from error
    if mark and not mark.startswith("utf-32"):  # a mark proves more than what was agreed
        return mark, bom
    if name in ("utf-8", "utf-8-sig"):
        return "utf-8", 0
    if name in ("utf-16", "utf-16-le", "utf-16-be"):
        return (_bare_utf16(data) or "utf-16-le" if name == "utf-16" else name), 0
    return name, 0


def _is_utf32(data: bytes) -> bool:
    head = data[:4096]
    size = len(head) // 4
    zeros = [head[i::4].count(0) for i in range(4)]
    return size >= 2 and sum(count >= 0.9 * size for count in zeros) == 3


def _bare_utf16(data: bytes) -> str:
    """UTF-16 without a mark: nearly every second byte of western text is zero, and hardly any of the others."""
    head = data[:65536]
    pairs = len(head) // 2
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if pairs < 2:
        return ""
    if odd > 0.4 * pairs and even < 0.05 * pairs:
        return "utf-16-le"
    return "utf-16-be" if even > 0.4 * pairs and odd < 0.05 * pairs else ""


def _utf8(data: bytes, *, bom: int, proven: bool) -> Text | None:
    """The file as UTF-8; None when its bytes speak against it more than for it."""
    work = data[bom:] if bom else data
    bad = np.empty(0, np.int64)
    if not (work.isascii() or _valid(work)):
        found = _bad_utf8(work, give_up=not proven)
        if found is None:
            return None
        bad = found
    encoding = "utf-8-sig" if bom else "utf-8"
    return Text(original=data, work=work, encoding=encoding, fallback=False, bom=bom, bad=bad)


def whole_lines(work: bytes, start: int, size: int) -> Iterator[tuple[int, int]]:
    """Begin and end of pieces of `size` bytes and what is missing to the end of a line."""
    while start < len(work):
        stop = work.find(b"\n", start + size) + 1 or len(work)
        yield start, stop
        start = stop


def _valid(work: bytes) -> bool:
    """Whether the bytes are UTF-8, by polars' vectorised check: an eighth of the time that `bytes.decode` takes.

    Piece by piece, as polars copies what it looks at; a piece ends behind a line, where no character can be cut.
    """
    try:
        for at, stop in whole_lines(work, 0, PIECE):
            pl.Series([work[at:stop]], dtype=pl.Binary).cast(pl.String)
    except pl.exceptions.PolarsError:
        return False
    return True


def _bad_utf8(work: bytes, *, give_up: bool) -> Positions | None:
    """Offsets of the bytes that are not UTF-8; None when they outnumber the valid sequences and we may give up."""
    decoder = codecs.utf_8_decode
    bad: list[int] = []
    valid = at = 0
    view = memoryview(work)
    while at < len(work):
        piece = view[at : at + 65536]
        try:
            used = decoder(piece, "strict", at + len(piece) == len(work))[1]
        except UnicodeDecodeError as error:
            bad.append(at + error.start)
            used, whole = error.end, piece[: error.start]
        else:
            whole = piece[:used]
        leads = np.frombuffer(whole, np.uint8) >= 0xC0
        valid += int(np.count_nonzero(leads))
        at += used
        if give_up and len(bad) > 1000 + valid:
            return None
        if len(bad) > MAX_BAD:
            message = f"More than {MAX_BAD:,} bytes of the file are not UTF-8."
            raise Rejected("encoding_unknown", message, suggestion=SUGGESTION)
    return None if give_up and len(bad) >= valid else np.array(bad, np.int64)


def _utf16(data: bytes, encoding: str, bom: int) -> Text:
    """Lone surrogates survive as three bytes that are no UTF-8, so that only their own record is rejected."""
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    parts = [decoder.decode(piece).encode("utf-8", "surrogatepass") for piece in _pieces(data, bom)]
    dangling = (len(data) - bom) % 2 == 1
    if dangling:
        tail = decoder.getstate()[0]
        # Half a character at the end stands for itself: U+FFFD marks the place, and offsets end with the file.
        parts.append(("\ufffd" * ((len(tail) + 1) // 2)).encode())
    elif decoder.getstate()[0]:
        parts.append(decoder.getstate()[0].decode(encoding, "surrogatepass").encode("utf-8", "surrogatepass"))
    work = b"".join(parts)
    bad = np.empty(0, np.int64) if _valid(work) else _bad_utf8(work, give_up=False)
    assert bad is not None, "giving up was not allowed"
    if dangling:
        bad = np.append(bad, len(work) - 3)
    return Text(original=data, work=work, encoding=encoding, fallback=False, bom=bom, bad=bad)


def _single_byte(data: bytes, encoding: str, *, fallback: bool) -> Text:
    table = _table(encoding)
    work = b"".join(codecs.charmap_decode(piece, "strict", table)[0].encode() for piece in _pieces(data, 0))
    undefined = [byte for byte in range(256) if table[byte] == "\ufffd"]
    bad = np.empty(0, np.int64)
    if any(byte in data for byte in undefined):
        view = np.frombuffer(work, np.uint8)
        starts = np.flatnonzero(view[:-2] == 0xEF)
        bad = starts[(view[starts + 1] == 0xBF) & (view[starts + 2] == 0xBD)]
    foreign = western.utf8_within(data, MAX_BAD) if encoding == FALLBACK else []
    foreign += western.strange_within(data) if fallback else []
    if foreign:
        bad = np.union1d(bad, _transcoded(data, sorted(foreign), table))
    return Text(original=data, work=work, encoding=encoding, fallback=fallback, bom=0, bad=bad)


def _transcoded(data: bytes, offsets: list[int], table: str) -> Positions:
    """Offsets in UTF-8 of ascending `offsets` in single-byte text."""
    steps = (data[begin:end] for begin, end in itertools.pairwise([0, *offsets]))
    return np.cumsum([len(codecs.charmap_decode(step, "strict", table)[0].encode()) for step in steps])


def _table(encoding: str) -> str:
    """The 256 characters of a single-byte encoding, U+FFFD where it defines none."""
    try:
        table = bytes(range(256)).decode(encoding, "replace")
    except (LookupError, UnicodeError) as error:
        raise Rejected("encoding_unknown", f"Encoding {encoding} is not read.", suggestion=SUGGESTION) from error
    if len(table) != 256 or table[10] != "\n" or table[44] != ",":
        raise Rejected("encoding_unknown", f"Encoding {encoding} is not read.", suggestion=SUGGESTION)
    return table


def _pieces(data: bytes, start: int) -> Iterator[bytes]:
    return (data[at : at + CHUNK] for at in range(start, len(data), CHUNK))


def _batches(bounds: Positions) -> Iterator[int]:
    """Ends of the slices of `bounds` which span about four chunks of text each."""
    begin, last = 0, 0
    while begin < len(bounds):
        end = max(begin + 1, int(np.searchsorted(bounds, last + 4 * CHUNK)))
        yield end
        begin, last = end, int(bounds[end - 1])


def _sizes(view: npt.NDArray[np.uint8], first: int, bounds: Positions, per_char: int, per_astral: int) -> Positions:
    """How many original bytes lie between the neighbours of `bounds`, the first of which is reached from `first`."""
    part = view[first : bounds[-1]]
    weights = ((part & 0xC0) != 0x80).astype(np.int64) * per_char
    if per_astral:
        weights += (part >= 0xF0).astype(np.int64) * per_astral
    reached = np.concatenate(([0], np.cumsum(weights)))
    return np.diff(reached[bounds - first], prepend=0)
