"""Complete or absent, by FTP and FTPS: whatever cuts an upload, nothing of it is delivered, and nothing is left."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingestd.model import Completeness
from ingestd.receive.gate import Gate
from ingestd.receive.landing import Landing
from ingestd.spool import Spool
from tests.receive.ftp_wire import ROWS, Wire, end, reset, trusting
from tests.receive.receiving import PASSWORD, MemoryLedger, OpenDoor, Rings, files_below, wait_for

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["plain", "tls"])
def either(request: pytest.FixtureRequest, open_door: Callable[..., OpenDoor]) -> Iterator[Wire]:
    """A session that is logged in, in the clear or protected."""
    wire = Wire(open_door(tls="offered"))
    if request.param == "tls":
        wire.protect()
    yield wire.log_in()
    wire.close()


@pytest.fixture
def secure(open_door: Callable[..., OpenDoor]) -> Iterator[Wire]:
    """A protected session."""
    wire = Wire(open_door(tls="required")).protect().log_in()
    yield wire
    wire.close()


def nothing(ledger: MemoryLedger, tmp_path: Path) -> bool:
    return not ledger.rows and files_below(tmp_path / "spool") == []


# --- what proves


def test_a_close_notify_proves(secure: Wire, ledger: MemoryLedger, audited: list[Any]) -> None:
    """Nobody but the client could have sent it; the log says so too."""
    assert secure.store(b"x.csv").startswith(b"226 delivery 1 ")
    (arrival,) = ledger.arrivals
    assert (arrival.protocol, arrival.completeness, arrival.evidence) == (
        "ftps", Completeness.PROVEN, "tls close_notify",
    )  # fmt: skip
    (told,) = [line for line in audited if line["event"] == "ftp_upload_landed"]
    assert (told["completeness"], told["evidence"]) == ("proven", "tls close_notify")


def test_a_tcp_fin_proves_nothing(wire: Wire, ledger: MemoryLedger) -> None:
    """It is taken for the end while the control connection lives."""
    assert wire.store(b"x.csv").startswith(b"226 delivery 1 ")
    (arrival,) = ledger.arrivals
    assert (arrival.protocol, arrival.completeness) == ("ftp", Completeness.ASSUMED)
    assert arrival.evidence == "tcp fin, control connection alive"


def test_an_announced_size_proves(wire: Wire, ledger: MemoryLedger) -> None:
    """For the next file only, and only when it is met; more bytes than were announced say nothing."""
    for name, announced in ((b"met.csv", len(ROWS)), (b"more.csv", len(ROWS) - 1), (b"next.csv", None)):
        if announced is not None:
            wire.say(b"ALLO %d" % announced)
        assert wire.store(name).startswith(b"226 ")
    found = [(arrival.name, arrival.completeness.value, arrival.evidence) for arrival in ledger.arrivals]
    assert found == [
        ("met.csv", "proven", "size announced by ALLO"),
        ("more.csv", "assumed", "tcp fin, control connection alive"),
        ("next.csv", "assumed", "tcp fin, control connection alive"),
    ]


def test_fewer_bytes_than_announced_are_refused(either: Wire, ledger: MemoryLedger, tmp_path: Path) -> None:
    """With both numbers; also over TLS, whose client can be cut off from its own disk."""
    either.say(b"ALLO %d" % (len(ROWS) + 1))
    told = b"426 %d of %d announced bytes came; nothing was kept." % (len(ROWS), len(ROWS) + 1)
    assert either.store(b"x.csv") == told
    assert nothing(ledger, tmp_path)
    assert either.store(b"x.csv").startswith(b"226 "), "the announcement was for the file before"


def test_a_store_that_failed_uses_the_announcement_up(wire: Wire, ledger: MemoryLedger) -> None:
    """It was meant for that file."""
    wire.say(b"ALLO 1000")
    assert wire.say(b"STOR results/x.csv").startswith(b"550")
    assert wire.store(b"x.csv").startswith(b"226 ")
    wire.say(b"ALLO 1000")
    assert wire.say(b"ALLO nonsense").startswith(b"501")
    assert wire.store(b"y.csv").startswith(b"226 ")
    assert {arrival.completeness for arrival in ledger.arrivals} == {Completeness.ASSUMED}


def test_an_announced_size_stands_in_for_a_close_notify(secure: Wire, ledger: MemoryLedger) -> None:
    """Some clients send none; then the size can prove their files."""
    secure.say(b"ALLO %d" % len(ROWS))
    data = secure.begin(b"STOR x.csv")
    data.sendall(ROWS)
    data.close()
    assert secure.reply().startswith(b"226 delivery 1 ")
    assert ledger.arrivals[0].evidence == "size announced by ALLO"


def test_a_rename_is_proven_when_the_upload_was(secure: Wire, ledger: MemoryLedger) -> None:
    """In the same session, through several names."""
    assert secure.store(b"x.part").startswith(b"226 kept until it is renamed")
    for name in (b"x.part", b"x.tmp"):
        assert secure.say(b"RNFR " + name).startswith(b"350")
        secure.say(b"RNTO x.tmp" if name == b"x.part" else b"RNTO x.csv")
    assert ledger.arrivals[0].completeness is Completeness.PROVEN
    assert ledger.arrivals[0].evidence == "tls close_notify, renamed"


def test_a_rename_of_what_another_session_parked_since_is_assumed(
    open_door: Callable[..., OpenDoor], ledger: MemoryLedger
) -> None:
    """The proof was for other bytes."""
    door = open_door(tls="offered")
    proven, other = Wire(door).protect().log_in(), Wire(door).log_in()
    proven.store(b"x.part")
    other.store(b"x.part", b"other\n")
    proven.say(b"RNFR x.part")
    assert proven.say(b"RNTO x.csv").startswith(b"250 delivery 1 ")
    assert (ledger.arrivals[0].completeness, ledger.rows[0][1].size) == (Completeness.ASSUMED, 6)
    proven.close()
    other.close()


# --- what cuts


@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_killed_clients_leave_nothing(
    open_door: Callable[..., OpenDoor], ledger: MemoryLedger, tmp_path: Path, audited: list[Any], kind: str
) -> None:
    """Fifty are killed in the middle of a file; to a plain data connection that looks like a proper end."""
    door = open_door(tls="offered")
    command = [sys.executable, "-m", "tests.receive.killed_clients", str(door.address[1]), PASSWORD, "50", kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as clients:
        assert clients.stdout is not None
        processes = [int(number) for number in clients.stdout.readline().split()]
        assert len(processes) == 50
        for process in processes:
            os.kill(process, signal.SIGKILL)
    wait_for(lambda: [line["event"] for line in audited].count("ftp_upload_cut") == 50)
    wait_for(lambda: nothing(ledger, tmp_path))
    wait_for(lambda: not door.door._desk.sessions)


def test_a_reset_data_connection_leaves_nothing(either: Wire, ledger: MemoryLedger, tmp_path: Path) -> None:
    """It is answered, and the session goes on."""
    data = either.begin(b"STOR x.csv")
    data.sendall(ROWS)
    reset(data)
    assert either.reply().startswith(b"426 ")
    assert nothing(ledger, tmp_path)
    assert either.store(b"x.csv").startswith(b"226 delivery 1 ")


def test_a_control_connection_that_ends_first_takes_the_file_with_it(
    either: Wire, ledger: MemoryLedger, tmp_path: Path, audited: list[Any]
) -> None:
    """However properly the data ends afterwards."""
    data = either.begin(b"STOR x.csv")
    data.sendall(ROWS)
    either.close()
    wait_for(lambda: any(line["event"] == "ftp_upload_cut" for line in audited))
    end(data)
    wait_for(lambda: nothing(ledger, tmp_path))


def test_a_fin_without_close_notify_leaves_nothing(secure: Wire, ledger: MemoryLedger, tmp_path: Path) -> None:
    """Anybody on the way can send a FIN."""
    data = secure.begin(b"STOR x.csv")
    data.sendall(ROWS)
    data.close()
    assert secure.reply() == b"426 the data connection ended without a TLS close_notify; nothing was kept."
    assert nothing(ledger, tmp_path)
    assert secure.store(b"x.csv").startswith(b"226 delivery 1 ")


def test_a_client_that_goes_in_the_handshake_leaves_nothing(secure: Wire, ledger: MemoryLedger, tmp_path: Path) -> None:
    """It is answered; pyftpdlib leaves the other end waiting."""
    data = secure.data()
    secure.say(b"STOR x.csv")
    data.close()
    assert secure.reply().startswith(b"426 ")
    assert nothing(ledger, tmp_path)
    assert secure.store(b"x.csv").startswith(b"226 ")


def test_what_is_no_tls_leaves_nothing(secure: Wire, ledger: MemoryLedger, tmp_path: Path, audited: list[Any]) -> None:
    """Neither instead of the handshake nor in the middle; that is the client's fault and no bug."""
    data = secure.data()
    secure.say(b"STOR x.csv")
    data.sendall(ROWS)
    assert secure.reply().startswith(b"522 ")
    data.close()
    data = secure.begin(b"STOR x.csv")
    data.sendall(ROWS)
    os.write(data.fileno(), b"\x17\x03\x03\x00\x20" + b"?" * 32)  # a record that cannot be deciphered
    assert secure.reply().startswith(b"426 ")
    data.close()
    assert nothing(ledger, tmp_path)
    assert not [line for line in audited if line["event"] in ("ftp_fault", "ftp_upload_fault")]
    assert secure.store(b"x.csv").startswith(b"226 ")


def test_a_client_that_insists_on_tls_1_3_for_data_is_refused(
    secure: Wire, ledger: MemoryLedger, tmp_path: Path
) -> None:
    """Not cut off (RECEIVING.md: 8 of 8 files were, when 1.3 was offered)."""
    data = secure.data()
    secure.say(b"STOR x.csv")
    with pytest.raises(ssl.SSLError):
        trusting(oldest=ssl.TLSVersion.TLSv1_3).wrap_socket(data)
    data.close()
    assert secure.reply().startswith(b"522 no agreement on TLS")
    assert nothing(ledger, tmp_path)
    assert secure.store(b"x.csv").startswith(b"226 ")


def test_data_speaks_tls_1_2(secure: Wire) -> None:
    """Also with a client that could do better."""
    with secure.begin(b"STOR x.csv") as data:
        assert isinstance(data, ssl.SSLSocket)
        assert data.version() == "TLSv1.2"


# --- what does not fit


def test_a_file_over_the_limit_is_552(either: Wire, ledger: MemoryLedger, tmp_path: Path) -> None:
    """While it arrives; the session can go on and send a smaller one."""
    data = either.begin(b"STOR big.csv")
    with pytest.raises(OSError):  # noqa: PT011 - RST, EPIPE or a TLS end, as it comes
        data.sendall(b"x" * 40_000_000)
    data.close()
    assert either.reply() == b"552 the file is larger than 1000000 bytes; nothing was kept."
    assert nothing(ledger, tmp_path)
    assert either.store(b"small.csv").startswith(b"226 delivery 1 ")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_a_full_disk_is_452(
    open_door: Callable[..., OpenDoor], ledger: MemoryLedger, gate: Gate, small_disk: Path, kind: str
) -> None:
    """A real one. The part that came is gone, and a file that fits lands in the same session."""
    landing = Landing(Spool(small_disk / "spool", reserve_bytes=0), ledger, Rings())
    wire = Wire(open_door(tls="offered", landing=landing))
    if kind == "tls":
        wire.protect()
    wire.log_in()
    data = wire.begin(b"STOR big.csv")
    with pytest.raises(OSError):  # noqa: PT011 - RST, EPIPE or a TLS end, as it comes
        data.sendall(b"x" * 40_000_000)
    data.close()
    assert wire.reply() == b"452 there is no room for the file now; nothing was kept, send it again later."
    assert files_below(small_disk) == []
    assert wire.store(b"small.csv").startswith(b"226 delivery 1 ")
    wire.close()


def test_a_stalled_transfer_is_given_up_over_tls(open_door: Callable[..., OpenDoor], tmp_path: Path) -> None:
    """As in the clear."""
    wire = Wire(open_door(tls="required", transfer_timeout=0.3)).protect().log_in()
    data = wire.begin(b"STOR x.csv")
    data.sendall(ROWS)
    assert wire.reply().startswith(b"426 no byte came or went for 0.3 seconds")
    assert files_below(tmp_path / "spool") == []
    data.close()
    wire.close()


def test_a_store_that_is_away_is_451_over_tls(secure: Wire, ledger: MemoryLedger, tmp_path: Path) -> None:
    """As in the clear."""
    ledger.away = True
    assert secure.store(b"x.csv").startswith(b"451")
    assert nothing(ledger, tmp_path)
    ledger.away = False
    assert secure.store(b"x.csv").startswith(b"226 delivery 1 ")


def test_an_unfinished_download_is_said(open_door: Callable[..., OpenDoor]) -> None:
    """The client that hangs up gets 426, and one that waits gets a close_notify."""
    door = open_door(tls="required")
    wire = Wire(door).protect().log_in()
    results = door.homes / "acme" / "results"
    (results / "big.csv").write_bytes(b"x" * 20_000_000)
    data = wire.begin(b"RETR results/big.csv")
    assert data.recv(10) == b"x" * 10
    reset(data)
    assert wire.reply().startswith(b"426 ")
    data = wire.begin(b"RETR results/big.csv")
    count = 0
    while chunk := data.recv(1 << 20):  # an end without close_notify raises
        count += len(chunk)
    assert count == 20_000_000
    assert isinstance(data, ssl.SSLSocket)
    data.close()
    assert wire.reply().startswith(b"226 ")
    wire.close()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_socket_that_is_no_longer_needed_is_closed(secure: Wire) -> None:
    """Sessions leak no descriptors: after an upload there is one connection, the control."""
    before = descriptors()
    for number in range(20):
        assert secure.store(b"%d.csv" % number).startswith(b"226")
    wait_for(lambda: descriptors() <= before)
