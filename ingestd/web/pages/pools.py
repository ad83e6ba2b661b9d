"""Lead Pools: what became of every upload, with the figures that an operator adds (LEADS.md, "Lead pools")."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

from fastapi import Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from ingestd.access.permissions import Permission
from ingestd.errors import Invalid
from ingestd.leads import kpis, pool_views, views
from ingestd.leads.views import Kind, View
from ingestd.model import PoolState
from ingestd.store import pool_calls, pool_lists
from ingestd.store.engine import reading
from ingestd.store.pool_lists import Wanted
from ingestd.web.api import paging
from ingestd.web.api.access import needs
from ingestd.web.api.desk import AtDesk, ByCaller
from ingestd.web.api.leads import agent_of
from ingestd.web.pages import figures, pool_filter
from ingestd.web.pages.local import local_path
from ingestd.web.pages.pool_filter import Asked
from ingestd.web.pages.rendering import Here, here, onward, show
from ingestd.web.pages.routes import Pages
from ingestd.web.pages.views import teams

pages = Pages()

LOOKING = needs(Permission.LEAD_POOLS)
SHOWN = 50
"""pools a page"""
USED_DAYS = 14
"""of which it is shown how a pool was used"""


@pages.get("/pools", access=LOOKING)
def list_pools(request: Request, desk: AtDesk, caller: ByCaller, what: Annotated[Asked, Query()]) -> Response:
    """The columns of LEADS.md, figures, filters, an order, and what is done with many at once."""
    wanted, sort = what.wanted(), what.sort or pool_lists.NEWEST
    after = paging.key_of(what.cursor or None, _kind(sort), int)
    with reading(desk.engine) as connection:
        saved = views.seen(connection, agent_of(connection, caller), Kind.POOLS)
        opened = next((each for each in saved if each.id == what.view), None)
        if opened is not None and request.query_params.keys() == {"view"}:
            return RedirectResponse(pool_filter.address(opened), 303)
        known = kpis.known(connection)
        added = figures.chosen(request, known)
        where = figures.standing(here(request), added)
        page = pool_lists.page(connection, wanted, sort=sort, after=after, limit=SHOWN)
        numbers = [row["id"] for row in page.rows]
        days = pool_calls.last_days(desk.clock(), USED_DAYS)
        facts: dict[str, Any] = {
            "figures": _figures(connection, numbers, added, desk.clock()),
            "days": days,
            "calls": pool_calls.of_pools(connection, numbers, days),
            "campaigns": pool_lists.campaigns_of_pools(connection),
            "projects": pool_lists.projects_of_pools(connection),
            "columns": pool_views.columns(what.column),
            "changed": opened is not None and _changed(connection, where, opened),
            "teams": teams(connection),
        }
    return show(
        request,
        "pools.html",
        fragment="rows",
        here=where,
        pools=page.rows,
        next=paging.cursor(*page.following) if page.following else None,
        sort=sort,
        filtered=wanted != Wanted(),
        states=[(state, state) for state in PoolState],
        views=saved,
        opened=opened,
        every=pool_views.COLUMNS,
        added=added,
        choices=figures.groups(known, added),
        kpi_title=figures.title,
        **facts,
    )


@pages.get("/pools/{number}/figure", access=LOOKING)
def one_figure(request: Request, desk: AtDesk, number: int, kpi: Annotated[str, Query(max_length=100)]) -> Response:
    """A figure that is counted by reading the leads of its pool: it comes after the page that shows it."""
    with reading(desk.engine) as connection:
        ((found, value),) = kpis.measured(connection, number, [kpi], desk.clock())
    text, heading = figures.written(found, value), figures.title(found)
    return show(request, "figure.html", fragment="value", text=text, heading=heading, number=number)


@pages.post("/pools/kpis", access=LOOKING)
def choose_figures(
    desk: AtDesk,
    kpi: Annotated[list[str], Form(max_length=200)] = [],  # noqa: B006 - FastAPI's way to say none
    without: Annotated[str, Form(max_length=100)] = "",
    next: Annotated[str, Form(max_length=2_000)] = "/pools",  # noqa: A002 - the field's name in the form
) -> Response:
    """Adds figures or takes one away, and goes back to the list with them in its address.

    The browser remembers them, but not those of a view, which has its own.
    """
    with reading(desk.engine) as connection:
        known = {each.name for each in kpis.known(connection)}
    names = [name for name in dict.fromkeys(kpi) if name in known and name != without]
    if len(names) > pool_views.MOST_FIGURES:
        raise Invalid("kpi_unknown", f"at most {pool_views.MOST_FIGURES} figures are shown at once", field="body.kpi")
    path = local_path(next)
    answer = onward(figures.address(path, names))
    if "view" not in parse_qs(urlsplit(path).query):
        figures.remember(answer, names)
    return answer


def _figures(
    connection: Connection, numbers: list[int], added: list[kpis.Kpi], at: datetime
) -> dict[int, list[tuple[kpis.Kpi, str | None]]]:
    """Pool → each figure as it is written; None for one that comes later."""
    quick = [kpi.name for kpi in added if not figures.slow(kpi)]
    measured = kpis.measured_all(connection, numbers, quick, at) if quick else {}
    values = {
        number: {kpi.name: figures.written(kpi, value) for kpi, value in found} for number, found in measured.items()
    }
    return {number: [(kpi, values.get(number, {}).get(kpi.name)) for kpi in added] for number in numbers}


def _changed(connection: Connection, where: Here, opened: View) -> bool:
    """Whether something else is looked at than what a view says."""
    said = opened.content
    return pool_views.judged(connection, pool_filter.content(where, said.name, said.shared)) != said


def _kind(sort: str) -> type:
    return int if sort.removeprefix("-") == "uploaded" else str
