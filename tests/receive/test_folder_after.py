"""What becomes of a file that was taken: it is moved away, or left untouched and remembered."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from ingestd.receive.folder import DropFolder, DropOptions
from ingestd.receive.folder_after import LeaveInPlace
from ingestd.spool import Spool
from ingestd.store.engine import open_engine
from ingestd.store.left_files import LeftFiles
from tests import databases
from tests.receive.dropping import QUIET, Clock, Judge, lying, quiet_scan, read_only, told
from tests.receive.receiving import MemoryLedger, files_below

Make = Callable[..., DropFolder]


@pytest.fixture
def landing(spool: Spool, ledger: MemoryLedger) -> Judge:
    return Judge(spool, ledger)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Engine]:
    """A migrated database."""
    engine = open_engine(databases.embedded(tmp_path))
    yield engine
    engine.dispose()


@pytest.fixture
def memory(store: Engine) -> LeftFiles:
    return LeftFiles(engine=store)


@pytest.fixture
def leave(make: Make, memory: LeftFiles) -> Make:
    """A watcher that leaves files where they are, as after another start."""
    return lambda **options: make(after="leave", memory=memory, **options)


def status(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


# --- refused on arrival


@pytest.mark.parametrize(
    ("after", "lies"), [("done", []), ("results", ["rejected/x.csv", "rejected/x.csv.reason.txt"])]
)
def test_a_delivery_that_is_refused_on_arrival_is_not_put_aside_twice(
    make: Make, drop: Path, clock: Clock, ledger: MemoryLedger, landing: Judge, after: str, lies: list[str]
) -> None:
    """It comes back with its receipt where files come back at all; nowhere does it vanish."""
    landing.refused["x.csv"] = "the digest is another"
    (drop / "x.csv").write_bytes(b"rows")
    assert quiet_scan(make(after=after), clock) == 0
    assert len(ledger.rows) == 1
    assert lying(drop) == lies


def test_one_that_is_named_like_a_reason_takes_no_other_s_place(make: Make, drop: Path, clock: Clock) -> None:
    for name in ("big.csv.reason.txt", "big.csv"):
        (drop / name).write_bytes(name.encode() * 1000)
        assert quiet_scan(make(), clock) == 0
    contents = [(drop / name).read_bytes()[:18] for name in lying(drop) if (drop / name).stat().st_size > 1000]
    assert sorted(contents) == [b"big.csv.reason.txt", b"big.csvbig.csvbig."]


# --- left where they are


def test_files_that_are_left_must_be_remembered(tmp_path: Path, landing: Judge) -> None:
    with pytest.raises(ValueError, match="must be remembered"):
        DropFolder(DropOptions(root=tmp_path, after="leave"), {}, landing)


def test_a_file_that_is_left_is_taken_once_and_not_touched(
    leave: Make, drop: Path, clock: Clock, ledger: MemoryLedger
) -> None:
    """Neither by another scan nor by another start."""
    (drop / "C-1").mkdir()
    for name in ("x.csv", "C-1/x.csv"):
        (drop / name).write_bytes(b"rows")
    odd = Path(os.fsdecode(os.fsencode(drop) + b"/caf\xe9.csv"))
    odd.write_bytes(b"odd")
    before = {path: status(path) for path in files_below(drop)}
    folder = leave()
    assert quiet_scan(folder, clock) == 3
    for each in (folder, leave()):
        assert quiet_scan(each, clock) == 0
    assert {path: status(path) for path in files_below(drop)} == before
    assert {(arrival.folder, arrival.name) for arrival in ledger.arrivals} == {
        ("", "x.csv"),
        ("C-1", "x.csv"),
        ("", "café.csv"),
    }


def test_a_touched_file_is_a_duplicate_once(leave: Make, drop: Path, clock: Clock, ledger: MemoryLedger) -> None:
    (drop / "x.csv").write_bytes(b"rows")
    folder = leave()
    quiet_scan(folder, clock)
    os.utime(drop / "x.csv", ns=(1, 1))
    assert quiet_scan(folder, clock) == 1
    assert quiet_scan(leave(), clock) == 0
    assert [known.duplicate_of for known in ledger.recorded] == [None, 1]


def test_a_file_that_grows_or_is_replaced_is_a_new_version(
    leave: Make, drop: Path, clock: Clock, ledger: MemoryLedger, tmp_path: Path
) -> None:
    folder = leave()
    (drop / "x.csv").write_bytes(b"first\n")
    quiet_scan(folder, clock)
    with (drop / "x.csv").open("ab") as writer:
        writer.write(b"second\n")
    quiet_scan(folder, clock)
    (tmp_path / "x.csv").write_bytes(b"THIRD\n")
    (tmp_path / "x.csv").rename(drop / "x.csv")
    quiet_scan(folder, clock)
    assert [landed.size for _, landed in ledger.rows] == [6, 13, 6]
    assert [known.previous_version for known in ledger.recorded] == [None, 1, 2]


def test_a_file_that_changes_while_it_is_copied_is_not_half_taken(
    leave: Make, drop: Path, clock: Clock, ledger: MemoryLedger, landing: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No claim protects it: it is looked at again."""
    (drop / "x.csv").write_bytes(b"first\n")
    folder = leave()
    adopt = landing.adopt

    def written_meanwhile(path: Path, limit: int) -> Any:
        incoming = adopt(path, limit)
        with (drop / "x.csv").open("ab") as writer:
            writer.write(b"late\n")
        return incoming

    monkeypatch.setattr(landing, "adopt", written_meanwhile)
    assert quiet_scan(folder, clock) == 0
    monkeypatch.undo()
    assert quiet_scan(folder, clock) == 1
    assert [landed.size for _, landed in ledger.rows] == [11]


def test_removed_files_are_forgotten(
    leave: Make, drop: Path, clock: Clock, ledger: MemoryLedger, memory: LeftFiles
) -> None:
    (drop / "C-1").mkdir()
    for name in ("x.csv", "y.csv", "C-1/z.csv"):
        (drop / name).write_bytes(b"rows")
    folder = leave()
    quiet_scan(folder, clock)
    (drop / "x.csv").unlink()
    (drop / "C-1/z.csv").unlink()
    (drop / "C-1").rmdir()
    folder.scan()
    assert list(memory.known("acme")) == ["y.csv"]
    (drop / "y.csv").unlink()
    folder.scan()
    assert memory.known("acme") == {}


@pytest.mark.parametrize("restarted", [False, True])
def test_an_empty_mount_point_is_not_taken_for_removed_files(
    leave: Make, drop: Path, clock: Clock, ledger: MemoryLedger, memory: LeftFiles, tmp_path: Path, restarted: bool
) -> None:
    """Else every file would be taken again when the share is back, and refused ones would be loaded again."""
    for name in ("x.csv", "y.csv"):
        (drop / name).write_bytes(b"rows")
    folder = leave()
    assert quiet_scan(folder, clock) == 2
    known = memory.known("acme")
    drop.rename(tmp_path / "share")
    drop.mkdir()
    folder = leave() if restarted else folder
    assert quiet_scan(folder, clock) == 0
    (drop / "other.csv").write_bytes(b"other")
    assert quiet_scan(folder, clock) == 1
    assert known.items() <= memory.known("acme").items()
    (drop / "other.csv").unlink()
    drop.rmdir()
    folder.scan()
    (tmp_path / "share").rename(drop)
    assert quiet_scan(folder, clock) == 0


def test_a_refused_file_that_is_left_is_told_once(
    leave: Make, drop: Path, clock: Clock, ledger: MemoryLedger, landing: Judge, audited: list[Any]
) -> None:
    """By the log: nothing is written beside it. One that the ledger knows of has its receipt in the FTP home."""
    landing.refused["wrong.csv"] = "the digest is another"
    for name in ("big.csv", "a\nb.csv", "wrong.csv"):
        (drop / name).write_bytes(b"x" * (1001 if name == "big.csv" else 1))
    for folder in (leave(), leave()):
        for _ in range(2):
            assert quiet_scan(folder, clock) == 0
    assert sorted(line["name"] for line in told(audited, "folder_rejected")) == ["a\nb.csv", "big.csv", "wrong.csv"]
    assert lying(drop) == ["a\nb.csv", "big.csv", "wrong.csv"]
    assert len(ledger.rows) == 1


def test_a_read_only_folder_is_served(leave: Make, make: Make, drop: Path, clock: Clock, audited: list[Any]) -> None:
    """Where files are left nothing is written; otherwise the files wait, and that is told."""
    (drop / "x.csv").write_bytes(b"rows")
    with read_only(drop):
        assert quiet_scan(make(), clock) == 0
        assert len(told(audited, "folder_cannot_take")) == 1
        assert quiet_scan(leave(), clock) == 1
    assert lying(drop) == ["x.csv"]


def test_companions_that_are_left_count_once(
    leave: Make, drop: Path, clock: Clock, ledger: MemoryLedger, landing: Judge
) -> None:
    """The marker of the first version says nothing about the second, while that is written; a new marker does."""
    folder = leave(demand=True)
    (drop / "x.csv").write_bytes(b"first")
    (drop / "x.csv.done").write_bytes(b"")
    assert len(folder.scan()) == 1
    (drop / "x.csv").write_bytes(b"second, which is longer")
    for each in (folder, leave(demand=True)):
        assert quiet_scan(each, clock) == 0
    os.utime(drop / "x.csv.done", ns=(5, 5))
    assert len(folder.scan()) == 1
    assert landing.names == ["x.csv.done", "x.csv"] * 2
    assert {arrival.evidence for arrival in ledger.arrivals} == {"marker x.csv.done"}


def test_a_companion_that_comes_after_a_file_that_was_left_is_handed_in(
    leave: Make, drop: Path, clock: Clock, landing: Judge
) -> None:
    """Also after another start, and once."""
    (drop / "x.csv").write_bytes(b"rows")
    assert quiet_scan(leave(), clock) == 1
    (drop / "x.csv.count").write_bytes(b"1")
    for folder in (leave(), leave()):
        quiet_scan(folder, clock)
    assert landing.names == ["x.csv", "x.csv.count"]


def test_what_was_claimed_before_files_were_left_is_still_taken_and_removed(
    make: Make, leave: Make, drop: Path, clock: Clock, ledger: MemoryLedger
) -> None:
    """It was ours already."""
    (drop / "x.csv").write_bytes(b"rows")
    ledger.away = True
    quiet_scan(make(), clock)
    ledger.away = False
    assert quiet_scan(leave(), clock) == 1
    assert lying(drop) == []


class Killed(BaseException):
    """The process ends here."""


def test_a_kill_before_it_is_remembered_is_answered_as_a_duplicate(
    leave: Make, drop: Path, clock: Clock, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Killed

    (drop / "x.csv").write_bytes(b"rows")
    with monkeypatch.context() as dying:
        dying.setattr(LeaveInPlace, "taken", die)
        with pytest.raises(Killed):
            quiet_scan(leave(), clock)
    assert quiet_scan(leave(), clock) == 1
    assert quiet_scan(leave(), clock) == 0
    assert [known.duplicate_of for known in ledger.recorded] == [None, 1]
    assert len(ledger.loaded()) == 1


def test_a_store_that_is_away_is_told_once_and_waited_for(
    make: Make, drop: Path, clock: Clock, ledger: MemoryLedger, audited: list[Any], tmp_path: Path
) -> None:
    """What was taken cannot be looked up then."""
    away = open_engine("postgresql+psycopg://nobody@127.0.0.1:9/none")
    folder = make(after="leave", memory=LeftFiles(engine=away))
    (drop / "x.csv").write_bytes(b"rows")
    for _ in range(2):
        assert quiet_scan(folder, clock) == 0
    assert [line["event"] for line in audited] == ["folder_store_away"]
    clock.now += QUIET
    assert ledger.rows == []
