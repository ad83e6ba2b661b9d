"""What flows over one FTP control connection, and how fast: nobody can fill our memory or take the others' turns.

pyftpdlib reads all that comes, obeys it at once, and keeps every reply until the client reads it. Here a session obeys
a few commands in its turn, is not read from while others have theirs, nor while too many replies wait for the client.
"""

from __future__ import annotations

import contextlib
from typing import Any

from pyftpdlib.exceptions import _RetryError
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.ioloop import AsyncChat

from ingestd.receive.ftp_desk import Desk

_COMMANDS_A_TURN = 8
_MOST_UNSENT = 64 * 1024  # bytes of replies that may wait for a client before it is not read from any more
_LONGEST_LINE = 2048  # bytes
_FAREWELL = 5.0  # seconds in which a client reads the last words
_END = b"\r\n"


class Flow(FTPHandler):  # type: ignore[misc]  # pyftpdlib is untyped
    """Bytes in, lines to `obey_line`, replies out."""

    desk: Desk
    ac_in_buffer: bytes
    ac_in_buffer_size = 16_384  # bytes; a TLS record at most, of which the loop would not say that a part is left
    producer_fifo: Any
    _in_buffer: list[bytes]
    _wanted_io_events: int

    def __init__(self, connection: Any, server: Any, ioloop: Any = None) -> None:
        self._too_long = False
        self._queued = False
        self._stuffed = False
        super().__init__(connection, server, ioloop=ioloop)

    # --- lines in

    def handle_read(self) -> None:
        """Take what has come."""
        if self._paused:  # since the loop has looked
            return
        with contextlib.suppress(_RetryError):
            self.ac_in_buffer += self.recv(self.ac_in_buffer_size)
        self._obey_some()

    def _obey_some(self) -> None:
        """Obey a few lines; the others wait for the session's next turn."""
        for _ in range(_COMMANDS_A_TURN):
            if not self._take_line():
                break
        self._stuffed = self._unsent() > _MOST_UNSENT
        self._queue_rest()

    def _queue_rest(self) -> None:
        if self._closed or self._closing:
            self.ac_in_buffer = b""
        self._queued = not self._stuffed and _END in self.ac_in_buffer
        if self._queued:
            self.desk.ioloop.soon(self, self._obey_some)
        self._choose_events()

    def _take_line(self) -> bool:
        """Obey a line, unless the session was ended by the one before; False when there is none."""
        if self._closed or self._closing:
            return False
        line, end, rest = self.ac_in_buffer.partition(_END)
        self._too_long = self._too_long or len(line) > _LONGEST_LINE
        if not end:
            if self._too_long:
                self.ac_in_buffer = line[-1:]  # may be the first half of the end
            return False
        self.ac_in_buffer = rest
        if self._too_long:
            self._too_long = False
            self.pre_process_command("", "", "")
        else:
            self._in_buffer = [line]
            self.found_terminator()
        return True

    # --- replies out

    def push(self, text: str) -> None:
        """Send a reply. pyftpdlib's own cannot send back the names it read with `surrogateescape`."""
        AsyncChat.push(self, text.encode(self.encoding, self.unicode_errors))

    def initiate_send(self) -> None:
        """Send what waits; when the client has read enough of it, go on reading."""
        super(AsyncChat, self).initiate_send()  # AsyncChat's own would read again, whatever waits
        if self._stuffed and self._unsent() <= _MOST_UNSENT // 2:
            self._stuffed = False
            self._queue_rest()
        self._choose_events()

    def _unsent(self) -> int:
        return sum(len(each) for each in self.producer_fifo if isinstance(each, bytes))

    def close_when_done(self) -> None:
        """Close when the client has read everything; or soon, when it does not read."""
        super().close_when_done()
        if not self._closed:
            self.call_later(_FAREWELL, self.close)

    # --- what the loop is asked for

    @property
    def _paused(self) -> bool:
        return self._queued or self._stuffed

    def _choose_events(self) -> None:
        """Ask for what can be used. Asked for more, the loop would wake up again and again."""
        wanted = 0 if self._paused else self.ioloop.READ
        if self.producer_fifo:
            wanted |= self.ioloop.WRITE
        if self._closed or wanted == self._wanted_io_events or self._fileno not in self.ioloop.socket_map:
            return
        self.ioloop.modify(self._fileno, wanted)
        self._wanted_io_events = self._current_io_events = wanted

    def modify_ioloop_events(self, events: int, logdebug: bool = False) -> None:
        """Called for TLS, which may want to read for its own sake; not while reading is paused."""
        super().modify_ioloop_events(events & ~self.ioloop.READ if self._paused else events, logdebug)
