"""Routes of the pages: declared as those of the API are, with who may open each."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cache
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

from ingestd.web.api.routes import MAX_BODY_BYTES, Declared, Guarded, Routes
from ingestd.web.problems import NotSignedIn

OPEN = ("/livez", "/readyz", "/metrics", "/static/{digest}/{name:path}")
"""Paths that are no pages: they say nothing of deliveries or leads, and everybody may ask for them."""


class PageRoute(Guarded):
    """A route for people: by a session, never by a key."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """A page that opens with a key would be a second, undocumented API."""
        answer = super().get_route_handler()

        async def for_people(request: Request) -> Response:
            if "authorization" in request.headers and not self.access.anonymous:
                raise NotSignedIn("session_needed", "pages are for people who have signed in; programs use /api/v1")
            return await answer(request)

        return for_people


@dataclass(frozen=True, eq=False)
class Pages(Routes):
    """The pages about one thing; what does something sends the browser on to a page that shows it."""

    tag: str = "pages"


@cache
def made(every: tuple[Pages, ...]) -> tuple[PageRoute, ...]:
    """Every declared page, for all applications of this process."""
    return tuple(_page(each) for pages in every for each in pages.declared)


def unguarded(app: FastAPI) -> list[str]:
    """The paths outside of the API that do not say who may open them; there must be none."""
    paths = ((str(getattr(route, "path", route)), route) for route in app.router.routes)
    return [path for path, route in paths if path not in OPEN and not isinstance(route, Guarded)]


def _page(each: Declared) -> PageRoute:
    facts = {"response_class": HTMLResponse, "response_model": None, "largest": MAX_BODY_BYTES, **each.facts}
    return PageRoute(
        each.path, each.endpoint, access=each.access, methods=[each.method], include_in_schema=False, **facts
    )
