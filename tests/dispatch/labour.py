"""A worker in a process of its own: `python -m tests.dispatch.labour`, told by JSON what to do with each delivery.

It takes deliveries from the house's own dispatcher, as `ingestd.worker` does, and notes in a file what it does, so that
a test knows when to strike.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from ingestd import dispatch
from ingestd.errors import Unavailable
from ingestd.model import Delivery, State
from ingestd.store.engine import open_engine, writing
from ingestd.store.ledger import Ledger
from tests.running import ROOT, until

DEAD_SECONDS = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What a worker is told."""

    url: str
    name: str
    folder: str
    """where it notes what it does; while there is a file `hold` in it, it waits in the middle of each delivery"""
    node: str = "here"
    home: str = ""
    """a home whose road the deliveries travel; empty: each is only ended, which needs no libraries"""
    config: str = ""
    dies: tuple[int, ...] = ()
    """deliveries in whose middle it is killed"""
    puts_off: tuple[int, ...] = ()
    """deliveries that find something of ours away, the first time"""
    max_attempts: int = 5
    dead_seconds: float = DEAD_SECONDS


class Worker:
    """Such a process, from outside."""

    def __init__(self, task: Task) -> None:
        self.task, self.notes = task, Path(task.folder) / f"{task.name}.notes"
        command = [sys.executable, "-m", "tests.dispatch.labour", json.dumps(dataclasses.asdict(task))]
        self.process = subprocess.Popen(command, cwd=ROOT)

    def told(self) -> list[tuple[str, int, float]]:
        """What it has noted: what, of which delivery, when."""
        if not self.notes.exists():
            return []
        lines = self.notes.read_text().rpartition("\n")[0].splitlines()
        return [(what, int(number), float(at)) for what, number, at in map(str.split, lines)]

    def deliveries(self, what: str) -> list[int]:
        """The deliveries of which it has noted this, in order."""
        return [number for told, number, _ in self.told() if told == what]

    def until_told(self, what: str, delivery_id: int) -> None:
        until(lambda: delivery_id in self.deliveries(what), f"{self.task.name}: {what} {delivery_id}")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Tells it to stop, as the supervisor does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Stop:
    """As the Bell of ingestd.pipes, without a supervisor."""

    def __init__(self) -> None:
        self.stopped, self.rung = threading.Event(), threading.Event()

    def is_set(self) -> bool:
        return self.stopped.is_set()

    def wait(self) -> None:
        self.rung.wait(0.1)
        self.rung.clear()

    def ring(self) -> None:
        self.rung.set()


@dataclasses.dataclass(kw_only=True)
class Labourer:
    """The process itself."""

    task: Task
    engine: Engine
    ledger: Ledger
    put_off: set[int] = dataclasses.field(default_factory=set)

    def note(self, what: str, delivery_id: int) -> None:
        with (Path(self.task.folder) / f"{self.task.name}.notes").open("a") as notes:
            notes.write(f"{what} {delivery_id} {time.time()}\n")

    def handle(self, delivery_id: int) -> None:
        self.note("begun", delivery_id)
        try:
            if self.task.home:
                self._travel(delivery_id)
            else:
                self._end(delivery_id)
        except Unavailable:
            self.note("postponed", delivery_id)
            raise
        self.note("ended", delivery_id)

    def _travel(self, delivery_id: int) -> None:
        from ingestd.house import open_house  # noqa: PLC0415 - polars and pandera, where a file is loaded
        from ingestd.worker import road_of  # noqa: PLC0415

        house = open_house(Path(self.task.config), Path(self.task.home))
        road_of(house).travel(delivery_id, lambda stage: self._middle(delivery_id) if stage == "load" else None)

    def _end(self, delivery_id: int) -> None:
        delivery = self.ledger.begin(delivery_id, max_attempts=self.task.max_attempts)
        if delivery is None:
            return
        self._middle(delivery_id)
        if delivery_id in self.task.puts_off and delivery_id not in self.put_off:
            self.put_off.add(delivery_id)
            self.ledger.postpone(delivery, "the disk is away")
            raise Unavailable("the disk is away")
        self._load(delivery)

    def _load(self, delivery: Delivery) -> None:
        with writing(self.engine) as connection:
            self.ledger.receipt(connection, delivery)
            self.ledger.finish(connection, delivery, State.COMPLETED)

    def _middle(self, delivery_id: int) -> None:
        self.note("middle", delivery_id)
        if delivery_id in self.task.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        while (Path(self.task.folder) / "hold").exists():
            time.sleep(0.01)


def labour(told: dict[str, Any]) -> None:
    """Until SIGTERM."""
    task = Task(**told)
    engine = open_engine(task.url)
    dispatcher = dispatch.of(
        engine,
        node=task.node,
        worker=task.name,
        retry=timedelta(seconds=0.2),
        dead=timedelta(seconds=task.dead_seconds),
    )
    stop = Stop()
    signal.signal(signal.SIGTERM, lambda *_: stop.stopped.set())
    labourer = Labourer(task=task, engine=engine, ledger=Ledger(engine=engine, submit=dispatcher.submit))
    labourer.note("ready", 0)
    dispatcher.run(labourer.handle, stop)
    engine.dispose()


if __name__ == "__main__":
    labour(json.loads(sys.argv[1]))
