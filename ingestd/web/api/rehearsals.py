"""Dry runs and previews: what would become of a file, said by the road itself before anything is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from ingestd.access.callers import Caller
from ingestd.errors import Missing, Unavailable
from ingestd.ingest import apart, rehearsal
from ingestd.ingest.apart import Errand
from ingestd.ingest.judging import Judge
from ingestd.leads import reruns
from ingestd.model import Arrival, Delivery, State
from ingestd.organisation import mappings
from ingestd.organisation.uploads import Wish
from ingestd.settings import Source
from ingestd.spool import Incoming
from ingestd.store import orders, organisation
from ingestd.store.engine import reading
from ingestd.store.ledger import loaded_as
from ingestd.web.api import arrivals, imports
from ingestd.web.api.deliveries import LOOKING, CountsOut, Number, ReasonOut, known
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.routes import MAX_BODY_BYTES, Routes, announced
from ingestd.web.api.source_mappings import refuse_other_source

routes = Routes("dry runs")

SMALL_BYTES = MAX_BODY_BYTES
"""Up to which a file is judged by a thread of this process; larger ones would hold up everybody who asks meanwhile."""


class ExampleOut(BaseModel):
    """One problem of its kind."""

    row: int = Field(description="the record's number in the file, 1 being the first after the header")
    value: str
    message: str


class ProblemsOut(BaseModel):
    """The problems of one kind in one column."""

    code: str
    stage: str
    severity: str = Field(description="`error`: the record is not loaded; `warning`: it is")
    column: str = Field(description="the header as written in the file; empty when it is about the whole record")
    field: str
    count: int
    suggestion: str
    examples: list[ExampleOut] = Field(description="the first three")


class ShareOut(BaseModel):
    """How many of the new leads an owner would get."""

    kind: str = Field(description="`team` or `user`")
    owner: str
    ownership_code: str | None
    leads: int


class FaultOut(BaseModel):
    """One problem of one record."""

    code: str
    severity: str
    column: str
    field: str
    value: str
    message: str
    suggestion: str


class RowOut(BaseModel):
    """One record as it would be loaded."""

    row: int
    outcome: str = Field(description="how it would end, as in the log")
    owner: str | None = Field(description="`team:<key>` or `user:<login>`")
    values: dict[str, Any] = Field(description="field → value as the lead would have it; empty when it is unreadable")
    problems: list[FaultOut]


class RehearsalOut(BaseModel):
    """What would become of a file. Nothing of it was kept."""

    state: State = Field(description="how the delivery would end")
    refused: ReasonOut | None = Field(description="why nothing of it would be loaded")
    duplicate_of: int | None = Field(description="the delivery that it would be a duplicate of")
    campaign: str
    text: dict[str, Any] = Field(description="how the file is read: encoding, delimiter …")
    mapping_version: int | None = Field(description="the source's saved mapping that was used")
    columns: dict[str, str] = Field(description="field → header")
    ignored_columns: list[str]
    unmatched_columns: list[str] = Field(description="those of them that no mapping says are to be ignored")
    counts: CountsOut
    problems: list[ProblemsOut] = Field(description="the most frequent first")
    owners: list[ShareOut]
    duplicates_in_file: int
    duplicates_in_campaign: int
    do_not_call: int = Field(description="records whose number nobody may call")
    rows: list[RowOut] = Field(description="the first records, by themselves; of a preview only")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to be rehearsed, looked at before a byte of it is read."""

    arrival: Arrival
    limit: int
    """bytes that the source takes"""
    named: bool
    """False when the sender does not say what the file will be called: then no file before it has its name"""


Own = Annotated[
    str,
    Query(
        max_length=mappings.LONGEST,
        description="for this file alone: a JSON object of header and field, laid over the source's mapping; an empty "
        "field ignores the column",
    ),
]


def asked(
    desk: AtDesk,
    caller: ByCaller,
    request: Request,
    wanted: Annotated[Wish, Depends(imports.wish)],
    name: Annotated[str, Query(description="what the file will be called; a code may be in it")] = "",
) -> Asked:
    """Raises Denied, Missing and Invalid."""
    file = arrivals.asked(request, caller, arrivals.granted(desk, caller, wanted), name or "file")
    return Asked(arrival=file.arrival, limit=file.limit, named=bool(name))


def source_of(desk: Desk, caller: Caller, name: str) -> Source:
    """An active source that the caller may act for; raises Denied and Missing."""
    refuse_other_source(caller, name)
    with reading(desk.engine) as connection:
        here = organisation.source(connection, name)
    if here is None:
        raise Missing("source_unknown", f"there is no source {name}")
    return here


def own_mapping(desk: Desk, source: Source, text: str, *, field: str = "query.mapping") -> str | None:
    """What a query says about the mapping of one file; raises Invalid."""
    if not text:
        return None
    return own_mapping_of(desk, source, mappings.parsed(text, field=field), field=field)


def own_mapping_of(desk: Desk, source: Source, given: Mapping[str, str], *, field: str) -> str:
    """The same when it is parsed already."""
    codes = (source.campaign, *source.campaigns)
    with reading(desk.engine) as connection:
        return mappings.checked(connection, given, codes, folder=desk.schemas, field=field)


@routes.post("/imports/dry-run", access=LOOKING, problems=(400, 404, 413, 503), largest=None, body=imports.BODY)
async def dry_run_import(request: Request, desk: AtDesk, what: Annotated[Asked, Depends(asked)]) -> RehearsalOut:
    """Judges a whole file as an import would, and loads nothing.

    An import of the same file ends with the same counts, unless something was loaded, listed or changed in between.
    """
    async with received(desk, request, what.limit) as incoming:
        delivery = replace(
            rehearsal.provisional(what.arrival, desk.clock()), size=incoming.size, sha256=incoming.digest()
        )
        doubled = await run_in_threadpool(_doubled, desk, what, delivery.sha256)
        if doubled is not None:
            return out(rehearsal.as_json(rehearsal.duplicate(doubled)))
        return out(await rehearsed(desk, delivery, Path(incoming.name), incoming.size))


@routes.post("/deliveries/{number}/dry-run", access=LOOKING, problems=(404, 409, 503))
async def dry_run_delivery(desk: AtDesk, caller: ByCaller, number: Number, mapping: Own = "") -> RehearsalOut:
    """Judges the file of a delivery once more, as if it came now; loads nothing and changes nothing of it."""
    delivery, incoming = await run_in_threadpool(_again, desk, caller, number, mapping)
    with closing(incoming):
        return out(await rehearsed(desk, delivery, Path(incoming.name), incoming.size))


@asynccontextmanager
async def received(desk: Desk, request: Request, limit: int) -> AsyncIterator[Incoming]:
    """The body as a temporary file, which is gone afterwards; 413 while it comes when it is too large."""
    incoming = await run_in_threadpool(arrivals.opened, desk, announced(request), limit)
    with closing(incoming):
        await arrivals.fill(incoming, request, request.stream(), limit)
        yield incoming


async def rehearsed(desk: Desk, delivery: Delivery, file: Path, size: int) -> dict[str, Any]:
    """A rehearsal as JSON has it: of a small file here, of a large one in a process of its own, one at a time."""
    if size <= SMALL_BYTES:
        judge = Judge(engine=desk.engine, schemas=desk.schemas, delivery=delivery)
        return rehearsal.as_json(await run_in_threadpool(rehearsal.rehearse, judge, file.read_bytes))
    url = desk.engine.url.render_as_string(hide_password=False)
    errand = Errand(store=url, schemas=desk.schemas, file=file, delivery=delivery)
    async with desk.rehearsing:
        return await apart.run(errand)


def out(told: dict[str, Any]) -> RehearsalOut:
    """As programs are told."""
    return RehearsalOut(**told)


def _doubled(desk: Desk, what: Asked, sha256: str) -> int | None:
    if not what.named:
        return None
    with reading(desk.engine) as connection:
        return loaded_as(connection, what.arrival, sha256)


def _again(desk: Desk, caller: Caller, number: int, mapping: str) -> tuple[Delivery, Incoming]:
    """A delivery with a copy of its bytes."""
    delivery = known(desk, caller, number)
    with reading(desk.engine) as connection:
        source = orders.source(connection, delivery)
    if source is None:
        raise Missing("source_unknown", f"there is no source {delivery.source}")
    own = own_mapping(desk, source, mapping)
    return replace(delivery, mapping=own or delivery.mapping), copy(desk, delivery)


def copy(desk: Desk, delivery: Delivery) -> Incoming:
    """The kept bytes of a delivery in a temporary file; raises Rejected when there are none, and Unavailable."""
    content = reruns.original(desk.spool, desk.engine, delivery)
    try:
        incoming = desk.landing.open(max(1, len(content)))
        incoming.write(content)
    except OSError as problem:
        raise Unavailable(f"the file of delivery {delivery.id} cannot be copied: {problem}") from problem
    return incoming
