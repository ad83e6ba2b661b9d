"""The FTP door: pyftpdlib's loop in one thread, slow work in others."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from pyftpdlib.servers import FTPServer

from ingestd.certificates import Certificate
from ingestd.receive.ftp_data import ActiveChannel, DataChannel, PassiveChannel
from ingestd.receive.ftp_desk import Desk, FtpOptions
from ingestd.receive.ftp_session import Session
from ingestd.receive.ftp_tls import SecureSession, TlsDataChannel
from ingestd.receive.gate import Gate
from ingestd.receive.landing import Landing
from ingestd.receive.sockets import BACKLOG, open_socket
from ingestd.receive.strangers import who_gives_way

__all__ = ["FtpDoor", "FtpOptions"]

_PAUSE = 0.2  # seconds without accepting after the process ran out of file descriptors
_BEAT = 0.25  # seconds between two signs of life


class Listener(FTPServer):  # type: ignore[misc]  # pyftpdlib is untyped
    """A listening socket. Unlike pyftpdlib's it counts sessions, not sockets, and a fault does not close it."""

    def _accept_new_cons(self) -> bool:
        sessions = self.handler.desk.sessions
        if len(sessions) <= self.max_cons:
            return True
        if (stranger := who_gives_way(sessions, self.max_cons)) is None:
            return False
        stranger.give_way()
        return True

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
    """Lets partners send files by FTP and fetch their results, in the clear or by TLS as the options say."""

    def __init__(  # noqa: PLR0913 - all that a door is wired with, by name
        self,
        options: FtpOptions,
        landing: Landing,
        gate: Gate,
        homes: Path,
        *,
        certificate: Certificate | None = None,
        listening: socket.socket | None = None,
        implicit_listening: socket.socket | None = None,
        beat: Callable[[], None] = lambda: None,
        audit: Any = None,
    ) -> None:
        """`listening` are sockets that somebody else has opened, as systemd does; then host and port say nothing.

        `beat` is called at least once a second while the loop advances.
        """
        assert certificate is not None or (options.tls == "off" and options.implicit_port is None), "TLS needs one"
        self._options = options
        self._certificate = certificate
        self._opened = {False: listening, True: implicit_listening}
        self._beat = beat
        self._beaten = 0.0
        self.traffic = {"sessions": 0, "uploads": 0}
        """as of a moment ago; read by other threads"""
        self._desk = Desk(options, landing, gate, homes, audit, certificate)
        self._listeners: list[Any] = []
        self._thread = threading.Thread(target=self._run, name="ftp", daemon=True)
        self._deadline = 0.0

    def start(self) -> None:
        """Open the door. Raises OSError when the address cannot be had."""
        # With a handler there, pyftpdlib does not set up logging of its own to standard error.
        logging.getLogger("pyftpdlib").addHandler(logging.NullHandler())
        try:
            self._listen(implicit=False)
            if self._options.implicit_port is not None or self._opened[True]:
                self._listen(implicit=True)
        except BaseException:
            self._desk.close()
            raise
        self._thread.start()
        told = self._certificate and {"certificate_sha256": self._certificate.fingerprint}
        port = self.implicit_address and {"implicit_port": self.implicit_address[1]}
        host, tls = self.address, self._options.tls
        self._desk.audit.info("ftp_open", host=host[0], port=host[1], tls=tls, **(port or {}), **(told or {}))

    def _listen(self, *, implicit: bool) -> None:
        port = self._options.implicit_port if implicit else self._options.port
        opened = self._opened[implicit] or open_socket(self._options.host, port or 0)
        listener = Listener(opened, self._session_class(implicit), ioloop=self._desk.ioloop, backlog=BACKLOG)
        listener.max_cons = self._options.max_connections
        self._listeners.append(listener)

    @property
    def address(self) -> tuple[str, int]:
        """Where the door is, with the real port."""
        host, port = self._listeners[0].address
        return str(host), int(port)

    @property
    def implicit_address(self) -> tuple[str, int] | None:
        """Where TLS begins with the first byte, if it does anywhere."""
        if len(self._listeners) < 2:
            return None
        host, port = self._listeners[1].address
        return str(host), int(port)

    def stop(self, within: float = 10.0) -> None:
        """Close the door: nobody new, transfers may finish for so many seconds."""
        self._deadline = time.monotonic() + within
        self._desk.post(self._close_door)
        self._thread.join()

    def dismiss_unknown(self) -> None:
        """End the sessions whose login is gone or was changed, each after its transfer. Call it after a reload."""
        self._desk.post(self._look_for_unknown)

    def _look_for_unknown(self) -> None:
        accounts = self._desk.gate.accounts
        known = [(each, each.account) for each in self._desk.sessions if each.account is not None]

        def look() -> list[Any]:
            return [session for session, account in known if accounts.find(account.login) != account]

        self._desk.offload(self._desk.asking, look, self._dismiss)

    def _dismiss(self, unknown: Future[list[Any]]) -> None:
        if problem := unknown.exception():
            self._desk.audit.error("ftp_fault", exc_info=problem)
            return
        for session in unknown.result():
            session.dismiss("Your login was changed; log in again")

    def _close_door(self) -> None:
        self._desk.stopping = True
        for listener in self._listeners:
            listener.close()
        for session in tuple(self._desk.sessions):
            session.dismiss("The server is shutting down")

    def _run(self) -> None:
        desk, soonest = self._desk, None
        while not (desk.stopping and (not desk.sessions or time.monotonic() > self._deadline)):
            self._live()
            longest = 0.1 if desk.stopping else _BEAT
            try:
                soonest = desk.ioloop.loop(longest if soonest is None else min(soonest, longest), blocking=False)
            except Exception as problem:  # noqa: BLE001 - one session's fault must not close the door for all
                desk.audit.error("ftp_fault", exc_info=problem)
        desk.close()

    def _live(self) -> None:
        now = time.monotonic()
        if now - self._beaten >= _BEAT:
            self._beaten = now
            self.traffic = self._traffic()
            self._beat()

    def _traffic(self) -> dict[str, int]:
        sessions = self._desk.sessions
        return {"sessions": len(sessions), "uploads": sum(session.is_sending() for session in sessions)}

    def _session_class(self, implicit: bool) -> type[Session]:
        """pyftpdlib takes settings as class attributes; classes of this door alone keep two doors apart."""
        options = self._options
        secure = self._certificate is not None and (implicit or options.tls != "off")
        channel: type[DataChannel] = TlsDataChannel if secure else DataChannel
        passive = type("PassiveChannel", (PassiveChannel,), {"timeout": options.connect_timeout})
        active = type("ActiveChannel", (ActiveChannel,), {"timeout": options.connect_timeout})
        settings: dict[str, Any] = {
            "desk": self._desk,
            "dtp_handler": type("DataChannel", (channel,), {"timeout": options.transfer_timeout}),
            "passive_dtp": passive,
            "active_dtp": active,
            "passive_ports": options.passive_ports,
            "masquerade_address": options.masquerade,
            "timeout": options.idle_timeout,
            "max_login_attempts": options.max_login_attempts,
            "banner": options.banner,
        }
        if secure:
            return type("Session", (SecureSession,), settings | {"implicit": implicit})
        return type("Session", (Session,), settings)
