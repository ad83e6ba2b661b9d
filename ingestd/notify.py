"""Telling systemd how the service is: ready, reloading, stopping, alive (sd_notify(3)).

Nothing is said when no service manager listens, so the same program runs on a terminal.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from dataclasses import dataclass

import structlog

log = structlog.get_logger()

PATIENCE_SECONDS = 5.0
"""A manager that is busy must not miss that the service is ready: it would take it for one that never started."""


@dataclass(kw_only=True)
class Notifier:
    """What the service manager wants to hear, and where."""

    address: str = ""
    """a path, or an abstract name that begins with `@`; empty: nobody listens"""
    watchdog_seconds: float = 0.0
    """within so many seconds it wants a sign of life; 0: it does not"""
    failed: bool = False

    @classmethod
    def taken(cls, environment: MutableMapping[str, str], pid: int) -> Notifier:
        """What the environment says to the process `pid`; taken out of it, since children are not the service."""
        address = environment.pop("NOTIFY_SOCKET", "")
        meant = environment.pop("WATCHDOG_PID", str(pid))
        microseconds = environment.pop("WATCHDOG_USEC", "0")
        watched = meant == str(pid) and microseconds.isdigit()
        return cls(address=address, watchdog_seconds=int(microseconds) / 1e6 if watched else 0.0)

    def tell(self, *lines: str, patience: float = PATIENCE_SECONDS) -> None:
        """Sends assignments such as `READY=1` in one message. A manager that does not listen is told of once.

        `patience`: seconds to wait while its queue is full.
        """
        if not self.address:
            return
        # A leading @ stands for the zero byte of an abstract name (unix(7)).
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as speaker:
                speaker.settimeout(patience)
                speaker.sendto("\n".join(lines).encode(), address)
        except OSError as problem:
            if not self.failed:
                log.warning("notify_failed", reason=problem.strerror or str(problem))
            self.failed = True
        else:
            self.failed = False

    def ready(self, status: str) -> None:
        """Every door is open; also the end of a reload."""
        self.tell("READY=1", f"STATUS={status}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self.tell(f"STATUS={text}")

    def reloading(self) -> None:
        """The configuration is read anew; ended by `ready`."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str) -> None:
        """The end has begun."""
        self.tell("STOPPING=1", f"STATUS={status}")

    def alive(self) -> None:
        """Feeds the watchdog."""
        self.tell("WATCHDOG=1", patience=0.0)  # the next one comes soon

    def extend(self, seconds: float) -> None:
        """The stop is still going on: wait so many more seconds before killing."""
        self.tell(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")


def here() -> Notifier:
    """The notifier of this process."""
    return Notifier.taken(os.environ, os.getpid())
