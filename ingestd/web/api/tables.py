"""Leads that come as JSON, written as the table that files are: the road reads them as it reads everything."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from pydantic import StrictBool, StrictFloat, StrictInt, StrictStr

from ingestd.errors import Invalid
from ingestd.store import texts

Value = StrictStr | StrictBool | StrictInt | StrictFloat | None
Record = dict[str, Value]
"""A lead: field or header, and value."""

MOST_COLUMNS = 500
"""Each lead may name others, and each takes a cell in every row."""


def csv_of(records: Sequence[Record]) -> bytes:
    """The records as CSV (RFC 4180) in UTF-8, every cell quoted; the header in the order in which names first come.

    Raises Invalid for what is no table.
    """
    header = list(dict.fromkeys(name for record in records for name in record))
    if not header or not all(name.strip() for name in header) or len(header) > MOST_COLUMNS:
        told = f"every lead has values with names, at most {MOST_COLUMNS} different ones in all"
        raise Invalid("value_unusable", told, field="body.leads")
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(header)
    writer.writerows([cell(record.get(name)) for name in header] for record in records)
    try:
        return text.getvalue().encode()
    except UnicodeEncodeError as problem:  # half a character, which JSON can write and nobody can read
        raise Invalid("value_unusable", f"a value is no text: {problem.reason}", field="body.leads") from problem


def texts_of(record: Record) -> dict[str, str]:
    """One record as texts; raises Invalid for what no store can keep, which in a file the reader rejects."""
    cells = {name: cell(value) for name, value in record.items()}
    for name, text in cells.items():
        if not (texts.kept(name) and texts.kept(text)):
            raise Invalid("value_unusable", texts.UNKEPT, field=f"body.{name!a}")
    return cells


def cell(value: Value) -> str:
    """A value as it would stand in a file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
