"""The FTP data connection: decides whether a file came whole, and answers only when it is kept (RECEIVING.md)."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyftpdlib.exceptions import _FileReadWriteError
from pyftpdlib.handlers import DTPHandler
from pyftpdlib.handlers.ftp.dispatchers import PassiveDTP
from pyftpdlib.log import logger as quiet

from ingestd.errors import Unavailable
from ingestd.model import Arrival, Completeness
from ingestd.receive.home import Place
from ingestd.receive.landing import Landing, Receipt
from ingestd.spool import Incoming

_ESTABLISHED, _CLOSE_WAIT = 1, 8  # tcpi_state in <netinet/tcp.h>


@dataclass(kw_only=True)
class Sending:
    """A file on its way in: the file-like that pyftpdlib writes to, with all that is needed when it is whole.

    What belongs to the session is kept here, because the client may log in as somebody else while the data still flows.
    """

    incoming: Incoming
    place: Place
    park_at: Path | None
    """where to put the file when its name says that a rename will follow"""
    source: str
    login: str
    peer: str
    write: Callable[[bytes], int] = field(init=False)
    close: Callable[[], None] = field(init=False)

    def __post_init__(self) -> None:
        self.write = self.incoming.write
        self.close = self.incoming.close

    @property
    def name(self) -> str:
        """Asked by pyftpdlib."""
        return self.incoming.name

    @property
    def closed(self) -> bool:
        """Asked by pyftpdlib."""
        return self.incoming.closed

    def arrival(self, evidence: str) -> Arrival:
        """How it came in."""
        return Arrival(
            source=self.source,
            login=self.login,
            peer=self.peer,
            protocol="ftp",
            name=self.place.label,
            folder=self.place.folder,
            completeness=Completeness.ASSUMED,
            evidence=evidence,
        )

    def keep(self, landing: Landing, evidence: str) -> Receipt | None:
        """Land the file, or park it; slow, so not on the loop."""
        if self.park_at is None:
            return landing.accept(self.incoming, self.arrival(evidence))
        self.park_at.parent.mkdir(exist_ok=True)
        self.incoming.park(self.park_at)
        return None


def refusal(problem: BaseException) -> str:
    """The reply to a file that could not be kept: 552 theirs, 452 no room, 451 try again (RFC 959, 4.2.2)."""
    code = problem.errno if isinstance(problem, OSError) else None
    if isinstance(problem, OSError) and code == errno.EFBIG:
        return f"552 the file is {problem.strerror}; nothing was kept."
    if code in (errno.ENOSPC, errno.EDQUOT):
        return "452 there is no room for the file now; nothing was kept, send it again later."
    if isinstance(problem, Unavailable):
        return "451 deliveries cannot be recorded now; send the file again later."
    return "451 the file could not be kept; send it again later."


def tcp_state(connection: Any) -> int:
    """The kernel's view of a connection. Unlike a peek it shows a FIN that waits behind unread bytes."""
    try:
        raw: bytes = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except OSError:
        return 0
    return raw[0]


class DataChannel(DTPHandler):  # type: ignore[misc]  # pyftpdlib is untyped
    """One data connection. In a TLS class it must stand below pyftpdlib's `SSLConnectionMixin`."""

    ac_in_buffer_size = 262_144  # bytes; fewer turns of the loop than with 65,536
    file_obj: Any
    _resp: Any

    def __init__(self, connection: Any, session: Any) -> None:
        self.ended = False
        super().__init__(connection, session)

    @property
    def busy(self) -> bool:
        """True from the end of the data until the reply is out; commands wait so long."""
        return self.ended and not self._closed

    def handle_close(self) -> None:
        """The connection has ended, for files from the client: find out whether that was the end of the file."""
        if self._closed or not self.receive:
            super().handle_close()
        elif not self.ended:
            self.ended = True
            self.del_channel()  # an ended connection is readable for ever, and would keep the loop spinning
            if evidence := self.proof():
                self.call_later(self.cmd_channel.desk.options.settle_seconds, self._settled, evidence)
            else:
                self._finish("426 the data connection broke; nothing was kept.", "upload_cut")

    def proof(self) -> str:
        """By what the end of the data is known; empty when it broke. TLS asks for its close_notify here."""
        return "tcp fin" if tcp_state(self.socket) == _CLOSE_WAIT else ""

    def _settled(self, evidence: str) -> None:
        """A killed client's data connection ends like a finished one, but its control connection ends too."""
        session = self.cmd_channel
        if not session.leaving and tcp_state(session.socket) != _ESTABLISHED:
            self.audit("upload_cut", reason="control connection ended")
            self.close()
            session.close()
            return
        # Taken out of pyftpdlib's hands: its close() would close the file while a thread is keeping it.
        sending, self.file_obj = self.file_obj, None
        known = f"{evidence}, control connection alive"
        desk = session.desk
        desk.offload(desk.landings, lambda: sending.keep(desk.landing, known), lambda done: self._kept(sending, done))

    def _kept(self, sending: Sending, done: Future[Receipt | None]) -> None:
        """Back on the loop. The client may be gone; the delivery is there all the same."""
        problem = done.exception()
        if problem is not None:
            if not isinstance(problem, (OSError, Unavailable)):
                self.audit("upload_fault", sending, exc_info=problem)
            self._finish(refusal(problem), "upload_refused", sending)
        elif (receipt := done.result()) is None:
            self._finish("226 kept until it is renamed to its final name.", "upload_parked", sending)
        else:
            self.transfer_finished = True
            self._finish(f"226 {receipt}", "upload_landed", sending)

    def _finish(self, reply: str, event: str, sending: Sending | None = None) -> None:
        self.audit(event, sending, reply=reply)
        self._resp = (reply, quiet.debug)
        self.close()

    def handle_error(self) -> None:
        """A file could not be written, or something broke. pyftpdlib answers 426 to all of it, or nothing at all."""
        problem = sys.exc_info()[1] or RuntimeError("no exception")
        cause = (problem.__cause__ or problem) if isinstance(problem, _FileReadWriteError) else problem
        self.transfer_finished = False
        if self.receive:
            if not isinstance(cause, OSError):
                self.audit("upload_fault", exc_info=cause)
            self._finish(refusal(cause), "upload_refused")
        else:
            self._finish("426 the transfer broke.", "download_cut")

    def close(self) -> None:
        """Close, answer, and let commands go on that came meanwhile."""
        if self._closed:
            return
        if self.receive and self.file_obj is not None and not self._resp:
            self.audit("upload_cut", reason="session or transfer ended")
        super().close()
        self.cmd_channel.go_on()

    def audit(self, event: str, sending: Sending | None = None, **facts: object) -> None:
        """One line for operators, under the name the file was sent with."""
        file = sending or (self.file_obj if isinstance(self.file_obj, Sending) else None)
        if file is not None:
            facts |= {"name": file.place.label, "folder": file.place.folder, "source": file.source}
        self.cmd_channel.audit(event, received=self.tot_bytes_received, **facts)


class PassiveChannel(PassiveDTP):  # type: ignore[misc]  # pyftpdlib is untyped
    """A listening socket for one data connection. When the configured range is used up it says so."""

    _in_range = False

    def handle_accepted(self, connection: Any, address: Any) -> None:
        """Take the data connection. One that was reset before it was taken is answered; pyftpdlib waits for ever."""
        super().handle_accepted(connection, address)
        if self._closed and self.cmd_channel.connected and self.cmd_channel.data_channel is None:
            self.cmd_channel.data_broke()

    def handle_timeout(self) -> None:
        """Nobody came. What waited for the connection must not get the next one."""
        super().handle_timeout()
        self.cmd_channel.drop_queued()

    def bind(self, address: tuple[str, int]) -> None:
        """pyftpdlib binds to a random port after the last one of the range, which no firewall lets through."""
        if self._in_range and not address[1]:
            self.close()
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        self._in_range = bool(address[1])
        super().bind(address)
