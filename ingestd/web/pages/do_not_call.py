"""Do-not-call lists: who is on them, since when and why; adding, taking off, and files of numbers."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Form, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from ingestd import schemas
from ingestd.access.callers import Caller
from ingestd.errors import Invalid, Missing, Rejected
from ingestd.leads import access, do_not_call
from ingestd.leads.do_not_call import Imported
from ingestd.leads.selection import Filter, latest
from ingestd.organisation import changes
from ingestd.receive import names
from ingestd.store.engine import reading, writing
from ingestd.web.api import forms, paging
from ingestd.web.api.arrivals import fill, opened
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.do_not_call import ADMIN, LARGEST_LIST, MOST_LEADS, MOST_TOLD
from ingestd.web.api.leads import agent_of
from ingestd.web.api.leads import told as told_leads
from ingestd.web.api.paging import Cursor
from ingestd.web.api.routes import announced, too_large
from ingestd.web.pages.rendering import onward, show
from ingestd.web.pages.routes import Pages
from ingestd.web.pages.typed import Word

pages = Pages()

PAGE = 50
MOST_TYPED = 1_000
"""numbers that are typed at once; a file takes any number"""
REGION = re.compile("[A-Za-z]{2}")

Text = Annotated[str, Query(max_length=64)]
Numbers = Annotated[str, Form(max_length=64 * MOST_TYPED, pattern=r"^[^\x00]*$")]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is looked at."""

    campaign: str = ""
    """code of the campaign whose list it is; empty: the global one"""
    search: str = ""
    """a number as people write it"""
    region: str = ""
    """the country of a number without `+`"""
    cursor: str | None = None


@pages.get("/do-not-call", access=ADMIN)
def list_numbers(
    request: Request,
    desk: AtDesk,
    caller: ByCaller,
    campaign: Text = "",
    q: Text = "",
    region: Text = "",
    cursor: Cursor = None,
) -> Response:
    """The global list or a campaign's; with a number, everything that is known of it."""
    return _page(request, desk, caller, Asked(campaign=campaign, search=q.strip(), region=region, cursor=cursor))


@pages.post("/do-not-call", access=ADMIN)
def add_numbers(
    request: Request,
    desk: AtDesk,
    caller: ByCaller,
    numbers: Numbers = "",
    campaign: Word = "",
    region: Word = "",
    reason: Word = "",
) -> Response:
    """Lists what was typed, one number a line, all or none; their open leads close at once."""
    wanted = [each.strip() for each in re.split(r"[\n;,]", numbers) if each.strip()]
    try:
        _check(wanted, reason, region)
        with writing(desk.engine) as connection:
            read = do_not_call.readable(connection, wanted, campaign or None, region or None)
            done = do_not_call.add(connection, read, campaign or None, caller.deed(desk.clock(), reason.strip()))
    except (Invalid, Rejected) as problem:
        typed = {"numbers": numbers, "reason": reason, "region": region}
        return _page(request, desk, caller, Asked(campaign=campaign), typed, problem)
    told = f"{done.added:,} added, {done.known:,} were listed already, {done.closed:,} open leads closed."
    return onward(_address(campaign), told)


@pages.post("/do-not-call/remove", access=ADMIN)
def remove_number(
    request: Request, desk: AtDesk, caller: ByCaller, phone: Word = "", campaign: Word = "", why: Word = ""
) -> Response:
    """Takes a number off a list; leads that it closed stay closed."""
    try:
        with writing(desk.engine) as connection:
            wanted = do_not_call.readable(connection, [phone], campaign or None, None)[0]
            if not do_not_call.remove(connection, wanted, campaign or None, caller.deed(desk.clock(), why)):
                raise Missing("number_unlisted", f"{wanted} is not on the list any more")
    except (Invalid, Rejected) as problem:
        return _page(request, desk, caller, Asked(campaign=campaign), None, problem)
    return onward(_address(campaign), f"{wanted} may be called again. Leads that it had closed stay closed.")


@pages.post("/do-not-call/import", access=ADMIN, largest=None)
async def import_file(request: Request, desk: AtDesk, caller: ByCaller) -> Response:
    """Lists every number of a file, and shows what of it was none."""
    form = forms.Form()
    content = await form.head(request.stream(), forms.boundary_of(request))
    if announced(request) > LARGEST_LIST + forms.OVERHEAD:
        raise too_large(LARGEST_LIST)
    incoming = await run_in_threadpool(opened, desk, 0, LARGEST_LIST)
    with closing(incoming):
        await fill(incoming, request, content, LARGEST_LIST)
        return await run_in_threadpool(_imported, request, desk, caller, form, Path(incoming.name))


def _imported(request: Request, desk: Desk, caller: Caller, form: forms.Form, path: Path) -> Response:
    said = {name: form.fields.get(name, "").strip() for name in ("campaign", "region", "reason")}
    try:
        done = _import(desk, caller, form.filename, path, said)
    except (Invalid, Rejected) as problem:
        return _page(request, desk, caller, Asked(campaign=said["campaign"]), said, problem)
    return show(
        request,
        "do_not_call_import.html",
        file=form.filename,
        done=done,
        rejects=done.unreadable[:MOST_TOLD],
        back=_address(said["campaign"]),
    )


def _import(desk: Desk, caller: Caller, filename: str, path: Path, said: dict[str, str]) -> Imported:
    name = re.split(r"[/\\]", filename)[-1]
    if not name:
        raise Invalid("name_unusable", "choose a file first", field="file")
    if fault := names.problem(name):
        raise Invalid("name_unusable", f"the name {fault}", field="file")
    _check([name], said["reason"], said["region"])
    return do_not_call.import_list(
        desk.engine,
        path.read_bytes(),
        name=name,
        schema=schemas.read(desk.schemas),
        campaign=said["campaign"] or None,
        region=said["region"].upper() or None,
        deed=caller.deed(desk.clock(), said["reason"]),
    )


def _check(wanted: list[str], reason: str, region: str) -> None:
    """Raises Invalid for what cannot be listed."""
    if not wanted:
        raise Invalid("value_unusable", "write at least one number", field="numbers")
    if len(wanted) > MOST_TYPED:
        told = f"these are {len(wanted):,} numbers; at most {MOST_TYPED:,} are typed at once, more come as a file"
        raise Invalid("value_unusable", told, field="numbers")
    if not reason.strip() or len(reason) > 500 or "\0" in reason:
        raise Invalid("reason_missing", "say why nobody may call them, in at most 500 characters", field="reason")
    if region and not REGION.fullmatch(region):
        raise Invalid("value_unusable", "a country has two letters, such as DK", field="region")


def _page(
    request: Request,
    desk: Desk,
    caller: Caller,
    asked: Asked,
    typed: dict[str, str] | None = None,
    problem: Invalid | Rejected | None = None,
) -> Response:
    after = paging.word_of(asked.cursor) or ""
    with reading(desk.engine) as connection:
        campaigns = [(each.key, f"{each.facts['name']} ({each.key})") for each in changes.every(connection, "campaign")]
        known = asked.campaign if any(key == asked.campaign for key, _ in campaigns) else ""
        listings = do_not_call.page(connection, known or None, limit=PAGE + 1, after=after)
    number, fault = None, problem
    if asked.search and problem is None:
        try:
            number = _number(desk, caller, asked.search, asked.region or None)
        except Invalid as found:
            fault = found
    return show(
        request,
        "do_not_call.html",
        status=HTTPStatus.OK if problem is None else HTTPStatus.UNPROCESSABLE_ENTITY,
        campaigns=campaigns,
        campaign=known,
        listings=listings[:PAGE],
        next=paging.cursor(listings[PAGE - 1].phone) if len(listings) > PAGE else None,
        search=asked.search,
        region=asked.region,
        number=number,
        typed=typed or {},
        problem=fault,
        megabytes=LARGEST_LIST // 1024 // 1024,
    )


def _number(desk: Desk, caller: Caller, search: str, region: str | None) -> dict[str, Any]:
    """On which lists a number is, and the leads with it that the person sees; raises Invalid for what is no number."""
    if region and not REGION.fullmatch(region):
        raise Invalid("value_unusable", "a country has two letters, such as DK", field="region")
    with reading(desk.engine) as connection:
        who = agent_of(connection, caller)
        phone = do_not_call.readable(connection, [search], None, region)[0]
        found = latest(connection, Filter(phone=phone, further=access.visible_to(who)), limit=MOST_LEADS)
        listed = do_not_call.of_number(connection, phone)
        return {"phone": phone, "lists": listed, "leads": told_leads(connection, list(found))}


def _address(campaign: str) -> str:
    return "/do-not-call" + (f"?{urlencode({'campaign': campaign})}" if campaign else "")
