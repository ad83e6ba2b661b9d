"""The dispatcher of one machine: the line of sources in the ledger's own database, SQLite; handed out at least once.

One process tree holds the home's lock, so a job needs no lease and no heartbeat: a worker that is gone has said so
by its death, and the supervisor gives its jobs back. Exactly once is not made here but by the ledger's receipt and
epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, delete, exists, func, insert, literal_column, or_, select, update

from ingestd.dispatch.dispatcher import (
    LONGEST_PAUSE,
    NEXT_OF_SOURCE,
    RECONCILE_SECONDS,
    UNENDED,
    Handled,
    Handler,
    Job,
    Stop,
    pause_after,
    to_repeat,
)
from ingestd.dispatch.turns import Every, take_turns
from ingestd.store.engine import reading, writing
from ingestd.store.ledger import Clock, now, put_back
from ingestd.store.tables import Instant, deliveries, jobs

_MOMENT = bindparam("moment", type_=Instant())
_SOURCE = jobs.c.source == bindparam("its_source")
_MINE = (
    _SOURCE,
    jobs.c.delivery_id == bindparam("its_delivery"),
    func.coalesce(jobs.c.worker, "") == bindparam("taker"),
)
"""A job that was given back, or to another worker, meanwhile is not touched."""
_END_OF_LINE = select(func.coalesce(func.max(jobs.c.turn), 0) + 1).scalar_subquery()
_BEHIND_ALL = jobs.c.turn + select(func.max(jobs.c.turn)).scalar_subquery()
"""The end of the line for several at once, in the order that they had."""

# Built once, which for a small delivery is half of what they cost.
_JOIN = insert(jobs).from_select(
    ["source", "delivery_id", "turn", "state", "not_before"],
    select(deliveries.c.source, deliveries.c.id, _END_OF_LINE, literal_column("'ready'"), _MOMENT).where(
        deliveries.c.id == bindparam("delivery"), ~exists().where(jobs.c.source == deliveries.c.source)
    ),
)
_DUE = or_(jobs.c.not_before <= _MOMENT, jobs.c.not_before > bindparam("too_far", type_=Instant()))
"""Nobody puts a job off for longer than LONGEST_PAUSE: what lies further ahead was noted before the clock was put
back."""
_FIRST = select(jobs.c.source, jobs.c.delivery_id).where(jobs.c.state == "ready", _DUE).order_by(jobs.c.turn).limit(1)
_TAKE = update(jobs).where(_SOURCE).values(state="running", worker=bindparam("taken_by"))
_GO_ON = update(jobs).where(*_MINE).values(delivery_id=bindparam("following"))
_TO_THE_END = (
    update(jobs)
    .where(*_MINE)
    .values(delivery_id=bindparam("following"), state="ready", worker=None, turn=_END_OF_LINE, not_before=_MOMENT)
)
_AGAIN = update(jobs).where(*_MINE).values(state="ready", worker=None, not_before=_MOMENT)
_REMOVE = delete(jobs).where(*_MINE)


@dataclass(frozen=True, kw_only=True)
class LocalDispatcher:
    """The jobs of one home for the workers of one machine."""

    engine: Engine
    worker: str = ""
    """empty for who takes no jobs"""
    retry: timedelta = timedelta(seconds=2)
    clock: Clock = now

    def submit(self, connection: Connection, delivery_id: int) -> None:
        """Gives the delivery's source a place in the line, in the ledger's own transaction, unless it has one."""
        connection.execute(_JOIN, {"delivery": delivery_id, "moment": self.clock()})

    def run(self, handler: Handler, stop: Stop) -> None:
        """Hands deliveries to `handler`, one after the other, until `stop`."""
        take_turns(self._turn, handler, stop, idle=Every(seconds=RECONCILE_SECONDS, action=self.reconcile))

    def release(self, worker: str | None = None) -> int:
        """Gives back the job of a worker that is gone, or of all at start; returns how many.

        To the end of the line: a file that kills its worker must not do so five times before others have a turn.
        """
        running = update(jobs).where(jobs.c.state == "running")
        if worker is not None:
            running = running.where(jobs.c.worker == worker)
        with writing(self.engine) as connection:
            return connection.execute(running.values(state="ready", worker=None, turn=_BEHIND_ALL)).rowcount

    def reconcile(self) -> int:
        """Gives every source with an unended delivery its place in the line, whatever lost it; returns how many."""
        first = select(func.min(deliveries.c.id)).where(*UNENDED).group_by(deliveries.c.source)
        lost = first.where(deliveries.c.source.not_in(select(jobs.c.source)))
        with reading(self.engine) as connection:  # looking does not make other writers wait
            if not connection.scalars(lost).all():
                return 0
        with writing(self.engine) as connection:
            found = connection.scalars(lost).all()
            for delivery_id in found:
                self.submit(connection, delivery_id)
        return len(found)

    def done(self, delivery_id: int) -> None:
        """Tells of a delivery that was brought to its end outside of `run`."""
        with writing(self.engine) as connection:
            source = connection.scalar(select(deliveries.c.source).where(deliveries.c.id == delivery_id))
            if source is not None:
                self._leave(connection, Job(source=source, delivery_id=delivery_id), more=False)

    def health(self) -> dict[str, Any]:
        """`ready` and `running` deliveries, and how long the oldest ready one has been queued, in seconds."""
        running = select(jobs.c.delivery_id).where(jobs.c.state == "running")
        ready = select(func.count(), func.min(deliveries.c.queued_at)).where(*UNENDED)
        with reading(self.engine) as connection:
            in_hand = connection.scalars(running).all()
            waiting, oldest = connection.execute(ready.where(deliveries.c.id.not_in(in_hand))).one()
        seconds = 0.0 if oldest is None else max(0.0, (self.clock() - oldest).total_seconds())
        return {"ready": waiting, "running": len(in_hand), "oldest_seconds": seconds}

    def _turn(self, handled: Handled | None, *, more: bool) -> Job | None:
        if handled is None:
            with reading(self.engine) as connection:  # looking does not make other writers wait
                if not more or self._first(connection) is None:
                    return None
        # Forgettable: a job that nobody has is given out again, and one whose delivery has ended is found done again.
        with writing(self.engine, forgettable=True) as connection:
            if handled is not None and not self._postponed(connection, handled):
                mine = self._leave(connection, handled.job, more=more)
                if mine is not None:
                    return mine
            return self._take(connection) if more else None

    def _take(self, connection: Connection) -> Job | None:
        first = self._first(connection)
        if first is None:
            return None
        connection.execute(_TAKE, {"its_source": first.source, "taken_by": self.worker})
        return Job(source=first.source, delivery_id=first.delivery_id)

    def _first(self, connection: Connection) -> Any:
        """The source that stands first in the line, with its delivery; None when none is due."""
        moment = self.clock()
        return connection.execute(_FIRST, {"moment": moment, "too_far": moment + LONGEST_PAUSE}).first()

    def _leave(self, connection: Connection, job: Job, *, more: bool) -> Job | None:
        """Ends a job; its source goes to the end of the line, or goes on at once when nobody else is in it.

        A delivery that was queued once more since it ended is its source's next one.
        """
        following = connection.scalar(NEXT_OF_SOURCE, {"its_source": job.source})
        if following is None:
            connection.execute(_REMOVE, self._mine(job))
            return None
        if more and self._first(connection) is None:
            gone_on = connection.execute(_GO_ON, {**self._mine(job), "following": following}).rowcount
            return Job(source=job.source, delivery_id=following) if gone_on else None
        connection.execute(_TO_THE_END, {**self._mine(job), "moment": self.clock(), "following": following})
        return None

    def _postponed(self, connection: Connection, handled: Handled) -> bool:
        """The source waits with it: a later file must not overtake one that only we could not load."""
        epoch, job, why = to_repeat(connection, handled), handled.job, handled.postponed
        if epoch is None or why is None:
            return False
        due = self.clock() + pause_after(epoch, self.retry)
        if connection.execute(_AGAIN, {**self._mine(job), "moment": due}).rowcount:
            put_back(connection, job.delivery_id, why)
        return True

    def _mine(self, job: Job) -> dict[str, Any]:
        return {"its_source": job.source, "its_delivery": job.delivery_id, "taker": self.worker}
