"""The FTP data connection: decides whether a file came whole, and answers only when it is kept (RECEIVING.md)."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from pyftpdlib.exceptions import _FileReadWriteError
from pyftpdlib.handlers import DTPHandler
from pyftpdlib.handlers.ftp.dispatchers import ActiveDTP, PassiveDTP
from pyftpdlib.log import logger as quiet

from ingestd.errors import Rejected
from ingestd.receive.landing import Receipt
from ingestd.receive.open_files import TooManyOpen
from ingestd.receive.sending import Sending, is_bug, why_not_kept

_ESTABLISHED, _CLOSE_WAIT = 1, 8  # tcpi_state in <netinet/tcp.h>


@dataclass(kw_only=True, eq=False)
class Upload(Sending):
    """A file on its way in, as the file-like that pyftpdlib writes to.

    Its sender is kept with it, because the client may log in as somebody else while the data still flows.
    """

    announced: int | None = None
    """bytes that ALLO has said"""
    write: Callable[[bytes], int] = field(init=False)
    close: Callable[[], None] = field(init=False)

    def __post_init__(self) -> None:
        """The methods themselves: pyftpdlib calls them for every piece."""
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


def refusal(problem: BaseException) -> str:
    """The reply to a file that was not kept: 450, 550 and 552 theirs, 452 no room, 451 try again (RFC 959, 4.2.2)."""
    code = problem.errno if isinstance(problem, OSError) else None
    if isinstance(problem, Rejected):
        number = 550
    elif isinstance(problem, TooManyOpen):
        number = 450
    elif code == errno.EFBIG:
        number = 552
    else:
        number = 452 if code in (errno.ENOSPC, errno.EDQUOT) else 451
    return f"{number} {why_not_kept(problem)}."


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
    _lastdata: int

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
            self._judge()

    def _judge(self) -> None:
        received, announced = self.tot_bytes_received, self.file_obj.announced
        if announced is not None and received < announced:
            self._finish(f"426 {received} of {announced} announced bytes came; nothing was kept.", "upload_cut")
        elif proof := self.proof():
            self.file_obj.prove(proof)
            self._keep()
        elif received == announced:
            self.file_obj.prove("size announced by ALLO")
            self._keep()
        elif evidence := self.evidence():
            desk = self.cmd_channel.desk
            self.file_obj.incoming.sync_early(desk.landings)
            self.call_later(desk.options.settle_seconds, self._settled, evidence)
        else:
            self._finish(f"426 {self.broken}; nothing was kept.", "upload_cut")

    broken = "the data connection broke"

    def proof(self) -> str:
        """By what the data is known to be whole; empty when it is not. TCP proves nothing."""
        return ""

    def evidence(self) -> str:
        """What speaks for a proper end of the data; empty when it broke."""
        return "tcp fin" if tcp_state(self.socket) == _CLOSE_WAIT else ""

    def _settled(self, evidence: str) -> None:
        """A killed client's data connection ends like a finished one, but its control connection ends too."""
        session = self.cmd_channel
        if not session.leaving and tcp_state(session.socket) != _ESTABLISHED:
            self.audit("upload_cut", reason="control connection ended")
            self.close()
            session.close()
            return
        self.file_obj.evidence = f"{evidence}, control connection alive"
        self._keep()

    def _keep(self) -> None:
        # Taken out of pyftpdlib's hands: its close() would close the file while a thread is keeping it.
        sending, self.file_obj = self.file_obj, None
        desk = self.cmd_channel.desk
        desk.offload(desk.landings, lambda: sending.keep(desk.landing), lambda done: self._kept(sending, done))

    def _kept(self, sending: Upload, done: Future[Receipt | None]) -> None:
        """Back on the loop. The client may be gone; the delivery is there all the same."""
        try:
            self._answer(sending, done)
        except Exception as problem:  # noqa: BLE001 - without an answer the session would hang
            self.audit("upload_fault", sending, exc_info=problem)
            self._finish(refusal(problem), "upload_refused", sending)

    def _answer(self, sending: Upload, done: Future[Receipt | None]) -> None:
        problem = done.exception()
        if problem is not None:
            if is_bug(problem):
                self.audit("upload_fault", sending, exc_info=problem)
            self._finish(refusal(problem), "upload_refused", sending)
        elif (receipt := done.result()) is None:
            self.cmd_channel.parked(sending)
            self._finish("226 kept until it is renamed to its final name.", "upload_parked", sending)
        else:
            self.transfer_finished = True
            self._finish(f"226 {receipt}", "upload_landed", sending)

    def _finish(self, reply: str, event: str, sending: Upload | None = None) -> None:
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

    @property
    def transferring(self) -> bool:
        """True when the client has asked for a transfer over this connection."""
        return bool(self.receive or self._initialized)

    def handle_timeout(self) -> None:
        """Called every so many seconds: without a byte since the last time, the transfer is given up."""
        if self.ended:  # whole, and being kept
            return
        so_far = self.get_transmitted_bytes()
        if so_far > self._lastdata:
            self._lastdata = so_far
        elif self.transferring:
            told = f"426 no byte came or went for {self.timeout:g} seconds; the transfer was given up."
            self._finish(told, "upload_cut" if self.receive else "download_cut")
        else:  # nothing was asked for, so nothing is answered
            self.close()

    def close(self) -> None:
        """Close, answer, and let commands go on that came meanwhile."""
        if self._closed:
            return
        self.cmd_channel.received += self.tot_bytes_received
        self.cmd_channel.sent += self.tot_bytes_sent
        if self.receive and self.file_obj is not None and not self._resp:
            self.audit("upload_cut", reason="session or transfer ended")
        super().close()
        self.cmd_channel.go_on()

    def audit(self, event: str, sending: Upload | None = None, **facts: object) -> None:
        """One line for operators, under the name the file was sent with."""
        file = sending or (self.file_obj if isinstance(self.file_obj, Upload) else None)
        if file is not None:
            facts |= {"name": file.place.label, "folder": file.place.folder, "source": file.sender.account.source}
            facts |= {"completeness": str(file.completeness), "evidence": file.evidence} if file.evidence else {}
        self.cmd_channel.audit(event, received=self.tot_bytes_received, **facts)


class ActiveChannel(ActiveDTP):  # type: ignore[misc]  # pyftpdlib is untyped
    """Connects to the client. PORT is answered when that is done; commands behind it wait so long."""

    @property
    def trying(self) -> bool:
        """True until it is connected or has failed."""
        return not (self.connected or self._closed)

    def handle_close(self) -> None:
        """It could not be connected."""
        super().handle_close()
        self.cmd_channel.go_on()

    def handle_timeout(self) -> None:
        """The client does not answer."""
        super().handle_timeout()
        self.cmd_channel.go_on()


class PassiveChannel(PassiveDTP):  # type: ignore[misc]  # pyftpdlib is untyped
    """A listening socket for one data connection. When the configured range is used up it says so."""

    _in_range = False

    def handle_accepted(self, connection: Any, address: Any) -> None:
        """Take the data connection. One that was reset before it was taken is answered; pyftpdlib waits for ever.

        One from elsewhere is dropped in silence: pyftpdlib answers 425, and a stranger could so end others' transfers.
        """
        if address[0] != self.cmd_channel.remote_ip:
            connection.close()
            self.cmd_channel.audit("data_refused", stranger=address[0])
            return
        super().handle_accepted(connection, address)
        if self._closed and self.cmd_channel.connected and self.cmd_channel.data_channel is None:
            self.cmd_channel.data_broke()

    def handle_timeout(self) -> None:
        """Nobody came. What waited for the connection must not get the next one; if nothing waits, nothing is said."""
        session = self.cmd_channel
        self.close()
        if session.connected and session.awaits_data:
            session.drop_queued()
            session.respond("425 Nobody opened the data connection in time.")

    def bind(self, address: tuple[str, int]) -> None:
        """pyftpdlib binds to a random port after the last one of the range, which no firewall lets through."""
        if self._in_range and not address[1]:
            self.close()
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        self._in_range = bool(address[1])
        super().bind(address)
