"""What all sessions of one FTP door share: its options, its helpers off the loop, and the way back onto the loop."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import structlog

from ingestd.certificates import Certificate
from ingestd.receive.ftp_contexts import Contexts
from ingestd.receive.ftp_loop import FairLoop
from ingestd.receive.gate import Gate
from ingestd.receive.landing import Landing

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class FtpOptions:
    """How the FTP door is set up."""

    host: str = "127.0.0.1"
    port: int = 2121
    """0: any free one"""
    tls: Literal["off", "offered", "required"] = "off"
    """whether sessions may, or must, be protected; other than `off` needs a certificate"""
    implicit_port: int | None = None
    """a second port, where TLS begins with the first byte; 0: any free one; None: none"""
    passive_ports: range | None = None
    """ports for data connections; None: any"""
    masquerade: str | None = None
    """address told to clients when the server is behind a NAT"""
    max_connections: int = 1100
    """sessions at once"""
    idle_timeout: float = 300.0
    """seconds without a command"""
    transfer_timeout: float = 60.0
    """seconds without a byte in a transfer; it is looked at as often, so it can take twice as long"""
    login_timeout: float = 60.0
    """seconds in which a client has to log in: strangers must not use up the sessions"""
    connect_timeout: float = 30.0
    """seconds in which the client opens the data connection, and in which it agrees on TLS"""
    max_login_attempts: int = 3
    settle_seconds: float = 0.25
    """seconds between the end of the data and the look at the control connection

    A look at once showed 9 of 20 killed clients, after 50 ms 20 of 20 (RECEIVING.md); on a busy machine not always."""
    banner: str = "ingestd ready"


class Bell:
    """Wakes the loop from other threads. pyftpdlib's loop is not thread-safe and has no such thing itself."""

    urgent = True

    def __init__(self, ioloop: FairLoop, on_error: Callable[[Exception], None]) -> None:
        self._ioloop = ioloop
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)
        self._waiting: deque[Callable[[], None]] = deque()
        self._on_error = on_error
        self._fileno = self._near.fileno()  # the name that the loop's close() sorts by
        ioloop.register(self._fileno, self, ioloop.READ)

    def post(self, call: Callable[[], None]) -> None:
        """Have the loop make this call soon. May be called by any thread, also after the end."""
        self._waiting.append(call)
        try:
            self._far.send(b"\0")
        except (BlockingIOError, OSError):  # full: the loop is awake already; closed: the loop is over
            return

    def readable(self) -> bool:
        """Asked by the loop."""
        return True

    def writable(self) -> bool:
        """Asked by the loop."""
        return False

    def handle_read_event(self) -> None:
        """Have the calls made in their turns. The bytes are taken first, so that a later post rings again."""
        while True:
            try:
                if len(self._near.recv(4096)) < 4096:
                    break
            except BlockingIOError:
                break
        for _ in range(len(self._waiting)):
            self._ioloop.soon(self, partial(self._make, self._waiting.popleft()))

    def _make(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as problem:  # noqa: BLE001 - one session's fault must not end the loop of all
            self._on_error(problem)

    def handle_error(self) -> None:
        """Called by the loop; `_make` has caught everything that can happen."""

    def handle_close(self) -> None:
        """Called by the loop when the other end is gone, which is when the door closes."""

    def close(self) -> None:
        """Called by the loop's own close."""
        self._near.close()
        self._far.close()


class Desk:
    """Holds what a session needs, so that nothing is kept in class attributes that two doors would share."""

    def __init__(
        self,
        options: FtpOptions,
        landing: Landing,
        gate: Gate,
        homes: Path,
        audit: Any = None,
        certificate: Certificate | None = None,
    ) -> None:
        self.options = options
        self.tls = None if certificate is None else Contexts.of(certificate)
        self.landing = landing
        self.gate = gate
        self.homes = Path(os.path.realpath(homes))
        self.audit: Any = audit or structlog.get_logger("ingestd.ftp")
        self.ioloop = FairLoop()
        self.sessions: set[Any] = set()
        self.stopping = False
        self._bell = Bell(self.ioloop, lambda problem: self.audit.error("ftp_fault", exc_info=problem))
        # Apart, so that a thousand logins in a queue do not hold up the files of those who are in.
        self.hashing: Executor = ThreadPoolExecutor(2, "ftp-login")
        self.landings: Executor = ThreadPoolExecutor(8, "ftp-landing")
        self.asking: Executor = ThreadPoolExecutor(2, "ftp-asking")

    def post(self, call: Callable[[], None]) -> None:
        """Have the loop make this call soon."""
        self._bell.post(call)

    def offload(self, pool: Executor, work: Callable[[], T], then: Callable[[Future[T]], None]) -> None:
        """Do slow work in a thread and give its outcome to `then` on the loop."""
        future = pool.submit(work)
        future.add_done_callback(lambda done: self._bell.post(lambda: then(done)))

    def close(self) -> None:
        """Wait for work in threads, then close what is on the loop."""
        self.hashing.shutdown(cancel_futures=True)
        self.asking.shutdown(cancel_futures=True)
        self.landings.shutdown()
        self.ioloop.close()
