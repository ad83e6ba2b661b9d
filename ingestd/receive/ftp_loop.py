"""The loop of the FTP door: a thousand clients at once must not make one that asks a small thing wait.

pyftpdlib handles everything that is ready before it looks again, so that a NOOP waits for a thousand uploads. Here,
control connections are read at once, and whatever costs more waits in a queue of which each turn does a little.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from pyftpdlib import ioloop

TURN_SECONDS = 0.015
"""How long a turn works on what can wait before it looks for new commands."""


class FairLoop(ioloop.IOLoop):  # type: ignore[misc]  # pyftpdlib is untyped
    """pyftpdlib's loop in turns. Connections that are `urgent` go first; the others go one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self._ready: dict[int, int] = {}  # descriptor → events, in the order in which they came
        self._soon: deque[tuple[Any, Callable[[], None]]] = deque()

    def soon(self, owner: Any, call: Callable[[], None]) -> None:
        """Make a call when its turn comes, perhaps in this turn; what goes wrong is its owner's `handle_error`."""
        self._soon.append((owner, call))

    def unregister(self, fd: int) -> None:
        """Forget a connection, also what it was ready for: its number is another one's soon."""
        self._ready.pop(fd, None)
        super().unregister(fd)

    def poll(self, timeout: float | None) -> None:
        """One turn. Waits for something to do for so many seconds, for ever with None."""
        waits = 0.0 if self._ready or self._soon else -1 if timeout is None else timeout
        try:
            events = self._poller.poll(waits)
        except InterruptedError:
            return
        until = time.perf_counter() + TURN_SECONDS
        for fd, event in events:
            connection = self.socket_map.get(fd)
            if connection is not None and getattr(connection, "urgent", False):
                self._serve(connection, event)
            else:
                self._ready[fd] = event
        while (self._ready or self._soon) and time.perf_counter() < until:
            self._do_one()

    def _do_one(self) -> None:
        """A call and a connection by turns, so that neither kind waits for all of the other."""
        if self._soon:
            owner, call = self._soon.popleft()
            try:
                call()
            except Exception:  # noqa: BLE001 - as pyftpdlib does it for what a connection does when it is ready
                owner.handle_error()
        if self._ready:
            fd = next(iter(self._ready))
            event = self._ready.pop(fd)
            connection = self.socket_map.get(fd)
            if connection is not None:
                self._serve(connection, event)

    def _serve(self, connection: Any, event: int) -> None:
        if event & self._ERROR and not event & self.READ:
            connection.handle_close()
            return
        if event & self.READ and connection.readable():
            ioloop._read(connection)  # noqa: SLF001 - with pyftpdlib's own care for errors
        if event & self.WRITE and connection.writable():
            ioloop._write(connection)  # noqa: SLF001
