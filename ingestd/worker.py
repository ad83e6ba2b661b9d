"""The worker: loads deliveries one after the other, and hands their results back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from sqlalchemy import Engine

from ingestd import presence
from ingestd.errors import Unavailable
from ingestd.handback import Publisher
from ingestd.house import House
from ingestd.ingest.road import Road
from ingestd.leads import ending, owner_changes, placing, pools, timed
from ingestd.metrics import Metrics
from ingestd.model import Delivery
from ingestd.pipes import Bell, Pipes, on_stop, say_ready
from ingestd.presence import AtWork
from ingestd.pulse import Pulse
from ingestd.store import idempotency
from ingestd.store.engine import writing
from ingestd.store.ledger import now
from ingestd.store.nodes import ResultsDue
from ingestd.webhooks.sending import Sender

log = structlog.get_logger()

STAGE_SECONDS = 600.0
"""What one stage of the largest file may take, and what handing back its results may."""
LIST_SECONDS = 0.5
"""Between two looks at what is to be handed back."""
MINUTE_SECONDS = 60.0
SEND_SECONDS = 120.0
"""What one turn of what sends webhooks may take: a load holds SQLite for seconds, PostgreSQL may be away."""
FAREWELL_SECONDS = 5.0
"""How long a stop waits for messages on their way; what is cut off is sent once more."""
TURN_SECONDS = 0.25
"""What the rules of time, or segments, may take before the worker looks for files again."""
PLACING_SECONDS = 1.0
"""Between two looks for leads that are not in their segments."""
BUSY_SECONDS = 5.0
"""The same while files are waiting all the time."""
FORGET_SECONDS = 3600.0
"""Between two looks for what is kept long enough."""


def work(house: House, pipes: Pipes, metrics: Metrics) -> None:
    """Loads whatever is queued until it is told to stop; the delivery in hand is brought to its end."""
    pulse = Pulse()
    beat = pulse.loop("road", allowance=STAGE_SECONDS)
    road, publisher, hands = road_of(house), publisher_of(house), AtWork()
    publisher.onlooker = metrics.count_delivery

    def on_stage(stage: str) -> None:
        hands.stage = stage
        beat()

    def handle(delivery_id: int) -> None:
        hands.take(delivery_id)
        try:
            road.travel(delivery_id, on_stage)
            beat()
            delivery = house.ledger.get(delivery_id)
            assert delivery is not None
            _log_end(delivery)
            publisher.publish(delivery)
            beat()
        finally:
            hands.put_down()
        placer.sweep(busy=True)

    clockwork, placer = Clockwork(engine=house.engine), Placer(engine=house.engine)
    mover = Mover(engine=house.engine, keep=timedelta(days=house.configuration.daemon.owner_changes.keep_days))

    def idle() -> None:
        publisher.sweep()
        clockwork.sweep()
        placer.sweep()
        if not mover.sweep():
            bell.ring()  # it goes on when no file is waiting

    bell = Bell(doorbell=pipes.doorbell, idle=idle, beat=beat)
    sender = sender_of(house, pulse.loop("webhooks", allowance=SEND_SECONDS))

    def stop() -> None:
        bell.stopped.set()
        sender.stop()

    on_stop(stop)
    presence.of_process(house, hands.told)
    sending = sender.start()
    say_ready(pipes, {}, pulse)
    house.dispatcher.run(handle, bell)
    sending.join(FAREWELL_SECONDS)


def hand_back(house: House, pipes: Pipes, metrics: Metrics) -> None:
    """Hands back in this home what any node has loaded, until it is told to stop; its doors need not wait for it."""
    pulse, stopped = Pulse(), threading.Event()
    beat = pulse.loop("results", allowance=STAGE_SECONDS)
    publisher = publisher_of(house)
    publisher.onlooker = metrics.count_delivery
    on_stop(stopped.set)
    presence.of_process(house, dict)
    say_ready(pipes, {}, pulse)
    while not stopped.wait(LIST_SECONDS):
        publisher.sweep()
        try:
            publisher.work_off(until=stopped.is_set)
        except Unavailable as problem:
            log.warning("results_not_published", error=str(problem))
        beat()


@dataclass(kw_only=True)
class Clockwork:
    """The rules of time, once a minute while there is nothing to load."""

    engine: Engine
    clock: Callable[[], float] = time.monotonic
    due_at: float = field(default=float("-inf"))
    """by the clock"""

    def sweep(self) -> None:
        """Does what is due, for TURN_SECONDS at most: a file that comes meanwhile does not wait longer."""
        begun = self.clock()
        if begun < self.due_at:
            return
        try:
            ended = timed.apply(self.engine, now(), lambda: self.clock() - begun < TURN_SECONDS)
            pools.settle(self.engine)
            with writing(self.engine, forgettable=True) as connection:  # what comes back is forgotten in a minute
                idempotency.sweep(connection, now())
        except Unavailable as problem:
            log.warning("time_rules_failed", error=str(problem))
            self.due_at = begun + MINUTE_SECONDS
            return
        self.due_at = begun + MINUTE_SECONDS if ended.finished else begun
        if ended.leads or ended.unlocked:
            log.info("time_rules_applied", **ended.leads, unlocked=ended.unlocked)


@dataclass(kw_only=True)
class Placer:
    """Puts leads into their segments, a little at a time."""

    engine: Engine
    clock: Callable[[], float] = time.monotonic
    due_at: float = field(default=float("-inf"))
    """by the clock"""
    busy_at: float = field(default=float("-inf"))
    """by the clock, when files are waiting"""
    resting: dict[int, float] = field(default_factory=dict)
    """campaign that failed → by the clock, until when it is left alone"""

    def sweep(self, *, busy: bool = False) -> None:
        """Does what is due, for TURN_SECONDS at most; `busy`: files are waiting, so only every BUSY_SECONDS."""
        begun = self.clock()
        if begun < (self.busy_at if busy else self.due_at):
            return
        self.busy_at = begun + BUSY_SECONDS
        try:
            self.resting = {number: until for number, until in self.resting.items() if begun < until}
            placed = placing.work(self.engine, lambda: self.clock() - begun < TURN_SECONDS, without=self.resting)
        except Unavailable as problem:
            log.warning("segments_not_placed", error=str(problem))
            self.due_at = begun + MINUTE_SECONDS
            return
        self.due_at = begun + PLACING_SECONDS if placed.finished else begun
        for number, failure in placed.failed.items():
            told = f"{type(failure).__name__}: {failure}"
            # Below the first line are the values of a statement, which may be a person's.
            log.error("segments_failed", campaign=number, error=told.partition("\n")[0])
            self.resting[number] = begun + MINUTE_SECONDS
        if placed.moved:
            log.info("segments_placed", leads=placed.looked_at, moved=placed.moved)


@dataclass(kw_only=True)
class Mover:
    """Changes of owners that go on in the background while there is nothing to load."""

    engine: Engine
    keep: timedelta | None = None
    """how long the fate of each lead is kept; None: for good"""
    clock: Callable[[], float] = time.monotonic
    forget_at: float = field(default=float("-inf"))
    """by the clock: when to look for what is kept too long"""

    def sweep(self) -> bool:
        """Moves leads for TURN_SECONDS and a batch; False when there are more."""
        begun = self.clock()
        try:
            ended, finished = owner_changes.work(self.engine, now, lambda: self.clock() - begun < TURN_SECONDS)
            self._forget(begun)
        except Unavailable as problem:
            log.warning("owner_changes_put_off", error=str(problem))
            return True
        for change in ended:
            state, refused = str(change.state), sum(change.refused.values())
            log.info("owner_change_ended", change=change.id, state=state, moved=change.moved, refused=refused)
        return finished

    def _forget(self, begun: float) -> None:
        if self.keep is None or begun < self.forget_at:
            return
        finished = owner_changes.forget(self.engine, now() - self.keep, lambda: self.clock() - begun < TURN_SECONDS)
        self.forget_at = begun + FORGET_SECONDS if finished else begun


def sender_of(house: House, beat: Callable[[], None] = lambda: None) -> Sender:
    """What sends the webhooks of a house."""
    settings = house.configuration.daemon.webhooks
    return Sender(
        engine=house.engine,
        clock=now,
        timeout=settings.timeout_seconds,
        allow_private=settings.allow_private,
        keep=timedelta(days=settings.keep_days),
        beat=beat,
    )


def road_of(house: House) -> Road:
    """The road of a house."""
    return Road(
        engine=house.engine,
        ledger=house.ledger,
        spool=house.spool,
        logs=house.logs,
        schemas=house.schemas,
        close=ending.close_listed,
        max_attempts=house.configuration.daemon.worker.max_attempts,
    )


def publisher_of(house: House) -> Publisher:
    """What hands the results of a house back."""
    settings = house.configuration.daemon
    return Publisher(
        ledger=house.ledger,
        spool=house.spool,
        logs=house.logs,
        homes=house.places.homes,
        after=settings.folder.after,
        drop=house.places.home / settings.folder.path,
        keep=timedelta(days=settings.results.keep_days),
        due=ResultsDue(engine=house.engine) if house.shared else None,
        node=house.node,
    )


def _log_end(delivery: Delivery) -> None:
    """One line for the operator's log about how a delivery ended."""
    counts = delivery.counts
    log.info(
        "delivery_ended",
        delivery=delivery.id,
        source=delivery.source,
        name=delivery.name,
        state=str(delivery.state),
        reason=delivery.reason_code or None,
        pool=delivery.pool_id,
        records=counts.records,
        inserted=counts.inserted,
        rejected=counts.rejected,
        duplicate=counts.duplicate,
    )
