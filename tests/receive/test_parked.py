"""Parked files: given up by their senders, removed after a while; nothing else is."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncssh
import pytest
from structlog.testing import capture_logs

from ingestd.receive import home as homes
from ingestd.receive import parked
from ingestd.receive.parked import KEEP, TooMuchWaits, check_waiting, prune_parked
from ingestd.receive.sftp import SftpDoor
from tests.receive.ftp_wire import ROWS, Wire
from tests.receive.receiving import OpenDoor, files_below
from tests.receive.sftp_client import SftpClient

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def lay(path: Path, age: timedelta) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    written = (NOW - age).timestamp()
    os.utime(path, (written, written))
    return path


def test_old_parked_files_are_removed_wherever_they_can_be(tmp_path: Path) -> None:
    """In the home, the upload area and a campaign's folder."""
    old = KEEP + timedelta(seconds=1)
    for place in ("x.part", "upload/x.csv.filepart", "upload/C-1/.x.tmp", "upload/C-1/r\udce9sum\udce9.part"):
        lay(tmp_path / place, old)
    kept = [
        lay(tmp_path / "young.part", KEEP - timedelta(seconds=1)),
        lay(tmp_path / "upload" / "final.csv", old),
        lay(tmp_path / "results" / ".half.tmp", old),
    ]
    assert prune_parked(tmp_path, KEEP, NOW) == 4
    assert files_below(tmp_path) == sorted(kept)
    assert prune_parked(tmp_path, KEEP, NOW) == 0


def test_how_long_is_the_callers_choice(tmp_path: Path) -> None:
    """One day is enough for some."""
    lay(tmp_path / "x.part", timedelta(days=2))
    assert prune_parked(tmp_path, timedelta(days=3), NOW) == 0
    assert prune_parked(tmp_path, timedelta(days=1), NOW) == 1


def test_a_home_that_is_not_there_is_empty(tmp_path: Path) -> None:
    """It is made at the first login."""
    with capture_logs() as told:
        assert prune_parked(tmp_path / "missing", KEEP, NOW) == 0
    assert told == []


@pytest.mark.parametrize("linked", ["upload", "upload/C-1"])
def test_links_are_not_followed(tmp_path: Path, linked: str) -> None:
    """A folder or a file that is one stays as it is."""
    outside = lay(tmp_path / "outside" / "x.part", KEEP * 2)
    home = tmp_path / "home"
    (home / linked).parent.mkdir(parents=True)
    (home / linked).symlink_to(outside.parent)
    (home / "x.part").symlink_to(outside)
    with capture_logs() as told:
        assert prune_parked(home, KEEP, NOW + KEEP * 2) == 0
    assert outside.exists()
    assert [line["event"] for line in told] == (["parked_not_pruned"] if linked == "upload" else [])


def test_so_many_files_may_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In all folders together; what is final, a result or about to be replaced does not count."""
    monkeypatch.setattr(parked, "MOST", 3)
    for place in ("x.part", "upload/x.part", "upload/final.csv", "results/y.part"):
        lay(tmp_path / place, timedelta())
    check_waiting(tmp_path, tmp_path / "upload/z.part", 1, 100)
    lay(tmp_path / "upload/C-1/x.part", timedelta())
    with pytest.raises(TooMuchWaits, match=r"^3 files wait to be renamed; rename or remove what waits first$"):
        check_waiting(tmp_path, tmp_path / "upload/z.part", 1, 100)
    check_waiting(tmp_path, tmp_path / "upload/C-1/x.part", 1, 100)


def test_so_many_bytes_may_wait(tmp_path: Path) -> None:
    """Ten times what one file may have; a first file may always wait."""
    check_waiting(tmp_path, tmp_path / "y.part", 11, 1)
    lay(tmp_path / "x.part", timedelta()).write_bytes(b"x" * 600)
    check_waiting(tmp_path, tmp_path / "y.part", 400, 100)
    with pytest.raises(TooMuchWaits, match=r"^600 bytes wait"):
        check_waiting(tmp_path, tmp_path / "y.part", 401, 100)


def test_links_do_not_count(tmp_path: Path) -> None:
    """Nor is what they lead to."""
    outside = lay(tmp_path / "outside" / "x.part", timedelta())
    outside.write_bytes(b"x" * 600)
    home = tmp_path / "home"
    home.mkdir()
    (home / "upload").symlink_to(outside.parent)
    (home / "x.part").symlink_to(outside)
    check_waiting(home, home / "y.part", 500, 10)


def test_both_doors_refuse_what_is_too_much(
    door: OpenDoor, open_sftp: Callable[..., SftpDoor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Together; it is no lasting refusal."""
    monkeypatch.setattr(parked, "MOST", 2)
    wire = Wire(door).log_in()
    assert wire.store(b"one.part").startswith(b"226")
    with SftpClient(open_sftp()) as client:
        client.send("upload/two.part", ROWS)
        told = "2 files wait to be renamed; rename or remove what waits first"
        with pytest.raises(asyncssh.SFTPFailure, match=told):
            client.send("upload/three.part", ROWS)
        assert wire.store(b"three.part") == b"452 " + told.encode() + b"."
        assert wire.store(b"one.part").startswith(b"226"), "it replaces the one that waits"
        client.do("rename", "upload/two.part", "upload/two.csv")
        assert wire.store(b"three.part").startswith(b"226")
    wire.close()


def test_both_doors_make_so_many_folders(
    door: OpenDoor, open_sftp: Callable[..., SftpDoor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself, for a file that is parked there, and for one that is renamed into it."""
    monkeypatch.setattr(homes, "MOST_FOLDERS", 2)
    told = "there are 2 folders; remove those that you do not need first"
    wire = Wire(door).log_in()
    assert wire.say(b"MKD upload/C-1").startswith(b"257")
    assert wire.store(b"upload/C-2/x.part").startswith(b"226")
    assert wire.say(b"MKD upload/C-3").startswith(b"550 there are 2 folders")
    assert wire.store(b"upload/C-3/x.part") == b"452 " + told.encode() + b"."
    assert wire.say(b"RNFR upload/C-2/x.part").startswith(b"350")
    assert wire.say(b"RNTO upload/C-3/x.part").startswith(b"550 there are 2 folders")
    with SftpClient(open_sftp()) as client:
        for refused in (("mkdir", "upload/C-3"), ("rename", "upload/C-2/x.part", "upload/C-3/x.part")):
            with pytest.raises(asyncssh.SFTPFailure, match="there are 2 folders"):
                client.do(*refused)
        client.do("rmdir", "upload/C-1")
        client.do("mkdir", "upload/C-3")
    assert wire.store(b"upload/C-3/x.part").startswith(b"226")
    wire.close()
