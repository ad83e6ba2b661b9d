"""Change Owner as something that is asked for: a small one is done at once, a large one goes on in the background.

Each batch is one transaction with its results and with how far the change has come, under the lock of the change's own
row. So nothing is done twice or left out, whichever process takes the next batch, and whichever dies.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)

from ingestd.access import people
from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission
from ingestd.errors import Conflict, Denied, Invalid, Missing, Refused, Rejected
from ingestd.leads import access, agents, filters, lead, meant, owner_change, rights, selection, statuses
from ingestd.leads.agents import Agent
from ingestd.leads.owner_change import BATCH, MOVED, START, Batch, Cursor, Move
from ingestd.leads.selection import Filter
from ingestd.leads.statuses import StatusBook
from ingestd.model import Owner, Owners
from ingestd.settings import code_key
from ingestd.store import audit, rules
from ingestd.store.audit import Actor, Deed
from ingestd.store.engine import reading, repeated, writing
from ingestd.store.owner_change_tables import owner_change_parts as parts
from ingestd.store.owner_change_tables import owner_change_results as results
from ingestd.store.owner_change_tables import owner_changes as table
from ingestd.store.tables import campaigns
from ingestd.store.tables import leads as lead_table

AT_ONCE = 1_000
"""Leads that are moved while whoever asks waits."""
MOST_NAMED = 1_000_000
"""Leads that are named by number, or found by a filter of the whole language; one of a few fields may mean more."""


class Progress(StrEnum):
    """How far a change is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    """somebody stopped it; what was moved stays moved"""
    FAILED = "failed"
    """whoever asked may not do it any more, or the new owner is gone"""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked for."""

    to: str
    """`team:<key>`, `user:<login>` or `code:<Lead Ownership Code>`"""
    leads: Sequence[int] | Mapping[str, Any] | filters.Filter
    """numbers; a filter as `selection.parsed` reads it, which goes on to find leads until it ends; or any filter, whose
    leads are found when the change is asked for"""
    retain: bool = False
    unlock: bool = False
    deactivated: bool = False
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class OwnerChange:
    """One change as it stands."""

    id: int
    state: Progress
    to: str
    """`team:<key>` or `user:<login>`"""
    by: str
    by_id: int
    why: str
    retain: bool
    unlock: bool
    deactivated: bool
    filter: Mapping[str, Any] | None
    """None: the leads were named. Without the values of personal fields"""
    total: int
    """leads that were meant when it was asked for; others may match a filter of a few fields since"""
    moved: int
    refused: Mapping[str, int]
    """reason → how many"""
    problem: str
    created_at: datetime
    ended_at: datetime | None

    @property
    def done(self) -> int:
        """Leads that were decided about."""
        return self.moved + sum(self.refused.values())


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one lead."""

    outcome: str
    """`moved`, or why not"""
    lead: int


def target(owners: Owners, word: str) -> Owner:
    """An active owner by `team:…`, `user:…` or `code:…`; raises Rejected when there is none."""
    kind, _, rest = word.partition(":")
    if kind != "code":
        return rules.named_owner(owners, word)
    found = owners.by_code.get(code_key(rest))
    if found is None:
        told = f"no active team or user has the Lead Ownership Code {rest!r}"
        raise Rejected("owner_unknown", told, suggestion="GET /ownership-codes lists them")
    return found


def begin(engine: Engine, caller: Caller, who: Agent, wish: Wish, at: datetime) -> int:
    """Writes down what is to be done; its number. Raises Rejected for an unknown owner or filter, Invalid."""
    with reading(engine) as connection:
        to = target(rules.owners(connection), wish.to)
        numbers = _numbers(connection, who, wish, at)
        total = _total(connection, who, wish) if numbers is None else len(numbers)
    values = {
        "state": Progress.QUEUED,
        "to_id": to.id,
        "by_id": who.id,
        "actor": caller.actor.name,
        "key_id": caller.actor.key_id,
        "permissions": json.dumps(sorted(who.permissions)),
        **{name: getattr(wish, name) for name in ("why", "retain", "unlock", "deactivated")},
        "filter": None if (kept := _kept(wish)) is None else json.dumps(kept),
        "total": total,
        "created_at": at,
    }
    with writing(engine) as connection:
        made = connection.execute(insert(table).values(values)).inserted_primary_key
        assert made is not None
        number: int = made[0]
        _keep(connection, number, numbers or [])
        after = {"to": f"{to.kind}:{to.name}", "leads": total, "filter": kept}
        audit.note(connection, caller.deed(at, wish.why), "owner_change_begun", _subject(number), after=after)
    return number


def _numbers(connection: Connection, who: Agent, wish: Wish, at: datetime) -> list[int] | None:
    """The leads that are meant, in their order; None: those that a filter of a few fields finds, batch by batch."""
    if isinstance(wish.leads, Mapping):
        return None
    if not isinstance(wish.leads, filters.Filter):
        if not wish.leads:
            raise Invalid("request_unusable", "name at least one lead", field="body.ids")
        return sorted(set(wish.leads))
    if next(filters.comparisons(wish.leads), None) is None:
        told = "a filter makes at least one comparison, so that nobody means every lead by mistake"
        raise Invalid("filter_unusable", told, field="filter")
    mine = rights.changing(who)
    return sorted(meant.numbers(connection, wish.leads, mine, at, most=MOST_NAMED))


def _kept(wish: Wish) -> dict[str, Any] | None:
    """The filter as it is kept."""
    if isinstance(wish.leads, filters.Filter):
        return filters.written(wish.leads, personal=False)
    return dict(wish.leads) if isinstance(wish.leads, Mapping) else None


def _total(connection: Connection, who: Agent, wish: Wish) -> int:
    assert isinstance(wish.leads, Mapping), "other leads are numbers"
    wanted, book = selection.parsed(connection, wish.leads), statuses.read(connection)
    known = [number for number in _campaigns(connection) if wanted.campaign_id in (None, number)]
    meant = (lead_table.c.campaign_id.in_(known), wanted.where(book), _within(connection, who, book))
    return connection.scalar(select(func.count()).select_from(lead_table).where(*meant)) or 0


def _campaigns(connection: Connection) -> list[int]:
    return list(connection.scalars(select(campaigns.c.id)))


def _within(connection: Connection, who: Agent, book: StatusBook) -> ColumnElement[bool]:
    return rights.changed_by(who, access.campaigns(connection).values(), book)


def _keep(connection: Connection, number: int, numbers: Sequence[int]) -> None:
    if not numbers:
        return
    rows = [numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH)]
    values = [{"change_id": number, "first_lead": row[0], "leads": json.dumps(row)} for row in rows]
    connection.execute(insert(parts), values)


def advance(engine: Engine, at: datetime, *, number: int | None = None) -> OwnerChange | None:
    """Does the next batch of a change, of the oldest one when none is named; how it stands then.

    None: there is nothing to do, or another process is at it. Raises Unavailable.
    """
    return repeated(_advance, engine, at, number)


def _advance(engine: Engine, at: datetime, number: int | None) -> OwnerChange | None:
    with writing(engine) as connection:
        query = select(table).where(table.c.ended_at.is_(None)).order_by(table.c.id).limit(1)
        if number is not None:
            query = query.where(table.c.id == number)
        row = connection.execute(query.with_for_update(skip_locked=True)).mappings().one_or_none()
        if row is None:
            return None
        try:
            who, to = _still(connection, row)
            _batch(connection, row, who, to, at)
        except (Refused, Rejected) as problem:  # nothing is written before: who, whom and which leads comes first
            _end(connection, row, Progress.FAILED, at, problem=problem.message)
        return find(connection, row["id"])


def work(engine: Engine, clock: Callable[[], datetime], go_on: Callable[[], bool]) -> tuple[list[OwnerChange], bool]:
    """Goes on with whatever waits, while `go_on`: those that ended, and False when there is more to do."""
    ended: list[OwnerChange] = []
    with reading(engine) as connection:  # nobody waits for the writers' turn to find out that there is nothing to do
        if connection.scalar(select(table.c.id).where(table.c.ended_at.is_(None)).limit(1)) is None:
            return ended, True
    while change := advance(engine, clock()):
        if change.ended_at is not None:
            ended.append(change)
        if not go_on():
            return ended, False
    return ended, True


def _still(connection: Connection, row: Mapping[Any, Any]) -> tuple[Agent, Owner]:
    """Who asked, with what the request allowed and still is; and the new owner. Raises Rejected."""
    person = people.by_id(connection, row["by_id"])
    assert person is not None, "users are never deleted"
    who = agents.agent(connection, person.login)
    who = replace(who, permissions=who.permissions & {Permission(word) for word in json.loads(row["permissions"])})
    if not who.active or Permission.LEAD_ADMIN not in who.permissions:
        wanted = Permission.LEAD_ADMIN
        raise Denied("permission_missing", f"{who.login} lacks the permission {wanted} by now", permission=wanted)
    to = next((owner for owner in rules.owners(connection).by_name.values() if owner.id == row["to_id"]), None)
    if to is None:
        raise Rejected("owner_unknown", "the new owner is not active any more")
    return who, to


def _batch(connection: Connection, row: Mapping[Any, Any], who: Agent, to: Owner, at: datetime) -> None:
    book = statuses.read(connection)
    same = {name: row[name] for name in ("why", "retain", "unlock", "deactivated")}
    move = Move(to=to, by=who.id, at=at, **same)
    within = _within(connection, who, book)
    given = None if row["filter"] is None else json.loads(row["filter"])
    if given is None or not selection.is_plain(given):
        done = _named(connection, row, move, book, within)
    else:
        wanted: Filter = selection.parsed(connection, given)
        walk = owner_change.walk_of(connection, book, wanted, within=within)
        after = Cursor(campaign_id=row["after_campaign"], lead_id=row["after_lead"])
        done = owner_change.change_batch(connection, move, walk, book, after)
    _note(connection, row, done, at)


def _named(
    connection: Connection, row: Mapping[Any, Any], move: Move, book: StatusBook, within: ColumnElement[bool]
) -> Batch:
    """The next part of the leads that were named or found; a filter may have found none."""
    further = select(parts.c.leads).where(parts.c.change_id == row["id"], parts.c.first_lead > row["after_lead"])
    found = connection.scalars(further.order_by(parts.c.first_lead).limit(2)).all()
    if not found:
        return Batch(sides={}, following=None)
    this, *more = found
    numbers = json.loads(this)
    walk = owner_change.walk_of(connection, book, numbers, within=within)
    done = owner_change.change_batch(connection, move, walk, book, START)
    return replace(done, following=Cursor(campaign_id=0, lead_id=numbers[-1]) if more else None)


def _note(connection: Connection, row: Mapping[Any, Any], done: Batch, at: datetime) -> None:
    """The results of a batch, and how far the change is then."""
    for outcome, numbers in done.sides.items():
        given = selection.listed(connection, numbers)
        told = select(literal(row["id"]), literal(outcome), given)
        connection.execute(insert(results).from_select(["change_id", "outcome", "lead_id"], told))
    refused = json.loads(row["refused"])
    for reason, numbers in done.sides.items():
        if reason != MOVED:
            refused[reason] = refused.get(reason, 0) + len(numbers)
    values: dict[str, Any] = {
        "state": Progress.RUNNING,
        "moved": row["moved"] + len(done.sides.get(MOVED, ())),
        "refused": json.dumps(refused),
    }
    if done.following is not None:
        values |= {"after_campaign": done.following.campaign_id, "after_lead": done.following.lead_id}
    connection.execute(update(table).where(table.c.id == row["id"]).values(values))
    if done.following is None:
        _end(connection, {**row, **values}, Progress.DONE, at)


def _end(
    connection: Connection,
    row: Mapping[Any, Any],
    state: Progress,
    at: datetime,
    *,
    problem: str = "",
    by: Deed | None = None,
) -> None:
    values = {"state": state, "ended_at": at, "problem": problem}
    connection.execute(update(table).where(table.c.id == row["id"]).values(values))
    connection.execute(parts.delete().where(parts.c.change_id == row["id"]))
    actor = Actor(name=row["actor"], user_id=row["by_id"], key_id=row["key_id"])
    told = {"state": str(state), "moved": row["moved"], "refused": json.loads(row["refused"])}
    deed = by or Deed(actor=actor, at=at, why=row["why"])
    audit.note(connection, deed, f"owner_change_{state}", _subject(row["id"]), after=told)


def cancel(connection: Connection, deed: Deed, number: int, *, by: Agent | None = None) -> OwnerChange:
    """Stops a change; what was moved stays moved. Raises Missing, and Conflict when it has ended."""
    here = find(connection, number, by=by)
    row = connection.execute(select(table).where(table.c.id == number).with_for_update()).mappings().one()
    if row["ended_at"] is not None:
        raise Conflict("owner_change_ended", f"the change has ended already: it is {row['state']}", state=row["state"])
    _end(connection, row, Progress.CANCELLED, deed.at, by=deed)
    return find(connection, here.id)


def find(connection: Connection, number: int, *, by: Agent | None = None) -> OwnerChange:
    """A change by its number; raises Missing, also for one that is not for the eyes of `by`."""
    found = latest(connection, limit=1, by=by, number=number)
    if not found:
        raise Missing("owner_change_unknown", f"there is no change of owners {number}")
    return found[0]


def latest(
    connection: Connection, *, limit: int, by: Agent | None = None, before: int | None = None, number: int | None = None
) -> list[OwnerChange]:
    """The newest changes first: one's own; with Extended Data Permissions, or without `by`, those of everybody."""
    query = select(table).order_by(table.c.id.desc()).limit(limit)
    if by is not None and Permission.EXTENDED_DATA not in by.permissions:
        query = query.where(table.c.by_id == by.id)
    if before is not None:
        query = query.where(table.c.id < before)
    if number is not None:
        query = query.where(table.c.id == number)
    rows = connection.execute(query).mappings().all()
    names = lead.owner_names(connection, sorted({row[name] for row in rows for name in ("to_id", "by_id")}))
    return [_read(row, names) for row in rows]


def _read(row: Mapping[Any, Any], names: Mapping[int, str]) -> OwnerChange:
    plain = (
        "id",
        "by_id",
        "why",
        "retain",
        "unlock",
        "deactivated",
        "total",
        "moved",
        "problem",
        "created_at",
        "ended_at",
    )
    return OwnerChange(
        state=Progress(row["state"]),
        to=names[row["to_id"]],
        by=names[row["by_id"]],
        filter=None if row["filter"] is None else json.loads(row["filter"]),
        refused=json.loads(row["refused"]),
        **{name: row[name] for name in plain},
    )


def results_of(
    connection: Connection, number: int, *, limit: int, outcome: str | None = None, after: tuple[str, int] | None = None
) -> list[Result]:
    """What became of each lead, by outcome and number; from behind `after` on."""
    query = select(results.c.outcome, results.c.lead_id).where(results.c.change_id == number)
    if outcome is not None:
        query = query.where(results.c.outcome == outcome)
    if after is not None:
        query = query.where(tuple_(results.c.outcome, results.c.lead_id) > tuple_(*after))
    rows = connection.execute(query.order_by(results.c.outcome, results.c.lead_id).limit(limit))
    return [Result(outcome=row.outcome, lead=row.lead_id) for row in rows]


def forget(engine: Engine, before: datetime, go_on: Callable[[], bool]) -> bool:
    """Removes the fate of each lead of changes that ended before a moment, a batch at a time, while `go_on`.

    The changes themselves stay, with their counts. False when there is more to remove.
    """
    kept = exists(select(results.c.lead_id).where(results.c.change_id == table.c.id))
    old = select(table.c.id).where(table.c.ended_at < before, kept).order_by(table.c.id).limit(1)
    while True:
        with reading(engine) as connection:
            number = connection.scalar(old)
        if number is None:
            return True
        if not go_on():
            return False
        with writing(engine, forgettable=True) as connection:  # what comes back is removed the next time
            _forget_some(connection, number)


def _forget_some(connection: Connection, number: int) -> None:
    key, mine = (results.c.outcome, results.c.lead_id), results.c.change_id == number
    last = connection.execute(select(*key).where(mine).order_by(*key).offset(BATCH - 1).limit(1)).one_or_none()
    some = mine if last is None else and_(mine, tuple_(*key) <= tuple_(*last))
    connection.execute(delete(results).where(some))


def _subject(number: int) -> str:
    return f"owner_change:{number}"
