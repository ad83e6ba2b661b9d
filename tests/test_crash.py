"""Exactly once, whatever dies: daemon, receiver and worker are killed at random moments while files stream in."""

from __future__ import annotations

import contextlib
import ftplib
import io
import os
import random
import signal
import threading
from pathlib import Path

import pytest
from sqlalchemy import func, select

from ingestd.model import State
from ingestd.store import tables
from ingestd.store.engine import reading
from tests.running import FEWER, Daemon, until

FILES, ROWS = 90, 25
SOURCE = "fibreweb"  # its campaign keeps duplicates, so a file that is loaded twice shows as leads too many


def file_of(number: int) -> tuple[str, bytes]:
    phones = (f"+4526{number * ROWS + row:06}" for row in range(ROWS))
    return f"fibre_DK-AAR_{number:03}.csv", ("phone,name\n" + "".join(f"{p},Lund\n" for p in phones)).encode()


class Sender(threading.Thread):
    """A partner that sends every file until it has been answered with 226, as partners do."""

    def __init__(self, daemon: Daemon, numbers: range) -> None:
        super().__init__(daemon=True)
        self.daemon_under_test, self.numbers, self.accepted = daemon, numbers, 0
        self.client: ftplib.FTP | None = None

    def run(self) -> None:
        for number in self.numbers:
            name, data = file_of(number)
            until(lambda name=name, data=data: self._sent(name, data), f"226 for {name}", seconds=120)
            self.accepted += 1
        if self.client is not None:
            self.client.close()

    def _sent(self, name: str, data: bytes) -> bool:
        try:
            if self.client is None:
                self.client = self.daemon_under_test.ftp(SOURCE)
            return self.client.storbinary(f"STOR upload/{name}", io.BytesIO(data)).startswith("226")
        except (OSError, EOFError, ftplib.Error, KeyError, ValueError):
            # ValueError, KeyError: the endpoints were being written or are gone.
            if self.client is not None:
                self.client.close()
            self.client = None
            return False


def kill_something(daemon: Daemon, chance: random.Random) -> str:
    """Kills one process of the tree with SIGKILL; a killed daemon is started again."""
    victim = chance.choice(["worker", "worker", "receiver", "daemon"])
    if victim == "daemon":
        daemon.kill()
        daemon.start()
        return victim
    for pid in daemon.children(victim):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return victim


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_no_file_is_lost_or_doubled_when_processes_are_killed(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    chance = random.Random(20)
    killed: list[str] = []
    url = request.getfixturevalue("postgres").new_database() if database == "postgresql" else ""
    with Daemon(tmp_path, **FEWER, INGESTD_STORE__URL=url) as daemon:
        senders = [Sender(daemon, range(first, FILES, 4)) for first in range(4)]
        for sender in senders:
            sender.start()
        moment = threading.Event()
        while any(sender.is_alive() for sender in senders) or len(killed) < 9:
            moment.wait(chance.uniform(0.05, 1.5))  # the random moment, not a wait for something
            killed.append(kill_something(daemon, chance))
        for sender in senders:
            sender.join()
        assert sum(sender.accepted for sender in senders) == FILES
        house = daemon.house()
        until(
            lambda: len(house.ledger.latest(limit=9999)) and not unended(daemon), "every delivery to end", seconds=120
        )
        check(daemon)
    assert {"worker", "receiver", "daemon"} <= set(killed)


def unended(daemon: Daemon) -> list[int]:
    deliveries = daemon.house().ledger.latest(limit=9999)
    return [each.id for each in deliveries if not each.state.final or each.published_at is None]


def check(daemon: Daemon) -> None:
    """Every accepted file is in the store exactly once, with its receipt, its log and its results."""
    house = daemon.house()
    deliveries = house.ledger.latest(limit=9999)
    completed = [each for each in deliveries if each.state is State.COMPLETED]
    assert {each.state for each in deliveries} <= {State.COMPLETED, State.DUPLICATE}
    assert sorted(each.name for each in completed) == sorted(file_of(number)[0] for number in range(FILES))
    with reading(house.engine) as connection:
        phones = connection.execute(select(func.count(), func.count(tables.leads.c.phone.distinct()))).one()
        receipts = connection.scalar(select(func.count()).select_from(tables.receipts))
    assert tuple(phones) == (FILES * ROWS, FILES * ROWS)
    assert receipts == FILES
    assert house.dispatcher.health() == {"ready": 0, "running": 0, "oldest_seconds": 0.0}
    results = house.places.homes / SOURCE / "results"
    for each in completed:
        assert house.logs.has(f"{each.log_key}/rows.arrows")
        assert (results / f"{each.name}.receipt.json").exists()
    house.spool.sweep(house.ledger.known_spool_key)
    kept = [path for path in (daemon.home / "spool" / "deliveries").rglob("*") if path.is_file()]
    assert len(kept) == FILES
