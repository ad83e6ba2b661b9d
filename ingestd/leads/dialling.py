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
    ColumnElement,
    Connection,
    Engine,
    Text,
    and_,
    bindparam,
    case,
    delete,
    false,
    func,
    insert,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from ingestd.errors import Rejected
from ingestd.leads import access, agents, editing, history, lead, order, statuses
from ingestd.leads.access import Campaign
from ingestd.leads.agents import Agent
from ingestd.leads.history import Stamp
from ingestd.leads.lead import Lead
from ingestd.leads.statuses import Change, StatusBook
from ingestd.store.engine import writing
from ingestd.store.tables import Id, campaigns, dial_stages
from ingestd.store.tables import leads as table

STAGED = 5_000
"""Leads of one owner that get their place at once."""
LOOKED_AT = 16
"""Leads of each owner that are tried, should other agents take the first ones at the same moment."""
FRESH = timedelta(seconds=5)
"""How long a shift believes what it read about its user and campaign; a redial comes up so much late at most."""


@dataclass(frozen=True, kw_only=True)
class Shift:
    """An agent who dials in a campaign, as the store knew both at a moment."""

    agent: Agent
    campaign: Campaign
    load_sequence: int
    book: StatusBook
    read_at: datetime
    segment: ColumnElement[bool] | None = None
    """a condition on the table of leads; None: the whole campaign"""


def start(
    engine: Engine, login: str, campaign: str, at: datetime, *, segment: ColumnElement[bool] | None = None
) -> Shift:
    """Begins to dial; raises Rejected when the user or the campaign is unknown, or may not be dialled in."""
    with writing(engine) as connection:
        number: int | None = connection.scalar(select(campaigns.c.id).where(campaigns.c.code == campaign))
        if number is None:
            raise Rejected("campaign_unknown", f"the campaign {campaign!r} does not exist")
        return _read(connection, login, number, at, segment)


def _read(connection: Connection, login: str, number: int, at: datetime, segment: ColumnElement[bool] | None) -> Shift:
    who, campaign = agents.agent(connection, login), access.campaigns(connection)[number]
    told = "" if campaign.open_to(who) else f"{login} may not call in {campaign.code}"
    told = told if campaign.running(at) else f"{campaign.code} is not active, or has expired"
    told = told if who.active else f"{login} is deactivated"
    if told:
        raise Rejected("dialling_refused", told, suggestion="choose another campaign")
    loaded = connection.scalar(select(campaigns.c.load_sequence).where(campaigns.c.id == number)) or 0
    shift = Shift(
        agent=who,
        campaign=campaign,
        load_sequence=loaded,
        book=statuses.read(connection),
        read_at=at,
        segment=segment,
    )
    _wake(connection, shift, at)
    return shift


def next_lead(
    engine: Engine, shift: Shift, at: datetime, *, lease: timedelta = editing.LEASE
) -> tuple[Lead | None, Shift]:
    """The best lead that the agent may call, held for him; None when there is none. And the shift to go on with."""
    if not timedelta(0) <= at - shift.read_at < FRESH:
        with writing(engine) as connection:
            shift = _read(connection, shift.agent.login, shift.campaign.id, at, shift.segment)
    while True:  # once, unless an owner's leads must be staged first
        with writing(engine) as connection:
            best, short = _best(connection, shift, at)
            if not short:
                taken = _take(connection, shift, at, at + lease)
                if taken is not None or best is None:
                    return taken, shift
                continue  # others took all that were looked at, at this very moment
        with writing(engine) as connection:
            for owner in short:
                _stage(connection, shift, owner, at)


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
    """A lead of the campaign that may be dialled, whoever owns it and whether it has its place or not."""
    return and_(
        table.c.campaign_id == shift.campaign.id,
        table.c.status_id.in_([status.id for status in shift.book.dialled]),
        table.c.deactivated_at.is_(None),
        table.c.attempts < shift.campaign.max_attempts,
        access.free_for(shift.agent, shift.book, at),
        access.pool_open(shift.book),
    )


def _placed(shift: Shift, at: datetime) -> ColumnElement[bool]:
    segment = true() if shift.segment is None else shift.segment
    return and_(_ready(shift, at), access.unlocked(at), table.c.dial_key.is_not(None), segment)


def _candidates(shift: Shift, at: datetime, limit: int) -> Any:
    """The first few of each owner, each owner by its own walk down the index."""
    each = [
        select(table.c.id, table.c.owner_id, table.c.dial_key)
        .where(_placed(shift, at), table.c.owner_id == owner)
        .order_by(table.c.dial_key)
        .limit(limit)
        .subquery()
        for owner in shift.agent.reach
    ]
    first, *others = [select(one) for one in each]
    return first.union_all(*others).subquery("candidates")


def _best(connection: Connection, shift: Shift, at: datetime) -> tuple[str | None, list[int]]:
    """The best key there is, and the owners who may have a better lead that has no place yet."""
    candidates = _candidates(shift, at, 1)
    best: str | None = connection.scalar(select(func.min(candidates.c.dial_key)))
    stage = dial_stages.c
    sequence = select(campaigns.c.load_sequence).where(campaigns.c.id == shift.campaign.id).scalar_subquery()
    enough = or_(stage.last_key.is_(None), stage.last_key >= best if best is not None else false())
    fine = select(stage.owner_id).where(
        stage.campaign_id == shift.campaign.id,
        stage.owner_id.in_(shift.agent.reach),
        stage.load_sequence == sequence,
        enough,
    )
    return best, sorted(set(shift.agent.reach) - set(connection.scalars(fine)))


def _take(connection: Connection, shift: Shift, at: datetime, until: datetime) -> Lead | None:
    """Locks the best lead that no other agent is just taking, in the statement that finds it."""
    candidates = _candidates(shift, at, LOOKED_AT)
    mine = (
        select(table.c.id)
        .join(candidates, candidates.c.id == table.c.id)
        .where(_placed(shift, at), table.c.owner_id.in_(shift.agent.reach))
        .order_by(candidates.c.dial_key)
        .limit(1)
        .with_for_update(of=table, skip_locked=True)
    )
    held = {
        "locked_by_id": shift.agent.id,
        "locked_until": until,
        "modified_by_id": shift.agent.id,
        "modified_at": at,
        "version": table.c.version + 1,
    }
    this = (table.c.campaign_id == shift.campaign.id, table.c.id == mine.scalar_subquery())
    row = connection.execute(update(table).where(*this).values(held).returning(*table.c)).mappings().one_or_none()
    if row is None:
        return None
    taken = lead.of_row({**row, "status": shift.book.by_id[row["status_id"]].code})
    stamp = Stamp(kind="dialled", by=shift.agent.id, at=at)
    history.record(connection, (taken.campaign_id, taken.id, taken.version), {"lock": (None, shift.agent.id)}, stamp)
    return taken


def _stage(connection: Connection, shift: Shift, owner: int, at: datetime) -> None:
    """Gives the next leads of an owner their place, and notes how far that went."""
    number = shift.campaign.id
    stage = (dial_stages.c.campaign_id == number, dial_stages.c.owner_id == owner)
    # One at a time: the campaign's row is also what a load that ends meanwhile has to pass.
    query = select(campaigns.c.load_sequence).where(campaigns.c.id == number).with_for_update()
    loaded = connection.scalar(query) or 0
    places = {status.id: status.dial_order for status in shift.book.dialled}
    place = case(places, value=table.c.status_id)
    rank = func.coalesce(table.c.dial_rank, table.c.row)
    following = (place, table.c.priority.desc().nulls_last(), table.c.scheduled_at.nulls_last(), table.c.pool_id, rank)
    rows = connection.execute(
        select(table.c.id, place.label("place"), table.c.priority, table.c.scheduled_at, table.c.pool_id, rank)
        .where(_ready(shift, at), table.c.owner_id == owner, table.c.dial_key.is_(None))
        .order_by(*following)
        .limit(STAGED)
    ).all()
    keys = [order.key(*row[1:]) for row in rows]
    _set_keys(connection, number, [row.id for row in rows], keys)
    connection.execute(delete(dial_stages).where(*stage))
    last = keys[-1] if len(rows) == STAGED else None
    values = {"campaign_id": number, "owner_id": owner, "load_sequence": loaded, "last_key": last}
    connection.execute(insert(dial_stages).values(values))


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
    rank = func.coalesce(table.c.dial_rank, table.c.row)
    due = (
        select(table.c.id, table.c.status_id, table.c.priority, table.c.scheduled_at, table.c.pool_id, rank)
        .where(_ready(shift, at), table.c.scheduled_at <= at, table.c.dial_key.is_(None))
        .order_by(table.c.scheduled_at)
        .limit(STAGED)
        .with_for_update(skip_locked=True)
    )
    rows = connection.execute(due).all()
    places = shift.book.by_id
    keys = [order.key(places[row.status_id].dial_order or 0, *row[2:]) for row in rows]
    _set_keys(connection, shift.campaign.id, [row.id for row in rows], keys)
