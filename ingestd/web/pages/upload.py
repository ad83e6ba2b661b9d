"""Upload Lead Pool: campaign, owner, file; then its columns, what would become of it, and Import (LEADS.md).

Until Import is pressed the file is a draft of whoever uploaded it, and no delivery.
"""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import structlog
from fastapi import Form, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Connection

from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission
from ingestd.errors import Invalid, Missing, Rejected, Unavailable
from ingestd.ingest import ownership, rehearsal
from ingestd.leads.crews import Crews, Owner
from ingestd.model import Arrival, Delivery, State
from ingestd.organisation import changes, mappings, uploads
from ingestd.organisation.uploads import Granted, Wish
from ingestd.receive import drafts
from ingestd.receive.drafts import Draft
from ingestd.store import orders
from ingestd.store.engine import reading, writing
from ingestd.store.ledger import loaded_as
from ingestd.web.api import arrivals, forms, rehearsals
from ingestd.web.api.access import needs
from ingestd.web.api.deliveries import LARGEST
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.routes import announced, too_large
from ingestd.web.pages import columns
from ingestd.web.pages.rendering import by_htmx, onward, show
from ingestd.web.pages.routes import Pages

log = structlog.get_logger()
pages = Pages()

IMPORTING = needs(Permission.LEAD_POOLS)
MOST_OWNERS = 200
"""that are listed at once; the others are searched for"""
EVIDENCE = "end of the form"

Word = Annotated[str, Query(max_length=100)]
Fields = Annotated[list[str], Query(max_length=columns.MOST)]
"""The field of each column, in the order of the file; empty ignores it."""
FormFields = Annotated[list[str], Form(max_length=columns.MOST)]
NONE: list[str] = []


@dataclass(frozen=True, kw_only=True)
class Offered:
    """The owners that a page lists, and how many more there are."""

    owners: list[Owner]
    more: int


@pages.get("/upload", access=IMPORTING)
def begin(
    request: Request, desk: AtDesk, campaign: Word = "", owner: Word = "", q: Word = "", like: Word = ""
) -> Response:
    """Campaign, lead owner and file; with how many agents may call the leads of each owner.

    `like` names the source from whose saved mapping the columns are to start.
    """
    with reading(desk.engine) as connection:
        crews = Crews.read(connection)
    active = {code: each["name"] for code, each in crews.world["campaign"].items() if each["active"]}
    offered = _offered(crews, q.strip(), owner)
    return show(
        request,
        "upload.html",
        fragment="owners",
        campaigns=sorted((code, f"{code} · {name}") for code, name in active.items()),
        campaign=campaign,
        chosen=owner,
        q=q,
        like=like,
        offered=offered,
        counts=crews.counts(campaign),
        limit=orders.upload(campaign or "any").limits.max_file_bytes,
    )


@pages.get("/upload/crew", access=IMPORTING)
def crew(request: Request, desk: AtDesk, campaign: Word = "", owner: Word = "") -> Response:
    """Who can call these: by name."""
    with reading(desk.engine) as connection:
        found = Crews.read(connection).of(owner, campaign)
    return show(request, "upload_crew.html", fragment="crew", crew=found, owner=owner)


@pages.post("/upload", access=IMPORTING, largest=None)
async def receive(request: Request, desk: AtDesk, caller: ByCaller) -> Response:
    """Takes the file as it comes and keeps it as a draft; 413 while it comes when it is too large."""
    form, stream = forms.Form(), request.stream()
    content = await form.head(stream, forms.boundary_of(request))
    wish = Wish(campaign=form.fields.get("campaign", ""), owner=form.fields.get("owner", ""), place="body")
    granted = await run_in_threadpool(_granted, desk, wish)
    name = form.filename.replace("\\", "/").rpartition("/")[2]
    arrivals.asked(request, caller, granted, name, place="body")  # raises for a name that no file can have
    if announced(request) > granted.limit + forms.OVERHEAD:
        raise too_large(granted.limit)
    incoming = await run_in_threadpool(_open, desk, granted.limit)
    with closing(incoming):
        try:
            async for piece in arrivals.gathered(content):
                await run_in_threadpool(incoming.write, piece)
        except OSError as problem:
            if problem.errno == errno.EFBIG:
                raise too_large(granted.limit) from problem
            raise Unavailable(f"the file cannot be kept: {problem}") from problem
        draft = await run_in_threadpool(_keep, desk, caller, incoming, granted, name)
    like = form.fields.get("like", "")
    return _sent_on(request, f"/upload/{draft.number}" + (f"?{urlencode({'like': like})}" if like else ""))


@pages.get("/upload/{draft}", access=IMPORTING)
def map_columns(
    request: Request, desk: AtDesk, caller: ByCaller, draft: str, to: Fields = NONE, like: Word = ""
) -> Response:
    """Which field each column is: suggestions with samples; `like` starts from the saved mapping of a source."""
    held = _draft(desk, caller, draft)
    with reading(desk.engine) as connection:
        crews = Crews.read(connection)
        sources = _sources(connection, held.campaign)
    facts: dict[str, Any] = {"draft": held, "like": like, "whys": columns.WHYS}
    facts |= {"crew": crews.of(held.owner, held.campaign), "owner_name": crews.names.get(held.owner, held.owner)}
    facts["sources"] = [(name, name) for name in sources]
    try:
        table = columns.table(desk, held, like if like in sources else "")
    except Rejected as problem:
        return show(request, "upload_columns.html", table=None, refused=problem, **facts)
    chosen = to if len(to) == len(table.columns) else [each.field or "" for each in table.columns]
    return show(request, "upload_columns.html", table=table, refused=None, chosen=chosen, **facts)


@pages.get("/upload/{draft}/preview", access=IMPORTING)
def preview(request: Request, desk: AtDesk, caller: ByCaller, draft: str, to: Fields = NONE) -> Response:
    """What will happen, of the whole file; it comes after the page, since a large file takes seconds."""
    held = _draft(desk, caller, draft)
    return show(request, "upload_preview.html", draft=held, to=to)


@pages.get("/upload/{draft}/rehearsal", access=IMPORTING)
async def rehearse(request: Request, desk: AtDesk, caller: ByCaller, draft: str, to: Fields = NONE) -> Response:
    """Judges the whole file as an import would, and loads nothing."""
    held = await run_in_threadpool(_draft, desk, caller, draft)
    told = await _rehearsed(request, desk, caller, held, to)
    sources, names = await run_in_threadpool(_beside, desk, caller, held)
    facts: dict[str, Any] = {
        "draft": held,
        "to": to,
        "told": told,
        "sources": sources,
        "names": names,
        "ask": ownership.ASK,
    }
    return show(request, "upload_rehearsal.html", fragment="rehearsal", parts=_parts(told["counts"]), **facts)


@pages.post("/upload/{draft}/import", access=IMPORTING)
def import_draft(
    request: Request,
    desk: AtDesk,
    caller: ByCaller,
    draft: str,
    to: FormFields = NONE,
    save: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Makes the draft a delivery, as a file of any other door, and may save its mapping for a source."""
    held = _draft(desk, caller, draft)
    granted = _with_mapping(desk, held, to)
    if save:
        _save(desk, caller, held, save, to)
    asked = arrivals.asked(request, caller, granted, held.name)
    arrival = dataclasses.replace(asked.arrival, evidence=EVIDENCE)
    with closing(drafts.copy(desk.spool, held)) as incoming:
        try:
            receipt = desk.landing.accept(incoming, arrival)
        except OSError as problem:
            raise Unavailable(f"the file cannot be kept: {problem}") from problem
    drafts.discard(desk.spool, held.number)
    log.info("page_landed", login=arrival.login, peer=arrival.peer, name=held.name, receipt=str(receipt))
    return onward(f"/upload/deliveries/{receipt.delivery_id}")


@pages.post("/upload/{draft}/discard", access=IMPORTING)
def discard(desk: AtDesk, caller: ByCaller, draft: str) -> Response:
    """Forgets an uploaded file."""
    held = _draft(desk, caller, draft)
    drafts.discard(desk.spool, held.number)
    return onward("/upload", f"{held.name} was forgotten. Nothing of it was imported.")


@pages.get("/upload/deliveries/{number}", access=IMPORTING)
def follow(request: Request, desk: AtDesk, number: Annotated[int, PathParameter(ge=1, le=LARGEST)]) -> Response:
    """Waits for the pool of an import, and goes there."""
    delivery = desk.ledger.get(number)
    if delivery is None:
        raise Missing("delivery_unknown", f"there is no delivery {number}")
    if delivery.pool_id is not None and _ended(delivery):
        return _sent_on(request, f"/pools/{delivery.pool_id}")
    return show(request, "upload_wait.html", fragment="state", delivery=delivery, ended=_ended(delivery))


def _sent_on(request: Request, path: str) -> Response:
    """To the next page: what a script has asked for cannot see a redirect."""
    if by_htmx(request):
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={"HX-Redirect": path})
    return onward(path)


def _offered(crews: Crews, wanted: str, chosen: str) -> Offered:
    """Those that a search finds, with the one that is chosen already."""
    key = wanted.casefold()
    found = [
        owner
        for owner in crews.owners()
        if owner.word == chosen or key in f"{owner.word} {owner.name} {owner.code} {' '.join(owner.path)}".casefold()
    ]
    return Offered(owners=found[:MOST_OWNERS], more=max(0, len(found) - MOST_OWNERS))


def _granted(desk: Desk, wish: Wish) -> Granted:
    if not wish.owner:
        raise Invalid("owner_unknown", "choose the team or user that is to own the leads", field="body.owner")
    with reading(desk.engine) as connection:
        return uploads.grant(connection, wish, folder=desk.schemas)


def _with_mapping(desk: Desk, held: Draft, to: list[str]) -> Granted:
    """What the file may have, with the mapping that was chosen for its columns; raises Invalid."""
    mapping = columns.mapping(desk, held, to) if to else {}
    wish = Wish(campaign=held.campaign, owner=held.owner, mapping=columns.written(mapping), place="body")
    return _granted(desk, wish)


def _open(desk: Desk, limit: int) -> Any:
    drafts.sweep(desk.spool, desk.clock())
    try:
        return desk.landing.open(limit)
    except OSError as problem:
        raise Unavailable(f"nothing can be received: {problem}") from problem


def _keep(desk: Desk, caller: Caller, incoming: Any, granted: Granted, name: str) -> Draft:
    assert caller.person is not None, "pages are for people"
    facts = {"user_id": caller.person.id, "campaign": granted.folder, "owner": granted.default_owner, "name": name}
    try:
        draft = drafts.keep(desk.spool, incoming, desk.clock(), **facts)
    except OSError as problem:
        raise Unavailable(f"the file cannot be kept: {problem}") from problem
    log.info("draft_kept", login=caller.person.login, name=name, received=draft.size)
    return draft


def _draft(desk: Desk, caller: Caller, number: str) -> Draft:
    assert caller.person is not None, "pages are for people"
    return drafts.get(desk.spool, number, caller.person.id, desk.clock())


def _doubled(desk: Desk, arrival: Arrival, held: Draft) -> int | None:
    with reading(desk.engine) as connection:
        return loaded_as(connection, arrival, held.sha256)


async def _rehearsed(request: Request, desk: Desk, caller: Caller, held: Draft, to: list[str]) -> dict[str, Any]:
    granted = await run_in_threadpool(_with_mapping, desk, held, to)
    arrival = arrivals.asked(request, caller, granted, held.name).arrival
    delivery = dataclasses.replace(
        rehearsal.provisional(arrival, desk.clock()), size=held.size, sha256=held.sha256, evidence=EVIDENCE
    )
    doubled = await run_in_threadpool(_doubled, desk, arrival, held)
    if doubled is not None:
        return rehearsal.as_json(rehearsal.duplicate(doubled))
    incoming = await run_in_threadpool(drafts.copy, desk.spool, held)
    with closing(incoming):
        return await rehearsals.rehearsed(desk, delivery, Path(incoming.name), incoming.size)


def _beside(desk: Desk, caller: Caller, held: Draft) -> tuple[list[str], Mapping[str, str]]:
    """The sources for which this person may save a mapping, and what owners are called."""
    may_save = Permission.MANAGE_SOURCES in caller.permissions
    with reading(desk.engine) as connection:
        return _sources(connection, held.campaign) if may_save else [], Crews.read(connection).names


def _parts(counts: dict[str, int]) -> list[tuple[str, int, str]]:
    """How the records would end, adding up to all of them."""
    return [
        ("new lead" if counts["inserted"] == 1 else "new leads", counts["inserted"], "good"),
        ("update a lead", counts["updated"], "good2"),
        ("there already", counts["unchanged"], "calm"),
        ("duplicate" if counts["duplicate"] == 1 else "duplicates", counts["duplicate"], "warn"),
        ("rejected", counts["rejected"], "bad"),
        ("empty", counts["discarded"], "off"),
    ]


def _sources(connection: Connection, campaign: str) -> list[str]:
    """The active sources that load into a campaign: their saved mappings are likely to fit."""
    return [
        each.key
        for each in changes.every(connection, "source")
        if each.facts["active"] and campaign in (each.facts["campaign"], *each.facts["campaigns"])
    ]


def _save(desk: Desk, caller: Caller, held: Draft, source: str, to: list[str]) -> None:
    """The mapping of later files of a source, as its own page saves it."""
    caller.require([Permission.MANAGE_SOURCES])
    with reading(desk.engine) as connection:
        if source not in _sources(connection, held.campaign):
            raise Invalid("value_unusable", "no source of that name loads into this campaign", field="body.save")
    deed = caller.deed(desk.clock(), f"saved with the import of {held.name}")
    with writing(desk.engine) as connection:
        mappings.save(connection, deed, source, columns.mapping(desk, held, to), folder=desk.schemas)


def _ended(delivery: Delivery) -> bool:
    return delivery.state not in (State.RECEIVED, State.QUEUED, State.RUNNING)
