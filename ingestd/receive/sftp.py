"""The SFTP door: asyncssh's loop in one thread, slow work in others."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncssh

from ingestd.receive.gate import Gate
from ingestd.receive.landing import Landing
from ingestd.receive.sftp_desk import Desk, SftpOptions
from ingestd.receive.sftp_session import SshSession
from ingestd.receive.sockets import BACKLOG, open_socket

__all__ = ["SftpDoor", "SftpOptions"]

_TICK = 0.5  # seconds between two looks at the clock; the watchdog wants to hear of the loop once a second
_STOPPING_TICK = 0.05
_WINDOW = 2 * 1024 * 1024  # bytes a client may send ahead, as OpenSSH
_BANNER = "ingestd"  # without a version, which would only tell whether an attack fits

# asyncssh's defaults without what rests on SHA-1, on umac-64 or on names that one vendor used. libssh2 (curl) needs
# the modes counter and plain hmac-sha2; the first of the client's list that is in ours is taken (RFC 4253, 7.1).
_KEY_EXCHANGES = (
    "mlkem768x25519-sha256",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp521",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp256",
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group14-sha256",
)
_CIPHERS = (
    "chacha20-poly1305@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-gcm@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
)
_MACS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")
_SIGNATURES = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
)


class SftpDoor:
    """Lets partners send files by SFTP and fetch their results."""

    def __init__(
        self,
        options: SftpOptions,
        landing: Landing,
        gate: Gate,
        homes: Path,
        *,
        listening: socket.socket | None = None,
        audit: Any = None,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """`listening` is a socket that somebody else has opened; `beat` is called while the loop goes round."""
        self._options = options
        self._desk = Desk(options, landing, gate, homes, audit)
        self._socket = listening
        self._beat = beat
        self._address = ("", 0)
        self.traffic = {"sessions": 0, "uploads": 0}
        """as of a moment ago; read by other threads"""
        self._thread = threading.Thread(target=self._run, name="sftp", daemon=True)
        self._loop: asyncio.AbstractEventLoop
        self._opened = threading.Event()
        self._problem: BaseException | None = None
        self._within = 0.0
        self._stopping = asyncio.Event()

    # --- from other threads

    def start(self) -> None:
        """Open the door. Raises OSError when the address cannot be had."""
        logging.getLogger("asyncssh").setLevel(logging.CRITICAL)  # the audit says what happens, in its own words
        try:
            self._socket = self._socket or open_socket(self._options.host, self._options.port)
        except BaseException:
            self._desk.close()
            raise
        self._address = self._socket.getsockname()[:2]
        self._thread.start()
        self._opened.wait()
        if self._problem is not None:
            self._thread.join()
            raise self._problem
        host, port = self.address
        fingerprint = self._options.host_key.get_fingerprint()
        self._desk.audit.info("sftp_open", host=host, port=port, fingerprint=fingerprint)

    @property
    def address(self) -> tuple[str, int]:
        """Where the door is, with the real port."""
        return self._address

    def stop(self, within: float = 10.0) -> None:
        """Close the door: nobody new, transfers may finish for so many seconds."""
        self._within = within
        with contextlib.suppress(RuntimeError):  # the loop is over already
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def dismiss_unknown(self) -> None:
        """End the sessions of logins that are gone or changed, at once: what they send is not wanted any more."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._dismiss_unknown)

    def _dismiss_unknown(self) -> None:
        for session in tuple(self._desk.sessions):
            known = session.account and self._desk.gate.accounts.find(session.account.login)
            if known != session.account:
                session.dismiss("your login has changed; log in again")

    # --- on the loop

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as problem:  # noqa: BLE001 - raised again by `start`, which waits for it
            self._problem = problem
        finally:
            self._opened.set()
            self._desk.close()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._told)
        async with self._listener():
            self._opened.set()
            while not self._stopping.is_set():
                self._look_around()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), _TICK)
        await self._close_door()

    @contextlib.asynccontextmanager
    async def _listener(self) -> AsyncIterator[None]:
        acceptor = await asyncssh.listen(
            sock=self._socket,
            backlog=BACKLOG,
            config=None,
            server_factory=lambda: SshSession(self._desk),
            server_host_keys=[self._options.host_key],
            server_version=_BANNER,
            encoding=None,
            login_timeout=self._options.login_timeout,
            kex_algs=_KEY_EXCHANGES,
            encryption_algs=_CIPHERS,
            mac_algs=_MACS,
            signature_algs=_SIGNATURES,
            compression_algs=None,
            window=_WINDOW,
            gss_host=None,
            x509_trusted_certs=None,
            agent_forwarding=False,
            x11_forwarding=False,
            allow_pty=False,
            allow_scp=False,
        )
        try:
            yield
        finally:
            acceptor.close()

    def _look_around(self) -> None:
        self._beat()
        sessions = self._desk.sessions
        self.traffic = {"sessions": len(sessions), "uploads": sum(session.uploads() for session in sessions)}
        now = self._loop.time()
        for session in tuple(self._desk.sessions):
            if session.idle(now) > self._options.idle_timeout:
                session.dismiss(f"nothing came for {self._options.idle_timeout:.0f} seconds")

    async def _close_door(self) -> None:
        """End sessions as their transfers end, all of them at the deadline; what is being kept is kept to its end."""
        self._desk.stopping = True
        deadline = self._loop.time() + self._within
        while self._desk.sessions or self._desk.channels:
            late = self._loop.time() > deadline
            for session in tuple(self._desk.sessions):
                if late or not session.transferring():
                    session.dismiss("the server is shutting down")
            self._beat()
            await asyncio.sleep(_STOPPING_TICK)

    def _told(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Called by asyncio for what nobody caught, and when it cannot accept for want of descriptors."""
        problem, reason = context.get("exception"), str(context.get("message", ""))
        if reason.startswith("socket.accept()"):  # asyncio tries again after a second
            self._desk.audit.error("sftp_cannot_accept", reason=str(problem))
        else:
            self._desk.audit.error("sftp_fault", reason=reason, exc_info=problem)
