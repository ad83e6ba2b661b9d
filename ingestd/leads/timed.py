"""The rules of time (LEADS.md): Unresolved becomes Abandoned, campaigns expire, attempts run out, locks lapse.

They are looked at once a minute. Each question is answered by an index that holds only leads somebody worked with; what
files brought is walked through once for each load, when its campaign has expired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, select, update

from ingestd.leads import access, selection, statuses
from ingestd.leads.access import Campaign
from ingestd.leads.ending import end
from ingestd.leads.history import Stamp
from ingestd.leads.statuses import MAX_ATTEMPTS, StatusBook
from ingestd.store import tables
from ingestd.store.engine import reading, try_turn, writing
from ingestd.store.tables import leads as table

BATCH = 2_000
EXPIRED = "expired"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What the rules did."""

    leads: dict[str, int] = field(default_factory=dict)
    """status that was given → how many leads"""
    unlocked: int = 0
    finished: bool = True
    """False when it was stopped: there is more to do"""


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """Leads of one campaign that become something."""

    campaign_id: int
    to: str
    """the code of the status; empty: only their lock ends"""
    why: str
    where: ColumnElement[bool]
    done: dict[str, Any] = field(default_factory=dict)
    """what is then written down at the campaign"""


def apply(engine: Engine, at: datetime, go_on: Callable[[], bool] = lambda: True) -> Ended:
    """Does whatever is due at a moment, in batches; `go_on` is asked before each. Leads that somebody holds wait.

    Of several nodes one does it; the others find it done when they look the next time.
    """
    with reading(engine) as connection:
        book = statuses.read(connection)
        rules = list(_rules(connection, book, at))
    ended: dict[str, int] = {}
    for rule in rules:
        full = True
        while full:
            if not go_on():
                return Ended(leads=_statuses(ended), unlocked=ended.get("", 0), finished=False)
            with writing(engine) as connection:
                if not try_turn(connection, "rules of time"):  # the worker of another node is at it
                    return Ended(leads=_statuses(ended), unlocked=ended.get("", 0))
                count = _batch(connection, rule, book, at)
            ended[rule.to] = ended.get(rule.to, 0) + count
            full = count == BATCH
    return Ended(leads=_statuses(ended), unlocked=ended.get("", 0))


def _statuses(ended: dict[str, int]) -> dict[str, int]:
    return {code: count for code, count in ended.items() if code and count}


def _rules(connection: Connection, book: StatusBook, at: datetime) -> Iterator[_Rule]:
    seen = select(
        *(tables.campaigns.c[name] for name in ("id", "load_sequence", "expired_sequence", "limited_attempts"))
    )
    marks = {row.id: row for row in connection.execute(seen)}
    for campaign in access.campaigns(connection).values():
        mark = marks[campaign.id]
        yield _lapsed(campaign.id, at)
        yield from _overdue(campaign.id, book, at)
        if campaign.expired(at):
            yield from _expired(campaign, mark.load_sequence, mark.expired_sequence, book)
        elif mark.limited_attempts != campaign.max_attempts:
            yield _used_up(campaign, book)


def _lapsed(campaign_id: int, at: datetime) -> _Rule:
    return _Rule(campaign_id=campaign_id, to="", why="its time was over", where=table.c.locked_until <= at)


def _overdue(campaign_id: int, book: StatusBook, at: datetime) -> Iterator[_Rule]:
    for status in book.by_code.values():
        if status.after_days is not None and status.then is not None:
            since = at - timedelta(days=status.after_days)
            where = and_(table.c.status_id == status.id, table.c.status_at <= since)
            yield _Rule(
                campaign_id=campaign_id, to=status.then, why=f"{status.name} for {status.after_days} days", where=where
            )


def _expired(campaign: Campaign, loaded: int, done: int | None, book: StatusBook) -> Iterator[_Rule]:
    """What people opened again is found by its index at any time; what files brought, once for each load."""
    why = f"{campaign.code} expired after {campaign.expires_on}"
    opened = table.c.status_id.in_(book.ids(kind="open"))
    worked = and_(opened, table.c.status_at.is_not(None))
    yield _Rule(campaign_id=campaign.id, to=EXPIRED, why=why, where=worked)
    if done != loaded:
        mark = {"expired_sequence": loaded}
        yield _Rule(campaign_id=campaign.id, to=EXPIRED, why=why, where=opened, done=mark)


def _used_up(campaign: Campaign, book: StatusBook) -> _Rule:
    """Each call looks at the limit itself, so this only concerns a limit that was lowered."""
    where = and_(
        table.c.status_id.in_(book.ids(kind="open")),
        table.c.status_at.is_not(None),
        table.c.attempts >= campaign.max_attempts,
    )
    why = f"{campaign.max_attempts} call attempts"
    mark = {"limited_attempts": campaign.max_attempts}
    return _Rule(campaign_id=campaign.id, to=MAX_ATTEMPTS, why=why, where=where, done=mark)


def _batch(connection: Connection, rule: _Rule, book: StatusBook, at: datetime) -> int:
    """Ends up to BATCH leads; how many. When that were all, the campaign is marked."""
    mine = and_(table.c.campaign_id == rule.campaign_id, rule.where)
    free = access.unlocked(at)
    found = select(table.c.id).where(mine, free).limit(BATCH).with_for_update(skip_locked=True)
    numbers = connection.scalars(found).all()
    if numbers:
        these = and_(table.c.campaign_id == rule.campaign_id, selection.among(connection, table.c.id, numbers))
        to = book.by_code[rule.to] if rule.to else None
        end(connection, these, to, Stamp(kind="rule", by=None, at=at, why=rule.why))
    if rule.done and len(numbers) < BATCH and connection.scalar(select(table.c.id).where(mine).limit(1)) is None:
        this = tables.campaigns.c.id == rule.campaign_id
        connection.execute(update(tables.campaigns).where(this).values(rule.done))
    return len(numbers)
