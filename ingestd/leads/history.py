"""The history of every lead: written in the transaction of the change itself, and never changed afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, literal, select

from ingestd.store.lead_tables import lead_events
from ingestd.store.tables import Id, Instant, leads


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """Who changes leads, when, by which verb and why."""

    kind: str
    """the verb: `created`, `edited`, `status`, `owner`, `locked`, `unlocked`, `deactivated`, `activated` …"""
    by: int | None
    """the user's number; None: a rule of time, or a delivery"""
    at: datetime
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One field that a change touched."""

    version: int
    """the lead's own after the change; several fields may share one"""
    field: str
    kind: str
    at: datetime
    by: int | None
    before: str | None
    """owners and users as their number, statuses as their code, moments in UTC"""
    after: str | None
    why: str


def record(
    connection: Connection, lead: tuple[int, int, int], changes: Mapping[str, tuple[Any, Any]], stamp: Stamp
) -> None:
    """Writes one event a field; `lead` is its campaign, number and version after the change."""
    record_many(connection, [(lead, changes)], stamp)


def record_many(
    connection: Connection,
    changed: Iterable[tuple[tuple[int, int, int], Mapping[str, tuple[Any, Any]]]],
    stamp: Stamp,
) -> None:
    """The same for many leads at once."""
    rows = [row for lead, changes in changed for row in _rows(lead, changes, stamp)]
    if rows:
        connection.execute(insert(lead_events), rows)


def _rows(lead: tuple[int, int, int], changes: Mapping[str, tuple[Any, Any]], stamp: Stamp) -> list[dict[str, Any]]:
    campaign_id, lead_id, version = lead
    whose = {"campaign_id": campaign_id, "lead_id": lead_id, "version": version}
    said = {"kind": stamp.kind, "at": stamp.at, "by_id": stamp.by, "why": stamp.why}
    return [
        {**whose, **said, "field": field, "before": shown(before), "after": shown(after)}
        for field, (before, after) in changes.items()
    ]


def record_all(
    connection: Connection,
    these: ColumnElement[bool],
    field: str,
    change: tuple[ColumnElement[Any], ColumnElement[Any]],
    stamp: Stamp,
) -> None:
    """Writes one event for each lead of a condition, before it is changed; `change` is the text before and after."""
    said: dict[str, ColumnElement[Any]] = {
        "campaign_id": leads.c.campaign_id,
        "lead_id": leads.c.id,
        "version": leads.c.version + 1,
        "field": literal(field),
        "kind": literal(stamp.kind),
        "at": literal(stamp.at, Instant),
        "by_id": literal(stamp.by, Id),
        "before": change[0],
        "after": change[1],
        "why": literal(stamp.why),
    }
    connection.execute(insert(lead_events).from_select(list(said), select(*said.values()).where(these)))


def history(connection: Connection, campaign_id: int, lead_id: int) -> list[Event]:
    """Everything that happened to a lead, the oldest first."""
    event = lead_events.c
    query = (
        select(event.version, event.field, event.kind, event.at, event.by_id, event.before, event.after, event.why)
        .where(event.campaign_id == campaign_id, event.lead_id == lead_id)
        .order_by(event.version, event.field)
    )
    return [
        Event(version=row[0], field=row[1], kind=row[2], at=row[3], by=row[4], before=row[5], after=row[6], why=row[7])
        for row in connection.execute(query)
    ]


def shown(value: Any) -> str | None:
    """A value as history keeps it."""
    if value is None:
        return None
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
