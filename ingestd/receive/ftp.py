"""The FTP door: pyftpdlib's loop in one thread, slow work in others."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyftpdlib.servers import FTPServer

from ingestd.receive.ftp_data import DataChannel, PassiveChannel
from ingestd.receive.ftp_desk import Desk, FtpOptions
from ingestd.receive.ftp_session import Session
from ingestd.receive.gate import Gate
from ingestd.receive.landing import Landing

__all__ = ["FtpDoor", "FtpOptions"]

_PAUSE = 0.2  # seconds without accepting after the process ran out of file descriptors

_TURN = 1.0  # seconds the loop sleeps at most, so that it is seen to advance


class Listener(FTPServer):  # type: ignore[misc]  # pyftpdlib is untyped
    """The listening socket. Unlike pyftpdlib's it counts sessions, not sockets, and a fault does not close it."""

    def _accept_new_cons(self) -> bool:
        return bool(len(self.ip_map) <= self.max_cons)

    def handle_accept(self) -> None:
        """Take a connection; without a free descriptor wait a moment instead of spinning."""
        try:
            super().handle_accept()
        except OSError as problem:
            self.handler.desk.audit.error("ftp_cannot_accept", reason=problem.strerror)
            self.del_channel()
            self.call_later(_PAUSE, self.add_channel)

    def handle_error(self) -> None:
        """pyftpdlib's own closes the listening socket."""
        self.handler.desk.audit.error("ftp_fault", exc_info=True)


class FtpDoor:
    """Lets partners send files by FTP and fetch their results."""

    def __init__(
        self,
        options: FtpOptions,
        landing: Landing,
        gate: Gate,
        homes: Path,
        *,
        audit: Any = None,
        listening: socket.socket | None = None,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """`listening` is a socket that was opened for this door; `beat` is called each second while the loop runs."""
        self._options = options
        self._listening = listening
        self._beat = beat
        self._desk = Desk(options, landing, gate, homes, audit)
        self._listener: Any = None
        self._thread = threading.Thread(target=self._run, name="ftp", daemon=True)
        self._deadline = 0.0

    def start(self) -> None:
        """Open the door. Raises OSError when the address cannot be had."""
        # With a handler there, pyftpdlib does not set up logging of its own to standard error.
        logging.getLogger("pyftpdlib").addHandler(logging.NullHandler())
        address = self._listening or (self._options.host, self._options.port)
        try:
            self._listener = Listener(address, self._session_class(), ioloop=self._desk.ioloop, backlog=1024)
        except BaseException:
            self._desk.close()
            raise
        self._listener.max_cons = self._options.max_connections
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """Where the door is, with the real port."""
        host, port = self._listener.address
        return str(host), int(port)

    def stop(self, within: float = 10.0) -> None:
        """Close the door: nobody new, transfers may finish for so many seconds."""
        self._deadline = time.monotonic() + within
        self._desk.post(self._close_door)
        self._thread.join()

    def _close_door(self) -> None:
        self._desk.stopping = True
        self._listener.close()
        for session in tuple(self._desk.sessions):
            session.dismiss()

    def _run(self) -> None:
        desk, soonest = self._desk, None
        while not (desk.stopping and (not desk.sessions or time.monotonic() > self._deadline)):
            self._beat()
            try:
                longest = 0.1 if desk.stopping else _TURN
                soonest = desk.ioloop.loop(longest if soonest is None else min(soonest, longest), blocking=False)
            except Exception as problem:  # noqa: BLE001 - one session's fault must not close the door for all
                desk.audit.error("ftp_fault", exc_info=problem)
        desk.close()

    def _session_class(self) -> type[Session]:
        """pyftpdlib takes settings as class attributes; classes of this door alone keep two doors apart."""
        options = self._options
        channel = type("DataChannel", (DataChannel,), {"timeout": options.idle_timeout})
        passive = type("PassiveChannel", (PassiveChannel,), {"timeout": options.connect_timeout})
        active = type("ActiveChannel", (Session.active_dtp,), {"timeout": options.connect_timeout})
        settings = {
            "desk": self._desk,
            "dtp_handler": channel,
            "passive_dtp": passive,
            "active_dtp": active,
            "passive_ports": options.passive_ports,
            "masquerade_address": options.masquerade,
            "timeout": options.idle_timeout,
            "max_login_attempts": options.max_login_attempts,
            "banner": options.banner,
        }
        return type("Session", (Session,), settings)
