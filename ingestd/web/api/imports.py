"""Import by HTTP: the body of a request is a file, and lands as the files of every other door do."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import closing
from http import HTTPStatus
from typing import Annotated

import structlog
from fastapi import Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission
from ingestd.errors import Denied, Invalid, Missing, Unavailable
from ingestd.model import Arrival, Completeness
from ingestd.receive import names
from ingestd.receive.companions import kind_of
from ingestd.receive.landing import Receipt
from ingestd.spool import Incoming
from ingestd.store import organisation
from ingestd.store.engine import reading
from ingestd.web.api.access import needs
from ingestd.web.api.deliveries import DeliveryOut, known, out
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.gate import address
from ingestd.web.api.routes import PREFIX, Routes, announced, too_large

log = structlog.get_logger()
routes = Routes("imports")

PIECE = 256 * 1024
"""bytes that are gathered before a thread writes them: a thread for each packet would cost more than the writing"""
LOOK_AGAIN_SECONDS = 1
"""When a small file is likely loaded; larger ones are asked for once more."""

_FILE = {"schema": {"type": "string", "format": "binary"}}
BODY = {"required": True, "content": dict.fromkeys(("application/octet-stream", "text/csv"), _FILE)}


def _asked(
    desk: AtDesk,
    caller: ByCaller,
    request: Request,
    source: Annotated[str, Query(max_length=64, description="the source whose mapping and rules the file has")],
    name: Annotated[str, Query(description="the file's name, without folders")],
    campaign: Annotated[str, Query(max_length=64, description="one of the source's; empty: its own")] = "",
) -> tuple[Arrival, int]:
    """How the file comes in, and the most bytes that its source takes; looked at before a byte of it is read."""
    limit = _limit(desk, caller, source)
    if reason := names.problem(name):
        raise Invalid("name_unusable", f"the name {reason}", field="query.name")
    if kind_of(name):
        told = "that is the name of a companion, which no file needs here: HTTP itself says that the body is whole"
        raise Invalid("name_unusable", told, field="query.name")
    if campaign and not names.is_folder(campaign):
        raise Invalid("value_unusable", "that is no campaign's code", field="query.campaign")
    arrival = Arrival(
        source=source,
        login=caller.actor.name,
        peer=address(request),
        protocol="http",
        name=name,
        folder=campaign,
        completeness=Completeness.PROVEN,
        evidence="content-length" if "content-length" in request.headers else "last chunk",
    )
    return arrival, limit


def _limit(desk: Desk, caller: Caller, name: str) -> int:
    """The most bytes that a source takes; raises Denied for one that is not the key's, Missing for an unknown one."""
    if not caller.may_act_for(name):
        raise Denied("key_bound", f"this key is for the source {caller.source}", source=caller.source)
    with reading(desk.engine) as connection:
        source = organisation.source(connection, name)
    if source is None:
        raise Missing("source_unknown", f"there is no source {name}")
    return source.limits.max_file_bytes


@routes.post(
    "/imports",
    access=needs(Permission.LEAD_POOLS, bound_keys=True),
    status_code=HTTPStatus.ACCEPTED,
    problems=(400, 404, 413, 503),
    largest=None,
    body=BODY,
)
async def import_file(
    request: Request,
    response: Response,
    desk: AtDesk,
    caller: ByCaller,
    asked: Annotated[tuple[Arrival, int], Depends(_asked)],
) -> DeliveryOut:
    """Receives a file as it is, packed or not, and queues it. The same file again ends as a duplicate.

    When this answers 202 the bytes survive a power cut. `Location` is where its state is seen.
    """
    arrival, limit = asked
    incoming = await run_in_threadpool(open_for, desk, announced(request), limit)
    with closing(incoming):
        await fill(incoming, request, limit)
        receipt = await run_in_threadpool(_accept, desk, incoming, arrival)
    assert receipt.delivery_id is not None, "without a prover every file is a delivery"
    response.headers["Location"] = f"{PREFIX}/deliveries/{receipt.delivery_id}"
    response.headers["Retry-After"] = str(LOOK_AGAIN_SECONDS)
    return out(await run_in_threadpool(known, desk, caller, receipt.delivery_id))


def open_for(desk: Desk, size: int, limit: int) -> Incoming:
    """A file to write into, when what is announced is not too much for the source or the disk."""
    if size > limit:
        raise too_large(limit)
    try:
        desk.landing.settle_doubts()
        desk.landing.check_room(size)
        return desk.landing.open(limit)
    except OSError as problem:
        raise Unavailable(f"nothing can be received: {problem}") from problem


async def fill(incoming: Incoming, request: Request, limit: int) -> None:
    """Writes the body as it arrives, by a thread: disks are slow, and the loop is everybody's."""
    try:
        async for piece in _pieces(request):
            await run_in_threadpool(incoming.write, piece)
    except OSError as problem:
        if problem.errno == errno.EFBIG:
            raise too_large(limit) from problem
        raise Unavailable(f"the file cannot be kept: {problem}") from problem
    except ClientDisconnect as gone:
        log.info("http_broken", peer=address(request), received=incoming.size)
        raise HTTPException(HTTPStatus.BAD_REQUEST, "the body did not come to its end") from gone


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    gathered = bytearray()
    async for chunk in request.stream():
        gathered += chunk
        if len(gathered) >= PIECE:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


def _accept(desk: Desk, incoming: Incoming, arrival: Arrival) -> Receipt:
    try:
        receipt = desk.landing.accept(incoming, arrival)
    except OSError as problem:
        raise Unavailable(f"the file cannot be kept: {problem}") from problem
    facts = {"source": arrival.source, "login": arrival.login, "peer": arrival.peer, "name": arrival.name}
    log.info("http_landed", **facts, folder=arrival.folder, receipt=str(receipt), received=receipt.size)
    return receipt
