"""The scan: one vectorised pass that finds the physical lines and those which need the exact reader.

A line that is not suspect is exactly one record of the right number of fields, whatever stands around it, provided that
a record starts where it starts. So the exact reader can jump from suspect line to suspect line, and nothing that goes
wrong in one of them reaches the next clean line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingestd.ingest.parallel import in_parallel
from ingestd.ingest.reading.records import Dialect
from ingestd.ingest.reading.text import whole_lines
from ingestd.ingest.reading.western import Positions

CHUNK = 1 << 18
"""Bytes looked at together: what numpy makes of them stays in the processor's cache and out of the memory bill."""

_LF, _CR = 10, 13
_Bytes = npt.NDArray[np.uint8]
_Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Lines:
    """The physical lines of a text."""

    starts: Positions
    ends: Positions
    """behind the line end"""
    suspect: _Flags


def scan(text: bytes, start: int, dialect: Dialect, *, width: int, max_bytes: int, bad: Positions) -> Lines:
    """Looks at `text` from `start`, where a line starts; `bad` are offsets of bytes that are no text."""

    def look(span: tuple[int, int]) -> tuple[Positions, _Flags]:
        ends, suspect = _chunk(np.frombuffer(text, np.uint8, span[1] - span[0], span[0]), dialect, width)
        return ends + span[0], suspect

    spans = list(whole_lines(text, start, CHUNK))
    looked = in_parallel(look, spans, worth_it=len(spans) > 1)
    all_ends = np.concatenate([ends for ends, _ in looked]) if looked else np.empty(0, np.int64)
    suspect = np.concatenate([flags for _, flags in looked]) if looked else np.empty(0, np.bool_)
    starts = np.concatenate(([start], all_ends[:-1])) if len(all_ends) else all_ends
    suspect |= (all_ends - starts) > max_bytes
    suspect |= marked(all_ends, bad)
    suspect |= holding(text, start, all_ends, b"\0")
    if width == 1:
        suspect |= (all_ends - starts) <= 2  # blank lines, which polars would read as records
    return Lines(starts=starts, ends=all_ends, suspect=suspect)


def count(text: bytes, byte: int) -> int:
    """How often a byte is there; where it is frequent, in a third of the time that `bytes.count` takes."""
    starts = range(0, len(text), CHUNK)
    views = (np.frombuffer(text, np.uint8, min(CHUNK, len(text) - start), start) for start in starts)
    return sum(int(np.count_nonzero(view == byte)) for view in views)


def holding(text: bytes, start: int, ends: Positions, byte: bytes) -> _Flags:
    """Which of the spans from `start` that end at `ends` hold `byte`; in chunks, as it may be every byte there is."""
    flags = np.zeros(len(ends), np.bool_)
    at = text.find(byte, start) if len(ends) else -1
    while at >= 0:
        view = np.frombuffer(text, np.uint8, min(CHUNK, len(text) - at), at)
        flags |= marked(ends, np.flatnonzero(view == byte[0]) + at)
        at = text.find(byte, at + len(view))
    return flags


def marked(ends: Positions, offsets: Positions) -> _Flags:
    """Which of the spans that end at `ends` contain one of `offsets`."""
    flags = np.zeros(len(ends), np.bool_)
    spans = np.searchsorted(ends, offsets, side="right")
    flags[spans[spans < len(ends)]] = True
    return flags


def _chunk(view: _Bytes, dialect: Dialect, width: int) -> tuple[Positions, _Flags]:
    """Line ends of a chunk of whole lines, and which lines are suspect."""
    if dialect.skip_space:
        ends = np.flatnonzero(view == _LF) + 1
        return ends, np.ones(len(ends), np.bool_)
    special = view == _LF
    special |= view == dialect.delimiter[0]
    quotes = view == dialect.quote[0] if dialect.quote else None
    if quotes is not None and not quotes.any():
        quotes = None
    if quotes is not None:
        special |= quotes
    at = np.flatnonzero(special)
    kinds = view[at]
    line_marks = np.flatnonzero(kinds == _LF)
    ends = at[line_marks] + 1
    counts = np.diff(line_marks, prepend=-1)
    suspect = counts != width
    if quotes is not None:
        lines = np.unique(np.searchsorted(line_marks, np.flatnonzero(kinds == dialect.quote[0])))
        mine = _of_lines(line_marks, counts, lines)
        its_marks = np.cumsum(counts[lines]) - 1
        suspect[lines] = _with_quotes(view, at[mine], kinds[mine], its_marks, dialect, width)
    suspect |= _odd_bytes(view, ends, dialect)
    return ends, suspect


def _of_lines(line_marks: Positions, counts: Positions, lines: Positions) -> Positions:
    """Places of the marks of some lines: only those with quotes are worth a closer look, and mostly they are few."""
    sizes = counts[lines]
    behind = np.cumsum(sizes)
    return np.repeat(line_marks[lines] + 1 - behind, sizes) + np.arange(behind[-1])


def _with_quotes(
    view: _Bytes, at: Positions, kinds: _Bytes, line_marks: Positions, dialect: Dialect, width: int
) -> _Flags:
    """Counts the fields outside quotes, and flags lines with quotes that are not at a field's edge."""
    is_quote = kinds == dialect.quote[0]
    seen = np.cumsum(is_quote, dtype=np.int32)
    per_line = np.diff(seen[line_marks], prepend=0)
    suspect = (per_line & 1).astype(np.bool_)
    line_of = np.repeat(np.arange(len(line_marks), dtype=np.int32), np.diff(line_marks, prepend=-1))
    if suspect.any():  # parity counts within the line: an open quote of one line says nothing about the next
        seen = seen - (seen[line_marks] - per_line)[line_of]
    inside = (seen & 1).astype(np.bool_)
    counted = (kinds == dialect.delimiter[0]) & ~inside
    suspect |= np.bincount(line_of[counted], minlength=len(line_marks)) != width - 1
    opening = inside[is_quote]
    good = _at_edges(view, at[is_quote], opening, dialect)
    suspect[line_of[is_quote][~good]] = True
    return suspect


def _at_edges(view: _Bytes, quotes: Positions, opening: _Flags, dialect: Dialect) -> _Flags:
    """Whether an opening quote follows a delimiter, line end or (doubled) quote, and a closing one precedes such."""
    padded = np.concatenate((np.array([_LF], np.uint8), view, np.array([_LF, _LF], np.uint8)))
    neighbour = np.where(opening, padded[quotes], padded[quotes + 2])
    good: _Flags = (neighbour == dialect.delimiter[0]) | (neighbour == _LF) | (neighbour == dialect.quote[0])
    good |= ~opening & (neighbour == _CR) & (padded[np.minimum(quotes + 3, len(padded) - 1)] == _LF)
    return good


def _odd_bytes(view: _Bytes, ends: Positions, dialect: Dialect) -> _Flags:
    """Lines with a CR that ends no line, with the escape, or with a quote of the other kind."""
    flags = np.zeros(len(ends), np.bool_)
    returns = np.flatnonzero(view == _CR)
    if len(returns):
        lone = view[np.minimum(returns + 1, len(view) - 1)] != _LF
        flags |= marked(ends, returns[lone] if dialect.pairs else returns)
    if dialect.quote == b"'":
        flags |= marked(ends, np.flatnonzero(view == ord('"')))
    if dialect.escape:
        flags |= marked(ends, np.flatnonzero(view == dialect.escape[0]))
    return flags
