"""Who gives way when all places are taken, by itself and at real doors."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import asyncssh
import pytest

from ingestd.accounts import Account
from ingestd.receive.sftp import SftpDoor
from ingestd.receive.strangers import MOST_STRANGERS, who_gives_way
from tests.receive.ftp_wire import Wire
from tests.receive.receiving import OpenDoor, wait_for
from tests.receive.sftp_client import SftpClient


@dataclass(eq=False)
class Guest:
    place: str
    since: float
    account: Account | None = None


def test_the_oldest_stranger_of_the_fullest_address_gives_way() -> None:
    """Nobody who is logged in does."""
    partner = Account(login="acme", source="acme", password_hash="", limit=1)
    inside = [Guest("192.0.2.1", 0.0, partner) for _ in range(500)]
    few = [Guest("192.0.2.2", 1.0) for _ in range(MOST_STRANGERS)]
    many = [Guest("192.0.2.3", 9.0 - number / 10) for number in range(MOST_STRANGERS + 1)]
    assert who_gives_way([*inside, *few, *many], 1_000) is many[-1]
    assert who_gives_way([*inside, *few], 1_000) is None
    assert who_gives_way(inside, 1_000) is None


def test_of_few_places_a_tenth_is_kept() -> None:
    """At least one."""
    three = [Guest("192.0.2.1", float(number)) for number in range(3)]
    assert who_gives_way(three, 30) is None
    assert who_gives_way(three, 20) is three[0]
    assert who_gives_way(three[:1], 1) is None


@pytest.mark.parametrize("implicit", [False, True])
def test_strangers_cannot_keep_a_partner_out_of_ftp(
    open_door: Callable[..., OpenDoor], audited: list[Any], implicit: bool
) -> None:
    """The oldest is told why, if it can be; the others of its address stay."""
    door = open_door(max_connections=5, implicit_port=0 if implicit else None)
    at = door.door.implicit_address if implicit else door.address
    assert at is not None
    strangers = [socket.create_connection(at, timeout=10) for _ in range(5)]
    wait_for(lambda: len(door.door._desk.sessions) == 5)
    partner = Wire(door, source="127.0.0.2", implicit=implicit).log_in()
    if not implicit:
        told = [socket.SocketIO(stranger, "r").readline() for stranger in strangers[:1]]
        assert told[0].startswith(b"220")
        assert strangers[0].recv(1024).startswith(b"421 all places are taken")
    assert strangers[0].recv(1024) == b""
    assert len(door.door._desk.sessions) == 5
    assert [line["peer"] for line in audited if line["event"] == "ftp_session_refused"] == ["127.0.0.1"]
    for each in (*strangers, partner):
        each.close()


def test_strangers_cannot_keep_a_partner_out_of_sftp(open_sftp: Callable[..., SftpDoor], audited: list[Any]) -> None:
    """Four give way; the last one, and whoever is logged in, does not."""
    door = open_sftp(max_connections=5)
    strangers = [socket.create_connection(door.address, timeout=10) for _ in range(5)]
    wait_for(lambda: len(door._desk.sessions) == 5)
    partners = [SftpClient(door) for _ in range(4)]
    assert len(door._desk.sessions) == 5
    with pytest.raises((asyncssh.DisconnectError, OSError)):
        SftpClient(door)
    assert [line["event"] for line in audited].count("sftp_session_refused") == 5
    for each in (*strangers, *partners):
        each.close()
