"""Every page, and how they come into the application."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.routing import Route

from ingestd.web.pages import assets, navigation, session
from ingestd.web.pages.rendering import Studio
from ingestd.web.pages.routes import mount, unguarded

PAGES = (session.pages,)


def open_pages(app: FastAPI) -> None:
    """Mounts all of them, with what they load."""
    app.state.studio = Studio.prepare(navigation.places(PAGES))
    app.router.routes.append(Route(assets.PATH, app.state.studio.assets.answer))
    mount(app, PAGES)
    assert not unguarded(app), f"pages that do not say who may open them: {unguarded(app)}"
