"""How the supervisor and its roles hear of each other: lifeline, doorbell, what a role tells, and stop.

The lifeline's end means that the supervisor is gone. A worker without a supervisor would be a second process tree, so
it ends at once. The doorbell is rung by the doors and heard by the workers.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ingestd import garbage
from ingestd.pulse import Pulse

IDLE_SECONDS = 0.5
"""How long a worker sleeps when the doorbell is silent; the ledger is the truth, the bell only makes it sooner."""


@dataclass(frozen=True, kw_only=True)
class Pipes:
    """File descriptors that the supervisor hands down."""

    lifeline: int
    doorbell: int
    told: int
    """JSON lines: once `{"doors": {…}}` when the role does its work, then its pulse."""
    sockets: Mapping[str, int] = field(default_factory=dict)
    """Listening sockets by door, of socket activation."""

    def listening(self, door: str) -> socket.socket | None:
        """The socket that was opened for a door; None when it opens its own."""
        return socket.socket(fileno=self.sockets[door]) if door in self.sockets else None


@dataclass(kw_only=True)
class Bell:
    """Stop and doorbell of a worker."""

    doorbell: int
    idle: Callable[[], None]
    """Done before each wait."""
    beat: Callable[[], None]
    """Says that the loop has advanced."""
    stopped: threading.Event = field(default_factory=threading.Event)
    own: tuple[int, int] = field(default_factory=os.pipe)
    """a doorbell of this worker alone"""

    def __post_init__(self) -> None:
        """Who rings never waits, nor does who has heard a ring that another worker took."""
        for descriptor in (self.doorbell, *self.own):
            os.set_blocking(descriptor, False)

    def is_set(self) -> bool:
        """True after SIGTERM or SIGINT."""
        return self.stopped.is_set()

    def wait(self) -> None:
        """Until the bell rings, at most IDLE_SECONDS."""
        self.beat()
        self.idle()
        self.beat()
        heard, _, _ = select.select([self.doorbell, self.own[0]], [], [], IDLE_SECONDS)
        for bell in heard:
            # One ring of the doorbell wakes one worker; those of its own all mean the same.
            with contextlib.suppress(BlockingIOError):  # another worker heard the same ring
                os.read(bell, 1 if bell == self.doorbell else 4096)

    def ring(self) -> None:
        """Ends the wait of this worker, from any thread."""
        with contextlib.suppress(BlockingIOError):  # a full pipe has rung already
            os.write(self.own[1], b"!")


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


def say_ready(pipes: Pipes, doors: dict[str, Any], pulse: Pulse) -> None:
    """Tells the supervisor that the role does its work, and from now on how its loops are."""
    garbage.keep_what_is_there()
    os.write(pipes.told, json.dumps({"doors": doors}).encode() + b"\n")
    pulse.start(pipes.told)


def on_stop(stop: Callable[[], None]) -> None:
    """Calls `stop` on SIGTERM and SIGINT; SIGHUP is the supervisor's alone, whoever it was sent to."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())
