"""The same done to many leads: each by itself, so that one that is refused stops no other; both sides are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, delete, select, update

from ingestd.access.permissions import Permission
from ingestd.errors import Denied, Refused, Rejected
from ingestd.leads import editing, history, lead, rights, selection, statuses
from ingestd.leads.agents import Agent
from ingestd.leads.history import Stamp
from ingestd.leads.lead import Lead
from ingestd.leads.statuses import Change
from ingestd.store.engine import reading, writing
from ingestd.store.lead_tables import dial_stages
from ingestd.store.tables import campaigns
from ingestd.store.tables import leads as table

MOST = 10_000
"""Leads of one request."""
BATCH = 200
"""Leads of one transaction: others wait for a moment only."""


class Action(StrEnum):
    """What may be done to many leads."""

    DEACTIVATE = "deactivate"
    ACTIVATE = "activate"
    LOCK = "lock"
    UNLOCK = "unlock"
    STATUS = "status"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is done, by whom and why."""

    action: Action
    by: Agent
    at: datetime
    why: str = ""
    status: str = ""
    """the code that the leads get, with `STATUS`"""
    retain_owner: bool = False
    """with `STATUS`: Private and VIP do not change the owner"""
    lease: timedelta = editing.LEASE
    """with `LOCK`"""
    force: bool = False
    """with `UNLOCK`: also what somebody else holds"""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A lead that stays as it was, and why."""

    lead: int
    code: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Done:
    """Both sides, by number."""

    done: tuple[int, ...]
    refused: tuple[Kept, ...]


def do(engine: Engine, wish: Wish, numbers: Sequence[int]) -> Done:
    """Does it to each lead that the user may change, in batches; those before a failure of ours stay done.

    Raises Denied without the permission for it, Rejected for an unknown status or a lease out of bounds.
    """
    _check(engine, wish)
    every, done, refused = sorted(set(numbers)), [], []
    for start in range(0, len(every), BATCH):
        with writing(engine) as connection:
            fates = list(_each(connection, wish, every[start : start + BATCH]))
        done += [fate for fate in fates if isinstance(fate, int)]
        refused += [fate for fate in fates if isinstance(fate, Kept)]
    refused.sort(key=lambda kept: kept.lead)
    return Done(done=tuple(sorted(done)), refused=tuple(refused))


def _check(engine: Engine, wish: Wish) -> None:
    leading = wish.action in _OUT_OR_IN or wish.force
    if leading and Permission.LEAD_ADMIN not in wish.by.permissions:
        wanted = Permission.LEAD_ADMIN
        raise Denied("permission_missing", f"this needs the permission {wanted}", permission=wanted)
    if wish.action == Action.STATUS:
        with reading(engine) as connection:
            statuses.read(connection).get(wish.status)


def _each(connection: Connection, wish: Wish, numbers: Sequence[int]) -> Iterator[int | Kept]:
    """What became of each: its number, or why not."""
    fates = rights.take_all(connection, wish.by, numbers)
    if wish.action in _OUT_OR_IN:
        yield from (Kept(lead=number, code=why.code, detail=why.message) for number, why in fates.items())
        yield from _set_active(connection, wish, [number for number in numbers if number not in fates])
        return
    verb = _VERBS[wish.action]
    for number in numbers:
        problem: Rejected | Refused | None = fates.get(number)
        if problem is None:
            try:
                with connection.begin_nested():  # what a lead is refused after leaves nothing of it behind
                    verb(connection, wish, number)
            except (Rejected, Refused) as refusal:
                problem = refusal
        yield number if problem is None else Kept(lead=number, code=problem.code, detail=problem.message)


def _set_active(connection: Connection, wish: Wish, numbers: Sequence[int]) -> Iterator[int | Kept]:
    """Takes leads out of use, or back, all of them by a few statements; as `editing` does it with one."""
    names = ("campaign_id", "id", "version", "owner_id", "deactivated_at", "locked_by_id", "locked_until")
    known = list(connection.scalars(select(campaigns.c.id)))
    these = (table.c.campaign_id.in_(known), selection.among(connection, table.c.id, numbers))
    since = None if wish.action == Action.ACTIVATE else wish.at
    changed = []
    for row in connection.execute(select(*(table.c[name] for name in names)).where(*these)).all():
        if lead.held(row, wish.at) and row.locked_by_id != wish.by.id:
            yield Kept(lead=row.id, code="lead_locked", detail=lead.locked_by(connection, row))
            continue
        yield row.id
        if (row.deactivated_at is None) != (since is None):
            changed.append(row)
    if changed:
        _write_active(connection, wish, changed, since)


def _write_active(connection: Connection, wish: Wish, rows: Sequence[Any], since: datetime | None) -> None:
    stamp = Stamp(kind=_OUT_OR_IN[wish.action], by=wish.by.id, at=wish.at, why=wish.why)
    told = [
        ((row.campaign_id, row.id, row.version + 1), {"deactivated_at": (row.deactivated_at, since)}) for row in rows
    ]
    history.record_many(connection, told, stamp)
    known = sorted({row.campaign_id for row in rows})
    values = {"deactivated_at": since, "dial_key": None, "modified_by_id": stamp.by, "modified_at": stamp.at}
    these = (table.c.campaign_id.in_(known), selection.among(connection, table.c.id, [row.id for row in rows]))
    connection.execute(update(table).where(*these).values(**values, version=table.c.version + 1))
    # Leads that come back are in no order yet, and may come before those that are.
    stages, owners = dial_stages.c, sorted({row.owner_id for row in rows})
    connection.execute(delete(dial_stages).where(stages.campaign_id.in_(known), stages.owner_id.in_(owners)))


_OUT_OR_IN = {Action.DEACTIVATE: "deactivated", Action.ACTIVATE: "activated"}
"""Actions that are done to a whole batch by a few statements, and the verb of each in the history."""


def _lock(connection: Connection, wish: Wish, number: int) -> Lead:
    return editing.lock(connection, number, by=wish.by.id, at=wish.at, lease=wish.lease)


def _unlock(connection: Connection, wish: Wish, number: int) -> Lead:
    return editing.unlock(connection, number, by=wish.by.id, at=wish.at, force=wish.force)


def _status(connection: Connection, wish: Wish, number: int) -> Lead:
    change = Change(to=wish.status, by=wish.by.id, at=wish.at, why=wish.why, retain_owner=wish.retain_owner)
    return statuses.change_status(connection, number, change)


_VERBS: Mapping[Action, Callable[[Connection, Wish, int], Lead]] = {
    Action.LOCK: _lock,
    Action.UNLOCK: _unlock,
    Action.STATUS: _status,
}
