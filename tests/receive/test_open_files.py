"""One source cannot take all file descriptors, by whichever door."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from ingestd.receive.gate import Gate
from ingestd.receive.landing import Landing
from ingestd.receive.open_files import OpenFiles, TooManyOpen, scarce
from ingestd.receive.sftp import SftpDoor
from tests.receive.ftp_wire import ROWS, Wire, end
from tests.receive.receiving import OpenDoor, wait_for
from tests.receive.sftp_client import SftpClient


def test_each_source_has_so_many() -> None:
    """One that is closed makes room."""
    files = OpenFiles(2)
    first, _ = files.take("acme"), files.take("acme")
    with pytest.raises(TooManyOpen, match="you have 2 files open"):
        files.take("acme")
    files.take("bravo")
    first()
    files.take("acme")


def test_a_file_that_cannot_be_opened_does_not_count(gate: Gate, landing: Landing, monkeypatch: Any) -> None:
    files = OpenFiles(1)
    account = gate.accounts.find("acme")
    assert account is not None

    def full(_limit: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(landing, "open", full)
        with pytest.raises(OSError, match="No space"):
            files.incoming(landing, account)
    files.incoming(landing, account).close()
    files.incoming(landing, account).close()


def test_both_doors_count_together(
    open_door: Callable[..., OpenDoor], open_sftp: Callable[..., SftpDoor], gate: Gate, tmp_path: Path
) -> None:
    """Over all logins and sessions of a source; files that are sent, parked, cut, fetched or refused are closed."""
    gate = replace(gate, open_files=OpenFiles(3))
    ftp, sftp = open_door(gate=gate), open_sftp(gate=gate)
    (tmp_path / "homes/acme/results").mkdir(parents=True)
    (tmp_path / "homes/acme/results/x").write_bytes(b"x")
    for _ in range(2):
        wires = [Wire(ftp).log_in(), Wire(ftp).log_in(b"acme2")]
        sending = [wire.begin(b"STOR x.csv") for wire in wires]
        with SftpClient(sftp) as client:
            fetched = client.run(client.client.open(b"results/x", "rb"))
            for refused in ((b"y.csv", "wb"), (b"results/x", "rb")):
                with pytest.raises(asyncssh.SFTPFailure, match="you have 3 files open"):
                    client.run(client.client.open(*refused))
            other = Wire(ftp).log_in()
            other.data().close()
            assert other.say(b"STOR z.part") == b"450 you have 3 files open; wait until some are closed."
            neighbour = Wire(ftp).log_in(b"bravo")
            assert neighbour.store(b"x.csv").startswith(b"226")
            neighbour.close()
            client.run(fetched.close())
            assert other.store(b"z.part").startswith(b"226")
            sending[0].sendall(ROWS)
            end(sending[0])
            assert wires[0].reply().startswith(b"226")
            client.run(client.client.open(b"cut.csv", "wb"))
        for each in (sending[1], other, *wires):
            each.close()
        wait_for(lambda: not gate.open_files._open)


@pytest.fixture
def few_descriptors() -> Iterator[Callable[[int], None]]:
    """Lets the process have only so many."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda most: resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_last_descriptors_are_kept(few_descriptors: Callable[[int], None]) -> None:
    few_descriptors(1000)
    assert not scarce(949)
    assert scarce(950)


def test_new_sessions_are_refused_before_the_descriptors_are_used_up(
    door: OpenDoor, sftp_door: SftpDoor, audited: list[Any], few_descriptors: Callable[[int], None]
) -> None:
    """Who is in can go on; nobody waits for an answer."""
    partner = Wire(door).log_in()
    few_descriptors(200)
    taken: list[socket.socket] = []
    while not taken or not scarce(taken[-1].fileno()):
        taken.append(socket.socket())
    late = Wire(door)
    assert late.greeting.startswith(b"421 there are too many sessions")
    late.close()
    with socket.create_connection(sftp_door.address, timeout=10) as client:
        assert b"too many sessions" in read_all(client)
    assert partner.say(b"NOOP").startswith(b"200")
    assert not [line for line in audited if line["event"].endswith("cannot_accept")]
    for each in (*taken, partner):
        each.close()


def read_all(client: socket.socket) -> bytes:
    pieces = iter(lambda: client.recv(4096), b"")
    return b"".join(pieces)
