"""The drop folder with the real landing, prover and store: a file and its companion meet, whichever comes first."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from ingestd.model import Completeness, State
from ingestd.receive.folder import DropFolder, DropOptions, FolderOptions
from ingestd.receive.folder_after import MoveAway
from ingestd.receive.folder_rules import PATIENCE
from ingestd.receive.prover import ProofRules
from ingestd.spool import Incoming
from tests.receive.dropping import Clock, lying, quiet_scan
from tests.receive.test_prover import CONTENT, LONGER, SHA256, Office

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


@pytest.mark.parametrize("before", ["loaded", "queued", "waiting"])
@pytest.mark.parametrize("suffix", ["done", "count", "sha256"])
def test_a_companion_beside_its_file_is_of_that_file(
    office: Office, watch: Make, place: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, before: str, suffix: str
) -> None:
    """Not of a delivery that had the name before, also when the file gets through only later, after another start."""
    office.rules = ProofRules(demand=True)
    office.send("x.csv", proven=before != "waiting")
    if before == "loaded":
        office.load()
    said = {"done": "", "count": "1", "sha256": hashlib.sha256(LONGER).hexdigest()}
    (place / "x.csv").write_bytes(LONGER)
    (place / f"x.csv.{suffix}").write_text(said[suffix])
    write = Incoming.write

    def full(self: Incoming, chunk: bytes) -> int:
        if chunk == LONGER:
            raise OSError(errno.ENOSPC, "no room")
        return write(self, chunk)

    with monkeypatch.context() as disk:
        disk.setattr(Incoming, "write", full)
        assert quiet_scan(watch(demand=True), clock) == 0
    quiet_scan(watch(demand=True), clock)
    assert office.states() == [
        {"loaded": State.COMPLETED, "queued": State.QUEUED, "waiting": State.RECEIVED}[before],
        State.QUEUED,
    ]
    assert office.known().completeness is (Completeness.ASSUMED if suffix == "count" else Completeness.PROVEN)
    assert office.unused() == []
    assert lying(place) == []


@pytest.mark.parametrize("suffix", ["done", "sha256"])
def test_a_companion_that_a_kill_left_goes_with_its_file(
    office: Office, watch: Make, place: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """The file was claimed, and its companion not removed yet."""
    (place / "x.csv").write_bytes(CONTENT)
    (place / f"x.csv.{suffix}").write_text(SHA256)
    with monkeypatch.context() as kill:
        kill.setattr(MoveAway, "taken", lambda *_: 1 / 0)
        assert quiet_scan(watch(), clock) == 0
    assert lying(place) == [".taking/@x.csv", f"x.csv.{suffix}"]
    quiet_scan(watch(demand=True), clock)
    assert (office.states(), office.known().completeness) == ([State.QUEUED], Completeness.PROVEN)
    assert lying(place) == []
    assert office.unused() == []
