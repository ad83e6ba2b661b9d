"""Mapping: which column of a file is which field of a lead.

First the source's saved mapping, then the schema's aliases, then the exact system name (LEADS.md). What matches no
field is ignored and named in the log; a missing required field refuses the file before anything is loaded.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from ingestd.errors import Rejected
from ingestd.ingest.parallel import MANY, in_parallel, select
from ingestd.ingest.reading import Sheet
from ingestd.schemas import LeadField, Schema, header_key


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """The cells of a file by field."""

    columns: dict[str, str]
    """field name → header as written in the file"""
    ignored: tuple[str, ...]
    """headers that match no field, in file order"""
    trimmed: dict[str, int]
    """header → how many cells had white space around their text, which was taken off"""
    frame: pl.DataFrame
    """`row` and one String column a field, null where the cell is empty"""


def apply(sheet: Sheet, schema: Schema, saved: Mapping[str, str]) -> Mapped:
    """Names the columns of a sheet; raises Rejected when the file cannot be a list of leads."""
    columns = assign(sheet.header, schema, saved)
    _require(columns, sheet.header, schema)
    # By name and not by pl.col, which takes a header such as "^phone$" for a pattern.
    texts = pl.DataFrame([sheet.cells[header].alias(field) for field, header in columns.items()])
    plain = select(texts, pl.all().str.strip_chars())
    pairs = list(zip(texts.get_columns(), plain.get_columns(), strict=True))
    changed = in_parallel(lambda pair: int((pair[0] != pair[1]).sum()), pairs, worth_it=texts.height > MANY)
    return Mapped(
        columns=columns,
        ignored=tuple(header for header in sheet.header if header not in columns.values()),
        trimmed={columns[field]: count for field, count in zip(texts.columns, changed, strict=True) if count},
        frame=select(plain, pl.when(pl.all() != "").then(pl.all())).insert_column(0, sheet.rows.alias("row")),
    )


def assign(header: tuple[str, ...], schema: Schema, saved: Mapping[str, str]) -> dict[str, str]:
    """field → header, in file order; raises Rejected when two columns claim one field.

    A field that the saved mapping gives to a column of this file is given to no other column by an alias.
    """
    saved_keys = {header_key(name): field for name, field in saved.items()}
    given = {saved_keys[key] for key in map(header_key, header) if key in saved_keys}
    claims: dict[str, str] = {}
    for name in header:
        field = _field(name, schema, saved_keys)
        if field is None or (field.name in given and header_key(name) not in saved_keys):
            continue
        if field.name in claims:
            raise Rejected(
                "two_columns_one_field",
                f"the columns {claims[field.name]!r} and {name!r} both mean {field.title!r}",
                suggestion="send one of them, or have the source's mapping name the right one",
            )
        claims[field.name] = name
    return claims


def unmatched(header: tuple[str, ...], schema: Schema, saved: Mapping[str, str]) -> tuple[str, ...]:
    """The headers that match no field, and of which the saved mapping does not say that they are ignored."""
    keys = {header_key(name): field for name, field in saved.items()}
    return tuple(name for name in header if _field(name, schema, keys) is None and keys.get(header_key(name)) != "")


def _field(name: str, schema: Schema, saved: Mapping[str, str]) -> LeadField | None:
    key = header_key(name)
    if key in saved:
        return schema.by_name.get(saved[key])  # mapped to "" by the operator: ignore this column
    return schema.by_header.get(key)


def _require(columns: Mapping[str, str], header: tuple[str, ...], schema: Schema) -> None:
    missing = [field for field in schema.fields if field.required and field.name not in columns]
    if not missing:
        return
    wanted = ", ".join(repr(field.title) for field in missing)
    near = _nearest(missing[0], header)
    raise Rejected(
        "required_column_missing",
        f"no column of this file is {wanted}; its columns are: {', '.join(header)}",
        suggestion=(
            (f"is the column {near!r} meant? " if near else "")
            + f"name it {missing[0].title!r} or have the operator map it for this source"
        ),
    )


def _nearest(field: LeadField, header: tuple[str, ...]) -> str | None:
    keys = {header_key(name): name for name in header}
    for name in field.names:
        found = difflib.get_close_matches(header_key(name), list(keys), n=1, cutoff=0.75)
        if found:
            return keys[found[0]]
    return None
