"""Companions in the drop folder: in either order, judged with their file, and no slow writer is taken by mistake."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingestd.model import Completeness
from ingestd.receive import folder_beside
from ingestd.receive.folder import DropFolder
from ingestd.receive.folder_rules import PATIENCE
from ingestd.spool import Spool
from tests.receive.dropping import QUIET, Clock, Judge, lying, quiet_scan, told
from tests.receive.receiving import MemoryLedger

SHA256 = hashlib.sha256(b"rows").hexdigest().encode()
MD5 = hashlib.md5(b"rows").hexdigest().encode()
HOUR = 3600.0

Make = Callable[..., DropFolder]


@pytest.fixture
def landing(spool: Spool, ledger: MemoryLedger) -> Judge:
    return Judge(spool, ledger)


def test_a_marker_proves_its_file_at_once(make: Make, drop: Path, ledger: MemoryLedger, landing: Judge) -> None:
    """Before it or after it, whatever a scan sees first; it goes with it, and is handed in before it."""
    folder = make()
    (drop / "x.csv").write_bytes(b"x")
    (drop / "y.csv.OK").write_bytes(b"")
    assert folder.scan() == []
    (drop / "x.csv.done").write_bytes(b"whatever")
    (drop / "y.csv").write_bytes(b"y")
    assert len(folder.scan()) == 2
    assert lying(drop) == []
    assert {arrival.evidence for arrival in ledger.arrivals} == {"marker x.csv.done", "marker y.csv.OK"}
    assert {arrival.completeness for arrival in ledger.arrivals} == {Completeness.PROVEN}
    assert landing.names == ["x.csv.done", "x.csv", "y.csv.OK", "y.csv"]


def test_a_marker_of_one_campaign_says_nothing_about_another(make: Make, drop: Path, ledger: MemoryLedger) -> None:
    folder = make()
    for place in (drop / "C-1", drop / "C-2"):
        place.mkdir()
        (place / "x.csv").write_bytes(b"x")
    (drop / "C-2/x.csv.done").write_bytes(b"")
    assert len(folder.scan()) == 1
    assert ledger.arrivals[0].folder == "C-2"


@pytest.mark.parametrize(("suffix", "digest"), [("sha256", SHA256), ("md5", MD5)])
def test_a_file_that_fits_its_digest_is_proven(
    make: Make, drop: Path, clock: Clock, ledger: MemoryLedger, landing: Judge, suffix: str, digest: bytes
) -> None:
    (drop / f"x.csv.{suffix}").write_bytes(digest + b"  x.csv\n")
    (drop / "x.csv").write_bytes(b"rows")
    assert quiet_scan(make(), clock) == 1
    (arrival,) = ledger.arrivals
    assert (arrival.evidence, arrival.completeness) == (f"digest x.csv.{suffix}", Completeness.PROVEN)
    assert landing.names == [f"x.csv.{suffix}", "x.csv"]
    assert lying(drop) == []


def test_a_slow_writer_who_pauses_is_not_refused(
    make: Make, drop: Path, clock: Clock, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the digest of what lies there is computed once, not at every look."""
    computed: list[str] = []
    fits = folder_beside._fits
    monkeypatch.setattr(
        folder_beside, "_fits", lambda file, said, beat: computed.append(file.name) or fits(file, said, beat)
    )
    folder = make()
    (drop / "x.csv.sha256").write_bytes(SHA256)
    with (drop / "x.csv").open("ab", buffering=0) as writer:
        writer.write(b"ro")
        for _ in range(20):
            assert quiet_scan(folder, clock) == 0
        assert computed == ["x.csv"]
        writer.write(b"ws")
    assert quiet_scan(folder, clock) == 1
    assert [landed.size for _, landed in ledger.rows] == [4]
    assert computed == ["x.csv"] * 2


def test_a_file_that_is_too_large_is_refused_unread(
    make: Make, drop: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sparse one of many gigabytes would hold up the scan for minutes."""
    monkeypatch.setattr(folder_beside, "_fits", lambda *_: pytest.fail("it was read"))
    (drop / "x.csv.sha256").write_bytes(SHA256)
    with (drop / "x.csv").open("wb") as file:
        file.truncate(1 << 40)
    assert quiet_scan(make(), clock) == 0
    assert "larger than" in (drop / "rejected" / "x.csv.reason.txt").read_text()


def test_a_file_that_stays_wrong_is_taken_and_judged_by_the_landing(
    make: Make, drop: Path, clock: Clock, ledger: MemoryLedger, landing: Judge
) -> None:
    """After a minute; it was recorded then, so it comes back with its receipt and is not put aside as well."""
    landing.refused["x.csv"] = "x.csv has the sha256 1, but x.csv.sha256 says 2"
    (drop / "x.csv").write_bytes(b"row")
    (drop / "x.csv.sha256").write_bytes(SHA256)
    folder = make()
    quiet_scan(folder, clock)
    assert ledger.rows == []
    clock.now += PATIENCE
    assert folder.scan() == []
    assert landing.said == {"x.csv.sha256": SHA256}
    assert ledger.arrivals[0].completeness is Completeness.ASSUMED
    assert lying(drop) == []


def test_a_companion_that_is_being_written_holds_its_file_up(make: Make, drop: Path, clock: Clock) -> None:
    folder = make()
    (drop / "x.csv").write_bytes(b"rows")
    quiet_scan_before = folder.scan()
    clock.now += QUIET
    with (drop / "x.csv.sha256").open("ab", buffering=0) as writer:
        writer.write(SHA256[:10])
        assert folder.scan() == quiet_scan_before == []
        writer.write(SHA256[10:])
        assert folder.scan() == []
    assert quiet_scan(folder, clock) == 1
    assert lying(drop) == []


def test_an_unreadable_companion_is_put_aside_and_its_file_taken_without_it(
    make: Make, drop: Path, clock: Clock, ledger: MemoryLedger, landing: Judge
) -> None:
    landing.refused["x.csv.count"] = "the companion of x.csv has no whole number in it"
    (drop / "x.csv").write_bytes(b"rows")
    (drop / "x.csv.count").write_bytes(b"many")
    folder = make()
    assert quiet_scan(folder, clock) == 0
    reason = (drop / "rejected/x.csv.count.reason.txt").read_text()
    assert reason == "the companion of x.csv has no whole number in it\n"
    assert len(folder.scan()) == 1
    assert ledger.arrivals[0].evidence == "quiet 2 s"


def test_a_companion_that_comes_after_its_file_was_taken_is_handed_in_at_once(
    make: Make, drop: Path, clock: Clock, landing: Judge
) -> None:
    """A second one of its kind waits for the next file of that name: its sender sends companions first."""
    folder = make()
    (drop / "x.csv").write_bytes(b"rows")
    assert quiet_scan(folder, clock) == 1
    (drop / "x.csv.sha256").write_bytes(SHA256)
    quiet_scan(folder, clock)
    assert landing.names == ["x.csv", "x.csv.sha256"]
    assert lying(drop) == []
    (drop / "x.csv.sha256").write_bytes(hashlib.sha256(b"next").hexdigest().encode())
    quiet_scan(folder, clock)
    assert lying(drop) == ["x.csv.sha256"]
    assert len(landing.names) == 2
    (drop / "x.csv").write_bytes(b"next")
    assert quiet_scan(folder, clock) == 1
    assert landing.names[2:] == ["x.csv.sha256", "x.csv"]


def test_a_companion_without_a_file_is_handed_in_and_lies_until_its_file_comes(
    make: Make, drop: Path, clock: Clock, ledger: MemoryLedger, landing: Judge
) -> None:
    """Its file may have come by another door, or before the daemon was started anew. Else it is handed in with it."""
    (drop / "x.csv.sha256").write_bytes(SHA256)
    folder = make()
    quiet_scan(folder, clock)
    assert landing.names == []
    clock.now += PATIENCE
    for _ in range(3):
        quiet_scan(folder, clock)
    assert landing.names == ["x.csv.sha256"]
    (drop / "x.csv").write_bytes(b"rows")
    assert quiet_scan(folder, clock) == 1
    assert ledger.arrivals[0].evidence == "digest x.csv.sha256"
    assert (landing.names, lying(drop)) == (["x.csv.sha256", "x.csv.sha256", "x.csv"], [])


def test_a_companion_whose_file_never_comes_is_put_aside(make: Make, drop: Path, clock: Clock) -> None:
    (drop / "x.csv.done").write_bytes(b"")
    folder = make(wait_hours=2.0)
    folder.scan()
    clock.now += 2 * HOUR
    folder.scan()
    assert lying(drop) == ["rejected/x.csv.done", "rejected/x.csv.done.reason.txt"]
    assert (drop / "rejected/x.csv.done.reason.txt").read_text() == "Its file did not come within 2 hours.\n"


def test_a_store_that_is_away_loses_no_companion(
    make: Make, drop: Path, clock: Clock, ledger: MemoryLedger, landing: Judge
) -> None:
    """Once it was handed in it may go; the file was claimed with it, and a new one under its name is not proven."""
    (drop / "x.csv").write_bytes(b"rows")
    (drop / "x.csv.done").write_bytes(b"")
    folder = make()
    ledger.away = True
    assert folder.scan() == []
    assert lying(drop) == [".taking/@x.csv"]
    (drop / "x.csv").write_bytes(b"half")
    ledger.away = False
    assert quiet_scan(folder, clock) == 2
    assert [arrival.evidence for arrival in ledger.arrivals] == ["quiet 2 s"] * 2
    assert landing.names[0] == "x.csv.done"


# --- proof that is demanded


def test_a_file_without_its_companion_waits_and_that_is_told_once(
    make: Make, drop: Path, clock: Clock, ledger: MemoryLedger, audited: list[Any]
) -> None:
    folder = make(demand=True)
    (drop / "x.csv").write_bytes(b"rows")
    for _ in range(3):
        assert quiet_scan(folder, clock) == 0
    assert [Path(line["path"]).name for line in told(audited, "folder_waits_for_proof")] == ["x.csv"]
    (drop / "x.csv.sha256").write_bytes(SHA256)
    assert quiet_scan(folder, clock) == 1
    (drop / "x.csv").write_bytes(b"again")
    quiet_scan(folder, clock)
    assert len(told(audited, "folder_waits_for_proof")) == 2


def test_a_file_that_has_waited_too_long_is_put_aside_with_what_would_have_helped(
    make: Make, drop: Path, clock: Clock, ledger: MemoryLedger
) -> None:
    folder = make(demand=True, wait_hours=1.0)
    (drop / "x.csv").write_bytes(b"rows")
    quiet_scan(folder, clock)
    clock.now += HOUR - 2 * QUIET
    assert folder.scan() == []
    assert lying(drop) == ["x.csv"]
    clock.now += QUIET
    assert folder.scan() == []
    assert lying(drop) == ["rejected/x.csv", "rejected/x.csv.reason.txt"]
    assert (drop / "rejected/x.csv.reason.txt").read_text() == (
        "No companion came within 1 hours: x.csv.done, x.csv.ok, x.csv.sha256, x.csv.md5 or x.csv.count.\n"
    )
    assert ledger.rows == []


def test_what_was_claimed_with_its_companion_is_taken_after_a_restart(
    make: Make, drop: Path, clock: Clock, ledger: MemoryLedger
) -> None:
    (drop / "x.csv").write_bytes(b"rows")
    (drop / "x.csv.done").write_bytes(b"")
    ledger.away = True
    make(demand=True).scan()
    ledger.away = False
    assert quiet_scan(make(demand=True), clock) == 1
