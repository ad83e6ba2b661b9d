"""The organisation in the store: applied from the configuration, read back as plain rows.

Applying is idempotent: what is there is updated in place, so that leads keep their owners; what is gone from the
configuration is deactivated, never deleted, because leads, pools and logs still name it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select, update

from ingestd.settings import Campaign, Configuration, Organisation, Source, Statuses, User, code_key
from ingestd.settings import Team as TeamSettings
from ingestd.store.tables import (
    campaign_access,
    campaigns,
    configuration_versions,
    dial_stages,
    leads,
    owners,
    projects,
    sources,
    statuses,
    teams,
    users,
)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What applying a configuration did, as counts of rows."""

    added: int = 0
    changed: int = 0
    deactivated: int = 0

    def __add__(self, other: Changes) -> Changes:
        return Changes(
            added=self.added + other.added,
            changed=self.changed + other.changed,
            deactivated=self.deactivated + other.deactivated,
        )


def apply(connection: Connection, configuration: Configuration, now: datetime) -> Changes:
    """Brings organisation, sources and statuses of the store to the configuration; one transaction of the caller's."""
    changes = apply_statuses(connection, configuration.statuses, now)
    changes += _apply_owners(connection, configuration.organisation)
    changes += _apply_campaigns(connection, configuration.organisation)
    changes += _apply_sources(connection, configuration.sources.source)
    _note_version(connection, "organisation", configuration.organisation.model_dump_json(), now)
    _note_version(connection, "sources", configuration.sources.model_dump_json(), now)
    return changes


def version(connection: Connection, kind: str) -> int:
    """The number of the applied configuration; 0 when none was applied yet."""
    latest = select(func.max(configuration_versions.c.version)).where(configuration_versions.c.kind == kind)
    return connection.scalar(latest) or 0


def source(connection: Connection, name: str) -> Source | None:
    """A source as its worker needs it; None when it does not exist or is no longer active."""
    found = connection.scalar(select(sources.c.definition).where(sources.c.name == name, sources.c.active))
    return None if found is None else _source(found)


@lru_cache(maxsize=1024)
def _source(definition: str) -> Source:
    """The same text is not parsed again; a source is frozen."""
    return Source.model_validate_json(definition)


def all_sources(connection: Connection) -> list[Source]:
    """Every active source, by name."""
    found = connection.scalars(select(sources.c.definition).where(sources.c.active).order_by(sources.c.name))
    return [Source.model_validate_json(definition) for definition in found]


def tree(connection: Connection) -> list[dict[str, Any]]:
    """The teams, top first, each with its depth, code and users: what `ingestd org show` prints."""
    team_rows = [dict(row) for row in connection.execute(_with_code(teams).order_by(teams.c.name)).mappings()]
    user_rows = [dict(row) for row in connection.execute(_with_code(users).order_by(users.c.login)).mappings()]
    children: dict[int | None, list[dict[str, Any]]] = {}
    for team in team_rows:
        team["users"] = [user for user in user_rows if user["team_id"] == team["id"]]
        children.setdefault(team["parent_id"], []).append(team)
    return list(_walk(children, None, 0))


def _walk(
    children: Mapping[int | None, list[dict[str, Any]]], parent: int | None, depth: int
) -> Iterable[dict[str, Any]]:
    for team in children.get(parent, ()):
        yield team | {"depth": depth}
        yield from _walk(children, team["id"], depth + 1)


def _with_code(table: Table) -> Any:
    return select(table, owners.c.ownership_code).join(owners, owners.c.id == table.c.id)


def apply_statuses(connection: Connection, wanted: Statuses, now: datetime) -> Changes:
    """Brings the statuses to the configuration. One keeps its number by its code, so the file's order may change."""
    known = dict(connection.execute(select(statuses.c.code, statuses.c.id)).all())
    changes = Changes()
    for status in wanted.status:
        values = {**status.model_dump(), "id": known.get(status.code, max(known.values(), default=0) + 1)}
        values["may_become"] = json.dumps(sorted(wanted.followers(status)))
        known[status.code] = values["id"]
        changes += _upsert(connection, statuses, "code", values)
    if changes.changed:  # the order of dialling may be another one
        connection.execute(update(leads).where(leads.c.dial_key.is_not(None)).values(dial_key=None))
        connection.execute(delete(dial_stages))
    _note_version(connection, "statuses", wanted.model_dump_json(), now)
    return changes


def _apply_owners(connection: Connection, organisation: Organisation) -> Changes:
    _release_codes(connection, organisation)
    changes = Changes()
    numbers: dict[str, int] = {}
    for team in _parents_first(organisation.team):
        values = {"key": team.key, "name": team.name, "parent_id": numbers.get(team.parent or ""), "active": True}
        changes += _upsert_owner(connection, teams, "key", values, team)
        numbers[team.key] = _number(connection, teams, "key", team.key)
    for user in organisation.user:
        values = {
            "login": user.login,
            "name": user.name,
            "team_id": numbers[user.team],
            "role": user.role,
            "active": True,
        }
        changes += _upsert_owner(connection, users, "login", values, user)
    changes += _deactivate(connection, teams, "key", {team.key for team in organisation.team})
    return changes + _deactivate(connection, users, "login", {user.login for user in organisation.user})


def _release_codes(connection: Connection, organisation: Organisation) -> None:
    """Frees every code that moves to another owner first, so that two owners may swap their codes in one import."""
    wanted = {("team", team.key): team.code for team in organisation.team}
    wanted |= {("user", user.login): user.code for user in organisation.user}
    for kind, table, key in (("team", teams, teams.c.key), ("user", users, users.c.login)):
        rows = connection.execute(
            select(owners.c.id, key, owners.c.ownership_code).join(table, table.c.id == owners.c.id)
        )
        moved = [row[0] for row in rows if row[2] is not None and wanted.get((kind, row[1])) != row[2]]
        cleared = {"ownership_code": None, "ownership_code_key": None}
        connection.execute(update(owners).where(owners.c.id.in_(moved)).values(cleared))


def _parents_first(wanted: Iterable[TeamSettings]) -> list[TeamSettings]:
    waiting = list(wanted)
    ordered: list[TeamSettings] = []
    placed: set[str | None] = {None}
    while waiting:
        ready = [team for team in waiting if team.parent in placed]
        ordered += ready
        placed |= {team.key for team in ready}
        waiting = [team for team in waiting if team.key not in placed]
    return ordered


def _upsert_owner(
    connection: Connection, table: Table, key: str, values: dict[str, Any], wanted: TeamSettings | User
) -> Changes:
    code = {"ownership_code": wanted.code, "ownership_code_key": code_key(wanted.code) if wanted.code else None}
    number = _number(connection, table, key, values[key])
    if number:
        connection.execute(update(owners).where(owners.c.id == number).values(code))
    else:
        kind = "team" if table is teams else "user"
        inserted = connection.execute(insert(owners).values(kind=kind, **code)).inserted_primary_key
        assert inserted is not None
        number = inserted[0]
    return _upsert(connection, table, key, {**values, "id": number})


def _apply_campaigns(connection: Connection, organisation: Organisation) -> Changes:
    changes = Changes()
    for project in organisation.project:
        changes += _upsert(connection, projects, "code", project.model_dump())
    for campaign in organisation.campaign:
        values = campaign.model_dump(exclude={"project", "expires", "access"})
        values |= {"project_id": _number(connection, projects, "code", campaign.project)}
        values |= {"expires_on": campaign.expires, "active": True}
        changes += _upsert(connection, campaigns, "code", values)
        changes += _apply_access(connection, campaign)
    return changes + _deactivate(connection, campaigns, "code", {campaign.code for campaign in organisation.campaign})


def _apply_access(connection: Connection, wanted: Campaign) -> Changes:
    number = _number(connection, campaigns, "code", wanted.code)
    mine = campaign_access.c.campaign_id == number
    there = set(connection.scalars(select(campaign_access.c.owner_id).where(mine)))
    named = {_owner_number(connection, name) for name in wanted.access}
    connection.execute(delete(campaign_access).where(mine, campaign_access.c.owner_id.in_(there - named)))
    for owner in sorted(named - there):
        connection.execute(insert(campaign_access).values(campaign_id=number, owner_id=owner))
    return Changes(added=len(named - there), deactivated=len(there - named))


def _owner_number(connection: Connection, name: str) -> int:
    """The number of `team:<key>` or `user:<login>`."""
    kind, _, key = name.partition(":")
    return _number(connection, teams, "key", key) if kind == "team" else _number(connection, users, "login", key)


def _apply_sources(connection: Connection, wanted: Iterable[Source]) -> Changes:
    changes, names = Changes(), set()
    for entry in wanted:
        names.add(entry.name)
        values = {"name": entry.name, "definition": entry.model_dump_json(), "active": True}
        changes += _upsert(connection, sources, "name", values)
    return changes + _deactivate(connection, sources, "name", names)


def _number(connection: Connection, table: Table, key: str, value: str) -> int:
    return connection.scalar(select(table.c.id).where(table.c[key] == value)) or 0


def _upsert(connection: Connection, table: Table, key: str, values: dict[str, Any]) -> Changes:
    here = connection.execute(select(table).where(table.c[key] == values[key])).mappings().one_or_none()
    if here is None:
        connection.execute(insert(table).values(values))
        return Changes(added=1)
    if all(here[name] == value for name, value in values.items()):
        return Changes()
    connection.execute(update(table).where(table.c[key] == values[key]).values(values))
    return Changes(changed=1)


def _deactivate(connection: Connection, table: Table, key: str, keep: set[str]) -> Changes:
    gone = update(table).where(table.c[key].not_in(keep), table.c.active).values(active=False)
    return Changes(deactivated=connection.execute(gone).rowcount)


def _note_version(connection: Connection, kind: str, content: str, now: datetime) -> None:
    digest = hashlib.sha256(content.encode()).hexdigest()
    latest = version(connection, kind)
    table = configuration_versions
    known = connection.scalar(select(table.c.sha256).where(table.c.kind == kind, table.c.version == latest))
    if known != digest:
        connection.execute(insert(table).values(kind=kind, version=latest + 1, sha256=digest, applied_at=now))
