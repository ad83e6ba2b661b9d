"""The columns that a list of leads can show: every field that filters know, and what stands beside it for people."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from ingestd import schemas
from ingestd.errors import Invalid
from ingestd.leads import filter_fields, selection
from ingestd.leads.conditions import EXTRA
from ingestd.leads.do_not_call import OTHER, listed_among
from ingestd.leads.filter_fields import OPERATORS, Field, Kind
from ingestd.leads.lead import held, unpacked
from ingestd.leads.pool_facts import PoolFacts, of_pools
from ingestd.store import tables
from ingestd.store.tables import leads as table

MOST = 100
"""columns of one list"""

_BESIDE = (
    ("name", "Name", Kind.TEXT),
    ("pool_name", "Lead pool name", Kind.TEXT),
    ("file", "File", Kind.TEXT),
    ("delivery", "Delivery", Kind.NUMBERED),
    ("status_name", "Status name", Kind.TEXT),
    ("owner_name", "Lead owner name", Kind.TEXT),
    ("original_owner_name", "Original lead owner name", Kind.TEXT),
    ("processed_by_name", "User processed by name", Kind.TEXT),
    ("modified_by_name", "Last modified by name", Kind.TEXT),
)
"""What no filter asks for, because the field that it explains is asked for."""

DEFAULT = (
    "id", "campaign", "pool_name", "phone", "name", "city", "status", "owner", "attempts", "uploaded_at",
)  # fmt: skip
SETS: Mapping[str, tuple[str, ...]] = {
    "Default": DEFAULT,
    "Lead Pool Data": ("pool", "pool_name", "file", "row", "uploaded_at", "uploaded_by"),
    "Lead Owner": ("owner", "owner_name", "original_owner", "original_owner_name", "processed_by", "modified_by"),
}
"""Sets of columns by name (LEADS.md, "Lead Admin")."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a list of leads."""

    name: str
    title: str
    kind: Kind
    filterable: bool
    """False for what stands beside a field"""

    @property
    def operators(self) -> tuple[str, ...]:
        """How the field is asked for in a filter."""
        return OPERATORS[self.kind] if self.filterable else ()


NUMBER = Column(name="id", title="Lead", kind=Kind.NUMBERED, filterable=True)


def fields_of(connection: Connection, folder: Path) -> dict[str, Field]:
    """Every field by name that leads of the campaigns here have; `folder` has the schemas. Raises Misconfigured."""
    templates = connection.scalars(select(tables.campaigns.c.template).distinct()).all()
    found = [None, *sorted(template for template in templates if template)]
    return filter_fields.known(schemas.read(folder, template) for template in found)


def known(fields: Mapping[str, Field]) -> dict[str, Column]:
    """Every column by name; what is only asked for, such as whose reach a lead is in, is none."""
    shown = [each for each in fields.values() if each.kind is not Kind.AGENT]
    of_fields = [Column(name=each.name, title=each.title, kind=each.kind, filterable=True) for each in shown]
    beside = [Column(name=name, title=title, kind=kind, filterable=False) for name, title, kind in _BESIDE]
    return {each.name: each for each in (*of_fields, *beside)}


def chosen(names: Sequence[str] | None, every: Mapping[str, Column]) -> list[Column]:
    """Columns in the order named; none: the default ones. Raises Invalid for one that no lead has, or too many."""
    wanted = list(dict.fromkeys(names or DEFAULT))
    if len(wanted) > MOST:
        raise Invalid("column_unknown", f"{len(wanted)} columns are named; {MOST} are the most", field="columns")
    for name in wanted:
        if name not in every:
            raise Invalid("column_unknown", f"no lead has the column {name!r}", field="columns")
    return [every[name] for name in wanted]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a lead is found: its number alone is looked for in every campaign."""

    campaign_id: int
    id: int


@dataclass(frozen=True, kw_only=True)
class _Beside:
    """What the cells of a page need that is not in the rows of its leads."""

    at: Any
    pools: Mapping[int, PoolFacts]
    owners: Mapping[int, tuple[str, str]]
    """`team:<key>` or `user:<login>`, and the name for people"""
    statuses: Mapping[int, tuple[str, str]]
    """code and name"""
    withheld: Container[tuple[int, Any]]
    """campaign and alternative number"""


def cells(
    connection: Connection, places: Sequence[Place], wanted: Sequence[Column], at: Any, *, listed: bool = False
) -> list[tuple[Any, ...]]:
    """The values of the columns for each lead, in the order of `places`; `at` decides about locks.

    Alternative numbers that nobody may call are left out, unless they are wanted although they are `listed`. A lead
    that is gone by now has no row. Both come from the state of the store that the connection sees.
    """
    needed = ["campaign_id", "id", "version", *_needed(wanted)]  # the version: see selection.NOT_BY_POOL
    rows: dict[int, Any] = {}
    for campaign_id in dict.fromkeys(place.campaign_id for place in places):
        numbers = [place.id for place in places if place.campaign_id == campaign_id]
        mine = (table.c.campaign_id == campaign_id, selection.among(connection, table.c.id, numbers))
        query = select(*(table.c[name] for name in dict.fromkeys(needed))).where(*mine)
        rows |= {row.id: row for row in connection.execute(query)}
    found = [rows[place.id] for place in places if place.id in rows]
    beside = _beside(connection, found, at, listed=listed)
    getters = [_getter(column.name, beside) for column in wanted]
    return [tuple(get(row) for get in getters) for row in found]


_OWNERS = {
    "owner": "owner_id",
    "original_owner": "original_owner_id",
    "processed_by": "processed_by_id",
    "modified_by": "modified_by_id",
}
_OF_POOL: Mapping[str, Callable[[PoolFacts], Any]] = {
    "pool_name": lambda pool: pool.name,
    "file": lambda pool: pool.file,
    "delivery": lambda pool: pool.delivery,
    "uploaded_at": lambda pool: pool.uploaded_at,
    "uploaded_by": lambda pool: pool.uploaded_by,
    "campaign": lambda pool: pool.campaign,
    "project": lambda pool: pool.project,
}
_NAMES = ("full_name", "first_name", "last_name", "company")
_RENAMED = {"pool": "pool_id", "segment": "segment_id"}


def _needed(wanted: Iterable[Column]) -> list[str]:
    """The columns of the table that these are made from."""
    found: list[str] = []
    for name in (column.name for column in wanted):
        owner = _OWNERS.get(name.removesuffix("_name"))
        if owner:
            found += [owner, "owner_id"]  # without an original owner it is the owner
        elif name in _OF_POOL:
            found.append("pool_id")
        elif name in ("status", "status_name"):
            found.append("status_id")
        elif name == "name":
            found += _NAMES
        elif name == "deactivated":
            found.append("deactivated_at")
        elif name == "locked":
            found += ["locked_by_id", "locked_until"]
        else:
            found.append("extra" if name.startswith(EXTRA) else _RENAMED.get(name, name))
    return found


def _beside(connection: Connection, rows: Sequence[Any], at: Any, *, listed: bool) -> _Beside:
    fields = rows[0]._fields if rows else ()
    people = {getattr(row, name) for name in _OWNERS.values() if name in fields for row in rows} - {None}
    pools = {row.pool_id for row in rows} if "pool_id" in fields else set()
    others = () if listed or OTHER not in fields else (_other(row) for row in rows)
    return _Beside(
        at=at,
        pools=of_pools(connection, pools) if pools else {},
        owners=_owners(connection, people) if people else {},
        statuses=_statuses(connection) if "status_id" in fields else {},
        withheld=listed_among(connection, others),
    )


def _other(row: Any) -> tuple[int, Any]:
    return row.campaign_id, row.alternative_phone


def _name(row: Any) -> str | None:
    """Whom one calls, as it was said: files have one name, two parts of it, or only a company."""
    whole = row.full_name or " ".join(part for part in (row.first_name, row.last_name) if part)
    return whole or row.company


def _statuses(connection: Connection) -> dict[int, tuple[str, str]]:
    status = tables.statuses.c
    return {row[0]: (row[1], row[2]) for row in connection.execute(select(status.id, status.code, status.name))}


def _owners(connection: Connection, numbers: Iterable[int]) -> dict[int, tuple[str, str]]:
    team, user, given = tables.teams.c, tables.users.c, list(numbers)
    of_teams = select(team.id, team.key, team.name).where(selection.among(connection, team.id, given))
    of_users = select(user.id, user.login, user.name).where(selection.among(connection, user.id, given))
    found = {row[0]: (f"team:{row[1]}", row[2]) for row in connection.execute(of_teams)}
    return found | {row[0]: (f"user:{row[1]}", row[2]) for row in connection.execute(of_users)}


def _getter(name: str, beside: _Beside) -> Callable[[Any], Any]:
    if name.removesuffix("_name") in _OWNERS:
        return _owner_getter(name, beside.owners)
    if name in _OF_POOL:
        cells_of = {number: _OF_POOL[name](pool) for number, pool in beside.pools.items()}
        return lambda row: cells_of.get(row.pool_id)
    if name in ("status", "status_name"):
        place = int(name == "status_name")
        return lambda row: beside.statuses[row.status_id][place]
    of_lead: dict[str, Callable[[Any], Any]] = {
        "name": _name,
        OTHER: lambda row: None if _other(row) in beside.withheld else row.alternative_phone,
        "deactivated": lambda row: row.deactivated_at is not None,
        "locked": lambda row: held(row, beside.at),
    }
    if name in of_lead:
        return of_lead[name]
    if name.startswith(EXTRA):
        key = name.removeprefix(EXTRA)
        return lambda row: unpacked(row.extra).get(key) if row.extra else None
    column = _RENAMED.get(name, name)
    return lambda row: getattr(row, column)


def _owner_getter(name: str, owners: Mapping[int, tuple[str, str]]) -> Callable[[Any], Any]:
    column, place = _OWNERS[name.removesuffix("_name")], int(name.endswith("_name"))
    nobody = (None, None)
    if column == "original_owner_id":
        return lambda row: owners.get(row.original_owner_id or row.owner_id, nobody)[place]
    return lambda row: owners.get(getattr(row, column), nobody)[place]
