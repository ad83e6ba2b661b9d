"""Files that arrive in the body of a request: asked for before they are read, and landed as at every other door."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ingestd.access.callers import Caller
from ingestd.errors import Denied, Invalid, Unavailable
from ingestd.model import Arrival, Completeness
from ingestd.organisation import uploads
from ingestd.organisation.uploads import Granted, Wish
from ingestd.receive import names
from ingestd.receive.companions import kind_of
from ingestd.receive.landing import Receipt
from ingestd.spool import Incoming
from ingestd.store.engine import reading
from ingestd.store.idempotency import Answer
from ingestd.web.api.desk import Desk
from ingestd.web.api.gate import address
from ingestd.web.api.repeating import REPLAYED, Turn
from ingestd.web.api.routes import PREFIX, announced, too_large

log = structlog.get_logger()

PIECE = 256 * 1024
"""bytes that are gathered before a thread writes them: a thread for each packet would cost more than the writing"""
LOOK_AGAIN_SECONDS = 1
"""When a small file is likely loaded; larger ones are asked for once more."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How a file comes in, and the most bytes that it may have."""

    arrival: Arrival
    limit: int


def granted(desk: Desk, caller: Caller, wish: Wish) -> Granted:
    """What a sender may have; raises Denied for another source than the key's, and as `uploads.grant` does."""
    saved = wish.mapping.removeprefix(uploads.SAVED) if wish.mapping.startswith(uploads.SAVED) else wish.source
    for source in (wish.source, saved):
        if not caller.may_act_for(source):
            raise Denied("key_bound", f"this key is for the source {caller.source}", source=caller.source)
    with reading(desk.engine) as connection:
        return uploads.grant(connection, wish, folder=desk.schemas)


def asked(
    request: Request, caller: Caller, wanted: Granted, name: str, *, place: str = "query", protocol: str = "http"
) -> Asked:
    """The file as it will be recorded; raises Invalid for a name that no file can have."""
    if reason := names.problem(name):
        raise Invalid("name_unusable", f"the name {reason}", field=f"{place}.name")
    if kind_of(name):
        told = "that is the name of a companion, which no file needs here: HTTP itself says that the body is whole"
        raise Invalid("name_unusable", told, field=f"{place}.name")
    arrival = Arrival(
        source=wanted.source,
        login=caller.actor.name,
        peer=address(request),
        protocol=protocol,
        name=name,
        folder=wanted.folder,
        completeness=Completeness.PROVEN,
        evidence="content-length" if "content-length" in request.headers else "last chunk",
        default_owner=wanted.default_owner,
        mapping=wanted.mapping,
    )
    return Asked(arrival=arrival, limit=wanted.limit)


@dataclass(frozen=True, kw_only=True)
class Landed:
    """The delivery that a request became, now or when it came before."""

    number: int
    again: bool

    def mark(self, response: Response) -> None:
        """Where to ask what becomes of it, and when."""
        response.headers["Location"] = f"{PREFIX}/deliveries/{self.number}"
        response.headers["Retry-After"] = str(LOOK_AGAIN_SECONDS)
        if self.again:
            response.headers[REPLAYED] = "true"


async def receive(desk: Desk, request: Request, body: AsyncIterator[bytes], what: Asked, turn: Turn) -> Landed:
    """Lands a file as it comes."""
    before = await run_in_threadpool(turn.before)
    incoming = await run_in_threadpool(opened, desk, min(announced(request), what.limit), what.limit)
    with closing(incoming):
        await fill(incoming, request, body, what.limit)
        return await run_in_threadpool(_settle, desk, incoming, what.arrival, turn, before)


def keep(desk: Desk, content: bytes, what: Asked, turn: Turn) -> Landed:
    """Lands a file that is there already."""
    before = turn.before()
    with closing(opened(desk, len(content), what.limit)) as incoming:
        try:
            incoming.write(content)
        except OSError as problem:
            raise _untakeable(problem, what.limit) from problem
        return _settle(desk, incoming, what.arrival, turn, before)


def _settle(desk: Desk, incoming: Incoming, arrival: Arrival, turn: Turn, before: Answer | None) -> Landed:
    """A request that came before was done then, and its bytes are not kept again."""
    content = incoming.digest()
    if before is not None:
        turn.check(before, content)
        return Landed(number=before.delivery_id, again=True)
    return Landed(number=_accept(desk, incoming, arrival, turn, content), again=False)


def opened(desk: Desk, size: int, limit: int) -> Incoming:
    """A file to write into, when what is announced is not too much for the source or the disk."""
    if size > limit:
        raise too_large(limit)
    try:
        desk.landing.settle_doubts()
        desk.landing.check_room(size)
        return desk.landing.open(limit)
    except OSError as problem:
        raise Unavailable(f"nothing can be received: {problem}") from problem


async def fill(incoming: Incoming, request: Request, body: AsyncIterator[bytes], limit: int) -> None:
    """Writes the body as it arrives, by a thread: disks are slow, and the loop is everybody's."""
    try:
        async for piece in gathered(body):
            await run_in_threadpool(incoming.write, piece)
    except OSError as problem:
        raise _untakeable(problem, limit) from problem
    except ClientDisconnect as gone:
        log.info("http_broken", peer=address(request), received=incoming.size)
        raise HTTPException(HTTPStatus.BAD_REQUEST, "the body did not come to its end") from gone
    except HTTPException as problem:
        if problem.status_code == HTTPStatus.REQUEST_TIMEOUT:
            log.info("http_stalled", peer=address(request), received=incoming.size)
        raise


def _untakeable(problem: OSError, limit: int) -> HTTPException | Unavailable:
    if problem.errno == errno.EFBIG:
        return too_large(limit)
    return Unavailable(f"the file cannot be kept: {problem}")


async def gathered(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in larger pieces."""
    some = bytearray()
    async for chunk in chunks:
        some += chunk
        if len(some) >= PIECE:
            yield bytes(some)
            some.clear()
    if some:
        yield bytes(some)


def _accept(desk: Desk, incoming: Incoming, arrival: Arrival, turn: Turn, content: str) -> int:
    """Makes a whole file a delivery, and writes down the answer of its request with it."""
    try:
        receipt: Receipt = desk.landing.accept(
            incoming, arrival, lambda connection, number: turn.keep(connection, number, content, HTTPStatus.ACCEPTED)
        )
    except OSError as problem:
        raise Unavailable(f"the file cannot be kept: {problem}") from problem
    facts = {"source": arrival.source, "login": arrival.login, "peer": arrival.peer, "name": arrival.name}
    log.info("http_landed", **facts, folder=arrival.folder, receipt=str(receipt), received=receipt.size)
    assert receipt.delivery_id is not None, "without a prover every file is a delivery"
    return receipt.delivery_id
