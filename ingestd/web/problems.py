"""Everything that goes wrong, as problem details (RFC 9457): one schema for all of it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Route

from ingestd.errors import Conflict, Denied, IngestdError, Invalid, Missing, Refused, Rejected, Stale, Unavailable
from ingestd.leads import checking

AGAIN_SECONDS = 5
"""When something of ours is away: most often a database that restarts."""


class FieldProblem(BaseModel):
    """What is wrong with one value of a request."""

    field: str = Field(description="where it is, such as `body.name`")
    detail: str


class Problem(BaseModel):
    """Problem details, RFC 9457."""

    type: str = Field("about:blank", description="always `about:blank`; `code` tells the problems apart")
    title: str = Field(description="the meaning of the status")
    status: int
    detail: str = Field("", description="what is wrong, for people")
    code: str = Field("", description="what is wrong, for programs; docs/api.md lists the codes")
    permission: str = Field("", description="with 403: the permission that is missing")
    errors: list[FieldProblem] = Field([], description="with 422: the values that are wrong")
    facts: dict[str, Any] = Field({}, description="what the problem counts or names, such as `leads`")


class Told(JSONResponse):
    """A problem as programs are told it; `problem` is for whoever tells it otherwise."""

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        """What the problem has nothing to say about is left out."""
        self.problem = problem
        body = {"type": problem.type, **problem.model_dump(exclude_defaults=True)}
        super().__init__(body, problem.status, headers, media_type="application/problem+json")


Show = Callable[[Request, Told], Response]
"""How a problem is shown to whoever asked."""


class NotSignedIn(Refused):
    """Nobody knows who asks."""


class TooMany(Refused):
    """Too often; `facts["seconds"]` says for how long to wait."""


_STATUS: Mapping[type[IngestdError], HTTPStatus] = {
    NotSignedIn: HTTPStatus.UNAUTHORIZED,
    TooMany: HTTPStatus.TOO_MANY_REQUESTS,
    Denied: HTTPStatus.FORBIDDEN,
    Missing: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Stale: HTTPStatus.PRECONDITION_FAILED,
    Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
}

REJECTED: Mapping[str, HTTPStatus] = {
    "lead_unknown": HTTPStatus.NOT_FOUND,
    "version_conflict": HTTPStatus.PRECONDITION_FAILED,
    **dict.fromkeys(
        (
            *("lead_refused", "field_unknown", "status_unknown", "owner_unknown", "campaign_unknown", "lease_unusable"),
            "segment_unknown",
        ),
        HTTPStatus.UNPROCESSABLE_ENTITY,
    ),
    **dict.fromkeys(
        ("lead_locked", "status_not_allowed", "dialling_refused", "do_not_call", "not_callable"), HTTPStatus.CONFLICT
    ),
}  # fmt: skip
"""What leads cannot be asked for, by code; whatever is not here, such as what a file does not allow, is 409."""


_CODES: Mapping[int, str] = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.REQUEST_TIMEOUT: "body_stalled",
}
"""Of what is raised while a body comes."""


def status_of(problem: Refused | Rejected) -> HTTPStatus:
    """With which status a refusal is answered."""
    return REJECTED.get(problem.code, HTTPStatus.CONFLICT) if isinstance(problem, Rejected) else _STATUS[type(problem)]


def install(app: FastAPI, show: Show) -> None:
    """Has every failure of a request answered as a problem, in the way of `show`."""
    tellers: Mapping[type[Exception], Callable[[Request, Exception], Awaitable[Told]]] = {
        HTTPException: _of_http,
        RequestValidationError: _of_validation,
        Refused: _of_refusal,
        Rejected: _of_rejection,
        Unavailable: _of_absence,
    }
    for kind, teller in tellers.items():
        app.add_exception_handler(kind, _showing(teller, show))


def _showing(
    teller: Callable[[Request, Exception], Awaitable[Told]], show: Show
) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def shown(request: Request, problem: Exception) -> Response:
        return show(request, await teller(request, problem))

    return shown


def answer(status: int, *, headers: Mapping[str, str] | None = None, **told: Any) -> Told:
    """A problem as a response."""
    return Told(Problem(title=HTTPStatus(status).phrase, status=status, **told), headers)


async def _of_http(request: Request, problem: Exception) -> Told:
    assert isinstance(problem, HTTPException)
    if problem.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return answer(problem.status_code, headers={"Allow": ", ".join(_methods(request))})
    plain = problem.detail == HTTPStatus(problem.status_code).phrase
    code = _CODES.get(problem.status_code, "")
    return answer(problem.status_code, headers=problem.headers, code=code, detail="" if plain else str(problem.detail))


def _methods(request: Request) -> list[str]:
    """What may be asked of this path; each of its methods is a route of its own."""
    routes = (route for route in request.app.router.routes if isinstance(route, Route))
    return sorted(
        {method for route in routes if route.path_regex.match(request.url.path) for method in route.methods or ()}
    )


async def _of_validation(_request: Request, problem: Exception) -> Told:
    """Without the values: they may be passwords."""
    assert isinstance(problem, RequestValidationError)
    errors = [
        FieldProblem(field=".".join(map(str, each["loc"])), detail=each["msg"].removeprefix("Value error, "))
        for each in problem.errors()
    ]
    return answer(HTTPStatus.UNPROCESSABLE_ENTITY, code="request_unusable", detail=errors[0].detail, errors=errors)


async def _of_refusal(_request: Request, problem: Exception) -> Told:
    assert isinstance(problem, Refused)
    status = status_of(problem)
    facts = dict(problem.facts)
    told: dict[str, Any] = {"code": problem.code, "detail": problem.message}
    told["permission"] = facts.pop("permission", "")
    if field := facts.pop("field", ""):
        told["errors"] = [FieldProblem(field=field, detail=problem.message)]
    headers = {}
    if "seconds" in facts:
        headers["Retry-After"] = str(math.ceil(facts.pop("seconds")))
    if isinstance(problem, NotSignedIn):
        headers["WWW-Authenticate"] = 'Bearer realm="ingestd"'
    return answer(status, headers=headers, facts=facts, **told)


async def _of_rejection(_request: Request, problem: Exception) -> Told:
    """The file or the lead itself does not allow what was asked for."""
    assert isinstance(problem, Rejected)
    told = problem.message + (f"; {problem.suggestion}" if problem.suggestion else "")
    errors = []
    if isinstance(problem, checking.Refused):
        errors = [FieldProblem(field=f"body.fields.{each.field}", detail=each.message) for each in problem.problems]
    return answer(status_of(problem), code=problem.code, detail=told, errors=errors, facts=problem.facts)


async def _of_absence(_request: Request, _problem: Exception) -> Told:
    """Without its text: the address of a database is nobody's business."""
    told = "something of ours is away, such as the database; try again"
    again = {"Retry-After": str(AGAIN_SECONDS)}
    return answer(HTTPStatus.SERVICE_UNAVAILABLE, headers=again, code="unavailable", detail=told)
