"""Whether the daemon can do its work, decided from one observation. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ingestd.roster import Roster
from ingestd.web.observer import Observation

STUCK_QUEUE_SECONDS = 900.0
"""A delivery that has been queued for so long is a sign that nobody works: the largest delivery takes seconds."""
SILENT_SECONDS = 10.0
"""The supervisor writes every second; roles speak twice a second."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    told: str
    """for people"""


def checks(seen: Observation) -> list[Check]:
    """Everything that must hold so that a file that comes now is kept and loaded."""
    return [_database(seen), _storage(seen), _disk(seen), _doors(seen), *_roles(seen), _queue(seen)]


def up(roster: Roster | None, seen: Observation) -> dict[str, bool]:
    """Whether each role is alive and speaks; no role is, when the supervisor itself is silent."""
    if roster is None:
        return {}
    here = roster.age(seen.at) <= SILENT_SECONDS
    return {role.name: here and role.state == "running" for role in roster.roles}


def _database(seen: Observation) -> Check:
    return Check(name="database", ok=not seen.store_problem, told=seen.store_problem or "answers")


def _storage(seen: Observation) -> Check:
    return Check(name="storage", ok=not seen.storage_problem, told=seen.storage_problem or "answers")


def _disk(seen: Observation) -> Check:
    told = f"{seen.spool_free} bytes free" + ("" if seen.room else "; uploads are refused until there is more")
    return Check(name="disk", ok=seen.room, told=told)


def _doors(seen: Observation) -> Check:
    return Check(name="doors", ok=bool(seen.doors), told=", ".join(sorted(seen.doors)) or "not open")


def _roles(seen: Observation) -> list[Check]:
    if seen.roster is None:
        return [Check(name="supervisor", ok=False, told="has written no run/roles.json")]
    age = seen.roster.age(seen.at)
    supervisor = Check(name="supervisor", ok=age <= SILENT_SECONDS, told=f"spoke {age:.0f} s ago")
    alive = up(seen.roster, seen)
    return [supervisor, *(Check(name=role.name, ok=alive[role.name], told=role.state) for role in seen.roster.roles)]


def _queue(seen: Observation) -> Check:
    if not seen.queue:
        return Check(name="queue", ok=False, told="unknown without the database")
    oldest = seen.queue["oldest_seconds"]
    told = f"{seen.queue['ready']} ready, {seen.queue['running']} running, the oldest queued for {oldest:.0f} s"
    return Check(name="queue", ok=oldest <= STUCK_QUEUE_SECONDS, told=told)
