"""The dispatcher of one machine: jobs in the ledger's own database, handed out at least once.

One process tree holds the home's lock, so a job needs no lease and no heartbeat: a worker that is gone has said so
by its death, and the supervisor gives its jobs back. Exactly once is not made here but by the ledger's receipt and
epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, and_, bindparam, delete, func, insert, or_, select, update

from ingestd.errors import Unavailable
from ingestd.model import State
from ingestd.store.engine import reading, writing
from ingestd.store.ledger import Clock, now
from ingestd.store.tables import deliveries, jobs

Handler = Callable[[int], None]
"""Takes a delivery's number; returns when it has ended, raises Unavailable when it must be tried again."""

LONGEST_PAUSE = timedelta(minutes=5)
_UNENDED = [State.QUEUED, State.RUNNING]
"""A delivery that is only received waits for the proof that it is whole, and needs no job before that."""


_IT = jobs.c.delivery_id == bindparam("delivery")
_MINE = and_(_IT, or_(jobs.c.worker == bindparam("taker"), jobs.c.worker.is_(None)))
"""A job that was given to another worker meanwhile is not touched."""

# Built once, which for a small delivery is half of what they cost.
_READY = (
    select(jobs.c.delivery_id)
    .where(jobs.c.state == "ready", jobs.c.not_before <= bindparam("moment"))
    .order_by(jobs.c.not_before, jobs.c.delivery_id)
    .limit(1)
)
_READY_LOCKED = _READY.with_for_update(skip_locked=True)
_TAKE = update(jobs).where(_IT).values(state="running", worker=bindparam("taker"))
_ITS_DELIVERY_UNENDED = select(deliveries.c.id).where(
    deliveries.c.id == bindparam("delivery"), deliveries.c.state.in_(_UNENDED)
)
_REMOVE = delete(jobs).where(_MINE)


class Stop(Protocol):
    """When to stop, and how to wait for work meanwhile."""

    def is_set(self) -> bool:
        """True when no further job may be taken."""

    def wait(self) -> None:
        """Returns at the doorbell, at the stop, and otherwise after a moment."""


@dataclass(frozen=True, kw_only=True)
class LocalDispatcher:
    """Jobs of one store for the workers of one machine."""

    engine: Engine
    worker: str = ""
    retry: timedelta = timedelta(seconds=2)
    clock: Clock = now

    def submit(self, connection: Connection, delivery_id: int) -> None:
        """Adds the job of a delivery in the ledger's own transaction; a job that is there already will do."""
        if connection.scalar(select(jobs.c.delivery_id).where(jobs.c.delivery_id == delivery_id)) is None:
            values = {"delivery_id": delivery_id, "state": "ready", "not_before": self.clock()}
            connection.execute(insert(jobs).values(values))

    def run(self, handler: Handler, stop: Stop) -> None:
        """Hands jobs to `handler`, one after the other and oldest first, until `stop`."""
        while not stop.is_set():
            delivery_id = self._claim()
            if delivery_id is None:
                stop.wait()
            else:
                self._handle(handler, delivery_id)

    def release(self, worker: str | None = None) -> int:
        """Gives back the running jobs of a worker that is gone, or of all at start; returns how many."""
        running = update(jobs).where(jobs.c.state == "running")
        if worker is not None:
            running = running.where(jobs.c.worker == worker)
        with writing(self.engine) as connection:
            return connection.execute(running.values(state="ready", worker=None)).rowcount

    def reconcile(self) -> int:
        """Submits every unended delivery that has no job, whatever lost it; returns how many."""
        lost = (
            select(deliveries.c.id)
            .outerjoin(jobs, jobs.c.delivery_id == deliveries.c.id)
            .where(deliveries.c.state.in_(_UNENDED), jobs.c.delivery_id.is_(None))
        )
        with writing(self.engine) as connection:
            found = connection.scalars(lost).all()
            for delivery_id in found:
                self.submit(connection, delivery_id)
        return len(found)

    def health(self) -> dict[str, Any]:
        """How many jobs wait and run, and since when the oldest waits, in seconds."""
        counted = select(jobs.c.state, func.count(), func.min(jobs.c.not_before)).group_by(jobs.c.state)
        with reading(self.engine) as connection:
            found = {state: (count, oldest) for state, count, oldest in connection.execute(counted)}
        ready, oldest = found.get("ready", (0, None))
        waiting = 0.0 if oldest is None else max(0.0, (self.clock() - oldest).total_seconds())
        return {"ready": ready, "running": found.get("running", (0, None))[0], "oldest_seconds": waiting}

    def _claim(self) -> int | None:
        moment = {"moment": self.clock()}
        with reading(self.engine) as connection:  # looking does not make other writers wait
            if connection.scalar(_READY, moment) is None:
                return None
        with writing(self.engine, forgettable=True) as connection:  # a job that nobody has is given out again
            delivery_id: int | None = connection.scalar(_READY_LOCKED, moment)
            if delivery_id is not None:
                connection.execute(_TAKE, {"delivery": delivery_id, "taker": self.worker})
        return delivery_id

    def _handle(self, handler: Handler, delivery_id: int) -> None:
        try:
            handler(delivery_id)
        except Unavailable:
            self._postpone(delivery_id)
        else:
            self.done(delivery_id)

    def done(self, delivery_id: int) -> None:
        """Removes the job, unless the delivery was queued once more since it ended: then the job is its new one."""
        mine = {"delivery": delivery_id, "taker": self.worker}
        with writing(self.engine, forgettable=True) as connection:  # a job whose delivery has ended is found done again
            if connection.scalar(_ITS_DELIVERY_UNENDED, {"delivery": delivery_id}) is None:
                connection.execute(_REMOVE, mine)
            else:
                connection.execute(update(jobs).where(_MINE).values(state="ready", worker=None), mine)

    def _postpone(self, delivery_id: int) -> None:
        with writing(self.engine) as connection:
            epoch = connection.scalar(select(deliveries.c.epoch).where(deliveries.c.id == delivery_id)) or 1
            pause = min(self.retry * 2 ** min(epoch - 1, 10), LONGEST_PAUSE)
            again = update(jobs).where(_MINE).values(state="ready", worker=None, not_before=self.clock() + pause)
            connection.execute(again, {"delivery": delivery_id, "taker": self.worker})
