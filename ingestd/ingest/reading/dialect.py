"""The dialect: which separator, quote and line end a text uses, judged by reading a sample in every possible way."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ingestd.errors import Rejected
from ingestd.ingest.reading import header
from ingestd.ingest.reading.header import Candidate
from ingestd.ingest.reading.records import Dialect, Reader
from ingestd.model import DialectHints

SAMPLE_BYTES = 65_536
FEW_RECORDS = 10
LOW_AGREEMENT = 0.2
"""Share of a sample's records, from `FEW_RECORDS` on, that must have as many fields as the header."""

_DELIMITERS = (b",", b";", b"\t", b"|")
_STRANGE = b":~^#*\x01\x1c\x1d\x1e\x1f"
FEW_CELLS = 3
"""Cells of a column within `'` that tell a quote from a habit."""
_WRAPPED = re.compile(rb"'(.*)'", re.DOTALL)
_QUOTED = re.compile(rb'"[^"]*"')
_QUOTED_BY_APOSTROPHES = re.compile(rb"(?<![^\r\n,;\t|])'(?:[^']++|'')*+'(?![^\r\n,;\t|])")
_SUGGESTION = "Separate the columns by comma, semicolon, tab or |."


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How well a dialect explains the sample."""

    dialect: Dialect
    columns: int
    """fields of the header, 0 when there is none"""
    agreement: float
    """share of the records below with as many fields as the header"""
    records: int = 0
    """records below the header"""
    usual: int = 0
    """the most frequent number of fields"""
    header_fault: bool
    found: Sequence[Candidate] = ()
    """the first records, as the dialect has them"""
    quotes_fields: bool
    """True when `'` is the quote, and quotes as programs do it"""

    @property
    def rank(self) -> tuple[bool, float, int]:
        """The larger, the better."""
        return (not self.header_fault, round(self.agreement, 2), self.columns)


def uses_cr(work: bytes, hints: DialectHints) -> bool:
    """Whether lines end with CR alone; quoted text is left out of the count."""
    if b"\r" not in work:
        return False
    if b"\n" not in work:
        return True
    sample = work[: 4 * SAMPLE_BYTES]
    apostrophes = hints.quote == "'" or (hints.quote is None and _openings(sample, b"'") > _openings(sample, b'"'))
    sample = (_QUOTED_BY_APOSTROPHES if apostrophes else _QUOTED).sub(b"", sample)
    pairs = sample.count(b"\r\n")
    returns, feeds = sample.count(b"\r") - pairs, sample.count(b"\n")
    return returns > feeds


def detect(work: bytes, hints: DialectHints, *, pairs: bool) -> tuple[Dialect, Sequence[Candidate]]:
    """The dialect of a text that ends with LF; `pairs` as in `Dialect`. Raises Rejected when none explains it.

    With its first records, where the text is so short that nobody needs to read them again; else without any.
    """
    sample = _sample(work)
    pinned = _pinned_delimiter(hints)
    quotes = _quotes(sample, hints)
    trials = [
        _trial(sample, dialect, hints)
        for delimiter in ((pinned,) if pinned else _DELIMITERS)
        if pinned or delimiter in sample
        for quote in quotes
        for dialect in _variants(sample, Dialect(delimiter=delimiter, quote=quote, pairs=pairs))
    ]
    usable = [trial for trial in trials if pinned or trial.columns >= 2 or trial.header_fault]
    if usable:
        best = max(usable, key=_preferred)
        _require_agreement(best)
        return best.dialect, best.found if len(sample) == len(work) else ()
    single = Dialect(delimiter=b",", quote=quotes[0], pairs=pairs)
    _require_single_column(sample)
    return single, ()


def _sample(work: bytes) -> bytes:
    if len(work) <= SAMPLE_BYTES:
        return work
    return work[: work.rfind(b"\n", 0, SAMPLE_BYTES) + 1] or work[: work.find(b"\n") + 1]


def _pinned_delimiter(hints: DialectHints) -> bytes:
    for value in (hints.delimiter, hints.quote):
        if value and (len(value.encode()) != 1 or value in "\r\n"):
            raise Rejected("delimiter_unknown", f"{value!r} is not one ASCII character.", suggestion=_SUGGESTION)
    if hints.delimiter and hints.delimiter == (hints.quote or '"'):
        raise Rejected("delimiter_unknown", f"{hints.delimiter} cannot separate and quote.", suggestion=_SUGGESTION)
    return (hints.delimiter or "").encode()


def _quotes(sample: bytes, hints: DialectHints) -> tuple[bytes, ...]:
    if hints.quote is not None:
        return (hints.quote.encode(),)
    return (b'"', b"'") if _openings(sample, b"'") > _openings(sample, b'"') else (b'"',)


def _openings(sample: bytes, quote: bytes) -> int:
    """How many fields start with the quote, whatever the separator."""
    if quote not in sample:
        return 0
    return len(re.findall(rb"(?:^|[\r\n,;\t|] ?)" + quote, sample))


def _variants(sample: bytes, simple: Dialect) -> list[Dialect]:
    """The plain dialect, and those with a space after the delimiter or a backslash before quotes where these occur."""
    quote, delimiter = simple.quote, simple.delimiter
    variants = [simple]
    if quote == b'"' and b'\\"' in sample:  # before `'` a backslash is as often a letter as an escape
        variants.append(replace(simple, escape=b"\\"))
    if quote and delimiter != b" " and delimiter + b" " + quote in sample:
        variants += [replace(variant, skip_space=True) for variant in variants]
    return variants


def _trial(sample: bytes, dialect: Dialect, hints: DialectHints) -> Trial:
    reader = Reader(sample, dialect, max_lines=hints.max_record_lines, max_bytes=hints.max_record_bytes)
    found = header.candidates(reader, header.FIRST_RECORDS)
    width = header.usual_width(found)
    index = header.position(found, width)
    if index is None:
        return Trial(dialect=dialect, columns=0, agreement=0.0, header_fault=False, quotes_fields=False)
    head = found[index].record
    below = [item.record for item in found[index + 1 :] if not item.blank]
    columns = len(head.cells) if head.fault is None else width
    good = sum(record.fault is None and len(record.cells) == columns for record in below)
    agreement = good / len(below) if below else 1.0
    if dialect.skip_space and not _spaced(sample, dialect):
        agreement = -1.0
    return Trial(
        dialect=dialect,
        columns=columns,
        agreement=agreement,
        found=found,
        records=len(below),
        usual=width,
        header_fault=head.fault is not None,
        quotes_fields=_quotes_fields(sample, dialect, hints),
    )


def _spaced(sample: bytes, dialect: Dialect) -> bool:
    """Whether the fields after the first start with a space, so that the space belongs to the separator."""
    outside = _QUOTED.sub(b"", sample) if dialect.quote == b'"' else sample
    bare = len(re.findall(re.escape(dialect.delimiter) + b"(?! )", outside))
    return bare <= 0.02 * outside.count(dialect.delimiter)


def _quotes_fields(sample: bytes, dialect: Dialect, hints: DialectHints) -> bool:
    """Whether `'` quotes as programs do it: the header, or nearly all cells of a column, or doubled; and `"` nowhere.

    People put it before names (`'t Hooft`) and around single words.
    """
    if dialect.quote != b"'" or b'"' in sample:
        return False
    bare = replace(dialect, quote=b"")
    reader = Reader(sample, bare, max_lines=hints.max_record_lines, max_bytes=hints.max_record_bytes)
    found = header.candidates(reader, header.FIRST_RECORDS)
    width = header.usual_width(found)
    names, *below = [each.record.cells for each in found if len(each.record.cells) == width] or [[]]
    return all(map(_WRAPPED.fullmatch, names)) or any(map(_quoted, zip(*below, strict=True)))


def _quoted(column: Sequence[bytes]) -> bool:
    """Whether `'` quotes the cells of a column; empty ones say nothing."""
    cells = [_WRAPPED.fullmatch(cell) for cell in column if cell]
    wrapped = [cell[1] for cell in cells if cell is not None]
    return any(b"''" in cell for cell in wrapped) or (len(wrapped) >= FEW_CELLS and len(wrapped) >= 0.9 * len(cells))


def _preferred(trial: Trial) -> tuple[tuple[bool, float, int], int, int]:
    """Rank first; among equals the plainer dialect, and `'` only where it does quote."""
    dialect = trial.dialect
    plainness = -bool(dialect.escape)
    if dialect.quote == b"'":
        plainness += 1 if trial.quotes_fields else -1
    place = _DELIMITERS.index(dialect.delimiter) if dialect.delimiter in _DELIMITERS else 0
    return (trial.rank, plainness, -place)


def _require_agreement(best: Trial) -> None:
    """Refuses a file whose header has nothing to do with its records: what fits it then fits by chance."""
    different = best.usual != best.columns and not best.header_fault
    if different and best.records >= FEW_RECORDS and best.agreement < LOW_AGREEMENT:
        message = f"The header has {best.columns} columns, but hardly any record has as many; most have {best.usual}."
        raise Rejected("header_mismatch", message, suggestion="Separate the header and the records alike.")


def _require_single_column(sample: bytes) -> None:
    """One column is believed only when nothing else separates: a space-separated file is refused, not read as one."""
    texts = [line for line in sample.split(b"\n") if line.strip()][: header.FIRST_RECORDS]
    if not texts:
        return
    words = len(texts[0].split())
    wordy = sum(len(text.split()) >= words for text in texts[1:]) >= 0.8 * (len(texts) - 1)
    strange = [
        byte
        for byte in _STRANGE
        if (count := texts[0].count(byte)) and sum(text.count(byte) == count for text in texts) >= 0.8 * len(texts)
    ]
    if (words >= 3 and wordy) or strange:
        message = "The columns are not separated by comma, semicolon, tab or |."
        raise Rejected("delimiter_unknown", message, suggestion=_SUGGESTION, line=1)
