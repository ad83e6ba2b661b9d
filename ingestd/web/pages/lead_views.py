"""Saved views of Lead Admin: kept under a name, changed by their owner, starred and copied by whoever sees them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Response

from ingestd.leads import filters, views
from ingestd.leads.views import Content
from ingestd.store.engine import reading, writing
from ingestd.web.api.deliveries import Number
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.leads import agent_of
from ingestd.web.pages import lead_filter
from ingestd.web.pages.lead_admin import ADMINISTERING, read
from ingestd.web.pages.local import local_path
from ingestd.web.pages.rendering import onward
from ingestd.web.pages.routes import Pages

pages = Pages()

Name = Annotated[str, Form(max_length=views.LONGEST_NAME, pattern=r"^[^\x00]*$")]
Sentence = Annotated[str, Form(max_length=lead_filter.LONGEST)]
Shared = Annotated[str, Form(max_length=80, pattern=r"^[^\x00]*$")]
Back = Annotated[str, Form(max_length=2_000)]


@pages.post("/leads/views", access=ADMINISTERING)
def save(
    desk: AtDesk,
    caller: ByCaller,
    name: Name = "",
    filter: Sentence = "",  # noqa: A002 - the field's name in the form
    columns: Sentence = "",
    sort: Annotated[str, Form(max_length=200)] = "",
    shared: Shared = views.NOBODY,
) -> Response:
    """What is looked at, under a name; raises Conflict when the person has one of that name."""
    judged = _judged(desk, name, shared, filter, columns, sort)
    with writing(desk.engine) as connection:
        made = views.save(connection, caller.deed(desk.clock()), agent_of(connection, caller), judged)
    return onward(f"/leads?view={made.id}", f"The view {made.content.name} is saved.")


@pages.post("/leads/views/{number}", access=ADMINISTERING)
def edit(  # noqa: PLR0913, PLR0917 - each is a part of the request
    desk: AtDesk,
    caller: ByCaller,
    number: Number,
    name: Name = "",
    filter: Sentence = "",  # noqa: A002 - the field's name in the form
    columns: Sentence = "",
    sort: Annotated[str, Form(max_length=200)] = "",
    shared: Shared = views.NOBODY,
    version: Annotated[int | None, Form()] = None,
) -> Response:
    """Puts what is looked at into a view of one's own; raises Stale when it has changed since it was read."""
    judged = _judged(desk, name, shared, filter, columns, sort)
    with writing(desk.engine) as connection:
        deed = caller.deed(desk.clock())
        made = views.edit(connection, deed, agent_of(connection, caller), number, judged, version)
    return onward(f"/leads?view={made.id}", f"The view {made.content.name} is saved as it is now.")


@pages.post("/leads/views/{number}/remove", access=ADMINISTERING)
def remove(desk: AtDesk, caller: ByCaller, number: Number) -> Response:
    """Takes a view of one's own away; the leads stay."""
    with writing(desk.engine) as connection:
        who = agent_of(connection, caller)
        name = views.one(connection, who, number).content.name
        views.remove(connection, caller.deed(desk.clock()), who, number)
    return onward("/leads", f"The view {name} is removed. Its leads are as they were.")


@pages.post("/leads/views/{number}/copy", access=ADMINISTERING)
def copy(desk: AtDesk, caller: ByCaller, number: Number) -> Response:
    """A view of one's own that says the same."""
    with writing(desk.engine) as connection:
        made = views.copy(connection, caller.deed(desk.clock()), agent_of(connection, caller), number)
    return onward(f"/leads?view={made.id}", f"{made.content.name} is yours: change it as you like.")


@pages.post("/leads/views/{number}/star", access=ADMINISTERING)
def star(
    desk: AtDesk,
    caller: ByCaller,
    number: Number,
    on: Annotated[bool, Form()] = True,
    next: Back = "/leads",  # noqa: A002
) -> Response:
    """Puts a view before the others, or back among them."""
    with writing(desk.engine) as connection:
        views.star(connection, agent_of(connection, caller), number, starred=on)
    return onward(local_path(next))


def _judged(desk: Desk, name: str, shared: str, tree: str, columns: str, sort: str) -> Content:
    """What is looked at, as a view that can be kept."""
    with reading(desk.engine) as connection:
        asked = read(desk, connection, tree, columns, sort)
        content = Content(
            name=name,
            filter=filters.written(asked.tree),
            columns=tuple(asked.names.split(",")),
            sort=asked.sort.written,
            shared=shared,
        )
        return views.judged(connection, desk.schemas, content, desk.clock())
