"""Saved views of Lead Admin: what is looked at, kept under a name."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Response

from ingestd.leads import filters
from ingestd.leads import views as saved
from ingestd.leads.views import Content
from ingestd.store.engine import reading
from ingestd.web.api.deliveries import Number
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.pages import lead_filter, views
from ingestd.web.pages.lead_admin import ADMINISTERING, read
from ingestd.web.pages.routes import Pages
from ingestd.web.pages.views import Name, Shared, Version

pages = Pages()

Sentence = Annotated[str, Form(max_length=lead_filter.LONGEST)]


@pages.post("/leads/views", access=ADMINISTERING)
def save(
    desk: AtDesk,
    caller: ByCaller,
    name: Name = "",
    filter: Sentence = "",  # noqa: A002 - the field's name in the form
    columns: Sentence = "",
    sort: Annotated[str, Form(max_length=200)] = "",
    shared: Shared = saved.NOBODY,
) -> Response:
    """What is looked at, under a name; raises Conflict when the person has one of that name."""
    return views.keep(desk, caller, _content(desk, name, shared, filter, columns, sort))


@pages.post("/leads/views/{number}", access=ADMINISTERING)
def edit(  # noqa: PLR0913, PLR0917 - each is a part of the request
    desk: AtDesk,
    caller: ByCaller,
    number: Number,
    name: Name = "",
    filter: Sentence = "",  # noqa: A002 - the field's name in the form
    columns: Sentence = "",
    sort: Annotated[str, Form(max_length=200)] = "",
    shared: Shared = saved.NOBODY,
    version: Version = None,
) -> Response:
    """Puts what is looked at into a view of one's own; raises Stale when it has changed since it was read."""
    return views.change(desk, caller, number, _content(desk, name, shared, filter, columns, sort), version)


def _content(desk: Desk, name: str, shared: str, tree: str, columns: str, sort: str) -> Content:
    """What is looked at, as a view would have it."""
    with reading(desk.engine) as connection:
        asked = read(desk, connection, tree, columns, sort)
    return Content(
        name=name,
        filter=filters.written(asked.tree),
        columns=tuple(asked.names.split(",")),
        sort=asked.sort.written,
        shared=shared,
    )
