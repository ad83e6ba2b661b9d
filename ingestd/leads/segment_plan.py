"""What the segments of a campaign mean at this moment: a lead is in the first one that matches.

Over all active groups of the campaign's project, by their order, then by that of the segments in them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, false, func, literal, not_, null, select

from ingestd.errors import Invalid, Rejected
from ingestd.leads import agents, conditions, filters
from ingestd.leads.conditions import Terms
from ingestd.leads.filter_fields import IMPERSONAL, Field, Kind
from ingestd.leads.filters import Comparison, Filter
from ingestd.store import organisation, tables
from ingestd.store.segment_tables import segment_groups, segments
from ingestd.store.tables import Id
from ingestd.store.tables import leads as table

TURN = "segments"
"""Held alone by whoever changes segments, and beside each other by those who put leads into them: so none of these
writes what an older filter says after a newer one has begun to be worked in."""
NEVER = datetime(2000, 1, 1, tzinfo=UTC)
"""A segment's filter is the same at any moment."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One segment of a plan."""

    id: int
    where: ColumnElement[bool]
    reach: tuple[int, ...] | None
    """the owners that places in the team tree stand for; None when the filter asks for none"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The active segments of one campaign, the first one first."""

    parts: tuple[Part, ...]
    meaning: str
    """a digest that changes when any lead could come into another segment"""

    @property
    def settled(self) -> bool:
        """True when no change of the team tree changes it."""
        return all(part.reach is None for part in self.parts)

    def winner(self) -> ColumnElement[Any]:
        """The number of the segment that a lead belongs to; NULL for none."""
        if not self.parts:
            return null()
        return case(*((part.where, literal(part.id, Id)) for part in self.parts), else_=null())

    def inside(self, number: int) -> ColumnElement[bool]:
        """Leads that are kept as those of a segment and belong to it now; raises Rejected when it is not active."""
        before: list[ColumnElement[bool]] = []
        for part in self.parts:
            if part.id == number:
                # What was changed and not yet looked at again is judged by what it is now.
                return and_(table.c.segment_id == number, part.where, *before)
            before.append(not_(func.coalesce(part.where, false())))
        raise Rejected(
            "segment_unknown", f"the campaign has no active segment {number}", suggestion="choose another segment"
        )


EVERY = (
    select(segments.c.id, segments.c.filter, segments.c.fields, segment_groups.c.project_id)
    .join(segment_groups, segment_groups.c.id == segments.c.group_id)
    .where(segments.c.active)
)
"""The segments that count when their group does."""
ACTIVE = EVERY.where(segment_groups.c.active)
IN_ORDER = (segment_groups.c.position, segment_groups.c.id, segments.c.position, segments.c.id)


def of_campaign(connection: Connection, campaign_id: int, names: Terms | None = None) -> Plan:
    """What the segments of a campaign mean now; `names` spares reading them when several plans are made."""
    project = select(tables.campaigns.c.project_id).where(tables.campaigns.c.id == campaign_id).scalar_subquery()
    return made(connection, ACTIVE.where(segment_groups.c.project_id == project), names)


def made(connection: Connection, active: Select[Any], names: Terms | None = None) -> Plan:
    """The plan of these rows, in their order."""
    rows = connection.execute(active.order_by(*IN_ORDER)).all()
    if not rows:
        return Plan(parts=(), meaning="")
    known = names or conditions.terms(connection, NEVER)
    parts = tuple(_part(connection, row, known) for row in rows)
    told = [[part.id, _text(connection, part.where), part.reach] for part in parts]
    return Plan(parts=parts, meaning=hashlib.sha256(json.dumps(told).encode()).hexdigest())


def tree_of(text: str, fields: str) -> Filter:
    """A segment's filter as it is kept."""
    kinds: Mapping[str, Any] = json.loads(fields)
    known = {name: _field(name, *facts) for name, facts in kinds.items()}
    return filters.parsed(json.loads(text), known)


def _field(name: str, title: str, kind: str, personal: bool | None = None) -> Field:
    """A field as it is kept; of those that were kept without saying so, who knows which are personal?"""
    return Field(
        name=name, title=title, kind=Kind(kind), personal=name not in IMPERSONAL if personal is None else personal
    )


def fields_text(tree: Filter) -> str:
    """The fields of a filter, to be kept beside it."""
    asked = [one.field for one in filters.comparisons(tree)]
    return json.dumps({each.name: [each.title, each.kind, each.personal] for each in asked}, ensure_ascii=False)


def problem(tree: Filter, names: Terms) -> str:
    """Why a filter that was kept matches no lead any more; empty when nothing is wrong with it."""
    try:
        conditions.condition(tree, names)
    except Invalid as wrong:
        return wrong.message
    return ""


def stamp(connection: Connection) -> str:
    """Changes with organisation and statuses, on which a plan may depend."""
    return ".".join(str(organisation.version(connection, kind)) for kind in ("organisation", "statuses"))


def _part(connection: Connection, row: Any, names: Terms) -> Part:
    tree = tree_of(row.filter, row.fields)
    try:
        where = conditions.condition(tree, names)
        return Part(id=row.id, where=where, reach=_reach(connection, filters.comparisons(tree), names))
    except Invalid:  # it names what is no more: then no lead has it, and the other segments go on
        return Part(id=row.id, where=false(), reach=None)


def _reach(connection: Connection, asked: Iterable[Comparison], names: Terms) -> tuple[int, ...] | None:
    found: set[int] | None = None
    for one in asked:
        values = one.value if isinstance(one.value, tuple) else (one.value,)
        if one.field.kind == Kind.AGENT:
            numbers = [names.owners[str(value)] for value in values]
            found = (found or set()) | set(connection.scalars(agents.reach_of(numbers)))
        elif one.op == "below":
            below = agents.below(connection, names.owners[str(values[0])])
            users = select(tables.users.c.id).where(tables.users.c.team_id.in_(below))
            found = (found or set()) | below | set(connection.scalars(users))
    return None if found is None else tuple(sorted(found))


def _text(connection: Connection, where: ColumnElement[bool]) -> str:
    compiled = where.compile(dialect=connection.dialect)
    return f"{compiled} {sorted((name, repr(value)) for name, value in compiled.params.items())}"
