"""The log of leads that were pushed one by one, made of their rows in the store: the same downloads as of a file."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import polars as pl

from ingestd.errors import Rejected
from ingestd.ingest import poollog
from ingestd.model import Delivery, Outcome
from ingestd.store.pushes import Row

_ROWS = pl.Schema(dict.fromkeys(poollog.ROW_COLUMNS, pl.String) | dict.fromkeys(("row", "lead_id"), pl.Int64))
_ERRORS = pl.Schema(dict.fromkeys(poollog.ERROR_COLUMNS, pl.String) | {"row": pl.Int64})


def pieces(delivery: Delivery, rows: Sequence[Row], kind: str, *, as_json: bool) -> Iterator[bytes]:
    """One download; `kind` is one of poollog.KINDS. Raises Rejected for the original: what was loaded is a lead now."""
    if kind == "original":
        told = f"delivery {delivery.id} gathers leads that came one by one; there is no file"
        raise Rejected("no_original", told, suggestion="take its log, or its rejected leads")
    if kind == "summary":
        return iter([_summary(delivery, rows)])
    if kind == "rejected":
        return iter([_rejected(rows)])
    table = _full(rows) if kind == "full" else _errors(rows)
    return poollog.json_lines(table) if as_json else poollog.csv_pieces(table)


def _full(rows: Sequence[Row]) -> pl.DataFrame:
    """There are no lines; the number of the lead is its place."""
    told = [
        {
            "row": each.row,
            "outcome": str(each.fate.outcome),
            "lead_id": each.fate.lead_id,
            "owner": (each.fate.owner or ":").partition(":")[2] or None,
            "owner_kind": (each.fate.owner or ":").partition(":")[0] or None,
            "phone": each.fate.phone,
            "errors": "; ".join(f"{problem['code']}: {problem['message']}" for problem in each.fate.problems),
        }
        for each in rows
    ]
    return pl.DataFrame(told, schema=_ROWS)


def _errors(rows: Sequence[Row]) -> pl.DataFrame:
    told = [{"row": each.row, **problem} for each in rows for problem in each.fate.problems]
    return pl.DataFrame([{name: line.get(name) for name in _ERRORS} for line in told], schema=_ERRORS)


def _rejected(rows: Sequence[Row]) -> bytes:
    """As a file that can be mended and sent; nothing when nothing was rejected."""
    refused = [each.fate.fields for each in rows if each.fate.outcome is Outcome.REJECTED and each.fate.fields]
    if not refused:
        return b""
    header = list(dict.fromkeys(name for fields in refused for name in fields))
    text = io.StringIO()
    writer = csv.DictWriter(text, header, restval="")
    writer.writeheader()
    writer.writerows(refused)
    return text.getvalue().encode()


def _summary(delivery: Delivery, rows: Sequence[Row]) -> bytes:
    groups = Counter((problem["code"], problem["severity"]) for each in rows for problem in each.fate.problems)
    errors = [{"code": code, "severity": severity, "count": count} for (code, severity), count in groups.most_common()]
    told = {
        **poollog.delivery_header(delivery),
        "state": delivery.state,
        "pool": delivery.pool_id,
        "counts": asdict(delivery.counts),
        "rows": len(rows),
        "errors": errors,
    }
    return json.dumps(told, ensure_ascii=False, indent=1).encode() + b"\n"
