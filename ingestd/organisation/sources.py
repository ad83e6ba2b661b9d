"""Sources: their definitions with every version of them, and their logins."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from ingestd import schemas
from ingestd.errors import Conflict, Invalid, Misconfigured, Missing
from ingestd.organisation import changes
from ingestd.organisation.changes import Record
from ingestd.settings import Source
from ingestd.store import facts, organisation
from ingestd.store.access_tables import source_versions
from ingestd.store.audit import Deed
from ingestd.store.tables import campaigns

PASSWORD_BYTES = 18
"""24 letters for a partner's program, which nobody has to remember"""


@dataclass(frozen=True, kw_only=True)
class Version:
    """What a source was from a moment on."""

    version: int
    saved_at: datetime
    saved_by: str
    definition: Source


def create(connection: Connection, deed: Deed, name: str, values: Mapping[str, Any], *, folder: Path) -> Record:
    """A new source; `folder` holds the schemas. Logins come afterwards, by `add_login`."""
    record = changes.create(connection, deed, "source", name, {**values, "login": []})
    _check_mapping(connection, record, folder)
    return record


def edit(
    connection: Connection, deed: Deed, name: str, values: Mapping[str, Any], *, folder: Path, seen: str | None = None
) -> Record:
    """Changes a source's definition, its logins excepted; raises as `changes.edit` does."""
    assert "login" not in values
    record = changes.edit(connection, deed, "source", name, values, seen=seen)
    _check_mapping(connection, record, folder)
    return record


def versions(connection: Connection, name: str) -> list[Version]:
    """What a source was, the newest first; raises Missing."""
    changes.get(connection, "source", name)
    table = source_versions.c
    columns = (table.version, table.definition, table.saved_at, table.saved_by)
    query = select(*columns).where(table.source_id == facts.number(connection, "source", name))
    rows = connection.execute(query.order_by(table.version.desc())).mappings()
    return [Version(**{**row, "definition": Source.kept(row["definition"])}) for row in rows]


def new_password() -> str:
    """A random password for a login; it is shown once."""
    return secrets.token_urlsafe(PASSWORD_BYTES)


def add_login(
    connection: Connection,
    deed: Deed,
    name: str,
    login: str,
    *,
    encoded: str | None,
    public_keys: tuple[str, ...],
    protocols: tuple[str, ...],
) -> Record:
    """A further login of a source, or another password and keys for one that it has; `encoded` is the argon2id hash."""
    before = changes.get(connection, "source", name)
    entry = {"login": login, "password_hash": encoded, "public_keys": list(public_keys), "protocols": list(protocols)}
    others = [each for each in before.facts["login"] if each["login"] != login]
    _check_free(connection, name, login)
    return changes.edit(connection, deed, "source", name, {"login": [*others, entry]})


def set_password(connection: Connection, deed: Deed, name: str, login: str, encoded: str) -> Record:
    """Another password for a login, whose doors and keys stay; `encoded` is the argon2id hash. Raises Missing."""
    organisation.lock(connection)
    kept = changes.get(connection, "source", name).facts["login"]
    if all(each["login"] != login for each in kept):
        raise _unknown(name, login)
    others = [{**each, "password_hash": encoded} if each["login"] == login else each for each in kept]
    return changes.edit(connection, deed, "source", name, {"login": others})


def remove_login(connection: Connection, deed: Deed, name: str, login: str) -> Record:
    """Shuts a login out; raises Missing."""
    before = changes.get(connection, "source", name)
    others = [each for each in before.facts["login"] if each["login"] != login]
    if len(others) == len(before.facts["login"]):
        raise _unknown(name, login)
    return changes.edit(connection, deed, "source", name, {"login": others})


def _unknown(name: str, login: str) -> Missing:
    return Missing("login_unknown", f"the source {name} has no login {login!r}")


def _check_free(connection: Connection, name: str, login: str) -> None:
    for record in changes.every(connection, "source"):
        if record.key != name and any(each["login"] == login for each in record.facts["login"]):
            raise Conflict("login_taken", f"the login {login!r} is one of another source", field="login")


def _check_mapping(connection: Connection, record: Record, folder: Path) -> None:
    """Each column is mapped to a field that one of the source's campaigns has."""
    codes = (record.facts["campaign"], *record.facts["campaigns"])
    templates = connection.scalars(select(campaigns.c.template).where(campaigns.c.code.in_(codes)))
    try:
        schemas.check_mapping(folder, facts.source_of(record.key, record.facts), set(templates))
    except Misconfigured as problem:
        raise Invalid("mapping_unusable", problem.message, field=problem.key.partition(".")[2]) from problem
