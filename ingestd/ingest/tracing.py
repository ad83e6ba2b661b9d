"""Why was this number rejected? The logs are looked through, the newest first, for as long as there is time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from ingestd.ingest.poollog import PoolLog
from ingestd.model import Delivery
from ingestd.storage import Storage

SHORTEST = 6
"""Digits of a number that is looked for; fewer are in too many others."""
COMPARED = 8
"""The last digits by which numbers are compared: however the country was written before them."""
SECONDS = 2.0
MOST = 50
PROBLEMS = 5
"""of one record that are told"""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One record of one file in which the number stands."""

    delivery: Delivery
    row: int
    line: int | None
    outcome: str
    lead_id: int | None
    owner: str
    phone: str
    """as read, or as the file has it when it could not be read"""
    problems: tuple[tuple[str, str, str, str], ...]
    """code, column, value, message"""


@dataclass(frozen=True, kw_only=True)
class Traced:
    """What was found, and how far was looked."""

    found: tuple[Trace, ...]
    looked_at: int
    """logs"""
    back_to: datetime | None
    """when the oldest of these deliveries was received"""
    whole: bool
    """True when every log was looked at"""


def digits(text: str) -> str:
    """What is compared of a number: its last digits. Empty when it has too few."""
    found = "".join(letter for letter in text if letter.isdecimal())
    return found[-COMPARED:] if len(found) >= SHORTEST else ""


def trace(
    deliveries: Iterable[Delivery],
    logs: Storage,
    number: str,
    *,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Traced:
    """Looks through the logs of `deliveries`, which come newest first, for records with the last digits of a number.

    A log that is missing or damaged is passed over; raises Unavailable when the storage is away.
    """
    wanted, until = digits(number), clock() + seconds
    assert wanted, "digits() says whether a text can be looked for"
    found: list[Trace] = []
    looked_at, back_to = 0, None
    for delivery in deliveries:
        if len(found) >= MOST or clock() >= until:
            return Traced(found=tuple(found), looked_at=looked_at, back_to=back_to, whole=False)
        found += _in_log(delivery, logs, wanted)[: MOST - len(found)]
        looked_at, back_to = looked_at + 1, delivery.received_at
    return Traced(found=tuple(found), looked_at=looked_at, back_to=back_to, whole=True)


def _in_log(delivery: Delivery, logs: Storage, wanted: str) -> list[Trace]:
    log = PoolLog(storage=logs, key=delivery.log_key)
    try:
        rows, problems = log.rows(), log.problems()
    except FileNotFoundError:
        return []
    if rows.is_empty() or "phone" not in rows.columns:
        return []
    told = problems.filter(_has(pl.col("value"), wanted))["row"].unique()
    hit = rows.filter(
        _has(pl.col("phone_as_read"), wanted) | _has(pl.col("phone"), wanted) | pl.col("row").is_in(told.implode())
    )
    if hit.is_empty():
        return []
    about: dict[int, list[tuple[str, str, str, str]]] = {}
    for problem in problems.filter(pl.col("row").is_in(hit["row"].implode())).iter_rows(named=True):
        words = (problem["code"], problem["column"], problem["value"], problem["message"])
        about.setdefault(problem["row"], []).append(words)
    return [_trace(delivery, row, about.get(row["row"], [])) for row in hit.head(MOST).iter_rows(named=True)]


def _has(texts: pl.Expr, wanted: str) -> pl.Expr:
    return texts.str.replace_all(r"[^0-9]", "").str.contains(wanted, literal=True).fill_null(value=False)


def _trace(delivery: Delivery, row: dict[str, object], problems: list[tuple[str, str, str, str]]) -> Trace:
    phone = row["phone_as_read"] or row["phone"] or next((value for _, _, value, _ in problems if value), "")
    return Trace(
        delivery=delivery,
        row=int(str(row["row"])),
        line=None if row["line_start"] is None else int(str(row["line_start"])),
        outcome=str(row["outcome"]),
        lead_id=None if row["lead_id"] is None else int(str(row["lead_id"])),
        owner=str(row["owner"] or ""),
        phone=str(phone),
        problems=tuple(problems[:PROBLEMS]),
    )
