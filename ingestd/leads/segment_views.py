"""Looking at segments before they are kept, and at what they take from each other: counted within a limit of time.

No index answers any filter at once, so leads are walked through, the newest first, and what was not reached in time is
told as such: then a count is the least that it is.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, null, or_, select, true

from ingestd.leads import access, conditions, segment_plan, segments
from ingestd.leads.agents import Agent
from ingestd.leads.filters import Comparison, Every, Filter
from ingestd.leads.lead import WITH_STATUS, Lead, of_row
from ingestd.leads.segment_plan import EVERY, NEVER
from ingestd.leads.segments import Group
from ingestd.store.segment_tables import segment_groups
from ingestd.store.tables import leads as table

SECONDS = 2.0
"""What counting may take."""
EXAMPLES = 10
BATCH = 20_000
"""Leads that are walked through between two looks at the clock."""
_INDEXED = ("pool", "phone", "id")


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a filter finds."""

    count: int
    exact: bool
    """False: there may be more"""
    examples: tuple[Lead, ...]
    """some of the newest"""


@dataclass(frozen=True, kw_only=True)
class Contest:
    """One segment, and the leads that others before it take from it."""

    id: int
    matches: int
    """leads that its filter matches"""
    taken: Mapping[int, int] = field(default_factory=dict)
    """segment before it → how many of these it takes"""
    exact: bool = True
    """False: there may be more of each"""

    @property
    def left(self) -> int:
        """The leads that it has."""
        return self.matches - sum(self.taken.values())


def preview(
    connection: Connection,
    project: str,
    tree: Filter,
    who: Agent,
    *,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Preview:
    """The leads of a project that a filter finds, of those that a user sees; `tree` is one of `segments.checked`."""
    seen = access.visible_to(who)
    where = and_(conditions.condition(tree, conditions.terms(connection, NEVER)), seen)
    walk = _Walk(connection=connection, columns=(where,), whole=_found_by_index(tree), until=clock() + seconds)
    count, examples = 0, list[Lead]()
    for campaign_id in reversed(segments.campaigns_in(connection, project)):
        for step in walk.through(campaign_id, clock):
            found = sum(row.m0 for row in step.rows)
            count += found
            if found and len(examples) < EXAMPLES:
                some = and_(table.c.campaign_id == campaign_id, step.where, where)
                newest = WITH_STATUS.where(some).order_by(table.c.id.desc()).limit(EXAMPLES - len(examples))
                examples += [of_row(dict(row)) for row in connection.execute(newest).mappings()]
    return Preview(count=count, exact=walk.exact, examples=tuple(examples))


def contested(
    connection: Connection,
    group: Group,
    seen: ColumnElement[bool],
    *,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> list[Contest]:
    """What each active segment of a group matches, and what others before it take of that, of leads that are `seen`.

    A count of all leads would answer any question about one that is out of sight.

    A group that is switched off is looked at as if it were on.
    """
    project_id = segments.project_number(connection, group.project)
    on = or_(segment_groups.c.active, segment_groups.c.id == group.id)
    plan = segment_plan.made(connection, EVERY.where(on, segment_groups.c.project_id == project_id))
    mine = {each.id for each in group.segments}
    asked = [part for part in plan.parts if part.id in mine]
    columns = tuple(and_(part.where, seen) for part in asked)
    walk = _Walk(connection=connection, columns=columns, winner=plan.winner(), until=clock() + seconds)
    found: dict[int, Counter[int]] = {part.id: Counter() for part in asked}
    for campaign_id in segments.campaigns_in(connection, group.project) if asked else ():
        for step in walk.through(campaign_id, clock):
            for row in step.rows:
                for place, part in enumerate(asked):
                    found[part.id][row.winner] += row[3 + place]
    return [
        Contest(
            id=number,
            matches=counts.total(),
            taken={winner: count for winner, count in counts.items() if count and winner != number},
            exact=walk.exact,
        )
        for number, counts in found.items()
    ]


@dataclass(frozen=True, kw_only=True)
class _Step:
    rows: Sequence[Any]
    """for each winner: how many leads, the lowest number, and how many match each of the columns"""
    where: ColumnElement[bool]
    """the leads that were walked through"""


@dataclass(kw_only=True)
class _Walk:
    """Counts the leads that match some conditions, campaign by campaign, until its time is over."""

    connection: Connection
    columns: tuple[ColumnElement[bool], ...]
    until: float
    """by the clock"""
    winner: ColumnElement[Any] = field(default_factory=null)
    whole: bool = False
    """True: an index finds them all at once"""
    exact: bool = True

    def through(self, campaign_id: int, clock: Callable[[], float]) -> Iterator[_Step]:
        """Steps of BATCH leads each, the newest first; none when the time is over."""
        before: int | None = None
        while self.exact:
            some = true() if before is None else table.c.id < before
            rows = self.connection.execute(self._step(campaign_id, some)).all()
            if not rows:
                return
            lowest, count = min(row.lowest for row in rows), sum(row.leads for row in rows)
            yield _Step(rows=rows, where=and_(some, table.c.id >= lowest))
            if self.whole or count < BATCH:
                return
            before, self.exact = lowest, clock() < self.until

    def _step(self, campaign_id: int, some: ColumnElement[bool]) -> Select[Any]:
        matching = [case((column, 1), else_=0).label(f"m{place}") for place, column in enumerate(self.columns)]
        these = select(table.c.id, self.winner.label("winner"), *matching).where(table.c.campaign_id == campaign_id)
        these = these.where(self.columns[0]) if self.whole else these.order_by(table.c.id.desc()).limit(BATCH)
        each = these.where(some).subquery().c
        sums = [func.sum(each[column.name]).label(column.name) for column in matching]
        counted = func.count().label("leads"), func.min(each.id).label("lowest")
        return select(each.winner, *counted, *sums).group_by(each.winner)


def _found_by_index(tree: Filter) -> bool:
    """True when every lead that the filter finds is one of a pool, a phone or a number that it names."""
    if isinstance(tree, Comparison):
        return tree.field.name in _INDEXED and tree.op in ("is", "in")
    return isinstance(tree, Every) and any(_found_by_index(part) for part in tree.parts)
