"""Mappings: what the columns of each source are saved as, in versions that can be gone back to.

The newest version is the `mapping` of the source's definition, which is what workers read; so a mapping that is saved
here and one that comes with `org import` are the same thing, and both become a version.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, select

from ingestd import schemas
from ingestd.errors import Invalid, Misconfigured, Missing, Stale
from ingestd.organisation import changes, sources
from ingestd.settings import Source
from ingestd.store import facts, mappings, organisation
from ingestd.store.audit import Deed
from ingestd.store.mappings import Version
from ingestd.store.tables import campaigns

LONGEST = 16_384
"""characters of a mapping as JSON"""

_MAPPING = TypeAdapter(dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Change:
    """What one column is mapped to by two versions: a field, empty when it is ignored, None when nothing is said."""

    header: str
    before: str | None
    after: str | None


def tag(version: Version) -> str:
    """Changes with every change of a mapping; what `If-Match` names."""
    return f"mapping-{version.version}"


def current(connection: Connection, name: str) -> Version:
    """The mapping that a source has now; raises Missing."""
    return versions(connection, name)[0]


def versions(connection: Connection, name: str) -> list[Version]:
    """Every mapping that a source had, the newest first; raises Missing."""
    changes.get(connection, "source", name)
    return mappings.every(connection, facts.number(connection, "source", name))


def save(
    connection: Connection,
    deed: Deed,
    name: str,
    mapping: Mapping[str, str],
    *,
    folder: Path,
    seen: str | None = None,
) -> Version:
    """The source's mapping from now on; `folder` holds the schemas. The same mapping again makes no new version.

    Raises Missing, Invalid for a field that is none, Stale when it is another one since `seen`.
    """
    organisation.lock(connection)
    if seen is not None and seen != tag(current(connection, name)):
        raise Stale("changed_since", f"the mapping of {name!r} was changed since you read it; read it again")
    sources.edit(connection, deed, name, {"mapping": dict(mapping)}, folder=folder)
    return current(connection, name)


def restore(
    connection: Connection, deed: Deed, name: str, version: int, *, folder: Path, seen: str | None = None
) -> Version:
    """Saves what a version was once more, as the newest; raises Missing, and as `save` does."""
    wanted = [each for each in versions(connection, name) if each.version == version]
    if not wanted:
        raise Missing("mapping_version_unknown", f"the mapping of {name!r} has no version {version}")
    return save(connection, deed, name, wanted[0].mapping, folder=folder, seen=seen)


def changes_between(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    """The columns that are mapped otherwise after than before, those of `after` first. Pure."""
    headers = dict.fromkeys((*after, *before))
    pairs = ((header, before.get(header), after.get(header)) for header in headers)
    return tuple(Change(header=header, before=old, after=new) for header, old, new in pairs if old != new)


def parsed(text: str, *, field: str) -> dict[str, str]:
    """A mapping from its JSON; raises Invalid."""
    try:
        return _MAPPING.validate_json(text)
    except ValidationError as problem:
        told = "write a JSON object of headers and fields, both as texts"
        raise Invalid("mapping_unusable", told, field=field) from problem


def checked(
    connection: Connection, mapping: Mapping[str, str], codes: Collection[str], *, folder: Path, field: str
) -> str:
    """A mapping for one delivery into one of these campaigns, as JSON; raises Invalid for a field that none has."""
    templates = connection.scalars(select(campaigns.c.template).where(campaigns.c.code.in_(codes)))
    asked = Source(name="mapping", title="", campaign="mapping", mapping=dict(mapping))
    try:
        schemas.check_mapping(folder, asked, set(templates))
    except Misconfigured as problem:
        raise Invalid("mapping_unusable", problem.message, field=field) from problem
    return json.dumps(dict(mapping), ensure_ascii=False)
