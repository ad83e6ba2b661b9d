"""What systemd hears, on a socket of its own kind."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from ingestd.notify import Notifier
from tests.running import Manager, until


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with Manager(tmp_path) as listening:
        yield listening


def said(manager: Manager, count: int) -> list[str]:
    until(lambda: len(manager.heard) >= count, f"{count} messages")
    return manager.messages


def test_nobody_listens_on_a_terminal() -> None:
    notifier = Notifier.taken({}, 1)
    with capture_logs() as told:
        notifier.ready("open")
    assert (notifier.address, notifier.watchdog_seconds, told) == ("", 0.0, [])


def test_what_systemd_said_is_taken_out_of_the_environment() -> None:
    environment = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7", "PATH": "/bin"}
    notifier = Notifier.taken(environment, 7)
    assert (notifier.address, notifier.watchdog_seconds) == ("/run/x", 30.0)
    assert environment == {"PATH": "/bin"}


@pytest.mark.parametrize("environment", [{"WATCHDOG_USEC": "5", "WATCHDOG_PID": "8"}, {"WATCHDOG_USEC": "soon"}])
def test_a_watchdog_that_is_not_for_this_process_is_not_fed(environment: dict[str, str]) -> None:
    assert Notifier.taken(environment, 7).watchdog_seconds == 0.0


def test_each_message_is_one_datagram(manager: Manager) -> None:
    notifier = Notifier(address=manager.address)
    notifier.ready("open: ftp 21")
    notifier.alive()
    notifier.stopping("ending")
    notifier.extend(2.5)
    assert said(manager, 4) == [
        "READY=1\nSTATUS=open: ftp 21",
        "WATCHDOG=1",
        "STOPPING=1\nSTATUS=ending",
        "EXTEND_TIMEOUT_USEC=2500000",
    ]


def test_a_reload_says_when_it_began(manager: Manager) -> None:
    before = time.monotonic_ns() // 1000
    Notifier(address=manager.address).reloading()
    (told,) = said(manager, 1)
    word, _, moment = told.partition("\nMONOTONIC_USEC=")
    assert word == "RELOADING=1"
    assert before <= int(moment) <= time.monotonic_ns() // 1000


def test_an_abstract_address_begins_with_an_at(tmp_path: Path) -> None:
    name = f"ingestd-test-{tmp_path.name}-{time.monotonic_ns()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        Notifier(address=f"@{name}").alive()
        assert listening.recv(100) == b"WATCHDOG=1"


def test_a_manager_that_is_gone_is_told_of_once_and_hurts_nobody(tmp_path: Path) -> None:
    structlog.reset_defaults()
    notifier = Notifier(address=str(tmp_path / "nobody"))
    with capture_logs() as told:
        notifier.alive()
        notifier.alive()
    assert [event["event"] for event in told] == ["notify_failed"]


def test_a_busy_manager_is_waited_for_with_what_it_must_hear_but_not_with_a_feeding(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as busy:
        busy.bind(str(tmp_path / "busy"))
        notifier = Notifier(address=str(tmp_path / "busy"))
        with capture_logs() as told:
            while not told:  # until its queue is full
                notifier.alive()
        reader = threading.Timer(0.2, lambda: [busy.recv(100) for _ in range(3)])
        reader.start()
        notifier.ready("open")
        reader.join()
        assert not notifier.failed
