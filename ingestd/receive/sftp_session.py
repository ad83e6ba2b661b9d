"""One SSH connection: who it is, and that nothing but SFTP is to be had. asyncssh does the protocol."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import asyncssh

from ingestd.accounts import Account
from ingestd.receive import names
from ingestd.receive.gate import Refused
from ingestd.receive.home import PartnerHome
from ingestd.receive.open_files import scarce
from ingestd.receive.sftp_channel import Channel
from ingestd.receive.sftp_desk import Desk, plain_address
from ingestd.receive.strangers import GIVES_WAY, who_gives_way
from ingestd.throttle import network

_FULL = "too many sessions; try again later"
_MOST_KEYS = 20  # public keys that one connection may offer; agents hold a few
_MOST_CHANNELS = 10  # of one connection, as OpenSSH's MaxSessions


class SshSession(asyncssh.SSHServer):
    """One connection, from its first byte to its last."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.account: Account | None = None
        self.peer = self.place = ""
        self.channels: set[Channel] = set()
        self._connection: asyncssh.SSHServerConnection | None = None
        self._let_in = False
        self._checked: Account | None = None
        self._passwords = self._keys = 0
        self._method = ""
        self._active = self.since = 0.0

    # --- the life of a connection

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Let a client in, or say why it may not come in, before it costs a key exchange."""
        self._connection = conn
        self.peer = plain_address(str(conn.get_extra_info("peername", ("",))[0]))
        self.place = network(self.peer)
        self.since = self._active = asyncio.get_running_loop().time()
        if reason := self._refusal(conn.get_extra_info("socket").fileno()):
            self.audit("session_refused", reason=reason)
            # Later, because asyncssh sends the line that begins every SSH connection only after this call.
            asyncio.get_running_loop().call_soon(self.dismiss, reason)
        else:
            self._let_in = True
            self.desk.sessions.add(self)
            self.audit("session")

    def _refusal(self, descriptor: int) -> str:
        if self.desk.stopping:
            return "the server is shutting down"
        places = self.desk.options.max_connections
        if len(self.desk.sessions) >= places:
            stranger = who_gives_way(self.desk.sessions, places)
            if stranger is None:
                return _FULL
            stranger.give_way()
        if scarce(descriptor):
            return _FULL
        return self.desk.gate.throttle.enter(self.peer)

    def connection_lost(self, exc: Exception | None) -> None:
        """End of the connection; what it was sending is dropped by its channels."""
        if self._let_in:
            self._let_in = False
            self.desk.sessions.discard(self)
            self.desk.gate.throttle.leave(self.peer)
            seconds = round(asyncio.get_running_loop().time() - self.since, 3)
            self.audit("session_end", seconds=seconds, reason=str(exc or ""))
        self._connection = None

    def give_way(self) -> None:
        """End a connection that is not logged in, at once: another one waits for its place."""
        self.desk.sessions.discard(self)
        self.audit("session_refused", reason=GIVES_WAY)
        self.dismiss(GIVES_WAY)

    def dismiss(self, reason: str) -> None:
        """End the connection, and tell the client why."""
        if self._connection is None:
            return
        # asyncssh closes at once. With bytes of the client unread that sends RST, and takes the reason away from it;
        # so the socket itself is kept for a moment, in which the client reads what was said.
        farewell = self._connection.get_extra_info("socket").dup()
        self._connection.disconnect(asyncssh.DISC_BY_APPLICATION, reason)
        with contextlib.suppress(OSError):  # the client was quicker
            farewell.shutdown(socket.SHUT_WR)
        self.desk.part(farewell)

    def touch(self) -> None:
        """The client has sent something."""
        self._active = asyncio.get_running_loop().time()

    def idle(self, now: float) -> float:
        """Seconds without a byte from a client that is logged in and does not wait for us."""
        waits = self.account is None or any(channel.busy for channel in self.channels)
        return 0.0 if waits else now - self._active

    def transferring(self) -> bool:
        """True while a file is open."""
        return any(channel.files.open_files for channel in self.channels)

    def uploads(self) -> int:
        """How many files it is sending."""
        return sum(channel.files.uploads for channel in self.channels)

    # --- login

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002 - asked for with the proof
        """Every login needs a proof; another name begins anew."""
        self._checked = None
        return True

    def password_auth_supported(self) -> bool:
        """Also asked for as `keyboard-interactive`, which asyncssh makes of it."""
        return True

    def public_key_auth_supported(self) -> bool:
        """Keys are offered by clients before passwords."""
        return True

    async def validate_password(self, username: str, password: str) -> bool:
        """Check a password in a thread: on the loop, a hash would hold up everybody."""
        self._passwords += 1
        if self._passwords > self.desk.options.max_login_attempts:
            raise _disconnected("too many wrong passwords")
        try:
            checked = await self.desk.hashing(lambda: self._check(username, password))
        except Exception as problem:
            self.audit("login_fault", login=username, exc_info=problem)
            raise _unavailable() from problem
        if isinstance(checked, Account):
            self._checked, self._method = checked, "password"
            return True
        await asyncio.sleep(checked.delay)
        if checked.banned or self._passwords >= self.desk.options.max_login_attempts:
            raise _disconnected(checked.banned or "too many wrong passwords")
        return False

    def _check(self, login: str, password: str) -> Account | Refused:
        checked = self.desk.gate.check(login, password, protocol="sftp", address=self.peer)
        if isinstance(checked, Account):
            PartnerHome.of(self.desk.homes, checked.source)
        else:  # here and not after the wait: a client that does not wait for its answer is noted all the same
            self.audit("login_refused", login=login, reason=checked.reason)
        return checked

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Look whether a key is the login's. asyncssh then asks the client to prove that it has it."""
        self._keys += 1
        if self._keys > _MOST_KEYS:
            raise _disconnected("too many keys")
        offered = key.export_public_key("openssh").decode("ascii")
        try:
            checked = self.desk.gate.check_key(username, offered, protocol="sftp", address=self.peer)
            if isinstance(checked, Account):
                PartnerHome.of(self.desk.homes, checked.source)
                self._checked, self._method = checked, "publickey"
                return True
        except Exception as problem:
            self.audit("login_fault", login=username, exc_info=problem)
            raise _unavailable() from problem
        self.audit("login_refused", login=username, reason=checked.reason, key=key.get_fingerprint())
        if checked.banned:
            raise _disconnected(checked.banned)
        return False

    def auth_completed(self) -> None:
        """The client has proven who it is."""
        assert self._checked is not None, "asyncssh comes here only after one of the two checks above"
        if self.desk.gate.accounts.find(self._checked.login) != self._checked:
            self.audit("login_refused", login=self._checked.login, reason="the login has changed meanwhile")
            self.dismiss("your login has changed; log in again")
            return
        self.account = self._checked
        self.desk.gate.throttle.succeeded(self.peer, self.account.login)
        self.touch()
        self.audit("login", method=self._method)

    # --- what may be opened

    def session_requested(self) -> Channel | bool:
        """A channel that speaks SFTP. Without sftp_factory in its options asyncssh asks for it here."""
        if self.account is None or len(self.channels) >= _MOST_CHANNELS:
            return False
        return Channel(self, self.desk, self.account)

    def connection_requested(self, dest_host: str, dest_port: int, *_origin: object) -> bool:
        """No way through us to other machines."""
        self.audit("command_refused", operation="forward", argument=names.label(f"{dest_host}:{dest_port}"))
        return False

    def server_requested(self, listen_host: str, listen_port: int) -> bool:
        """No listening on our ports."""
        self.audit("command_refused", operation="listen", argument=names.label(f"{listen_host}:{listen_port}"))
        return False

    # --- audit

    def audit(self, event: str, **facts: Any) -> None:
        """One line for operators; never a password, and nothing that a terminal would obey."""
        who: dict[str, object] = {"peer": self.peer}
        if self.account is not None:
            who |= {"source": self.account.source, "login": self.account.login}
        shown = {name: _printable(fact) if isinstance(fact, str) else fact for name, fact in (who | facts).items()}
        self.desk.audit.info(f"sftp_{event}", **shown)


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def _disconnected(reason: str) -> asyncssh.DisconnectError:
    return asyncssh.DisconnectError(asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, reason)


def _unavailable() -> asyncssh.DisconnectError:
    return asyncssh.DisconnectError(
        asyncssh.DISC_SERVICE_NOT_AVAILABLE, "logins cannot be checked now; try again later"
    )
