"""What all sessions of one SFTP door share: its options, its threads, and who is there."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import asyncssh
import structlog

from ingestd.accounts import Account
from ingestd.receive.gate import Gate
from ingestd.receive.landing import Landing

T = TypeVar("T")

_FAREWELL = 1.0  # seconds in which a client reads why its connection was ended


@dataclass(frozen=True, kw_only=True)
class SftpOptions:
    """How the SFTP door is set up."""

    host_key: asyncssh.SSHKey
    host: str = "127.0.0.1"
    port: int = 2222
    """0: any free one"""
    max_connections: int = 500
    """sessions at once"""
    login_timeout: float = 60.0
    """seconds from the connection to a login"""
    idle_timeout: float = 300.0
    """seconds without a byte from the client"""
    max_login_attempts: int = 3
    """passwords that may be tried in one session"""


class Session(Protocol):
    """One connection, as the door sees it."""

    account: Account | None
    """whose login it is; None before the login"""
    place: str
    """its network"""
    since: float
    """when it began, by the loop's clock"""

    def idle(self, now: float) -> float:
        """Seconds without a byte, by the loop's clock; 0 while we are the ones who are slow."""

    def transferring(self) -> bool:
        """True while a file is open."""

    def uploads(self) -> int:
        """How many files it is sending."""

    def give_way(self) -> None:
        """End it before its login, for another one."""

    def dismiss(self, reason: str) -> None:
        """End it, and tell the client why."""


class Desk:
    """Holds what a session needs."""

    def __init__(self, options: SftpOptions, landing: Landing, gate: Gate, homes: Path, audit: Any = None) -> None:
        self.options = options
        self.landing = landing
        self.gate = gate
        self.homes = Path(os.path.realpath(homes))
        self.audit: Any = audit or structlog.get_logger("ingestd.sftp")
        self.sessions: set[Session] = set()
        self.channels: set[object] = set()
        """channels whose files are still being looked after, also when their connection is gone"""
        self.stopping = False
        self._farewells: set[socket.socket] = set()
        # Apart, so that a thousand logins in a queue do not hold up the files of those who are in.
        self._hashing: Executor = ThreadPoolExecutor(2, "sftp-login")
        self._landings: Executor = ThreadPoolExecutor(8, "sftp-landing")

    async def hashing(self, work: Callable[[], T]) -> T:
        """Check a password in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._hashing, work)

    async def landings(self, work: Callable[[], T]) -> T:
        """Keep a file in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._landings, work)

    def part(self, farewell: socket.socket) -> None:
        """Close a socket in a moment."""
        self._farewells.add(farewell)
        asyncio.get_running_loop().call_later(_FAREWELL, self._parted, farewell)

    def _parted(self, farewell: socket.socket) -> None:
        self._farewells.discard(farewell)
        farewell.close()

    def close(self) -> None:
        """Wait for work in threads; let go of what is left."""
        for farewell in tuple(self._farewells):
            self._parted(farewell)
        self._hashing.shutdown(cancel_futures=True)
        self._landings.shutdown()


def plain_address(address: str) -> str:
    """An address as people write it: IPv4 that came by a socket of both kinds is mapped into IPv6."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = known.ipv4_mapped if isinstance(known, ipaddress.IPv6Address) else None
    return str(mapped or known)
