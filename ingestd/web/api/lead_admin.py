"""Lead Admin: lists of leads by any filter, with any columns, in any order that is offered, and as files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, Literal

from fastapi import Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission
from ingestd.leads import columns, exporting, filters, listing, ordering
from ingestd.leads.columns import Column
from ingestd.leads.exporting import MEDIA_TYPES, Export, Format
from ingestd.leads.filter_fields import Field as FilterField
from ingestd.leads.listing import Wish
from ingestd.store.engine import reading
from ingestd.web.api import paging
from ingestd.web.api.access import needs
from ingestd.web.api.bodies import Given
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.leads import LOOKING, agent_of
from ingestd.web.api.routes import Routes

routes = Routes("lead admin")

EXPORTING = needs(Permission.LEAD_ADMIN)
MAX_FILTER_BYTES = 4 * 1024 * 1024
"""of a body with a filter of many values"""

Why = Annotated[str, Query(max_length=500, description="the reason, for the audit")]
Tree = Annotated[
    dict[str, Any] | None,
    Field(description='such as `{"all": [{"field": "city", "op": "is", "value": "Lund"}]}`; null: every lead'),
]
Names = Annotated[
    list[Annotated[str, Field(max_length=200)]] | None,
    Field(max_length=columns.MOST, description="names of `/lead-fields`, in their order; null: the default ones"),
]
SortBy = Annotated[
    str | None, Field(max_length=200, description="a column; `-` before it for descending. Null: `-uploaded_at`")
]


class Search(Given):
    """Which leads, and what of them."""

    filter: Tree = None
    columns: Names = None
    sort: SortBy = None
    limit: int = Field(50, ge=1, le=paging.MOST, description="at most so many")
    cursor: str | None = Field(
        None, max_length=listing.LONGEST_CURSOR, description="`next` or `previous` of another page"
    )


class Counted(Given):
    """Which leads."""

    filter: Tree = None


class ToExport(Given):
    """Which leads, what of them, and as what."""

    filter: Tree = None
    columns: Names = None
    sort: SortBy = None
    format: Literal["csv", "xlsx", "parquet"] = "csv"


class ColumnOut(BaseModel):
    """A column, and how its field is asked for."""

    name: str
    title: str
    kind: str = Field(description="how its values are written and compared")
    operators: list[str] = Field(description="of a comparison in a filter; none: it can be shown only")
    shown: bool = Field(description="false: it can be asked for only, and is no column of a list")
    sortable: Literal["always", "few", "never"] = Field(
        description="`few`: when the filter narrows the leads to few, see `sorts` of a page"
    )


class LeadFields(BaseModel):
    """Everything that lists of leads can show and ask for."""

    columns: list[ColumnOut]
    sets: dict[str, list[str]] = Field(description="columns that belong together, by name")


class Row(BaseModel):
    """A lead of a list."""

    id: int
    values: list[Any] = Field(description="in the order of the page's `columns`")


class Found(BaseModel):
    """A page of leads."""

    columns: list[str]
    items: list[Row]
    sort: str
    next: str | None = Field(description="the `cursor` of what follows; null: nothing does")
    previous: str | None = Field(description="the `cursor` of what is before; null: nothing is")
    complete: bool = Field(description="false: the time was over before the page was full; `next` goes on looking")
    searched_until: str | None = Field(description="with `complete` false: up to which value of the sort")
    sorts: list[str] | None = Field(description="the columns by which these leads can be sorted; null: all")
    told: str = Field(description="the filter as a sentence")


class HowMany(BaseModel):
    """How many leads a filter has."""

    leads: int
    exact: bool = Field(description="false: at least so many")


@dataclass(frozen=True, kw_only=True)
class _Asked:
    wish: Wish
    columns: list[Column]


@routes.get("/lead-fields", access=LOOKING)
def list_lead_fields(desk: AtDesk) -> LeadFields:
    """What lists of leads can show, sort by and ask for, the fields of all templates too."""
    with reading(desk.engine) as connection:
        fields = columns.fields_of(connection, desk.schemas)
    every = columns.known(fields)
    told = [_column(each, ordering.sortable(each.name)) for each in every.values()]
    told += [_column(each, "never") for name, each in fields.items() if name not in every]
    return LeadFields(columns=told, sets={name: list(names) for name, names in columns.SETS.items()})


@routes.post("/leads/search", access=LOOKING, largest=MAX_FILTER_BYTES)
def search_leads(desk: AtDesk, caller: ByCaller, body: Search) -> Found:
    """A page of the leads that the caller sees.

    422 `filter_unusable`, `column_unknown`, `sort_unknown`, `cursor_unusable`, and `sort_not_offered`: so many leads
    cannot be sorted so; `facts.sorts` names the columns by which they can.
    """
    with reading(desk.engine) as connection:
        asked = _asked(desk, connection, caller, body, limit=body.limit, cursor=body.cursor)
        page = listing.page(connection, asked.wish)
        rows = columns.cells(connection, page.places, [columns.NUMBER, *asked.columns], asked.wish.at)
    return Found(
        columns=[column.name for column in asked.columns],
        items=[Row(id=row[0], values=list(row[1:])) for row in rows],
        sort=asked.wish.sort.written,
        next=page.next,
        previous=page.previous,
        complete=page.complete,
        searched_until=page.searched_until,
        sorts=None if page.sorts is None else sorted(page.sorts),
        told=filters.told(asked.wish.tree),
    )


@routes.post("/leads/count", access=LOOKING, largest=MAX_FILTER_BYTES)
def count_leads(desk: AtDesk, caller: ByCaller, body: Counted) -> HowMany:
    """How many leads of a filter the caller sees: exactly up to 10,000, if that is found out in time."""
    with reading(desk.engine) as connection:
        tree = filters.parsed(body.filter, columns.fields_of(connection, desk.schemas))
        found = listing.count(connection, tree, agent_of(connection, caller), desk.clock())
    return HowMany(leads=found.leads, exact=found.exact)


@routes.post(
    "/leads/export",
    access=EXPORTING,
    largest=MAX_FILTER_BYTES,
    response_class=Response,
    responses={
        200: {
            "description": "The file",
            "content": {media: {"schema": {"type": "string", "format": "binary"}} for media in MEDIA_TYPES.values()},
        }
    },
)
def export_leads(desk: AtDesk, caller: ByCaller, body: ToExport, why: Why = "") -> Response:
    """All leads of a filter that the caller sees, as a file. The audit has who exported how many by which filter.

    422 as for a search, and `export_too_long` for more than 1,048,575 leads as xlsx.
    """
    with reading(desk.engine) as connection:
        asked = _asked(desk, connection, caller, body)
    export = Export(wish=asked.wish, columns=asked.columns, format=Format(body.format))
    made = exporting.pieces(desk.engine, export, caller.deed(desk.clock(), why))
    named = {"Content-Disposition": f'attachment; filename="leads.{body.format}"'}
    return StreamingResponse(_begun(made), media_type=MEDIA_TYPES[export.format], headers=named)


def _column(each: Column | FilterField, sortable: Literal["always", "few", "never"]) -> ColumnOut:
    return ColumnOut(
        name=each.name,
        title=each.title,
        kind=each.kind,
        operators=list(each.operators),
        shown=isinstance(each, Column),
        sortable=sortable,
    )


def _begun(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces, of which the first is there: whatever keeps it from being made is answered as a problem."""
    first = next(pieces, b"")
    return chain([first], pieces)


def _asked(desk: Desk, connection: Connection, caller: Caller, body: Search | ToExport, **page: Any) -> _Asked:
    fields = columns.fields_of(connection, desk.schemas)
    every = columns.known(fields)
    wish = Wish(
        tree=filters.parsed(body.filter, fields),
        sort=ordering.parsed(body.sort, every),
        who=agent_of(connection, caller),
        at=desk.clock(),
        **{"limit": 1, **page},
    )
    return _Asked(wish=wish, columns=columns.chosen(body.columns, every))
