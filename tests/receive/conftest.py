"""Fixtures of the doors: a spool, a ledger in memory, and real servers on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import structlog

from ingestd.accounts import Account, InMemoryAccounts, Passwords
from ingestd.certificates import Certificate, self_signed
from ingestd.receive.ftp import FtpDoor, FtpOptions
from ingestd.receive.gate import Gate
from ingestd.receive.landing import Landing
from ingestd.receive.sftp import SftpDoor, SftpOptions
from ingestd.spool import Spool
from ingestd.throttle import Throttle, ThrottleRules
from tests.receive.ftp_wire import Wire
from tests.receive.receiving import CHEAP, LIMIT, PASSWORD_HASH, MemoryLedger, OpenDoor, Rings
from tests.receive.sftp_client import SftpClient


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger()


@pytest.fixture
def rings() -> Rings:
    return Rings()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", reserve_bytes=0)


@pytest.fixture
def landing(spool: Spool, ledger: MemoryLedger, rings: Rings) -> Landing:
    return Landing(spool, ledger, rings)


@pytest.fixture
def audited() -> list[Any]:
    """Every audit line, as a dictionary."""
    return []


@pytest.fixture
def audit(audited: list[Any]) -> Any:
    def keep(_logger: Any, _method: str, line: Any) -> Any:
        audited.append(dict(line))
        raise structlog.DropEvent

    return structlog.wrap_logger(None, processors=[keep])


@pytest.fixture
def accounts() -> InMemoryAccounts:
    names = {"acme": "acme", "acme2": "acme", "bravo": "bravo"}
    made = [
        Account(login=login, source=source, password_hash=PASSWORD_HASH, limit=LIMIT) for login, source in names.items()
    ]
    closed = replace(made[0], login="closed", enabled=False)
    elsewhere = replace(made[0], login="elsewhere", protocols=frozenset({"sftp"}))
    return InMemoryAccounts([*made, closed, elsewhere])


@pytest.fixture
def gate(accounts: InMemoryAccounts) -> Gate:
    """Answers wrong passwords at once and bans nobody."""
    throttle = Throttle(ThrottleRules(delay_seconds=0.0, failures=1_000))
    return Gate(accounts=accounts, passwords=Passwords(CHEAP), throttle=throttle)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A self-signed one for 127.0.0.1, ::1 and localhost."""
    return self_signed(tmp_path_factory.mktemp("keys"), datetime.now(UTC))


@pytest.fixture
def open_door(
    tmp_path: Path, landing: Landing, gate: Gate, audit: Any, certificate: Certificate
) -> Iterator[Callable[..., OpenDoor]]:
    """Opens FTP doors with the given options; closes them after the test."""
    doors: list[FtpDoor] = []

    def open_one(*, gate: Gate = gate, landing: Landing = landing, wired: Any = None, **options: Any) -> OpenDoor:
        homes = tmp_path / "homes"
        known = FtpOptions(**{"port": 0} | options)
        secure = certificate if known.tls != "off" or known.implicit_port is not None else None
        door = FtpDoor(known, landing, gate, homes, certificate=secure, audit=audit, **(wired or {}))
        door.start()
        doors.append(door)
        return OpenDoor(door, homes)

    yield open_one
    for door in doors:
        door.stop(within=1.0)


@pytest.fixture
def door(open_door: Callable[..., OpenDoor]) -> OpenDoor:
    return open_door()


@pytest.fixture(scope="session")
def host_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture
def open_sftp(
    tmp_path: Path, landing: Landing, gate: Gate, audit: Any, host_key: asyncssh.SSHKey
) -> Iterator[Callable[..., SftpDoor]]:
    """Opens SFTP doors with the given options; closes them after the test."""
    doors: list[SftpDoor] = []

    def open_one(*, gate: Gate = gate, landing: Landing = landing, **options: Any) -> SftpDoor:
        given = SftpOptions(**{"port": 0, "host_key": host_key} | options)
        door = SftpDoor(given, landing, gate, tmp_path / "homes", audit=audit)
        door.start()
        doors.append(door)
        return door

    yield open_one
    for door in doors:
        door.stop(within=1.0)


@pytest.fixture
def sftp_door(open_sftp: Callable[..., SftpDoor]) -> SftpDoor:
    return open_sftp()


@pytest.fixture
def sftp(sftp_door: SftpDoor) -> Iterator[SftpClient]:
    """A session that is logged in as acme."""
    with SftpClient(sftp_door) as client:
        yield client


@pytest.fixture
def wire(door: OpenDoor) -> Any:
    """A session that is logged in."""
    opened = Wire(door).log_in()
    yield opened
    opened.close()
