"""The organisation in the store: the configuration applied to it, and read back as plain rows.

The configuration owns what it names, field by field: a field is written when the file says something else than at the
last time it was applied. What was changed since by API or command line stays, and is told. What is gone from the file
is deactivated, never deleted, because leads, pools and logs still name it; what the file never named is not touched.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select, update

from ingestd.errors import Misconfigured
from ingestd.settings import Configuration, Organisation, Source, Statuses
from ingestd.store import audit, consistency, facts
from ingestd.store.access_tables import applied
from ingestd.store.audit import CONFIGURATION, Deed
from ingestd.store.engine import take_turn
from ingestd.store.facts import KINDS, Facts, Kind, World
from ingestd.store.lead_tables import dial_stages
from ingestd.store.tables import (
    configuration_versions,
    leads,
    owners,
    sources,
    statuses,
    teams,
    users,
)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What applying a configuration did, as counts of rows, and where it met changes of others."""

    added: int = 0
    changed: int = 0
    deactivated: int = 0
    kept: tuple[str, ...] = ()
    """fields that the API or the command line changed, and the file did not: `team berlin.name`"""
    overruled: tuple[str, ...] = ()
    """fields that both changed; the file's value holds, the audit has the other"""


@dataclass(kw_only=True)
class _Merge:
    """The organisation as it will be, while the configuration is being worked into it."""

    world: World
    changes: Changes = field(default_factory=Changes)
    writes: dict[tuple[Kind, str], Facts] = field(default_factory=dict)

    def add(self, **more: Any) -> None:
        """Counts."""
        self.changes = replace(
            self.changes, **{name: getattr(self.changes, name) + each for name, each in more.items()}
        )

    def put(self, kind: Kind, key: str, values: Facts) -> None:
        """From now on it is so."""
        self.world[kind][key] = self.writes[kind, key] = values


def apply(connection: Connection, configuration: Configuration, now: datetime) -> Changes:
    """Brings organisation, sources and statuses of the store to the configuration; one transaction of the caller's.

    Raises Misconfigured, and has written nothing, when it does not fit what was made by API or command line.
    """
    lock(connection)
    deed = Deed(actor=CONFIGURATION, at=now)
    before, wanted, last = facts.world(connection), _wanted(configuration), _last_applied(connection)
    merge = _Merge(world={kind: dict(records) for kind, records in before.items()})
    for kind in KINDS:
        for key, values in wanted[kind].items():
            _work_in(merge, kind, key, values, last[kind].get(key))
        for key in last[kind].keys() - wanted[kind].keys():
            _let_go(merge, kind, key)
    _check(merge.world)
    _write(connection, deed, before, merge.writes)
    _remember(connection, last, wanted)
    statuses_changed = apply_statuses(connection, configuration.statuses, now)
    note_versions(connection, now)
    return replace(
        merge.changes,
        added=merge.changes.added + statuses_changed.added,
        changed=merge.changes.changed + statuses_changed.changed,
    )


# Built once: building them for each small delivery cost more than running them.
_LATEST = select(func.max(configuration_versions.c.version)).where(configuration_versions.c.kind == bindparam("kind"))
_ACTIVE_SOURCE = select(sources.c.definition).where(sources.c.name == bindparam("name"), sources.c.active)


def lock(connection: Connection) -> None:
    """One change of the organisation at a time, so that what was looked at holds until it is written."""
    take_turn(connection, "organisation")


def version(connection: Connection, kind: str) -> int:
    """The number of the applied configuration; 0 when none was applied yet."""
    return connection.scalar(_LATEST, {"kind": kind}) or 0


def source(connection: Connection, name: str) -> Source | None:
    """A source as its worker needs it; None when it does not exist or is no longer active."""
    found = connection.scalar(_ACTIVE_SOURCE, {"name": name})
    return None if found is None else _source(found)


@lru_cache(maxsize=1024)
def _source(definition: str) -> Source:
    """The same text is not parsed again; a source is frozen."""
    return Source.kept(definition)


def all_sources(connection: Connection) -> list[Source]:
    """Every active source, by name."""
    found = connection.scalars(select(sources.c.definition).where(sources.c.active).order_by(sources.c.name))
    return [Source.kept(definition) for definition in found]


def tree(connection: Connection) -> list[dict[str, Any]]:
    """The teams, top first, each with its depth, code and users: what `ingestd org show` prints."""
    team_rows = [dict(row) for row in connection.execute(_with_code(teams).order_by(teams.c.name)).mappings()]
    user_rows = [dict(row) for row in connection.execute(_with_code(users).order_by(users.c.login)).mappings()]
    children: dict[int | None, list[dict[str, Any]]] = {}
    for team in team_rows:
        team["users"] = [user for user in user_rows if user["team_id"] == team["id"]]
        children.setdefault(team["parent_id"], []).append(team)
    return list(_walk(children, None, 0))


def note_versions(connection: Connection, now: datetime) -> None:
    """Counts a version up when the organisation or the sources are not what they were; doors and logs look at it."""
    world = facts.world(connection)
    people = {kind: world[kind] for kind in KINDS if kind != "source"}
    for kind, content in (("organisation", people), ("sources", world["source"])):
        _note_version(connection, kind, json.dumps(content, sort_keys=True), now)


def _wanted(configuration: Configuration) -> World:
    """The configuration as facts."""
    organisation: Organisation = configuration.organisation
    campaigns = {each.code: _facts(each.model_dump(mode="json"), "code") for each in organisation.campaign}
    return {
        "team": {each.key: _facts(each.model_dump(), "key") for each in organisation.team},
        "user": {each.login: _facts(each.model_dump(), "login") for each in organisation.user},
        "project": {each.code: {"name": each.name} for each in organisation.project},
        "campaign": campaigns,
        "source": {each.name: facts.source_facts(each, active=True) for each in configuration.sources.source},
    }


def _facts(values: Facts, key: str) -> Facts:
    """Whatever the file names is active. A code that is blank is none."""
    without = {name: value for name, value in values.items() if name != key}
    if "code" in without:
        without["code"] = facts.stored_code(without["code"])
    return without | {"active": True}


def _last_applied(connection: Connection) -> World:
    last: World = {kind: {} for kind in KINDS}
    for kind, key, text in connection.execute(select(applied)):
        last[kind][key] = json.loads(text)
    return last


def _work_in(merge: _Merge, kind: Kind, key: str, wanted: Facts, last: Facts | None) -> None:
    """One record of the file."""
    here = merge.world[kind].get(key)
    if here is None:
        merge.add(added=1)
        merge.put(kind, key, wanted)
        return
    kept, overruled = _met(wanted, last or {}, here)
    merge.add(
        kept=tuple(f"{kind} {key}.{name}" for name in kept),
        overruled=tuple(f"{kind} {key}.{name}" for name in overruled),
    )
    after = {**here, **{name: value for name, value in wanted.items() if name not in kept}}
    if after != here:
        merge.add(changed=1)
        merge.put(kind, key, after)


def _met(wanted: Facts, last: Facts, here: Facts) -> tuple[list[str], list[str]]:
    """The fields that others changed since the file was last applied: those they keep, and those it takes back."""
    differing = [name for name in wanted if name in last and here[name] != wanted[name]]
    kept = [name for name in differing if wanted[name] == last[name]]
    return kept, [name for name in differing if name not in kept and here[name] != last[name]]


def _let_go(merge: _Merge, kind: Kind, key: str) -> None:
    """What the file named once and names no more; a project without campaigns is in nobody's way."""
    here = merge.world[kind][key]
    if not here.get("active"):
        return
    merge.add(deactivated=1)
    merge.put(kind, key, {**here, "active": False, **({"code": None} if "code" in here else {})})


def _check(world: World) -> None:
    found = consistency.problems(world)
    if found:
        more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
        told = f"does not fit what was changed by API or command line: {found[0]}{more}"
        raise Misconfigured("organisation.toml, sources.toml", "together", told)


def _write(connection: Connection, deed: Deed, before: World, writes: Mapping[tuple[Kind, str], Facts]) -> None:
    """Codes are freed first, so that two owners may swap theirs; parents come before their children."""
    for (kind, key), after in writes.items():
        code = before[kind].get(key, {}).get("code")
        if code is not None and code != after["code"]:
            facts.release_code(connection, kind, key)
    for kind, key in _parents_first(before, writes):
        after = writes[kind, key]
        facts.write(connection, deed, kind, key, after)
        audit_change(connection, deed, kind, key, before[kind].get(key), after)


def audit_change(connection: Connection, deed: Deed, kind: Kind, key: str, before: Facts | None, after: Facts) -> None:
    """The line of the audit for one record that was added or changed; hashes of passwords are not copied into it."""
    action = "added" if before is None else "changed"
    told = None if before is None else _shown(before)
    audit.note(connection, deed, f"{kind}_{action}", f"{kind}:{key}", before=told, after=_shown(after))


def _shown(values: Facts) -> Facts:
    """A login shows a short digest of its hash instead, so that a change of password is seen."""
    if "login" not in values:
        return values
    return {
        **values,
        "login": [{**each, "password_hash": _fingerprint(each["password_hash"])} for each in values["login"]],
    }


def _fingerprint(encoded: str | None) -> str | None:
    return None if encoded is None else f"sha256:{hashlib.sha256(encoded.encode()).hexdigest()[:12]}"


def _parents_first(before: World, writes: Mapping[tuple[Kind, str], Facts]) -> Iterator[tuple[Kind, str]]:
    there: set[str | None] = {None, *before["team"]}
    waiting = [key for kind, key in writes if kind == "team"]
    while waiting:
        ready = [key for key in waiting if writes["team", key]["parent"] in there]
        yield from (("team", key) for key in ready)
        there.update(ready)
        waiting = [key for key in waiting if key not in there]
    yield from ((kind, key) for kind, key in writes if kind != "team")


def _remember(connection: Connection, last: World, wanted: World) -> None:
    for kind in KINDS:
        for key, values in wanted[kind].items():
            if last[kind].get(key) == values:
                continue
            connection.execute(delete(applied).where(applied.c.kind == kind, applied.c.key == key))
            connection.execute(insert(applied).values(kind=kind, key=key, facts=json.dumps(values)))
        for key in last[kind].keys() - wanted[kind].keys():
            connection.execute(delete(applied).where(applied.c.kind == kind, applied.c.key == key))


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
    known = {row["code"]: dict(row) for row in connection.execute(select(statuses)).mappings()}
    added = changed = 0
    for status in wanted.status:
        here = known.get(status.code)
        values = {
            **status.model_dump(),
            "id": here["id"] if here else max((e["id"] for e in known.values()), default=0) + 1,
            "may_become": json.dumps(sorted(wanted.followers(status))),
        }
        if here is None:
            connection.execute(insert(statuses).values(values))
            added += 1
        elif any(here[name] != value for name, value in values.items()):
            connection.execute(update(statuses).where(statuses.c.code == status.code).values(values))
            changed += 1
        known[status.code] = values
    if changed:  # the order of dialling may be another one
        connection.execute(update(leads).where(leads.c.dial_key.is_not(None)).values(dial_key=None))
        connection.execute(delete(dial_stages))
    _note_version(connection, "statuses", wanted.model_dump_json(), now)
    return Changes(added=added, changed=changed)


def _note_version(connection: Connection, kind: str, content: str, now: datetime) -> None:
    digest = hashlib.sha256(content.encode()).hexdigest()
    latest = version(connection, kind)
    table = configuration_versions
    known = connection.scalar(select(table.c.sha256).where(table.c.kind == kind, table.c.version == latest))
    if known != digest:
        connection.execute(insert(table).values(kind=kind, version=latest + 1, sha256=digest, applied_at=now))
