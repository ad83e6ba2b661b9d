"""Lead Pools: what became of every upload, with the figures that an operator adds (LEADS.md, "Lead pools")."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import Form, Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from ingestd.access.permissions import Permission
from ingestd.errors import Invalid
from ingestd.leads import kpis
from ingestd.model import PoolState
from ingestd.store import pool_lists
from ingestd.store.engine import reading
from ingestd.store.pool_lists import Wanted
from ingestd.web.api import paging
from ingestd.web.api.access import needs
from ingestd.web.api.desk import AtDesk
from ingestd.web.pages import figures, typed
from ingestd.web.pages.local import local_path
from ingestd.web.pages.rendering import here, onward, show
from ingestd.web.pages.routes import Pages

pages = Pages()

LOOKING = needs(Permission.LEAD_POOLS)
SHOWN = 50
"""pools a page"""

Word = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]


class Asked(BaseModel):
    """What the address says about the list; whatever is empty says nothing."""

    campaign: Word = ""
    project: Word = ""
    state: Word = ""
    name: Word = ""
    by: Word = ""
    since: Word = ""
    until: Word = ""
    sort: Word = ""
    cursor: Annotated[str, Field(max_length=1_000)] = ""

    def wanted(self) -> Wanted:
        """Raises Invalid for a day that is none."""
        last = typed.day(self.until, "until")
        return Wanted(
            campaign=self.campaign,
            project=self.project,
            state=self.state,
            name=self.name.strip(),
            uploaded_by=self.by.strip(),
            since=typed.day(self.since, "since"),
            until=last + timedelta(days=1) if last else None,
        )


@pages.get("/pools", access=LOOKING)
def list_pools(request: Request, desk: AtDesk, what: Annotated[Asked, Query()]) -> Response:
    """The columns of LEADS.md, figures, filters, an order, and what is done with many at once."""
    wanted, sort = what.wanted(), what.sort or pool_lists.NEWEST
    after = paging.key_of(what.cursor or None, _kind(sort), int)
    with reading(desk.engine) as connection:
        known = kpis.known(connection)
        added = figures.chosen(request, known)
        page = pool_lists.page(connection, wanted, sort=sort, after=after, limit=SHOWN)
        shown = _figures(connection, [row["id"] for row in page.rows], added, desk.clock())
        facts: dict[str, Any] = {
            "campaigns": pool_lists.campaigns_of_pools(connection),
            "projects": pool_lists.projects_of_pools(connection),
        }
    return show(
        request,
        "pools.html",
        fragment="rows",
        here=figures.standing(here(request), added),
        pools=page.rows,
        next=paging.cursor(*page.following) if page.following else None,
        sort=sort,
        filtered=wanted != Wanted(),
        states=[(state, state) for state in PoolState],
        added=added,
        figures=shown,
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
    """Adds figures or takes one away, remembers that, and goes back to the list with them in its address."""
    with reading(desk.engine) as connection:
        known = {each.name for each in kpis.known(connection)}
    names = [name for name in dict.fromkeys(kpi) if name in known and name != without]
    if len(names) > figures.MOST:
        raise Invalid("kpi_unknown", f"at most {figures.MOST} figures are shown at once", field="body.kpi")
    answer = onward(figures.address(local_path(next), names))
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


def _kind(sort: str) -> type:
    return int if sort.removeprefix("-") == "uploaded" else str
