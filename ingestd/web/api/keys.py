"""API keys: made, listed, ended. The secret is shown once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, Field, StrictBool

from ingestd.access import keys
from ingestd.access.callers import Caller
from ingestd.access.keys import LONGEST_NAME, PARTNERS, Issued, Key
from ingestd.access.permissions import Permission, check_may_give
from ingestd.errors import Denied, Missing
from ingestd.store.engine import reading, writing
from ingestd.web.api.access import SIGNED_IN, needs
from ingestd.web.api.bodies import Given
from ingestd.web.api.desk import AtDesk, ByCaller
from ingestd.web.api.routes import Routes

routes = Routes("keys")

Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME, description="what the key is for")]
Days = Annotated[int | None, Field(ge=1, le=3650, description="days until it expires; null: never")]


class KeyOut(BaseModel):
    """A key, without its secret."""

    id: str
    name: str
    user: str | None = Field(description="the user whose it is; null: it belongs to the house")
    source: str | None = Field(description="the only source that it may act for; null: any")
    permissions: list[Permission]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="to the minute")
    revoked_at: datetime | None


class KeyIssued(KeyOut):
    """A new key: the only time that it is shown."""

    key: str = Field(description="for the header `Authorization: Bearer …`; it is not shown again")


class KeyNew(Given):
    """A key to be made."""

    name: Name
    permissions: Annotated[list[Permission], Field(min_length=1)]
    source: str | None = Field(None, description="the only source that it may act for")
    days: Days = None
    house: StrictBool = Field(False, description="it belongs to the house and not to you; needs `manage_organisation`")


class SourceKeyNew(Given):
    """A key for a partner's programs, to be made."""

    name: Name
    days: Days = None


@routes.get("/keys", access=SIGNED_IN)
def list_keys(desk: AtDesk, caller: ByCaller) -> list[KeyOut]:
    """Your keys, the newest first; with `manage_organisation` all keys."""
    everybody = Permission.MANAGE_ORGANISATION in caller.permissions
    if not everybody and caller.person is None:
        return []
    with reading(desk.engine) as connection:
        user_id = None if everybody or caller.person is None else caller.person.id
        return [_out(key) for key in keys.every(connection, user_id=user_id)]


@routes.post("/keys", access=SIGNED_IN, status_code=201, problems=(404,))
def add_key(desk: AtDesk, caller: ByCaller, body: KeyNew) -> KeyIssued:
    """Makes a key that can do no more than you can."""
    _check_person(caller)
    if body.house:
        caller.require([Permission.MANAGE_ORGANISATION])
    check_may_give(caller.permissions, body.permissions)
    with writing(desk.engine) as connection:
        user_id = None if body.house or caller.person is None else caller.person.id
        return _issued(
            keys.issue(
                connection,
                caller.deed(desk.clock()),
                body.name,
                body.permissions,
                user_id=user_id,
                source=body.source,
                expires_at=expiry(desk.clock(), body.days),
            )
        )


@routes.delete("/keys/{key}", access=SIGNED_IN, status_code=204, problems=(404, 409))
def revoke_key(desk: AtDesk, caller: ByCaller, key: str) -> None:
    """Ends a key of yours for good; with `manage_organisation` any key."""
    with writing(desk.engine) as connection:
        found = keys.known(connection, key)
        mine = caller.person is not None and found.user_id == caller.person.id
        if not mine and Permission.MANAGE_ORGANISATION not in caller.permissions:
            raise Missing("key_unknown", f"there is no key {key!r}")
        keys.revoke(connection, caller.deed(desk.clock()), found)


@routes.get("/sources/{source}/keys", access=needs(Permission.MANAGE_SOURCES))
def list_source_keys(desk: AtDesk, source: str) -> list[KeyOut]:
    """The keys that are bound to a source, the newest first."""
    with reading(desk.engine) as connection:
        return [_out(key) for key in keys.every(connection, source=source)]


@routes.post("/sources/{source}/keys", access=needs(Permission.MANAGE_SOURCES), status_code=201, problems=(404,))
def add_source_key(desk: AtDesk, caller: ByCaller, source: str, body: SourceKeyNew) -> KeyIssued:
    """Makes a key with which a partner's programs import for this source, and see what became of it.

    That is `lead_pools`, which only those who have it can give.
    """
    _check_person(caller)
    check_may_give(caller.permissions, PARTNERS)
    deed = caller.deed(desk.clock())
    with writing(desk.engine) as connection:
        expires = expiry(deed.at, body.days)
        return _issued(keys.issue(connection, deed, body.name, PARTNERS, source=source, expires_at=expires))


def _check_person(caller: Caller) -> None:
    """A key that makes keys would live on after it was revoked."""
    if caller.key is not None:
        raise Denied("not_by_key", "keys are made by people; sign in")


def expiry(at: datetime, days: int | None) -> datetime | None:
    """When a key that is made now ends; None: never."""
    return None if days is None else at + timedelta(days=days)


def _out(key: Key) -> KeyOut:
    return KeyOut(**_facts(key))


def _issued(issued: Issued) -> KeyIssued:
    return KeyIssued(**_facts(issued.key), key=issued.secret)


def _facts(key: Key) -> dict[str, object]:
    facts = {name: getattr(key, name) for name in KeyOut.model_fields}
    return facts | {"permissions": sorted(key.permissions)}
