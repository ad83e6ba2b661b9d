"""Dialling: the best lead that an agent may call now, taken by one agent only (LEADS.md, "Dial order").

An index over all leads in dial order would double what a load costs, so only leads that come next are in one: those
that somebody worked with, and the first few thousand of what files brought, for each owner (`dial_key`). Whoever finds
that used up stages the next ones, which walks through the campaign once for every STAGED leads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Engine,
    Integer,
    Select,
    String,
    Text,
    and_,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from ingestd.access.permissions import Permission
from ingestd.errors import Rejected
from ingestd.leads import access, agents, do_not_call, editing, history, lead, order, segment_plan, statuses
from ingestd.leads.access import Campaign
from ingestd.leads.agents import Agent
from ingestd.leads.history import Stamp
from ingestd.leads.lead import Lead
from ingestd.leads.statuses import Change, StatusBook
from ingestd.model import PoolState
from ingestd.store import listed
from ingestd.store.engine import writing
from ingestd.store.lead_tables import dial_stages, lead_events
from ingestd.store.tables import Id, Instant, campaigns, pools
from ingestd.store.tables import leads as table

STAGED = 5_000
"""Leads of one owner that get their place at once."""
LOOKED_AT = 16
"""Leads of each owner that are tried, should other agents take the first ones at the same moment."""
_RANK = func.coalesce(table.c.dial_rank, table.c.row)
DIALLED = "dialled"
"""The verb in the history of a lead that somebody was given."""
LAST = "9" * 40
"""A key behind all others: every lead has its place."""
FRESH = timedelta(seconds=5)
"""How long a shift believes what it read about its user and campaign; a redial comes up so much late at most."""


@dataclass(frozen=True, kw_only=True)
class Shift:
    """An agent who dials in a campaign, as the store knew both at a moment."""

    agent: Agent
    campaign: Campaign
    book: StatusBook
    read_at: datetime
    statement: Any
    """takes the best lead; made once, because making it takes longer than running it"""
    holding: Any
    """finds out whether the agent holds any lead, in whichever campaign; the same"""
    last_key: str
    """up to it, all leads of the agent's reach have their place; whatever comes after may be beaten by one without"""
    segment_id: int = 0
    """the only segment whose leads are given; 0: the whole campaign"""
    segment: ColumnElement[bool] | None = None
    """the same as a condition on the table of leads, as it was when the shift was read"""


def start(engine: Engine, login: str, campaign: str, at: datetime, *, segment_id: int = 0) -> Shift:
    """Begins to dial, in one segment or in the whole campaign.

    Raises Rejected when the user, the campaign or the segment is unknown or not active, or may not be dialled in.
    """
    with writing(engine) as connection:
        number: int | None = connection.scalar(select(campaigns.c.id).where(campaigns.c.code == campaign))
        if number is None:
            raise Rejected("campaign_unknown", f"the campaign {campaign!r} does not exist")
        return _read(connection, login, number, at, segment_id)


def _read(connection: Connection, login: str, number: int, at: datetime, segment_id: int) -> Shift:
    who, known = agents.agent(connection, login), access.campaigns(connection)
    campaign = known[number]
    told = "" if campaign.open_to(who) else f"{login} may not call in {campaign.code}"
    told = told if campaign.running(at) else f"{campaign.code} is not active, or has expired"
    told = told if who.may_dial else f"{login} lacks the permission {Permission.DIAL}"
    told = told if who.active else f"{login} is deactivated"
    if told:
        raise Rejected("dialling_refused", told, suggestion="choose another campaign")
    shift = Shift(
        agent=who,
        campaign=campaign,
        book=statuses.read(connection),
        read_at=at,
        statement=None,
        holding=_holding(connection, list(known)),
        last_key="",
        segment_id=segment_id,
        segment=segment_plan.of_campaign(connection, number).inside(segment_id) if segment_id else None,
    )
    _wake(connection, shift, at)
    stages = _stages(connection, shift)
    for owner in set(who.reach) - set(stages):
        stages[owner] = _stage(connection, shift, owner, at)
    return replace(shift, last_key=min(stages.values()), statement=_statement(connection, shift))


def next_lead(
    engine: Engine, shift: Shift, at: datetime, *, lease: timedelta = editing.LEASE, again: bool = False
) -> tuple[Lead | None, Shift]:
    """The best lead that the agent may call, held for him; None when there is none. And the shift to go on with.

    `again`: what he was given and has not ended comes first.
    """
    if not timedelta(0) <= at - shift.read_at < FRESH:
        with writing(engine) as connection:
            shift = _read(connection, shift.agent.login, shift.campaign.id, at, shift.segment_id)
    while True:  # once, unless leads must be staged first, or other agents are quicker
        with writing(engine) as connection:
            before = _given_before(connection, shift, at, lease) if again else None
            taken = _take(connection, shift, at, at + lease) if before is None else before
            if taken is None and _any_left(connection, shift, at):
                continue  # other agents took all that were looked at, at this very moment
        if taken is not None or shift.last_key == LAST:
            return taken, shift
        with writing(engine) as connection:
            shift = _staged_further(connection, shift, at)


def _given_before(connection: Connection, shift: Shift, at: datetime, lease: timedelta) -> Lead | None:
    """The lead that the agent was given and has not ended, held anew; None when he has none.

    So nobody has to wait for the end of its lease when a browser was closed, or an answer got lost. What he was given
    in another campaign or segment, or may not call any more, goes back to the others. What he locked by hand stays his.
    """
    if _said(connection, shift.holding, {"moment": at, "agent": shift.agent.id}).first() is None:
        return None
    again: Lead | None = None
    for row in connection.execute(_given_rows(shift, at)).all():
        if not row.fits:
            editing.unlock(connection, row.id, by=shift.agent.id, at=at)
        elif again is None:
            again = editing.lock(connection, row.id, by=shift.agent.id, at=at, lease=lease)
    return None if again is None else do_not_call.without_listed(connection, [again])[0]


def _given_rows(shift: Shift, at: datetime) -> Select[Any]:
    """The leads that the agent holds since he was given them, in the order of dialling, each with whether it fits."""
    event = lead_events.c
    its = (event.campaign_id == table.c.campaign_id, event.lead_id == table.c.id, event.field == "lock")
    locked = select(event.kind).where(*its).order_by(event.version.desc()).limit(1).scalar_subquery()
    may = and_(_ready(shift, at), table.c.owner_id.in_(shift.agent.reach), _inside(shift))
    fits = and_(may, ~listed.on_a_list(table.c))
    held = (table.c.campaign_id.in_(select(campaigns.c.id)), table.c.locked_until > at)
    mine = (*held, table.c.locked_by_id == shift.agent.id, locked == DIALLED)
    return select(table.c.id, fits.label("fits")).where(*mine).order_by(table.c.dial_key, table.c.id).with_for_update()


def _staged_further(connection: Connection, shift: Shift, at: datetime) -> Shift:
    """Nothing is left of what has its place: the owners who stand behind get further leads."""
    stages = _stages(connection, shift)
    behind = min(stages.values(), default="")
    for owner in shift.agent.reach:
        if owner not in stages or (stages[owner] == behind <= shift.last_key and behind != LAST):
            stages[owner] = _stage(connection, shift, owner, at)
    return replace(shift, last_key=min(stages.values()))


def result(engine: Engine, lead_id: int, change: Change) -> Lead:
    """How a call ended: the lead gets its status, the attempt is counted, and the lead is given free."""
    with writing(engine) as connection:
        return statuses.change_status(connection, lead_id, replace(change, call=True))


def reorder(connection: Connection, campaign_id: int, pool_id: int) -> None:
    """A pool was shuffled, activated or deactivated: its leads get their places anew."""
    these = (table.c.campaign_id == campaign_id, table.c.pool_id == pool_id, table.c.dial_key.is_not(None))
    connection.execute(update(table).where(*these).values(dial_key=None))
    connection.execute(delete(dial_stages).where(dial_stages.c.campaign_id == campaign_id))


def _ready(shift: Shift, at: datetime) -> ColumnElement[bool]:
    """A lead of the campaign that the agent may dial, whoever owns it and whether it has its place or not."""
    return and_(_dialled(shift), access.free_for(shift.agent, shift.book, at))


def _dialled(shift: Shift) -> ColumnElement[bool]:
    """A lead of the campaign that is dialled in its time, by whomever."""
    return and_(
        table.c.campaign_id == shift.campaign.id,
        table.c.status_id.in_([status.id for status in shift.book.dialled]),
        table.c.deactivated_at.is_(None),
        table.c.attempts < shift.campaign.max_attempts,
        access.pool_open(shift.book),
    )


def _inside(shift: Shift) -> ColumnElement[bool]:
    return true() if shift.segment is None else shift.segment


def _any_left(connection: Connection, shift: Shift, at: datetime) -> bool:
    placed = and_(table.c.dial_key <= shift.last_key, table.c.owner_id.in_(shift.agent.reach))
    left = select(table.c.id).where(_ready(shift, at), placed, access.unlocked(at), _inside(shift)).limit(1)
    return connection.scalar(left) is not None


def _number(value: int) -> ColumnElement[int]:
    """A number that stands in the statement itself, so that the database plans for it."""
    number: ColumnElement[int] = literal_column(f"{value:d}", Integer)
    return number


def _given(name: str, kind: Any) -> BindParameter[Any]:
    """What is said for each call; not required, because lists in a segment's condition are written out before that."""
    return bindparam(name, type_=kind, required=False)


def _statement(connection: Connection, shift: Shift) -> Any:
    """Finds, locks and tells in one statement, where the database can; with what is said for each call as parameters.

    That a key is there says that the lead is active, open, due and in an order of dialling (`lead.write`).
    """
    campaign, moment = _number(shift.campaign.id), _given("moment", Instant)
    shut = select(pools.c.id).where(pools.c.campaign_id == shift.campaign.id, pools.c.state != PoolState.ACTIVE)
    closed = [_number(number) for number in connection.scalars(shut)]
    outlives = [_number(number) for number in shift.book.ids(outlives_pool=True)]
    fits = and_(
        table.c.campaign_id == campaign,
        table.c.dial_key <= _given("last_key", String),
        or_(table.c.locked_until.is_(None), table.c.locked_until <= moment),
        table.c.attempts < _number(shift.campaign.max_attempts),
        true() if not closed else or_(table.c.pool_id.not_in(closed), table.c.status_id.in_(outlives)),
        _kept_for_nobody_else(shift),
        _inside(shift),
    )
    # Each owner by its own walk down the index; a few of each, should other agents take the first at this moment.
    each = [
        select(table.c.id, table.c.dial_key)
        .where(fits, table.c.owner_id == _number(owner))
        .order_by(table.c.dial_key)
        .limit(_number(LOOKED_AT))
        .subquery()
        for owner in shift.agent.reach
    ]
    first, *others = [select(one) for one in each]
    candidates = first.union_all(*others).subquery("candidates")
    mine = (
        select(table.c.id)
        .join(candidates, candidates.c.id == table.c.id)
        .where(fits, table.c.owner_id.in_([_number(owner) for owner in shift.agent.reach]))
        .order_by(candidates.c.dial_key)
        .limit(_number(1))
        .with_for_update(of=table, skip_locked=True)
    )
    held = {
        "locked_by_id": _given("agent", Id),
        "locked_until": _given("until", Instant),
        "version": table.c.version + 1,
    }
    this = (table.c.campaign_id == campaign, table.c.id == mine.scalar_subquery())
    taken = update(table).where(*this).values(held).returning(*table.c)
    return taken if connection.dialect.name == "sqlite" else _compiled(connection, _telling(taken))


def _kept_for_nobody_else(shift: Shift) -> ColumnElement[bool]:
    kept = [_number(status.id) for status in shift.book.dialled if status.kept_for_caller]
    caller = or_(table.c.processed_by_id.is_(None), table.c.processed_by_id == _number(shift.agent.id))
    return or_(table.c.status_id.not_in(kept), caller) if kept else true()


def _holding(connection: Connection, known: Sequence[int]) -> Any:
    mine = (
        table.c.campaign_id.in_([_number(number) for number in known]),
        table.c.locked_until > _given("moment", Instant),
        table.c.locked_by_id == _given("agent", Id),
    )
    found = select(table.c.id).where(*mine).limit(_number(1))
    return found if connection.dialect.name == "sqlite" else _compiled(connection, found)


def _telling(taken: Any) -> Any:
    """PostgreSQL writes the history and looks at the do-not-call lists in the same statement."""
    here = taken.cte("taken")
    said = {
        "campaign_id": here.c.campaign_id,
        "lead_id": here.c.id,
        "version": here.c.version,
        "field": literal_column("'lock'"),
        "kind": literal_column(f"'{DIALLED}'"),
        "at": _given("moment", Instant),
        "by_id": here.c.locked_by_id,
        "after": cast(here.c.locked_by_id, Text),
    }
    told = insert(lead_events).from_select(list(said), select(*said.values()), include_defaults=False)
    return select(here, listed.on_a_list(here.c).label("listed")).add_cte(told.cte("told"))


def _compiled(connection: Connection, statement: Any) -> tuple[str, dict[str, Any]]:
    """The statement for the driver. SQLAlchemy's own way to find it again takes longer than PostgreSQL needs for it."""
    compiled = statement.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
    return str(compiled), dict(compiled.params)


def _said(connection: Connection, statement: Any, given: dict[str, Any]) -> Any:
    """Runs a statement of a shift, in the form that it has for the database."""
    if isinstance(statement, tuple):
        text, fixed = statement
        return connection.exec_driver_sql(text, {**fixed, **given})
    return connection.execute(statement, given)


def _take(connection: Connection, shift: Shift, at: datetime, until: datetime) -> Lead | None:
    """Locks the best lead that no other agent is just taking, in the statement that finds it.

    One whose number is on a do-not-call list is closed in place of being given, however it came to be open.
    """
    given = {"moment": at, "until": until, "agent": shift.agent.id, "last_key": shift.last_key}
    while (row := _said(connection, shift.statement, given).mappings().one_or_none()) is not None:
        taken = lead.of_row({**row, "status": shift.book.by_id[row["status_id"]].code})
        if connection.dialect.name == "sqlite":
            stamp, held = Stamp(kind=DIALLED, by=shift.agent.id, at=at), {"lock": (None, shift.agent.id)}
            history.record(connection, (taken.campaign_id, taken.id, taken.version), held, stamp)
            uncallable = bool(listed.places(connection, taken.lists, [taken.phone]))
        else:
            uncallable = row["listed"]
        if not uncallable:
            return do_not_call.without_listed(connection, [taken])[0]
        do_not_call.close(connection, taken, at)
    return None


def _stages(connection: Connection, shift: Shift) -> dict[int, str]:
    """How far each owner's leads have their place, as far as that still counts."""
    stage = dial_stages.c
    loaded = select(campaigns.c.load_sequence).where(campaigns.c.id == shift.campaign.id).scalar_subquery()
    owned = (stage.owner_id.in_(shift.agent.reach), stage.segment_id == shift.segment_id)
    mine = (stage.campaign_id == shift.campaign.id, *owned)
    rows = connection.execute(select(stage.owner_id, stage.last_key).where(*mine, stage.load_sequence == loaded))
    return {owner: LAST if last is None else last for owner, last in rows}


def _stage(connection: Connection, shift: Shift, owner: int, at: datetime) -> str:
    """Gives the next leads of an owner their place, and notes how far that went: the last key.

    Also of leads that somebody holds, because a lock that lapses writes no key. They are taken at once, so that none
    gets a place that was closed meanwhile.
    """
    number = shift.campaign.id
    values = {"campaign_id": number, "owner_id": owner, "segment_id": shift.segment_id}
    # One at a time: the campaign's row is also what a load that ends meanwhile has to pass.
    query = select(campaigns.c.load_sequence).where(campaigns.c.id == number).with_for_update()
    loaded = connection.scalar(query) or 0
    places = {status.id: status.dial_order for status in shift.book.dialled}
    place = case(places, value=table.c.status_id)
    following = (place, table.c.priority.desc().nulls_last(), table.c.scheduled_at.nulls_last(), table.c.pool_id, _RANK)
    rows = connection.execute(
        select(table.c.id, place.label("place"), table.c.priority, table.c.scheduled_at, table.c.pool_id, _RANK)
        .where(_dialled(shift), access.due(at), table.c.owner_id == owner, table.c.dial_key.is_(None), _inside(shift))
        .order_by(*following)
        .limit(STAGED)
        .with_for_update(key_share=True)
    ).all()
    keys = [order.key(*row[1:]) for row in rows]
    _set_keys(connection, number, [row.id for row in rows], keys)
    connection.execute(delete(dial_stages).where(*(dial_stages.c[name] == value for name, value in values.items())))
    last = keys[-1] if len(rows) == STAGED else None
    connection.execute(insert(dial_stages).values(load_sequence=loaded, last_key=last, **values))
    return last or LAST


def _set_keys(connection: Connection, campaign_id: int, numbers: Sequence[int], keys: Sequence[str]) -> None:
    if not numbers:
        return
    if connection.dialect.name == "postgresql":
        given = func.unnest(bindparam(None, list(numbers), ARRAY(Id)), bindparam(None, list(keys), ARRAY(Text())))
        placed = given.table_valued("id", "key").render_derived(name="placed")
        this = (table.c.campaign_id == campaign_id, table.c.id == placed.c.id)
        connection.execute(update(table).where(*this).values(dial_key=placed.c.key))
        return
    this = (table.c.campaign_id == campaign_id, table.c.id == bindparam("number"))
    rows = [{"number": number, "key": key} for number, key in zip(numbers, keys, strict=True)]
    connection.execute(update(table).where(*this).values(dial_key=bindparam("key")), rows)


def _wake(connection: Connection, shift: Shift, at: datetime) -> None:
    """Redials whose time has come get their place."""
    due = (
        select(table.c.id, table.c.status_id, table.c.priority, table.c.scheduled_at, table.c.pool_id, _RANK)
        .where(_ready(shift, at), table.c.scheduled_at <= at, table.c.dial_key.is_(None))
        .order_by(table.c.scheduled_at)
        .limit(STAGED)
        .with_for_update(skip_locked=True)
    )
    rows = connection.execute(due).all()
    places = shift.book.by_id
    keys = [order.key(places[row.status_id].dial_order or 0, *row[2:]) for row in rows]
    _set_keys(connection, shift.campaign.id, [row.id for row in rows], keys)
