"""Importing do-not-call lists: one number a line, or a table with a phone column."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from sqlalchemy import Engine

from ingestd.errors import Rejected
from ingestd.ingest import phones, reading
from ingestd.schemas import Schema, header_key
from ingestd.store import loading, rules
from ingestd.store.engine import reading as viewing
from ingestd.store.engine import writing


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What became of a list."""

    added: int
    known: int
    """numbers that were on the list already, or twice in the file"""
    unreadable: list[tuple[int, str]]
    """line and text of what is no phone number"""


def import_list(
    engine: Engine, data: bytes, *, name: str, schema: Schema, campaign: str | None, region: str | None, reason: str
) -> Imported:
    """Adds every number of a file to the global list, or to a campaign's; one transaction.

    Without `region` a campaign's own counts; the global list then takes numbers with a country code only.
    """
    with viewing(engine) as connection:
        owner = rules.campaign(connection, campaign) if campaign else None
    numbers = _numbers(data, name, schema)
    read = numbers.hstack(phones.normalise(numbers["text"], region or (owner.region if owner else "ZZ")))
    good = read["e164"].drop_nulls()
    wanted = good.unique().sort().to_list()
    with writing(engine) as connection:
        added = loading.add_do_not_call(connection, owner.id if owner else 0, wanted, reason) if wanted else 0
    wrong = read.filter(pl.col("e164").is_null()).select("line", "text")
    return Imported(added=added, known=len(good) - added, unreadable=wrong.rows())


def _numbers(data: bytes, name: str, schema: Schema) -> pl.DataFrame:
    """`line`, `text` of every number; a table is told from a plain list by its header."""
    try:
        sheet = reading.read(data, name=name)
    except Rejected as problem:
        if problem.code in ("no_header", "header_only"):
            return _plain_list(data)
        raise
    named = {header_key(column): column for column in sheet.header}
    phone = next((named[key] for key in map(header_key, schema.by_name["phone"].names) if key in named), None)
    if phone is None:
        raise Rejected(
            "phone_column_missing",
            f"no column of {name} is a phone number; its columns are: {', '.join(sheet.header)}",
            suggestion="send one number a line without a header, or a table with a column named phone",
        )
    lines = sheet.records.filter(pl.col("row").is_in(sheet.rows.implode()))["line_start"]
    text = sheet.cells[phone].str.strip_chars()
    return pl.DataFrame({"line": lines, "text": text}).filter(pl.col("text") != "")


def _plain_list(data: bytes) -> pl.DataFrame:
    lines = data.decode("utf-8-sig", errors="replace").splitlines()
    rows = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    return pl.DataFrame(rows, schema={"line": pl.Int64, "text": pl.String}, orient="row")
