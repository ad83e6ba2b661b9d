"""The same done to many leads: one that is refused stops no other, and both sides are told.

Each lead is decided about by itself, by the rules for one (`editing`, `statuses`); what is then written is written of
all of them by a few statements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, Engine

from ingestd.access.permissions import Permission
from ingestd.errors import Denied, Refused, Rejected
from ingestd.leads import editing, rights, selection, statuses
from ingestd.leads.agents import Agent
from ingestd.leads.lead import Lead
from ingestd.leads.statuses import Change
from ingestd.store.engine import reading, repeated, writing

MOST = 10_000
"""Leads of one request."""
BATCH = 1_000
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
    every, refused = sorted(set(numbers)), dict[int, Rejected | Refused]()
    for start in range(0, len(every), BATCH):
        refused |= repeated(_refused, engine, wish, every[start : start + BATCH])
    kept = [Kept(lead=number, code=refused[number].code, detail=refused[number].message) for number in sorted(refused)]
    return Done(done=tuple(number for number in every if number not in refused), refused=tuple(kept))


def _check(engine: Engine, wish: Wish) -> None:
    leading = wish.action in (Action.DEACTIVATE, Action.ACTIVATE) or wish.force
    if leading and Permission.LEAD_ADMIN not in wish.by.permissions:
        wanted = Permission.LEAD_ADMIN
        raise Denied("permission_missing", f"this needs the permission {wanted}", permission=wanted)
    if wish.action == Action.STATUS:
        with reading(engine) as connection:
            statuses.read(connection).get(wish.status)


def _refused(engine: Engine, wish: Wish, numbers: Sequence[int]) -> dict[int, Rejected | Refused]:
    """Does it to these leads in a transaction: those that stay as they were, and why."""
    with writing(engine) as connection:
        foreign = rights.take_all(connection, wish.by, numbers)
        these = selection.taken(connection, [number for number in numbers if number not in foreign])
        return {**foreign, **_done(connection, wish, these)}


def _done(connection: Connection, wish: Wish, these: Sequence[Lead]) -> dict[int, Rejected]:
    by, at = wish.by.id, wish.at
    match wish.action:
        case Action.DEACTIVATE:
            return editing.deactivate_all(connection, these, by=by, at=at, why=wish.why)
        case Action.ACTIVATE:
            return editing.activate_all(connection, these, by=by, at=at, why=wish.why)
        case Action.LOCK:
            return editing.lock_all(connection, these, by=by, at=at, lease=wish.lease)
        case Action.UNLOCK:
            return editing.unlock_all(connection, these, by=by, at=at, force=wish.force)
        case Action.STATUS:
            change = Change(to=wish.status, by=by, at=at, why=wish.why, retain_owner=wish.retain_owner)
            return statuses.change_all(connection, these, change)
