"""The FTP door, with real clients on loopback: complete or absent, durable before 226, refused in kind."""

from __future__ import annotations

import ftplib
import hashlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ingestd.errors import Rejected
from ingestd.receive.gate import Gate
from ingestd.receive.landing import Landing
from ingestd.spool import Spool
from ingestd.throttle import Throttle, ThrottleRules
from tests.receive.ftp_wire import ROWS, Wire, client, refused, store
from tests.receive.receiving import LIMIT, PASSWORD, MemoryLedger, OpenDoor, SlowPasswords, files_below, wait_for

# --- landing


def test_the_226_says_what_was_kept(door: OpenDoor, ledger: MemoryLedger, spool: Spool) -> None:
    """Number, bytes and hash; and the bytes are in the spool as they were sent."""
    with client(door) as ftp:
        reply = store(ftp, "x.csv")
    sha256 = hashlib.sha256(ROWS).hexdigest()
    assert reply == f"226 delivery 1 received: {len(ROWS)} bytes, sha256 {sha256}"
    ((arrival, landed),) = ledger.rows
    assert spool.read(landed.key) == ROWS
    assert (landed.size, landed.sha256) == (len(ROWS), sha256)
    assert (arrival.source, arrival.login, arrival.peer, arrival.protocol) == ("acme", "acme", "127.0.0.1", "ftp")
    assert arrival.evidence == "tcp fin, control connection alive"


def test_the_row_is_written_before_the_226(door: OpenDoor, ledger: MemoryLedger, wire: Wire) -> None:
    """As long as the ledger takes, the client waits; others do not."""
    go_on = threading.Event()
    ledger.before = lambda: go_on.wait(10) or pytest.fail("nobody let the ledger go on")
    data = wire.data()
    wire.say(b"STOR x.csv")
    data.sendall(ROWS)
    data.close()
    with client(door) as other:
        assert other.sendcmd("NOOP").startswith("200")
    wire.control.settimeout(0.2)
    with pytest.raises(TimeoutError):
        wire.control.recv(1, socket.MSG_PEEK)
    wire.control.settimeout(10)
    go_on.set()
    assert wire.replies.readline().startswith(b"226 delivery 1 ")
    assert len(ledger.rows) == 1


def test_ascii_mode_keeps_the_bytes(door: OpenDoor, ledger: MemoryLedger, spool: Spool) -> None:
    """`TYPE A` is agreed to, and nothing is changed."""
    with client(door) as ftp:
        ftp.sendcmd("TYPE A")
        with ftp.transfercmd("STOR x.csv") as data:
            data.sendall(ROWS)
        ftp.voidresp()
    assert spool.read(ledger.rows[0][1].key) == ROWS


def test_a_duplicate_is_said(door: OpenDoor, tmp_path: Path) -> None:
    """The client learns which delivery has the file."""
    with client(door) as ftp:
        store(ftp, "x.csv")
        assert store(ftp, "x.csv").startswith("226 duplicate of delivery 1: ")
    assert len(files_below(tmp_path / "spool")) == 1


@pytest.mark.parametrize(
    ("path", "folder"),
    [("x.csv", ""), ("/x.csv", ""), ("upload/x.csv", ""), ("/upload/C-1/x.csv", "C-1"), ("../../x.csv", "")],
)
def test_places_a_file_can_be_sent_to(door: OpenDoor, ledger: MemoryLedger, path: str, folder: str) -> None:
    """The root, the upload folder, and a campaign's folder, which need not be there."""
    with client(door) as ftp:
        store(ftp, path)
        assert ftp.nlst("/upload") == []  # it was taken
    assert [(arrival.folder, arrival.name) for arrival in ledger.arrivals] == [(folder, "x.csv")]


@pytest.mark.parametrize(
    "path",
    ["results/x.csv", "/upload/C/D/x.csv", "/../../etc/passwd", "/upload/-C/x.csv", "a\tb.csv", "a\nb", "upload"],
)
def test_places_that_are_refused(door: OpenDoor, tmp_path: Path, ledger: MemoryLedger, path: str) -> None:
    """Read-only, too deep, outside, no campaign's name, control characters; the session goes on."""
    wire = Wire(door).log_in()
    assert wire.say(b"STOR " + path.encode()).startswith(b"550 ")
    assert wire.say(b"NOOP").startswith(b"200")
    wire.close()
    assert ledger.rows == []
    assert files_below(tmp_path) == []


def test_names_in_latin_1_and_utf_8(door: OpenDoor, ledger: MemoryLedger) -> None:
    """Both are kept, as text that a store can keep."""
    wire = Wire(door).log_in()
    for name in (b"\xe9.csv", b"\xe8.csv", "ü.csv".encode()):
        data = wire.data()
        wire.say(b"STOR " + name)
        data.close()
        assert wire.replies.readline().startswith(b"226")
    wire.close()
    assert [arrival.name for arrival in ledger.arrivals] == ["é.csv", "è.csv", "ü.csv"]


def test_curl_sends_a_file(door: OpenDoor, ledger: MemoryLedger, tmp_path: Path) -> None:
    """Through a campaign's folder that it makes itself."""
    (tmp_path / "x.csv").write_bytes(ROWS)
    host, port = door.address
    url = f"ftp://{host}:{port}/upload/C-1/x.csv"
    command = ["curl", "-sS", "-v", "--ftp-create-dirs", "-u", f"acme:{PASSWORD}", "-T", tmp_path / "x.csv", url]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "226 delivery 1 received" in ran.stderr
    assert ledger.arrivals[0].folder == "C-1"


def test_many_clients_at_once(door: OpenDoor, ledger: MemoryLedger, spool: Spool) -> None:
    """Every file lands once, with its own bytes."""
    contents = {f"{number}.csv": b"%d," % number * (1000 * number) for number in range(1, 25)}

    def send(name: str) -> None:
        with client(door) as ftp:
            store(ftp, name, contents[name])

    threads = [threading.Thread(target=send, args=(name,)) for name in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    landed = {arrival.name: spool.read(kept.key) for arrival, kept in ledger.rows}
    assert landed == contents


# --- complete or absent


def test_a_data_connection_that_is_gone_before_it_is_used(wire: Wire, tmp_path: Path) -> None:
    """It is answered at once; pyftpdlib leaves the client waiting."""
    data = wire.data()
    data.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    data.close()
    wait_for(lambda: wire.say(b"STOR x.csv")[:3] in (b"425", b"426") or wire.replies.readline()[:3] == b"426")
    assert wire.say(b"NLST").startswith(b"425")
    assert files_below(tmp_path / "spool") == []


def test_active_data_connections(wire: Wire, ledger: MemoryLedger) -> None:
    """Those that the server opens; and one that it cannot open is said."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        command = b"PORT 127,0,0,1,%d,%d" % divmod(port, 256)
        assert wire.say(command).startswith(b"200")
        data, _ = listening.accept()
        wire.say(b"STOR x.csv")
        data.sendall(ROWS)
        data.close()
        assert wire.replies.readline().startswith(b"226 delivery 1 ")
    assert wire.say(command).startswith(b"425")
    assert wire.say(b"STOR x.csv").startswith(b"425")


def test_a_data_connection_that_never_comes(open_door: Callable[..., OpenDoor], tmp_path: Path) -> None:
    """The client is told, and nothing waits for the next one."""
    wire = Wire(open_door(connect_timeout=0.1)).log_in()
    wire.say(b"EPSV")
    wire.say(b"STOR x.csv")
    assert wire.replies.readline().startswith(b"425")
    wait_for(lambda: files_below(tmp_path / "spool") == [])
    assert wire.say(b"NOOP").startswith(b"200")
    wire.close()


def test_an_aborted_upload_leaves_nothing(wire: Wire, ledger: MemoryLedger, tmp_path: Path) -> None:
    """`ABOR` in the middle of a file."""
    data = wire.data()
    wire.say(b"STOR x.csv")
    data.sendall(ROWS)
    wait_for(lambda: files_below(tmp_path / "spool")[0].stat().st_size == len(ROWS))
    assert wire.say(b"ABOR").startswith(b"426 ")
    assert wire.replies.readline().startswith(b"226 ABOR")
    data.close()
    assert wire.say(b"NOOP").startswith(b"200")
    assert ledger.rows == []
    assert files_below(tmp_path / "spool") == []


def test_an_upload_without_data_connection_leaves_nothing(wire: Wire, ledger: MemoryLedger, tmp_path: Path) -> None:
    """The next data connection does not belong to it."""
    wire.say(b"EPSV")
    assert wire.say(b"STOR never.csv").startswith(b"150")
    data = wire.data()
    assert files_below(tmp_path / "spool") == []
    wire.say(b"STOR x.csv")
    data.close()
    assert wire.replies.readline().startswith(b"226 delivery 1 ")
    assert [arrival.name for arrival in ledger.arrivals] == ["x.csv"]


def test_commands_sent_ahead_are_answered_in_order(wire: Wire) -> None:
    """Also `QUIT`, which does not cut the file that came before it."""
    data = wire.data()
    wire.control.sendall(b"STOR x.csv\r\n")
    data.sendall(ROWS)
    data.close()
    wire.replies.readline()
    wire.control.sendall(b"TYPE I\r\nPWD\r\nQUIT\r\n")
    assert [line[:3] for line in wire.replies.readlines()] == [b"226", b"200", b"257", b"221"]


def test_commands_behind_a_port_are_answered_after_it(wire: Wire, ledger: MemoryLedger) -> None:
    """pyftpdlib answers PORT when the connection is there, and others meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        high, low = divmod(listening.getsockname()[1], 256)
        wire.control.sendall(b"PORT 127,0,0,1,%d,%d\r\nPWD\r\nSTOR x.csv\r\n" % (high, low))
        data, _ = listening.accept()
    assert [wire.reply()[:3] for _ in range(3)] == [b"200", b"257", b"125"]
    data.close()
    assert wire.reply().startswith(b"226")
    wire.control.sendall(b"PORT 127,0,0,1,%d,%d\r\nPWD\r\n" % (high, low))
    assert [wire.reply()[:3] for _ in range(2)] == [b"425", b"257"]


def test_a_client_that_leaves_without_waiting_has_sent_its_file(wire: Wire, ledger: MemoryLedger) -> None:
    """It said `QUIT`; a killed one cannot."""
    data = wire.data()
    wire.say(b"STOR x.csv")
    wire.control.sendall(b"QUIT\r\n")
    data.sendall(ROWS)
    wire.close()
    data.close()
    wait_for(lambda: ledger.rows)


def test_a_dead_session_is_dropped_while_its_row_is_written(
    door: OpenDoor, ledger: MemoryLedger, audited: list[Any]
) -> None:
    """The file had come whole, so it is a delivery; nobody is there to be told."""
    go_on, at_ledger = threading.Event(), threading.Event()

    def hold() -> None:
        at_ledger.set()
        go_on.wait(10)

    ledger.before = hold
    wire = Wire(door).log_in()
    data = wire.data()
    wire.say(b"STOR x.csv")
    data.close()
    assert at_ledger.wait(10)
    wire.close()
    go_on.set()
    wait_for(lambda: any(line["event"] == "ftp_upload_landed" for line in audited))
    assert len(ledger.rows) == 1


# --- refusals


def test_allo_refuses_up_front(wire: Wire) -> None:
    """When the client says how large the file is."""
    assert wire.say(b"ALLO %d" % LIMIT).startswith(b"200")
    assert wire.say(b"ALLO %d R 10" % (LIMIT + 1)).startswith(b"552")
    assert wire.say(b"ALLO many").startswith(b"501")


def test_a_full_disk_is_452(wire: Wire, spool: Spool, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a transfer, and in its middle; the session can go on."""
    monkeypatch.setattr(spool, "_reserve", 2**62)
    assert wire.say(b"STOR x.csv").startswith(b"452")
    assert wire.say(b"ALLO 10").startswith(b"452")
    monkeypatch.setattr(spool, "_reserve", 0)
    data = wire.data()
    wire.say(b"STOR x.csv")
    monkeypatch.setattr("ingestd.spool._LOOK_EVERY", 0)
    monkeypatch.setattr(os, "write", _no_space(os.write))
    data.sendall(ROWS)
    assert wire.replies.readline().startswith(b"452")
    data.close()
    monkeypatch.undo()
    assert wire.say(b"NOOP").startswith(b"200")
    assert ledger.rows == []


def _no_space(write: Callable[[int, Any], int]) -> Callable[[int, Any], int]:
    def refuse(descriptor: int, chunk: Any) -> int:
        if threading.current_thread().name == "ftp":
            raise OSError(28, "No space left on device")
        return write(descriptor, chunk)

    return refuse


def test_a_store_that_is_away_is_451(door: OpenDoor, ledger: MemoryLedger, tmp_path: Path) -> None:
    """Nothing is kept, and when it is back the same session can send again."""
    ledger.away = True
    with client(door) as ftp:
        with pytest.raises(ftplib.error_temp, match="451"):
            store(ftp, "x.csv")
        assert files_below(tmp_path / "spool") == []
        ledger.away = False
        assert store(ftp, "x.csv").startswith("226 delivery 1 ")


def test_a_file_that_is_refused_for_good_is_550(
    door: OpenDoor, landing: Landing, audited: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason, for an upload and for a rename; that is no bug of ours."""

    def refuse(*_: object) -> None:
        raise Rejected("digest_mismatch", "the companion says another SHA-256\nthan the file has")

    monkeypatch.setattr(landing, "accept", refuse)
    told = "550 the companion says another SHA-256?than the file has."
    with client(door) as ftp:
        with pytest.raises(ftplib.error_perm) as caught:
            store(ftp, "x.csv")
        assert str(caught.value) == told
        store(ftp, "x.part")
        ftp.sendcmd("RNFR x.part")
        assert refused(ftp, "RNTO x.csv") == told
    assert not [line for line in audited if line["event"] == "ftp_upload_fault"]


def test_what_is_not_offered(door: OpenDoor) -> None:
    """Appending, continuing, unique names and changing modes."""
    with client(door) as ftp:
        for command in ("APPE x.csv", "STOU", "SITE CHMOD 777 upload", "MFMT 20260101000000 x"):
            assert refused(ftp, command).startswith("500")
        ftp.sendcmd("REST 10")
        assert refused(ftp, "STOR x.csv").startswith("554")
        assert "STOU" not in ftp.sendcmd("HELP")


def test_bounces_are_refused(wire: Wire) -> None:
    """Data goes to the client's own address only."""
    assert wire.say(b"PORT 10,0,0,1,200,10").startswith(b"501")
    assert wire.say(b"PORT 127,0,0,1,0,22").startswith(b"501")


def test_an_exhausted_range_of_ports_is_425(open_door: Callable[..., OpenDoor]) -> None:
    """pyftpdlib would take a port outside the range, which no firewall lets through."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        wire = Wire(open_door(passive_ports=range(port, port + 1))).log_in()
        assert wire.say(b"EPSV").startswith(b"425")
        assert wire.say(b"PASV").startswith(b"425")
    assert wire.say(b"EPSV").endswith(b"(|||%d|)." % port)
    wire.close()


# --- parked files


def test_renaming_to_a_final_name_lands_the_file(door: OpenDoor, ledger: MemoryLedger, tmp_path: Path) -> None:
    """Until then it lies in the home and is no delivery."""
    with client(door) as ftp:
        assert store(ftp, "upload/x.csv.part").startswith("226 kept until it is renamed")
        assert (ftp.nlst("upload"), ftp.size("upload/x.csv.part")) == (["x.csv.part"], len(ROWS))
        assert ledger.rows == []
        assert ftp.rename("upload/x.csv.part", "upload/x.csv.tmp").startswith("250 ")
        assert ftp.rename("upload/x.csv.tmp", "upload/C-1/x.csv").startswith("250 delivery 1 received: ")
        assert ftp.nlst("upload") == []
    assert [(arrival.name, arrival.folder) for arrival in ledger.arrivals] == [("x.csv", "C-1")]
    assert files_below(tmp_path / "homes") == []


def test_a_rename_that_could_not_be_recorded_can_be_repeated(door: OpenDoor, ledger: MemoryLedger) -> None:
    """The parked file stays until the receipt is there."""
    with client(door) as ftp:
        store(ftp, ".x.csv")
        ledger.away = True
        with pytest.raises(ftplib.error_temp, match="451"):
            ftp.rename(".x.csv", "x.csv")
        ledger.away = False
        assert ftp.rename(".x.csv", "x.csv").startswith("250 delivery 1 ")


def test_parked_files_can_be_removed(door: OpenDoor, tmp_path: Path) -> None:
    """And folders of campaigns made and removed, one level deep."""
    with client(door) as ftp:
        store(ftp, "x.part")
        ftp.delete("x.part")
        ftp.mkd("upload/C-1")
        ftp.cwd("upload/C-1")
        assert ftp.pwd() == "/upload/C-1"
        for command in ("MKD deeper", "MKD /C-2", "MKD /results/x", "RMD /results", "RMD /upload", "DELE nothing"):
            assert refused(ftp, command).startswith("550")
        ftp.cwd("/")
        ftp.rmd("upload/C-1")
    assert files_below(tmp_path / "homes") == []


# --- results


def test_results_can_be_read_and_not_written(door: OpenDoor, ledger: MemoryLedger) -> None:
    """Hidden names are those that are being written."""
    with client(door) as ftp:
        results = door.homes / "acme" / "results"
        (results / "x.csv.receipt.json").write_bytes(b"{}\n")
        (results / ".being-written.tmp").write_bytes(b"")
        (results / "outside").symlink_to("/etc/passwd")
        assert ftp.nlst("results") == ["x.csv.receipt.json"]
        assert [name for name, _ in ftp.mlsd("results")] == ["x.csv.receipt.json"]
        kept: list[bytes] = []
        ftp.retrbinary("RETR results/x.csv.receipt.json", kept.append)
        assert kept == [b"{}\n"]
        for command in (
            "STOR results/x",
            "DELE results/x.csv.receipt.json",
            "RNFR results/x.csv.receipt.json",
            "RETR results/outside",
            "RETR results",
            "RETR ../../bravo/results/x",
        ):
            assert refused(ftp, command).startswith("550")
    assert ledger.rows == []


def test_sources_do_not_see_each_other(door: OpenDoor) -> None:
    """Two logins of one source do."""
    with client(door, "acme") as ftp, client(door, "acme2") as same, client(door, "bravo") as other:
        store(ftp, "x.part")
        assert "x.part" in same.nlst("/")
        assert "x.part" not in other.nlst("/")


# --- logins and sessions


@pytest.mark.parametrize("login", ["closed", "elsewhere"])
def test_a_login_that_is_not_open_for_this_door_is_refused(door: OpenDoor, login: str) -> None:
    """Also with the right password: it is disabled, or for other protocols."""
    with pytest.raises(ftplib.error_perm, match="530"):
        client(door, login)


def test_wrong_logins_are_530(door: OpenDoor, audited: list[Any]) -> None:
    """Unknown and known alike; after three the session ends, and no password is in the audit."""
    wire = Wire(door)
    for login in (b"acme", b"nobody"):
        wire.say(b"USER " + login)
        assert wire.say(b"PASS s3cret") == b"530 Authentication failed."
    assert wire.say(b"STOR x.csv").startswith(b"530")
    wire.say(b"USER acme")
    assert wire.say(b"PASS s3cret") == b"530 Authentication failed. Disconnecting."
    assert wire.replies.readline() == b""
    wire.close()
    assert [line["login"] for line in audited if line["event"] == "ftp_login_refused"] == ["acme", "nobody", "acme"]
    assert "s3cret" not in repr(audited)


def test_mistyped_commands_do_not_show_passwords(wire: Wire, audited: list[Any]) -> None:
    """`PAS secret` is an unknown command with a password behind it."""
    wire.say(b"PAS s3cret")
    wire.say(b"s3cret")
    wire.say(b"PASS s3cret")
    wait_for(lambda: [line["event"] for line in audited].count("ftp_command_refused") == 3)
    assert "s3cret" not in repr(audited).casefold()


def test_a_login_does_not_hold_up_others(open_door: Callable[..., OpenDoor], gate: Gate) -> None:
    """The hash is made in a thread; and what the client sends meanwhile is answered after it."""
    passwords = SlowPasswords()
    door = open_door(gate=replace(gate, passwords=passwords))
    slow, other = Wire(door), Wire(door)
    slow.say(b"USER acme")
    slow.control.sendall(b"PASS " + PASSWORD.encode() + b"\r\nUSER bravo\r\nPWD\r\n")
    assert other.say(b"NOOP").startswith(b"200")
    passwords.go_on.set()
    assert [slow.replies.readline()[:3] for _ in range(3)] == [b"230", b"331", b"530"]
    slow.close()
    other.close()


def test_too_many_commands_ahead_end_the_session(open_door: Callable[..., OpenDoor], gate: Gate) -> None:
    """The queue of a session is short."""
    passwords = SlowPasswords()
    wire = Wire(open_door(gate=replace(gate, passwords=passwords)))
    wire.say(b"USER acme")
    wire.control.sendall(b"PASS x\r\n" + b"NOOP\r\n" * 100)
    assert wire.replies.readline().startswith(b"421")
    passwords.go_on.set()
    wire.close()


def test_sessions_are_limited(open_door: Callable[..., OpenDoor], gate: Gate) -> None:
    """In all, and from one address; data connections do not count."""
    two = replace(gate, throttle=Throttle(ThrottleRules(max_per_address=2)))
    for options in ({"max_connections": 2}, {"gate": two}):
        door = open_door(**options)
        first, second = client(door), client(door)
        with pytest.raises(ftplib.error_temp, match="421"):
            client(door)
        store(second, "x.csv", str(options).encode())
        first.quit()
        wait_for(lambda door=door: len(door.door._desk.sessions) == 1)
        client(door).close()
        second.close()


def test_idle_sessions_end(open_door: Callable[..., OpenDoor]) -> None:
    """After so many seconds without a command."""
    wire = Wire(open_door(idle_timeout=0.2)).log_in()
    assert wire.replies.readline().startswith(b"421")
    wire.close()


def test_sessions_without_a_login_end(open_door: Callable[..., OpenDoor]) -> None:
    """Sooner than others, and also when they keep talking; those that are in stay."""
    door = open_door(login_timeout=0.3)
    stranger, partner = Wire(door), Wire(door).log_in()
    while (answer := stranger.say(b"NOOP")).startswith(b"200"):
        time.sleep(0.02)
    assert answer == b"421 You did not log in in time."
    assert partner.say(b"NOOP").startswith(b"200")
    stranger.close()
    partner.close()


def test_stalled_transfers_are_given_up(
    open_door: Callable[..., OpenDoor], ledger: MemoryLedger, tmp_path: Path
) -> None:
    """After so many seconds without a byte; the session goes on."""
    wire = Wire(open_door(transfer_timeout=0.2)).log_in()
    data = wire.data()
    wire.say(b"STOR x.csv")
    data.sendall(ROWS)
    assert wire.replies.readline().startswith(b"426 no byte came or went for 0.2 seconds")
    data.close()
    assert wire.say(b"NOOP").startswith(b"200")
    wire.close()
    assert files_below(tmp_path / "spool") == []
    assert ledger.rows == []


def test_a_file_that_is_being_kept_is_not_given_up(open_door: Callable[..., OpenDoor], ledger: MemoryLedger) -> None:
    """However long the ledger takes: a 426 would be a lie, for the delivery comes."""
    go_on = threading.Event()
    ledger.before = lambda: go_on.wait(10) or pytest.fail("nobody let the ledger go on")
    wire = Wire(open_door(transfer_timeout=0.1)).log_in()
    data = wire.data()
    wire.say(b"STOR x.csv")
    data.close()
    wire.control.settimeout(0.5)
    with pytest.raises(TimeoutError):
        wire.control.recv(1, socket.MSG_PEEK)
    wire.control.settimeout(10)
    go_on.set()
    assert wire.replies.readline().startswith(b"226 delivery 1 ")
    wire.close()


def test_two_doors_have_their_own_settings(open_door: Callable[..., OpenDoor]) -> None:
    """Nothing is kept in classes that both use."""
    one, two = open_door(banner="one"), open_door(banner="two")
    for door, banner in ((one, b"220 one\r\n"), (two, b"220 two\r\n")):
        with socket.create_connection(door.address, timeout=10) as control:
            assert control.recv(100) == banner


def test_a_taken_port_is_said_at_start(open_door: Callable[..., OpenDoor]) -> None:
    """In the thread that opens the door."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        open_door(port=taken.getsockname()[1])


def test_stopping_lets_a_transfer_finish(open_door: Callable[..., OpenDoor], ledger: MemoryLedger) -> None:
    """Idle sessions are told to go; the one that sends gets its 226."""
    door = open_door()
    idle, sending = Wire(door).log_in(), Wire(door).log_in()
    data = sending.data()
    sending.say(b"STOR x.csv")
    data.sendall(ROWS)
    stopping = threading.Thread(target=door.door.stop)
    stopping.start()
    assert idle.replies.readline().startswith(b"421")
    data.sendall(ROWS)
    data.close()
    assert sending.replies.readline().startswith(b"226 delivery 1 ")
    assert sending.replies.readline().startswith(b"421")
    stopping.join()
    idle.close()
    sending.close()
    assert ledger.rows[0][1].size == 2 * len(ROWS)


def test_everything_is_audited(door: OpenDoor, audited: list[Any]) -> None:
    """Session, login, every command with its answer, uploads: who, from where, what came of it."""
    with client(door) as ftp:
        store(ftp, "y.part")
        ftp.rename("y.part", "y.csv")
        refused(ftp, "STOR results/x")
        ftp.quit()
    wait_for(lambda: audited[-1]["event"] == "ftp_session_end")
    told = [(line["event"].removeprefix("ftp_"), line.get("command"), line.get("code")) for line in audited]
    told = [(event, command, 150 if code == 125 else code) for event, command, code in told]
    assert told == [
        ("open", None, None),
        ("session", None, None),
        ("command", "USER", 331),
        ("login", None, None),
        ("command", "PASS", 230),
        ("command", "TYPE", 200),
        ("command", "PASV", 227),
        ("command", "STOR", 150),
        ("upload_parked", None, None),
        ("command", "RNFR", 350),
        ("upload_landed", None, None),
        ("command", "RNTO", 250),
        ("command_refused", "STOR", 550),
        ("command", "QUIT", 221),
        ("session_end", None, None),
    ]
    assert all(line["source"] == "acme" and line["peer"] == "127.0.0.1" for line in audited[3:])
    assert audited[-1]["received"] == len(ROWS)
    assert audited[-4]["argument"] == "/y.csv"
    assert {line["argument"] for line in audited if line.get("command") in ("USER", "PASS")} == {"***"}
    assert PASSWORD not in repr(audited)


def test_a_fault_in_the_landing_is_451_and_told(
    door: OpenDoor, landing: Landing, audited: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug costs one file, not the door."""

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(landing, "accept", fail)
    with client(door) as ftp:
        with pytest.raises(ftplib.error_temp, match="451"):
            store(ftp, "x.csv")
        assert ftp.sendcmd("NOOP").startswith("200")
    assert "ftp_upload_fault" in [line["event"] for line in audited]
