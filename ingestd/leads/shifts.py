"""Agents who dial, as one process remembers them between two calls; and why there is nothing to call.

What is remembered only saves time: every process begins a shift by itself, and the database says who gets a lead.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, Engine, and_, case, func, null, select, true

from ingestd.leads import access, dialling, editing, rights, statuses
from ingestd.leads.agents import Agent
from ingestd.leads.dialling import Shift
from ingestd.leads.editing import Edit
from ingestd.leads.lead import Lead
from ingestd.leads.statuses import Change
from ingestd.store.engine import reading, writing
from ingestd.store.tables import leads as table

MOST = 2_000
"""Shifts that are remembered; who has not asked for longest is forgotten first."""
TOLD_FOR = timedelta(seconds=30)
"""How long the reasons for nothing are told again: finding them walks through the campaign."""


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Open leads within reach that may not be called now, by the first rule that says so."""

    rule: str
    """as in `access.may_call`; or `dialled`: their status is called by hand only"""
    leads: int
    next_at: datetime | None
    """when the first of them may be called, for those that are scheduled or held"""


@dataclass(frozen=True, kw_only=True)
class Given:
    """The lead that an agent is given, or why there is none; no reason: no open lead is within reach."""

    lead: Lead | None
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Remembered:
    shift: Shift
    reasons: tuple[Reason, ...] = ()
    told_at: datetime | None = None


_Key = tuple[str, str, int]


@dataclass(kw_only=True)
class Shifts:
    """Every agent who dials through this process."""

    engine: Engine
    known: OrderedDict[_Key, _Remembered] = field(default_factory=OrderedDict)
    turn: threading.Lock = field(default_factory=threading.Lock)

    def next_lead(
        self,
        login: str,
        campaign: str,
        at: datetime,
        *,
        lease: timedelta = editing.LEASE,
        segment_id: int = 0,
    ) -> Given:
        """The lead that the agent was given and has not ended, else the best that he may call, held for the lease.

        Of one segment only, unless that is 0. Raises Rejected for who may not dial there.
        """
        key = (login, campaign, segment_id)
        before = self._recalled(key)
        if before is None:
            before = _Remembered(shift=dialling.start(self.engine, login, campaign, at, segment_id=segment_id))
        taken, shift = dialling.next_lead(self.engine, before.shift, at, lease=lease, again=True)
        after = replace(before, shift=shift)
        if taken is None and (after.told_at is None or not timedelta(0) <= at - after.told_at < TOLD_FOR):
            with reading(self.engine) as connection:
                after = replace(after, reasons=why_none(connection, shift, at), told_at=at)
        elif taken is not None:
            after = replace(after, reasons=(), told_at=None)
        self._remember(key, after)
        return Given(lead=taken, reasons=after.reasons)

    def reasons(self, login: str, campaign: str, at: datetime, segment_id: int = 0) -> tuple[Reason, ...]:
        """Why the agent was given no lead, at most TOLD_FOR old; raises Rejected for who may not dial there."""
        before = self._recalled((login, campaign, segment_id))
        if before is not None and before.told_at is not None and timedelta(0) <= at - before.told_at < TOLD_FOR:
            return before.reasons
        shift = dialling.start(self.engine, login, campaign, at, segment_id=segment_id)
        with reading(self.engine) as connection:
            return why_none(connection, shift, at)

    def _recalled(self, key: _Key) -> _Remembered | None:
        with self.turn:
            return self.known.get(key)

    def _remember(self, key: _Key, now: _Remembered) -> None:
        with self.turn:
            self.known[key] = now
            self.known.move_to_end(key)
            while len(self.known) > MOST:
                self.known.popitem(last=False)


def why_none(connection: Connection, shift: Shift, at: datetime) -> tuple[Reason, ...]:
    """Why none of the open leads within reach may be called now, the most leads first."""
    who, book = shift.agent, shift.book
    kept = table.c.status_id.in_(book.ids(kept_for_caller=True))
    rule = case(
        (table.c.deactivated_at.is_not(None), "not_deactivated"),
        (table.c.status_id.not_in([status.id for status in book.dialled]), "dialled"),
        (table.c.attempts >= shift.campaign.max_attempts, "attempts_left"),
        (~access.pool_open(book), "pool_active"),
        (and_(kept, table.c.processed_by_id.is_not(None), table.c.processed_by_id != who.id), "not_kept"),
        (table.c.scheduled_at > at, "due"),
        (~access.unlocked(at), "not_locked"),
        else_="not_now",
    )
    moment = case(
        (table.c.scheduled_at > at, table.c.scheduled_at), (~access.unlocked(at), table.c.locked_until), else_=null()
    )
    mine = (
        table.c.campaign_id == shift.campaign.id,
        table.c.owner_id.in_(who.reach),
        table.c.status_id.in_(book.ids(kind="open")),
        true() if shift.segment is None else shift.segment,
    )
    query = select(rule.label("rule"), func.count().label("leads"), func.min(moment).label("next_at"))
    rows = connection.execute(query.where(*mine).group_by(rule).order_by(func.count().desc())).all()
    timed = ("due", "not_locked")
    return tuple(
        Reason(rule=row.rule, leads=row.leads, next_at=row.next_at if row.rule in timed else None) for row in rows
    )


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a call ended."""

    status: str
    """the code of the status"""
    at: datetime
    fields: Mapping[str, str | None] = field(default_factory=dict)
    """what the agent learned, as people write it"""
    scheduled_at: datetime | None = None
    comment: str = ""
    """kept in the history"""


def finish(engine: Engine, schema_folder: Path, who: Agent, lead_id: int, result: Result) -> Lead:
    """The lead gets its status and fields, the attempt is counted, and the lead is given free: all of it or nothing.

    Raises Missing, Denied, Conflict when the agent does not hold it, and Rejected as editing and statuses do.
    """
    with writing(engine) as connection:
        rights.check_held(connection, who, lead_id)
        if result.fields:
            wish = Edit(values=result.fields, by=who.id, at=result.at, why=result.comment)
            editing.edit(connection, schema_folder, lead_id, wish)
        change = Change(
            to=result.status,
            by=who.id,
            at=result.at,
            why=result.comment,
            call=True,
            scheduled_at=result.scheduled_at,
        )
        return statuses.change_status(connection, lead_id, change)


def held(connection: Connection, who: Agent, at: datetime) -> Lead | None:
    """The lead that the agent holds, however he came by it; of several the one that is held longest."""
    known = list(access.campaigns(connection))
    mine = (table.c.campaign_id.in_(known), table.c.locked_until > at, table.c.locked_by_id == who.id)
    query = select(table.c.id).where(*mine, access.visible_to(who)).order_by(table.c.locked_until.desc()).limit(1)
    number = connection.scalar(query)
    return None if number is None else rights.see(connection, who, number)


def release(engine: Engine, who: Agent, lead_id: int, at: datetime) -> Lead:
    """The agent gives a lead back without a call. Raises Missing, Denied, and Conflict when the agent has it not."""
    with writing(engine) as connection:
        rights.check_held(connection, who, lead_id)
        return editing.unlock(connection, lead_id, by=who.id, at=at)
