"""What reading hands on: the cells of the good records, and where every record lies in the original bytes."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from ingestd.ingest.reading.trailer import Trailer
from ingestd.model import Severity

RECORDS = pl.Schema(
    {"row": pl.UInt32, "line_start": pl.UInt32, "line_end": pl.UInt32, "offset": pl.Int64, "length": pl.Int64}
)
"""One line for every record after the header, in file order."""


@dataclass(frozen=True, kw_only=True)
class TextFacts:
    """How the file was read; goes to the header of the pool log."""

    container: str
    """`gzip`, `zip`, `xlsx` or empty."""
    member: str
    """Name of the zip member or of the sheet."""
    encoding: str
    """`utf-8`, `utf-8-sig`, `utf-16-le`, `cp1252` …; empty for xlsx."""
    fallback: bool
    """True when the encoding was assumed because the bytes proved no other."""
    delimiter: str
    quote: str
    """Empty when no character quotes."""
    newline: str
    """The most frequent line end."""
    skip_initial_space: bool
    """True when fields are separated by the delimiter and one space."""
    escape: str
    """A backslash when quotes inside quoted fields are written with one; else quotes are doubled."""
    header_line: int
    """Physical line on which the header starts, 1 for the first."""
    preamble_lines: int
    """Lines before the header that were skipped."""
    announced: int | None = None
    """How many records the trailer says there are; None without a trailer."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A file, read. Every record is exactly one of: in `cells`, rejected by an error, or discarded as blank."""

    header: tuple[str, ...]
    """Names exactly as written, unquoted; an empty name in position n is called `column_n`."""
    header_bytes: bytes
    """Original bytes of the header record with its line end, led by the byte order mark if the file has one, so that
    header and rejected records put together are again a file that can be sent."""
    cells: pl.DataFrame
    """Only good records, one text column for each name, nothing trimmed, "" for empty."""
    rows: pl.Series
    """The record numbers of `cells`."""
    records: pl.DataFrame
    """Every record, see `RECORDS`; `offset` and `length` are bytes of `original`, line end included."""
    problems: pl.DataFrame
    """In file order. Of the blank records only the first ones have a warning here; `discarded` has them all."""
    discarded: pl.Series
    """Numbers of the blank records."""
    original: bytes
    """The decompressed bytes in their own encoding; for xlsx a CSV rendering of the sheet in UTF-8,
    with a byte order mark and the source's separator."""
    facts: TextFacts
    trailer: Trailer | None = None
    """The last line, which is not part of `original`; rejected records that are sent again need one, too."""

    @property
    def filled(self) -> int:
        """How many records there are that are not blank."""
        return self.records.height - self.discarded.len()

    def __post_init__(self) -> None:
        """Raises AssertionError when the records do not add up or leave a gap: a bug, never a partner's fault."""
        errors = self.problems["row"].filter(self.problems["severity"] == str(Severity.ERROR)).n_unique()
        ended = self.cells.height + errors + self.discarded.len()
        assert ended == self.records.height, f"{ended} records ended, {self.records.height} were read"
        assert self.rows.len() == self.cells.height, "a good record without a number"
        ends = self.records["offset"] + self.records["length"]
        assert bool((ends.head(-1) == self.records["offset"].slice(1)).all()), "records leave a gap"
        assert self.records.is_empty() or ends[-1] == len(self.original), "records end before the file does"
