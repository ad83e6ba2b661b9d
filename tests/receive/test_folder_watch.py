"""The thread and the events: what tells of a file, and that nothing is lost when nothing tells."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from watchdog.observers.inotify_c import InotifyFD

from ingestd.receive.folder import DropFolder, FolderOptions
from ingestd.receive.folder_rules import CLOSED, MOVED
from tests.receive.dropping import QUIET, Clock, mounted, told
from tests.receive.receiving import MemoryLedger, wait_for

Start = Callable[..., DropFolder]


@pytest.fixture
def quiet_until(clock: Clock) -> Callable[[Callable[[], object]], None]:
    """Lets time pass, so that the scan finds what no event tells of, until something is so."""

    def until(condition: Callable[[], object]) -> None:
        def later() -> object:
            clock.now += QUIET
            return condition()

        wait_for(later)

    return until


Until = Callable[[Callable[[], object]], None]


# --- events


def test_a_closed_file_is_taken_at_once(started: Start, drop: Path, ledger: MemoryLedger, audited: list[Any]) -> None:
    """The event is the sign, no waiting."""
    started()
    (drop / "x.csv").write_bytes(b"rows")
    wait_for(lambda: told(audited, "folder_landed"))
    assert ledger.arrivals[0].evidence == CLOSED
    (line,) = told(audited, "folder_landed")
    assert (line["found_by"], line["received"]) == ("event", 4)


def test_a_renamed_file_is_taken_at_once(started: Start, drop: Path, ledger: MemoryLedger) -> None:
    """That is how senders say "done"."""
    started()
    (drop / "x.csv.part").write_bytes(b"rows")
    (drop / "x.csv.part").rename(drop / "x.csv")
    wait_for(lambda: ledger.rows)
    assert [(arrival.name, arrival.evidence) for arrival in ledger.arrivals] == [("x.csv", MOVED)]


def test_a_file_moved_in_from_outside_is_found_by_the_scan(
    started: Start, drop: Path, ledger: MemoryLedger, quiet_until: Until, tmp_path: Path, audited: list[Any]
) -> None:
    """Watchdog says only that it was created, which says nothing about its end."""
    started()
    (tmp_path / "x.csv").write_bytes(b"rows")
    (tmp_path / "x.csv").rename(drop / "x.csv")
    quiet_until(lambda: told(audited, "folder_landed"))
    assert ledger.arrivals[0].evidence == "quiet 2 s"
    assert told(audited, "folder_landed")[0]["found_by"] == "scan"


def test_a_copy_from_another_file_system_is_taken_whole(
    started: Start, drop: Path, ledger: MemoryLedger, elsewhere: Path
) -> None:
    """By `cp -p`, with its old times: they say nothing about when it was finished."""
    with tempfile.NamedTemporaryFile(dir=elsewhere) as source:
        source.write(b"row\n" * 200)
        source.flush()
        os.utime(source.name, (1, 1))
        started()
        subprocess.run(["cp", "-p", source.name, str(drop / "x.csv")], check=True)
        wait_for(lambda: ledger.rows)
    assert {landed.size for _, landed in ledger.loaded()} == {800}
    assert ledger.arrivals[0].evidence == CLOSED


# --- without events


def test_without_events_the_scan_finds_everything(
    started: Start,
    drop: Path,
    ledger: MemoryLedger,
    quiet_until: Until,
    audited: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The limit of inotify watches is a machine's, not ours."""

    def refuse(_: object) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr("watchdog.observers.api.BaseObserver.start", refuse)
    started()
    assert audited[0]["event"] == "folder_not_watched"
    (drop / "x.csv").write_bytes(b"rows")
    quiet_until(lambda: ledger.rows)


def test_polling_finds_files_by_silence_and_renames_by_their_mark(
    started: Start, drop: Path, ledger: MemoryLedger, clock: Clock, quiet_until: Until, audited: list[Any]
) -> None:
    """Nothing is watched; a rename within the folder is seen all the same, and needs no silence."""
    folder = started(events=False)
    assert folder._watch._observer is None
    (drop / "x.csv").write_bytes(b"closed, but nothing tells")
    (drop / "y.csv.part").write_bytes(b"renamed")
    wait_for(lambda: len(folder._seen) == 2)
    assert ledger.rows == []
    (drop / "y.csv.part").rename(drop / "y.csv")
    wait_for(lambda: ledger.rows)
    quiet_until(lambda: len(told(audited, "folder_landed")) == 2)
    found = {line["name"]: (line["evidence"], line["found_by"]) for line in told(audited, "folder_landed")}
    assert found == {"y.csv": (MOVED, "scan"), "x.csv": ("quiet 2 s", "scan")}


def test_events_that_are_lost_delay_only(
    started: Start,
    drop: Path,
    ledger: MemoryLedger,
    quiet_until: Until,
    audited: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A real overflow of the kernel's queue: its reader sleeps while more happens than the queue takes."""
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    awake = threading.Event()
    read = InotifyFD.read_events
    monkeypatch.setattr(InotifyFD, "read_events", lambda self, **size: (awake.wait(), read(self, **size))[1])
    started()
    (drop / "woken.csv.part").write_bytes(b"")  # the read that was under way before it was put to sleep
    for _ in range(limit // 2 + 100):  # open and close
        os.close(os.open(drop / "woken.csv.part", os.O_RDONLY))
    for number in range(100):
        (drop / f"{number}.csv").write_bytes(b"%d" % number)
    awake.set()
    wait_for(lambda: told(audited, "folder_events_lost"))
    quiet_until(lambda: len(ledger.rows) == 100)
    assert len(ledger.loaded()) == 100
    (drop / "after.csv").write_bytes(b"events come again")
    wait_for(lambda: len(ledger.rows) == 101)
    assert ledger.arrivals[-1].evidence == CLOSED


# --- folders that go and come


def test_a_folder_that_vanishes_and_comes_back_is_watched_again(
    started: Start, drop: Path, ledger: MemoryLedger, audited: list[Any]
) -> None:
    """It is told once; events come from the new folder, not only the scan."""
    started()
    drop.rmdir()
    wait_for(lambda: told(audited, "folder_cannot_look"))
    wait_for(lambda: told(audited, "folder_watched_anew"))  # without it
    drop.mkdir()
    wait_for(lambda: len(told(audited, "folder_watched_anew")) == 2)
    (drop / "x.csv").write_bytes(b"rows")
    wait_for(lambda: ledger.rows)
    assert ledger.arrivals[0].evidence == CLOSED
    assert len(told(audited, "folder_cannot_look")) == 1


@pytest.mark.parametrize("which", ["source", "root"])
def test_a_folder_that_is_replaced_by_another_is_watched_again(
    started: Start, drop: Path, ledger: MemoryLedger, audited: list[Any], tmp_path: Path, which: str
) -> None:
    """Inotify would keep to the old one, wherever it is now."""
    started()
    old = drop if which == "source" else drop.parent
    (tmp_path / "new/acme").mkdir(parents=True)
    new = tmp_path / "new/acme" if which == "source" else tmp_path / "new"
    old.rename(tmp_path / "old")
    new.rename(old)
    wait_for(lambda: told(audited, "folder_watched_anew"))
    (drop / "x.csv").write_bytes(b"rows")
    wait_for(lambda: ledger.rows)
    assert ledger.arrivals[0].evidence == CLOSED


def test_a_root_that_is_not_there_at_the_start_is_waited_for(
    started: Start, drop: Path, ledger: MemoryLedger, audited: list[Any]
) -> None:
    """For example because it is a file, or a share that is not mounted."""
    drop.rmdir()
    drop.parent.rmdir()
    drop.parent.write_bytes(b"in the way")
    started()
    wait_for(lambda: told(audited, "folder_cannot_look"))
    drop.parent.unlink()
    drop.mkdir(parents=True)
    wait_for(lambda: told(audited, "folder_watched_anew"))
    (drop / "x.csv").write_bytes(b"rows")
    wait_for(lambda: ledger.rows)


def test_a_share_that_is_mounted_over_the_folder_and_goes_away_loses_nothing(
    started: Start, drop: Path, ledger: MemoryLedger, audited: list[Any]
) -> None:
    """A real mount: the device changes, the name does not. What lay below comes to light again."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts")
    started()
    with mounted("-t", "tmpfs", "tmpfs", on=drop):
        wait_for(lambda: told(audited, "folder_watched_anew"))
        (drop / "x.csv").write_bytes(b"on the share")
        wait_for(lambda: ledger.rows)
        (drop / "y.csv.part").write_bytes(b"still being written")
    wait_for(lambda: len(told(audited, "folder_watched_anew")) == 2)
    (drop / "z.csv").write_bytes(b"below")
    wait_for(lambda: len(ledger.rows) == 2)
    assert [arrival.evidence for arrival in ledger.arrivals] == [CLOSED, CLOSED]
    assert told(audited, "folder_fault") == []


# --- sources


def test_a_source_that_is_added_is_served_and_one_that_is_removed_is_not(
    started: Start, drop: Path, ledger: MemoryLedger, quiet_until: Until
) -> None:
    folder = started()
    folder.replace_sources({"bravo": FolderOptions(limit=5)})
    bravo = drop.parent / "bravo"
    wait_for(lambda: bravo in folder._watch._watched)
    (drop / "x.csv").write_bytes(b"rows")
    (bravo / "y.csv").write_bytes(b"rows")
    (bravo / "big.csv").write_bytes(b"too large")
    quiet_until(lambda: ledger.rows and (bravo / "rejected/big.csv.reason.txt").exists())
    assert [(arrival.source, arrival.name) for arrival in ledger.arrivals] == [("bravo", "y.csv")]
    assert (drop / "x.csv").exists()


def test_sources_may_be_replaced_while_files_are_taken(
    started: Start, drop: Path, ledger: MemoryLedger, quiet_until: Until
) -> None:
    """By another thread, again and again."""
    folder = started()
    for number in range(50):
        (drop / f"{number}.csv").write_bytes(b"%d" % number)
        folder.replace_sources({"acme": FolderOptions(limit=1000), f"s{number}": FolderOptions(limit=1)})
    quiet_until(lambda: len(ledger.rows) == 50)
    assert len(ledger.loaded()) == 50


def test_it_beats_while_it_rests_and_between_files(make: Start, drop: Path, clock: Clock) -> None:
    """A long pause between scans is no reason to stop."""
    beats: list[int] = []
    folder = make()
    folder._beat = lambda: beats.append(1)
    for number in range(5):
        (drop / f"{number}.csv").write_bytes(b"%d" % number)
    folder.scan()
    clock.now += QUIET
    beats.clear()
    assert len(folder.scan()) == 5
    assert len(beats) >= 5
    beats.clear()
    folder._rest(1.2)
    assert len(beats) >= 2
