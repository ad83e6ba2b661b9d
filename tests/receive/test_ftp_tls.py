"""FTP over TLS: who must speak it, how it is agreed on, and what may not be done without it."""

from __future__ import annotations

import contextlib
import ftplib
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ingestd.accounts import Account, InMemoryAccounts, Passwords
from ingestd.certificates import Certificate
from ingestd.receive.gate import Gate
from tests.receive.ftp_wire import Wire, trusting
from tests.receive.receiving import CHEAP, LIMIT, PASSWORD, PASSWORD_HASH, MemoryLedger, OpenDoor, wait_for


class WatchedPasswords(Passwords):
    """Knows which passwords were looked at."""

    def __init__(self) -> None:
        super().__init__(CHEAP)
        self.seen: list[str] = []

    def verify(self, account: Account | None, password: str) -> bool:
        self.seen.append(password)
        return super().verify(account, password)


@pytest.fixture
def secure_door(open_door: Callable[..., OpenDoor]) -> OpenDoor:
    return open_door(tls="required")


def events(audited: list[Any], name: str) -> list[Any]:
    return [line for line in audited if line["event"] == f"ftp_{name}"]


# --- required


def test_without_tls_no_password_is_looked_at(
    open_door: Callable[..., OpenDoor], gate: Gate, audited: list[Any]
) -> None:
    """Neither checked nor written down, and the refusal says what to do."""
    passwords = WatchedPasswords()
    wire = Wire(open_door(tls="required", gate=replace(gate, passwords=passwords)))
    refusal = b"530 This server takes logins over TLS only; send AUTH TLS first."
    assert wire.say(b"USER acme") == refusal
    assert wire.say(b"PASS " + PASSWORD.encode()) == refusal
    assert wire.say(b"STOR x.csv").startswith(b"530")
    assert passwords.seen == []
    wire.protect().log_in()
    assert passwords.seen == [PASSWORD]
    wire.close()
    assert PASSWORD not in repr(audited)


def test_without_prot_p_no_data_goes(secure_door: OpenDoor) -> None:
    """In either direction; and protection cannot be given up again."""
    wire = Wire(secure_door).protect(data=False).log_in()
    for command in (b"EPSV", b"PASV", b"PORT 127,0,0,1,200,10", b"STOR x.csv", b"RETR x.csv", b"LIST", b"MLSD"):
        assert wire.say(command).startswith(b"521 ")
    assert wire.say(b"PBSZ 0").startswith(b"200")
    assert wire.say(b"PROT P").startswith(b"200")
    assert wire.say(b"PROT C").startswith(b"534")
    assert wire.say(b"EPSV").startswith(b"229")
    wire.close()


def test_commands_sent_ahead_of_tls_are_not_obeyed(secure_door: OpenDoor, audited: list[Any]) -> None:
    """Anybody on the way could have put them there (as in CVE-2011-0411)."""
    wire = Wire(secure_door)
    wire.control.sendall(b"AUTH TLS\r\nUSER mallory\r\n")
    assert wire.reply().startswith(b"421 Nothing may be sent between AUTH and TLS")
    assert wire.replies.readline() == b""
    wire.close()
    assert not [line for line in audited if line.get("command") == "USER"]


# --- offered and off


def test_where_tls_is_offered_each_session_chooses(open_door: Callable[..., OpenDoor], ledger: MemoryLedger) -> None:
    """And the delivery says how it came."""
    door = open_door(tls="offered")
    plain, clear, secure = Wire(door), Wire(door).protect(data=False), Wire(door).protect()
    for number, wire in enumerate((plain, clear, secure)):
        assert wire.log_in().store(b"%d.csv" % number).startswith(b"226")
        wire.close()
    assert [arrival.protocol for arrival in ledger.arrivals] == ["ftp", "ftps", "ftps"]
    assert [arrival.completeness.value for arrival in ledger.arrivals] == ["assumed", "assumed", "proven"]


def test_where_tls_is_off_it_is_not_offered(door: OpenDoor) -> None:
    """`AUTH` is unknown."""
    wire = Wire(door)
    for command in (b"AUTH TLS", b"PBSZ 0", b"PROT P"):
        assert wire.say(command).startswith(b"500")
    wire.close()


@pytest.fixture
def one_kind_each(gate: Gate) -> Gate:
    made = Account(login="", source="acme", password_hash=PASSWORD_HASH, limit=LIMIT)
    kinds = {"clear": {"ftp"}, "secret": {"ftps"}}
    accounts = [replace(made, login=login, protocols=frozenset(open_for)) for login, open_for in kinds.items()]
    return replace(gate, accounts=InMemoryAccounts(accounts))


def test_a_login_is_open_for_ftp_or_for_ftps(open_door: Callable[..., OpenDoor], one_kind_each: Gate) -> None:
    """As its source says; the right password does not help at the wrong door."""
    door = open_door(tls="offered", gate=one_kind_each)
    for login, secure, expected in (
        (b"clear", False, b"230"), (b"clear", True, b"530"), (b"secret", False, b"530"), (b"secret", True, b"230"),
    ):  # fmt: skip
        wire = Wire(door)
        if secure:
            wire.protect()
        wire.say(b"USER " + login)
        assert wire.say(b"PASS " + PASSWORD.encode())[:3] == expected, (login, secure)
        wire.close()


def test_a_login_for_ftps_only_sends_no_data_in_the_clear(
    open_door: Callable[..., OpenDoor], one_kind_each: Gate
) -> None:
    """Its password is safe then, and so must its files be."""
    wire = Wire(open_door(tls="offered", gate=one_kind_each)).protect(data=False).log_in(b"secret")
    assert wire.say(b"EPSV").startswith(b"521")
    assert wire.say(b"PBSZ 0").startswith(b"200")
    assert wire.say(b"PROT C").startswith(b"534")
    assert wire.say(b"PROT P").startswith(b"200")
    wire.tls = True
    assert wire.store(b"x.csv").startswith(b"226 delivery 1 ")
    wire.close()


# --- agreeing on it


def test_auth_pbsz_and_prot(open_door: Callable[..., OpenDoor]) -> None:
    """In their order, and nothing that is not known."""
    wire = Wire(open_door(tls="offered"))
    assert wire.say(b"AUTH KERBEROS").startswith(b"504")
    assert wire.say(b"PBSZ 0").startswith(b"503")
    assert wire.say(b"PROT P").startswith(b"503")
    wire.protect(data=False)
    assert wire.say(b"AUTH TLS").startswith(b"503")
    assert wire.say(b"PROT P").startswith(b"503")
    assert wire.say(b"PBSZ 0").startswith(b"200")
    assert [wire.say(b"PROT " + level)[:3] for level in (b"C", b"P", b"S", b"E", b"X")] == [
        b"200", b"200", b"536", b"536", b"504",
    ]  # fmt: skip
    wire.close()


def test_auth_after_a_login_in_the_clear_forgets_it(open_door: Callable[..., OpenDoor]) -> None:
    """Whoever has heard the password could have logged in."""
    wire = Wire(open_door(tls="offered")).log_in().protect()
    assert wire.say(b"PWD").startswith(b"530")
    wire.log_in()
    assert wire.say(b"PWD").startswith(b"257")
    wire.close()


def test_feat_tells_of_tls(secure_door: OpenDoor) -> None:
    """Clients look there first."""
    ftp = ftplib.FTP_TLS(context=trusting(), encoding="utf-8")
    ftp.connect(*secure_door.address, timeout=10)
    assert {" AUTH TLS", " PBSZ", " PROT"} < set(ftp.sendcmd("FEAT").splitlines())
    ftp.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_control_connections_speak_tls_1_2_and_1_3(secure_door: OpenDoor, version: ssl.TLSVersion) -> None:
    context = trusting(oldest=version)
    context.maximum_version = version
    with ftplib.FTP_TLS(context=context, encoding="utf-8") as ftp:
        ftp.connect(*secure_door.address, timeout=10)
        ftp.login("acme", PASSWORD)
        assert isinstance(ftp.sock, ssl.SSLSocket)
        assert ftp.sock.version() == version.name.replace("_", ".").replace("TLSv1.", "TLSv1.")


def test_the_certificate_can_be_verified(secure_door: OpenDoor, certificate: Certificate) -> None:
    """By a client that was given it; and its fingerprint is the one that the log has."""
    context = ssl.create_default_context(cafile=str(certificate.chain))
    with ftplib.FTP_TLS(context=context, encoding="utf-8") as ftp:
        ftp.connect("127.0.0.1", secure_door.address[1], timeout=10)
        ftp.login("acme", PASSWORD)
        ftp.prot_p()
        assert ftp.nlst("/") == ["results", "upload"]


def test_the_log_has_the_fingerprint(secure_door: OpenDoor, certificate: Certificate, audited: list[Any]) -> None:
    """So that an operator can tell it to partners."""
    (opened,) = events(audited, "open")
    assert opened["certificate_sha256"] == certificate.fingerprint
    assert opened["tls"] == "required"


# --- what is no TLS


def test_a_handshake_that_does_not_come_is_not_waited_for(
    open_door: Callable[..., OpenDoor], audited: list[Any]
) -> None:
    """Half-open sessions would use the limit up."""
    door = open_door(tls="required", implicit_port=0, connect_timeout=0.2)
    assert door.door.implicit_address is not None
    silent = socket.create_connection(door.door.implicit_address, timeout=10)
    wire = Wire(door)
    wire.say(b"AUTH TLS")
    assert silent.recv(1) == b""
    assert wire.control.recv(1) == b""
    silent.close()
    wire.close()
    assert [line["reason"] for line in events(audited, "tls_failed")] == ["the client took too long"] * 2


def test_clients_that_do_not_speak_tls_are_no_bug(open_door: Callable[..., OpenDoor], audited: list[Any]) -> None:
    """Also those that find after the handshake that they do not trust us, and those that go in its middle."""
    door = open_door(tls="required", implicit_port=0)
    assert door.door.implicit_address is not None
    for content in (b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03", b""):
        stranger = socket.create_connection(door.door.implicit_address, timeout=10)
        with contextlib.suppress(OSError):  # the door may have closed it already
            stranger.sendall(content)
            stranger.shutdown(socket.SHUT_WR)
            while stranger.recv(100):
                pass
        stranger.close()
    distrusting = socket.create_connection(door.door.implicit_address, timeout=10)
    with pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(distrusting, server_hostname="127.0.0.1")
    distrusting.close()
    wait_for(lambda: not door.door._desk.sessions)
    assert events(audited, "tls_failed")
    assert not events(audited, "fault")
    Wire(door).protect().log_in().close()


# --- implicit


def test_implicit_tls_begins_with_the_first_byte(
    open_door: Callable[..., OpenDoor], ledger: MemoryLedger, audited: list[Any]
) -> None:
    """The same sessions, counted together; data is protected without being asked for."""
    door = open_door(tls="off", implicit_port=0, max_connections=1)
    wire = Wire(door, implicit=True)
    assert wire.greeting == b"220 ingestd ready\r\n"
    assert wire.say(b"AUTH TLS").startswith(b"503")
    assert wire.log_in().store(b"x.csv").startswith(b"226 delivery 1 ")
    wire.say(b"REIN")
    assert wire.log_in().store(b"y.csv").startswith(b"226 delivery 2 ")
    turned_away = Wire(door)
    assert turned_away.greeting.startswith(b"421 there are too many sessions")
    turned_away.close()
    wire.close()
    assert ledger.arrivals[0].protocol == "ftps"
    assert events(audited, "open")[0]["implicit_port"] == door.door.implicit_address[1]  # type: ignore[index]
