"""Saved views of Lead Pools: what is looked at, kept under a name."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from fastapi import Form, Response

from ingestd.leads import views as saved
from ingestd.leads.views import Content
from ingestd.web.api.deliveries import Number
from ingestd.web.api.desk import AtDesk, ByCaller
from ingestd.web.pages import pool_filter, views
from ingestd.web.pages.pools import LOOKING
from ingestd.web.pages.rendering import Here
from ingestd.web.pages.routes import Pages
from ingestd.web.pages.views import Name, Shared, Version

pages = Pages()

Looked = Annotated[str, Form(max_length=8_000)]
"""The address of the list, with all that is chosen in it."""


@pages.post("/pools/views", access=LOOKING)
def save(
    desk: AtDesk, caller: ByCaller, name: Name = "", looked: Looked = "", shared: Shared = saved.NOBODY
) -> Response:
    """What is looked at, under a name; raises Conflict when the person has one of that name."""
    return views.keep(desk, caller, _content(looked, name, shared))


@pages.post("/pools/views/{number}", access=LOOKING)
def edit(
    desk: AtDesk,
    caller: ByCaller,
    number: Number,
    name: Name = "",
    looked: Looked = "",
    shared: Shared = saved.NOBODY,
    version: Version = None,
) -> Response:
    """Puts what is looked at into a view of one's own; raises Stale when it has changed since it was read."""
    return views.change(desk, caller, number, _content(looked, name, shared), version)


def _content(looked: str, name: str, shared: str) -> Content:
    query = tuple(parse_qsl(urlsplit(looked).query))
    return pool_filter.content(Here(path="/pools", query=query), name, shared)
