"""The supervisor: holds the home's lock, starts the roles as processes, and replaces whatever dies or is stuck.

It does no work of its own, so nothing that a partner sends can hurt it. A worker that was killed takes nothing with
it: its job is given back and taken up again by its successor.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from ingestd import activation, children, garbage, notify, presence, roster
from ingestd.children import Child, Handed
from ingestd.errors import EXIT_MISCONFIGURED, Misconfigured, Unavailable
from ingestd.house import House, Lock, open_house
from ingestd.metrics import FOLDER_VARIABLE
from ingestd.node import DOORS, Node, roles_of, switched_off
from ingestd.notify import Notifier
from ingestd.preparing import prepare_store
from ingestd.reload import reload

log = structlog.get_logger()

TICK_SECONDS = 0.1
LOCK_SECONDS = 5.0
"""The children of a daemon that was killed end within milliseconds; a daemon that runs never gives way."""
CLOSE_SECONDS = 10.0
"""How long a role may take to end after its transfers have."""
ROSTER_SECONDS = 1.0
HELD_UP_SECONDS = 1.0
"""A turn of the supervisor's own loop that took longer: then it is not the children who are late."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0

_PORTS = {"ftp": "FTP__PORT", "ftps": "FTP__IMPLICIT_PORT", "sftp": "SFTP__PORT", "http": "HTTP__PORT"}


@dataclass(kw_only=True)
class Daemon:
    """The process tree of one home."""

    config: Path
    home: Path
    house: House
    lock: Lock
    children: Sequence[Child]
    roles: tuple[str, ...]
    node: Node
    number: int
    """of the node, in the store"""
    since: datetime = field(default_factory=roster.now)
    notifier: Notifier = field(default_factory=Notifier)
    sockets: dict[str, int] = field(default_factory=dict)
    """listening sockets that systemd opened, by door"""
    lifeline: tuple[int, int] = field(default_factory=os.pipe)
    doorbell: tuple[int, int] = field(default_factory=os.pipe)
    doors: dict[str, Any] = field(default_factory=dict)
    stopping: bool = False
    insisted: bool = False
    """a second signal: end at once"""
    reload_wanted: bool = False
    exit_code: int = 0
    announced: bool = False
    """systemd was told that every door is open"""
    turned_at: float = field(default_factory=time.monotonic)
    fed_at: float = 0.0
    roster_at: float = 0.0

    def run(self) -> int:
        """Until SIGTERM, SIGINT or a role that cannot be configured; returns the exit code when all children ended."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._want_reload)
        there = presence.of_node(self.house, self.number, self.node)
        there.start()
        garbage.keep_what_is_there()
        while not self.stopping:
            for child in self.children:
                self._tend(child)
            self._hear()
            self._watch()
            if self.reload_wanted:
                self._reload()
        self._end()
        there.stop()
        log.info("daemon_stopped")
        return self.exit_code

    def _stop(self, *_: object) -> None:
        self.stopping, self.insisted = True, self.stopping

    def _want_reload(self, *_: object) -> None:
        self.reload_wanted = True

    # --- starting and replacing

    def _tend(self, child: Child) -> None:
        """Starts a child that is not running, after a pause that grows while it keeps dying."""
        if child.process is not None:
            if child.running:
                return
            self._bury(child)
        if time.monotonic() >= child.not_before:
            self._start(child)

    def _bury(self, child: Child) -> None:
        code = child.buried()
        log.warning("role_died", role=child.name, exit=code)
        self._write_roster()
        self._pause(child, code)
        self.notifier.status(f"{child.name} ended with {code} and is being replaced")
        if child.role == "worker":
            self._give_back(child)

    def _pause(self, child: Child, code: int) -> None:
        """A role that was killed is replaced at once; one that keeps failing by itself waits longer each time."""
        if code == EXIT_MISCONFIGURED and not child.was_ready:
            # It said why on stderr; trying again mends nothing. Later it may be a file that is being edited.
            self.stopping, self.exit_code = True, EXIT_MISCONFIGURED
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
        mine = {"web": ("http",), "receiver": ("ftp", "ftps", "sftp")}.get(child.role, ())
        handed = Handed(
            config=self.config,
            home=self.home,
            lifeline=self.lifeline[0],
            doorbell=self.doorbell[0] if child.role == "worker" else self.doorbell[1],
            lock=self.lock.descriptor,
            node=self.number,
            sockets={door: self.sockets[door] for door in mine if door in self.sockets},
            environment=self._environment(child.role),
        )
        child.start(handed, time.monotonic())

    def _environment(self, role: str) -> dict[str, str]:
        """A door that is opened again keeps the port it had, also when that was any free one."""
        ports = {f"INGESTD_{_PORTS[door]}": str(place["port"]) for door, place in self.doors.items() if "port" in place}
        limits = {"POLARS_MAX_THREADS": str(self._threads())} if role == "worker" else {}
        shared = {FOLDER_VARIABLE: str(self.house.places.metrics)}
        return {**limits, **os.environ, **ports, **switched_off(self.roles), **shared}

    def _threads(self) -> int:
        """The workers share the processors: more threads than these take a third more time for a small file.

        An operator's own POLARS_MAX_THREADS counts.
        """
        workers = sum(child.role == "worker" for child in self.children)
        return max(1, len(os.sched_getaffinity(0)) // workers)

    # --- hearing and watching

    def _hear(self) -> None:
        """Waits a moment for children to say something."""
        speaking = {child.told: child for child in self.children if child.told is not None}
        heard, _, _ = select.select(list(speaking), [], [], TICK_SECONDS)
        for descriptor in heard:
            child = speaking[descriptor]
            for message in child.hear():
                if "doors" in message:
                    self._ready(child, message["doors"])

    def _ready(self, child: Child, doors: dict[str, Any]) -> None:
        child.said_ready = child.was_ready = True
        self.doors |= doors
        log.info("role_ready", role=child.name)
        self._write_roster()  # before the endpoints, so that who finds these finds every role running
        if all(each.running and each.said_ready for each in self.children):
            _keep(self.house.places.endpoints, json.dumps(self.doors, indent=1))
            self.notifier.ready(self._status())
            self.announced = True

    def _status(self) -> str:
        places = (f"{door} {place.get('port', place.get('path'))}" for door, place in self.doors.items())
        return f"open: {', '.join(places)}"

    def _watch(self) -> None:
        """Judges who advances, replaces who does not, and says so to those who watch this process."""
        now = time.monotonic()
        if now - self.turned_at > HELD_UP_SECONDS:
            for child in self.children:
                child.heard_at += now - self.turned_at
        self.turned_at = now
        late = [child for child in self.children if self._is_late(child, now)]
        hungry = self.announced and now - self.fed_at >= self.notifier.watchdog_seconds / 4
        if hungry and not late and self.notifier.watchdog_seconds:
            self.fed_at = now
            self.notifier.alive()
        if now - self.roster_at >= ROSTER_SECONDS:
            self.roster_at = now
            self._write_roster()

    def _is_late(self, child: Child, now: float) -> bool:
        limits, overdue = self.house.configuration.daemon.watch, child.overdue(now)
        late = overdue > limits.late_seconds
        if late and not child.stuck:
            log.error("role_stuck", role=child.name, seconds=round(overdue, 1), loops=sorted(child.late))
            self.notifier.status(f"{child.name} does not advance")
        elif child.stuck and not late:
            log.info("role_advances", role=child.name)
            self.notifier.status(self._status())
        child.stuck = late
        if overdue > limits.stuck_seconds:
            log.error("role_killed", role=child.name, reason="stuck", seconds=round(overdue, 1))
            child.kill()
        return late

    def _write_roster(self) -> None:
        states = tuple(child.state() for child in self.children)
        known = roster.Roster(pid=os.getpid(), since=self.since, written_at=roster.now(), roles=states)
        with _told("roster_not_written"):
            roster.write(self.house.places.roster, known)

    # --- reloading

    def _reload(self) -> None:
        """Reads the configuration anew; when it is wrong, everything goes on as before."""
        self.reload_wanted = False
        self.notifier.reloading()
        try:
            done = reload(self.house, self.config)
        except Misconfigured as problem:
            log.warning("reload_refused", file=problem.where, key=problem.key, reason=problem.message)
        except Unavailable as problem:
            log.warning("reload_refused", file="", key="store.url", reason=str(problem))
        else:
            changes = done.changes
            log.info("reloaded", **asdict(changes))
            if done.restart_needed:
                log.warning("restart_needed", keys=done.restart_needed)
        self.notifier.ready(self._status())

    # --- ending

    def _end(self) -> None:
        """Asks the doors and workers to end, kills what does not within its limit, and closes the web role last."""
        self.notifier.stopping("transfers and loads are brought to their end")
        self.house.places.endpoints.unlink(missing_ok=True)
        limits = self.house.configuration.daemon.stop
        last = [child for child in self.children if child.role == "web"]
        first = [child for child in self.children if child.role != "web"]
        allowed = {
            "receiver": limits.transfer_seconds + CLOSE_SECONDS,
            "worker": float(limits.load_seconds),
            "results": CLOSE_SECONDS,
        }
        self._end_all(first, allowed)
        self._end_all(last, {"web": CLOSE_SECONDS})
        self.house.places.roster.unlink(missing_ok=True)

    def _end_all(self, ending: Sequence[Child], allowed: dict[str, float]) -> None:
        begun = time.monotonic()
        for child in ending:
            if child.process is not None and child.running:
                child.process.terminate()
        while alive := [child for child in ending if child.running]:
            for child in alive:
                passed = time.monotonic() - begun
                if self.insisted or child.stuck or passed > allowed[child.role]:
                    reason = "insisted" if self.insisted else "stuck" if child.stuck else "stop"
                    log.warning("role_killed", role=child.name, reason=reason, seconds=round(passed, 1))
                    child.kill()
            self._wait_for_ends()
        for child in ending:
            child.close()

    def _wait_for_ends(self) -> None:
        """A moment, in which systemd is told that this stop is not one that hangs."""
        now = time.monotonic()
        if now - self.fed_at >= ROSTER_SECONDS:
            self.fed_at = now
            self.notifier.alive()
            self.notifier.extend(CLOSE_SECONDS)
            self._write_roster()
        time.sleep(TICK_SECONDS / 2)


def _keep(path: Path, text: str) -> None:
    """Names the open doors for clients of this machine."""
    with _told("endpoints_not_written"):
        roster.replace(path, text)


@contextlib.contextmanager
def _told(event: str) -> Iterator[None]:
    """A full disk must not end the supervisor: the doors have to say 452."""
    try:
        yield
    except OSError as problem:
        log.warning(event, reason=problem.strerror or str(problem))


@contextlib.contextmanager
def opened(config: Path, home: Path, wanted: str | None = None) -> Iterator[Daemon]:
    """A daemon that holds its home's lock, with a migrated store and every job of an earlier life given back.

    `wanted` are its roles, with commas between; None: all that the configuration has.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to reload; by default it ends a process
    config, home = config.resolve(), home.resolve()
    notifier, sockets = notify.here(), activation.here()
    house = open_house(config, home)
    roles = roles_of(wanted, house.configuration.daemon)
    with ExitStack() as stack:
        lock = Lock(house.places)
        stack.callback(lock.release)
        lock.wait(LOCK_SECONDS, time.sleep)
        _clear(house)
        prepare_store(house)
        house.whereabouts.verify()
        node = presence.node_of(house, roles, socket.gethostname())
        number = presence.join(house, node, time.sleep)
        house.spool.sweep(house.ledger.known_spool_key)
        house.dispatcher.release()
        house.dispatcher.reconcile()
        stack.callback(house.engine.dispose)
        yield Daemon(
            config=config,
            home=home,
            house=house,
            lock=lock,
            children=_children(house, roles),
            roles=roles,
            node=node,
            number=number,
            notifier=notifier,
            sockets=sockets,
        )


def _children(house: House, roles: tuple[str, ...]) -> Sequence[Child]:
    """The processes that these roles need. All doors share one, so that they share bans and limits."""
    doors = bool(DOORS & set(roles))
    workers = house.configuration.daemon.worker.processes if "worker" in roles else 0
    return children.of(receiver=doors, workers=workers, results=doors and house.shared, web="web" in roles)


def _clear(house: House) -> None:
    """What an earlier life left in `run/`: addresses that nobody has any more, and what it counted."""
    house.places.endpoints.unlink(missing_ok=True)
    house.places.roster.unlink(missing_ok=True)
    shutil.rmtree(house.places.metrics, ignore_errors=True)
    house.places.metrics.mkdir()
