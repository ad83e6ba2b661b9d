"""What the API works with, handed in by the web role."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import structlog
from fastapi import Depends, Request
from sqlalchemy import Engine

from ingestd.access import keys
from ingestd.access.callers import Caller
from ingestd.access.keys import Key
from ingestd.accounts import Argon2Cost, Passwords
from ingestd.dispatch.dispatcher import Dispatcher
from ingestd.errors import Unavailable
from ingestd.leads.shifts import Shifts
from ingestd.model import Delivery
from ingestd.receive.landing import Landing
from ingestd.spool import Spool
from ingestd.storage import Storage
from ingestd.store.engine import writing
from ingestd.store.ledger import Ledger, now
from ingestd.throttle import Throttle

log = structlog.get_logger()

HASHING_THREADS = 2
"""Each hash takes 64 MiB; those who wait for their turn must not hold the threads of the others."""


@dataclass(kw_only=True)
class Desk:
    """One home, as its API sees it."""

    engine: Engine
    ledger: Ledger
    dispatcher: Dispatcher
    spool: Spool
    logs: Storage
    """where the pool logs are"""
    schemas: Path
    """the folder of the schemas"""
    throttle: Throttle
    session_lasts: timedelta
    body_seconds: float = 60.0
    """of silence after which a body that is still coming is broken off"""
    answers_last: timedelta = timedelta(hours=24)
    """how long the answer to a request with an `Idempotency-Key` is kept"""
    ring: Callable[[], None] = lambda: None
    """wakes the workers of this daemon; without it they look by themselves after a moment"""
    hand_back: Callable[[Delivery], None] = lambda _delivery: None
    """hands the results of a delivery back anew, after a record of it was blanked"""
    cost: Argon2Cost = field(default_factory=Argon2Cost)
    """of the passwords that are set here"""
    clock: Callable[[], datetime] = now
    hashing: Executor = field(default_factory=lambda: ThreadPoolExecutor(HASHING_THREADS, "passwords"))
    rehearsing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    """large files are judged one at a time: each takes the memory of a worker"""
    writing_uses: Executor = field(default_factory=lambda: ThreadPoolExecutor(1, "key-uses"))
    noted: dict[str, datetime] = field(default_factory=dict)
    """key → the last use that was written down or will be"""
    in_flight: dict[tuple[str, str], object] = field(default_factory=dict)
    """caller and `Idempotency-Key` of the requests that are being dealt with; gone with the process, if that dies"""

    def __post_init__(self) -> None:
        """A hash for logins that nobody has is made once.

        Files land without a prover: HTTP itself says whether a body is whole, so each is a delivery at once.
        """
        self.shifts = Shifts(engine=self.engine)
        self.landing = Landing(self.spool, self.ledger, self.ring)
        self.passwords = Passwords(self.cost, at_once=HASHING_THREADS)

    def note_use(self, key: Key) -> None:
        """Has the last use of a key written down, at most once a minute, and nobody waits for it."""
        at = self.clock()
        last = self.noted.get(key.id) or key.last_used_at
        if last is None or at - last >= keys.USE_PRECISION:
            self.noted[key.id] = at
            self.writing_uses.submit(self._write_use, key.id, at)

    def _write_use(self, number: str, at: datetime) -> None:
        try:
            with writing(self.engine, forgettable=True) as connection:  # the next use is written as well
                keys.used(connection, number, at)
        except Unavailable as problem:
            log.warning("web_store_away", error=str(problem))


async def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


AtDesk = Annotated[Desk, Depends(_desk)]
ByCaller = Annotated[Caller, Depends(_caller)]
"""Who asks; on a route that anonymous callers may use there may be none."""
