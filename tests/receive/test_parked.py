"""Parked files: given up by their senders, removed after a while; nothing else is."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ingestd.receive.parked import KEEP, prune_parked
from tests.receive.receiving import files_below

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
