"""The pool log: the fate of every record of a delivery, in file order (READING.md, "What the pool log holds").

It is written once, compressed and columnar (Arrow IPC), sealed, under `<delivery>/<epoch>`, and made durable before the
loading transaction commits; the downloads are rendered from it. Cells that a spreadsheet would run as a formula are
quoted in the operator's CSV files; the rejected records are returned as the bytes that came.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from ingestd.errors import Damaged
from ingestd.ingest import problems, sealing
from ingestd.ingest.parallel import select
from ingestd.ingest.reading import Sheet, TextFacts, Trailer
from ingestd.model import LOG_HEADER, Counts, Delivery, Outcome, Severity
from ingestd.storage import Storage

ROW_COLUMNS = (
    "row", "line_start", "line_end", "outcome", "lead_id", "owner", "owner_kind", "ownership_code", "phone_as_read",
    "phone", "errors",
)  # fmt: skip
ERROR_COLUMNS = (
    "row", "line_start", "stage", "code", "severity", "column", "field", "value", "message", "suggestion",
)  # fmt: skip
KINDS = ("full", "errors", "rejected", "original", "summary")

REJECTED = "rejected.bin"
ROWS, PROBLEMS = "rows.arrows", "problems.arrows"
"""Arrow files and not Parquet: as small, and written in half the time. Short ones are Arrow streams, as all were once,
which is where the names come from; both are read, whatever their length."""
_FILE, _END_OF_STREAM = b"ARROW1", b"\xff\xff\xff\xff\0\0\0\0"
"""How a file begins, and how a stream ends."""
FORMAT = 2
"""Stands in the header since the other files of a log are sealed. Those without it are read all the same."""
BATCH = 50_000
"""Rows of a file's batch: batches are packed and unpacked side by side, a stream was not."""

FIRST, CHUNK = 5_000, 40_000
"""Rows rendered at once: few in the first piece, which somebody waits for, and then so many that polars uses all
processors. One row at a time took 45 s for 300,000 rows (WEB.md)."""

_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
# A formula begins with one of these. So does a phone number in E.164, which stays usable: a sign, digits and spaces.
_FORMULA = r"^(?:[=@\t\r]|[+\-](?:$|[^0-9]|[0-9][0-9 ]*[^0-9 ]))"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What the log needs of a sheet when its cells have gone their way: they are a third of a worker's memory."""

    header_bytes: bytes
    original: bytes
    records: pl.DataFrame
    discarded: pl.Series
    facts: TextFacts
    trailer: Trailer | None = None

    @classmethod
    def of(cls, sheet: Sheet) -> Origin:
        """Everything but the cells."""
        return cls(
            header_bytes=sheet.header_bytes,
            original=sheet.original,
            records=sheet.records,
            discarded=sheet.discarded,
            facts=sheet.facts,
            trailer=sheet.trailer,
        )


@dataclass(frozen=True, kw_only=True)
class PoolLog:
    """The log of one delivery, in its storage. Reading raises FileNotFoundError, OSError and Unavailable."""

    storage: Storage
    key: str
    """`<delivery>/<epoch>`"""

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The header: delivery, text facts, mapping, versions, counts. Only anonymising changes it."""
        try:
            facts: dict[str, Any] = json.loads(self.storage.read(f"{self.key}/{LOG_HEADER}"))
        except ValueError as problem:
            raise self._damaged(LOG_HEADER, problem) from problem
        return facts

    def rows(self) -> pl.DataFrame:
        """`row, line_start, line_end, outcome, lead_id, owner, owner_kind, ownership_code, phone_as_read, phone`.

        Raises Damaged, also when there are not as many as were written: a stream may end early without an error.
        """
        rows = self._table(ROWS)
        expected = self.summary["rows"]
        if rows.height != expected:
            raise Damaged(f"the pool log {self.key} is damaged: {rows.height} of {expected} rows are left")
        return rows

    def problems(self) -> pl.DataFrame:
        """The table of problems with `line_start`; raises Damaged."""
        expected = sum(group["count"] for group in self.summary["errors"])
        if not expected:
            return problems.empty().with_columns(pl.lit(None, dtype=pl.UInt32).alias("line_start"))
        found = self._table(PROBLEMS)
        if found.height != expected:
            raise Damaged(f"the pool log {self.key} is damaged: {found.height} of {expected} problems are left")
        return found

    def _table(self, name: str) -> pl.DataFrame:
        content = self._opened(name)
        try:
            if content.startswith(_FILE):
                return pl.read_ipc(content)
            if not content.endswith(_END_OF_STREAM):
                raise pl.exceptions.ComputeError("the stream has no end")
            return pl.read_ipc_stream(content)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as problem:
            raise self._damaged(name, problem) from problem

    def _opened(self, name: str) -> bytes:
        content = self.storage.read(f"{self.key}/{name}")
        try:
            return sealing.opened(content, expected=self.summary.get("log_format", 1) >= FORMAT)
        except sealing.Broken as problem:
            raise self._damaged(name, problem) from problem

    def _damaged(self, name: str, problem: object) -> Damaged:
        return Damaged(f"the pool log {self.key} is damaged: {name}: {problem}")

    def full(self, *, as_json: bool = False) -> Iterator[bytes]:
        """Every record in file order, in pieces of CSV or of JSON lines."""
        rows = self.rows()
        if self.summary["errors"]:
            joined = rows.join(_told(self.problems()), on="row", how="left", maintain_order="left")
            told = joined.with_columns(pl.col("errors").fill_null("")).select(ROW_COLUMNS)
        else:
            told = rows.with_columns(pl.lit("").alias("errors")).select(ROW_COLUMNS)
        return json_lines(told) if as_json else csv_pieces(told)

    def errors(self, *, as_json: bool = False) -> Iterator[bytes]:
        """Every problem, one a line, in pieces of CSV or of JSON lines."""
        told = self.problems().select(ERROR_COLUMNS)
        return json_lines(told) if as_json else csv_pieces(told)

    def rejected(self) -> Iterator[bytes]:
        """The original header and the original bytes of every rejected record: ready to mend and send again.

        With a last line that says how many they are, if the file had one.
        """
        if self.storage.has(f"{self.key}/{REJECTED}"):
            yield self._opened(REJECTED)
        elif self.summary.get("counts", {}).get("rejected"):
            raise self._damaged(REJECTED, "it is missing")
        else:
            yield b""

    def check(self) -> None:
        """Reads all of it; raises Damaged when it is not what was written."""
        self.rows()
        self.problems()
        list(self.rejected())


def write(
    storage: Storage, key: str, *, header: Mapping[str, Any], origin: Origin, rows: pl.DataFrame, found: pl.DataFrame
) -> PoolLog:
    """Writes a new log and makes it durable; `rows` has an outcome for every record. Raises Unavailable."""
    assert rows.height == origin.records.height
    refused = rows["row"].filter(rows["outcome"] == str(Outcome.REJECTED))
    with storage.new(key) as folder:
        _write(rows, folder.target(ROWS))
        if not found.is_empty():
            _write(_placed(found, rows), folder.target(PROBLEMS))
        if not refused.is_empty():
            folder.write(REJECTED, sealing.sealed(_original_bytes(origin, refused)))
        told = {"log_format": FORMAT, **header, "rows": rows.height, "errors": _grouped(found)}
        folder.write(LOG_HEADER, _header(told))
    return PoolLog(storage=storage, key=key)


def remove(storage: Storage, folder: str, unwanted: Callable[[str], bool]) -> None:
    """Removes the logs below a folder whose key is unwanted. Raises OSError and Unavailable."""
    keys = [each.key for each in storage.found(folder) if unwanted(each.key.rpartition("/")[0])]
    for key in keys:
        storage.discard(key)
    for log in {key.rpartition("/")[0] for key in keys}:
        storage.tidy(log)


def rewritten(rows: pl.DataFrame, found: pl.DataFrame, header: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a log with other texts, but for the rejected lines; the header comes last."""
    parts = {ROWS: _made_anew(rows)}
    if not found.is_empty():
        parts[PROBLEMS] = _made_anew(found)
    return {**parts, LOG_HEADER: _header({**header, "rows": rows.height, "errors": _grouped(found)})}


def _made_anew(frame: pl.DataFrame) -> bytes:
    """A text that is replaced in a column stays in the memory of the column, and would be written with it."""
    buffer = io.BytesIO()
    columns = {column.name: column.to_list() for column in frame.get_columns()}
    _write(pl.DataFrame(columns, schema=frame.schema), buffer)
    return buffer.getvalue()


def _write(frame: pl.DataFrame, target: Path | io.BytesIO) -> None:
    if frame.height <= FIRST:  # a stream, which takes a tenth of the time when it is as short
        frame.write_ipc_stream(target, compression="zstd")
    else:
        frame.write_ipc(target, compression="zstd", record_batch_size=BATCH)
    sealing.seal(target)


def write_refusal(storage: Storage, key: str, *, header: Mapping[str, Any]) -> PoolLog:
    """The log of a file that was refused as a whole: its header says why; there are no records. Raises Unavailable."""
    empty = {name: pl.String for name in ROW_COLUMNS if name not in ("row", "errors")}
    rows = pl.DataFrame(schema={"row": pl.UInt32, **empty})
    with storage.new(key) as folder:
        _write(rows, folder.target(ROWS))
        folder.write(LOG_HEADER, _header({"log_format": FORMAT, **header, "rows": 0, "errors": []}))
    return PoolLog(storage=storage, key=key)


def _header(facts: Mapping[str, Any]) -> bytes:
    return json.dumps(facts, ensure_ascii=False).encode()


def _placed(found: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The problems with the lines on which their records start."""
    lines = rows.select("row", "line_start")
    return found.join(lines, on="row", how="left", validate="m:1", maintain_order="left")


def outcomes(origin: Origin, ended: pl.DataFrame, rejected: pl.Series) -> pl.DataFrame:
    """One line a record: its place in the file and how it ended.

    `ended` has `row`, `outcome`, `lead_id` of the records that reached screening, `rejected` the rows that did not;
    both together with the discarded rows are every record once, or AssertionError is raised.
    """
    gone = {Outcome.REJECTED: rejected, Outcome.DISCARDED: origin.discarded}
    others = [_all(rows, outcome) for outcome, rows in gone.items() if not rows.is_empty()]
    every = pl.concat([ended.select("row", "outcome", "lead_id"), *others]).sort("row")
    assert every["row"].equals(origin.records["row"]), "a record has no end, or two"
    places: pl.DataFrame = origin.records.select("row", "line_start", "line_end")
    return places.hstack(every.select("outcome", "lead_id"))


def count(rows: pl.DataFrame) -> Counts:
    """The outcomes as counts; they add up to the records, or AssertionError is raised."""
    found = dict(rows["outcome"].value_counts().iter_rows())
    return Counts(records=rows.height, **{str(outcome): found.get(str(outcome), 0) for outcome in Outcome})


def rejected_rows(found: pl.DataFrame) -> pl.Series:
    """The rows that have at least one error."""
    if found.is_empty():
        return found["row"]
    return found.filter(pl.col("severity") == Severity.ERROR)["row"].unique().sort()


def delivery_header(delivery: Delivery) -> dict[str, Any]:
    """What the door and the ledger know of a delivery, for the log's header."""
    return {
        "delivery": delivery.id,
        "epoch": delivery.epoch,
        "source": delivery.source,
        "login": delivery.login,
        "peer": delivery.peer,
        "protocol": delivery.protocol,
        "name": delivery.name,
        "folder": delivery.folder,
        "size_bytes": delivery.size,
        "sha256": delivery.sha256,
        "received_at": delivery.received_at.isoformat(),
        "queued_at": delivery.queued_at.isoformat() if delivery.queued_at else None,
        "started_at": delivery.started_at.isoformat() if delivery.started_at else None,
        "completeness": delivery.completeness,
        "completeness_evidence": delivery.evidence,
        "previous_version": delivery.previous_version,
    }


def _all(rows: pl.Series, outcome: Outcome) -> pl.DataFrame:
    ended = pl.DataFrame({"row": rows.cast(pl.UInt32)})
    return ended.with_columns(pl.lit(str(outcome)).alias("outcome"), pl.lit(None, dtype=pl.Int64).alias("lead_id"))


def _grouped(found: pl.DataFrame) -> list[dict[str, Any]]:
    """Problems by code and column: count, first example and what to do, the most frequent first."""
    if found.is_empty():
        return []
    return problems.by_kind(found, pl.first("row").alias("first_row"), pl.first("message")).to_dicts()


def _told(found: pl.DataFrame) -> pl.DataFrame:
    text = pl.concat_str("code", pl.lit(": "), "message")
    return found.group_by("row", maintain_order=True).agg(text.str.join("; ").alias("errors"))


def _original_bytes(origin: Origin, rows: pl.Series) -> bytes:
    places = origin.records.filter(pl.col("row").is_in(rows.implode())).select("offset", "length")
    mark = next((mark for mark in _BYTE_ORDER_MARKS if origin.original.startswith(mark)), b"")
    head = origin.header_bytes if origin.header_bytes.startswith(mark) else mark + origin.header_bytes
    tail = b"" if origin.trailer is None else origin.trailer.saying(places.height)
    return head + b"".join(origin.original[offset : offset + length] for offset, length in places.iter_rows()) + tail


def csv_pieces(frame: pl.DataFrame) -> Iterator[bytes]:
    """RFC 4180 in UTF-8, safe to open in a spreadsheet, in pieces; the first waits for no other."""
    line = io.StringIO()
    csv.writer(line).writerow(frame.columns)
    yield line.getvalue().encode()
    for piece in _slices(frame):
        yield csv_lines(piece)


def csv_lines(frame: pl.DataFrame, **facts: Any) -> bytes:
    """The lines of a table without its header, safe to open in a spreadsheet; `facts` are those of `write_csv`."""
    written = io.BytesIO()
    defused(frame).write_csv(written, include_header=False, line_terminator="\r\n", **facts)
    return written.getvalue()


def json_lines(frame: pl.DataFrame) -> Iterator[bytes]:
    for piece in _slices(frame):
        yield piece.write_ndjson().encode()


def _slices(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    if not frame.is_empty():
        yield frame.head(FIRST)
    for start in range(FIRST, frame.height, CHUNK):
        yield frame.slice(start, CHUNK)


def defused(frame: pl.DataFrame) -> pl.DataFrame:
    """The same, with an apostrophe before every text that a spreadsheet would run (OWASP, CSV injection)."""
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    runs = select(frame, pl.col(texts).str.contains(_FORMULA).any())
    here = [name for name in texts if runs[name].item()]
    return frame.with_columns(_behind_an_apostrophe(pl.col(name)) for name in here) if here else frame


def _behind_an_apostrophe(text: pl.Expr) -> pl.Expr:
    return pl.when(text.str.contains(_FORMULA)).then(pl.concat_str(pl.lit("'"), text)).otherwise(text).name.keep()
