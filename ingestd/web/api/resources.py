"""Every resource of the API, and the document that describes them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from ingestd.web.api import (
    campaigns,
    codes,
    deliveries,
    dialling,
    do_not_call,
    imports,
    keys,
    lead_actions,
    lead_admin,
    lead_changes,
    leads,
    logs,
    mappings,
    owner_changes,
    pools,
    pushes,
    queue,
    rehearsals,
    reports,
    reruns,
    segment_groups,
    segments,
    session,
    source_mappings,
    sources,
    teams,
    trail,
    users,
    views,
    webhooks,
)
from ingestd.web.api.access import ANYBODY
from ingestd.web.api.routes import Guarded, Routes, made

about = Routes("about")

_ABOUT = """\
Import files of leads, see what became of them, and manage organisation, sources and keys.

Programs send a key as `Authorization: Bearer id.secret`; pages have a session cookie. Every failure is a problem
(RFC 9457). Lists go by `cursor`. `ETag` and `If-Match` keep two people from overwriting each other.
"""


@about.get("/openapi.json", access=ANYBODY, include_in_schema=False)
async def openapi(request: Request) -> JSONResponse:
    """This API, described as OpenAPI."""
    app: FastAPI = request.app
    if app.openapi_schema is None:  # half a second of work, which must not be for anybody's asking
        app.openapi_schema = document(app)
    return JSONResponse(app.openapi_schema)


RESOURCES = (
    about,
    session.routes,
    keys.routes,
    teams.routes,
    users.routes,
    codes.routes,
    campaigns.routes,
    sources.routes,
    source_mappings.routes,
    mappings.routes,
    trail.routes,
    imports.routes,
    pushes.routes,
    rehearsals.routes,
    deliveries.routes,
    reruns.routes,
    pools.routes,
    leads.routes,
    segment_groups.routes,
    segments.routes,
    lead_changes.routes,
    lead_actions.routes,
    owner_changes.routes,
    dialling.routes,
    do_not_call.routes,
    lead_admin.routes,
    views.routes,
    logs.routes,
    queue.routes,
    webhooks.routes,
    reports.routes,
)


def open_api(app: FastAPI) -> None:
    """Mounts all of it."""
    app.router.routes.extend(made(RESOURCES))


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of what is mounted."""
    routes = [route for route in app.router.routes if isinstance(route, Guarded)]
    made = get_openapi(title="ingestd", version="1", description=_ABOUT, routes=routes)
    for operations in made["paths"].values():
        for operation in operations.values():
            _problems_only(operation["responses"])
    made["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "an API key, `id.secret`"},
        "session": {"type": "apiKey", "in": "cookie", "name": "ingestd_session"},
    }
    return made


def _problems_only(responses: dict[str, Any]) -> None:
    """FastAPI adds the type of good answers to every model."""
    for response in responses.values():
        if "application/problem+json" in response.get("content", {}):
            response["content"].pop("application/json", None)
