"""Saved views: filter, columns and sort of a list under a name (LEADS.md, "Lead Admin"); of leads, or of lead pools.

A view is changed by its owner alone. Others see it when it is shared with everybody or with a team that they stand in
or below; they star it, and copy it to have one of their own. It shows each of them what they may see. What a view
may say depends on its kind (`leads/view_kinds.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Select, and_, delete, exists, insert, or_, select, update

from ingestd.access.permissions import Permission
from ingestd.errors import Conflict, Denied, Invalid, Missing, Stale
from ingestd.leads import filters
from ingestd.leads.agents import Agent
from ingestd.leads.filter_fields import IMPERSONAL
from ingestd.store import audit
from ingestd.store.audit import Deed
from ingestd.store.tables import teams, users
from ingestd.store.view_tables import saved_views as table
from ingestd.store.view_tables import view_stars

LONGEST_NAME = 100
EVERYBODY, NOBODY = "everybody", "nobody"
OF_TEAM = "team:"


class Kind(StrEnum):
    """What a view lists."""

    LEADS = "leads"
    POOLS = "pools"


NEEDS: Mapping[Kind, frozenset[Permission]] = {
    Kind.LEADS: frozenset({Permission.LEAD_ADMIN, Permission.DIAL}),
    Kind.POOLS: frozenset({Permission.LEAD_POOLS}),
}
"""One of these is needed for views of a kind, as for its list."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a view says."""

    name: str
    kind: Kind = Kind.LEADS
    filter: Mapping[str, Any]
    """as JSON, in its one form"""
    columns: tuple[str, ...]
    sort: str
    shared: str = NOBODY
    """`nobody`, `everybody`, or `team:<key>`"""


@dataclass(frozen=True, kw_only=True)
class View:
    """A saved view, as somebody sees it."""

    id: int
    owner: str
    """login of the user who saved it"""
    content: Content
    starred: bool
    """by whoever looks"""
    mine: bool
    changed_at: datetime
    version: int


def named(text: str) -> str:
    """The name of a view; raises Invalid for one that is empty or too long."""
    name = text.strip()
    if not 0 < len(name) <= LONGEST_NAME:
        raise Invalid("name_unusable", f"a view has a name of 1 to {LONGEST_NAME} characters", field="name")
    return name


def seen(connection: Connection, who: Agent, kind: Kind) -> list[View]:
    """Every view of a kind that a user sees: the starred ones first, then by name. Raises Denied."""
    _check_kind(who, kind)
    found = [_view(row, who) for row in connection.execute(_seen_by(who).where(table.c.kind == kind))]
    return sorted(found, key=lambda view: (not view.starred, view.content.name.casefold(), view.id))


def one(connection: Connection, who: Agent, number: int) -> View:
    """A view that the user sees; raises Missing, also for what is not shared with them."""
    row = connection.execute(_seen_by(who).where(table.c.id == number)).one_or_none()
    if row is None:
        raise Missing("view_unknown", f"there is no view {number}")
    return _view(row, who)


def save(connection: Connection, deed: Deed, who: Agent, content: Content) -> View:
    """A new view of the user, of a judged content; raises Denied, or Conflict when they have one of that name."""
    _check_kind(who, content.kind)
    _check_name(connection, who, content, None)
    values = {**_values(connection, content), "owner_id": who.id, "changed_at": deed.at, "version": 1}
    made = connection.execute(insert(table).values(values)).inserted_primary_key
    assert made is not None
    audit.note(connection, deed, "view_saved", f"view:{made[0]}", after=_told(content))
    return one(connection, who, made[0])


def edit(
    connection: Connection, deed: Deed, who: Agent, number: int, content: Content, seen_version: int | None
) -> View:
    """Puts another, judged content into a view of the user's own.

    Raises Missing, Denied for another's, Stale when it has changed since, Conflict for a name that they have already.
    """
    before = _own(connection, who, number)
    if seen_version is not None and seen_version != before.version:
        raise Stale("changed_since", f"view {number} has been changed since you read it")
    _check_name(connection, who, content, number)
    values = {**_values(connection, content), "changed_at": deed.at, "version": before.version + 1}
    this = (table.c.id == number, table.c.version == before.version)
    if connection.execute(update(table).where(*this).values(values)).rowcount == 0:
        raise Stale("changed_since", f"view {number} has been changed since you read it")
    audit.note(connection, deed, "view_edited", f"view:{number}", before=_told(before.content), after=_told(content))
    return one(connection, who, number)


def remove(connection: Connection, deed: Deed, who: Agent, number: int) -> None:
    """Takes away a view of the user's own, with everybody's stars; raises Missing, or Denied for another's."""
    before = _own(connection, who, number)
    connection.execute(delete(view_stars).where(view_stars.c.view_id == number))
    connection.execute(delete(table).where(table.c.id == number))
    audit.note(connection, deed, "view_removed", f"view:{number}", before=_told(before.content))


def copy(connection: Connection, deed: Deed, who: Agent, number: int, name: str | None = None) -> View:
    """A view of the user's own that says the same, shared with nobody; raises Missing, Invalid or Conflict."""
    before = one(connection, who, number)
    wanted = named(name or f"{before.content.name} (copy)")
    return save(connection, deed, who, replace(before.content, name=wanted, shared=NOBODY))


def star(connection: Connection, who: Agent, number: int, *, starred: bool) -> View:
    """Puts a view at the top of the user's own list, or takes it from there; raises Missing."""
    one(connection, who, number)
    mine = {"user_id": who.id, "view_id": number}
    connection.execute(delete(view_stars).where(view_stars.c.user_id == who.id, view_stars.c.view_id == number))
    if starred:
        connection.execute(insert(view_stars).values(mine))
    return one(connection, who, number)


def _own(connection: Connection, who: Agent, number: int) -> View:
    found = one(connection, who, number)
    if not found.mine:
        raise Denied("view_of_another", f"view {number} is {found.owner}'s; copy it to change it", owner=found.owner)
    return found


def _seen_by(who: Agent) -> Select[Any]:
    starred = exists().where(view_stars.c.view_id == table.c.id, view_stars.c.user_id == who.id)
    kinds = [kind for kind, needed in NEEDS.items() if who.permissions & needed]
    near = or_(table.c.owner_id == who.id, table.c.everybody, table.c.team_id.in_(who.teams))
    return (
        select(table, users.c.login, teams.c.key.label("team"), starred.label("starred"))
        .join(users, users.c.id == table.c.owner_id)
        .outerjoin(teams, teams.c.id == table.c.team_id)
        .where(near, table.c.kind.in_(kinds))
    )


def _view(row: Any, who: Agent) -> View:
    shared = EVERYBODY if row.everybody else NOBODY if row.team is None else f"{OF_TEAM}{row.team}"
    return View(
        id=row.id,
        owner=row.login,
        content=Content(
            name=row.name,
            kind=Kind(row.kind),
            filter=json.loads(row.filter),
            columns=tuple(json.loads(row.columns)),
            sort=row.sort,
            shared=shared,
        ),
        starred=bool(row.starred),
        mine=row.owner_id == who.id,
        changed_at=row.changed_at,
        version=row.version,
    )


def _check_kind(who: Agent, kind: Kind) -> None:
    if not who.permissions & NEEDS[kind]:
        wanted = " or ".join(sorted(NEEDS[kind]))
        raise Denied("permission_missing", f"views of {kind} need the permission {wanted}", permission=wanted)


def _check_name(connection: Connection, who: Agent, content: Content, number: int | None) -> None:
    there = and_(table.c.owner_id == who.id, table.c.kind == content.kind, table.c.name == content.name)
    found = connection.scalar(select(table.c.id).where(there))
    if found is not None and found != number:
        raise Conflict("exists", f"you have a view {content.name!r} already")


def _values(connection: Connection, content: Content) -> dict[str, Any]:
    return {
        "kind": content.kind,
        "name": content.name,
        "filter": json.dumps(content.filter, ensure_ascii=False),
        "columns": json.dumps(content.columns),
        "sort": content.sort,
        "everybody": content.shared == EVERYBODY,
        "team_id": _team(connection, content.shared),
    }


def _team(connection: Connection, shared: str) -> int | None:
    if shared in (EVERYBODY, NOBODY):
        return None
    found: int | None = connection.scalar(select(teams.c.id).where(teams.c.key == shared.removeprefix(OF_TEAM)))
    if not shared.startswith(OF_TEAM) or found is None:
        told = f"{shared!r} is neither everybody, nobody nor a team, written team:<key>"
        raise Invalid("owner_unknown", told, field="shared")
    return found


def _told(content: Content) -> dict[str, Any]:
    """For the audit, which outlives a person's data."""
    names = ("kind", "name", "filter", "columns", "sort", "shared")
    facts = {name: getattr(content, name) for name in names}
    if content.kind == Kind.LEADS:
        facts["filter"] = filters.outline(content.filter, IMPERSONAL)
    return facts
