"""Reading do-not-call lists: one number a line, or a table with a phone column."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from sqlalchemy import Engine

from ingestd.errors import Rejected
from ingestd.ingest import phones, reading
from ingestd.ingest.reading import container
from ingestd.model import DialectHints, Severity
from ingestd.schemas import Schema, header_key
from ingestd.store import rules
from ingestd.store.engine import reading as viewing

_LINES = pl.Schema({"line": pl.Int64, "text": pl.String})
_BROKEN = pl.Schema({"line": pl.Int64, "text": pl.String, "reason": pl.String})


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What a file says."""

    phones: list[str]
    """every number once, E.164"""
    read: int
    """how many there are, those counted that are there twice"""
    unreadable: list[tuple[int, str, str]]
    """line, text and fault of what is no phone number, or no record of the table"""


def read_list(
    engine: Engine, data: bytes, *, name: str, schema: Schema, campaign: str | None, region: str | None
) -> Numbers:
    """The numbers of a file, and each line that is none.

    Without `region` a campaign's own counts; the global list then takes numbers with a country code only.
    """
    with viewing(engine) as connection:
        owner = rules.campaign(connection, campaign) if campaign else None
    numbers, broken = _numbers(data, name, schema)
    read = numbers.hstack(phones.read(numbers["text"], region or (owner.region if owner else "ZZ")))
    good = read["e164"].drop_nulls()
    fault = pl.col("reason").replace_strict(phones.MESSAGES, return_dtype=pl.String)
    faulty = read.filter(pl.col("e164").is_null()).select("line", "text", fault)
    wrong = pl.concat([faulty, broken]).sort("line")
    return Numbers(phones=good.unique().sort().to_list(), read=len(good), unreadable=wrong.rows())


def _numbers(data: bytes, name: str, schema: Schema) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`line`, `text` of every number, and those with `reason` of every record that could not be read.

    A table is told from a plain list by its header.
    """
    try:
        sheet = reading.read(data, name=name)
    except Rejected as problem:
        if problem.code in ("no_header", "header_only"):
            unpacked = container.unpack(data, name=name, max_bytes=DialectHints().max_bytes)
            if unpacked.container != "xlsx":  # a workbook has no lines
                return _plain_list(unpacked.data), pl.DataFrame(schema=_BROKEN)
        raise
    columns = [column for column in sheet.header if _is_phone(column, schema)]
    if not columns:
        raise Rejected(
            "phone_column_missing",
            f"no column of {name} is a phone number; its columns are: {', '.join(sheet.header)}",
            suggestion="send one number a line without a header, or a table with a column named phone",
        )
    lines = sheet.records.filter(pl.col("row").is_in(sheet.rows.implode()))["line_start"].alias("line")
    # Every phone column counts: a number that is left out of the list would be called.
    texts = [pl.DataFrame([lines, sheet.cells[column].alias("text")]) for column in columns]
    numbers = pl.concat(texts).with_columns(pl.col("text").str.strip_chars()).filter(pl.col("text") != "")
    return numbers.cast(_LINES).sort("line", maintain_order=True), _broken(sheet)


def _is_phone(column: str, schema: Schema) -> bool:
    field = schema.by_header.get(header_key(column))
    return field is not None and field.type == "phone"


def _broken(sheet: reading.Sheet) -> pl.DataFrame:
    errors = sheet.problems.filter(pl.col("severity") == Severity.ERROR).unique("row", keep="first")
    placed = errors.join(sheet.records, on="row", validate="1:1")
    told = {"line": "line_start", "text": "value", "reason": "message"}
    return placed.select(pl.col(column).alias(name) for name, column in told.items()).cast(_BROKEN)


def _plain_list(data: bytes) -> pl.DataFrame:
    lines = data.decode(_encoding(data), errors="replace").splitlines()
    rows = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    return pl.DataFrame(rows, schema=_LINES, orient="row")


def _encoding(data: bytes) -> str:
    return "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
