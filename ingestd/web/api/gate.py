"""Who asks, and whether they may: decided before a byte of the body is read."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool

from ingestd.access import callers, keys
from ingestd.access.callers import Caller
from ingestd.errors import Denied
from ingestd.store.engine import reading
from ingestd.web.api.access import Access
from ingestd.web.api.desk import Desk
from ingestd.web.problems import NotSignedIn, TooMany

SAFE = ("GET", "HEAD", "OPTIONS")
_COOKIE = "ingestd_session"


async def admit(desk: Desk, request: Request, access: Access) -> Caller | None:
    """The caller, when the route is open for this one; else raises Denied, NotSignedIn or TooMany.

    The caller is noted in the request's state either way: the log says who was denied.
    """
    caller = request.state.caller = await _caller(desk, request)
    if caller is not None and (introduced := getattr(request.state, "introduced", None)) is not None:
        introduced()  # the connection is no stranger's any more, see `server.Lobby`
    if access.anonymous:
        return caller
    if caller is None:
        raise NotSignedIn("not_signed_in", "sign in, or send a key as `Authorization: Bearer id.secret`")
    if caller.source is not None and not access.bound_keys:
        told = f"this key is for the source {caller.source}, and opens nothing else"
        raise Denied("key_bound", told, source=caller.source)
    caller.require(access.needs)
    return caller


def cookie_name(request: Request) -> str:
    """Over TLS the browser makes sure that no other host or path has set it."""
    return f"__Host-{_COOKIE}" if request.url.scheme == "https" else _COOKIE


def token_of(request: Request) -> str:
    """The session's token; empty when there is none."""
    try:
        cookies: SimpleCookie = SimpleCookie(request.headers.get("cookie", ""))
    except CookieError:
        return ""
    found = cookies.get(cookie_name(request))
    return found.value if found is not None else ""


def give_cookie(request: Request, response: Response, token: str, seconds: int) -> None:
    """Hands the session's token to the browser; an empty one takes it away."""
    facts: dict[str, Any] = {"path": "/", "secure": request.url.scheme == "https", "httponly": True}
    name = cookie_name(request)
    response.set_cookie(name, token, max_age=seconds if token else 0, samesite="lax", **facts)


def address(request: Request) -> str:
    """Where the request comes from; for a proxy that is believed, whom it speaks for."""
    return request.client.host if request.client else ""


async def _caller(desk: Desk, request: Request) -> Caller | None:
    header = request.headers.get("authorization")
    if header is not None:
        return await run_in_threadpool(_by_key, desk, address(request), header)
    if request.method not in SAFE:
        _check_origin(request)
    token = token_of(request)
    return await run_in_threadpool(_by_session, desk, token) if token else None


def _by_session(desk: Desk, token: str) -> Caller | None:
    with reading(desk.engine) as connection:
        return callers.by_session(connection, token, at=desk.clock())


def _by_key(desk: Desk, peer: str, header: str) -> Caller:
    scheme, _, presented = header.partition(" ")
    if scheme.lower() != "bearer":
        raise NotSignedIn("scheme_unknown", "a key is sent as `Authorization: Bearer id.secret`")
    if seconds := desk.throttle.banned(peer):
        raise TooMany("too_many_failures", "too many wrong keys; wait", seconds=seconds)
    with reading(desk.engine) as connection:
        key = keys.find(connection, presented.strip())
        caller = None if key is None else callers.by_key(connection, key)
    if key is None or caller is None:
        desk.throttle.failed(peer)
        raise NotSignedIn("key_unknown", "there is no such key")
    spent = key.spent(desk.clock())
    if not spent and caller.person is not None and not caller.person.active:
        spent = f"the user {caller.person.login}, whose key it is, is not active"
    if spent:
        raise NotSignedIn("key_spent", spent)
    desk.note_use(key)
    return caller


def _check_origin(request: Request) -> None:
    """A browser's request that another site's page has made is refused, also a login.

    The order of Go's net/http.CrossOriginProtection: `Sec-Fetch-Site` where there is one, else `Origin`; a request with
    neither comes from no browser of the last years, and a page cannot leave both out.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        same = site in ("same-origin", "none")
    else:
        same = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not same:
        raise Denied("cross_origin", "the request comes from a page of another site")
