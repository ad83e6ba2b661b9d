"""What the address of Lead Pools says: which pools, which columns and figures, in which order; as a saved view, too."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from ingestd.leads import pool_views
from ingestd.leads.pool_views import COLUMNS, FIGURE, FILTERS
from ingestd.leads.views import NOBODY, Content, Kind, View
from ingestd.store.pool_lists import NEWEST, Wanted
from ingestd.web.pages import figures
from ingestd.web.pages.rendering import Here

Word = Annotated[str, Field(max_length=pool_views.LONGEST, pattern=r"^[^\x00]*$")]


class Asked(BaseModel):
    """What the address says about the list; whatever is empty says nothing."""

    campaign: Word = ""
    project: Word = ""
    state: Word = ""
    name: Word = ""
    by: Word = ""
    since: Word = ""
    until: Word = ""
    column: list[Word] = []
    sort: Word = ""
    cursor: Annotated[str, Field(max_length=1_000)] = ""
    view: int | None = Field(None, ge=1, lt=2**63)

    def wanted(self) -> Wanted:
        """Raises Invalid for a day that is none."""
        return pool_views.wanted({name: getattr(self, name) for name in FILTERS})


def content(where: Here, name: str, shared: str = NOBODY) -> Content:
    """What an address says, as a view would have it; not judged yet. Pure."""
    added = [f"{FIGURE}{each}" for each in where.all("kpi") if each != figures.NONE]
    return Content(
        kind=Kind.POOLS,
        name=name,
        filter={each: where.get(each) for each in FILTERS if where.get(each)},
        columns=(*where.all("column"), *added),
        sort=where.get("sort"),
        shared=shared,
    )


def address(view: View) -> str:
    """Where a view leads: everything that it says stands in the address, also that it has no figures. Pure."""
    said = view.content
    own = [name for name in said.columns if name in COLUMNS]
    return Here(path="/pools").to(
        view=view.id,
        **said.filter,
        column=own if len(own) < len(COLUMNS) else None,
        kpi=pool_views.figures(said.columns) or figures.NONE,
        sort=said.sort if said.sort != NEWEST else None,
    )
