"""Walking along indexes for leads of a filter, in their order, a piece at a time and no longer than the time allows.

A lane is a stretch of an index in which leads lie in the order that is wanted: those of a campaign, or of a pool. Lanes
are merged by the keys of their leads. A piece of a lane is read whether or not the filter finds a lead in it, so the
walk knows how far it has come, and ends with an honest "until here" when the time is over.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, literal, select, tuple_

from ingestd.leads import conditions
from ingestd.leads.columns import Place
from ingestd.leads.ordering import Key, Order
from ingestd.store.tables import leads as table

SMALLEST_PIECE, LARGEST_PIECE = 64, 8_000
"""rows of an index that are read at once"""
PIECE_SECONDS = 0.01
"""How long a piece should take: rows that lie scattered on a disk take a hundred times as long as those in memory."""


@dataclass(frozen=True, kw_only=True)
class Lane:
    """Leads in the order that is wanted."""

    campaign_id: int
    head: Key
    """the beginning that the keys of all its leads have in common"""
    where: tuple[ColumnElement[bool], ...] = ()
    """what makes it, beside the campaign"""
    ordered: tuple[Any, ...]
    """the rest of the key; the number of the lead is the last"""
    indexed: bool = True
    """False: nothing lies in this order, and the lane is put in order as a whole"""


@dataclass(frozen=True, kw_only=True)
class Walked:
    """What a walk found."""

    keys: list[Key]
    places: list[Place]
    until: Key | None
    """behind this key, or its beginning, nobody has looked yet, because the time was over; None: there was enough"""


@dataclass(kw_only=True)
class _Step:
    """How far a lane is."""

    lane: Lane
    at: Key
    """everything up to this key is read; the head alone: nothing is"""
    found: deque[Key] = field(default_factory=deque)
    ended: bool = False
    size: int

    @property
    def next(self) -> Key:
        """The next lead of it, or the key behind which the next one must be."""
        return self.found[0] if self.found else self.at


@dataclass(frozen=True, kw_only=True)
class Walk:
    """A walk over the leads of a filter."""

    connection: Connection
    order: Order
    where: ColumnElement[bool] | None
    count: int
    """leads that are enough"""
    in_time: Callable[[], bool]

    def along(self, lanes: Sequence[Lane], after: Key | None) -> Walked:
        """The first leads of all lanes behind a key, or behind the beginning of keys."""
        rank = self.order.rank
        steps = [step for lane in lanes if (step := self._entered(lane, after)) is not None]
        heap = [(rank(step.next), number) for number, step in enumerate(steps)]
        heapq.heapify(heap)
        start = heap[0][0] if heap else ()
        keys: list[Key] = []
        places: list[Place] = []
        while heap and len(keys) < self.count:
            number = heap[0][1]
            step = steps[number]
            if step.found:
                keys.append(step.found.popleft())
                places.append(Place(campaign_id=step.lane.campaign_id, id=keys[-1][-1]))
            elif heap[0][0] > start and not self.in_time():
                return Walked(keys=keys, places=places, until=step.at)
            else:
                self._go_on(step)
            if step.ended and not step.found:
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, (rank(step.next), number))
        return Walked(keys=keys, places=places, until=None)

    def _entered(self, lane: Lane, after: Key | None) -> _Step | None:
        """A lane from its beginning, from the key in it, or not at all when the key is behind it."""
        size = min(4 * self.count, LARGEST_PIECE)
        if after is None:
            return _Step(lane=lane, at=lane.head, size=size)
        shared = min(len(lane.head), len(after))
        mine, theirs = self.order.rank(lane.head[:shared]), self.order.rank(after[:shared])
        if mine < theirs:
            return None
        within = mine == theirs and len(after) > len(lane.head)
        return _Step(lane=lane, at=after if within else lane.head, size=size)

    def _go_on(self, step: _Step) -> None:
        lane, begun = step.lane, time.monotonic()
        rest = step.at[len(lane.head) :]
        rows = self.connection.execute(self._piece(step, rest)).all()
        step.found.extend((*lane.head, *row) for row in rows)
        if len(rows) >= self.count:
            step.at = step.found[-1]
            return
        last = None
        if lane.indexed and self.where is not None:
            edge = self._stretch(lane, rest, lane.ordered).limit(1).offset(step.size - 1)
            last = self.connection.execute(edge).one_or_none()
        step.ended = last is None
        step.at = step.at if last is None else (*lane.head, *last)
        step.size = next_size(step.size, time.monotonic() - begun)

    def _piece(self, step: _Step, rest: Key) -> Select[Any]:
        lane = step.lane
        if self.where is None or not lane.indexed:
            plain = self._stretch(lane, rest, lane.ordered).limit(self.count)
            return plain if self.where is None else plain.where(self.where)
        # The limit inside keeps databases from finding the leads by another index and then sorting all of them.
        needed = {column.name for column in lane.ordered} | conditions.columns_of(self.where)
        columns = [table.c[name] for name in sorted(needed)]
        walked = self._stretch(lane, rest, columns).limit(step.size).subquery("walked")
        ordered = [walked.c[column.name] for column in lane.ordered]
        matching = conditions.moved(self.where, dict(walked.c.items()))
        return select(*ordered).where(matching).order_by(*self._directed(ordered)).limit(self.count)

    def _stretch(self, lane: Lane, rest: Key, columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
        found = select(*columns).where(table.c.campaign_id == lane.campaign_id, *lane.where)
        return found.where(*self._behind(lane, rest)).order_by(*self._directed(lane.ordered))

    def _behind(self, lane: Lane, rest: Key) -> list[ColumnElement[bool]]:
        """What comes behind a key; of the beginning of one, with all that begin so."""
        if not rest:
            return []
        columns = lane.ordered[: len(rest)]
        typed = [literal(value, column.type) for value, column in zip(rest, columns, strict=True)]
        ours, theirs = (columns[0], typed[0]) if len(rest) == 1 else (tuple_(*columns), tuple_(*typed))
        if len(rest) < len(lane.ordered):
            return [ours <= theirs if self.order.descending else ours >= theirs]
        return [ours < theirs if self.order.descending else ours > theirs]

    def _directed(self, columns: Sequence[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
        return [column.desc() if self.order.descending else column.asc() for column in columns]


def next_size(size: int, seconds: float) -> int:
    """Rows of the next piece, when one of `size` rows took so long: at most four times as many. Pure."""
    fitting = int(size * PIECE_SECONDS / max(seconds, 1e-6))
    return max(SMALLEST_PIECE, min(4 * size, fitting, LARGEST_PIECE))
