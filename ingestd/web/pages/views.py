"""What is done with a saved view, whatever it lists: kept, changed, starred, copied, removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import Form, Response
from sqlalchemy import Connection, select

from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission
from ingestd.leads import view_kinds, views
from ingestd.leads.views import Content, Kind
from ingestd.store.engine import writing
from ingestd.store.tables import teams as table
from ingestd.web.api.access import needs
from ingestd.web.api.deliveries import Number
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.leads import agent_of
from ingestd.web.pages.local import local_path
from ingestd.web.pages.rendering import onward
from ingestd.web.pages.routes import Pages

pages = Pages()

KEEPING = needs(Permission.LEAD_ADMIN, Permission.LEAD_POOLS)
HOMES: Mapping[Kind, str] = {Kind.LEADS: "/leads", Kind.POOLS: "/pools"}
"""The lists that have views."""

Name = Annotated[str, Form(max_length=views.LONGEST_NAME, pattern=r"^[^\x00]*$")]
Shared = Annotated[str, Form(max_length=80, pattern=r"^[^\x00]*$")]
Version = Annotated[int | None, Form()]
Back = Annotated[str, Form(max_length=2_000)]


def keep(desk: Desk, caller: Caller, content: Content) -> Response:
    """What is looked at, under a name; raises Invalid, or Conflict when the person has one of that name."""
    with writing(desk.engine) as connection:
        judged = view_kinds.judged(connection, desk.schemas, content, desk.clock())
        made = views.save(connection, caller.deed(desk.clock()), agent_of(connection, caller), judged)
    return onward(f"{HOMES[content.kind]}?view={made.id}", f"The view {judged.name} is saved.")


def change(desk: Desk, caller: Caller, number: int, content: Content, version: int | None) -> Response:
    """Puts what is looked at into a view of one's own; raises Stale when it has changed since it was read."""
    with writing(desk.engine) as connection:
        judged = view_kinds.judged(connection, desk.schemas, content, desk.clock())
        deed = caller.deed(desk.clock())
        views.edit(connection, deed, agent_of(connection, caller), number, judged, version)
    return onward(f"{HOMES[content.kind]}?view={number}", f"The view {judged.name} is saved as it is now.")


def teams(connection: Connection) -> list[tuple[str, str]]:
    """With whom a view can be shared, beside everybody: value and name of each team."""
    found = connection.execute(select(table.c.key, table.c.name).where(table.c.active).order_by(table.c.name))
    return [(f"{views.OF_TEAM}{row.key}", f"{row.name}, team") for row in found]


@pages.post("/views/{number}/remove", access=KEEPING)
def remove(desk: AtDesk, caller: ByCaller, number: Number) -> Response:
    """Takes a view of one's own away; what it listed stays."""
    with writing(desk.engine) as connection:
        who = agent_of(connection, caller)
        content = views.one(connection, who, number).content
        views.remove(connection, caller.deed(desk.clock()), who, number)
    return onward(HOMES[content.kind], f"The view {content.name} is removed. Its {content.kind} are as they were.")


@pages.post("/views/{number}/copy", access=KEEPING)
def copy(desk: AtDesk, caller: ByCaller, number: Number) -> Response:
    """A view of one's own that says the same."""
    with writing(desk.engine) as connection:
        made = views.copy(connection, caller.deed(desk.clock()), agent_of(connection, caller), number)
    content = made.content
    return onward(f"{HOMES[content.kind]}?view={made.id}", f"{content.name} is yours: change it as you like.")


@pages.post("/views/{number}/star", access=KEEPING)
def star(
    desk: AtDesk,
    caller: ByCaller,
    number: Number,
    on: Annotated[bool, Form()] = True,
    next: Back = "/",  # noqa: A002 - the field's name in the form
) -> Response:
    """Puts a view before the others, or back among them."""
    with writing(desk.engine) as connection:
        views.star(connection, agent_of(connection, caller), number, starred=on)
    return onward(local_path(next))
