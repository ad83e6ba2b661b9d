"""The 36 statuses as data: what each does to its lead, and how a lead gets another one (LEADS.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any

from sqlalchemy import Connection, select

from ingestd.errors import Invalid, Rejected
from ingestd.leads import instants, returning
from ingestd.leads import lead as leads
from ingestd.leads.history import Stamp
from ingestd.leads.lead import Lead
from ingestd.store import listed, pool_calls
from ingestd.store.tables import campaigns
from ingestd.store.tables import statuses as table

MAX_ATTEMPTS, ANONYMISED = "max_call_attempts", "anonymised"
PROMISED = ("manual_redial_private", "manual_redial_vip", "follow_up_redial")
"""A call that ends so was a promise to call again at a time."""
LATE = timedelta(minutes=5)
"""A time to call may be past by so much: clocks differ, and people need a while to press a button."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """One status with its rules; what they mean is told at `config/statuses.toml`."""

    id: int
    code: str
    name: str
    kind: str
    import_may_set: bool
    dial_order: int | None
    set_by: str
    may_become: frozenset[str]
    counts_attempt: bool
    takes_owner: bool
    gives_back: bool
    outlives_pool: bool
    kept_for_caller: bool
    after_days: int | None
    then: str | None

    @property
    def open(self) -> bool:
        """True while its leads may still be called."""
        return self.kind == "open"


@dataclass(frozen=True, kw_only=True)
class StatusBook:
    """Every status of the store."""

    by_code: Mapping[str, Status]

    @cached_property
    def by_id(self) -> Mapping[int, Status]:
        """The same by number."""
        return {status.id: status for status in self.by_code.values()}

    def ids(self, **wanted: Any) -> tuple[int, ...]:
        """The numbers of the statuses that have these values, such as `kind="open"`."""
        return tuple(
            status.id
            for status in self.by_code.values()
            if all(getattr(status, name) == value for name, value in wanted.items())
        )

    @property
    def dialled(self) -> tuple[Status, ...]:
        """The open statuses that are dialled, the soonest first."""
        found = [status for status in self.by_code.values() if status.open and status.dial_order is not None]
        return tuple(sorted(found, key=lambda status: status.dial_order or 0))

    def get(self, code: str) -> Status:
        """A status by its code; raises Rejected when there is none."""
        if code not in self.by_code:
            raise Rejected(
                "status_unknown",
                f"there is no status {code!r}",
                suggestion=f"use one of {', '.join(self.by_code)}",
            )
        return self.by_code[code]


def read(connection: Connection) -> StatusBook:
    """The statuses as they were applied last."""
    return _book(tuple(tuple(row) for row in connection.execute(_ALL)))


_FIELDS = tuple(Status.__dataclass_fields__)
_ALL = select(*(table.c[name] for name in _FIELDS)).order_by(table.c.id)


@lru_cache(maxsize=8)
def _book(rows: tuple[tuple[Any, ...], ...]) -> StatusBook:
    found = {}
    for row in rows:
        values = dict(zip(_FIELDS, row, strict=True))
        values["may_become"] = frozenset(json.loads(values["may_become"]))
        found[values["code"]] = Status(**values)
    return StatusBook(by_code=found)


@dataclass(frozen=True, kw_only=True)
class Change:
    """A wish to give a lead another status."""

    to: str
    """the code of the status"""
    by: int | None
    """the user's number; None: a rule of time"""
    at: datetime
    why: str = ""
    call: bool = False
    """True when it is how a call ended; only calls count attempts"""
    retain_owner: bool = False
    """True when a status that makes the editor the owner shall not do so"""
    scheduled_at: datetime | None = None
    """when to call next; None leaves an open lead without a time"""
    version: int | None = None
    """the version that the editor saw; None: whatever it is"""


def change_status(connection: Connection, lead_id: int, change: Change) -> Lead:
    """Gives a lead another status, with what that does to owner, attempts and lock; the lead as it is then.

    Raises Rejected when the lead is unknown, changed meanwhile, locked by somebody else, its status may not become the
    wanted one, or that is an open one and nobody may call its number; and for a call to a closed lead.
    """
    here = leads.take(connection, lead_id, version=change.version)
    for refusal in change_all(connection, [here], change).values():
        raise refusal
    return leads.find(connection, lead_id)


def change_all(connection: Connection, these: Sequence[Lead], change: Change) -> dict[int, Rejected]:
    """The same for leads that were taken, whatever their version: those that stay as they were, and why.

    Raises Rejected when there is no such status, Invalid for a time to call that no clock shows or that is past, and
    for none where a call ended with the promise of one.
    """
    book = read(connection)
    _check_time(change, book.get(change.to))
    refused = leads.locks(connection, these, by=change.by, at=change.at)
    if book.by_code[change.to].open:
        refused |= _uncallable(connection, these)
    changed: list[tuple[Lead, dict[str, Any]]] = []
    back = _back(connection, these, change, book)
    for here in these:
        if here.id not in refused:
            try:
                changed.append((here, consequences(here, change, book, back)))
            except Rejected as refusal:
                refused[here.id] = refusal
    stamp = Stamp(kind="call" if change.call else "status", by=change.by, at=change.at, why=change.why)
    leads.write_all(connection, changed, stamp)
    if change.call:
        pool_calls.add(connection, (here.pool_id for here, _ in changed), change.at)
    _end_used_up(connection, changed, change, book)
    return refused


def _check_time(change: Change, new: Status) -> None:
    """Raises Invalid when nobody can call at the time, or when one is missing."""
    wanted, told = change.scheduled_at, ""
    if wanted is not None and not instants.everywhere(wanted):
        told = f"nobody calls at {wanted.isoformat()}: it has no date in some time zones"
    elif wanted is not None and new.open and wanted < change.at - LATE:
        told = f"nobody calls at {wanted.isoformat()}: that is past; say a time to come"
    elif wanted is None and change.call and new.code in PROMISED:
        told = f"{new.name} promises a call: say when to call again"
    if told:
        raise Invalid("value_unusable", told, field="scheduled_at")


def _back(connection: Connection, these: Sequence[Lead], change: Change, book: StatusBook) -> Mapping[int, int]:
    """Lead → who owns it then, for those that the wanted status gives back."""
    if not book.by_code[change.to].gives_back:
        return {}
    return returning.receivers(connection, these, {each.code for each in book.by_code.values() if each.takes_owner})


def _uncallable(connection: Connection, these: Sequence[Lead]) -> dict[int, Rejected]:
    """The leads whose number is on a do-not-call list, each with that: an open status would have it called.

    Whoever lists a number waits for its leads before looking at their statuses, so one that was taken slips through to
    neither.
    """
    lists = {number for here in these for number in here.lists}
    found = listed.places(connection, lists, {here.phone for here in these})
    return {
        here.id: Rejected(
            "do_not_call",
            f"the number of lead {here.id} is on a do-not-call list; nobody may call it",
            suggestion="give it a closed status, or have the number taken off the list",
        )
        for here in these
        if not found.isdisjoint((number, here.phone) for number in here.lists)
    }


def _end_used_up(
    connection: Connection, changed: Sequence[tuple[Lead, Mapping[str, Any]]], change: Change, book: StatusBook
) -> None:
    """Leads that are open now without an attempt left are closed by the rule, which the history tells by itself."""
    if not book.by_code[change.to].open:
        return
    limits = {row.id: row.max_attempts or 0 for row in connection.execute(_LIMITS)}
    used_up: dict[str, list[Lead]] = {}
    for here, values in changed:
        after = leads.after(here, values, change.to)
        limit = limits[here.campaign_id]
        if after.attempts >= limit:
            used_up.setdefault(f"{after.attempts} of {limit} call attempts", []).append(after)
    for why, some in used_up.items():
        over = Change(to=MAX_ATTEMPTS, by=None, at=change.at, why=why)
        back = _back(connection, some, over, book)
        ended = [(after, consequences(after, over, book, back)) for after in some]
        leads.write_all(connection, ended, Stamp(kind="rule", by=None, at=change.at, why=why))


_LIMITS = select(campaigns.c.id, campaigns.c.max_attempts)


_NONE: Mapping[int, int] = {}


def consequences(here: Lead, change: Change, book: StatusBook, back: Mapping[int, int] = _NONE) -> dict[str, Any]:
    """The new values of the lead's columns; `back` has who owns it when it is given back, if it is.

    Pure; raises Rejected when the status, or any call, may not follow.
    """
    old, new = book.by_code[here.status], book.get(change.to)
    if change.call and not old.open:
        told = f"{old.name} is a closed status: no call of lead {here.id} was due that could have ended"
        raise Rejected("not_callable", told, suggestion="give it the status without a call")
    _check(old, new, change, book)
    values: dict[str, Any] = {
        "status_id": new.id,
        "result_id": result_of(here) if change.by is None or new.set_by == "system" else None,
        "status_at": change.at,
        "scheduled_at": change.scheduled_at if new.open else None,
        "locked_by_id": None,
        "locked_until": None,
        **_ownership(here, new, change, back),
    }
    if change.call:
        values |= {"called_at": change.at, "processed_by_id": change.by}
        values |= {"attempts": here.attempts + int(new.counts_attempt)}
    return values


def _check(old: Status, new: Status, change: Change, book: StatusBook) -> None:
    theirs = {code for code in old.may_become if change.by is None or book.by_code[code].set_by != "system"}
    facts = {"status": old.code, "may_become": sorted(theirs)}
    if new.code not in old.may_become:
        told = ", ".join(sorted(theirs)) or "none"
        raise Rejected(
            "status_not_allowed",
            f"{old.name} may not become {new.name}",
            suggestion=f"statuses that may follow: {told}",
            facts=facts,
        )
    if new.set_by == "system" and change.by is not None:
        raise Rejected(
            "status_not_allowed",
            f"{new.name} is given by imports and rules only",
            suggestion="choose the status that says what happened",
            facts=facts,
        )


def result_of(here: Lead) -> int:
    """The number of the last status that people gave, which stays when a rule or a list gives another one. Pure."""
    return here.status_id if here.result_id is None else here.result_id


def _ownership(here: Lead, new: Status, change: Change, back: Mapping[int, int]) -> dict[str, Any]:
    """Private and VIP make the editor the owner; releasing gives the lead back to its original owner."""
    if new.takes_owner and change.by is not None and not change.retain_owner:
        return owned_by(here, change.by)
    return owned_by(here, back[here.id]) if here.id in back else {}


def owned_by(here: Lead, owner_id: int) -> dict[str, Any]:
    """The columns of another owner. The original owner is written down at the first change, and stays."""
    if owner_id == here.owner_id:
        return {}
    return {"owner_id": owner_id, "original_owner_id": here.original_owner_id}
