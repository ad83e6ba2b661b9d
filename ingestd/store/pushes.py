"""Leads that are pushed one by one: those of one source and hour gather in one delivery and pool (LEADS.md).

Such a delivery has ended at every moment, and its counts grow; its log is a row for each lead, written with it. A pool
that was undone, or is of another campaign, gets no more of them: the next lead begins another one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from sqlalchemy import Connection, and_, func, insert, or_, select, update

from ingestd.model import Arrival, Completeness, Delivery, Outcome, PoolState, State
from ingestd.store import pools
from ingestd.store.import_tables import pushed_leads
from ingestd.store.ledger import delivery_of, hold_source
from ingestd.store.tables import deliveries
from ingestd.store.tables import pools as pool_table

TOGETHER = timedelta(hours=1)
EVIDENCE = "each lead was acknowledged"
_GROWING = (PoolState.ACTIVE, PoolState.INACTIVE, PoolState.UPLOAD_FAILED)
"""Whoever deactivates the pool of an hour means its later leads, too."""
_ENDED = (State.COMPLETED, State.COMPLETED_WITH_REJECTS)
_BAD = (Outcome.REJECTED, Outcome.DUPLICATE)


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What became of one lead that was pushed."""

    outcome: Outcome
    lead_id: int | None
    phone: str | None
    owner: str | None
    """`team:<key>` or `user:<login>`"""
    fields: Mapping[str, str] | None
    """what was sent, when it became no lead; None also when it was anonymised"""
    problems: Sequence[Mapping[str, Any]]
    """as the log tells them"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """The same with its place, as it is kept."""

    row: int
    pushed_at: datetime
    pushed_by: str
    fate: Fate


def gathering(connection: Connection, arrival: Arrival, campaign_id: int, at: datetime) -> Delivery:
    """The delivery of the source's hour, made with its first lead; nobody else adds to it until the transaction ends.

    Whoever calls holds the campaign, so that nobody ends the pool meanwhile. The arrival's own `name` is not looked at.
    """
    hold_source(connection, arrival.source)
    for name in _names(at):
        found = _called(connection, arrival, name)
        if found is None:
            break
        if found.state in _ENDED and _grows(connection, found, campaign_id):
            return found
    made = {"size": 0, "sha256": "", "spool_key": "", "state": State.COMPLETED, "evidence": EVIDENCE}
    when = {"received_at": at, "started_at": at, "finished_at": at, "published_at": at}
    said = {**asdict(arrival), "name": name, "default_owner": None, "completeness": Completeness.PROVEN}
    connection.execute(insert(deliveries).values({**said, **made, **when}))
    new = _called(connection, arrival, name)
    assert new is not None
    return new


def _names(at: datetime) -> Iterator[str]:
    """Of the deliveries of an hour: another one begins when the pool of the one before takes no more leads."""
    hour = at.replace(minute=0, second=0, microsecond=0)
    first = f"pushed {hour:%Y-%m-%d %H}-{hour + TOGETHER:%H} UTC"
    yield first
    yield from (f"{first} ({number})" for number in count(2))


def _called(connection: Connection, arrival: Arrival, name: str) -> Delivery | None:
    table = deliveries.c
    this = (table.source == arrival.source, table.name == name, table.protocol == arrival.protocol)
    place = func.lower(table.folder) == arrival.folder.lower()
    found = connection.execute(select(deliveries).where(*this, place)).mappings().one_or_none()
    return None if found is None else delivery_of(found)


def _grows(connection: Connection, delivery: Delivery, campaign_id: int) -> bool:
    pool = pool_table.c
    growing = (pool.id == delivery.pool_id, pool.campaign_id == campaign_id, pool.state.in_(_GROWING))
    return connection.scalar(select(pool.id).where(*growing)) is not None


def pool_of(connection: Connection, delivery: Delivery, campaign_id: int, *, loaded: bool) -> int:
    """The pool of a gathering; without a lead it is a failed upload, as that of a file would be."""
    state = PoolState.ACTIVE if loaded else PoolState.UPLOAD_FAILED
    if delivery.pool_id is None:
        return pools.create(connection, delivery, campaign_id, state)
    if loaded:
        failed = (pool_table.c.id == delivery.pool_id, pool_table.c.state == PoolState.UPLOAD_FAILED)
        connection.execute(update(pool_table).where(*failed).values(state=state))
    return delivery.pool_id


def add(connection: Connection, delivery: Delivery, pool_id: int, row: Row, size: int) -> None:
    """Writes a fate down and counts it; `size` is of the lead as it came, in bytes."""
    fate, table = row.fate, deliveries.c
    values = {
        "delivery_id": delivery.id,
        "row": row.row,
        "pushed_at": row.pushed_at,
        "pushed_by": row.pushed_by,
        "outcome": fate.outcome,
        "lead_id": fate.lead_id,
        "phone": fate.phone,
        "owner": fate.owner,
        "fields": None if fate.fields is None else json.dumps(fate.fields, ensure_ascii=False),
        "problems": json.dumps(fate.problems, ensure_ascii=False),
    }
    connection.execute(insert(pushed_leads).values(values))
    clean = fate.outcome not in _BAD and delivery.state is State.COMPLETED
    counted = {"records": table.records + 1, str(fate.outcome): table[fate.outcome] + 1, "size": table.size + size}
    # The epoch is what tells one state of a log from the next one.
    facts = {"epoch": row.row, "pool_id": pool_id, "finished_at": row.pushed_at}
    state = State.COMPLETED if clean else State.COMPLETED_WITH_REJECTS
    connection.execute(update(deliveries).where(table.id == delivery.id).values({**counted, **facts, "state": state}))


def rows(connection: Connection, delivery_id: int) -> list[Row]:
    """Every lead of a gathering, in the order in which they came."""
    query = select(pushed_leads).where(pushed_leads.c.delivery_id == delivery_id).order_by(pushed_leads.c.row)
    return [_row(found) for found in connection.execute(query).mappings()]


def one(connection: Connection, delivery_id: int, row: int) -> Row:
    """One of them, which is there."""
    this = (pushed_leads.c.delivery_id == delivery_id, pushed_leads.c.row == row)
    return _row(connection.execute(select(pushed_leads).where(*this)).mappings().one())


def _row(found: Mapping[Any, Any]) -> Row:
    fields = None if found["fields"] is None else json.loads(found["fields"])
    fate = Fate(
        outcome=Outcome(found["outcome"]),
        lead_id=found["lead_id"],
        phone=found["phone"],
        owner=found["owner"],
        fields=fields,
        problems=json.loads(found["problems"]),
    )
    return Row(row=found["row"], pushed_at=found["pushed_at"], pushed_by=found["pushed_by"], fate=fate)


def blank(connection: Connection, lead_id: int, phones: Collection[str], told: Mapping[str, str]) -> int:
    """Takes a person out: the rows of the lead, and those that have one of its numbers and belong to no other lead.

    `told` is what the texts of their problems say from now on. Returns how many rows that were.
    """
    table = pushed_leads.c
    this = or_(table.lead_id == lead_id, and_(table.lead_id.is_(None), table.phone.in_(phones)))
    found = connection.execute(select(table.delivery_id, table.row, table.problems).where(this)).all()
    for delivery_id, row, problems in found:
        gone = json.dumps([{**problem, **told} for problem in json.loads(problems)], ensure_ascii=False)
        here = (table.delivery_id == delivery_id, table.row == row)
        connection.execute(update(pushed_leads).where(*here).values(phone=None, fields=None, problems=gone))
    for number in {delivery_id for delivery_id, *_ in found}:  # so that nobody takes the log for what it was
        connection.execute(update(deliveries).where(deliveries.c.id == number).values(epoch=deliveries.c.epoch + 1))
    return len(found)
