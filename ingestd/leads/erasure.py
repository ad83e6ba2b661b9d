"""Taking one person's record out of a received file and out of its log, and leaving everybody else's as it was.

A file of text keeps its length and its lines: the record's characters become spaces, between the separators that stay.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from ingestd.errors import IngestdError, Rejected
from ingestd.ingest import poollog, reading, sealing
from ingestd.ingest.poollog import PoolLog
from ingestd.ingest.reading import Sheet, TextFacts
from ingestd.ingest.reading.container import unpack
from ingestd.model import DialectHints
from ingestd.spool import Spool

if TYPE_CHECKING:
    from openpyxl import Workbook

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
    """Blanks the found rows in the kept file and in the log. Raises Unerasable.

    In an order in which a run that was interrupted can be done again: the rejected lines are found by what the file
    says, so they come first.
    """
    data = file.read()
    sheet = _sheet(log, file, data)
    content = data
    if sheet is not None:
        places = sheet.records.filter(pl.col("row").is_in(found["row"].implode()))
        if sheet.records.height != log.summary["rows"] or places.height != found.height:
            raise _other_records(log, file, sheet.records.height)
        _erase_rejected(log, sheet, places)
        content = _without(data, sheet, places)
        file.spool.rewrite(file.key, content)
    digest = hashlib.sha256(content).hexdigest()
    erased = Erased(delivery_id=file.delivery_id, rows=tuple(found["row"]), sha256=digest, size=len(content))
    _erase_log(log, erased, moment)
    return erased


def _sheet(log: PoolLog, file: Original, data: bytes) -> Sheet | None:
    """The file as it is read now; None when all of its records are blank already. Raises Unerasable."""
    facts = TextFacts(**log.summary["text"])
    hints = file.hints
    if facts.container == "xlsx":  # its rejected lines are found as they were written then
        hints = replace(hints, delimiter=facts.delimiter, quote=facts.quote)
    try:
        return reading.read(data, name=file.name, hints=hints)
    except Rejected as refusal:
        if refusal.code == "header_only" and _blank_throughout(data, file, facts):
            return None
        raise _other_records(log, file, 0) from refusal


def _other_records(log: PoolLog, file: Original, count: int) -> Unerasable:
    return Unerasable(f"{file.name} has {count:,} records now, and {log.summary['rows']:,} in its log")


def _blank_throughout(data: bytes, file: Original, facts: TextFacts) -> bool:
    """Whether no record stands below the header, whatever today's settings of the source make of it."""
    unpacked = unpack(data, name=file.name, max_bytes=file.hints.max_bytes)
    if unpacked.container == "xlsx":
        rows = _book(data)[facts.member].iter_rows(min_row=facts.header_line + 1, values_only=True)
        lines = ["".join(str(cell) for cell in row if cell is not None) for row in rows]
    else:
        lines = re.split("\r\n|\r|\n", unpacked.data.decode(facts.encoding, "replace"))[facts.header_line :]
    filled = sum(bool(line.strip(f" {facts.delimiter}{facts.quote}")) for line in lines)
    return filled <= (facts.announced is not None)  # the trailer


def remove_earlier(log: PoolLog) -> None:
    """Removes the logs of earlier attempts at a delivery: nothing refers to them any more, and they name people too.

    One of a later attempt stays: it is being written.
    """
    folder, _, epoch = log.key.rpartition("/")
    earlier = {f"{folder}/{number}" for number in range(1, int(epoch))}
    if earlier:
        poollog.remove(log.storage, folder, earlier.__contains__)


def contains(file: Original, needles: Sequence[str]) -> bool:
    """True when a kept file has one of these texts, whatever it is packed in and encoded as."""
    data = file.read()
    unpacked = unpack(data, name=file.name, max_bytes=file.hints.max_bytes)
    if unpacked.container == "xlsx":
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            whole = b"\n".join(book.read(each) for each in book.namelist())
    else:
        whole = unpacked.data
    return speaks_of(whole, needles)


def speaks_of(text: bytes, needles: Sequence[str]) -> bool:
    """True when one of these texts is there, whatever it is encoded as."""
    return any(needle.encode(code) in text for needle in needles for code in ("utf-8", "utf-16-le", "utf-16-be"))


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
    """Saved anew, so that the texts are gone from the workbook's list of strings too.

    A space stays: rows at the end in which nothing stands are none, and then the file has other records than its log.
    """
    book = _book(data)
    sheet = book[facts.member]
    for start, end in places.select("line_start", "line_end").iter_rows():
        for row in sheet.iter_rows(min_row=start, max_row=end):
            for cell in row:
                cell.value = None
                cell.comment = None
                cell.hyperlink = None
            row[0].value = " "
    saved = io.BytesIO()
    book.save(saved)
    return saved.getvalue()


def _book(data: bytes) -> Workbook:
    import openpyxl  # noqa: PLC0415 - a tenth of a worker's start, and only few are sent workbooks

    return openpyxl.load_workbook(io.BytesIO(data))


def _erase_rejected(log: PoolLog, sheet: Sheet, places: pl.DataFrame) -> None:
    """Blanks the records among the rejected lines, which are the file's own."""
    rejected = blanked = b"".join(log.rejected())
    for offset, length in places.select("offset", "length").iter_rows():
        record = sheet.original[offset : offset + length]
        blanked = blanked.replace(record, _blank(record, sheet.facts)) if record.strip() else blanked
    if blanked != rejected:
        log.storage.rewrite(f"{log.key}/{poollog.REJECTED}", sealing.sealed(blanked))


def _erase_log(log: PoolLog, erased: Erased, moment: str) -> None:
    mine = pl.col("row").is_in(erased.rows)
    texts = ("phone_as_read", "phone", "ownership_code")
    rows = log.rows().with_columns(pl.when(~mine).then(name).alias(name) for name in texts)
    found = log.problems().with_columns(
        pl.when(mine).then(pl.lit(text)).otherwise(name).alias(name) for name, text in TOLD.items()
    )
    note = {"at": moment, "rows": list(erased.rows), "sha256": erased.sha256}
    notes = [*log.summary.get("anonymised", ()), note]
    parts = poollog.rewritten(rows, found, {**log.summary, "anonymised": notes})
    for name, content in parts.items():
        log.storage.rewrite(f"{log.key}/{name}", content)
