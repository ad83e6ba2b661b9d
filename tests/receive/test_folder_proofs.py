"""The drop folder with the real landing, prover and store: a file and its companion meet, whichever comes first."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from ingestd.model import Completeness, State
from ingestd.receive.folder import DropFolder, DropOptions, FolderOptions
from ingestd.receive.folder_rules import PATIENCE
from tests.receive.dropping import Clock, lying, quiet_scan
from tests.receive.test_prover import CONTENT, SHA256, Office

Make = Callable[..., DropFolder]


@pytest.fixture
def office(organised: Engine, tmp_path: Path) -> Office:
    return Office(organised, tmp_path)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "drop/nordlead"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def watch(office: Office, place: Path, clock: Clock, audit: Any) -> Make:
    """A watcher of the folder, as after another start."""

    def one(**options: Any) -> DropFolder:
        sources = {"nordlead": FolderOptions(limit=1000, **options)}
        return DropFolder(DropOptions(root=place.parent), sources, office.landing, clock=clock, audit=audit)

    return one


@pytest.mark.parametrize("order", ["together", "file first", "companion first"])
@pytest.mark.parametrize(("suffix", "said"), [("sha256", SHA256), ("done", "")])
def test_a_file_and_its_companion_meet(
    office: Office, watch: Make, place: Path, clock: Clock, order: str, suffix: str, said: str
) -> None:
    folder = watch()
    files = {"x.csv": CONTENT, f"x.csv.{suffix}": said.encode()}
    for name in sorted(files, reverse=order == "companion first"):
        (place / name).write_bytes(files[name])
        if order != "together":
            quiet_scan(folder, clock)
    quiet_scan(folder, clock)
    delivery = office.known()
    assert (delivery.state, delivery.completeness) == (State.QUEUED, Completeness.PROVEN)
    assert f"x.csv.{suffix}" in delivery.evidence
    assert lying(place) == []


def test_a_file_that_is_not_what_its_companion_says_is_refused_once(
    office: Office, watch: Make, place: Path, clock: Clock
) -> None:
    """The ledger knows of it, so it comes back with its receipt; its folder is empty until then."""
    (place / "x.csv").write_bytes(b"cut")
    (place / "x.csv.sha256").write_bytes(SHA256.encode())
    folder = watch()
    quiet_scan(folder, clock)
    clock.now += PATIENCE
    folder.scan()
    delivery = office.known()
    assert (delivery.state, delivery.reason_code) == (State.REFUSED, "digest_mismatch")
    assert hashlib.sha256(b"cut").hexdigest() in delivery.reason
    assert SHA256 in delivery.reason
    assert lying(place) == []


def test_what_is_demanded_is_proven_by_the_folder_s_own_companion(
    office: Office, watch: Make, place: Path, clock: Clock
) -> None:
    folder = watch(demand=True)
    (place / "x.csv").write_bytes(CONTENT)
    assert quiet_scan(folder, clock) == 0
    (place / "x.csv.md5").write_bytes(hashlib.md5(CONTENT).hexdigest().encode())
    assert quiet_scan(folder, clock) == 1
    assert office.known().completeness is Completeness.PROVEN
