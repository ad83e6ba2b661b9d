"""What a filter means to the store: a condition on the table of leads, the same on SQLite and PostgreSQL.

Texts are compared without regard to upper and lower case. SQLite's `lower` knows ASCII only, and PostgreSQL's depends
on how its database was made; so both are made to lower ASCII, and other letters are looked for in both their forms.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Text,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.sql.selectable import SelectBase
from sqlalchemy.sql.visitors import iterate, replacement_traverse
from sqlalchemy.types import TypeEngine

from ingestd.errors import Invalid
from ingestd.leads import access, agents, instants, pool_facts, statuses
from ingestd.leads.filter_fields import Field, Kind
from ingestd.leads.filters import Comparison, Every, Filter, Not
from ingestd.leads.letters import ascii_lower, forms
from ingestd.leads.statuses import StatusBook
from ingestd.store import many, tables
from ingestd.store.tables import Id
from ingestd.store.tables import leads as table

ESCAPE = "\\"
EXTRA = "extra."
RANGES = frozenset({"from", "to", "between"})
Named = TypeVar("Named")
WITHIN = frozenset({"contains", "starts_with"})
WHOLE = "^(0|-?[1-9][0-9]{0,17})$"
"""Whole numbers as they stand in a lead's `extra`, short enough for PostgreSQL's BIGINT."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What names in a filter stand for, and how the database speaks."""

    dialect: str
    at: datetime
    book: StatusBook
    owners: Mapping[str, int]
    """every `team:<key>` and `user:<login>`, deactivated ones too"""
    campaigns: Mapping[str, frozenset[int]]
    projects: Mapping[str, frozenset[int]]
    """the campaigns of each project"""
    sources: frozenset[str]


def terms(connection: Connection, at: datetime) -> Terms:
    """What names stand for now; `at` decides about locks and the last days."""
    team, user, project, campaign = tables.teams.c, tables.users.c, tables.projects.c, tables.campaigns.c
    owners = {f"team:{key}": number for key, number in connection.execute(select(team.key, team.id))}
    owners |= {f"user:{login}": number for login, number in connection.execute(select(user.login, user.id))}
    projects: dict[str, set[int]] = {code: set() for code in connection.scalars(select(project.code))}
    placed = select(project.code, campaign.id).join(tables.campaigns, campaign.project_id == project.id)
    for code, number in connection.execute(placed):
        projects[code].add(number)
    return Terms(
        dialect=connection.dialect.name,
        at=at,
        book=statuses.read(connection),
        owners=owners,
        campaigns={
            code: frozenset([number]) for code, number in connection.execute(select(campaign.code, campaign.id))
        },
        projects={code: frozenset(numbers) for code, numbers in projects.items()},
        sources=frozenset(connection.scalars(select(tables.sources.c.name))),
    )


def condition(tree: Filter, names: Terms) -> ColumnElement[bool]:
    """The filter as a condition on the table of leads; raises Invalid for a name that nothing has."""
    if isinstance(tree, Comparison):
        return _comparison(tree, names)
    if isinstance(tree, Not):
        # An empty field makes a comparison neither true nor false, and its opposite would be neither as well.
        return not_(func.coalesce(condition(tree.part, names), false()))
    if isinstance(tree, Every):
        return and_(true(), *(condition(part, names) for part in tree.parts))
    return or_(false(), *(condition(part, names) for part in tree.parts))


def campaigns_of(tree: Filter, names: Terms) -> frozenset[int] | None:
    """The campaigns to which a filter confines itself; None: any. So only their partitions are opened."""
    if isinstance(tree, Comparison):
        if tree.field.name not in ("campaign", "project") or tree.op not in ("is", "in"):
            return None
        return frozenset().union(*(_named_campaigns(tree.field, value, names) for value in _several(tree)))
    if isinstance(tree, Every):
        found = [each for part in tree.parts if (each := campaigns_of(part, names)) is not None]
        return frozenset.intersection(*found) if found else None
    return None


def moved(condition: ColumnElement[bool], columns: Mapping[str, ColumnElement[Any]]) -> ColumnElement[bool]:
    """The condition on other columns than those of the table of leads, by their names."""

    def other(element: Any, **_: Any) -> Any:
        if isinstance(element, SelectBase):
            return element  # what is asked inside of it is no lead
        return columns[element.name] if getattr(element, "table", None) is table else None

    found: ColumnElement[bool] = replacement_traverse(condition, {}, other)
    return found


def columns_of(condition: ColumnElement[bool]) -> set[str]:
    """The columns of the table of leads of which a condition speaks."""
    return {column.name for column in iterate(condition) if isinstance(column, Column) and column.table is table}


def _comparison(one: Comparison, names: Terms) -> ColumnElement[bool]:
    of_pool = {Kind.UPLOADER: _uploader, Kind.MOMENT: _uploaded_at if one.field.name == "uploaded_at" else _moment}
    by_kind = {
        Kind.TEXT: _text,
        Kind.PHONE: _phone,
        Kind.NUMBER: _number,
        Kind.NUMBERED: _number,
        Kind.DAY: _day,
        Kind.FLAG: _flag,
        Kind.OWNER: _owner,
        Kind.AGENT: _reach,
        Kind.NAMED: _named,
    }
    return (by_kind | of_pool)[one.field.kind](one, names)


def compared(field: Field, names: Terms) -> ColumnElement[Any]:
    """What the values of a text, number, day or moment are compared by, and put in order: the same everywhere."""
    column = _column(field, names)
    if field.kind == Kind.TEXT:
        return _lowered(column, names)
    if field.kind == Kind.NUMBER and field.name.startswith(EXTRA):
        return _whole(column, names)
    return column


def _whole(text: ColumnElement[Any], names: Terms) -> ColumnElement[Any]:
    """A number of a lead's `extra`; NULL for a text that is none, kept from when the template had texts there.

    PostgreSQL ends a statement that casts such a text, and SQLite takes it for 0 or its first digits.
    """
    number = cast(text, BigInteger)
    if names.dialect == "postgresql":
        return case((text.regexp_match(WHOLE), number))
    return case((cast(number, Text) == text, number))


def _lowered(column: ColumnElement[Any], names: Terms) -> ColumnElement[Any]:
    return func.lower(column.collate("C") if names.dialect == "postgresql" else column)


def _text(one: Comparison, names: Terms) -> ColumnElement[bool]:
    column = _column(one.field, names)
    lowered = _lowered(column, names)
    if one.op in RANGES:
        return _ranged(one, lowered, ascii_lower)
    if one.op in WITHIN:
        return or_(*(_like(lowered, one.op, form) for form in forms(str(one.value))))
    values = [form for value in _several(one) for form in forms(value)]
    return _equal(one, column, lowered, _among(lowered, values, Text(), names))


def _phone(one: Comparison, names: Terms) -> ColumnElement[bool]:
    column = _column(one.field, names)
    if one.op in WITHIN:
        return _like(column, one.op, str(one.value))
    return _equal(one, column, column, _among(column, _several(one), Text(), names))


def _number(one: Comparison, names: Terms) -> ColumnElement[bool]:
    number = compared(one.field, names)
    if one.op in RANGES:
        return _ranged(one, number, _large)
    return _equal(one, _column(one.field, names), number, _among(number, _several(one), BigInteger(), names))


def _day(one: Comparison, names: Terms) -> ColumnElement[bool]:
    column = _column(one.field, names)
    as_kept = date.isoformat if one.field.name.startswith(EXTRA) else _as_it_is
    if one.op == "last_days":
        return column >= as_kept(names.at.date() - timedelta(days=_days(one)))
    if one.op in RANGES:
        return _ranged(one, column, as_kept)
    return _equal(one, column, column, column.in_([as_kept(value) for value in _several(one)]))


def _moment(one: Comparison, names: Terms) -> ColumnElement[bool]:
    return _at(one, _column(one.field, names), names)


def _uploaded_at(one: Comparison, names: Terms) -> ColumnElement[bool]:
    pool = tables.pools.c
    return table.c.pool_id.in_(select(pool.id).where(_at(one, pool.uploaded_at, names)))


def _at(one: Comparison, column: ColumnElement[Any], names: Terms) -> ColumnElement[bool]:
    """A day includes all of itself, by UTC: from its first moment, to the first one of the next."""
    as_kept = _iso if one.field.name.startswith(EXTRA) else _as_it_is
    if one.op == "last_days":
        return column >= as_kept(names.at - timedelta(days=_days(one)))
    if one.op not in RANGES:
        return _equal(one, column, column, false())
    first, last = _ends(one)
    found = [] if first is None else [column >= as_kept(instants.begin(first))]
    end = None if last is None else instants.end(last)
    if end is not None:
        found.append(column <= as_kept(end) if isinstance(last, datetime) else column < as_kept(end))
    return and_(*found) if found else column.is_not(None)


def _flag(one: Comparison, names: Terms) -> ColumnElement[bool]:
    free = access.unlocked(names.at) if one.field.name == "locked" else table.c.deactivated_at.is_(None)
    return not_(free) if one.value else free


def _owner(one: Comparison, names: Terms) -> ColumnElement[bool]:
    own = table.c.owner_id
    columns = {
        "owner": own,
        "original_owner": func.coalesce(table.c.original_owner_id, own),
        "processed_by": table.c.processed_by_id,
        "modified_by": table.c.modified_by_id,
    }
    column = columns[one.field.name]
    numbers = [_named_in(names.owners, str(value), one.field) for value in _several(one)]
    if one.op == "below":
        teams = agents.teams_below(numbers[0])
        users = select(tables.users.c.id).where(tables.users.c.team_id.in_(teams))
        return or_(column.in_(teams), column.in_(users), column == numbers[0])
    return _equal(one, column, column, _among(column, numbers, Id, names))


def _reach(one: Comparison, names: Terms) -> ColumnElement[bool]:
    """Owned by one of these users, by their team, or by a team above it (LEADS.md, "Who may call a lead")."""
    users = {name: number for name, number in names.owners.items() if name.startswith("user:")}
    numbers = [_named_in(users, str(value), one.field) for value in _several(one)]
    inside = table.c.owner_id.in_(agents.reach_of(numbers))
    return not_(inside) if one.op == "is_not" else inside


def _named(one: Comparison, names: Terms) -> ColumnElement[bool]:
    if one.field.name == "status":
        wanted = [number for value in _several(one) for number in _statuses(one.field, value, names)]
        return _equal(one, table.c.status_id, table.c.status_id, table.c.status_id.in_(wanted))
    campaigns = [number for value in _several(one) for number in sorted(_named_campaigns(one.field, value, names))]
    return _equal(one, table.c.campaign_id, table.c.campaign_id, table.c.campaign_id.in_(campaigns))


def _uploader(one: Comparison, names: Terms) -> ColumnElement[bool]:
    """Pools of what a user typed or uploaded, or of what a source sent."""
    pool, delivery = tables.pools.c, tables.deliveries.c
    made = select(pool.id).outerjoin(tables.deliveries, delivery.id == pool.delivery_id)
    found: list[ColumnElement[bool]] = []
    for value in _several(one):
        kind, _, name = str(value).partition(":")
        if kind == "source":
            found.append(delivery.source == _known(names.sources, name, one.field))
        else:
            _named_in(names.owners, str(value), one.field)
            found.append(pool_facts.UPLOADER.in_([str(value)]))
    inside = table.c.pool_id.in_(made.where(or_(*found)))
    return not_(inside) if one.op == "is_not" else inside


def _column(field: Field, names: Terms) -> ColumnElement[Any]:
    if not field.name.startswith(EXTRA):
        return table.c[_COLUMNS.get(field.name, field.name)]
    name = field.name.removeprefix(EXTRA)
    if names.dialect == "postgresql":
        return func.json_extract_path_text(cast(table.c.extra, JSON), name, type_=Text)
    return cast(func.json_extract(table.c.extra, f'$."{name}"'), Text)


_COLUMNS = {"pool": "pool_id", "segment": "segment_id"}
"""Columns of the table that are called otherwise than their fields."""


def _among(
    compared: ColumnElement[Any], values: Iterable[Any], kind: TypeEngine[Any], names: Terms
) -> ColumnElement[bool]:
    """It is one of the values, of a kind that has room for all of them. Many travel as one parameter."""
    wanted = list(dict.fromkeys(values))
    if len(wanted) > many.APART:
        return many.one_of(names.dialect, compared, wanted, kind)
    given = [literal(value, kind) for value in wanted]
    return compared == given[0] if len(given) == 1 else compared.in_(given)


def _equal(
    one: Comparison, column: ColumnElement[Any], compared: ColumnElement[Any], same: ColumnElement[bool]
) -> ColumnElement[bool]:
    """`compared` is one of the values, which `same` says, or none of them; `column` is what is empty or filled."""
    if one.op == "empty":
        return column.is_(None)
    if one.op == "filled":
        return column.is_not(None)
    # What is empty is not the value either.
    return or_(compared.is_(None), not_(same)) if one.op == "is_not" else same


def _ranged(
    one: Comparison, column: ColumnElement[Any], as_kept: Callable[[Any], Any] = lambda value: value
) -> ColumnElement[bool]:
    """Both ends belong to it."""
    first, last = _ends(one)
    found = [] if first is None else [column >= as_kept(first)]
    return and_(*found, *([] if last is None else [column <= as_kept(last)]))


def _ends(one: Comparison) -> tuple[Any, Any]:
    if one.op == "between":
        first, last = _several(one)
        return first, last
    return (one.value, None) if one.op == "from" else (None, one.value)


def _several(one: Comparison) -> tuple[Any, ...]:
    if one.value is None:
        return ()
    return one.value if isinstance(one.value, tuple) else (one.value,)


def _days(one: Comparison) -> int:
    assert isinstance(one.value, int), "the last days are a number"
    return one.value


def _as_it_is(value: Any) -> Any:
    return value


def _large(value: int) -> ColumnElement[int]:
    """A number that may be larger than those of the column, which PostgreSQL would refuse as one of them."""
    return literal(value, BigInteger)


def _iso(value: datetime) -> str:
    """As moments stand in a lead's `extra`."""
    return value.isoformat()


def _like(column: ColumnElement[Any], op: str, text: str) -> ColumnElement[bool]:
    meant = text.replace(ESCAPE, ESCAPE * 2).replace("%", f"{ESCAPE}%").replace("_", f"{ESCAPE}_")
    return column.like(f"{'%' if op == 'contains' else ''}{meant}%", escape=ESCAPE)


def _statuses(field: Field, value: str, names: Terms) -> tuple[int, ...]:
    if value in ("open", "closed"):
        return names.book.ids(kind=value)
    known = {code: status.id for code, status in names.book.by_code.items()}
    return (_named_in(known, value, field),)


def _named_campaigns(field: Field, value: str, names: Terms) -> frozenset[int]:
    return _named_in(names.campaigns if field.name == "campaign" else names.projects, value, field)


def _named_in(known: Mapping[str, Named], name: str, field: Field) -> Named:
    return known[_known(known, name, field)]


def _known(known: Iterable[str], name: str, field: Field) -> str:
    """The name itself when there is such a thing; raises Invalid, with the nearest one, when there is none."""
    found = list(known)
    if name in found:
        return name
    near = difflib.get_close_matches(name, found, n=1)
    hint = f"; is {near[0]!r} meant?" if near else ""
    raise Invalid("filter_unusable", f"{field.name} {name!r} is not known{hint}", field=f"filter.{field.name}")
