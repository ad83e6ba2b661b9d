"""Taking one person's record out of a received file and out of its log, and leaving everybody else's as it was.

A file of text keeps its length and its lines: the record's characters become spaces, between the separators that stay.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from ingestd.errors import IngestdError, Rejected
from ingestd.ingest import poollog, reading
from ingestd.ingest.poollog import PoolLog
from ingestd.ingest.reading import Sheet, TextFacts
from ingestd.ingest.reading.container import unpack
from ingestd.model import DialectHints
from ingestd.spool import Spool

GONE = "anonymised"
TOLD = {"value": "", "message": GONE, "suggestion": ""}
"""What a problem says of a person who was anonymised."""


class Unerasable(IngestdError):
    """A kept file is not read as it was when it was loaded, so nobody can say which of its records is meant."""


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What became of one delivery."""

    delivery_id: int
    rows: tuple[int, ...]
    """the records that were blanked"""
    sha256: str
    """of the kept file as it is now; the delivery's own stays that of what was sent, to know it again"""
    size: int
    """of the kept file as it is now, in bytes"""


@dataclass(frozen=True, kw_only=True)
class Original:
    """A received file, where it is kept and how it is read."""

    spool: Spool
    delivery_id: int
    key: str
    name: str
    hints: DialectHints

    def read(self) -> bytes:
        """All bytes; raises FileNotFoundError, OSError and Unavailable."""
        return self.spool.read(self.key)


def find(log: PoolLog, lead_id: int, phones: Sequence[str], *, undone: bool = False) -> pl.DataFrame:
    """The rows of a log that speak of a lead, or have one of its numbers and belong to no other lead.

    `undone`: the leads that the log names are not there any more.
    """
    rows = log.rows()
    number = pl.col("phone").is_in(phones) | pl.col("phone_as_read").is_in(phones)
    nobodys = pl.col("lead_id").is_null() | (pl.col("lead_id") == lead_id) | pl.lit(undone)
    return rows.filter(
        (pl.col("lead_id") == lead_id).fill_null(value=False) | (number.fill_null(value=False) & nobodys)
    )


def erase(log: PoolLog, file: Original, found: pl.DataFrame, *, moment: str) -> Erased:
    """Blanks the found rows in the kept file and in the log. Raises Unerasable."""
    data, name = file.read(), file.name
    try:
        sheet = reading.read(data, name=name, hints=file.hints)
    except Rejected as refusal:
        if refusal.code != "header_only":
            raise
        return _erase_again(log, file, found, data, moment)
    places = sheet.records.filter(pl.col("row").is_in(found["row"].implode()))
    if sheet.records.height != log.summary["rows"] or places.height != found.height:
        raise Unerasable(f"{name} has {sheet.records.height:,} records now, and {log.summary['rows']:,} in its log")
    content = _without(data, sheet, places)
    file.spool.rewrite(file.key, content)
    erased = _erased(file, found, content)
    _erase_log(log, erased, moment, _rejected_without(log, sheet, places))
    return erased


def _erase_again(log: PoolLog, file: Original, found: pl.DataFrame, data: bytes, moment: str) -> Erased:
    """Where every record of the file is blank already: by an earlier run, which may not have come to the log."""
    erased = _erased(file, found, data)
    facts = TextFacts(**log.summary["text"])
    _erase_log(log, erased, moment, _blank(b"".join(log.rejected()), facts))
    return erased


def _erased(file: Original, found: pl.DataFrame, content: bytes) -> Erased:
    digest = hashlib.sha256(content).hexdigest()
    return Erased(delivery_id=file.delivery_id, rows=tuple(found["row"]), sha256=digest, size=len(content))


def remove_earlier(log: PoolLog) -> None:
    """Removes the logs of earlier attempts at a delivery: nothing refers to them any more, and they name people too.

    One of a later attempt stays: it is being written.
    """
    folder, _, epoch = log.key.rpartition("/")
    for each in list(log.storage.found(folder)):
        if int(each.key.removeprefix(f"{folder}/").partition("/")[0]) < int(epoch):
            log.storage.discard(each.key)


def contains(file: Original, needles: Sequence[str]) -> bool:
    """True when a kept file has one of these texts, whatever it is packed in and encoded as."""
    data = file.read()
    unpacked = unpack(data, name=file.name, max_bytes=file.hints.max_bytes)
    if unpacked.container == "xlsx":
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            whole = b"\n".join(book.read(each) for each in book.namelist())
    else:
        whole = unpacked.data
    return any(needle.encode(code) in whole for needle in needles for code in ("utf-8", "utf-16-le", "utf-16-be"))


def _without(data: bytes, sheet: Sheet, places: pl.DataFrame) -> bytes:
    if sheet.facts.container == "xlsx":
        return _workbook(data, sheet.facts, places)
    blanked = bytearray(sheet.original)
    for offset, length in places.select("offset", "length").iter_rows():
        blanked[offset : offset + length] = _blank(bytes(blanked[offset : offset + length]), sheet.facts)
    if sheet.facts.container == "gzip":
        return gzip.compress(bytes(blanked), mtime=0)
    if sheet.facts.container == "zip":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(sheet.facts.member, bytes(blanked))
        return packed.getvalue()
    return bytes(blanked) + data[len(blanked) :]  # what follows the records is a trailer


def _blank(record: bytes, facts: TextFacts) -> bytes:
    """Spaces instead of everything but separators, quotes and line ends."""
    kept = {char for char in ("\r", "\n", facts.delimiter, facts.quote) if char}
    if facts.encoding.startswith("utf-16"):
        order = "utf-16-be" if facts.encoding.endswith("be") else "utf-16-le"
        units = (record[place : place + 2] for place in range(0, len(record), 2))
        wanted = {char.encode(order) for char in kept}
        return b"".join(unit if unit in wanted else " ".encode(order) for unit in units)
    wanted_bytes = {char.encode()[0] for char in kept}
    return bytes(byte if byte in wanted_bytes else 0x20 for byte in record)


def _workbook(data: bytes, facts: TextFacts, places: pl.DataFrame) -> bytes:
    """Saved anew, so that the texts are gone from the workbook's list of strings too."""
    import openpyxl  # noqa: PLC0415 - a tenth of a worker's start, and only few are sent workbooks

    book = openpyxl.load_workbook(io.BytesIO(data))
    sheet = book[facts.member]
    for start, end in places.select("line_start", "line_end").iter_rows():
        for row in sheet.iter_rows(min_row=start, max_row=end):
            for cell in row:
                cell.value = None
                cell.comment = None
                cell.hyperlink = None
    saved = io.BytesIO()
    book.save(saved)
    return saved.getvalue()


def _rejected_without(log: PoolLog, sheet: Sheet, places: pl.DataFrame) -> bytes:
    """The rejected lines with those of some records blanked."""
    rejected = b"".join(log.rejected())
    for offset, length in places.select("offset", "length").iter_rows():
        record = sheet.original[offset : offset + length]
        rejected = rejected.replace(record, _blank(record, sheet.facts)) if record.strip() else rejected
    return rejected


def _erase_log(log: PoolLog, erased: Erased, moment: str, rejected: bytes) -> None:
    mine = pl.col("row").is_in(erased.rows)
    texts = ("phone_as_read", "phone", "ownership_code")
    rows = log.rows().with_columns(pl.when(~mine).then(name).alias(name) for name in texts)
    found = log.problems().with_columns(
        pl.when(mine).then(pl.lit(text)).otherwise(name).alias(name) for name, text in TOLD.items()
    )
    note = {"at": moment, "rows": list(erased.rows), "sha256": erased.sha256}
    notes = [*log.summary.get("anonymised", ()), note]
    parts = poollog.rewritten(rows, found, {**log.summary, "anonymised": notes}, rejected)
    for name, content in parts.items():
        log.storage.rewrite(f"{log.key}/{name}", content)
