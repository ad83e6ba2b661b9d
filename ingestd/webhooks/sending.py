"""Sending: one loop in a thread of each worker, many messages at once, each with its limit of time.

Redirects are not followed, no proxy of the environment is asked, and of an answer only the beginning is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpcore
import structlog
from sqlalchemy import Engine
from standardwebhooks.webhooks import Webhook

from ingestd.errors import Unavailable
from ingestd.webhooks import messages
from ingestd.webhooks.addresses import Forbidden, Outside
from ingestd.webhooks.messages import LONGEST_ANSWER, Attempt, Claimed

log = structlog.get_logger()

AT_ONCE = 16
"""Endpoints that are spoken to at the same time."""
LOOK_SECONDS = 1.0
"""Between two looks at what is due."""
AWAY_SECONDS = 5.0
FORGET_SECONDS = 3600.0


@dataclass(kw_only=True)
class Sender:
    """Sends what is due until it is told to stop."""

    engine: Engine
    clock: Callable[[], datetime]
    timeout: float
    """seconds for one attempt, from the name's address to the end of the answer's beginning"""
    allow_private: bool
    keep: timedelta
    """how long messages that have ended are kept"""
    beat: Callable[[], None] = lambda: None
    look: float = LOOK_SECONDS
    """seconds between two looks for what is due"""
    stopped: threading.Event = field(default_factory=threading.Event)
    wake: Callable[[], None] = lambda: None
    """ends the wait between two looks; from any thread"""
    busy: set[int] = field(default_factory=set)
    """endpoints that are being spoken to"""
    forgot_at: float = float("-inf")

    def start(self) -> threading.Thread:
        """Begins, in a thread of its own."""
        thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="webhooks", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """Ends it after what is being sent; from any thread."""
        self.stopped.set()
        self.wake()

    async def _run(self) -> None:
        stopping = self._waking()
        wire = Outside(allow_private=self.allow_private, wire=httpcore.AnyIOBackend())
        async with httpcore.AsyncConnectionPool(
            network_backend=wire, max_keepalive_connections=AT_ONCE, keepalive_expiry=5.0
        ) as pool:
            running: set[asyncio.Task[None]] = set()
            while not self.stopped.is_set():
                self.beat()
                running |= {asyncio.create_task(self._one(pool, each)) for each in await self._due()}
                await asyncio.wait({stopping, *running}, timeout=self.look, return_when=asyncio.FIRST_COMPLETED)
                for each in [task for task in running if task.done()]:
                    running.discard(each)
                    each.result()  # a bug ends this loop, and the worker whose loop it is is replaced
            if running:  # an answer that comes within a moment is still written down
                await asyncio.wait(running, timeout=self.look)

    def _waking(self) -> asyncio.Task[Any]:
        """Is done when this is to stop."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is over already
                loop.call_soon_threadsafe(woken.set)

        self.wake = wake
        return asyncio.create_task(woken.wait())

    async def _due(self) -> list[Claimed]:
        try:
            await asyncio.to_thread(self._forget)
            limit, busy = AT_ONCE - len(self.busy), frozenset(self.busy)
            due = (
                await asyncio.to_thread(messages.claim, self.engine, self.clock(), limit=limit, but=busy)
                if limit
                else []
            )
        except Unavailable as problem:
            log.warning("webhooks_away", error=str(problem))
            await asyncio.sleep(AWAY_SECONDS)
            return []
        self.busy |= {each.webhook_id for each in due}
        return due

    def _forget(self) -> None:
        if time.monotonic() - self.forgot_at >= FORGET_SECONDS:
            self.forgot_at = time.monotonic()
            while messages.forget(self.engine, self.clock() - self.keep):
                pass

    async def _one(self, pool: httpcore.AsyncConnectionPool, due: Claimed) -> None:
        attempt = await attempted(pool, due, self.clock, self.timeout)
        try:
            state = await asyncio.to_thread(messages.settle, self.engine, due, attempt)
        except Unavailable as problem:  # it is sent once more when its claim is over
            log.warning("webhooks_away", error=str(problem))
            return
        finally:
            self.busy.discard(due.webhook_id)
        told = {"webhook": due.webhook_id, "message": due.message, "kind": due.event, "status": attempt.status}
        if state == "delivered":
            log.info("webhook_delivered", **told, milliseconds=attempt.milliseconds)
        else:
            log.warning("webhook_not_delivered", **told, state=state, error=attempt.error)


async def attempted(
    pool: httpcore.AsyncConnectionPool, due: Claimed, clock: Callable[[], datetime], limit: float
) -> Attempt:
    """Sends a message once; whatever goes wrong on the way is the attempt's error. `limit` in seconds."""
    at, begun = clock(), time.monotonic()
    status, answer, wait, error = None, "", timedelta(0), ""
    try:
        async with asyncio.timeout(limit):  # of all: a server that sends a byte now and then would hold it for ever
            async with pool.stream("POST", due.url, headers=signed(due, at), content=due.body.encode()) as response:
                status, wait = response.status, _asked_wait(response)
                answer = await _beginning(response)
    except TimeoutError:
        error = f"no answer within {limit:g} seconds"
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as problem:
        error = f"{type(problem).__name__}: {problem}"
    except (Forbidden, OSError, ValueError) as problem:  # of the name, of TLS, of what makes no request
        error = str(problem)
    spent = round(1000 * (time.monotonic() - begun))
    if status is not None:  # that is the answer, even if what follows it breaks off
        error = ""
    return Attempt(at=at, milliseconds=spent, status=status, error=error[:LONGEST_ANSWER], answer=answer, wait=wait)


def signed(due: Claimed, at: datetime) -> list[tuple[str, str]]:
    """The headers of an attempt; the signature holds for its moment."""
    return [
        ("Content-Type", "application/json"),
        ("User-Agent", "ingestd"),
        ("webhook-id", due.message),
        ("webhook-timestamp", str(int(at.timestamp()))),
        ("webhook-signature", Webhook(due.secret).sign(due.message, at, due.body)),
    ]


async def _beginning(response: httpcore.Response) -> str:
    taken = b""
    async for piece in response.aiter_stream():
        taken += piece
        if len(taken) >= 4 * LONGEST_ANSWER:
            break
    return taken.decode("utf-8", "replace").replace("\0", "\ufffd")[:LONGEST_ANSWER]


def _asked_wait(response: httpcore.Response) -> timedelta:
    """`Retry-After` in seconds; a date, and what is no number, asks for nothing."""
    text = dict(response.headers).get(b"retry-after", b"") or dict(response.headers).get(b"Retry-After", b"")
    return timedelta(seconds=int(text[:8])) if text[:8].isdigit() else timedelta(0)
