"""Mixed load over every door of a whole daemon, with random kills; then every byte sent is held against what is kept.

The first half is rough: workers, receivers, the daemon, and with --postgres the database server, are killed with
SIGKILL (the server ends at once) every few seconds. The second half is calm, under the same load, and watched: memory
and file descriptors of each role must not grow. At the end everything is reconciled. Ends with 1 when anything differs.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from bench import machine
from bench.partners import Door, FolderPartner, FtpPartner, Kind, Partner, Sent, SftpPartner
from bench.reconciliation import mismatches
from bench.road import postgres_server
from bench.watching import Trend, Watcher
from ingestd.errors import Unavailable
from ingestd.house import House
from tests.conftest import Postgres
from tests.running import Daemon, until

KILL_SECONDS = (1.0, 6.0)
"""between two kills"""
END_SECONDS = 600.0
"""what may be left to do when the partners stop, must end within"""
VICTIMS = {"worker": 6, "receiver": 3, "daemon": 2, "database": 2}


def main(arguments: list[str]) -> int:
    """The exit code: 1 when anything differs or grows."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--postgres", action="store_true", help="on a private PostgreSQL server, which is killed too")
    parser.add_argument("--seed", type=int, default=1, help="of the files, and of what is killed when")
    parser.add_argument("--keep", type=Path, help="a new folder to run in, which stays; else a temporary one")
    options = parser.parse_args(arguments)
    print(f"{machine.described()}; {options.minutes:g} minutes, seed {options.seed}", flush=True)
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ingestd-soak-")))
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        server = stack.enter_context(postgres_server(folder, fsync=True)) if options.postgres else None
        url = server.new_database() if server else ""
        # Whoever is killed on purpose must not become a dead letter by that.
        given = {"INGESTD_STORE__URL": url, "INGESTD_WORKER__MAX_ATTEMPTS": "1000", "INGESTD_WORKER__PROCESSES": "2"}
        with Daemon(folder / "daemon", **given) as daemon:
            return Soak(daemon, server, options.seed).run(options.minutes * 60)


class Soak:
    """One run."""

    def __init__(self, daemon: Daemon, server: Postgres | None, seed: int) -> None:
        self.daemon, self.server, self.dice = daemon, server, random.Random(seed)
        self.house: House = daemon.house()
        self.killed: Counter[str] = Counter()
        self.backlog = 0
        numbers = itertools.count(1)
        doors: list[Door] = [
            *(FtpPartner(daemon, tls=False) for _ in range(2)),
            FtpPartner(daemon, tls=True),
            SftpPartner(daemon),
            FolderPartner(daemon),
        ]
        self.partners = [
            Partner(door, seed * 1000 + place, numbers, lambda: self.backlog) for place, door in enumerate(doors)
        ]

    def run(self, seconds: float) -> int:
        """Rough, calm, end, reconciliation; the exit code."""
        for partner in self.partners:
            partner.start()
        self._rough(seconds / 2)
        trends = self._calm(seconds / 2)
        sent = self._end()
        self._told(sent)
        found = mismatches(self.house, sent)
        found += [f"{trend.role} grows: {_line(trend)}" for trend in trends if trend.grows]
        for trend in trends:
            print(_line(trend))
        self._keep(sent)
        for problem in found[:50]:
            print(f"MISMATCH  {problem}")
        print(f"{len(found)} mismatches" if found else "every byte and every row is accounted for; nothing grows")
        return 1 if found else 0

    def _keep(self, sent: list[Sent]) -> None:
        """What was sent and what the ledger has, beside the daemon's log, for whoever looks for a mismatch."""
        folder = self.daemon.home.parent
        told = [f"{file.name} {file.door} {file.kind} sent {file.times} attempts {file.attempts}" for file in sent]
        (folder / "sent.txt").write_text("\n".join(told))
        deliveries = self.house.ledger.latest(limit=10_000_000)
        (folder / "ledger.txt").write_text("\n".join(str(each) for each in deliveries))

    def _rough(self, seconds: float) -> None:
        for moment in self._moments(seconds):
            self._look()
            if moment:
                victim = self._kill()
                self.killed[victim] += 1

    def _moments(self, seconds: float) -> Iterator[bool]:
        """Ten times a second until the time is over; True when it is time to kill."""
        begun, pause = time.monotonic(), threading.Event()
        next_kill = begun + self.dice.uniform(*KILL_SECONDS)
        while (now := time.monotonic()) - begun < seconds:
            due = now >= next_kill
            if due:
                next_kill = now + self.dice.uniform(*KILL_SECONDS)
            yield due
            pause.wait(0.1)

    def _kill(self) -> str:
        victims = [name for name in VICTIMS if name != "database" or self.server]
        victim = self.dice.choices(victims, [VICTIMS[name] for name in victims])[0]
        if victim == "database":
            assert self.server is not None
            self.server.stop()
            self.server.resume()
        elif victim == "daemon":
            self.daemon.kill()
            self.daemon.start()
        else:
            for pid in self.daemon.children(victim):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return victim

    def _look(self) -> None:
        """Partners pause when too much waits; a store that is away is looked at again."""
        for partner in self.partners:
            if partner.failed is not None:
                raise partner.failed
        with contextlib.suppress(Unavailable, SQLAlchemyError):
            self.backlog = int(self.house.dispatcher.health()["ready"])

    def _calm(self, seconds: float) -> list[Trend]:
        watcher = Watcher(self.daemon)
        watcher.start()
        for _ in self._moments(seconds):
            self._look()
        watcher.enough.set()
        watcher.join()
        return watcher.trends()

    def _end(self) -> list[Sent]:
        for partner in self.partners:
            partner.enough.set()
        for partner in self.partners:
            partner.join()
            if partner.failed is not None:
                raise partner.failed
        sent = [file for partner in self.partners for file in partner.sent]
        names = {file.name for file in sent if file.kind is not Kind.CUT}
        until(lambda: self._done(names), "every delivery to end and to be handed back", seconds=END_SECONDS)
        code = self.daemon.stop()
        assert code == 0, f"the daemon ended with {code}"
        self.house.spool.sweep(self.house.ledger.known_spool_key)
        return sent

    def _done(self, names: set[str]) -> bool:
        """A file of the drop folder is moved away before it is in the ledger, so every name is looked for."""
        time.sleep(0.5)  # looking takes from the workers
        deliveries = self.house.ledger.latest(limit=10_000_000)
        ended = all(each.state.final and each.published_at is not None for each in deliveries)
        return ended and names <= {each.name for each in deliveries} and not self.house.dispatcher.health()["running"]

    def _told(self, sent: list[Sent]) -> None:
        kinds, doors = Counter(str(file.kind) for file in sent), Counter(file.door for file in sent)
        times, size = sum(file.times for file in sent), sum(file.size for file in sent)
        rows = sum(len(file.good) for file in sent)
        print(f"sent {len(sent):,} files {times:,} times, {size / 1e6:,.1f} MB, {rows:,} good rows")
        for what, counted in (("by door", doors), ("by kind", kinds), ("killed", self.killed)):
            told = ", ".join(f"{name} {count:,}" for name, count in counted.items())
            print(f"  {what}: {told or 'nothing'}", flush=True)


def _line(trend: Trend) -> str:
    memory, descriptors = trend.memory, trend.descriptors
    told = f"{trend.role:<9} {trend.seconds:>6.0f} s   memory {memory[0]:>5.0f} -> {memory[1]:>5.0f} MiB"
    return f"{told} ({trend.slope:+.0f} MiB/h)   descriptors {descriptors[0]:.0f} -> {descriptors[1]:.0f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
