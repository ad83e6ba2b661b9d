"""Signing in and out, and who one is."""

from __future__ import annotations

import asyncio
from typing import Annotated

import structlog
from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field, SecretStr

from ingestd.access import people, sessions
from ingestd.access.callers import Caller
from ingestd.access.people import LONGEST_PASSWORD, SHORTEST_PASSWORD, Person
from ingestd.accounts import Account, hash_password
from ingestd.errors import Denied
from ingestd.store.engine import reading, writing
from ingestd.web.api import gate
from ingestd.web.api.access import ANYBODY, SIGNED_IN, Access
from ingestd.web.api.bodies import Given
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.routes import Routes
from ingestd.web.problems import NotSignedIn, TooMany

log = structlog.get_logger()
routes = Routes("session")

Word = Annotated[SecretStr, Field(max_length=LONGEST_PASSWORD)]
NewWord = Annotated[SecretStr, Field(min_length=SHORTEST_PASSWORD, max_length=LONGEST_PASSWORD)]


class SignIn(Given):
    """Login and password of a user."""

    login: Annotated[str, Field(max_length=64)]
    password: Word


class NewPassword(Given):
    """One's own password, changed."""

    old: Word
    new: NewWord


class Me(BaseModel):
    """Who asks, and what they may do."""

    login: str | None = Field(description="the user, also behind a key; null for a key of the house")
    name: str | None
    team: str | None = Field(description="key of the user's team")
    role: str | None
    permissions: list[str]
    key: str | None = Field(description="id of the key that was sent")
    source: str | None = Field(description="the only source that the key may act for")


@routes.post("/session", access=ANYBODY, problems=(401, 429))
async def sign_in(desk: AtDesk, request: Request, response: Response, body: SignIn) -> Me:
    """Signs a user in: the answer sets a cookie for browsers."""
    peer = gate.address(request)
    person = await proven(desk, peer, body.login, body.password.get_secret_value())
    token = await run_in_threadpool(start, desk, person)
    gate.give_cookie(request, response, token, int(desk.session_lasts.total_seconds()))
    log.info("api_login", peer=peer, login=body.login)
    return _me_of(person)


@routes.delete("/session", access=ANYBODY, status_code=204)
async def sign_out(desk: AtDesk, request: Request, response: Response) -> None:
    """Ends the session of the cookie, if there is one."""
    if token := gate.token_of(request):
        await run_in_threadpool(end, desk, token)
    gate.give_cookie(request, response, "", 0)


@routes.get("/me", access=Access(bound_keys=True))
async def who_am_i(caller: ByCaller) -> Me:
    """Who the session or key belongs to, and what it may do."""
    known = {name: getattr(caller.person, name, None) for name in ("login", "name", "team", "role")}
    key = caller.key.id if caller.key else None
    return Me(**known, permissions=sorted(caller.permissions), key=key, source=caller.source)


@routes.put("/me/password", access=SIGNED_IN, status_code=204, problems=(429,))
async def change_my_password(desk: AtDesk, caller: ByCaller, request: Request, body: NewPassword) -> None:
    """Changes one's own password, and ends all of one's sessions, this one too."""
    if caller.person is None or caller.key is not None:
        raise Denied("not_by_key", "a password is changed by its user, and not by a key")
    await proven(desk, gate.address(request), caller.person.login, body.old.get_secret_value())
    encoded = await _hashed(desk, body.new.get_secret_value())
    await run_in_threadpool(_set, desk, caller, caller.person, encoded)


async def _hashed(desk: Desk, password: str) -> str:
    return await asyncio.get_running_loop().run_in_executor(desk.hashing, hash_password, password, desk.cost)


async def proven(desk: Desk, peer: str, login: str, password: str) -> Person:
    """The user whose password this is; raises NotSignedIn or TooMany."""
    _check_patience(desk, peer, login)
    encoded = await run_in_threadpool(_encoded, desk, login)
    loop = asyncio.get_running_loop()
    right = await loop.run_in_executor(desk.hashing, _verify, desk, peer, login, encoded, password)
    person = await run_in_threadpool(_person, desk, login) if right else None
    if person is None:
        log.warning("api_login_refused", peer=peer, login=login)
        raise NotSignedIn("credentials_wrong", "login or password is wrong")
    return person


def _check_patience(desk: Desk, peer: str, login: str) -> None:
    """The answer to a wrong password is not held back, as a door does, but the next one is not looked at as long."""
    seconds = max(desk.throttle.banned(peer, login), desk.throttle.too_soon(peer, login))
    if seconds:
        log.warning("api_login_refused", peer=peer, login=login)
        raise TooMany("too_many_failures", "too many wrong passwords; wait", seconds=seconds)


def _verify(desk: Desk, peer: str, login: str, encoded: str, password: str) -> bool:
    """Looks once more at the throttle: many guesses at once wait here for their turn."""
    _check_patience(desk, peer, login)
    account = Account(login=login, source="", password_hash=encoded, limit=0)
    if not desk.passwords.verify(account, password):
        desk.throttle.failed(peer, login)
        return False
    desk.throttle.succeeded(peer, login)
    return True


def _encoded(desk: Desk, login: str) -> str:
    with reading(desk.engine) as connection:
        return people.password_hash(connection, login)


def _person(desk: Desk, login: str) -> Person | None:
    with reading(desk.engine) as connection:
        return people.by_login(connection, login)


def start(desk: Desk, person: Person) -> str:
    """A new session; its token."""
    with writing(desk.engine) as connection:
        return sessions.start(connection, person.id, at=desk.clock(), lasts=desk.session_lasts)


def end(desk: Desk, token: str) -> None:
    """Ends the session of a token."""
    with writing(desk.engine) as connection:
        sessions.end(connection, token)


def _set(desk: Desk, caller: Caller, person: Person, encoded: str) -> None:
    with writing(desk.engine) as connection:
        people.set_password(connection, caller.deed(desk.clock()), person, encoded)


def _me_of(person: Person) -> Me:
    facts = {"login": person.login, "name": person.name, "team": person.team, "role": person.role}
    return Me(**facts, permissions=sorted(person.permissions), key=None, source=None)
