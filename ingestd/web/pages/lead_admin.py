"""Lead Admin: the leads of any filter, with any columns, in any order that is offered; saved, and taken along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission
from ingestd.errors import Invalid, Rejected
from ingestd.leads import columns, filters, listing, looked_for, ordering, statuses, views
from ingestd.leads.agents import Agent
from ingestd.leads.columns import Column
from ingestd.leads.filter_fields import Field
from ingestd.leads.filters import EVERYTHING, Filter
from ingestd.leads.listing import Count, Page, Wish
from ingestd.leads.ordering import Sort
from ingestd.leads.views import Kind
from ingestd.organisation import changes
from ingestd.store import organisation
from ingestd.store.engine import reading
from ingestd.web.api import lead_admin as api
from ingestd.web.api.access import needs
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.lead_admin import ToExport
from ingestd.web.api.leads import agent_of
from ingestd.web.pages import lead_filter
from ingestd.web.pages.rendering import Here, here, onward, show
from ingestd.web.pages.routes import Pages
from ingestd.web.pages.views import teams

pages = Pages()

ADMINISTERING = needs(Permission.LEAD_ADMIN)
PAGE = 50
PATIENCE = listing.PATIENCE
"""seconds that a page is looked for"""
_NONE = Count(leads=0, exact=True)

Text = Annotated[str, Query(max_length=lead_filter.LONGEST)]
Word = Annotated[str, Query(max_length=200)]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which leads, what of them and in which order, as the address says."""

    fields: Mapping[str, Field]
    every: Mapping[str, Column]
    tree: Filter
    columns: Sequence[Column]
    sort: Sort

    @property
    def names(self) -> str:
        """The columns as they stand in the address."""
        return ",".join(column.name for column in self.columns)


@dataclass(frozen=True, kw_only=True)
class Found:
    """A page of them, or what keeps it from being there."""

    rows: Sequence[tuple[Any, ...]] = ()
    """the number of each lead, then its cells"""
    page: Page | None = None
    count: Count = _NONE
    sort: str = ""
    problem: str = ""
    sorts: Sequence[str] = ()
    """columns by which these leads can be sorted, when the one that was asked for is not among them"""


@pages.get("/leads", access=ADMINISTERING)
def list_leads(  # noqa: PLR0913, PLR0917 - each is a part of the request
    request: Request,
    desk: AtDesk,
    caller: ByCaller,
    filter: Text = "",  # noqa: A002 - the parameter's name in the address
    columns: Text = "",
    sort: Word = "",
    view: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
    add: Word = "",
    cursor: Annotated[str | None, Query(max_length=listing.LONGEST_CURSOR)] = None,
) -> Response:
    """A page of the leads that the person sees; the newest upload first."""
    problem = ""
    if lead_filter.QUICK.keys() & request.query_params.keys():  # such as a pool's link to its leads
        return RedirectResponse(f"/leads/narrow?{request.url.query}", 303)
    with reading(desk.engine) as connection:
        who = agent_of(connection, caller)
        saved = views.seen(connection, who, Kind.LEADS)
        opened = next((each for each in saved if each.id == view), None)
        if opened is not None and not (filter or columns or sort):
            return RedirectResponse(_address_of(opened, desk, connection), 303)
        try:
            asked = read(desk, connection, filter, columns, sort)
        except Invalid as wrong:
            asked, problem = read(desk, connection, "", "", ""), wrong.message
        found = Found(problem=problem) if problem else _found(desk, connection, asked, who, cursor)
        pickers = suggestions(connection)
    return show(
        request,
        "leads.html",
        asked=asked,
        found=found,
        chips=lead_filter.chips(asked.tree),
        quick=lead_filter.quick(asked.tree),
        written=filter if problem else lead_filter.told(asked.tree),
        views=saved,
        opened=opened,
        changed=opened is not None and not _says(opened, asked),
        adding=asked.fields.get(add),
        operators_of=lead_filter.operators_of,
        hint=lead_filter.hint,
        every_lead=EVERYTHING,
        sets=_sets(asked),
        sortable=ordering.sortable,
        **pickers,
    )


@pages.get("/leads/narrow", access=ADMINISTERING)
def narrow(request: Request, desk: AtDesk) -> Response:
    """What a form of the list says becomes part of its address."""
    where = here(request)
    given = dict(where.query)
    with reading(desk.engine) as connection:
        asked = read(desk, connection, where.get("filter"), where.get("columns"), where.get("sort"))
        if phone := where.get("phone").strip():
            given["phone"] = looked_for.as_kept(connection, phone, where.get("campaign"))
    pool, notice = given.get("pool", "").replace(" ", ""), ""
    if not pool.isdecimal() and pool:
        given["pool"], notice = "", f"{pool} is no number of a lead pool, so it is not asked for."
    tree, add = lead_filter.narrowed(asked.tree, given, asked.fields), ""
    if name := where.get("field"):
        if name not in asked.fields:
            raise Invalid("filter_unusable", f"no lead has the field {name!r}", field="field")
        if op := where.get("op"):
            new = lead_filter.compared(asked.fields[name], op, where.get("value"), asked.fields)
            tree = lead_filter.joined([*lead_filter.parts(tree), new])
        else:
            add = name
    shown = _chosen(where, asked) if "choose" in given else where.get("columns")
    kept = {"view": where.get("view"), "filter": lead_filter.told(tree), "columns": shown, "sort": where.get("sort")}
    return onward(Here(path="/leads").to(**kept, add=add), notice)


@pages.post("/leads/export", access=ADMINISTERING)
def export(
    desk: AtDesk,
    caller: ByCaller,
    filter: Annotated[str, Form(max_length=lead_filter.LONGEST)] = "",  # noqa: A002 - the field's name
    columns: Annotated[str, Form(max_length=lead_filter.LONGEST)] = "",
    sort: Annotated[str, Form(max_length=200)] = "",
    format: Annotated[Literal["csv", "xlsx", "parquet"], Form()] = "csv",  # noqa: A002 - the field's name
    why: Annotated[str, Form(max_length=500, pattern=r"^[^\x00]*$")] = "",
) -> Response:
    """All of them as a file, as the API gives it; the audit has who took how many along."""
    with reading(desk.engine) as connection:
        asked = read(desk, connection, filter, columns, sort)
    names = [column.name for column in asked.columns]
    wish = ToExport(filter=filters.written(asked.tree), columns=names, sort=asked.sort.written, format=format)
    answer: Response = api.export_leads(desk, caller, wish, why)
    return answer


def read(desk: Desk, connection: Connection, filter: str, shown: str, sort: str) -> Asked:  # noqa: A002 - as in the address
    """What an address asks for; raises Invalid."""
    fields = columns.fields_of(connection, desk.schemas)
    every = columns.known(fields)
    return Asked(
        fields=fields,
        every=every,
        tree=lead_filter.read(filter, fields),
        columns=columns.chosen([name for name in shown.split(",") if name], every),
        sort=ordering.parsed(sort or None, every),
    )


def meant(desk: Desk, caller: Caller, filter: str) -> tuple[Filter, Count]:  # noqa: A002 - as in the address
    """The filter of an address, and how many leads of it the person sees; raises Invalid."""
    with reading(desk.engine) as connection:
        tree = lead_filter.read(filter, columns.fields_of(connection, desk.schemas))
        return tree, listing.count(connection, tree, agent_of(connection, caller), desk.clock())


def suggestions(connection: Connection) -> dict[str, Any]:
    """What the fields of forms offer: teams and users with their names, sources, campaigns, statuses."""
    owners = teams(connection)
    users = [
        (f"user:{user['login']}", user["name"]) for team in organisation.tree(connection) for user in team["users"]
    ]
    sources = [(f"source:{each.name}", f"{each.title}, source") for each in organisation.all_sources(connection)]
    campaigns = [(each.key, each.facts["name"]) for each in changes.every(connection, "campaign")]
    book = statuses.read(connection)
    return {
        "teams": owners,
        "owners": owners + users,
        "users": users,
        "uploaders": users + sources,
        "campaigns": campaigns,
        "statuses": [(each.code, f"{each.name} ({each.kind})") for each in book.by_code.values()],
        "book": book,
    }


def _found(desk: Desk, connection: Connection, asked: Asked, who: Agent, cursor: str | None) -> Found:
    """The page; when the order is not offered for so many leads, in the usual order, with what to do about it."""
    at, problem, sorts, sort = desk.clock(), "", list[str](), asked.sort
    common: dict[str, Any] = {"tree": asked.tree, "limit": PAGE, "who": who, "at": at, "patience": PATIENCE}
    try:
        try:
            page = listing.page(connection, Wish(cursor=cursor, sort=sort, **common))
        except Invalid as wrong:
            if wrong.code != "sort_not_offered":
                raise
            problem, sorts = wrong.message, list(wrong.facts["sorts"])
            sort = ordering.parsed(None, asked.every)
            page = listing.page(connection, Wish(sort=sort, **common))
        count = listing.count(connection, asked.tree, who, at)
    except (Invalid, Rejected) as wrong:
        return Found(problem=wrong.message)
    rows = columns.cells(connection, page.places, [columns.NUMBER, *asked.columns], at)
    return Found(rows=rows, page=page, count=count, sort=sort.written, problem=problem, sorts=sorts)


def _address_of(view: views.View, desk: Desk, connection: Connection) -> str:
    """Where a view leads: everything that it says stands in the address."""
    fields, content = columns.fields_of(connection, desk.schemas), view.content
    tree = lead_filter.told(filters.parsed(content.filter, fields))
    return Here(path="/leads").to(view=view.id, filter=tree, columns=",".join(content.columns), sort=content.sort)


def _says(view: views.View, asked: Asked) -> bool:
    """Whether a view says what is looked at."""
    content = view.content
    same = filters.parsed(content.filter, asked.fields) == asked.tree
    return same and ",".join(content.columns) == asked.names and content.sort == asked.sort.written


def _sets(asked: Asked) -> list[tuple[str, bool]]:
    """Columns that belong together, and whether all of them are shown."""
    shown = {column.name for column in asked.columns}
    return [(name, shown.issuperset(names)) for name, names in columns.SETS.items() if name != "Default"]


def _chosen(where: Here, asked: Asked) -> str:
    """The columns as the form has them: those shown before in their order, then the new ones; none: the default."""
    wanted = where.all("column")
    for name, before in _sets(asked):
        names = columns.SETS[name]
        if name in where.all("set") and not before:
            wanted += names
        elif before and name not in where.all("set"):
            wanted = [each for each in wanted if each not in names or each in columns.DEFAULT]
    before_them = [column.name for column in asked.columns if column.name in wanted]
    return ",".join(dict.fromkeys([*before_them, *wanted]))
