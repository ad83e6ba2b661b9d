"""Every page, and how they come into the application."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.routing import Route

from ingestd.web.api.desk import Desk
from ingestd.web.pages import (
    assets,
    deliveries,
    delivery,
    dial,
    do_not_call,
    live,
    navigation,
    pool,
    pools,
    reports,
    segments,
    session,
    upload,
)
from ingestd.web.pages.insights import Insights
from ingestd.web.pages.rendering import Studio
from ingestd.web.pages.routes import mount, unguarded

PAGES = (
    session.pages,
    live.pages,
    deliveries.pages,
    delivery.pages,
    pools.pages,
    pool.pages,
    upload.pages,
    dial.pages,
    segments.pages,
    do_not_call.pages,
    reports.pages,
)
"""Of two paths that fit an address, the first one answers: `/deliveries/live` before `/deliveries/{number}`."""


def open_pages(app: FastAPI, desk: Desk) -> None:
    """Mounts all of them, with what they load and share."""
    app.state.bell = live.bell_of(desk)
    app.state.insights = Insights(desk=desk)
    app.state.studio = Studio.prepare(navigation.places(PAGES))
    app.router.routes.append(Route(assets.PATH, app.state.studio.assets.answer))
    mount(app, PAGES)
    assert not unguarded(app), f"pages that do not say who may open them: {unguarded(app)}"
