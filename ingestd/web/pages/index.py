"""Every page, and how they come into the application."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.routing import Route

from ingestd.web.api.desk import Desk
from ingestd.web.pages import (
    assets,
    campaigns,
    deliveries,
    delivery,
    dial,
    do_not_call,
    lead,
    lead_actions,
    lead_admin,
    lead_form,
    lead_views,
    live,
    navigation,
    pool,
    pool_views,
    pools,
    reports,
    reruns,
    segments,
    session,
    source_access,
    sources,
    system,
    teams,
    upload,
    user_access,
    users,
    views,
)
from ingestd.web.pages.insights import Insights
from ingestd.web.pages.rendering import Studio
from ingestd.web.pages.routes import made, unguarded

PAGES = (
    session.pages,
    live.pages,
    deliveries.pages,
    delivery.pages,
    reruns.pages,
    pools.pages,
    pool_views.pages,
    pool.pages,
    upload.pages,
    teams.pages,
    users.pages,
    user_access.pages,
    campaigns.pages,
    sources.pages,
    source_access.pages,
    system.pages,
    lead_admin.pages,
    lead_actions.pages,
    lead_views.pages,
    views.pages,
    lead_form.pages,
    lead.pages,
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
    app.router.routes.extend(made(PAGES))
    assert not unguarded(app), f"pages that do not say who may open them: {unguarded(app)}"
