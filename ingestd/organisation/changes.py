"""The one way in which a record of the organisation is made or changed: looked at, checked, written, audited."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection

from ingestd.errors import Conflict, Invalid, Missing, Stale
from ingestd.settings import Campaign, Project, Source, Team, User
from ingestd.store import consistency, facts, organisation
from ingestd.store.audit import Deed
from ingestd.store.facts import Facts, Kind, World

_MODELS: Mapping[Kind, tuple[type[BaseModel], str]] = {
    "team": (Team, "key"),
    "user": (User, "login"),
    "project": (Project, "code"),
    "campaign": (Campaign, "code"),
    "source": (Source, "name"),
}


@dataclass(frozen=True, kw_only=True)
class Record:
    """One record of the organisation as it is now."""

    kind: Kind
    key: str
    facts: Facts

    @property
    def tag(self) -> str:
        """Changes with every change of the record; what `If-Match` names."""
        text = json.dumps([self.kind, self.key, self.facts], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def every(connection: Connection, kind: Kind) -> list[Record]:
    """Every record of a kind, by key, also those that are not active."""
    return [Record(kind=kind, key=key, facts=each) for key, each in sorted(facts.world(connection)[kind].items())]


def get(connection: Connection, kind: Kind, key: str) -> Record:
    """One record; raises Missing."""
    return _get(facts.world(connection), kind, key)


def create(connection: Connection, deed: Deed, kind: Kind, key: str, values: Mapping[str, Any]) -> Record:
    """A new record; raises Invalid, and Conflict when it is there already or fits nowhere."""
    organisation.lock(connection)
    world = facts.world(connection)
    if key in world[kind]:
        raise Conflict("exists", f"there is a {kind} {key!r} already")
    return _put(connection, deed, world, Record(kind=kind, key=key, facts=_valid(kind, key, values)))


def edit(
    connection: Connection, deed: Deed, kind: Kind, key: str, changes: Mapping[str, Any], *, seen: str | None = None
) -> Record:
    """Changes some facts of a record; `seen` is the tag that the caller has read.

    Raises Missing, Stale when it is another since, Invalid, and Conflict when it would not fit what is there.
    """
    organisation.lock(connection)
    world = facts.world(connection)
    before = _get(world, kind, key)
    if seen is not None and seen != before.tag:
        raise Stale("changed_since", f"the {kind} {key!r} was changed since you read it; read it again")
    after = _valid(kind, key, {**before.facts, **changes})
    if after == before.facts:
        return before
    if before.facts.get("active") and not after.get("active", True):
        _check_nothing_hangs(world, kind, key)
        after |= {"code": None} if "code" in after else {}
    return _put(connection, deed, world, Record(kind=kind, key=key, facts=after))


def _get(world: World, kind: Kind, key: str) -> Record:
    found = world[kind].get(key)
    if found is None:
        raise Missing(f"{kind}_unknown", f"there is no {kind} {key!r}")
    return Record(kind=kind, key=key, facts=found)


def _valid(kind: Kind, key: str, values: Mapping[str, Any]) -> Facts:
    """The facts as the configuration's own model has them; what the files may not say, nobody may."""
    model, name = _MODELS[kind]
    given = {field: value for field, value in values.items() if field != "active"}
    try:
        known = model.model_validate({name: key, **given})
    except ValidationError as problem:
        first = problem.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        shown = "" if isinstance(first["input"], Mapping) else f" (found {first['input']!r})"
        raise Invalid("value_unusable", first["msg"].removeprefix("Value error, ") + shown, field=field) from None
    found = known.model_dump(mode="json", exclude={name})
    if "code" in found:
        found["code"] = facts.stored_code(found["code"])
    return found if kind == "project" else found | {"active": values.get("active", True)}


def _put(connection: Connection, deed: Deed, world: World, record: Record) -> Record:
    before = world[record.kind].get(record.key)
    after = {**world, record.kind: {**world[record.kind], record.key: record.facts}}
    _check_references(world, record)
    _check_code(world, record)
    _check_together(world, after)
    facts.write(connection, deed, record.kind, record.key, record.facts)
    organisation.audit_change(connection, deed, record.kind, record.key, before, record.facts)
    organisation.note_versions(connection, deed.at)
    return record


def _check_references(world: World, record: Record) -> None:
    named: tuple[tuple[Kind, str], ...] = (("team", "parent"), ("team", "team"), ("project", "project"))
    for kind, field in named:
        key = record.facts.get(field)
        if key is not None and key not in world[kind]:
            raise Invalid(f"{kind}_unknown", f"there is no {kind} {key!r}", field=field)
    for name in record.facts.get("access", ()):
        if not consistency.is_owner(world, name):
            raise Invalid("owner_unknown", f"there is no {name}", field="access")
    if record.kind == "team" and record.key in consistency.above(
        {**world["team"], record.key: record.facts}, record.key
    ):
        raise Conflict("team_circle", f"the team {record.key} would be above itself", field="parent")


def _check_code(world: World, record: Record) -> None:
    """A Lead Ownership Code is unique over teams and users together."""
    code = record.facts.get("code")
    if not code:
        return
    kinds: tuple[Kind, ...] = ("team", "user")
    for kind in kinds:
        for key, other in world[kind].items():
            mine = (kind, key) == (record.kind, record.key)
            if not mine and other["code"] and consistency.same_code(other["code"], code):
                told = f"the Lead Ownership Code {code} is that of the {kind} {key}"
                raise Conflict("code_taken", told, field="code", owner=f"{kind}:{key}")


def _check_together(before: World, after: World) -> None:
    """What did not fit before is not this change's fault."""
    known = set(consistency.problems(before))
    for problem in consistency.problems(after):
        if problem not in known:
            raise Conflict("organisation_inconsistent", f"it would not fit together any more: {problem}")


def _check_nothing_hangs(world: World, kind: Kind, key: str) -> None:
    """Raises Conflict that names whatever would be left hanging."""
    hanging = {what: sorted(names) for what, names in _hanging(world, kind, key).items() if names}
    if hanging:
        told = "; ".join(f"{what} {', '.join(names[:10])}" for what, names in hanging.items())
        raise Conflict("in_use", f"the {kind} {key} has still: {told}. Move or deactivate them first", hanging=hanging)


def _hanging(world: World, kind: Kind, key: str) -> dict[str, list[str]]:
    active = {each: {k: f for k, f in world[each].items() if f.get("active")} for each in world}
    owner = f"{kind}:{key}"
    sources = active["source"].items()
    return {
        "teams": [each for each, team in active["team"].items() if kind == "team" and team["parent"] == key],
        "users": [each for each, user in active["user"].items() if kind == "team" and user["team"] == key],
        "sources": [
            name
            for name, source in sources
            if source["default_owner"] == owner
            or (kind == "campaign" and key in (source["campaign"], *source["campaigns"]))
        ],
    }
