"""In which order leads are listed, and where in it one of them stands.

Every lead has a key in every order: `(0, value, number)`; one that has no value stands behind all others, in both
directions: `(1, None, number)`. An order by something of the pools has the pool in it as well: `(0, value, pool,
number)`. So no two leads have the same key, and a page goes on behind a key wherever leads came or went meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Integer, Text, cast, func, literal, select

from ingestd.errors import Invalid
from ingestd.leads import conditions
from ingestd.leads.columns import Column
from ingestd.leads.conditions import Terms
from ingestd.leads.filter_fields import Field, Kind
from ingestd.leads.letters import ascii_lower
from ingestd.leads.pool_facts import UPLOADER, PoolFacts
from ingestd.store import tables
from ingestd.store.tables import leads as table

Key = tuple[Any, ...]

DEFAULT = "-uploaded_at"
"""The newest upload first (LEADS.md, "Lead Admin")."""

OF_POOLS: Mapping[str, Callable[[PoolFacts], Any]] = {
    "uploaded_at": lambda pool: pool.uploaded_at,
    "uploaded_by": lambda pool: ascii_lower(pool.uploaded_by),
    "pool": lambda pool: pool.id,
    "pool_name": lambda pool: ascii_lower(pool.name),
    "file": lambda pool: ascii_lower(pool.file or ""),
    "delivery": lambda pool: pool.delivery or 0,
    "campaign": lambda pool: ascii_lower(pool.campaign),
    "project": lambda pool: ascii_lower(pool.project),
}
"""Columns that all leads of a pool have in common: such an order goes from pool to pool."""

STAMPS = frozenset({"modified_at", "called_at", "scheduled_at"})
"""Moments with an index of those leads that have one (`store.tables`); the others follow by number."""

NEVER = frozenset({"locked"})
"""What changes with time alone has no order that pages could go on in."""


@dataclass(frozen=True, kw_only=True)
class Sort:
    """By which column, and in which direction."""

    column: Column
    descending: bool = False

    @property
    def written(self) -> str:
        """As `parsed` takes it: `city`, or `-city` for descending."""
        return f"{'-' if self.descending else ''}{self.column.name}"

    @property
    def types(self) -> tuple[type, ...]:
        """Of what a key is made behind its first part."""
        name = self.column.name
        if name == "id":
            return (int,)
        value = {Kind.NUMBER: int, Kind.NUMBERED: int, Kind.FLAG: int, Kind.DAY: date, Kind.MOMENT: datetime}
        kind = str if self.column.kind in (Kind.DAY, Kind.MOMENT) and name.startswith(conditions.EXTRA) else None
        first = kind or value.get(self.column.kind, str)
        return (first, int, int) if name in OF_POOLS else (first, int)


def sortable(name: str) -> Literal["always", "few", "never"]:
    """Whether leads can be sorted by a column: always, or when the filter leaves few of them."""
    if name in NEVER:
        return "never"
    return "always" if name in {"id", "phone", *STAMPS, *OF_POOLS} else "few"


def parsed(written: str | None, every: Mapping[str, Column]) -> Sort:
    """A sort as people write it; raises Invalid for a column that no lead has, or that has no order."""
    name = (written or DEFAULT).strip()
    descending, name = name.startswith("-"), name.removeprefix("-")
    if name not in every or name in NEVER:
        raise Invalid("sort_unknown", f"leads cannot be sorted by {name!r}", field="sort")
    return Sort(column=every[name], descending=descending)


class _Down:
    """A value whose order is turned around."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: _Down) -> bool:
        smaller: bool = other.value < self.value
        return smaller

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Down) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash(self.value)


@dataclass(frozen=True, kw_only=True)
class Order:
    """A sort, walked forwards or backwards."""

    sort: Sort
    back: bool = False

    @property
    def descending(self) -> bool:
        """How the database has to give the values."""
        return self.sort.descending != self.back

    def rank(self, key: Key) -> tuple[Any, ...]:
        """What Python sorts keys, and beginnings of keys, by."""
        first = -key[0] if self.back else key[0]
        rest = (0 if value is None else value for value in key[1:])
        return (first, *(_Down(value) if self.descending else value for value in rest))


def values(sort: Sort, names: Terms) -> tuple[ColumnElement[Any], ...]:
    """The order as expressions over the table of leads, without the number of the lead at the end."""
    name = sort.column.name
    if name == "id":
        return ()
    if name in OF_POOLS:
        return (_of_pool(name, names), table.c.pool_id)
    base = name.removesuffix("_name")
    if base in _OWNERS:
        return (_owner(_OWNERS[base], names, for_people=name != base),)
    if base == "status":
        column = tables.statuses.c.name if name != base else tables.statuses.c.code
        return (_found(column, names, tables.statuses.c.id == table.c.status_id),)
    if name in ("name", "deactivated"):
        return (_lower(_NAME, names) if name == "name" else cast(table.c.deactivated_at.is_not(None), Integer),)
    return (conditions.compared(Field(name=name, title="", kind=sort.column.kind), names),)


_OWNERS = {
    "owner": table.c.owner_id,
    "original_owner": func.coalesce(table.c.original_owner_id, table.c.owner_id),
    "processed_by": table.c.processed_by_id,
    "modified_by": table.c.modified_by_id,
}


_PARTS = func.coalesce(table.c.first_name, "") + " " + func.coalesce(table.c.last_name, "")
_NAME = func.coalesce(func.nullif(table.c.full_name, ""), func.nullif(func.trim(_PARTS), ""), table.c.company)
"""As `columns` tells it."""


def _owner(number: ColumnElement[Any], names: Terms, *, for_people: bool) -> ColumnElement[Any]:
    team, user = tables.teams.c, tables.users.c
    if for_people:
        return func.coalesce(_found(team.name, names, team.id == number), _found(user.name, names, user.id == number))
    of_team = _found(literal("team:", Text) + team.key, names, team.id == number)
    return func.coalesce(of_team, _found(literal("user:", Text) + user.login, names, user.id == number))


def _of_pool(name: str, names: Terms) -> ColumnElement[Any]:
    pool, mine = tables.pools.c, tables.pools.c.id == table.c.pool_id
    delivery, campaign, project = tables.deliveries.c, tables.campaigns.c, tables.projects.c
    plain = {"uploaded_at": pool.uploaded_at, "pool": pool.id, "delivery": func.coalesce(pool.delivery_id, 0)}
    if name in plain:
        return select(plain[name]).where(mine).scalar_subquery()
    if name == "pool_name":
        return _found(pool.name, names, mine)
    if name in ("file", "uploaded_by"):
        told = _lower(func.coalesce(delivery.name, literal("", Text)) if name == "file" else UPLOADER, names)
        both = tables.pools.outerjoin(tables.deliveries, delivery.id == pool.delivery_id)
        return select(told).select_from(both).where(mine).scalar_subquery()
    if name == "campaign":
        return _found(campaign.code, names, campaign.id == table.c.campaign_id)
    placed = tables.campaigns.join(tables.projects, project.id == campaign.project_id)
    mine = campaign.id == table.c.campaign_id
    return select(_lower(project.code, names)).select_from(placed).where(mine).scalar_subquery()


def _found(column: ColumnElement[Any], names: Terms, where: ColumnElement[bool]) -> ColumnElement[Any]:
    return select(_lower(column, names)).where(where).correlate(table).scalar_subquery()


def _lower(column: ColumnElement[Any], names: Terms) -> ColumnElement[Any]:
    return func.lower(column.collate("C") if names.dialect == "postgresql" else column, type_=Text)
