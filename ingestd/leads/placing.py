"""Putting leads into their segments: all of a campaign after a change of its segments, single ones after their own.

Nothing that loads or changes leads does this itself. A load notes the numbers of what it brought, a change counts the
lead's version on, a change of segments sets the campaign's walk to its beginning; each in its own transaction. Whoever
has time then works these off in batches, which each end with what is left, so that a death loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, case, delete, func, insert, null, or_, select, update

from ingestd.errors import Unavailable
from ingestd.leads import conditions, segment_plan, selection
from ingestd.leads.segment_plan import NEVER, TURN, Plan
from ingestd.store.engine import reading, try_turn, writing
from ingestd.store.lead_tables import dial_stages
from ingestd.store.segment_tables import segment_arrivals, segment_progress
from ingestd.store.tables import CHANGED_SINCE_PLACED, campaigns
from ingestd.store.tables import leads as table

BATCH = 5_000
"""Leads that are looked at in one transaction."""
MOST_CHANGED = 10_000
"""Changed leads that are counted, for people."""
_WALK = segment_progress.c
_CAME = segment_arrivals.c


@dataclass(frozen=True, kw_only=True)
class Placed:
    """What was done in one go."""

    looked_at: int = 0
    moved: int = 0
    """leads that came into another segment, or out of one"""
    finished: bool = True
    """False when there is more to do"""
    failed: Mapping[int, Exception] = field(default_factory=dict)
    """campaign → why its leads are where they were"""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far the leads of a project are in their segments."""

    computed: int
    """leads that have been looked at since the segments last changed"""
    pending: int | None
    """leads that wait for it; None: they are not counted yet"""


def begin(connection: Connection, campaign_ids: Iterable[int]) -> None:
    """Has all leads of these campaigns looked at again whose segments mean something else than they did.

    In the transaction that changed the segments, which holds TURN.
    """
    names, seen = conditions.terms(connection, NEVER), segment_plan.stamp(connection)
    for number in campaign_ids:
        plan = segment_plan.of_campaign(connection, number, names)
        known = connection.scalar(select(_WALK.meaning).where(_WALK.campaign_id == number))
        afresh = {"meaning": plan.meaning, "seen": seen, "last_lead": 0, "placed": 0, "total": None}
        if known is None and plan.parts:
            connection.execute(insert(segment_progress).values(campaign_id=number, **afresh))
        elif known is not None:
            values = afresh if known != plan.meaning else {"seen": seen}
            connection.execute(update(segment_progress).where(_WALK.campaign_id == number).values(values))


def again(connection: Connection, campaign_ids: Sequence[int]) -> None:
    """Has all leads of these campaigns looked at once more, as if their segments had just changed."""
    mine = _WALK.campaign_id.in_(campaign_ids)
    connection.execute(update(segment_progress).where(mine).values(last_lead=0, placed=0, total=None))


def place(connection: Connection, campaign_id: int, numbers: Sequence[int]) -> None:
    """Puts leads that were just changed into their segments at once.

    Left to the next `work`, which finds them anyway: when segments are being changed at this moment, or depend on a
    team tree that may be changed at this moment.
    """
    there = select(_WALK.campaign_id).where(_WALK.campaign_id == campaign_id)
    if connection.scalar(there) is None or not try_turn(connection, TURN, beside=True):
        return
    plan = segment_plan.of_campaign(connection, campaign_id)
    if plan.settled:
        these = selection.among(connection, table.c.id, numbers)
        _store(connection, campaign_id, plan, _look(connection, campaign_id, these, len(numbers)))


def work(
    engine: Engine, go_on: Callable[[], bool] = lambda: True, *, batch: int = BATCH, without: Container[int] = ()
) -> Placed:
    """Puts into their segments whatever leads are not, but those of some campaigns; `go_on` is asked before each batch.

    Of several processes one does it at a time; the others leave it to that one. A campaign that fails stops no other.
    Raises Unavailable.
    """
    looked_at = moved = 0
    plans: dict[int, Plan] = {}
    failed: dict[int, Exception] = {}
    _notice_changes(engine)
    while due := [number for number in _due(engine) if number not in without and number not in failed]:
        advanced = False
        for number in due:
            if not go_on():
                return Placed(looked_at=looked_at, moved=moved, finished=False, failed=failed)
            counts = _tried(engine, number, plans, batch)
            if isinstance(counts, Exception):
                failed[number], advanced = counts, True
            elif counts is not None:
                looked_at, moved, advanced = looked_at + counts[0], moved + counts[1], True
        if not advanced:  # others are at it, or load into these campaigns
            return Placed(looked_at=looked_at, moved=moved, finished=False, failed=failed)
    return Placed(looked_at=looked_at, moved=moved, failed=failed)


def progress(connection: Connection, project_id: int) -> Progress:
    """How far the leads of a project are."""
    mine = select(campaigns.c.id).where(campaigns.c.project_id == project_id)
    walks = connection.execute(select(segment_progress).where(_WALK.campaign_id.in_(mine))).all()
    uncounted = any(walk.last_lead is not None and walk.total is None for walk in walks)
    left = sum(max(0, walk.total - walk.placed) for walk in walks if walk.last_lead is not None and walk.total)
    numbers = [walk.campaign_id for walk in walks]
    coming = select(func.sum(_CAME.last_lead - _CAME.first_lead + 1)).where(_CAME.campaign_id.in_(numbers))
    waiting = int(connection.scalar(coming) or 0)
    changed = select(table.c.id).where(table.c.campaign_id.in_(numbers), CHANGED_SINCE_PLACED).limit(MOST_CHANGED)
    waiting += connection.scalar(select(func.count()).select_from(changed.subquery())) or 0
    return Progress(computed=sum(walk.placed for walk in walks), pending=None if uncounted else left + waiting)


def _notice_changes(engine: Engine) -> None:
    """Organisation and statuses may have changed what segments mean, and which campaigns they are for."""
    asking = select(segment_plan.ACTIVE.subquery().c.project_id)
    new = select(campaigns.c.id).where(
        campaigns.c.project_id.in_(asking), campaigns.c.id.not_in(select(_WALK.campaign_id))
    )
    with reading(engine) as connection:
        other = select(_WALK.campaign_id).where(_WALK.seen != segment_plan.stamp(connection))
        found = [*connection.scalars(other), *connection.scalars(new)]
    if found:
        with writing(engine) as connection:
            if try_turn(connection, TURN):
                begin(connection, found)


def _due(engine: Engine) -> Sequence[int]:
    """The campaigns in which something is to be done."""
    with reading(engine) as connection:
        idle = select(_CAME.id).where(_CAME.campaign_id.not_in(select(_WALK.campaign_id))).limit(1)
        nobody_asks = connection.scalar(idle) is not None
        changed = select(table.c.id).where(table.c.campaign_id == _WALK.campaign_id, CHANGED_SINCE_PLACED)
        came = select(_CAME.id).where(_CAME.campaign_id == _WALK.campaign_id)
        some = or_(_WALK.last_lead.is_not(None), came.exists(), changed.correlate(segment_progress).exists())
        due = connection.scalars(select(_WALK.campaign_id).where(some).order_by(_WALK.campaign_id)).all()
    if nobody_asks:  # whoever makes segments there later walks through all leads that there are then
        with writing(engine, forgettable=True) as connection:
            gone = _CAME.campaign_id.not_in(select(_WALK.campaign_id))
            connection.execute(delete(segment_arrivals).where(gone))
    return due


def _tried(engine: Engine, campaign_id: int, plans: dict[int, Plan], batch: int) -> tuple[int, int] | Exception | None:
    """One turn in a campaign; or what went wrong with it, which is the fault of its segments or of a lead in it."""
    try:
        with writing(engine, forgettable=True) as connection:  # undone by a power cut, it is found to be due again
            return _turn(connection, campaign_id, plans, batch)
    except Unavailable:
        raise
    except Exception as problem:  # noqa: BLE001 - people write segments: no filter of theirs stops whoever loads files
        return problem


def _turn(connection: Connection, campaign_id: int, plans: dict[int, Plan], batch: int) -> tuple[int, int] | None:
    """One batch of each kind in a campaign: how many were looked at, and moved. None: others are at it.

    `plans` are those of the batches before, which count as long as segments mean the same.
    """
    # A load holds its campaign, and leads in no order: whoever waited for it here could wait for each other.
    mine = select(campaigns.c.id).where(campaigns.c.id == campaign_id)
    held = mine.with_for_update(skip_locked=True, key_share=True)
    if not try_turn(connection, "placing of leads") or connection.scalar(held) is None:
        return None
    if not try_turn(connection, TURN, beside=True):
        return None
    walk = connection.execute(select(segment_progress).where(_WALK.campaign_id == campaign_id)).one_or_none()
    if walk is None:
        return 0, 0
    plan = plans.get(campaign_id)
    if plan is None or plan.meaning != walk.meaning:
        plan = plans[campaign_id] = segment_plan.of_campaign(connection, campaign_id)
    if walk.last_lead == 0:  # it comes by whatever is there by now
        connection.execute(delete(segment_arrivals).where(_CAME.campaign_id == campaign_id))
    counts = [_changed(connection, campaign_id, plan, batch), _arrived(connection, campaign_id, plan, batch)]
    if walk.last_lead is not None:
        counts.append(_walked(connection, walk, plan, batch))
    return sum(each[0] for each in counts), sum(each[1] for each in counts)


def _changed(connection: Connection, campaign_id: int, plan: Plan, batch: int) -> tuple[int, int]:
    step = _look(connection, campaign_id, CHANGED_SINCE_PLACED, batch)
    return step.leads, _store(connection, campaign_id, plan, step)


def _arrived(connection: Connection, campaign_id: int, plan: Plan, batch: int) -> tuple[int, int]:
    """The next leads of the oldest load."""
    oldest = select(segment_arrivals).where(_CAME.campaign_id == campaign_id).order_by(_CAME.id).limit(1)
    load = connection.execute(oldest).one_or_none()
    if load is None:
        return 0, 0
    step = _look(connection, campaign_id, table.c.id.between(load.first_lead, load.last_lead), batch)
    moved = _store(connection, campaign_id, plan, step)
    this = _CAME.id == load.id
    if step.leads < batch:
        connection.execute(delete(segment_arrivals).where(this))
    else:
        connection.execute(update(segment_arrivals).where(this).values(first_lead=step.last + 1))
    ended = (_WALK.campaign_id == campaign_id, _WALK.last_lead.is_(None))  # a walk under way counts them itself
    more = {"placed": _WALK.placed + step.leads, "total": _WALK.total + step.leads}
    connection.execute(update(segment_progress).where(*ended).values(more))
    return step.leads, moved


def _walked(connection: Connection, walk: Any, plan: Plan, batch: int) -> tuple[int, int]:
    """The next leads of the walk through the campaign."""
    number = walk.campaign_id
    step = _look(connection, number, table.c.id > walk.last_lead, batch)
    moved = _store(connection, number, plan, step)
    this, placed = _WALK.campaign_id == number, walk.placed + step.leads
    if step.leads == batch:
        total = walk.total
        if total is None:
            total = connection.scalar(select(func.count()).select_from(table).where(table.c.campaign_id == number))
        values = {"placed": placed, "total": total, "last_lead": step.last}
        connection.execute(update(segment_progress).where(this).values(values))
    elif plan.parts:
        ended = {"placed": placed, "total": placed, "last_lead": None}
        connection.execute(update(segment_progress).where(this).values(ended))
    else:  # no lead has a segment any more
        connection.execute(delete(segment_progress).where(this))
    return step.leads, moved


@dataclass(frozen=True, kw_only=True)
class _Step:
    leads: int
    last: int
    """the highest number; 0 when there is none"""
    where: ColumnElement[bool]


def _look(connection: Connection, campaign_id: int, some: ColumnElement[bool], batch: int) -> _Step:
    """The first leads of a condition, by number."""
    first = select(table.c.id).where(table.c.campaign_id == campaign_id, some).order_by(table.c.id).limit(batch)
    these = first.subquery().c.id
    leads, last = connection.execute(select(func.count(these), func.max(these))).one()
    return _Step(leads=leads, last=last or 0, where=and_(some, table.c.id <= (last or 0)))


def _store(connection: Connection, campaign_id: int, plan: Plan, step: _Step) -> int:
    """Puts those that are not where they belong into their segments; how many came to another."""
    if not step.leads:
        return 0
    belongs = plan.winner()
    elsewhere = table.c.segment_id.is_distinct_from(belongs)
    wrong = select(table.c.id, case((elsewhere, belongs), else_=null()), elsewhere)
    wrong = wrong.where(table.c.campaign_id == campaign_id, step.where, or_(elsewhere, CHANGED_SINCE_PLACED))
    rows = [tuple(row) for row in connection.execute(wrong)]
    if not rows:
        return 0
    these = (table.c.campaign_id == campaign_id, selection.among(connection, table.c.id, [row[0] for row in rows]))
    # By number, as everybody who takes several leads; what was changed since it was looked at is judged anew.
    if connection.dialect.name == "postgresql":
        connection.execute(select(table.c.id).where(*these).order_by(table.c.id).with_for_update())
    values = {"segment_id": belongs, "placed_version": table.c.version}
    connection.execute(update(table).where(*these).values(values))
    joined = {row[1] for row in rows} - {None}
    if joined:  # whoever dials in these segments has to look for what comes next once more
        stages = dial_stages.c
        gone = (stages.campaign_id == campaign_id, stages.segment_id.in_(joined))
        connection.execute(delete(dial_stages).where(*gone))
    return sum(bool(row[2]) for row in rows)
