"""Routes of the API: each is declared with who may use it, and none starts without."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Message

from ingestd.errors import Invalid
from ingestd.web.api import gate
from ingestd.web.api.access import Access
from ingestd.web.problems import Problem

PREFIX = "/api/v1"
MAX_BODY_BYTES = 1024 * 1024
"""of a route that names no other `largest`; what it reads is JSON by people and programs, no files"""

MAX_STRANGERS_BYTES = 16 * 1024
"""of a route that is open to everybody: what signs in is short"""
GRACE_SECONDS = 15.0
LEAST_RATE = 4 * 1024
"""bytes a second that a body comes with in the long run, after the grace: one of a byte a minute would hold its
connection for days"""

Endpoint = Callable[..., Any]


class Guarded(APIRoute):
    """A route that asks who calls before anything of the body is read."""

    def __init__(self, path: str, endpoint: Endpoint, *, access: Access, largest: int | None, **facts: Any) -> None:
        self.access = access
        self.largest = min(largest or MAX_STRANGERS_BYTES, MAX_STRANGERS_BYTES) if access.anonymous else largest
        super().__init__(path, endpoint, **facts)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI reads the body before it asks dependencies; so the gate stands before it."""
        answer = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            desk = request.app.state.desk
            await gate.admit(desk, request, self.access)
            _refuse_nul(request)
            return await answer(bounded(request, self.largest, desk.body_seconds))

        return guarded


@dataclass(frozen=True, kw_only=True)
class Declared:
    """One route before it is mounted."""

    method: str
    path: str
    endpoint: Endpoint
    access: Access
    facts: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Routes:
    """The routes of one resource."""

    tag: str
    declared: list[Declared] = field(default_factory=list)

    def route(self, method: str, path: str, *, access: Access, **facts: Any) -> Callable[[Endpoint], Endpoint]:
        """Declares a route below `/api/v1`; `facts` are those of FastAPI's routes.

        And `problems`, the codes that it answers beside the usual ones; `largest`, bytes of the body, None for a route
        that looks itself; `body`, how a body is described that the route reads itself.
        """

        def declare(endpoint: Endpoint) -> Endpoint:
            declared = Declared(method=method, path=path, endpoint=endpoint, access=access, facts=facts)
            self.declared.append(declared)
            return endpoint

        return declare

    def get(self, path: str, *, access: Access, **facts: Any) -> Callable[[Endpoint], Endpoint]:
        """Reads."""
        return self.route("GET", path, access=access, **facts)

    def post(self, path: str, *, access: Access, **facts: Any) -> Callable[[Endpoint], Endpoint]:
        """Makes something, or has something done."""
        return self.route("POST", path, access=access, **facts)

    def put(self, path: str, *, access: Access, **facts: Any) -> Callable[[Endpoint], Endpoint]:
        """Sets the whole of something."""
        return self.route("PUT", path, access=access, **facts)

    def patch(self, path: str, *, access: Access, **facts: Any) -> Callable[[Endpoint], Endpoint]:
        """Changes what is named, and nothing else."""
        return self.route("PATCH", path, access=access, **facts)

    def delete(self, path: str, *, access: Access, **facts: Any) -> Callable[[Endpoint], Endpoint]:
        """Takes something away."""
        return self.route("DELETE", path, access=access, **facts)


@cache
def made(resources: tuple[Routes, ...]) -> tuple[Guarded, ...]:
    """Every declared route. Each takes milliseconds to make and knows nothing of its application: all share them."""
    return tuple(_route(resource.tag, each) for resource in resources for each in resource.declared)


def unguarded(app: FastAPI) -> list[str]:
    """The paths of routes below `/api` that do not say who may use them; there must be none."""
    return [
        str(getattr(route, "path", route))
        for route in app.router.routes
        if str(getattr(route, "path", "")).startswith("/api") and not isinstance(route, Guarded)
    ]


def _refuse_nul(request: Request) -> None:
    """No text of a store holds the character U+0000, and PostgreSQL takes none that is looked for either."""
    if any("\0" in text for text in (*map(str, request.path_params.values()), *request.query_params.values())):
        raise Invalid("value_unusable", "the address holds the character U+0000", field="path")


def bounded(request: Request, largest: int | None, patience: float) -> Request:
    """The same request, whose body is refused with 413 as soon as it is larger: by its own word, or while it comes.

    With 408 when nothing of it comes for so many seconds, or all of it too slowly: a sender who went away without a
    word holds a connection, and so does one who means to. Only the time counts in which we wait for the sender.
    """
    if largest is not None and announced(request) > largest:
        raise too_large(largest)
    seen, waited, whole = 0, 0.0, False

    async def receive() -> Message:
        nonlocal seen, waited, whole
        left = GRACE_SECONDS + seen / LEAST_RATE - waited
        begun = time.monotonic()
        try:
            async with asyncio.timeout(patience if whole else min(patience, left)):
                message = await request.receive()
        except TimeoutError as problem:
            told = (
                f"nothing of the body came for {patience:g} seconds" if left > patience else "the body comes too slowly"
            )
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, told, {"Connection": "close"}) from problem
        waited += time.monotonic() - begun
        seen += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if largest is not None and seen > largest:
            raise too_large(largest)
        return message

    return Request(request.scope, receive)


def announced(request: Request) -> int:
    """The bytes of a body by its own word; 0 when it does not say."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0


def too_large(largest: int) -> HTTPException:
    """The answer 413. Of this kind, because FastAPI takes any other for a body that it cannot read."""
    return HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {largest:,} bytes")


def _route(tag: str, each: Declared) -> Guarded:
    codes = [422] if each.access.anonymous else [401, 403, 422]
    told: dict[int | str, dict[str, Any]] = {code: _problem() for code in (*codes, *each.facts.get("problems", ()))}
    facts = {name: value for name, value in each.facts.items() if name not in ("problems", "responses", "body")}
    security: dict[str, Any] = {} if each.access.anonymous else {"security": [{"session": []}, {"key": []}]}
    described = {"requestBody": each.facts["body"]} if "body" in each.facts else {}
    return Guarded(
        f"{PREFIX}{each.path}",
        each.endpoint,
        access=each.access,
        methods=[each.method],
        tags=[tag],
        description=f"{(each.endpoint.__doc__ or '').strip()}\n\n{each.access.told()}",
        operation_id=each.endpoint.__name__,
        responses={**told, **each.facts.get("responses", {}), "default": _problem()},
        openapi_extra={**security, **described},
        **{"largest": MAX_BODY_BYTES, **facts},
    )


def _problem() -> dict[str, Any]:
    return {
        "description": "Problem",
        "model": Problem,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
