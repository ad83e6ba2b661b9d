"""Updates: what records say of leads that are there is written, on top of what others have written meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from sqlalchemy import Connection

from ingestd.ingest import comparing
from ingestd.schemas import Schema
from ingestd.store import updating
from ingestd.store.updating import Told

KIND = "imported"
"""The verb of what a delivery changes, in the history of its leads."""


@dataclass(frozen=True, kw_only=True)
class Closing:
    """Leads whose number is listed; those that are open get the status of the list."""

    campaign_id: int
    numbers: list[int]
    status_id: int
    at: datetime
    why: str


Close = Callable[[Connection, Closing], None]
"""Ends leads as a list does: nobody holds them any more, and what an agent had taken goes back."""


@dataclass(frozen=True, kw_only=True)
class Bringing:
    """Which delivery brings updates, when and into which campaign."""

    campaign_id: int
    schema: Schema
    at: datetime
    why: str
    """as history tells it"""
    close: Close


def brought_by(delivery_id: int) -> str:
    """Why a lead changed."""
    return f"delivery {delivery_id}"


def write(connection: Connection, updates: pl.DataFrame, how: Bringing) -> None:
    """Writes the updates of a screening whose fence was passed, with the history of their leads.

    A lead that somebody changed since then keeps what the record does not change.
    """
    moved = _write(connection, updates, how)
    if not moved.is_empty():
        there = updating.held(connection, how.campaign_id, moved, tuple(comparing.columns(updates)))
        again = comparing.rebased(updates.filter(pl.col("id").is_in(moved.implode())), there)
        left = _write(connection, again, how)
        assert left.is_empty(), "a lead that is held cannot change by other hands"
    for status_id, numbers in comparing.closed(updates).items():
        closing = Closing(campaign_id=how.campaign_id, numbers=numbers, status_id=status_id, at=how.at, why=how.why)
        how.close(connection, closing)


def _write(connection: Connection, updates: pl.DataFrame, how: Bringing) -> pl.Series:
    """Returns the numbers of the leads that have another version by now."""
    moved = updating.update_leads(connection, comparing.written(updates), how.campaign_id, how.at)
    done = updates if moved.is_empty() else updates.filter(~pl.col("id").is_in(moved.implode()))
    events = comparing.events(done, [field.name for field in how.schema.extra])
    updating.tell(connection, events, Told(campaign_id=how.campaign_id, kind=KIND, at=how.at, why=how.why))
    return moved
