"""A lead's history as it is told to people and programs: names in place of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from ingestd.leads import history, lead
from ingestd.leads.history import Event
from ingestd.leads.lead import Lead

OWNED = frozenset({"owner", "lock", "processed_by"})
"""Fields whose values are teams or users."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """One field that a change touched."""

    version: int
    """the lead's own after the change; several fields may share one"""
    at: datetime
    by: str | None
    """`user:<login>`; None: a rule of time"""
    kind: str
    """the verb, such as `edited`"""
    field: str
    before: str | None
    after: str | None
    why: str


def history_of(connection: Connection, here: Lead) -> list[Told]:
    """Everything that happened to a lead, the oldest first."""
    events = history.history(connection, here.campaign_id, here.id)
    spoken = {int(text) for event in events if event.field in OWNED for text in (event.before, event.after) if text}
    names = lead.owner_names(connection, sorted(spoken | {event.by for event in events if event.by}))
    return [_told(event, names) for event in events]


def _told(event: Event, names: dict[int, str]) -> Told:
    def named(text: str | None) -> str | None:
        return names.get(int(text), text) if text and event.field in OWNED else text

    return Told(
        version=event.version,
        at=event.at,
        by=names.get(event.by, str(event.by)) if event.by else None,
        kind=event.kind,
        field=event.field,
        before=named(event.before),
        after=named(event.after),
        why=event.why,
    )
