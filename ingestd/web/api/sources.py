"""Sources: partner feeds with their definitions, versions and logins."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Response
from pydantic import BaseModel, Field, StrictBool

from ingestd.access.permissions import Permission
from ingestd.accounts import hash_password
from ingestd.errors import Invalid
from ingestd.organisation import changes, sources
from ingestd.organisation.changes import Record
from ingestd.settings import Source
from ingestd.settings.frozen import Name
from ingestd.settings.sources import PUBLIC_KEY, Protocol
from ingestd.store.engine import reading, writing
from ingestd.web.api import tags
from ingestd.web.api.access import needs
from ingestd.web.api.bodies import Given
from ingestd.web.api.desk import AtDesk, ByCaller
from ingestd.web.api.routes import Routes
from ingestd.web.api.tags import IfMatch
from ingestd.web.api.teams import Why

routes = Routes("sources")

MANAGING = needs(Permission.MANAGE_SOURCES)


class LoginOut(BaseModel):
    """A login of a source, without its password."""

    login: str
    protocols: list[Protocol]
    public_keys: list[str]
    has_password: bool


class SourceOut(BaseModel):
    """A source. `definition` is as in sources.toml, without name and logins."""

    name: str
    active: bool
    definition: dict[str, Any]
    logins: list[LoginOut]


class SourceNew(Given):
    """A source to be made; docs/configuration.md has the keys of the definition."""

    name: Name
    definition: dict[str, Any]


class SourceEdit(Given):
    """What is to be another: keys of the definition that are left out stay."""

    definition: dict[str, Any] = Field({}, description="its keys as in sources.toml")
    active: StrictBool | None = None


class SourceVersion(BaseModel):
    """What a source was from a moment on."""

    version: int
    saved_at: datetime
    saved_by: str
    definition: dict[str, Any]


class LoginNew(Given):
    """A login of a source, to be made or made anew."""

    protocols: list[Protocol] = Field(["ftp", "ftps", "sftp", "http"], min_length=1, description="the open doors")
    public_keys: list[Annotated[str, Field(pattern=PUBLIC_KEY)]] = Field([], description="OpenSSH, for SFTP")
    password: StrictBool = Field(True, description="make a random password; false: by public key only")


class LoginIssued(LoginOut):
    """A login with its new password: the only time that it is shown."""

    password: str | None


@routes.get("/sources", access=MANAGING)
def list_sources(desk: AtDesk) -> list[SourceOut]:
    """Every source, by name."""
    with reading(desk.engine) as connection:
        return [_out(record) for record in changes.every(connection, "source")]


@routes.get("/sources/{source}", access=MANAGING, problems=(404,))
def get_source(desk: AtDesk, response: Response, source: str) -> SourceOut:
    """One source."""
    with reading(desk.engine) as connection:
        return _marked(response, changes.get(connection, "source", source))


@routes.post("/sources", access=MANAGING, status_code=201, problems=(409,))
def add_source(desk: AtDesk, caller: ByCaller, response: Response, body: SourceNew, why: Why = "") -> SourceOut:
    """Makes a source; its logins and keys come afterwards."""
    deed = caller.deed(desk.clock(), why)
    with writing(desk.engine) as connection:
        values = _definition(body.definition)
        return _marked(response, sources.create(connection, deed, body.name, values, folder=desk.schemas))


@routes.patch("/sources/{source}", access=MANAGING, problems=(404, 409, 412))
def edit_source(
    desk: AtDesk,
    caller: ByCaller,
    response: Response,
    source: str,
    body: SourceEdit,
    why: Why = "",
    if_match: IfMatch = None,
) -> SourceOut:
    """Changes a source, or takes it out and in; the doors notice within a second, the next delivery at once."""
    deed = caller.deed(desk.clock(), why)
    values = _definition(body.definition) | ({} if body.active is None else {"active": body.active})
    with writing(desk.engine) as connection:
        seen = tags.seen(if_match)
        return _marked(response, sources.edit(connection, deed, source, values, folder=desk.schemas, seen=seen))


@routes.get("/sources/{source}/versions", access=MANAGING, problems=(404,))
def list_source_versions(desk: AtDesk, source: str) -> list[SourceVersion]:
    """Everything that a source was, the newest first."""
    with reading(desk.engine) as connection:
        return [
            SourceVersion(
                version=each.version,
                saved_at=each.saved_at,
                saved_by=each.saved_by,
                definition=_shown(each.definition.model_dump(mode="json")),
            )
            for each in sources.versions(connection, source)
        ]


@routes.put("/sources/{source}/logins/{login}", access=MANAGING, problems=(404, 409))
def set_login(desk: AtDesk, caller: ByCaller, source: str, login: Name, body: LoginNew, why: Why = "") -> LoginIssued:
    """Makes a login, or gives one that is there another password and keys; the password is shown once."""
    password = sources.new_password() if body.password else None
    encoded = desk.hashing.submit(hash_password, password, desk.cost).result() if password else None
    keys, doors = tuple(body.public_keys), tuple(body.protocols)
    deed = caller.deed(desk.clock(), why)
    with writing(desk.engine) as connection:
        after = sources.add_login(connection, deed, source, login, encoded=encoded, public_keys=keys, protocols=doors)
    made = next(each for each in _out(after).logins if each.login == login)
    return LoginIssued(**made.model_dump(), password=password)


@routes.delete("/sources/{source}/logins/{login}", access=MANAGING, status_code=204, problems=(404,))
def remove_login(desk: AtDesk, caller: ByCaller, source: str, login: str, why: Why = "") -> None:
    """Shuts a login out; sessions that it has go on to their end."""
    with writing(desk.engine) as connection:
        sources.remove_login(connection, caller.deed(desk.clock(), why), source, login)


def _definition(given: dict[str, Any]) -> dict[str, Any]:
    """What a definition may say here: a name is for ever, logins have addresses of their own."""
    allowed = Source.model_fields.keys() - {"name", "login"}
    if unknown := sorted(given.keys() - allowed):
        raise Invalid("value_unusable", "is no key of a definition here", field=f"body.definition.{unknown[0]}")
    return given


def _out(record: Record) -> SourceOut:
    definition = {name: value for name, value in record.facts.items() if name not in ("active", "login")}
    logins = [_login(each) for each in record.facts["login"]]
    return SourceOut(name=record.key, active=record.facts["active"], definition=definition, logins=logins)


def _login(facts: dict[str, Any]) -> LoginOut:
    known = {name: facts[name] for name in ("login", "protocols", "public_keys")}
    return LoginOut(**known, has_password=facts["password_hash"] is not None)


def _shown(definition: dict[str, Any]) -> dict[str, Any]:
    """Logins without their hashes."""
    return {**definition, "login": [_login(each).model_dump() for each in definition["login"]]}


def _marked(response: Response, record: Record) -> SourceOut:
    tags.mark(response, record.tag)
    return _out(record)
