"""Who is let in by SFTP, and what is to be had there: only files."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import asyncssh
import pytest

from ingestd.accounts import InMemoryAccounts, Passwords
from ingestd.errors import Unavailable
from ingestd.receive.gate import Gate
from ingestd.receive.sftp import SftpDoor
from ingestd.throttle import Throttle, ThrottleRules
from tests.receive.receiving import CHEAP, PASSWORD, MemoryLedger, SlowPasswords, wait_for
from tests.receive.sftp_client import SftpClient, SshClient


def events(audited: list[Any]) -> list[str]:
    return [line["event"] for line in audited]


def throttled(accounts: InMemoryAccounts, **rules: Any) -> Gate:
    return Gate(accounts=accounts, passwords=Passwords(CHEAP), throttle=Throttle(ThrottleRules(**rules)))


class Guesser(asyncssh.SSHClient):
    """Tries passwords until it is sent away."""

    def password_auth_requested(self) -> str:
        return "wrong"


@pytest.fixture
def key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519", comment="a partner's")


@pytest.fixture
def keyed(accounts: InMemoryAccounts, key: asyncssh.SSHKey) -> InMemoryAccounts:
    """`acme` has a key beside the password, `keyonly` nothing else."""
    acme = accounts.find("acme")
    assert acme is not None
    line = key.export_public_key().decode().strip()
    with_key = replace(acme, public_keys=("ssh-ed25519 AAAA other", line))
    accounts.replace([with_key, replace(with_key, login="keyonly", password_hash="")])
    return accounts


# --- keys and passwords


def test_a_password_lets_in(sftp: SftpClient, audited: list[Any]) -> None:
    assert sftp.do("realpath", ".") == b"/"
    login = audited[-1]
    assert (login["event"], login["login"], login["source"], login["method"]) == (
        "sftp_login", "acme", "acme", "password",
    )  # fmt: skip


class Revoking(Passwords):
    """While a password is being looked at, its login is taken away."""

    def __init__(self, accounts: InMemoryAccounts) -> None:
        super().__init__(CHEAP)
        self._accounts = accounts

    def verify(self, account: Any, password: str) -> bool:
        good = super().verify(account, password)
        self._accounts.replace([])
        return good


def test_a_login_that_is_taken_away_while_it_is_checked_does_not_get_in(
    open_sftp: Callable[..., SftpDoor], gate: Gate, accounts: InMemoryAccounts, audited: list[Any]
) -> None:
    door = open_sftp(gate=replace(gate, passwords=Revoking(accounts)))
    with pytest.raises((asyncssh.Error, OSError)), SftpClient(door) as client:
        client.do("realpath", ".")
    wait_for(lambda: "sftp_session_end" in events(audited))
    assert "sftp_login" not in events(audited)


@pytest.mark.parametrize("login", ["acme", "keyonly"])
def test_a_key_lets_in(
    sftp_door: SftpDoor,
    keyed: InMemoryAccounts,
    key: asyncssh.SSHKey,
    audited: list[Any],
    ledger: MemoryLedger,
    login: str,
) -> None:
    with SftpClient(sftp_door, login, client_keys=[key], password=None) as client:
        client.send("x.csv", b"x")
    assert [line["method"] for line in audited if line["event"] == "sftp_login"] == ["publickey"]
    assert ledger.arrivals[0].login == login


def test_the_name_of_a_key_is_not_enough(sftp_door: SftpDoor, keyed: InMemoryAccounts, key: asyncssh.SSHKey) -> None:
    """A public key is no secret: whoever shows it and signs with another is not let in."""
    forged = asyncssh.load_keypairs([asyncssh.generate_private_key("ssh-ed25519")])[0]
    forged.public_data = key.public_data
    with pytest.raises(asyncssh.PermissionDenied):
        SftpClient(sftp_door, "acme", client_keys=[forged], password=None)


@pytest.mark.parametrize(
    ("login", "password", "reason"),
    [
        ("acme", "wrong", "wrong login or password"),
        ("nobody", PASSWORD, "wrong login or password"),
        ("closed", PASSWORD, "the login is not open for sftp"),
        ("keyonly", "", "wrong login or password"),
        ("keyonly", PASSWORD, "wrong login or password"),
    ],
)
def test_who_is_not_let_in(
    sftp_door: SftpDoor, accounts: InMemoryAccounts, audited: list[Any], login: str, password: str, reason: str
) -> None:
    """Nobody learns why, and no password is written down."""
    found = accounts.find("acme")
    assert found is not None
    extra = [replace(found, login="keyonly", password_hash=""), replace(found, login="closed", enabled=False)]
    accounts.replace([found, *extra])
    with pytest.raises(asyncssh.PermissionDenied):
        SshClient(sftp_door, login, password=password)
    refused = [line for line in audited if line["event"] == "sftp_login_refused"]
    assert {(line["login"], line["reason"]) for line in refused} == {(login, reason)}
    assert not any(PASSWORD in str(line) for line in audited)


def test_an_unknown_key_is_no_wrong_password(
    sftp_door: SftpDoor, keyed: InMemoryAccounts, gate: Gate, audited: list[Any]
) -> None:
    """Clients offer every key they have before they ask for the password."""
    strangers = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(5)]
    with SftpClient(sftp_door, client_keys=strangers) as client:
        assert client.do("realpath", ".") == b"/"
    assert events(audited).count("sftp_login_refused") == 5
    assert gate.throttle.failed("127.0.0.1", "acme") == 0.0
    many = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(21)]
    with pytest.raises(asyncssh.DisconnectError, match="too many keys"):
        SshClient(sftp_door, client_keys=many)


def test_logins_that_cannot_be_looked_up(
    sftp_door: SftpDoor,
    accounts: InMemoryAccounts,
    audited: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    key: asyncssh.SSHKey,
) -> None:
    """That is our fault, and is said as such."""

    def away(login: str) -> None:
        raise Unavailable("the store is away")

    monkeypatch.setattr(accounts, "find", away)
    for given in ({"password": PASSWORD}, {"client_keys": [key], "password": None}):
        with pytest.raises(asyncssh.DisconnectError, match="logins cannot be checked now"):
            SshClient(sftp_door, **given)
    assert events(audited).count("sftp_login_fault") == 2


# --- the throttle


def test_wrong_passwords_are_answered_ever_later(
    open_sftp: Callable[..., SftpDoor], accounts: InMemoryAccounts
) -> None:
    door = open_sftp(gate=throttled(accounts, delay_seconds=0.1, failures=100), max_login_attempts=1)
    took = []
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(asyncssh.DisconnectError, match="too many wrong passwords"):
            SshClient(door, password="wrong", preferred_auth="password")
        took.append(time.monotonic() - began)
    assert took[0] >= 0.1
    assert took[1] >= 0.2
    assert took[2] >= 0.4


def test_an_address_that_guesses_is_banned(
    open_sftp: Callable[..., SftpDoor], accounts: InMemoryAccounts, audited: list[Any]
) -> None:
    """With the right password too, before any key exchange, and it is told for how long."""
    door = open_sftp(gate=throttled(accounts, delay_seconds=0.0, failures=3, ban_seconds=60))
    with pytest.raises(asyncssh.DisconnectError):
        SshClient(door, client_factory=Guesser, password=None)
    with pytest.raises(asyncssh.DisconnectError, match="too many wrong passwords from your address; try again in"):
        SshClient(door)
    refused = audited[-1]
    assert (refused["event"], refused["peer"]) == ("sftp_session_refused", "127.0.0.1")


def test_three_passwords_a_session(sftp_door: SftpDoor, audited: list[Any]) -> None:
    with pytest.raises(asyncssh.DisconnectError, match="too many wrong passwords"):
        SshClient(sftp_door, client_factory=Guesser, password=None)
    assert events(audited).count("sftp_login_refused") == 3


def test_sessions_of_one_address_are_limited(open_sftp: Callable[..., SftpDoor], accounts: InMemoryAccounts) -> None:
    door = open_sftp(gate=throttled(accounts, max_per_address=2))
    with SshClient(door), SshClient(door), pytest.raises(asyncssh.DisconnectError, match="at most 2 at once"):
        SshClient(door)
    wait_for(lambda: not door._desk.sessions)
    with SshClient(door):
        pass


def test_sessions_are_limited(open_sftp: Callable[..., SftpDoor]) -> None:
    door = open_sftp(max_connections=1)
    with SshClient(door), pytest.raises(asyncssh.DisconnectError, match="too many sessions"):
        SshClient(door)


def test_a_login_has_its_time(open_sftp: Callable[..., SftpDoor], audited: list[Any]) -> None:
    """Somebody who connects and says nothing."""
    door = open_sftp(login_timeout=0.2)
    with socket.create_connection(door.address, timeout=10) as silent:
        silent.recv(100)
        wait_for(lambda: "sftp_session_end" in events(audited))


def test_logins_do_not_hold_up_others(open_sftp: Callable[..., SftpDoor], accounts: InMemoryAccounts) -> None:
    """Whoever is in is answered while the passwords of others are checked."""
    passwords = SlowPasswords()
    door = open_sftp(gate=Gate(accounts=accounts, passwords=passwords))
    passwords.go_on.set()
    with SftpClient(door) as watcher:
        passwords.go_on.clear()
        with ThreadPoolExecutor(3) as threads:
            logins = [threads.submit(SftpClient, door) for _ in range(3)]
            wait_for(lambda: passwords.asked > 1)
            assert watcher.do("realpath", ".") == b"/"
            assert not any(login.done() for login in logins)
            passwords.go_on.set()
            for login in logins:
                login.result().close()


# --- nothing but files


@pytest.mark.parametrize(
    ("asked", "operation"),
    [
        ({}, "shell"),
        ({"command": "id"}, "exec"),
        ({"command": "scp -t x"}, "exec"),
        ({"subsystem": "netconf"}, "subsystem"),
        ({"term_type": "xterm"}, None),
    ],
    ids=str,
)
def test_nothing_runs_here(
    sftp_door: SftpDoor, audited: list[Any], asked: dict[str, str], operation: str | None
) -> None:
    """No shell, no command, no scp, no other subsystem; the session goes on."""
    with SftpClient(sftp_door) as client:
        with pytest.raises(asyncssh.ChannelOpenError):
            client.run(client.connection.create_process(**asked))  # type: ignore[arg-type]
        assert client.do("realpath", ".") == b"/"
    assert [line["operation"] for line in audited if "operation" in line] == ([operation] if operation else [])


def test_nothing_is_forwarded(sftp_door: SftpDoor, audited: list[Any]) -> None:
    """Neither out of here nor into here."""
    with SftpClient(sftp_door) as client:
        connection = client.connection
        with pytest.raises(asyncssh.ChannelOpenError):
            client.run(connection.open_connection("127.0.0.1", sftp_door.address[1]))
        with pytest.raises(asyncssh.ChannelOpenError):
            client.run(connection.open_unix_connection("/run/any.sock"))
        with pytest.raises(asyncssh.ChannelListenError):
            client.run(connection.forward_remote_port("127.0.0.1", 0, "127.0.0.1", 22))
        assert client.do("realpath", ".") == b"/"
    told = [line["operation"] for line in audited if line["event"] == "sftp_command_refused"]
    assert told == ["forward", "listen"]


def test_channels_of_one_session_are_limited(sftp: SftpClient) -> None:
    for _ in range(9):
        sftp.run(sftp.connection.start_sftp_client())
    with pytest.raises(asyncssh.ChannelOpenError):
        sftp.run(sftp.connection.start_sftp_client())
    assert sftp.do("realpath", ".") == b"/"


@pytest.mark.parametrize(
    "weak",
    [
        {"kex_algs": ["diffie-hellman-group14-sha1"]},
        {"mac_algs": ["hmac-sha1"], "encryption_algs": ["aes256-ctr"]},
        {"encryption_algs": ["3des-cbc"]},
        {"compression_algs": ["zlib@openssh.com"]},
    ],
    ids=str,
)
def test_what_is_weak_is_not_spoken(sftp_door: SftpDoor, weak: dict[str, list[str]]) -> None:
    # ConnectionLost: asyncssh's own end of a failed exchange may come before its reason does.
    with pytest.raises((asyncssh.KeyExchangeFailed, asyncssh.ConnectionLost)):
        SshClient(sftp_door, **weak)
