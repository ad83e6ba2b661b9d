"""Do-not-call lists: who is on them, since when and why, and what adding a number does to the leads that are there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Annotated, TypeVar

from fastapi import Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from ingestd import schemas
from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission
from ingestd.errors import Invalid, Missing, Rejected
from ingestd.leads import access, do_not_call
from ingestd.leads.do_not_call import Imported, Listing
from ingestd.leads.lead import Lead
from ingestd.leads.selection import Filter, latest
from ingestd.receive import names
from ingestd.store.engine import reading, writing
from ingestd.web.api import paging
from ingestd.web.api.access import needs
from ingestd.web.api.arrivals import fill, opened
from ingestd.web.api.bodies import Given
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.imports import BODY
from ingestd.web.api.leads import agent_of
from ingestd.web.api.paging import Cursor, Limit
from ingestd.web.api.routes import Routes, announced

routes = Routes("do not call")

ADMIN = needs(Permission.LEAD_ADMIN)
LARGEST_LIST = 35 * 1024 * 1024
"""bytes of a file of numbers, packed or not; as of a file of leads by default (LEADS.md, "Limits")"""
MOST_TOLD = 1_000
"""rejects of a file that are told one by one; all are counted"""
MOST_LEADS = 50
"""leads with one number that are named"""

Text = TypeVar("Text")
Code = Annotated[str | None, Query(max_length=64, description="code of the campaign; without: the global list")]
Region = Annotated[
    str | None, Query(pattern="^[A-Za-z]{2}$", description="country of numbers without `+`; without: the campaign's")
]
Reason = Annotated[str, Query(min_length=1, max_length=500, description="why nobody may call them")]


class ListingOut(BaseModel):
    """A number on a list."""

    phone: str = Field(description="E.164")
    campaign: str | None = Field(description="code of the campaign whose list it is; null: the global one")
    reason: str
    added_at: datetime


class Listings(BaseModel):
    """A page of a list, in the order of its numbers."""

    items: list[ListingOut]
    next: str | None = Field(description="the `cursor` of the next page; null after the last")


class ListedLead(BaseModel):
    """A lead that has a number."""

    id: int
    campaign_id: int
    pool_id: int
    status: str


class NumberOut(BaseModel):
    """What the lists say of a number, and which leads have it as their phone."""

    phone: str = Field(description="E.164")
    listed: bool
    lists: list[ListingOut]
    leads: list[ListedLead] = Field(description=f"those that the caller sees, the newest first, at most {MOST_LEADS}")


class NumbersNew(Given):
    """Numbers to be listed."""

    numbers: Annotated[list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=1000)]
    campaign: Annotated[str | None, Field(max_length=64, description="null: the global list")] = None
    region: Annotated[
        str | None, Field(pattern="^[A-Za-z]{2}$", description="country of numbers without `+`; null: the campaign's")
    ] = None
    reason: Annotated[str, Field(min_length=1, max_length=500, description="why nobody may call them")]


class AddedOut(BaseModel):
    """What became of numbers that were put on a list."""

    added: int
    known: int = Field(description="numbers that were on the list already; their open leads are closed too")
    closed: int = Field(description="open leads that got the status of the list")


class RejectOut(BaseModel):
    """A line of a file that is no number."""

    line: int
    text: str
    reason: str


class ImportedOut(AddedOut):
    """What became of a file of numbers."""

    rejected: int = Field(description="lines that are no number; the others were added")
    rejects: list[RejectOut] = Field(description=f"the first {MOST_TOLD} of them")


class RemovedOut(BaseModel):
    """A number that was taken off a list; leads that it had closed stay closed."""

    phone: str
    campaign: str | None


@routes.get("/do-not-call", access=ADMIN, problems=(404,))
def list_do_not_call(
    desk: AtDesk,
    campaign: Code = None,
    phone: Annotated[str | None, Query(max_length=64, description="this number only")] = None,
    region: Region = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listings:
    """The global list, or a campaign's."""
    after = paging.word_of(cursor) or ""
    with reading(desk.engine) as connection:
        wanted = do_not_call.readable(connection, [phone], campaign, region)[0] if phone else None
        found = do_not_call.page(connection, campaign, limit=limit + 1, after=after, phone=wanted)
    following = paging.cursor(found[limit - 1].phone) if len(found) > limit else None
    return Listings(items=[_out(each) for each in found[:limit]], next=following)


@routes.get("/do-not-call/{phone}", access=ADMIN, problems=(404,))
def check_number(desk: AtDesk, caller: ByCaller, phone: str, region: Region = None) -> NumberOut:
    """On which lists a number is, since when and why, and which of the leads that the caller sees have it.

    422 `number_unusable`.
    """
    with reading(desk.engine) as connection:
        wanted = do_not_call.readable(connection, [phone], None, region)[0]
        found = do_not_call.of_number(connection, wanted)
        leads = _leads(connection, caller, wanted)
    told = [ListedLead(**{name: getattr(each, name) for name in ListedLead.model_fields}) for each in leads]
    return NumberOut(phone=wanted, listed=bool(found), lists=[_out(each) for each in found], leads=told)


@routes.post("/do-not-call", access=ADMIN, problems=(404,))
def add_do_not_call(desk: AtDesk, caller: ByCaller, body: NumbersNew) -> AddedOut:
    """Lists numbers, and closes their open leads at once. All or none: 422 `number_unusable` names one that is none."""
    deed = caller.deed(desk.clock(), body.reason)
    with writing(desk.engine) as connection:
        numbers = _known(lambda: do_not_call.readable(connection, body.numbers, body.campaign, body.region))
        done = do_not_call.add(connection, numbers, body.campaign, deed)
    return AddedOut(**vars(done))


@routes.post("/do-not-call/import", access=ADMIN, problems=(400, 404, 409, 413, 503), largest=None, body=BODY)
async def import_do_not_call(
    request: Request,
    desk: AtDesk,
    caller: ByCaller,
    name: Annotated[str, Query(description="the file's name, without folders")],
    reason: Reason,
    campaign: Code = None,
    region: Region = None,
) -> ImportedOut:
    """Lists every number of a file: one a line, or a table with a phone column; CSV or Excel, packed or not.

    What is no number is told with its line, and the others are added. The same file once more adds nothing. 409 says
    why a file is no list.
    """
    if fault := names.problem(name):
        raise Invalid("name_unusable", f"the name {fault}", field="query.name")
    incoming = await run_in_threadpool(opened, desk, announced(request), LARGEST_LIST)
    with closing(incoming):
        await fill(incoming, request, request.stream(), LARGEST_LIST)
        done = await run_in_threadpool(_import, desk, caller, Path(incoming.name), (name, campaign, region, reason))
    rejects = [RejectOut(line=line, text=text, reason=fault) for line, text, fault in done.unreadable[:MOST_TOLD]]
    counts = {"added": done.added, "known": done.known, "closed": done.closed}
    return ImportedOut(**counts, rejected=len(done.unreadable), rejects=rejects)


def _import(desk: Desk, caller: Caller, path: Path, asked: tuple[str, str | None, str | None, str]) -> Imported:
    name, campaign, region, reason = asked
    return _known(
        lambda: do_not_call.import_list(
            desk.engine,
            path.read_bytes(),
            name=name,
            schema=schemas.read(desk.schemas),
            campaign=campaign,
            region=region.upper() if region else None,
            deed=caller.deed(desk.clock(), reason),
        )
    )


@routes.delete("/do-not-call/{phone}", access=ADMIN, problems=(404,))
def remove_do_not_call(
    desk: AtDesk,
    caller: ByCaller,
    phone: str,
    why: Annotated[str, Query(min_length=1, max_length=500, description="the reason, for the audit")],
    campaign: Code = None,
    region: Region = None,
) -> RemovedOut:
    """Takes a number off a list. Leads that it had closed stay closed."""
    with writing(desk.engine) as connection:
        wanted = _known(lambda: do_not_call.readable(connection, [phone], campaign, region))[0]
        if not do_not_call.remove(connection, wanted, campaign, caller.deed(desk.clock(), why)):
            raise Missing("number_unlisted", f"{wanted} is not on the list")
    return RemovedOut(phone=wanted, campaign=campaign)


def _leads(connection: Connection, caller: Caller, phone: str) -> list[Lead]:
    """Those that have a number; a key of the house sees none."""
    if caller.person is None:
        return []
    seen = access.visible_to(agent_of(connection, caller))
    return latest(connection, Filter(phone=phone, further=seen), limit=MOST_LEADS)


def _known(asked: Callable[[], Text]) -> Text:
    """An unknown campaign is 404 here: it is the request's, and no file's."""
    try:
        return asked()
    except Rejected as problem:
        if problem.code == "campaign_unknown":
            raise Missing(problem.code, problem.message) from problem
        raise


def _out(each: Listing) -> ListingOut:
    return ListingOut(**vars(each))
