"""What the tests of the doors share: a ledger in memory, cheap passwords, and a wait with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ingestd.accounts import Argon2Cost, Passwords, hash_password
from ingestd.errors import Unavailable
from ingestd.model import Arrival
from ingestd.receive.ftp import FtpDoor
from ingestd.spool import Kept, Landed, Recorded

CHEAP = Argon2Cost(time=1, memory_kib=8, threads=1)
PASSWORD = "pässword"
PASSWORD_HASH = hash_password(PASSWORD, CHEAP)
LIMIT = 1_000_000  # bytes


@dataclass
class MemoryLedger:
    """Keeps deliveries in a list, with the store's rule for duplicates and versions."""

    rows: list[tuple[Arrival, Landed]] = field(default_factory=list)
    recorded: list[Recorded] = field(default_factory=list)
    away: bool = False
    before: Callable[[], None] = lambda: None
    after: Callable[[], None] = lambda: None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def record(
        self,
        arrival: Arrival,
        landed: Landed,
        *,
        hold: bool = False,
        heed: bool = False,
        **_also: Any,
    ) -> Recorded:
        assert (hold, heed) == (False, False), "nothing is demanded without a prover"
        self.before()
        with self.lock:
            if self.away:
                raise Unavailable("the store is away")
            recorded = self._answer(arrival, landed)
            self.rows.append((arrival, landed))
            self.recorded.append(recorded)
        self.after()
        return recorded

    def _answer(self, arrival: Arrival, landed: Landed) -> Recorded:
        same_name = [
            (number, known)
            for number, (said, known) in enumerate(self.rows, 1)
            if (said.source, said.folder, said.name) == (arrival.source, arrival.folder, arrival.name)
        ]
        same = [number for number, known in same_name if known.sha256 == landed.sha256]
        return Recorded(
            delivery_id=len(self.rows) + 1,
            duplicate_of=same[0] if same else None,
            previous_version=same_name[-1][0] if same_name and not same else None,
        )

    def known_spool_key(self, key: str) -> bool:
        with self.lock:
            pairs = zip(self.rows, self.recorded, strict=True)
            return any(known.key == key for (_, known), said in pairs if said.duplicate_of is None)

    def latest_named(self, source: str, folder: str, name: str) -> Kept | None:
        with self.lock:
            if self.away:
                raise Unavailable("the store is away")
            same = [
                (number, landed)
                for number, (said, landed) in enumerate(self.rows, 1)
                if (said.source, said.folder, said.name) == (source, folder, name)
            ]
            if not same:
                return None
            number, landed = same[-1]
            its_own = self.recorded[number - 1].duplicate_of or number
            key = self.rows[its_own - 1][1].key
        moment = datetime(2026, 1, 31, 12, 30, 15, tzinfo=UTC)
        return Kept(delivery_id=its_own, size=landed.size, sha256=landed.sha256, received_at=moment, spool_key=key)

    @property
    def arrivals(self) -> list[Arrival]:
        return [arrival for arrival, _ in self.rows]

    def loaded(self) -> list[tuple[Arrival, Landed]]:
        """Deliveries that a worker would load."""
        return [row for row, said in zip(self.rows, self.recorded, strict=True) if said.duplicate_of is None]


class Rings:
    """Counts the doorbell."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


class SlowPasswords(Passwords):
    """Takes as long as the test wants."""

    def __init__(self) -> None:
        super().__init__(CHEAP)
        self.asked = 0
        self.go_on = threading.Event()

    def verify(self, account: Any, password: str) -> bool:
        self.asked += 1
        assert self.go_on.wait(30)
        return super().verify(account, password)


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Return as soon as the condition holds; fail after the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.005)


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@dataclass
class OpenDoor:
    door: FtpDoor
    homes: Path

    @property
    def address(self) -> tuple[str, int]:
        return self.door.address
