"""The heart of a worker on PostgreSQL: a thread that says that its process lives, and hears of new jobs meanwhile.

It beats while the handler works, and stops with the process: one that is stopped, dead or cut off from the database is
silent. Between two beats it looks after others: whoever lives finds who does not.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, cast

import psycopg
import structlog
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from ingestd.dispatch.dispatcher import RECONCILE_SECONDS
from ingestd.dispatch.turns import Every
from ingestd.errors import Unavailable
from ingestd.store.engine import writing

log = structlog.get_logger()

QUEUE = "deliveries"
"""procrastinate's queue of this project; another application may use others in the same database."""
BEATS = 4
"""Beats in the time after which a worker counts as dead: three may be lost on the way."""
AGAIN_SECONDS = 0.25
"""How long it waits before it tries to reach the database again."""

# Of the times that count, all are the server's: the clocks of the machines need not agree.
_BEAT = "UPDATE procrastinate_workers SET last_heartbeat = now() WHERE id = %s RETURNING id"
_REGISTER = text("SELECT worker_id FROM procrastinate_register_worker_v1()")
_UNREGISTER = text("SELECT procrastinate_unregister_worker_v1(:number)")

_Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(kw_only=True)
class Heart:
    """Beats from `with` to its end."""

    engine: Engine
    dead: timedelta
    """how long a worker may be silent until it counts as dead"""
    ring: Callable[[], None]
    """Is called from the thread: there may be work."""
    sweep: Callable[[], object]
    reconcile: Callable[[], object]
    number: int | None = None
    """under which procrastinate knows this worker; another one after a silence that was too long"""
    losses: int = 0
    """how often the connection was lost; what was committed shortly before, and not flushed, may be lost with it"""
    fault: Exception | None = None
    """a bug that ended the thread"""
    stopping: threading.Event = field(default_factory=threading.Event)
    wake: tuple[int, int] = field(default_factory=os.pipe)
    thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        try:
            self.number = self._register()
        except Unavailable as problem:
            log.warning("heartbeat_away", error=str(problem))  # the thread goes on trying
        self.thread = threading.Thread(target=self._guard, name="heart", daemon=True)
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What this worker still has is taken over at once."""
        assert self.thread is not None
        self.stopping.set()
        os.write(self.wake[1], b"!")
        self.thread.join()
        for descriptor in self.wake:
            os.close(descriptor)
        try:
            with writing(self.engine) as connection:
                connection.execute(_UNREGISTER, {"number": self.number})
        except Unavailable as problem:
            log.warning("heartbeat_away", error=str(problem))  # it falls silent, which says the same later

    def check(self) -> None:
        """Raises what ended the thread: a worker without a heart would work for nothing."""
        if self.fault is not None:
            raise self.fault

    def _guard(self) -> None:
        try:
            self._live()
        except Exception as fault:  # noqa: BLE001 - not passed over: `check` raises it where the process ends by it
            self.fault = fault
            self.ring()

    def _live(self) -> None:
        away = False
        while not self.stopping.is_set():
            try:
                with self._listening() as connection:
                    away = False
                    self._go_on(connection)
            except (psycopg.OperationalError, Unavailable) as problem:
                self.losses += 1
                if not away:
                    log.warning("heartbeat_away", error=str(problem))
                away = True
                self.stopping.wait(AGAIN_SECONDS)

    def _go_on(self, connection: _Connection) -> None:
        pause = self.dead.total_seconds() / BEATS
        beat = Every(seconds=pause, action=lambda: self._beat(connection))
        sweep = Every(seconds=pause, action=self.sweep)
        reconcile = Every(seconds=RECONCILE_SECONDS, action=self.reconcile)
        while not self.stopping.is_set():
            beat()
            sweep()
            reconcile()
            heard, _, _ = select.select([connection.fileno(), self.wake[0]], [], [], pause / BEATS)
            if connection.fileno() in heard and list(connection.notifies(timeout=0)):
                self.ring()

    def _beat(self, connection: _Connection) -> None:
        known = connection.execute(_BEAT, (self.number,)).fetchone() if self.number is not None else None
        if known is None:  # it was silent for so long that it counts as dead, or the database was away at its start
            self.number = self._register()
            self.ring()

    def _register(self) -> int:
        with writing(self.engine) as connection:
            return cast("int", connection.scalar(_REGISTER))

    @contextmanager
    def _listening(self) -> Iterator[_Connection]:
        """A connection of its own, which hears of new jobs as soon as they are committed."""
        try:
            pooled = self.engine.raw_connection()
        except DBAPIError as problem:
            raise Unavailable(f"the database is not available: {problem.orig}") from problem
        connection = cast("_Connection", pooled.driver_connection)
        pooled.detach()
        try:
            connection.autocommit = True
            # A heartbeat that a power cut undoes was one of the dead.
            connection.execute("SET synchronous_commit TO off")
            connection.execute(f'LISTEN "procrastinate_queue_v1#{QUEUE}"')
            yield connection
        finally:
            pooled.close()
