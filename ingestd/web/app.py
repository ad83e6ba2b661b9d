"""The HTTP application: three addresses, no pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from ingestd.web import exposition, health
from ingestd.web.observer import Observer

log = structlog.get_logger()

READING = ["GET", "HEAD"]
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def build(observer: Observer, metrics: Path) -> FastAPI:
    """The application; `metrics` is the folder in which the roles count."""
    app = FastAPI(title="ingestd", docs_url=None, redoc_url=None, openapi_url=None)

    @app.api_route("/livez", methods=READING)
    async def livez() -> PlainTextResponse:
        """This process answers."""
        return PlainTextResponse("ok\n")

    @app.api_route("/readyz", methods=READING)
    async def readyz() -> JSONResponse:
        """Whether a file that comes now is kept and loaded; 503 names what is in the way."""
        found = health.checks(await observer.look())
        ready = all(check.ok for check in found)
        told = {check.name: {"ok": check.ok, "told": check.told} for check in found}
        return JSONResponse(
            {"ready": ready, "checks": told}, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        )

    @app.api_route("/metrics", methods=READING)
    async def metrics_page(request: Request) -> Response:
        """For Prometheus."""
        seen = await observer.look()
        body, kind = await run_in_threadpool(exposition.render, seen, metrics, request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": kind})

    app.add_exception_handler(HTTPException, _problem)
    app.middleware("http")(_guarded)
    return app


async def _problem(_request: Request, problem: Exception) -> JSONResponse:
    """An error as RFC 9457 has it."""
    assert isinstance(problem, HTTPException)
    headers = dict(problem.headers or {})
    body: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(problem.status_code).phrase}
    body |= {"status": problem.status_code}
    return JSONResponse(body, problem.status_code, headers, media_type="application/problem+json")


async def _guarded(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    """A bug is told to the log; whoever asked learns no more than that it was one."""
    try:
        response = await answer(request)
    except Exception:  # one request's fault must not end the server's
        log.exception("web_fault", path=request.url.path)
        response = await _problem(request, HTTPException(HTTPStatus.INTERNAL_SERVER_ERROR))
    response.headers.update(HEADERS)
    return response
