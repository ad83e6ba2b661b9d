"""The SFTP door, with real clients on loopback: complete or absent, durable before the close is answered."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from ingestd.accounts import InMemoryAccounts
from ingestd.model import Completeness
from ingestd.receive.gate import Gate
from ingestd.receive.landing import Landing
from ingestd.receive.sftp import SftpDoor, SftpOptions
from ingestd.spool import Spool
from tests.receive.receiving import PASSWORD, MemoryLedger, files_below, wait_for
from tests.receive.sftp_client import RawClient, SftpClient, text

ROWS = b"name,phone\nAda,+4533330000\r\nBo,\r" * 500


def events(audited: list[Any]) -> list[str]:
    return [line["event"] for line in audited]


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def only(audited: list[Any], event: str) -> Any:
    (line,) = [line for line in audited if line["event"] == event]
    return line


# --- landing


def test_a_closed_file_is_a_delivery(sftp: SftpClient, ledger: MemoryLedger, spool: Spool, audited: list[Any]) -> None:
    """Proven whole, with number and hash in the audit; and the bytes are as they were sent."""
    sftp.send("upload/x.csv", ROWS)
    ((arrival, landed),) = ledger.rows
    assert spool.read(landed.key) == ROWS
    sha256 = hashlib.sha256(ROWS).hexdigest()
    assert (landed.size, landed.sha256) == (len(ROWS), sha256)
    assert (arrival.source, arrival.login, arrival.peer, arrival.protocol) == ("acme", "acme", "127.0.0.1", "sftp")
    assert (arrival.completeness, arrival.evidence) == (Completeness.PROVEN, "sftp close")
    told = only(audited, "sftp_upload_landed")
    assert told["reply"] == f"delivery 1 received: {len(ROWS)} bytes, sha256 {sha256}"


def test_an_empty_file_is_a_delivery_too(sftp: SftpClient, ledger: MemoryLedger) -> None:
    sftp.send("empty.csv", b"")
    assert [landed.size for _, landed in ledger.rows] == [0]


def test_the_row_is_written_before_the_close_is_answered(
    sftp_door: SftpDoor, sftp: SftpClient, ledger: MemoryLedger
) -> None:
    """As long as the ledger takes, the client waits; others do not."""
    go_on, at_ledger = threading.Event(), threading.Event()

    def hold() -> None:
        at_ledger.set()
        go_on.wait(10)

    ledger.before = hold
    sender = threading.Thread(target=lambda: sftp.send("x.csv", ROWS))
    sender.start()
    assert at_ledger.wait(10)
    with SftpClient(sftp_door) as other:
        assert other.do("realpath", ".") == b"/"
    assert sender.is_alive()
    go_on.set()
    sender.join(10)
    assert len(ledger.rows) == 1


def test_a_duplicate_is_noted(sftp: SftpClient, audited: list[Any], tmp_path: Path) -> None:
    for _ in range(2):
        sftp.send("x.csv", ROWS)
    replies = [line["reply"] for line in audited if line["event"] == "sftp_upload_landed"]
    assert replies[1].startswith("duplicate of delivery 1: ")
    assert len(files_below(tmp_path / "spool")) == 1


def test_many_clients_at_once(sftp_door: SftpDoor, ledger: MemoryLedger, spool: Spool) -> None:
    """Every file lands once, with its own bytes."""
    contents = {f"{number}.csv": b"%d," % number * (1000 * number) for number in range(1, 17)}

    def send(name: str) -> None:
        with SftpClient(sftp_door) as client:
            client.send(name, contents[name])

    threads = [threading.Thread(target=send, args=(name,)) for name in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {arrival.name: spool.read(kept.key) for arrival, kept in ledger.rows} == contents


def test_a_file_in_pieces_out_of_order(sftp: SftpClient, ledger: MemoryLedger, spool: Spool) -> None:
    """Clients that write in parallel."""
    file = sftp.open("x.csv")
    for start in (4, 0, 8, 2):
        sftp.run(file.write(b"0123456789"[start : start + 4], start))
    sftp.run(file.close())
    assert spool.read(ledger.rows[0][1].key) == b"0123456789"


def test_a_file_with_a_hole_is_refused(sftp: SftpClient, ledger: MemoryLedger, tmp_path: Path) -> None:
    """As a resumed upload leaves one; the client is told which bytes are missing, and the session goes on."""
    file = sftp.open("x.csv")
    sftp.run(file.write(b"tail", 10))
    with pytest.raises(asyncssh.SFTPFailure, match="bytes 0 to 9 are missing: the file is not whole"):
        sftp.run(file.close())
    assert (ledger.rows, files_below(tmp_path / "spool")) == ([], [])
    sftp.send("x.csv", ROWS)
    assert len(ledger.rows) == 1


# --- complete or absent

_KILLED = """
import asyncio, asyncssh, sys
async def half():
    connection = await asyncssh.connect("127.0.0.1", int(sys.argv[1]), config=None, known_hosts=None, client_keys=None,
                                        agent_path=None, username="acme", password=sys.argv[2])
    client = await connection.start_sftp_client()
    file = await client.open("killed.csv", "wb")
    await file.write(b"half,a,row" * 5000)
async def main():
    await asyncio.gather(*(half() for _ in range(5)))
    print("sent", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def test_fifty_killed_clients_leave_nothing(
    sftp_door: SftpDoor, ledger: MemoryLedger, tmp_path: Path, audited: list[Any]
) -> None:
    """Each in the middle of a file."""
    command = [sys.executable, "-c", _KILLED, str(sftp_door.address[1]), PASSWORD]
    clients = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(10)]
    for one in clients:
        assert one.stdout is not None
        assert one.stdout.readline() == b"sent\n"
    assert len(files_below(tmp_path / "spool")) == 50
    for one in clients:
        one.send_signal(signal.SIGKILL)
        one.wait()
        one.stdout.close()  # type: ignore[union-attr]
    wait_for(lambda: events(audited).count("sftp_upload_cut") == 50)
    assert files_below(tmp_path / "spool") == []
    assert ledger.rows == []
    wait_for(lambda: events(audited).count("sftp_session_end") == 50)


def half_sent(door: SftpDoor, path: bytes = b"x.csv") -> tuple[RawClient, bytes]:
    client = RawClient(door)
    handle = client.open(path)
    assert client.status(client.WRITE, handle + struct.pack(">Q", 0) + text(ROWS))[0] == 0
    return client, handle


def end_reset(client: RawClient) -> None:
    client.reset()


def end_channel(client: RawClient) -> None:
    client.writer.close()


def end_of_data(client: RawClient) -> None:
    client.writer.write_eof()


def end_with_nonsense(client: RawClient) -> None:
    client.write(b"\x06")


def end_with_an_endless_packet(client: RawClient) -> None:
    client.writer.write(b"\xff\xff\xff\xff")


def end_politely(client: RawClient) -> None:
    client.connection.disconnect(asyncssh.DISC_BY_APPLICATION, "done")


@pytest.mark.parametrize(
    "end",
    [end_reset, end_channel, end_of_data, end_with_nonsense, end_with_an_endless_packet, end_politely],
    ids=lambda end: end.__name__,
)
@pytest.mark.parametrize("path", [b"x.csv", b"x.csv.part"])
def test_without_a_close_there_is_no_file(
    sftp_door: SftpDoor,
    ledger: MemoryLedger,
    tmp_path: Path,
    audited: list[Any],
    end: Callable[[RawClient], None],
    path: bytes,
) -> None:
    """However the end came: asyncssh closes the file in all of these cases, also where its channel is still open."""
    client, _ = half_sent(sftp_door, path)
    with client:
        end(client)
        if not client.loop.is_closed():
            client.run(asyncio.sleep(0))  # a turn of the client's loop, so that what it has to say goes out
        wait_for(lambda: "sftp_upload_cut" in events(audited))
    assert ledger.rows == []
    assert files_below(tmp_path) == []


def test_a_client_that_leaves_without_waiting_has_sent_its_file(sftp_door: SftpDoor, ledger: MemoryLedger) -> None:
    """It said that the file is closed; the connection is gone before it can be answered."""
    client, handle = half_sent(sftp_door)
    with client:
        client.write(bytes([client.CLOSE]) + struct.pack(">I", 8) + handle)
        client.connection.abort()
        client.run(client.connection.wait_closed())
        wait_for(lambda: ledger.rows)


def test_a_client_killed_after_the_answer_has_sent_its_file(
    sftp_door: SftpDoor, ledger: MemoryLedger, audited: list[Any]
) -> None:
    client, handle = half_sent(sftp_door)
    assert client.status(client.CLOSE, handle)[0] == 0
    client.reset()
    wait_for(lambda: "sftp_session_end" in events(audited))
    assert len(ledger.rows) == 1
    assert "sftp_upload_cut" not in events(audited)


def test_a_client_that_dies_while_its_row_is_written(
    sftp_door: SftpDoor, ledger: MemoryLedger, audited: list[Any]
) -> None:
    """The file had come whole, so it is a delivery; nobody is there to be told."""
    go_on, at_ledger = threading.Event(), threading.Event()

    def hold() -> None:
        at_ledger.set()
        go_on.wait(10)

    ledger.before = hold
    client, handle = half_sent(sftp_door)
    client.write(bytes([client.CLOSE]) + struct.pack(">I", 8) + handle)
    assert at_ledger.wait(10)
    client.reset()
    wait_for(lambda: "sftp_session_end" in events(audited))
    go_on.set()
    wait_for(lambda: "sftp_upload_landed" in events(audited))
    assert len(ledger.rows) == 1


# --- the door


def test_the_door_says_where_it_is_and_who(sftp_door: SftpDoor, audited: list[Any], host_key: asyncssh.SSHKey) -> None:
    opened = only(audited, "sftp_open")
    assert (opened["host"], opened["port"]) == sftp_door.address
    assert opened["fingerprint"] == host_key.get_fingerprint()


def test_no_version_is_told(sftp_door: SftpDoor) -> None:
    """Neither before the login nor after it."""
    with RawClient(sftp_door) as client:
        assert client.connection.get_extra_info("server_version") == "SSH-2.0-ingestd"
        assert b"asyncssh" not in client.greeting.lower()
        assert b"posix-rename@openssh.com" in client.greeting


def test_a_socket_that_somebody_else_has_opened(
    tmp_path: Path, landing: Landing, gate: Gate, audit: Any, audited: list[Any], host_key: asyncssh.SSHKey
) -> None:
    """As systemd does. When there is no descriptor for a connection, that is told, and it is taken later."""
    listening = Scarce()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    options = SftpOptions(host_key=host_key)
    door = SftpDoor(options, landing, gate, tmp_path / "homes", listening=listening, audit=audit)
    door.start()
    assert door.address == listening.getsockname()
    SftpClient(door).close()
    door.stop()
    assert "Too many open files" in only(audited, "sftp_cannot_accept")["reason"]


class Scarce(socket.socket):
    """A listening socket in a process that has no descriptor left, once."""

    refused = False

    def accept(self) -> Any:
        if not self.refused:
            self.refused = True
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def test_an_address_that_is_taken(open_sftp: Callable[..., SftpDoor], sftp_door: SftpDoor) -> None:
    with pytest.raises(OSError, match="in use"):
        open_sftp(port=sftp_door.address[1])


def test_ipv6_and_ipv4_by_one_socket(open_sftp: Callable[..., SftpDoor], ledger: MemoryLedger) -> None:
    """`::`; an address of IPv4 is told as such."""
    door = open_sftp(host="::")
    for host in ("::1", "127.0.0.1"):
        door._address = (host, door.address[1])
        with SftpClient(door) as client:
            client.send(f"{len(ledger.rows)}.csv", ROWS)
    assert [arrival.peer for arrival in ledger.arrivals] == ["::1", "127.0.0.1"]


def test_a_stop_lets_a_transfer_finish(
    open_sftp: Callable[..., SftpDoor], ledger: MemoryLedger, audited: list[Any]
) -> None:
    """Idle sessions end at once; nobody new comes in."""
    door = open_sftp()
    idle, (client, handle) = RawClient(door), half_sent(door)
    stopper = threading.Thread(target=door.stop, args=(30.0,))
    stopper.start()
    wait_for(lambda: "sftp_session_end" in events(audited))
    assert client.status(client.CLOSE, handle)[0] == 0
    stopper.join(10)
    assert not stopper.is_alive()
    assert len(ledger.rows) == 1
    for one in (idle, client):
        one.close()


def test_a_stop_does_not_wait_for_ever(
    open_sftp: Callable[..., SftpDoor], ledger: MemoryLedger, tmp_path: Path
) -> None:
    door = open_sftp()
    client, _ = half_sent(door)
    began = time.monotonic()
    door.stop(within=0.1)
    assert time.monotonic() - began < 5
    client.close()
    assert (ledger.rows, files_below(tmp_path / "spool")) == ([], [])


def test_a_login_that_has_changed_is_sent_away(
    sftp_door: SftpDoor, accounts: InMemoryAccounts, audited: list[Any], tmp_path: Path
) -> None:
    """At once, with what it is sending; others stay."""
    client, _ = half_sent(sftp_door)
    with client, SftpClient(sftp_door, "bravo") as other:
        known = [accounts.find(login) for login in ("acme", "bravo")]
        accounts.replace([replace(each, limit=each.limit - (each.login == "acme")) for each in known if each])
        sftp_door.dismiss_unknown()
        wait_for(lambda: "sftp_upload_cut" in events(audited))
        wait_for(lambda: "sftp_session_end" in events(audited))
        assert other.do("realpath", ".") == b"/"
    assert files_below(tmp_path / "spool") == []


def test_an_idle_session_is_closed(open_sftp: Callable[..., SftpDoor], audited: list[Any], tmp_path: Path) -> None:
    """Also one with a file half sent."""
    client, _ = half_sent(open_sftp(idle_timeout=0.2))
    with client:
        wait_for(lambda: {"sftp_session_end", "sftp_upload_cut"} <= set(events(audited)))
    assert files_below(tmp_path / "spool") == []


def test_the_loop_is_heard_to_beat(open_sftp: Callable[..., SftpDoor], monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[float] = []
    door = open_sftp()
    door._beat = lambda: beats.append(time.monotonic())
    wait_for(lambda: len(beats) >= 3)
    assert max(later - earlier for earlier, later in pairwise(beats)) < 1.0


def test_nothing_is_left_open(sftp_door: SftpDoor, ledger: MemoryLedger) -> None:
    """Descriptors, whatever sessions did."""

    def round_trip() -> None:
        client, handle = half_sent(sftp_door)
        client.ask(client.OPENDIR, text(b"/"))
        client.status(client.CLOSE, handle)
        client.open(b"open.csv")
        client.close()

    round_trip()
    wait_for(lambda: not sftp_door._desk.channels)
    before = open_descriptors()
    for _ in range(5):
        round_trip()
    wait_for(lambda: not sftp_door._desk.channels and not sftp_door._desk.sessions)
    wait_for(lambda: open_descriptors() <= before)
