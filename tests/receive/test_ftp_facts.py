"""SIZE, MDTM, MLST and hashes: of results and parked files from the disk, of what has landed from the ledger."""

from __future__ import annotations

import ftplib
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.receive.ftp_wire import ROWS, Wire, client, refused, store
from tests.receive.receiving import MemoryLedger, OpenDoor, files_below

SHA256, MD5 = hashlib.sha256(ROWS).hexdigest(), hashlib.md5(ROWS).hexdigest()


@pytest.fixture
def ftp(door: OpenDoor) -> ftplib.FTP:
    opened = client(door)
    yield opened  # type: ignore[misc]
    opened.close()


@pytest.mark.parametrize("name", ["x.csv", "upload/x.csv", "/upload/../upload/x.csv"])
def test_what_has_landed_is_known_by_the_name_it_was_sent_with(ftp: ftplib.FTP, name: str) -> None:
    """Though it is not in the folder any more."""
    store(ftp, "upload/x.csv")
    assert ftp.nlst("upload") == []
    assert ftp.size(name) == len(ROWS)
    assert ftp.sendcmd(f"MDTM {name}") == "213 20260131123015"
    assert ftp.sendcmd(f"HASH {name}").split()[:4] == ["213", "SHA-256", f"0-{len(ROWS) - 1}", SHA256]
    assert ftp.sendcmd(f"XSHA256 {name}") == f"250 {SHA256}"
    assert ftp.sendcmd(f"XMD5 {name}") == f"250 {MD5}"
    _, facts, last = ftp.sendcmd(f"MLST {name}").split("\n")
    assert facts.startswith(f" type=file;size={len(ROWS)};modify=20260131123015;perm=; /")
    assert last == "250 End MLST."


def test_the_folder_belongs_to_the_name(ftp: ftplib.FTP) -> None:
    """A file in a campaign's folder is another one."""
    store(ftp, "upload/C-1/x.csv")
    assert ftp.size("upload/C-1/x.csv") == len(ROWS)
    for name in ("x.csv", "upload/C-2/x.csv", "upload/y.csv"):
        assert refused(ftp, f"SIZE {name}") == "550 No such file."


def test_other_sources_do_not_see_it(door: OpenDoor, ftp: ftplib.FTP) -> None:
    """Names are of one source."""
    store(ftp, "x.csv")
    with client(door, "bravo") as other:
        assert refused(other, "SIZE x.csv") == "550 No such file."


def test_the_last_version_counts(ftp: ftplib.FTP) -> None:
    """Also when it is a duplicate of an earlier one, whose bytes are looked at then."""
    store(ftp, "x.csv")
    store(ftp, "x.csv", b"other\n")
    assert ftp.size("x.csv") == 6
    store(ftp, "x.csv")
    assert ftp.size("x.csv") == len(ROWS)
    assert ftp.sendcmd("XMD5 x.csv") == f"250 {MD5}"


def test_parked_files_and_results_are_looked_at_on_the_disk(door: OpenDoor, ftp: ftplib.FTP) -> None:
    """With their own times."""
    store(ftp, "x.part")
    result = door.homes / "acme" / "results" / "x.csv.log.csv"
    result.write_bytes(ROWS)
    os.utime(result, (0, 1_000_000_000))
    for name in ("x.part", "results/x.csv.log.csv"):
        assert ftp.size(name) == len(ROWS)
        assert ftp.sendcmd(f"HASH {name}").split()[3] == SHA256
        assert ftp.sendcmd(f"XMD5 {name}") == f"250 {MD5}"
        assert f"size={len(ROWS)};" in ftp.sendcmd(f"MLST {name}")
    assert ftp.sendcmd("MDTM results/x.csv.log.csv") == "213 20010909014640"
    listed = dict(ftp.mlsd("results"))
    assert listed["x.csv.log.csv"]["size"] == str(len(ROWS))
    assert listed["x.csv.log.csv"]["modify"] == "20010909014640"


def test_the_algorithm_can_be_chosen(ftp: ftplib.FTP) -> None:
    """And FEAT shows which one is."""
    store(ftp, "x.csv")
    assert " HASH SHA-256*;MD5" in ftp.sendcmd("FEAT")
    assert ftp.sendcmd("OPTS HASH") == "200 SHA-256"
    assert ftp.sendcmd("OPTS HASH md5") == "200 MD5"
    assert " HASH SHA-256;MD5*" in ftp.sendcmd("FEAT")
    assert ftp.sendcmd("HASH x.csv").split()[1:4] == ["MD5", f"0-{len(ROWS) - 1}", MD5]
    assert refused(ftp, "OPTS HASH CRC32").startswith("504")
    assert ftp.sendcmd("OPTS HASH") == "200 MD5"
    assert ftp.sendcmd("OPTS UTF8 ON").startswith("200")


@pytest.mark.parametrize("command", ["SIZE", "MDTM", "HASH", "XSHA256", "XMD5", "MLST"])
def test_what_is_no_file_of_the_partner_is_550(door: OpenDoor, ftp: ftplib.FTP, command: str) -> None:
    """A link, a place outside, a name that cannot be."""
    (door.homes / "acme" / "results" / "link").symlink_to("/etc/passwd")
    os.mkfifo(door.homes / "acme" / "results" / "fifo")
    for name in ("results/link", "results/nothing", "upload/-x/y", "x" * 200, "x" * 1500, "../../bravo/results"):
        assert refused(ftp, f"{command} {name}").startswith("550")
    if command != "MLST":
        for name in ("results", "results/fifo"):
            assert refused(ftp, f"{command} {name}") == "550 Not a file."
    assert ftp.sendcmd("NOOP").startswith("200")


def test_bytes_that_are_gone_are_said(ftp: ftplib.FTP, tmp_path: Path) -> None:
    """The ledger knows the SHA-256 all the same."""
    store(ftp, "x.csv")
    for file in files_below(tmp_path / "spool"):
        file.unlink()
    assert ftp.sendcmd("XSHA256 x.csv") == f"250 {SHA256}"
    assert refused(ftp, "XMD5 x.csv") == "550 The file's bytes are not here any more."


def test_a_store_that_is_away_is_451(ftp: ftplib.FTP, ledger: MemoryLedger) -> None:
    """Not 550: the partner must not think that the file is lost."""
    store(ftp, "x.csv")
    ledger.away = True
    assert refused(ftp, "SIZE x.csv").startswith("451")
    assert refused(ftp, "MLST x.csv").startswith("451")
    ledger.away = False
    assert ftp.size("x.csv") == len(ROWS)


def test_a_slow_ledger_holds_nobody_up(
    door: OpenDoor, ftp: ftplib.FTP, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked in a thread; what the client sends meanwhile is answered after it."""
    go_on = threading.Event()
    known = ledger.latest_named

    def slow(*name: str) -> object:
        assert go_on.wait(10)
        return known(*name)

    monkeypatch.setattr(ledger, "latest_named", slow)
    wire = Wire(door).log_in()
    wire.control.sendall(b"SIZE x.csv\r\nPWD\r\n")
    assert ftp.sendcmd("NOOP").startswith("200")
    go_on.set()
    assert [wire.reply()[:3], wire.reply()[:3]] == [b"550", b"257"]
    wire.close()


def test_an_empty_file_has_a_hash(ftp: ftplib.FTP) -> None:
    store(ftp, "x.csv", b"")
    assert ftp.sendcmd("HASH x.csv").split()[2:4] == ["0-0", hashlib.sha256(b"").hexdigest()]


def test_a_session_that_ends_meanwhile_is_no_bug(
    open_door: Callable[..., OpenDoor], ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch, audited: list[object]
) -> None:
    """The answer comes too late for anybody to hear."""
    at_work, go_on = threading.Event(), threading.Event()

    def slow(*_: str) -> None:
        at_work.set()
        assert go_on.wait(10)

    monkeypatch.setattr(ledger, "latest_named", slow)
    door = open_door()
    for command in (b"SIZE x.csv", b"MLST x.csv"):
        at_work.clear()
        go_on.clear()
        wire = Wire(door).log_in()
        wire.control.sendall(command + b"\r\n")
        assert at_work.wait(10)
        wire.close()
        go_on.set()
    door.door.stop()
    assert "fault" not in repr(audited)
