"""The supervisor: holds the home's lock, starts the roles as processes, and replaces whatever dies.

It does no work of its own, so nothing that a partner sends can hurt it. A worker that was killed takes nothing with
it: its job is given back and taken up again by its successor.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from ingestd.errors import EXIT_MISCONFIGURED, Unavailable
from ingestd.house import House, Lock, open_house, prepare_store

log = structlog.get_logger()

TICK_SECONDS = 0.1
LOCK_SECONDS = 5.0
"""The children of a daemon that was killed end within milliseconds; a daemon that runs never gives way."""
STOP_SECONDS = 60.0
"""How long running transfers and loads may take to end after a stop."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0


@dataclass(kw_only=True)
class Child:
    """One role in a process of its own."""

    role: str
    name: str
    process: subprocess.Popen[bytes] | None = None
    ready: int | None = None
    """The pipe on which the child says that it is ready; closed when it has, or is gone."""
    said_ready: bool = False
    failures: int = 0
    """how often it ended with an error soon after its start"""
    started_at: float = 0.0
    not_before: float = 0.0


@dataclass(kw_only=True)
class Daemon:
    """The process tree of one home."""

    config: Path
    home: Path
    house: House
    lock: Lock
    children: list[Child]
    lifeline: tuple[int, int] = field(default_factory=os.pipe)
    doorbell: tuple[int, int] = field(default_factory=os.pipe)
    doors: dict[str, Any] = field(default_factory=dict)
    stopping: bool = False
    exit_code: int = 0

    def run(self) -> int:
        """Until SIGTERM, SIGINT or a role that cannot be configured; returns the exit code when all children ended."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while not self.stopping:
            for child in self.children:
                self._tend(child)
            self._hear()
        self._end()
        return self.exit_code

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def _tend(self, child: Child) -> None:
        """Starts a child that is not running, after a pause that grows while it keeps dying."""
        if child.process is not None:
            if child.process.poll() is None:
                return
            self._bury(child)
        if time.monotonic() >= child.not_before:
            self._start(child)

    def _bury(self, child: Child) -> None:
        assert child.process is not None
        log.warning("role_died", role=child.name, exit=child.process.returncode)
        self._pause(child, child.process.returncode)
        child.process, child.said_ready = None, False
        _close(child)
        if child.role == "worker":
            self._give_back(child)

    def _pause(self, child: Child, code: int) -> None:
        """A role that was killed is replaced at once; one that keeps failing by itself waits longer each time."""
        if code == EXIT_MISCONFIGURED and child.ready is not None:
            self.stopping, self.exit_code = (
                True,
                EXIT_MISCONFIGURED,
            )  # it said why on stderr; trying again mends nothing
        lived = time.monotonic() - child.started_at
        child.failures = child.failures + 1 if code > 0 and lived < LONGEST_PAUSE else 0
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**child.failures) if child.failures else 0.0
        child.not_before = time.monotonic() + pause

    def _give_back(self, child: Child) -> None:
        try:
            released = self.house.dispatcher.release(child.name)
        except Unavailable as problem:
            # Nothing is lost: the next start of this worker, or of the daemon, gives its jobs back.
            log.warning("jobs_not_released", role=child.name, error=str(problem))
            return
        if released:
            log.info("jobs_released", role=child.name, jobs=released)

    def _start(self, child: Child) -> None:
        if child.role == "worker":
            self._give_back(child)
        heard, said = os.pipe()
        doorbell = self.doorbell[0] if child.role == "worker" else self.doorbell[1]
        pipes = f"{self.lifeline[0]},{doorbell},{said}"
        command = [sys.executable, "-m", "ingestd", "role", child.role, "--name", child.name, "--pipes", pipes]
        command += ["--config", str(self.config), "--home", str(self.home)]
        inherited = (self.lifeline[0], doorbell, said, self.lock.descriptor)
        child.process = subprocess.Popen(command, pass_fds=inherited, env=self._environment())  # noqa: S603 - our own
        os.close(said)
        child.ready, child.started_at = heard, time.monotonic()

    def _environment(self) -> dict[str, str]:
        """A door that is opened again keeps the port it had, also when that was any free one."""
        ports = {
            f"INGESTD_{door.upper()}__{port.upper()}": str(place[port])
            for door, place in self.doors.items()
            for port in ("port", "implicit_port")
            if port in place
        }
        return {**os.environ, **ports}

    def _hear(self) -> None:
        """Waits a moment for children to say that they are ready."""
        waiting = {child.ready: child for child in self.children if child.ready is not None}
        heard, _, _ = select.select(list(waiting), [], [], TICK_SECONDS)
        for descriptor in heard:
            child = waiting[descriptor]
            said = os.read(descriptor, 65536)
            _close(child)
            if said:
                child.said_ready = True
                self.doors |= json.loads(said)
                log.info("role_ready", role=child.name)
        everyone = all(child.process is not None and child.said_ready for child in self.children)
        if heard and everyone:
            write_endpoints(self.house.places.endpoints, self.doors)

    def _end(self) -> None:
        """Asks every child to end, doors first, and kills what does not within the limit."""
        self.house.places.endpoints.unlink(missing_ok=True)
        for child in sorted(self.children, key=lambda child: child.role == "worker"):
            if child.process is not None and child.process.poll() is None:
                child.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for child in self.children:
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("role_killed", role=child.name, after_seconds=STOP_SECONDS)
                child.process.kill()
                child.process.wait()
            _close(child)
        log.info("daemon_stopped")


def write_endpoints(path: Path, doors: dict[str, Any]) -> None:
    """Names the open doors for clients of this machine; complete or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(doors, indent=1) + "\n", encoding="utf-8")
    fresh.replace(path)


@contextlib.contextmanager
def opened(config: Path, home: Path) -> Iterator[Daemon]:
    """A daemon that holds its home's lock, with a migrated store and every job of an earlier life given back."""
    config, home = config.resolve(), home.resolve()
    house = open_house(config, home)
    with ExitStack() as stack:
        lock = Lock(house.places)
        stack.callback(lock.release)
        lock.wait(LOCK_SECONDS, time.sleep)
        house.places.endpoints.unlink(missing_ok=True)
        prepare_store(house)
        house.spool.sweep(house.ledger.known_spool_key)
        house.dispatcher.release()
        house.dispatcher.reconcile()
        stack.callback(house.engine.dispose)
        wanted = house.configuration.daemon
        children = [Child(role="receiver", name="receiver")] if wanted.ftp.enabled or wanted.folder.enabled else []
        children += [Child(role="worker", name=f"worker-{number}") for number in range(1, wanted.worker.processes + 1)]
        yield Daemon(config=config, home=home, house=house, lock=lock, children=children)


def _close(child: Child) -> None:
    if child.ready is not None:
        os.close(child.ready)
        child.ready = None
