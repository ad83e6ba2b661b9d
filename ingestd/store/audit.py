"""The audit: who changed what, when, from what to what, and why. Lines are added and never changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, select

from ingestd.store.access_tables import audit

Facts = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who does something."""

    name: str
    """`user:<login>`, `key:<id>`, `command line` or `configuration`"""
    user_id: int | None = None
    """the user, also behind a key of theirs"""
    key_id: str | None = None


COMMAND_LINE = Actor(name="command line")
"""Whoever may read the home and the store; the operating system knows who that was."""
CONFIGURATION = Actor(name="configuration")
"""Files that were applied, by `ingestd org import`, a reload or the first start."""


@dataclass(frozen=True, kw_only=True)
class Deed:
    """By whom, when and why a change is made; handed to every verb that changes the organisation."""

    actor: Actor
    at: datetime
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the audit."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    why: str


def note(
    connection: Connection,
    deed: Deed,
    action: str,
    subject: str,
    *,
    before: Facts | None = None,
    after: Facts | None = None,
) -> None:
    """Adds a line, in the transaction of the change itself. Of two states only what differs is kept."""
    if before is not None and after is not None:
        before, after = _differing(before, after), _differing(after, before)
    values = {
        "at": deed.at,
        "actor": deed.actor.name,
        "user_id": deed.actor.user_id,
        "key_id": deed.actor.key_id,
        "action": action,
        "subject": subject,
        "before": _text(before),
        "after": _text(after),
        "why": deed.why,
    }
    connection.execute(insert(audit).values(values))


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which lines; what is empty or None says nothing."""

    who: str = ""
    """an actor, or a login, which is also that of the user's doings by name"""
    what: str = ""
    """a subject such as `team:berlin`, a kind such as `team`, or an action such as `team_changed`"""
    since: datetime | None = None
    until: datetime | None = None
    """exclusive"""

    def conditions(self) -> list[ColumnElement[bool]]:
        """For the query."""
        table = audit.c
        found: list[ColumnElement[bool]] = []
        if self.who:
            found.append(table.actor.in_([self.who, f"user:{self.who}", f"key:{self.who}"]))
        if self.what:
            below = table.subject.startswith(f"{self.what}:", autoescape=True)
            found.append((table.subject == self.what) | (table.action == self.what) | below)
        found += [table.at >= self.since] if self.since is not None else []
        return found + ([table.at < self.until] if self.until is not None else [])


def latest(
    connection: Connection,
    *,
    limit: int,
    before: int | None = None,
    subject: str | None = None,
    wanted: Wanted | None = None,
) -> list[Entry]:
    """The newest lines first; `before` is the number from which to go on, `subject` such as `team:berlin`."""
    columns = [audit.c[name] for name in Entry.__dataclass_fields__]
    query = select(*columns).order_by(audit.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.id < before)
    if subject is not None:
        query = query.where(audit.c.subject == subject)
    if wanted is not None:
        query = query.where(*wanted.conditions())
    return [_entry(dict(row)) for row in connection.execute(query).mappings()]


def _entry(row: dict[str, Any]) -> Entry:
    states = {side: None if row[side] is None else json.loads(row[side]) for side in ("before", "after")}
    return Entry(**{**row, **states})


def _differing(these: Facts, those: Facts) -> dict[str, Any]:
    return {name: value for name, value in these.items() if those.get(name) != value}


def _text(facts: Facts | None) -> str | None:
    return None if facts is None else json.dumps(facts, ensure_ascii=False, default=str)
