"""Many machines: two receivers and three workers, each with a home of its own, on one PostgreSQL and one storage.

In the middle one receiver and one worker are lost for good. What was answered with 226 is loaded once all the same.
"""

from __future__ import annotations

import contextlib
import ftplib
import io
import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest
from sqlalchemy import Engine, func, select

from ingestd.model import Delivery, State
from ingestd.node import Standing
from ingestd.store import tables
from ingestd.store.engine import open_engine, reading
from ingestd.store.ledger import Ledger
from ingestd.store.nodes import Nodes
from tests.conftest import Postgres
from tests.running import Daemon, add_sources, until
from tests.s3 import S3

FILES, ROWS = 500, 10
SOURCES = tuple(f"partner-{number}" for number in range(1, 5))
CLIENTS = 8
TAKEOVER_SECONDS = 30.0
BUSY_SECONDS = 180.0
"""Twelve processes start at once, on a machine that may have others to run."""


def file_of(number: int) -> tuple[str, str, bytes]:
    """Its source, name and content. The campaign keeps duplicates, so a file that is loaded twice shows."""
    phones = (f"+4526{number * ROWS + row:06}" for row in range(ROWS))
    content = "phone,name\n" + "".join(f"{phone},Lund\n" for phone in phones)
    return SOURCES[number % len(SOURCES)], f"leads-{number:03}.csv", content.encode()


@dataclass(kw_only=True)
class Cluster:
    """The nodes, and a look at their store."""

    receivers: list[Daemon]
    workers: list[Daemon]
    engine: Engine
    lost: list[Daemon] = field(default_factory=list)

    @classmethod
    def started(cls, folder: Path, url: str, shared: dict[str, str], stack: ExitStack) -> Self:
        names = ("receiver-1", "receiver-2", "worker-1", "worker-2", "worker-3")
        nodes = [cls._node(folder / name, name, {**shared, "INGESTD_STORE__URL": url}) for name in names]
        for node in nodes:
            stack.callback(ended, node)
            node.launch()
        for node in nodes:
            until(node.endpoints.exists, f"{node.home} to be ready", seconds=BUSY_SECONDS)
        engine = open_engine(url)
        stack.callback(engine.dispose)
        return cls(receivers=nodes[:2], workers=nodes[2:], engine=engine)

    @staticmethod
    def _node(folder: Path, name: str, environment: dict[str, str]) -> Daemon:
        folder.mkdir(exist_ok=True)
        role = "ftp" if name.startswith("receiver") else "worker"
        node = Daemon(folder, INGESTD_NODE__NAME=name, INGESTD_ROLES=role, **environment)
        add_sources(node.config, dict.fromkeys(SOURCES, "DK-FIBRE"))
        return node

    def lose(self, node: Daemon) -> None:
        """As its machine does: nothing of it says farewell, and it never comes back."""
        assert node.process is not None
        victims = [
            node.process.pid,
            *(pid for role in ("receiver", "results", "worker") for pid in node.children(role)),
        ]
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        node.process.wait()
        node.process = None
        self.lost.append(node)

    def open_receivers(self) -> list[Daemon]:
        return [each for each in self.receivers if each not in self.lost]

    def deliveries(self) -> list[Delivery]:
        return Ledger(engine=self.engine, submit=lambda *_: None).latest(limit=9_999)

    def numbers(self, *states: State) -> list[int]:
        """The numbers of the deliveries in these states."""
        time.sleep(0.05)  # looking takes from the nodes
        with reading(self.engine) as connection:
            table = tables.deliveries.c
            return list(connection.scalars(select(table.id).where(table.state.in_(states))))

    def count(self, *what: Any) -> tuple[int, ...]:
        with reading(self.engine) as connection:
            return tuple(connection.execute(select(*what)).one())


def ended(node: Daemon) -> None:
    """Without a farewell: how a daemon stops is told by tests/test_daemon.py, and takes seconds."""
    if node.process is not None:
        node.kill()


@dataclass(kw_only=True)
class Partner:
    """Sends its files one after the other, and what was not acknowledged again, to a receiver that is there."""

    cluster: Cluster
    numbers: range
    sent: dict[int, str] = field(default_factory=dict)
    """number of a file → the answer to it"""
    clients: dict[str, ftplib.FTP] = field(default_factory=dict)
    """of the receiver in use, by source"""
    turn: int = 0

    def run(self) -> None:
        try:
            for number in self.numbers:
                until(partial(self._sent, number), f"226 for file {number}", BUSY_SECONDS)
        finally:
            self._hang_up()

    def _sent(self, number: int) -> bool:
        source, name, data = file_of(number)
        try:
            if source not in self.clients:
                open_ones = self.cluster.open_receivers()
                self.clients[source] = open_ones[(self.numbers.start + self.turn) % len(open_ones)].ftp(source)
            answer = self.clients[source].storbinary(f"STOR upload/{name}", io.BytesIO(data))
        except (OSError, EOFError, ftplib.Error):
            self.turn += 1
            self._hang_up()
            return False
        self.sent[number] = answer
        return answer.startswith("226")

    def _hang_up(self) -> None:
        for client in self.clients.values():
            client.close()
        self.clients.clear()


@pytest.fixture
def cluster(tmp_path: Path, postgres: Postgres, s3: S3) -> Iterator[Cluster]:
    with ExitStack() as stack:
        shared = s3.environment(s3.new_bucket(), timeout_seconds=30)
        yield Cluster.started(tmp_path, postgres.new_database(), shared, stack)


def test_what_was_accepted_is_loaded_once_though_a_receiver_and_a_worker_are_lost(cluster: Cluster) -> None:
    partners = [Partner(cluster=cluster, numbers=range(first, FILES, CLIENTS)) for first in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as threads:
        running = [threads.submit(partner.run) for partner in partners]
        until(lambda: len(cluster.numbers(*State)) > FILES // 3, "a third of the files")
        cluster.lose(cluster.receivers[0])
        in_hand = lose_a_worker_at_work(cluster)
        until(lambda: not in_hand & unended(cluster), "what the lost worker had in hand", seconds=TAKEOVER_SECONDS)
        for partner in running:
            partner.result()
    assert sum(len(partner.sent) for partner in partners) == FILES
    until(lambda: not unended(cluster), "every delivery to end", seconds=BUSY_SECONDS)
    check_loaded(cluster)
    check_results(cluster)
    check_told(cluster)


def lose_a_worker_at_work(cluster: Cluster) -> set[int]:
    """At a moment when every worker has something in hand; what they had."""

    def every_one_is() -> set[int]:
        found = set(cluster.numbers(State.RUNNING))
        return found if len(found) == len(cluster.workers) else set()

    at_work: set[int] = until(every_one_is, "every worker to be at work")
    cluster.lose(cluster.workers[0])
    return at_work


def unended(cluster: Cluster) -> set[int]:
    return set(cluster.numbers(State.RECEIVED, State.QUEUED, State.RUNNING))


def check_loaded(cluster: Cluster) -> None:
    """Each file is one completed delivery, with one receipt, and each of its rows is one lead."""
    deliveries = cluster.deliveries()
    completed = [each for each in deliveries if each.state is State.COMPLETED]
    assert {each.state for each in deliveries} <= {State.COMPLETED, State.DUPLICATE}
    assert sorted(each.name for each in completed) == sorted(file_of(number)[1] for number in range(FILES))
    phone = tables.leads.c.phone
    assert cluster.count(func.count(), func.count(phone.distinct())) == (FILES * ROWS, FILES * ROWS)
    assert cluster.count(func.count(tables.receipts.c.delivery_id)) == (FILES,)
    assert {each.node_id for each in completed} == {each.id for each in known(cluster) if "ftp" in each.node.roles}


def check_results(cluster: Cluster) -> None:
    """The receiver that is left has the results of all, whoever received them."""
    (left,) = cluster.open_receivers()
    numbers = {each.name: each.id for each in cluster.deliveries() if each.state is State.COMPLETED}

    def there() -> bool:
        return all((place / f"{name}.receipt.json").exists() for place, name in places)

    homes = left.home / "homes"
    places = [(homes / source / "results", name) for source, name, _ in map(file_of, range(FILES))]
    until(there, "the results of every file", seconds=BUSY_SECONDS)
    for place, name in places[:: FILES // 20]:
        assert json.loads((place / f"{name}.receipt.json").read_bytes())["delivery"] == numbers[name]
    source, name, _ = file_of(0)
    with left.ftp(source) as client:
        assert f"{name}.receipt.json" in client.nlst("results")


def check_told(cluster: Cluster) -> None:
    """Every node can say who is lost."""
    names = {node.environment["INGESTD_NODE__NAME"] for node in cluster.lost}

    def states() -> dict[str, set[str]]:
        """state → names"""
        now, found = datetime.now(UTC), defaultdict[str, set[str]](set)
        for each in known(cluster):
            found[each.state(now)].add(each.node.name)
        return found

    until(lambda: states()["silent"] == names, "the lost ones, and nobody else, to be silent")
    assert len(names) == 2
    assert len(states()["running"]) == 3


def known(cluster: Cluster) -> list[Standing]:
    return Nodes(engine=cluster.engine).all()
