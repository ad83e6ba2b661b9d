"""Whoever asks for something: a person, a key of a person, or a key of the house."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from ingestd.access import keys, people, sessions
from ingestd.access.keys import Key
from ingestd.access.people import Person
from ingestd.access.permissions import Permission
from ingestd.errors import Denied
from ingestd.store.audit import Actor, Deed


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks, and what this caller may do at this moment."""

    actor: Actor
    permissions: frozenset[Permission]
    person: Person | None
    """the user, also behind a key; None for a key of the house"""
    key: Key | None = None

    @property
    def source(self) -> str | None:
        """The only source that this caller may act for; None: any."""
        return self.key.source if self.key else None

    def deed(self, at: datetime, why: str = "") -> Deed:
        """What this caller does now."""
        return Deed(actor=self.actor, at=at, why=why)

    def require(self, wanted: Collection[Permission]) -> None:
        """Raises Denied unless the caller has one of the permissions; none wanted: being known is enough."""
        if wanted and not self.permissions.intersection(wanted):
            named = " or ".join(sorted(wanted))
            raise Denied("permission_missing", f"this needs the permission {named}", permission=named)

    def may_act_for(self, source: str) -> bool:
        """False for a key that is bound to another source."""
        return self.source is None or self.source == source


def by_session(connection: Connection, token: str, *, at: datetime) -> Caller | None:
    """The caller of a session's token, if it is one."""
    person = sessions.person(connection, token, at=at)
    return None if person is None else of_person(person)


def of_person(person: Person) -> Caller:
    """A user who has come in."""
    actor = Actor(name=f"user:{person.login}", user_id=person.id)
    return Caller(actor=actor, permissions=person.permissions, person=person)


def by_key(connection: Connection, key: Key) -> Caller:
    """The caller behind a key that is not spent."""
    person = None if key.user_id is None else people.by_id(connection, key.user_id)
    actor = Actor(name=f"key:{key.id}", user_id=key.user_id, key_id=key.id)
    return Caller(actor=actor, permissions=keys.may(key, person), person=person, key=key)
