"""Pages that hear when something has changed: one look a second for all of them, and no thread for any."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from http import HTTPStatus

import structlog
from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from ingestd.access.permissions import Permission
from ingestd.errors import Unavailable
from ingestd.store import deliveries
from ingestd.store.engine import reading
from ingestd.web.api.access import needs
from ingestd.web.api.desk import Desk
from ingestd.web.pages.routes import Pages

log = structlog.get_logger()
pages = Pages()

LOOK_SECONDS = 1.0
HEARTBEAT_SECONDS = 15.0
"""A proxy closes what says nothing for long; and who has gone is noticed when something is said."""
STREAM_SECONDS = 120.0
"""Then the browser asks anew, and it is looked at again whether it may."""
MOST_LISTENERS = 40
"""Each holds one of the server's connections (server.CONNECTIONS); who comes too late asks every few seconds."""


@dataclass(kw_only=True)
class Bell:
    """Rings for all who listen when what `look` sees is another than before; looks only while somebody listens."""

    look: Callable[[], str]
    seconds: float = LOOK_SECONDS
    listeners: int = 0
    rung: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    async def rings(self, patience: float) -> bool:
        """True as soon as it rings, False when it does not within so many seconds."""
        try:
            await asyncio.wait_for(self.rung.wait(), patience)
        except TimeoutError:
            return False
        return True

    async def _watch(self) -> None:
        before = await self._seen("")
        while self.listeners:
            await asyncio.sleep(self.seconds)
            now = await self._seen(before)
            if now != before:
                ringing, self.rung, before = self.rung, asyncio.Event(), now
                ringing.set()

    async def _seen(self, before: str) -> str:
        """While the store is away nothing changes."""
        with contextlib.suppress(Unavailable):
            return await run_in_threadpool(self.look)
        return before

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Somebody listens inside."""
        self.listeners += 1
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            self.listeners -= 1


def bell_of(desk: Desk) -> Bell:
    """The bell of the ledger."""

    def look() -> str:
        with reading(desk.engine) as connection:
            return deliveries.fingerprint(connection)

    return Bell(look=look)


@pages.get("/deliveries/live", access=needs(Permission.LEAD_POOLS))
async def live(request: Request) -> Response:
    """Server-sent events: `changed` whenever a delivery has come, moved on or ended."""
    bell: Bell = request.app.state.bell
    if bell.listeners >= MOST_LISTENERS:
        return Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events(bell), media_type="text/event-stream", headers=headers)


async def events(
    bell: Bell, *, lasts: float = STREAM_SECONDS, heartbeat: float = HEARTBEAT_SECONDS
) -> AsyncIterator[str]:
    """The stream for one listener."""
    loop = asyncio.get_running_loop()
    until = loop.time() + lasts
    async with bell.listening():
        yield "retry: 2000\n\n"
        while (left := until - loop.time()) > 0:
            rung = await bell.rings(min(heartbeat, left))
            yield "event: changed\ndata: \n\n" if rung else ": still here\n\n"
