"""The dispatcher of many machines: the line of sources as jobs of procrastinate, in the ledger's own PostgreSQL.

A job is a source's turn, named by the source twice: as `lock`, so one of it runs at a time, and as `queueing_lock`, so
one of it waits at a time; the database itself holds both. The queue's SQL functions are called where the work is, since
procrastinate's own worker is a loop of asyncio with a connection pool, and a delivery keeps a process busy as a whole.

A worker that falls silent loses its job; when it comes back, it finds the job another's and the delivery in another
epoch. Exactly once is not made here but by the ledger's receipt and epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, func, select, text

from ingestd.dispatch.dispatcher import NEXT_OF_SOURCE, UNENDED, Handled, Handler, Job, Stop, pause_after, to_repeat
from ingestd.dispatch.heart import QUEUE, Heart
from ingestd.dispatch.turns import take_turns
from ingestd.store.engine import reading, try_turn, writing
from ingestd.store.ledger import put_back
from ingestd.store.tables import deliveries

log = structlog.get_logger()

SWEEP = "sweep of stalled jobs"
"""what one node at a time has"""
_LINE = 0x696E6731
"""The advisory locks by source, so that who queues a delivery and who leaves the source's turn do so one after the
other. In a class of their own: two sources of the same hash only wait for each other."""
_HOLD_SOURCE = text(f"SELECT pg_advisory_xact_lock({_LINE}, hashtext(CAST(:source AS text)))")
_SOURCE_OF = text(
    f"SELECT source, pg_advisory_xact_lock({_LINE}, hashtext(source)) FROM deliveries WHERE id = :delivery"  # noqa: S608 - a number
)
# `procrastinate_defer_jobs_v1` and its sisters are what procrastinate's own client calls.
_DEFER = f"""procrastinate_defer_jobs_v1(ARRAY[ROW(
        '{QUEUE}', 'load', 0, %(source)s, %(source)s, jsonb_build_object('delivery', %(delivery)s), NULL
    )]::procrastinate_job_to_defer_v1[])"""
_GIVEN = {"source": "CAST(:source AS text)", "delivery": "CAST(:delivery AS bigint)"}
_JOIN = text(f"""
    SELECT {_DEFER % _GIVEN}
    WHERE NOT EXISTS (SELECT FROM procrastinate_jobs WHERE queueing_lock = CAST(:source AS text) AND status = 'todo')
      AND NOT EXISTS (SELECT FROM procrastinate_jobs WHERE lock = CAST(:source AS text) AND status = 'doing')
""")  # noqa: S608 - constants
# A worker that was silent for half the time after which it counts as dead must be heard again before it takes anything.
_TAKE = text(f"""
    SELECT job.id, job.lock, CAST(job.args->>'delivery' AS bigint) AS delivery
    FROM procrastinate_workers AS me
    CROSS JOIN LATERAL procrastinate_fetch_job_v2(ARRAY['{QUEUE}']::varchar[], me.id) AS job
    WHERE me.id = :me AND me.last_heartbeat > now() - make_interval(secs => :fresh) AND job.id IS NOT NULL
""")  # noqa: S608 - a constant
_SIGN = text("""UPDATE procrastinate_jobs SET args = args || jsonb_build_object('worker', CAST(:worker AS text))
    WHERE id = :key""")
_IS_MINE = text("""SELECT id FROM procrastinate_jobs
    WHERE id = :key AND status = 'doing' AND worker_id = :me FOR UPDATE""")
_OTHERS_WAIT = text(f"""SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status = 'todo' AND queue_name = '{QUEUE}'
    AND (scheduled_at IS NULL OR scheduled_at <= now()))""")  # noqa: S608 - a constant
_GO_ON = text("""UPDATE procrastinate_jobs SET args = args || jsonb_build_object('delivery', CAST(:following AS bigint))
    WHERE id = :key""")
_FINISH = text("SELECT procrastinate_finish_job_v1(:key, 'succeeded', true)")
_AGAIN = text("""SELECT procrastinate_retry_job_v2(:key, now() + make_interval(secs => :pause), NULL, NULL, NULL)""")


def _given_back(those: str) -> str:
    """Gives jobs back, and says whose and which they were. Those that a worker is just ending are left to it.

    To the end of the line: a file that kills its worker must not do so five times before others have a turn. The new
    job has another number, so a worker that comes back late cannot take it for its own.
    """
    return f"""
        WITH gone AS (
            SELECT job.id, job.lock, job.args->>'worker' AS worker, CAST(job.args->>'delivery' AS bigint) AS delivery
            FROM procrastinate_jobs AS job LEFT JOIN procrastinate_workers AS its ON its.id = job.worker_id
            WHERE job.status = 'doing' AND job.queue_name = '{QUEUE}' AND {those}
            ORDER BY job.id FOR UPDATE OF job SKIP LOCKED
        )
        SELECT worker, delivery, procrastinate_finish_job_v1(id, 'failed', true),
            {_DEFER % {"source": "gone.lock", "delivery": "delivery"}}
        FROM gone
    """  # noqa: S608 - constants


_RELEASE = text(_given_back("job.args->>'worker' = :worker"))
_RELEASE_NODE = text(_given_back("starts_with(job.args->>'worker', :node)"))
_RELEASE_FORGOTTEN = text(_given_back("job.worker_id = :me"))
_RELEASE_STALLED = text(_given_back("(its.id IS NULL OR its.last_heartbeat < now() - make_interval(secs => :dead))"))
_PRUNE = text("SELECT procrastinate_prune_stalled_workers_v1(:dead)")

_LOST = text(f"""
    SELECT min(id) FROM deliveries
    WHERE published_at IS NULL AND state IN ('queued', 'running') AND source NOT IN (
        SELECT lock FROM procrastinate_jobs WHERE status IN ('todo', 'doing') AND queue_name = '{QUEUE}')
    GROUP BY source
""")  # noqa: S608 - a constant
_WAITING = text("""SELECT id FROM procrastinate_jobs WHERE queueing_lock = CAST(:source AS text) AND status = 'todo'
    AND CAST(args->>'delivery' AS bigint) = :delivery FOR UPDATE""")
_IN_HAND = text(f"""SELECT CAST(args->>'delivery' AS bigint) FROM procrastinate_jobs
    WHERE status = 'doing' AND queue_name = '{QUEUE}'""")  # noqa: S608 - a constant


@dataclass(frozen=True, kw_only=True)
class PostgresDispatcher:
    """The jobs of one store for the workers of all its nodes."""

    engine: Engine
    node: str
    """the name of this machine among those of the store"""
    worker: str = ""
    """unique on its node; empty for who takes no deliveries"""
    retry: timedelta = timedelta(seconds=2)
    dead: timedelta = timedelta(seconds=12)
    """how long a worker may be silent until its delivery is taken over"""

    def submit(self, connection: Connection, delivery_id: int) -> None:
        """Gives the delivery's source a place in the line, in the ledger's own transaction, unless it has one."""
        source = connection.scalar(_SOURCE_OF, {"delivery": delivery_id})
        connection.execute(_JOIN, {"source": source, "delivery": delivery_id})

    def run(self, handler: Handler, stop: Stop) -> None:
        """Hands deliveries to `handler`, one after the other, until `stop`."""
        heart = Heart(engine=self.engine, dead=self.dead, ring=stop.ring, sweep=self.sweep, reconcile=self.reconcile)
        with heart:
            turns = _Turns(dispatcher=self, heart=heart, name=f"{self.node}/{self.worker}")
            take_turns(turns.turn, handler, stop, idle=lambda: None)

    def release(self, worker: str | None = None) -> int:
        """Gives back the job of a worker of this node that is gone, or of all of them; returns how many."""
        with writing(self.engine) as connection:
            if worker is None:
                gone = connection.execute(_RELEASE_NODE, {"node": f"{self.node}/"})
            else:
                gone = connection.execute(_RELEASE, {"worker": f"{self.node}/{worker}"})
            return len(gone.all())

    def sweep(self) -> int:
        """Gives back the jobs of workers that are silent, whatever node they were on; returns how many."""
        seconds = {"dead": self.dead.total_seconds()}
        with writing(self.engine) as connection:
            if not try_turn(connection, SWEEP):
                return 0
            gone = connection.execute(_RELEASE_STALLED, seconds).all()
            connection.execute(_PRUNE, seconds)
        for each in gone:
            log.warning("worker_lost", worker=each.worker, delivery=each.delivery)
        return len(gone)

    def reconcile(self) -> int:
        """Gives every source with an unended delivery its place in the line, whatever lost it; returns how many."""
        with reading(self.engine) as connection:
            lost = connection.scalars(_LOST).all()
        for delivery_id in lost:
            with writing(self.engine) as connection:
                self.submit(connection, delivery_id)
        return len(lost)

    def done(self, delivery_id: int) -> None:
        """Tells of a delivery that was brought to its end outside of `run`."""
        with writing(self.engine) as connection:
            source = connection.execute(_SOURCE_OF, {"delivery": delivery_id}).scalar_one()
            key = connection.scalar(_WAITING, {"source": source, "delivery": delivery_id})
            if key is not None:
                self.next_of(connection, Job(source=source, delivery_id=delivery_id, key=key))

    def next_of(self, connection: Connection, job: Job) -> None:
        """Ends a source's turn; with something left to load it goes to the end of the line."""
        following = connection.scalar(NEXT_OF_SOURCE, {"its_source": job.source})
        connection.execute(_FINISH, {"key": job.key})
        if following is not None:
            connection.execute(_JOIN, {"source": job.source, "delivery": following})

    def health(self) -> dict[str, Any]:
        """`ready` and `running` deliveries, and how long the oldest ready one has been queued, in seconds."""
        ready = select(func.count(), func.min(deliveries.c.queued_at), func.now()).where(*UNENDED)
        with reading(self.engine) as connection:
            in_hand = connection.scalars(_IN_HAND).all()
            waiting, oldest, moment = connection.execute(ready.where(deliveries.c.id.not_in(in_hand))).one()
        seconds = 0.0 if oldest is None else max(0.0, (moment - oldest).total_seconds())
        return {"ready": waiting, "running": len(in_hand), "oldest_seconds": seconds}


@dataclass(kw_only=True)
class _Turns:
    """The turns of one worker."""

    dispatcher: PostgresDispatcher
    heart: Heart
    name: str
    losses: int = 0
    """the losses of the heart's connection that were dealt with"""

    def turn(self, handled: Handled | None, *, more: bool) -> Job | None:
        self.heart.check()
        losses = self.heart.losses
        # Forgettable: a job that nobody has is given out again, and one whose delivery has ended is found done again.
        with writing(self.dispatcher.engine, forgettable=True) as connection:
            mine = None if handled is None else self._let_go(connection, handled, more=more)
            if mine is not None:
                return mine
            if losses != self.losses:  # a job that was ended in a commit that was lost would stay with this worker
                connection.execute(_RELEASE_FORGOTTEN, {"me": self.heart.number})
            taken = self._take(connection) if more else None
        self.losses = losses
        return taken

    def _take(self, connection: Connection) -> Job | None:
        fresh = self.dispatcher.dead.total_seconds() / 2
        found = connection.execute(_TAKE, {"me": self.heart.number, "fresh": fresh}).first()
        if found is None:
            return None
        connection.execute(_SIGN, {"key": found.id, "worker": self.name})
        return Job(source=found.lock, delivery_id=found.delivery, key=found.id)

    def _let_go(self, connection: Connection, handled: Handled, *, more: bool) -> Job | None:
        """Ends a job that is still this worker's; with nobody else in the line its source goes on at once.

        A delivery that was queued once more since it ended is its source's next one.
        """
        job = handled.job
        connection.execute(_HOLD_SOURCE, {"source": job.source})
        if connection.scalar(_IS_MINE, {"key": job.key, "me": self.heart.number}) is None:
            return None
        if self._postponed(connection, handled):
            return None
        following = connection.scalar(NEXT_OF_SOURCE, {"its_source": job.source})
        if more and following is not None and not connection.scalar(_OTHERS_WAIT):
            connection.execute(_GO_ON, {"key": job.key, "following": following})
            return Job(source=job.source, delivery_id=following, key=job.key)
        self.dispatcher.next_of(connection, job)
        return None

    def _postponed(self, connection: Connection, handled: Handled) -> bool:
        """The source waits with it: a later file must not overtake one that only we could not load."""
        epoch, job, why = to_repeat(connection, handled), handled.job, handled.postponed
        if epoch is None or why is None:
            return False
        pause = pause_after(epoch, self.dispatcher.retry).total_seconds()
        connection.execute(_AGAIN, {"key": job.key, "pause": pause})
        put_back(connection, job.delivery_id, why)
        return True
