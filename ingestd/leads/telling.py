"""A lead's history as it is told to people and programs: names in place of numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from ingestd.leads import do_not_call, history, lead
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
    """`user:<login>`; None: a rule of time, or a delivery that updates (`imported`)"""
    kind: str
    """the verb, such as `edited`"""
    field: str
    before: str | None
    after: str | None
    why: str


def history_of(connection: Connection, here: Lead, *, listed: bool = False) -> list[Told]:
    """Everything that happened to a lead, the oldest first; `listed`: also alternative numbers that nobody may call."""
    events = history.history(connection, here.campaign_id, here.id)
    events = events if listed else _without_listed(connection, here.campaign_id, events)
    spoken = {int(text) for event in events if event.field in OWNED for text in (event.before, event.after) if text}
    names = lead.owner_names(connection, sorted(spoken | {event.by for event in events if event.by}))
    return [_told(event, names) for event in events]


def _without_listed(connection: Connection, campaign_id: int, events: list[Event]) -> list[Event]:
    """A number that is left out where the lead is told is not told by its history either."""
    of_other = [event for event in events if event.field == do_not_call.OTHER]
    spoken = [(campaign_id, text) for event in of_other for text in (event.before, event.after)]
    listed = {text for _, text in do_not_call.listed_among(connection, spoken)}

    def silent(text: str | None) -> str | None:
        return None if text in listed else text

    return [
        replace(event, before=silent(event.before), after=silent(event.after)) if event in of_other else event
        for event in events
    ]


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
