"""The drop folder: taken when whole, once, whatever dies; the clock is the test's."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ingestd.model import Completeness
from ingestd.receive.folder import DropFolder, DropOptions, FolderOptions
from ingestd.receive.landing import Landing
from ingestd.spool import Spool
from tests.receive.dropping import QUIET, Clock, MemoryInProcess, lying, quiet_scan, told
from tests.receive.receiving import MemoryLedger, files_below

# --- taking


def test_a_file_that_was_there_before_the_start(
    make: Callable[..., DropFolder], drop: Path, clock: Clock, ledger: MemoryLedger, spool: Spool
) -> None:
    """There is no event for it; it is taken when it is quiet, and leaves the folder."""
    (drop / "x.csv").write_bytes(b"rows")
    folder = make()
    assert folder.scan() == []
    clock.now += QUIET
    (receipt,) = folder.scan()
    ((arrival, landed),) = ledger.rows
    assert (receipt.delivery_id, spool.read(landed.key)) == (1, b"rows")
    assert (arrival.source, arrival.name, arrival.folder) == ("acme", "x.csv", "")
    assert (arrival.protocol, arrival.peer, arrival.evidence) == ("folder", "local", "quiet 2 s")
    assert arrival.completeness is Completeness.ASSUMED
    assert lying(drop) == []


def test_a_slow_writer_is_waited_for(
    make: Callable[..., DropFolder], drop: Path, clock: Clock, ledger: MemoryLedger
) -> None:
    """Each write starts the waiting anew."""
    folder = make()
    with (drop / "x.csv").open("ab", buffering=0) as writer:
        for _ in range(5):
            writer.write(b"row\n")
            assert folder.scan() == []
            clock.now += QUIET - 0.1
            assert folder.scan() == []
    clock.now += QUIET
    folder.scan()
    assert ledger.rows[0][1].size == 20


def test_a_writer_who_goes_on_makes_another_version(
    make: Callable[..., DropFolder], drop: Path, clock: Clock, ledger: MemoryLedger
) -> None:
    """Quiet is a guess. The delivery keeps its bytes, and what came later is not lost."""
    with (drop / "x.csv").open("ab", buffering=0) as writer:
        writer.write(b"first\n")

        def write_late() -> None:
            ledger.after = lambda: None
            writer.write(b"late\n")

        ledger.after = write_late
        folder = make()
        assert quiet_scan(folder, clock) == 1
    assert quiet_scan(folder, clock) == 1
    assert [landed.size for _, landed in ledger.rows] == [6, 11]
    assert ledger.recorded[1].previous_version == 1
    assert lying(drop) == []


def test_folders_of_campaigns(make: Callable[..., DropFolder], drop: Path, clock: Clock, ledger: MemoryLedger) -> None:
    """One level deep; what is deeper, or has no campaign's name, is not ours."""
    for place in ("C-1", "C-1/deeper", "results", "rejected", "-odd", ".hidden"):
        (drop / place).mkdir()
        (drop / place / "x.csv").write_bytes(place.encode())
    assert quiet_scan(make(), clock) == 1
    assert [(arrival.folder, arrival.name) for arrival in ledger.arrivals] == [("C-1", "x.csv")]


@pytest.mark.parametrize(
    "name",
    [".x.csv", "x.part", "x.csv.filepart", "x.tmp", "x.crdownload", "~$x.csv", "x.csv~", "x.csv.done", "x.sha256"],
)
def test_ignored_names(make: Callable[..., DropFolder], drop: Path, clock: Clock, name: str) -> None:
    """Not finished, or not data."""
    (drop / name).write_bytes(b"x")
    assert quiet_scan(make(), clock) == 0
    assert lying(drop) == [name]


def test_links_and_pipes_are_ignored(make: Callable[..., DropFolder], drop: Path, clock: Clock) -> None:
    """A symbolic link could point to anything the daemon can read."""
    (drop / "link.csv").symlink_to("/etc/passwd")
    os.mkfifo(drop / "pipe.csv")
    assert quiet_scan(make(), clock) == 0


def test_a_hard_link_is_a_file(make: Callable[..., DropFolder], drop: Path, clock: Clock, tmp_path: Path) -> None:
    """Some senders link instead of renaming; their own name stays theirs."""
    (tmp_path / "original").write_bytes(b"rows")
    (drop / "x.csv").hardlink_to(tmp_path / "original")
    assert quiet_scan(make(), clock) == 1
    assert (tmp_path / "original").exists()


def test_too_large_a_file_is_put_aside(
    make: Callable[..., DropFolder], drop: Path, clock: Clock, ledger: MemoryLedger
) -> None:
    """With the reason beside it, and without overwriting one that was refused before."""
    folder = make()
    for _ in range(2):
        (drop / "big.csv").write_bytes(b"x" * 1001)
        assert quiet_scan(folder, clock) == 0
    assert lying(drop) == [
        f"rejected/{name}" for name in ("big.csv", "big.csv.1", "big.csv.1.reason.txt", "big.csv.reason.txt")
    ]
    assert (drop / "rejected/big.csv.reason.txt").read_text() == "The file is larger than 1000 bytes.\n"
    assert ledger.rows == []


def test_a_bad_name_is_put_aside(make: Callable[..., DropFolder], drop: Path, clock: Clock) -> None:
    """It would break logs and listings."""
    (drop / "a\nb.csv").write_bytes(b"x")
    assert quiet_scan(make(), clock) == 0
    assert (drop / "rejected/a\nb.csv.reason.txt").read_text() == "The name contains control characters.\n"


def test_a_name_that_is_too_long_is_put_aside_under_a_shorter_one(
    make: Callable[..., DropFolder], drop: Path, clock: Clock, audited: list[Any]
) -> None:
    """The longest that a file system takes has no room for `.reason.txt`; two that begin alike stay two."""
    long = ["n" * 250 + f"{number}.csv" for number in (1, 2)]
    for name in [*long, long[0]]:
        (drop / name).write_bytes(name.encode())
        assert quiet_scan(make(), clock) == 0
    assert list(drop.glob("*.csv")) == []
    notes = sorted((drop / "rejected").glob("*.reason.txt"))
    kept = [note.with_name(note.name.removesuffix(".reason.txt")) for note in notes]
    assert sorted(path.read_bytes() for path in kept) == sorted(name.encode() for name in [*long, long[0]])
    assert {note.read_text() for note in notes} == {"The name is longer than 180 bytes.\n"}
    assert [line["name"] for line in audited] == [*long, long[0]]


def test_files_that_are_passed_by_are_told_once(
    make: Callable[..., DropFolder], drop: Path, clock: Clock, audited: list[Any], tmp_path: Path
) -> None:
    """Else their sender waits for ever; what is empty, or hidden by its name, is meant to be."""
    for place in ("C-1/deeper", "two words", "rejected", "results", ".hidden", "x.part"):
        (drop / place).mkdir(parents=True)
        (drop / place / "x.csv").write_bytes(b"x")
    (drop / "-empty").mkdir()
    (drop / "link").symlink_to(tmp_path)
    (drop / "loop").symlink_to(drop / "loop")
    folder = make()
    for _ in range(3):
        assert quiet_scan(folder, clock) == 0
    told = {(line["event"], Path(line["path"]).relative_to(drop).as_posix(), line["reason"]) for line in audited}
    assert told == {
        ("folder_ignored", "C-1/deeper", "it lies within a campaign's folder"),
        ("folder_ignored", "two words", "its name cannot be a campaign code"),
        ("folder_ignored", "link", "it is a symbolic link"),
    }
    assert len(audited) == 3
    (drop / "-empty" / "x.csv").write_bytes(b"x")
    folder.scan()
    assert len(audited) == 4


@pytest.mark.parametrize("ours", [".taking", "rejected"])
def test_our_folders_are_not_followed_elsewhere(
    make: Callable[..., DropFolder], drop: Path, clock: Clock, audited: list[Any], tmp_path: Path, ours: str
) -> None:
    """A local partner could have the daemon write where the partner may not. The file stays; it is told."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (drop / ours).symlink_to(elsewhere)
    name = "x.csv" if ours == ".taking" else "a\nb.csv"
    (drop / name).write_bytes(b"rows")
    folder = make()
    for _ in range(2):
        assert quiet_scan(folder, clock) == 0
    assert (drop / name).exists()
    assert list(elsewhere.iterdir()) == []
    (line,) = [line for line in audited if line["event"] != "folder_ignored"]
    assert (line["event"], line["reason"]) == ("folder_cannot_take", f"{ours} is a symbolic link; none is followed")
    (drop / ours).unlink()
    quiet_scan(folder, clock)
    assert not (drop / name).exists()


def test_a_campaign_that_becomes_a_link_is_not_followed(
    make: Callable[..., DropFolder], drop: Path, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at a file and its claim."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x.csv").write_bytes(b"secret")
    (drop / "C-1").mkdir()
    (drop / "C-1/x.csv").write_bytes(b"rows")
    folder = make()
    custody = folder._taking._custody
    hold = custody.hold

    def swap(file: Any) -> Any:
        (drop / "C-1").rename(tmp_path / "away")
        (drop / "C-1").symlink_to(tmp_path / "elsewhere")
        return hold(file)

    monkeypatch.setattr(custody, "hold", swap)
    assert quiet_scan(folder, clock) == 0
    assert (tmp_path / "elsewhere/x.csv").read_bytes() == b"secret"


def test_a_reason_is_not_written_through_a_link(
    make: Callable[..., DropFolder], drop: Path, clock: Clock, tmp_path: Path
) -> None:
    """Nor over what lies there."""
    (tmp_path / "precious").write_bytes(b"precious")
    (drop / "rejected").mkdir()
    (drop / "rejected/big.csv.reason.txt").symlink_to(tmp_path / "precious")
    (drop / "big.csv").write_bytes(b"x" * 1001)
    assert quiet_scan(make(), clock) == 0
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert (drop / "rejected/big.csv.1.reason.txt").exists()


def test_an_operator_may_link_the_folder_of_a_source(
    make: Callable[..., DropFolder], drop: Path, clock: Clock, tmp_path: Path
) -> None:
    """To another disk: partners cannot write where that link lies."""
    drop.rename(tmp_path / "disk")
    drop.symlink_to(tmp_path / "disk")
    (drop / "x.csv").write_bytes(b"rows")
    (drop / "big.csv").write_bytes(b"x" * 1001)
    assert quiet_scan(make(), clock) == 1
    assert (drop / "rejected/big.csv.reason.txt").exists()


def test_hundreds_at_once(make: Callable[..., DropFolder], drop: Path, clock: Clock, ledger: MemoryLedger) -> None:
    """Each once, oldest first."""
    for number in range(200):
        path = drop / f"{number:03}.csv"
        path.write_bytes(b"%d" % number)
        os.utime(path, ns=(0, 10**9 * (1000 - number)))
    assert quiet_scan(make(), clock) == 200
    assert [arrival.name for arrival in ledger.arrivals] == [f"{number:03}.csv" for number in reversed(range(200))]
    assert lying(drop) == []


# --- what can go wrong


def test_a_store_that_is_away_delays_only(
    make: Callable[..., DropFolder], drop: Path, clock: Clock, ledger: MemoryLedger, tmp_path: Path, audited: list[Any]
) -> None:
    """The files stay, the spool stays empty, and the log does not fill up."""
    (drop / "x.csv").write_bytes(b"x")
    (drop / "y.csv").write_bytes(b"y")
    folder = make()
    ledger.away = True
    for _ in range(5):
        assert quiet_scan(folder, clock) == 0
    assert files_below(tmp_path / "spool") == []
    assert [line["event"] for line in audited] == ["folder_store_away"]
    ledger.away = False
    quiet_scan(folder, clock)
    assert sorted(arrival.name for arrival in ledger.arrivals) == ["x.csv", "y.csv"]
    assert lying(drop) == []


def test_a_full_disk_delays_only(
    make: Callable[..., DropFolder], drop: Path, clock: Clock, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is moved aside for it."""
    (drop / "x.csv").write_bytes(b"x")
    folder = make()
    monkeypatch.setattr(spool, "_reserve", 2**62)
    assert quiet_scan(folder, clock) == 0
    monkeypatch.undo()
    assert quiet_scan(folder, clock) == 1


def test_a_new_file_under_the_name_waits_for_the_old_one(
    make: Callable[..., DropFolder], drop: Path, clock: Clock, ledger: MemoryLedger, spool: Spool
) -> None:
    """While the first could not be recorded the second comes; both are kept, in order."""
    folder = make()
    ledger.away = True
    (drop / "x.csv").write_bytes(b"first")
    quiet_scan(folder, clock)
    (drop / "x.csv").write_bytes(b"second")
    quiet_scan(folder, clock)
    ledger.away = False
    quiet_scan(folder, clock)
    quiet_scan(folder, clock)
    assert [spool.read(landed.key) for _, landed in ledger.rows] == [b"first", b"second"]


@dataclass
class Parts:
    """What a crash leaves behind and another start finds."""

    landing: Landing
    ledger: MemoryLedger
    spool: Spool
    root: Path


@pytest.fixture
def parts(landing: Landing, ledger: MemoryLedger, spool: Spool, tmp_path: Path) -> Parts:
    return Parts(landing, ledger, spool, tmp_path / "spool")


class Killed(BaseException):
    """The process ends here."""


def _crash(*_: object, **__: object) -> None:
    raise Killed


def _die_holding(incoming: Any, *_: object) -> None:
    os.close(incoming._descriptor)  # as the kernel does, which also drops the lock
    raise Killed


CRASHES: dict[str, tuple[str, str, Callable[..., None]]] = {
    "before the claim": ("custody", "hold", _crash),
    "before the removal": ("custody", "taken", _crash),
    "after the claim": ("landing", "adopt", _crash),
    "after the copy": ("landing", "accept", _die_holding),
    "after the rename": ("ledger", "record", _crash),
    "after the row": ("ledger", "after", _crash),
    "after the receipt": ("audit", "info", _crash),
}


@pytest.mark.parametrize(("owner", "step", "death"), CRASHES.values(), ids=CRASHES.keys())
def test_a_kill_at_any_point_neither_loses_nor_doubles(
    owner: str,
    step: str,
    death: Callable[..., None],
    make: Callable[..., DropFolder],
    drop: Path,
    clock: Clock,
    parts: Parts,
) -> None:
    """After another start the file is loaded once, and nothing is left over."""
    (drop / "C-1").mkdir()
    (drop / "C-1/x.csv").write_bytes(b"rows")
    folder = make()
    whole = {
        "custody": folder._taking._custody,
        "landing": parts.landing,
        "ledger": parts.ledger,
        "audit": folder._audit,
    }
    with pytest.MonkeyPatch.context() as dying:
        dying.setattr(parts.landing, "_take_back", lambda _: None)  # a killed process tidies nothing
        dying.setattr(whole[owner], step, death)
        with pytest.raises(Killed):
            quiet_scan(folder, clock)
    parts.spool.sweep(parts.ledger.known_spool_key)
    quiet_scan(make(), clock)
    ((arrival, landed),) = parts.ledger.loaded()
    kept = parts.spool._storage.path(f"deliveries/{landed.key}")
    assert (arrival.name, arrival.folder, kept.read_bytes()) == ("x.csv", "C-1", b"rows")
    assert lying(drop) == []
    parts.spool.sweep(parts.ledger.known_spool_key)
    assert files_below(parts.root / "tmp") == []
    assert files_below(parts.root / "deliveries") == [kept]
    assert {path.read_bytes() for path in files_below(parts.root / "orphans")} <= {b"rows"}


def test_an_unexpected_failure_of_one_file_does_not_hold_up_the_others(
    make: Callable[..., DropFolder], drop: Path, clock: Clock, ledger: MemoryLedger, audited: list[Any]
) -> None:
    """It is told once, as the bug that it is; the file stays."""
    (drop / "a.csv").write_bytes(b"a")
    (drop / "b.csv").write_bytes(b"b")
    folder = make()

    def fail_on_the_first() -> None:
        if not ledger.rows:
            ledger.before = lambda: None
            raise RuntimeError("a bug")

    ledger.before = fail_on_the_first
    assert quiet_scan(folder, clock) == 1
    assert len(told(audited, "folder_fault")) == 1
    assert quiet_scan(folder, clock) == 1
    assert lying(drop) == []


@pytest.fixture
def fast_spool() -> Iterator[Spool]:
    """On a file system where fsync costs nothing: not what is tested here."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Spool(Path(folder), reserve_bytes=0)


def test_thousands_at_once(
    make: Callable[..., DropFolder], drop: Path, clock: Clock, ledger: MemoryLedger, fast_spool: Spool
) -> None:
    """Each exactly once, while some are still coming."""
    folder = make()
    folder._taking._landing = Landing(fast_spool, ledger, ring=lambda: None)
    for number in range(3000):
        (drop / f"{number}.csv").write_bytes(b"%d" % number)
        if number % 1000 == 500:
            quiet_scan(folder, clock)
    quiet_scan(folder, clock)
    assert sorted(int(arrival.name[:-4]) for arrival in ledger.arrivals) == list(range(3000))
    assert lying(drop) == []


# --- permissions


@pytest.fixture
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place of somebody whom permissions bind; the test runs as that user."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        root = os.geteuid() == 0
        if root:
            nobody = pwd.getpwnam("nobody").pw_uid
            place.chmod(0o755)
            os.chown(place, nobody, -1)
            os.seteuid(nobody)
        try:
            yield place
        finally:
            if root:
                os.seteuid(0)


@pytest.mark.parametrize("after", ["done", "leave"])
@pytest.mark.parametrize("locked", ["acme", "acme/C-1", "acme/x.csv"])
def test_missing_permissions_are_told_and_survived(
    unprivileged: Path, clock: Clock, ledger: MemoryLedger, audit: Any, audited: list[Any], locked: str, after: Any
) -> None:
    """Of the folder, of a campaign's folder, of a file; a file stays where its sender sees it. Then all is taken."""
    root = unprivileged / "drop"
    (root / "acme/C-1").mkdir(parents=True)
    for name in ("acme/x.csv", "acme/y.csv", "acme/C-1/z.csv"):
        (root / name).write_bytes(name.encode())
    landing = Landing(Spool(unprivileged / "spool", reserve_bytes=0), ledger, ring=lambda: None)
    options, sources = DropOptions(root=root, after=after), {"acme": FolderOptions(limit=1000)}
    folder = DropFolder(options, sources, landing, memory=MemoryInProcess(), clock=clock, audit=audit)
    mode = (root / locked).stat().st_mode
    (root / locked).chmod(0)
    for _ in range(2):
        quiet_scan(folder, clock)
    event = "folder_cannot_take" if locked.endswith(".csv") else "folder_cannot_look"
    assert [line["reason"] for line in told(audited, event)] == ["Permission denied"]
    (root / locked).chmod(mode)
    assert (root / "acme/x.csv").exists() or locked != "acme/x.csv"
    assert len(ledger.rows) == (0 if locked == "acme" else 2)
    quiet_scan(folder, clock)
    assert sorted(arrival.name for arrival in ledger.arrivals) == ["x.csv", "y.csv", "z.csv"]
    assert told(audited, "folder_fault") == []
