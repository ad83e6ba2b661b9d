"""A shop for the tests of dispatch: a store with its dispatcher, deliveries without files, and who serves them."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, select, update

from ingestd import dispatch
from ingestd.dispatch.dispatcher import Dispatcher
from ingestd.errors import Unavailable
from ingestd.model import Arrival, Delivery, State
from ingestd.spool import Landed
from ingestd.store.engine import reading, writing
from ingestd.store.ledger import Ledger, now
from ingestd.store.tables import deliveries, receipts
from tests.dispatch.labour import DEAD_SECONDS, Task, Worker
from tests.running import until


@dataclasses.dataclass(kw_only=True)
class Shop:
    """A store with its dispatcher, and the workers on it."""

    url: str
    folder: Path
    stack: ExitStack
    engine: Engine
    dispatcher: Dispatcher
    numbers: int = 0

    @property
    def ledger(self) -> Ledger:
        return Ledger(engine=self.engine, submit=self.dispatcher.submit)

    @property
    def many_machines(self) -> bool:
        """Whether workers find out by themselves who is gone."""
        return self.engine.dialect.name == "postgresql"

    def deliver(self, source: str = "s") -> int:
        """A delivery as a door makes it; without a file."""
        self.numbers += 1
        name = f"{self.numbers}-{time.monotonic_ns()}"
        arrival = Arrival(source=source, login="l", peer="p", protocol="ftp", name=name)
        return self.ledger.record(arrival, Landed(key=name, size=1, sha256=name)).delivery_id

    def worker(self, name: str, **told: Any) -> Worker:
        """A worker that has begun to look for work."""
        made = Worker(Task(url=self.url, name=name, folder=str(self.folder), **told))
        self.stack.callback(made.kill)
        until(lambda: made.deliveries("ready"), f"{name} to be ready")
        return made

    def gone(self, worker: Worker) -> None:
        """What is known of a worker that is dead or does not advance."""
        if not self.many_machines:
            assert self.dispatcher.release(worker.task.name) == 1

    def hold(self) -> Path:
        """Workers stop in the middle of a delivery until this is removed."""
        path = self.folder / "hold"
        path.touch()
        return path

    def known(self, delivery_id: int) -> Delivery:
        found = self.ledger.get(delivery_id)
        assert found is not None
        return found

    def all_ended(self) -> bool:
        with contextlib.suppress(Unavailable):
            health = self.dispatcher.health()
            return bool(health["ready"] == health["running"] == 0)
        return False

    def count_receipts(self) -> int:
        with reading(self.engine) as connection:
            return connection.scalar(select(func.count()).select_from(receipts)) or 0


class Until:
    """Stops when there is nothing left to do."""

    def __init__(self) -> None:
        self.stopped = False

    def is_set(self) -> bool:
        return self.stopped

    def wait(self) -> None:
        self.stopped = True

    def ring(self) -> None:
        return


def served(dispatcher: Dispatcher, handle: Callable[[int], None]) -> list[int]:
    """What a worker is handed until there is nothing left."""
    seen: list[int] = []

    def handler(delivery_id: int) -> None:
        seen.append(delivery_id)
        handle(delivery_id)

    dispatcher.run(handler, Until())
    return seen


def named(shop: Shop, worker: str, node: str = "here") -> Dispatcher:
    patience = timedelta(seconds=DEAD_SECONDS)
    return dispatch.of(shop.engine, node=node, worker=worker, retry=timedelta(seconds=60), dead=patience)


def end(shop: Shop, delivery_id: int) -> None:
    """As at the end of its road, with the results handed back."""
    ended = update(deliveries).where(deliveries.c.id == delivery_id)
    with writing(shop.engine, forgettable=True) as connection:
        connection.execute(ended.values(state=State.COMPLETED, published_at=now()))
