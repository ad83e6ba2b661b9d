"""The reader: the road from bytes to a sheet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl

from ingestd.errors import Rejected
from ingestd.ingest import problems
from ingestd.ingest.reading import assembly, container, dialect, header, scan, text, trailer
from ingestd.ingest.reading.assembly import BATCH, BLANK, CONTINUATION, GOOD, Body, Disagreement
from ingestd.ingest.reading.container import Unpacked
from ingestd.ingest.reading.draft import Draft, finish, header_only
from ingestd.ingest.reading.header import Header
from ingestd.ingest.reading.records import SUGGESTIONS, Dialect, Reader
from ingestd.ingest.reading.sheet import RECORDS, Sheet, TextFacts
from ingestd.ingest.reading.text import Text
from ingestd.ingest.reading.trailer import Trailer
from ingestd.model import DialectHints, Severity

EXCERPT = 200
"""Characters of a rejected record that its problem quotes."""

_CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r\x1b")


def read(data: bytes, *, name: str, hints: DialectHints = DialectHints()) -> Sheet:  # noqa: B008 - frozen
    """Reads a delivered file; raises Rejected when it is no table that can be read as a whole.

    `name` is what the sender called the file; it only appears in messages.
    """
    if not data:
        raise Rejected("empty_file", "The file is empty.", suggestion="Send a file with a header and records.")
    unpacked = container.unpack(data, name=name, max_bytes=hints.max_bytes)
    if unpacked.container == "xlsx":
        from ingestd.ingest.reading import workbook  # noqa: PLC0415 - a tenth of a worker's start, and many need none

        return workbook.read(unpacked.data, hints)
    return _read_text(unpacked, name, hints)


def _read_text(unpacked: Unpacked, name: str, hints: DialectHints, *, exact: bool = False) -> Sheet:
    """`exact` sends every line through the exact reader: the way out of a disagreement, and what tests compare with."""
    decoded = text.decode(unpacked.data, pinned=hints.encoding)
    _refuse_binary(decoded.work, name)
    if not decoded.work or decoded.work.isspace():
        raise Rejected("empty_file", "The file is empty.", suggestion="Send a file with a header and records.")
    cut = None
    if hints.trailer:
        decoded, cut = trailer.cut_text(decoded, hints.trailer)
    newline = _newline(decoded.work)
    swapped = dialect.uses_cr(decoded.work, hints)
    _require_lines(decoded.work, b"\r" if swapped else b"\n", hints.max_records)
    lined = decoded.lined(swapped=swapped)
    chosen, first = dialect.detect(lined.work, hints, pairs=not swapped)
    reader = Reader(lined.work, chosen, max_lines=hints.max_record_lines, max_bytes=hints.max_record_bytes)
    head = header.find(reader, first, swapped=swapped, encoding_bad=int(lined.bad[0]) if len(lined.bad) else None)
    body = _body(lined, chosen, head, hints, swapped=swapped, exact=exact)
    assembly.settle(body, reader)
    facts = replace(_facts(unpacked, decoded, chosen, newline, head), announced=cut.announced if cut else None)
    try:
        return _sheet(body, head, facts, cut)
    except Disagreement:
        return _read_text(unpacked, name, hints, exact=True)


def _refuse_binary(work: bytes, name: str) -> None:
    sample = work[:65536]
    controls = len(sample) - len(sample.translate(None, _CONTROL))
    if controls >= 16 and controls > 0.05 * len(sample):
        message = f"{name}: this is binary data, not a table."
        raise Rejected("not_a_table", message, suggestion="Send a CSV or Excel file.")


def _require_lines(work: bytes, line_end: bytes, most: int) -> None:
    """Before anything is made of the lines: each one costs memory, many times what it takes in the file."""
    lines = scan.count(work, line_end[0]) + (not work.endswith(line_end))
    if lines > most + 1:  # the header
        message = f"The file has {lines:,} lines; at most {most:,} records are read."
        raise Rejected("too_many_records", message, suggestion="Split it into smaller files.")


def _newline(work: bytes) -> str:
    sample = work[: 1 << 20]
    pairs = sample.count(b"\r\n")
    counts = {"\n": sample.count(b"\n") - pairs, "\r\n": pairs, "\r": sample.count(b"\r") - pairs}
    return max(counts, key=lambda kind: counts[kind])


def _body(lined: Text, chosen: Dialect, head: Header, hints: DialectHints, *, swapped: bool, exact: bool) -> Body:
    lines = scan.scan(
        lined.work, head.end, chosen, width=len(head.names), max_bytes=hints.max_record_bytes, bad=lined.bad
    )
    if exact:
        lines.suspect[:] = True
    return Body(
        text=lined,
        dialect=chosen,
        swapped=swapped,
        names=head.names,
        lines=lines,
        fate=np.zeros(len(lines.ends), np.uint8),
        max_cells=hints.max_cells,
        cells=[] if exact else None,
    )


def _facts(unpacked: Unpacked, decoded: Text, chosen: Dialect, newline: str, head: Header) -> TextFacts:
    return TextFacts(
        container=unpacked.container,
        member=unpacked.member,
        encoding=decoded.encoding,
        fallback=decoded.fallback,
        delimiter=chosen.delimiter.decode(),
        quote=chosen.quote.decode(),
        newline=newline,
        skip_initial_space=chosen.skip_space,
        escape=chosen.escape.decode(),
        header_line=head.line,
        preamble_lines=head.preamble_lines,
    )


def _sheet(body: Body, head: Header, facts: TextFacts, cut: Trailer | None) -> Sheet:
    first_lines = np.flatnonzero(body.fate != CONTINUATION)
    fates = body.fate[first_lines]
    if not np.any(fates != BLANK):
        raise header_only(head.line)
    records, header_bytes = _records(body, head, first_lines)
    row_of_line = np.zeros(len(body.fate), np.int64)
    row_of_line[first_lines] = np.arange(1, len(first_lines) + 1)
    draft = Draft(
        head=head,
        header_bytes=header_bytes,
        cells=assembly.frame(body),
        rows=pl.Series("row", np.flatnonzero(fates == GOOD) + 1, dtype=pl.UInt32),
        records=records,
        blank=np.flatnonzero(fates == BLANK) + 1,
        problems=_rejected(body, row_of_line, head.end_line + 1),
        foreign_headers=row_of_line[np.array(body.rejections.header_like, np.int64)],
        original=body.text.original,
        facts=facts,
        trailer=cut,
    )
    return finish(draft)


def _records(body: Body, head: Header, first_lines: npt.NDArray[np.int64]) -> tuple[pl.DataFrame, bytes]:
    """Where every record lies, and the header's own bytes."""
    bounds = np.concatenate(([head.start], body.lines.starts[first_lines], body.lines.ends[-1:]))
    offsets = body.text.offsets(bounds)
    ahead = np.append(first_lines[1:], len(body.fate))
    below = head.end_line + 1
    records = pl.DataFrame(
        {
            "row": np.arange(1, len(first_lines) + 1),
            "line_start": first_lines + below,
            "line_end": ahead + (below - 1),
            "offset": offsets[1:-1],
            "length": np.diff(offsets[1:]),
        },
        schema_overrides=dict(RECORDS),
    )
    original = body.text.original
    return records, original[: body.text.bom] + original[offsets[0] : offsets[1]]


def _rejected(body: Body, row_of_line: npt.NDArray[np.int64], below: int) -> pl.DataFrame:
    """One problem for each rejection, with the line and the beginning of the record."""
    lines = np.array(body.rejections.lines, np.int64)
    if not len(lines):
        return problems.empty()
    faults = pl.DataFrame(
        {
            "stage": [str(stage) for stage, _ in body.rejections.faults],
            "code": [fault.code for _, fault in body.rejections.faults],
            "message": [fault.message for _, fault in body.rejections.faults],
            "suggestion": [SUGGESTIONS[fault.code] for _, fault in body.rejections.faults],
        }
    )
    told = faults[np.array(body.rejections.kinds, np.int64)].with_columns(
        pl.Series("row", row_of_line[lines]), pl.Series("line", lines + below), _excerpts(body, lines)
    )
    return told.select(
        pl.col("row").cast(pl.UInt32),
        "stage",
        "code",
        pl.lit(str(Severity.ERROR)).alias("severity"),
        pl.lit("").alias("column"),
        pl.lit("").alias("field"),
        "value",
        pl.format("Line {}: {}", "line", "message").alias("message"),
        "suggestion",
    ).cast(problems.SCHEMA)


def _excerpts(body: Body, lines: npt.NDArray[np.int64]) -> pl.Series:
    """The beginnings of the lines; in batches, so that hardly any of them are Python's at the same time."""
    parts = [pl.Series("value", [], dtype=pl.String)]
    for at in range(0, len(lines), BATCH):
        some = lines[at : at + BATCH]
        spans = zip(body.lines.starts[some].tolist(), body.lines.ends[some].tolist(), strict=True)
        parts.append(pl.Series("value", [_excerpt(body.text.work, *span) for span in spans], dtype=pl.String))
    return pl.concat(parts)


def _excerpt(work: bytes, start: int, end: int) -> str:
    raw = work[start : min(end, start + 4 * EXCERPT)]
    return raw.decode(errors="replace").rstrip("\r\n")[:EXCERPT]
