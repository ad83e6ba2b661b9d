"""The ledger as operators look at it: what needs attention, what is in progress, what was received. Only reads."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from ingestd.model import Delivery, State
from ingestd.store.ledger import delivery_of
from ingestd.store.tables import deliveries

UNSETTLED = (State.FAILED, State.REFUSED, State.AWAITING_CONFIRMATION, State.COMPLETED_WITH_REJECTS)
"""Ended otherwise than everybody wished, or waiting for a person."""
IN_PROGRESS = tuple(state for state in State if not state.final)
ATTENTION = timedelta(days=14)
"""After so long nobody mends a file any more; it is still in the list of all."""
MOST_COUNTED = 10_000
"""What is more is told as "more than": whoever has so many needs no exact number."""
SHORTEST_HASH = 8

_TABLE = deliveries.c


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which deliveries; everything that is named holds."""

    source: str | None = None
    states: Collection[State] = ()
    since: datetime | None = None
    """received at this moment or later"""
    text: str = ""
    """a part of the file's name or of its source, the beginning of its SHA-256, or its number"""
    attention: bool = False
    """of UNSETTLED and received within ATTENTION, without those whose next version was loaded"""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many there are; each at most MOST_COUNTED + 1, which means more."""

    attention: int
    in_progress: int
    every: int


def latest(
    connection: Connection, wanted: Wanted, *, at: datetime, limit: int, before: int | None = None
) -> list[Delivery]:
    """The newest first, from the one before the number `before` on."""
    query = select(deliveries).where(*_conditions(connection, wanted, at)).order_by(_TABLE.id.desc()).limit(limit)
    if before is not None:
        query = query.where(_TABLE.id < before)
    return [delivery_of(row) for row in connection.execute(query).mappings()]


def count(connection: Connection, wanted: Wanted, *, at: datetime) -> int:
    """How many, at most MOST_COUNTED + 1."""
    some = select(_TABLE.id).where(*_conditions(connection, wanted, at)).limit(MOST_COUNTED + 1)
    return connection.scalar(select(func.count()).select_from(some.subquery())) or 0


def counts(connection: Connection, *, at: datetime, source: str | None = None) -> Counts:
    """The three views of the list."""
    return Counts(
        attention=count(connection, Wanted(attention=True, source=source), at=at),
        in_progress=count(connection, Wanted(states=IN_PROGRESS, source=source), at=at),
        every=count(connection, Wanted(source=source), at=at),
    )


def fingerprint(connection: Connection) -> str:
    """Another one when something has come, moved on or ended: a look at the newest number and the few unpublished."""
    columns = (_TABLE.id, _TABLE.state, _TABLE.stage, _TABLE.epoch)
    open_ones = select(*columns).where(_TABLE.published_at.is_(None)).order_by(_TABLE.id).limit(200)
    newest = connection.scalar(select(func.max(_TABLE.id))) or 0
    seen = (newest, *(tuple(row) for row in connection.execute(open_ones)))
    return hashlib.sha256(repr(seen).encode()).hexdigest()


def first_since(connection: Connection, moment: datetime) -> int:
    """The number from which on deliveries were received at this moment or later.

    Numbers are given as time goes by, so a score of looks by number find it, without an index of moments.
    """
    low, high = 1, (connection.scalar(select(func.max(_TABLE.id))) or 0) + 1
    while low < high:
        middle = (low + high) // 2
        here = select(_TABLE.id, _TABLE.received_at).where(_TABLE.id >= middle).order_by(_TABLE.id).limit(1)
        found = connection.execute(here).one_or_none()
        if found is None or found.received_at >= moment:
            high = middle
        else:
            low = found.id + 1
    return low


def last_received(connection: Connection, source: str) -> datetime | None:
    """When something came from a source last, whatever became of it; None: never."""
    newest = select(_TABLE.received_at).where(_TABLE.source == source).order_by(_TABLE.id.desc()).limit(1)
    return connection.scalar(newest)


def next_version(connection: Connection, number: int) -> int | None:
    """The next delivery that brought another content under the name of this one."""
    query = select(_TABLE.id).where(_TABLE.id > number, _TABLE.previous_version == number)
    return connection.scalar(query.order_by(_TABLE.id).limit(1))


def _conditions(connection: Connection, wanted: Wanted, at: datetime) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    since = wanted.since
    if wanted.attention:
        since = max(since, at - ATTENTION) if since else at - ATTENTION
    first = first_since(connection, since) if since is not None else 1
    if since is not None:
        found.append(_TABLE.id >= first)
    if wanted.attention:
        found.append(_unsettled(first))
    if wanted.source is not None:
        found.append(_TABLE.source == wanted.source)
    if wanted.states:
        found.append(_TABLE.state.in_(wanted.states))
        if not any(state.final for state in wanted.states):
            found.append(_TABLE.published_at.is_(None))  # the small index of the unpublished has them all
    if wanted.text:
        found.append(_about(wanted.text))
    return found


def _unsettled(first: int) -> ColumnElement[bool]:
    later = deliveries.alias("later").c
    loaded = (State.COMPLETED, State.COMPLETED_WITH_REJECTS)
    mended = select(later.previous_version).where(
        later.id >= first, later.previous_version.is_not(None), later.state.in_(loaded)
    )
    return and_(_TABLE.state.in_(UNSETTLED), _TABLE.id.not_in(mended))


def _about(text: str) -> ColumnElement[bool]:
    told = text.strip()
    named = [_TABLE.name.icontains(told, autoescape=True), _TABLE.source.icontains(told, autoescape=True)]
    if told.isdecimal() and len(told) < 18:
        named.append(_TABLE.id == int(told))
    if len(told) >= SHORTEST_HASH and all(letter in "0123456789abcdef" for letter in told.lower()):
        named.append(_TABLE.sha256.startswith(told.lower(), autoescape=True))
    return or_(*named)
