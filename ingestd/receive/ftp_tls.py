"""FTP over TLS (RFC 4217): AUTH, PBSZ, PROT, and data connections whose end is proven by a close_notify."""

from __future__ import annotations

import socket
from typing import Any

from OpenSSL import SSL
from pyftpdlib.exceptions import _FileReadWriteError
from pyftpdlib.handlers.ftps.ssl import SSLConnectionMixin

from ingestd.receive.ftp_contexts import ssl_reason
from ingestd.receive.ftp_data import DataChannel
from ingestd.receive.ftp_desk import Desk
from ingestd.receive.ftp_session import Session

_RECORD = 16_384  # bytes of plain text in one TLS record at most (RFC 5246, 6.2.1)
_LOGIN = {"USER", "PASS"}
_DATA = {"PASV", "EPSV", "PORT", "EPRT", "STOR", "RETR", "LIST", "NLST", "MLSD"}
_PROTECTED_BY = {"TLS", "TLS-C", "TLS-P", "SSL"}  # what clients write after AUTH; all mean the same (RFC 4217, 2)


def _command(help_text: str) -> dict[str, Any]:
    return {"perm": None, "auth": False, "arg": True, "help": f"Syntax: {help_text}"}


class Protected(SSLConnectionMixin):  # type: ignore[misc]  # pyftpdlib is untyped
    """A connection that may be protected. pyftpdlib's own can wait for ever after an error, and takes it for a bug."""

    socket: Any
    close_notify_waits = False
    """whether to wait until there is room for the close_notify: after all data was sent"""

    def tls_broke(self, problem: SSL.Error) -> None:
        """The other side does not speak TLS, not ours, or no longer."""
        raise NotImplementedError

    def _do_ssl_handshake(self) -> None:
        self._ssl_accepting = True
        self._ssl_want_read = self._ssl_want_write = False
        try:
            self.socket.do_handshake()
        except SSL.WantReadError:
            self._ssl_want_read = True
        except SSL.WantWriteError:
            self._ssl_want_write = True
        except SSL.Error as problem:
            self.tls_broke(problem)
        else:
            self._ssl_accepting, self._ssl_established = False, True
            self.handle_ssl_established()

    def _do_ssl_shutdown(self) -> None:
        """Say that this was the end, without waiting for the other side to say so."""
        self._ssl_closing = True
        try:
            self.socket.shutdown()
        except SSL.WantWriteError:
            if self.close_notify_waits:
                self._ssl_want_write = True
                self.modify_ioloop_events(self.ioloop.WRITE)
                return
        except SSL.Error:  # the other side is gone, so there is nobody to tell
            self._error = True
        self._ssl_established = self._ssl_closing = False
        self.handle_ssl_shutdown()

    def recv(self, size: int) -> bytes:
        """As pyftpdlib's, but what is no TLS is the other side's fault."""
        try:
            received: bytes = super().recv(size)
        except SSL.Error as problem:
            self.tls_broke(problem)
            return b""
        return received

    def send(self, data: bytes) -> int:
        """As pyftpdlib's, but what is no TLS is the other side's fault."""
        try:
            sent: int = super().send(data)
        except SSL.Error as problem:
            self.tls_broke(problem)
            return 0
        return sent


class TlsDataChannel(Protected, DataChannel):
    """A data connection that is protected when the session has said PROT P."""

    close_notify_waits = True
    broken = "the data connection ended without a TLS close_notify"

    def __init__(self, connection: Any, session: Any) -> None:
        super().__init__(connection, session)
        if session.protects_data and not self._closed:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.secure_connection(session.tls.data)

    def use_sendfile(self) -> bool:
        """The kernel's sendfile() would go past TLS."""
        return not self._ssl_requested and bool(super().use_sendfile())

    def tls_broke(self, problem: SSL.Error) -> None:
        """Answer the transfer that was asked for, if one was."""
        if not self._ssl_established:
            self.cmd_channel.audit("tls_failed", where="data", reason=ssl_reason(problem))
        if self.receive and self._ssl_established:
            self.handle_close()
        elif self.transferring:
            broke = self._ssl_established or isinstance(problem, SSL.SysCallError)
            reply = "426 the data connection broke." if broke else f"522 {_no_agreement(problem)}"
            self._finish(reply, "upload_cut" if self.receive else "download_cut")
        else:
            self.close()

    def handle_read_event(self) -> None:
        """Take several records in one turn of the loop."""
        if not (self._ssl_established and self.receive) or self._ssl_closing:
            super().handle_read_event()
            return
        with self._handle_ssl_want_rw():
            self._ssl_want_read = False
            chunk, ended = self._records()
            if not ended and len(chunk) < self.ac_in_buffer_size:
                # The client may wait for an ACK before it says close_notify; a delayed one costs 40 ms for each file.
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            self.tot_bytes_received += len(chunk)
            self._write(chunk)
            if ended:
                self.handle_close()

    def _records(self) -> tuple[bytes, bool]:
        """What has come, and whether that was the end; why, is asked of the connection by `proof`."""
        pieces: list[bytes] = []
        try:
            for _ in range(self.ac_in_buffer_size // _RECORD):
                pieces.append(self.socket.recv(_RECORD))  # noqa: PERF401 - what came before the error counts
        except SSL.WantReadError:
            self._ssl_want_read = True
        except SSL.Error:
            return b"".join(pieces), True
        return b"".join(pieces), False

    def _write(self, chunk: bytes) -> None:
        try:
            self.file_obj.write(chunk)
        except OSError as problem:
            raise _FileReadWriteError(problem) from problem

    def proof(self) -> str:
        """The close_notify, which nobody but the client could send."""
        noticed = self._ssl_requested and self.socket.get_shutdown() & SSL.RECEIVED_SHUTDOWN
        return "tls close_notify" if noticed else ""

    def evidence(self) -> str:
        """With TLS a TCP FIN says nothing; anybody on the way can send one."""
        return "" if self._ssl_requested else super().evidence()

    def modify_ioloop_events(self, events: int, logdebug: bool = False) -> None:
        """Leave alone a connection that has ended; the mixin would put it back into the loop."""
        if not self.ended or self._ssl_closing:
            super().modify_ioloop_events(events, logdebug)

    handle_error = DataChannel.handle_error  # the mixin's own closes without an answer

    def close(self) -> None:
        """Say a close_notify first; but once only, and not when the session is gone."""
        if self._ssl_closing or self.cmd_channel._closed:  # noqa: SLF001 - pyftpdlib has no other name for it
            self._ssl_established = False
        super().close()


class SecureSession(Protected, Session):
    """A session that can be, or must be, protected by TLS."""

    desk: Desk
    implicit = False
    """TLS from the first byte"""
    proto_cmds = {  # noqa: RUF012 - never changed
        **Session.proto_cmds,
        "AUTH": _command("AUTH <SP> TLS (protect this connection)."),
        "PBSZ": _command("PBSZ <SP> 0 (buffer size; TLS has none)."),
        "PROT": _command("PROT <SP> P|C (protect data connections, or not)."),
    }

    def __init__(self, connection: Any, server: Any, ioloop: Any = None) -> None:
        self.protects_data = self.implicit
        self._pbsz = self.implicit
        self._greeted = False
        super().__init__(connection, server, ioloop=ioloop)
        assert self.desk.tls is not None, "a door without a certificate has plain sessions"
        self.tls = self.desk.tls

    @property
    def protocol(self) -> str:
        """By which the login comes in."""
        return "ftps" if self._ssl_established else "ftp"

    def how(self) -> dict[str, str]:
        """By what the login came in, for the audit."""
        version = {"tls": self.socket.get_protocol_version_name()} if self._ssl_established else {}
        return {"protocol": self.protocol, **version}

    # --- the control connection

    @property
    def urgent(self) -> bool:
        """A handshake costs more than a command."""
        return not self._ssl_accepting

    def welcome(self) -> None:
        """Say that commands can come; to an implicit client when it can read it."""
        if self.implicit:
            self._protect()
        else:
            super().welcome()

    def turn_away(self, reason: str) -> None:
        """Say why the client may not come in, if that can be said."""
        if self.implicit:
            self.audit("session_refused", reason=reason)
            self.close()
        else:
            super().turn_away(reason)

    def _protect(self) -> None:
        self.secure_connection(self.tls.control)
        self.call_later(self.desk.options.connect_timeout, self._too_slow)

    def _too_slow(self) -> None:
        if self._ssl_accepting:
            self.audit("tls_failed", where="control", reason="the client took too long")
            self.close()

    def handle_ssl_established(self) -> None:
        """An implicit client has not been greeted yet."""
        if self.implicit and not self._greeted:
            self._greeted = True
            super().welcome()

    def tls_broke(self, problem: SSL.Error) -> None:
        """Without a control connection there is nothing to say."""
        self.audit("tls_failed", where="control", reason=ssl_reason(problem))
        self._error = True
        self.close()

    def handle_timeout(self) -> None:
        """The client says nothing for too long."""
        if self._ssl_accepting:
            self.close()
        else:
            super().handle_timeout()

    handle_error = Session.handle_error

    # --- commands

    def process_command(self, command: str, *arguments: str, **more: str) -> None:
        """Refuse what must not be done in the clear."""
        if reply := self._unprotected(command):
            self.respond(reply)
            self.log_cmd(command, arguments[0] if arguments else "", int(reply[:3]), reply[4:])
        else:
            super().process_command(command, *arguments, **more)

    def _unprotected(self, command: str) -> str:
        required = self.desk.options.tls == "required"
        if command in _LOGIN and required and not self._ssl_established:
            return "530 This server takes logins over TLS only; send AUTH TLS first."
        if command in _DATA and not self.protects_data and (required or self._only_protected):
            return "521 Data goes over TLS only; send PBSZ 0 and PROT P first."
        return ""

    @property
    def _only_protected(self) -> bool:
        """True for a login that is not open for FTP in the clear."""
        return self.account is not None and not self.account.may_use("ftp")

    def ftp_AUTH(self, line: str) -> None:  # noqa: N802 - pyftpdlib calls it by this name
        """Protect the control connection. Commands sent ahead in the clear may be anybody's: they end the session."""
        if self._ssl_requested:
            self.respond("503 This connection is protected already.")
        elif line.upper() not in _PROTECTED_BY:
            self.respond("504 Only AUTH TLS is known.")
        elif self.ac_in_buffer or self._held:
            self.respond("421 Nothing may be sent between AUTH and TLS.")
            self.close_when_done()
        else:
            if self.authenticated:
                self.flush_account()
            self.username = ""
            self.respond("234 Begin with TLS.")
            self._protect()

    def ftp_PBSZ(self, _line: str) -> None:  # noqa: N802
        """Agree on the only size there is (RFC 4217, 9)."""
        if self._when_protected():
            self._pbsz = True
            self.respond("200 PBSZ=0")

    def ftp_PROT(self, line: str) -> None:  # noqa: N802
        """Protect data connections, or not (RFC 4217, 9)."""
        level = line.upper()
        if not self._when_protected():
            return
        if not self._pbsz:
            self.respond("503 Send PBSZ 0 first.")
        elif level == "P":
            self.protects_data = True
            self.respond("200 Data connections are protected.")
        elif level == "C" and (self.desk.options.tls == "required" or self._only_protected):
            self.respond("534 Data goes over TLS only.")
        elif level == "C":
            self.protects_data = False
            self.respond("200 Data connections are in the clear.")
        else:
            self.respond(f"{536 if level in ('S', 'E') else 504} Only PROT P and PROT C are known.")

    def _when_protected(self) -> bool:
        if not self._ssl_established:
            self.respond("503 Send AUTH TLS first.")
        return self._ssl_established

    def features(self) -> list[str]:
        """What FEAT tells."""
        return [*super().features(), "AUTH TLS", "PBSZ", "PROT"]


def _no_agreement(problem: SSL.Error) -> str:
    return f"no agreement on TLS ({ssl_reason(problem)}); data connections speak TLS 1.2."
