"""The HTTP application: health and metrics for machines, the API for programs, and pages for people."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, PlainTextResponse

from ingestd.web import exposition, health, problems
from ingestd.web.api.desk import Desk
from ingestd.web.api.resources import open_api
from ingestd.web.api.routes import unguarded
from ingestd.web.guard import Guard
from ingestd.web.observer import Observer
from ingestd.web.pages.index import open_pages
from ingestd.web.pages.problems import shown

READING = ["GET", "HEAD"]


def build(observer: Observer, metrics: Path, desk: Desk) -> FastAPI:
    """The application; `metrics` is the folder in which the roles count."""
    app = FastAPI(title="ingestd", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.desk = desk

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

    open_api(app)
    assert not unguarded(app), f"routes that do not say who may use them: {unguarded(app)}"
    open_pages(app, desk)
    problems.install(app, shown)
    app.add_middleware(Guard, show=shown)
    return app
