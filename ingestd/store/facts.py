"""The organisation as facts: for each kind and key a flat record in the words of the configuration files.

Import, API and command line change the organisation through these records: they compare, merge and are audited alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Literal

from sqlalchemy import Connection, RowMapping, Table, delete, func, insert, select, update

from ingestd.settings import Source, code_key
from ingestd.store import mappings
from ingestd.store.access_tables import source_versions
from ingestd.store.audit import Deed
from ingestd.store.lead_tables import campaign_access
from ingestd.store.tables import campaigns, owners, projects, sources, teams, users

Kind = Literal["team", "user", "project", "campaign", "source"]
KINDS: tuple[Kind, ...] = ("team", "user", "project", "campaign", "source")
"""In the order in which they may refer to each other."""

Facts = dict[str, Any]
World = dict[Kind, dict[str, Facts]]
"""Everything: kind → key → facts."""

_RULES = ("name", "template", "region", "timezone", "max_attempts", "on_duplicate", "on_do_not_call",
          "on_invalid_phone", "active")  # fmt: skip


def world(connection: Connection) -> World:
    """The organisation as it is in the store."""
    return {
        "team": _teams(connection),
        "user": _users(connection),
        "project": {row.code: {"name": row.name} for row in connection.execute(select(projects))},
        "campaign": _campaigns(connection),
        "source": _sources(connection),
    }


def write(connection: Connection, deed: Deed, kind: Kind, key: str, facts: Mapping[str, Any]) -> None:
    """Makes a record so, new or not. What it refers to is there already; its code is nobody else's."""
    if kind in ("team", "user"):
        _write_owner(connection, kind, key, facts)
    elif kind == "project":
        _upsert(connection, projects, "code", {"code": key, "name": facts["name"]})
    elif kind == "campaign":
        _write_campaign(connection, key, facts)
    else:
        _write_source(connection, deed, key, facts)


def number(connection: Connection, kind: Kind, key: str) -> int:
    """The number of a record; 0 when it is not there."""
    table, column = _TABLES[kind]
    return connection.scalar(select(table.c.id).where(table.c[column] == key)) or 0


def release_code(connection: Connection, kind: Kind, key: str) -> None:
    """Takes a Lead Ownership Code off, so that another owner may have it in the same transaction."""
    cleared = {"ownership_code": None, "ownership_code_key": None}
    connection.execute(update(owners).where(owners.c.id == number(connection, kind, key)).values(cleared))


def stored_code(code: str | None) -> str | None:
    """A Lead Ownership Code as it is kept: trimmed; one that is blank is none."""
    return (code or "").strip() or None


_TABLES: Mapping[Kind, tuple[Table, str]] = {
    "team": (teams, "key"),
    "user": (users, "login"),
    "project": (projects, "code"),
    "campaign": (campaigns, "code"),
    "source": (sources, "name"),
}


def _teams(connection: Connection) -> dict[str, Facts]:
    above = teams.alias("above")
    query = (
        select(teams.c.key, teams.c.name, above.c.key.label("parent"), owners.c.ownership_code, teams.c.active)
        .join(owners, owners.c.id == teams.c.id)
        .outerjoin(above, above.c.id == teams.c.parent_id)
    )
    return {row["key"]: _owner(row, parent=row["parent"]) for row in connection.execute(query).mappings()}


def _users(connection: Connection) -> dict[str, Facts]:
    query = (
        select(
            users.c.login,
            users.c.name,
            teams.c.key.label("team"),
            users.c.role,
            owners.c.ownership_code,
            users.c.active,
        )
        .join(owners, owners.c.id == users.c.id)
        .join(teams, teams.c.id == users.c.team_id)
    )
    return {
        row["login"]: _owner(row, team=row["team"], role=row["role"]) for row in connection.execute(query).mappings()
    }


def _owner(row: RowMapping, **place: Any) -> Facts:
    return {"name": row["name"], **place, "code": row["ownership_code"], "active": row["active"]}


def _campaigns(connection: Connection) -> dict[str, Facts]:
    query = select(campaigns, projects.c.code.label("project")).join(projects, projects.c.id == campaigns.c.project_id)
    found, access = {}, _access(connection)
    for row in connection.execute(query).mappings():
        expires = row["expires_on"].isoformat() if row["expires_on"] else None
        named = {"project": row["project"], "expires": expires, "access": access.get(row["id"], [])}
        found[row["code"]] = {name: row[name] for name in _RULES} | named
    return found


def _access(connection: Connection) -> dict[int, list[str]]:
    """Campaign → who may call in it, as `team:<key>` and `user:<login>`, sorted."""
    query = (
        select(campaign_access.c.campaign_id, owners.c.kind, func.coalesce(teams.c.key, users.c.login))
        .join(owners, owners.c.id == campaign_access.c.owner_id)
        .outerjoin(teams, teams.c.id == owners.c.id)
        .outerjoin(users, users.c.id == owners.c.id)
    )
    found: dict[int, list[str]] = {}
    for campaign_id, kind, key in connection.execute(query):
        found.setdefault(campaign_id, []).append(f"{kind}:{key}")
    return {campaign_id: sorted(names) for campaign_id, names in found.items()}


def _sources(connection: Connection) -> dict[str, Facts]:
    rows = connection.execute(select(sources.c.name, sources.c.definition, sources.c.active))
    return {row.name: source_facts(Source.kept(row.definition), active=row.active) for row in rows}


def source_facts(source: Source, *, active: bool) -> Facts:
    """A source's definition as facts."""
    return {**source.model_dump(mode="json", exclude={"name"}), "active": active}


def source_of(key: str, facts: Mapping[str, Any]) -> Source:
    """The definition that facts stand for; raises pydantic's ValidationError."""
    return Source.model_validate({"name": key, **{name: value for name, value in facts.items() if name != "active"}})


def _write_owner(connection: Connection, kind: Kind, key: str, facts: Mapping[str, Any]) -> None:
    table, column = _TABLES[kind]
    code = stored_code(facts["code"])
    named = {"ownership_code": code, "ownership_code_key": code_key(code) if code else None}
    here = number(connection, kind, key)
    if here:
        connection.execute(update(owners).where(owners.c.id == here).values(named))
    else:
        inserted = connection.execute(insert(owners).values(kind=kind, **named)).inserted_primary_key
        assert inserted is not None
        here = inserted[0]
    values = {"id": here, column: key, "name": facts["name"], "active": facts["active"]}
    if kind == "team":
        values["parent_id"] = number(connection, "team", facts["parent"]) if facts["parent"] else None
    else:
        values |= {"team_id": number(connection, "team", facts["team"]), "role": facts["role"]}
    _upsert(connection, table, column, values)


def _write_campaign(connection: Connection, key: str, facts: Mapping[str, Any]) -> None:
    values = {"code": key, **{name: facts[name] for name in _RULES}}
    values["project_id"] = number(connection, "project", facts["project"])
    values["expires_on"] = date.fromisoformat(facts["expires"]) if facts["expires"] else None
    _upsert(connection, campaigns, "code", values)
    _write_access(connection, number(connection, "campaign", key), facts["access"])


def _write_access(connection: Connection, campaign_id: int, names: Iterable[str]) -> None:
    connection.execute(delete(campaign_access).where(campaign_access.c.campaign_id == campaign_id))
    for name in names:
        kind, _, key = name.partition(":")
        owner_id = number(connection, "team" if kind == "team" else "user", key)
        connection.execute(insert(campaign_access).values(campaign_id=campaign_id, owner_id=owner_id))


def _write_source(connection: Connection, deed: Deed, key: str, facts: Mapping[str, Any]) -> None:
    """Each definition is kept, so that one can see and go back to what a mapping was."""
    definition = source_of(key, facts).model_dump_json()
    before = connection.scalar(select(sources.c.definition).where(sources.c.name == key))
    _upsert(connection, sources, "name", {"name": key, "definition": definition, "active": facts["active"]})
    if before is not None and json.loads(before) == json.loads(definition):
        return
    here = number(connection, "source", key)
    versions = select(source_versions.c.version).where(source_versions.c.source_id == here)
    latest = connection.scalar(versions.order_by(source_versions.c.version.desc()).limit(1)) or 0
    saved = {"definition": definition, "saved_at": deed.at, "saved_by": deed.actor.name}
    connection.execute(insert(source_versions).values(source_id=here, version=latest + 1, **saved))
    mappings.add(connection, deed, here, facts["mapping"])


def _upsert(connection: Connection, table: Table, column: str, values: Mapping[str, Any]) -> None:
    if connection.execute(update(table).where(table.c[column] == values[column]).values(values)).rowcount == 0:
        connection.execute(insert(table).values(values))
