"""Looks at the store, the disk and the roles when somebody asks; one look at a time, however many ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from ingestd import roster
from ingestd.dispatch.dispatcher import Dispatcher
from ingestd.errors import Unavailable
from ingestd.roster import Roster
from ingestd.spool import Spool
from ingestd.storage import Storage
from ingestd.store.ledger import Ledger

log = structlog.get_logger()

LOOK_SECONDS = 4.0
"""A look that takes longer is not waited for: a database that hangs must not hang those who ask."""

STORAGE_SECONDS = 2.0
"""What the storage may take of it."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What one look saw."""

    at: datetime
    store_problem: str = ""
    """why the database does not answer; empty when it does"""
    queue: dict[str, Any] = field(default_factory=dict)
    """`ready`, `running`, `oldest_seconds`; empty without a database"""
    waiting: int = 0
    """deliveries that wait for proof"""
    storage_problem: str = ""
    """why received files cannot be kept; empty when the storage answers, or is the home"""
    spool_free: int = 0
    """bytes"""
    room: bool = True
    """True while uploads are taken"""
    doors: dict[str, Any] = field(default_factory=dict)
    """the open doors; empty until all are, and when the daemon stops"""
    roster: Roster | None = None


@dataclass(kw_only=True)
class Observer:
    """Sees one home from the web role."""

    ledger: Ledger
    dispatcher: Dispatcher
    spool: Spool
    storage: Storage
    run: Path
    """the home's `run/`"""
    clock: Callable[[], datetime] = roster.now
    seconds: float = LOOK_SECONDS
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "observer"))
    looking: asyncio.Future[Observation] | None = None

    async def look(self) -> Observation:
        """What is there now; a look that takes too long counts as a store that does not answer."""
        if self.looking is None or self.looking.done():
            self.looking = asyncio.get_running_loop().run_in_executor(self.thread, self._look)
        try:
            return await asyncio.wait_for(asyncio.shield(self.looking), self.seconds)
        except TimeoutError:
            return self._see(f"no answer within {self.seconds:g} s")

    def _look(self) -> Observation:
        try:
            found = {"queue": self.dispatcher.health(), "waiting": self.ledger.waiting()}
        except Unavailable as problem:
            # The address of the database is nobody's business who asks for health.
            log.warning("web_store_away", error=str(problem))
            return self._see("the database does not answer")
        return self._see("", storage_problem=self._storage_problem(), **found)

    def _storage_problem(self) -> str:
        if not self.storage.shared:
            return ""
        try:
            return "" if self.storage.name(STORAGE_SECONDS) else "the storage has no store-id"
        except Unavailable as problem:
            log.warning("web_storage_away", error=str(problem))
            return "the storage does not answer; uploads are refused until it does"

    def _see(self, problem: str, **found: Any) -> Observation:
        """All that needs no database."""
        return Observation(
            at=self.clock(),
            store_problem=problem,
            spool_free=self.spool.free(),
            room=self.spool.has_room(),
            doors=_doors(self.run / "endpoints.json"),
            roster=roster.read(self.run / "roles.json"),
            **found,
        )


def _doors(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found
