"""The processes of the daemon below its supervisor: the receiver with every door, and the workers that load.

Each is started with two pipes: the lifeline, whose end means that the supervisor is gone, and the doorbell, rung by the
doors and heard by the workers. A worker without a supervisor would be a second process tree, so it ends at once.
"""

from __future__ import annotations

import json
import os
import select
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from ingestd import house as houses
from ingestd.house import House
from ingestd.model import Delivery

if TYPE_CHECKING:
    from ingestd.handback import Publisher

log = structlog.get_logger()

IDLE_SECONDS = 0.5
"""How long a worker sleeps when the doorbell is silent; the ledger is the truth, the bell only makes it sooner."""


@dataclass(frozen=True, kw_only=True)
class Pipes:
    """File descriptors that the supervisor hands down."""

    lifeline: int
    doorbell: int
    ready: int
    """Written once, when the role does its work: a JSON object of open doors."""


@dataclass(kw_only=True)
class Bell:
    """Stop and doorbell of a worker."""

    doorbell: int
    idle: Callable[[], None]
    """Done before each wait."""
    stopped: threading.Event = field(default_factory=threading.Event)

    def is_set(self) -> bool:
        """True after SIGTERM or SIGINT."""
        return self.stopped.is_set()

    def wait(self) -> None:
        """Until the bell rings, at most IDLE_SECONDS."""
        self.idle()
        heard, _, _ = select.select([self.doorbell], [], [], IDLE_SECONDS)
        if heard:
            try:
                os.read(self.doorbell, 1)
            except BlockingIOError:  # another worker heard the same ring
                return


def ringer(doorbell: int) -> Callable[[], None]:
    """Rings the workers; a full pipe has rung already."""
    os.set_blocking(doorbell, False)

    def ring() -> None:
        try:
            os.write(doorbell, b"!")
        except BlockingIOError:
            return

    return ring


def die_with_supervisor(lifeline: int) -> None:
    """Ends this process at once when the supervisor is gone."""

    def watch() -> None:
        os.read(lifeline, 1)  # returns at end of file only: nobody ever writes
        os._exit(75)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def say_ready(ready: int, doors: dict[str, Any]) -> None:
    """Tells the supervisor that the role does its work."""
    os.write(ready, json.dumps(doors).encode() + b"\n")
    os.close(ready)


def on_stop(stop: Callable[[], None]) -> None:
    """Calls `stop` on SIGTERM and SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())


def work(house: House, pipes: Pipes) -> None:
    """The worker: loads deliveries one after the other until it is told to stop."""
    from ingestd.ingest.road import Road  # noqa: PLC0415 - polars and pandera load only where rows are read

    os.set_blocking(pipes.doorbell, False)
    road = road_of(house, Road)
    publisher = publisher_of(house)

    def handle(delivery_id: int) -> None:
        road.travel(delivery_id)
        delivery = house.ledger.get(delivery_id)
        assert delivery is not None
        log_end(delivery)
        publisher.publish(delivery)

    bell = Bell(doorbell=pipes.doorbell, idle=publisher.sweep)
    on_stop(bell.stopped.set)
    say_ready(pipes.ready, {})
    house.dispatcher.run(handle, bell)


def road_of(house: House, make: Callable[..., Any]) -> Any:
    """The road of a house."""
    return make(
        engine=house.engine,
        ledger=house.ledger,
        spool=house.spool,
        logs=house.places.logs,
        schemas=house.schemas,
        max_attempts=house.configuration.daemon.worker.max_attempts,
    )


def publisher_of(house: House) -> Publisher:
    """What hands the results of a house back."""
    from ingestd.handback import Publisher  # noqa: PLC0415 - as above

    return Publisher(
        ledger=house.ledger,
        logs=house.places.logs,
        homes=house.places.homes,
        drop=house.places.home / house.configuration.daemon.folder.path,
        keep=timedelta(days=house.configuration.daemon.results.keep_days),
    )


def log_end(delivery: Delivery) -> None:
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


def run(role: str, config: Path, home: Path, pipes: Pipes, *, name: str) -> None:
    """The main function of a child process."""
    die_with_supervisor(pipes.lifeline)
    house = houses.open_house(config, home, worker=name)
    if role == "worker":
        work(house, pipes)
    else:
        from ingestd.receiver import receive  # noqa: PLC0415 - the doors load only in their own process

        receive(house, pipes)
