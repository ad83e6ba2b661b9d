"""The spool: complete or absent, durable when it says so, and swept without touching what is running."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from ingestd.spool import Changed, Gap, Spool, Swept


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", reserve_bytes=0)


def everything(spool_root: Path) -> list[Path]:
    return [path for path in spool_root.rglob("*") if path.is_file()]


def test_a_write_that_failed_early_is_not_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells it to whoever asks first, and says ok to the next one."""
    answers = [OSError(errno.EIO, "broken disk"), None]

    def fsync(_descriptor: int) -> None:
        if answer := answers.pop(0):
            raise answer

    incoming = Spool(tmp_path, reserve_bytes=0).open(limit=100)
    incoming.write(b"rows")
    with ThreadPoolExecutor(1) as threads, monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        incoming.sync_early(threads)
        with pytest.raises(OSError, match="broken disk"):
            incoming.commit()
    incoming.close()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_committed_bytes_are_found_under_their_key(spool: Spool) -> None:
    """What was written is what lies in the spool, with its size and hash."""
    incoming = spool.open(limit=100)
    incoming.write(b"a,b\n")
    incoming.write(b"1,2\n")
    landed = incoming.commit()
    incoming.close()
    assert spool.read(landed.key) == b"a,b\n1,2\n"
    assert (landed.size, landed.sha256) == (8, hashlib.sha256(b"a,b\n1,2\n").hexdigest())


def test_file_and_folder_are_synced_around_the_rename(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order is: content, new folders, rename, the folder of the name."""
    steps = watched(monkeypatch)
    spool.open(limit=100).commit()
    assert steps == ["file", "dir", "dir", "dir", "dir", "rename", "dir"]


def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synced and renamed from now on, in order."""
    steps: list[str] = []
    sync, rename = os.fsync, Path.rename
    monkeypatch.setattr(
        os, "fsync", lambda fd: (steps.append("dir" if Path(f"/proc/self/fd/{fd}").is_dir() else "file"), sync(fd))
    )
    monkeypatch.setattr(Path, "rename", lambda self, target: (steps.append("rename"), rename(self, target)))
    return steps


def test_closing_lets_go_also_of_what_cannot_be_removed(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would count among a source's open files until the process ends, and a receipt be told as a failure."""
    incoming, closed = spool.open(limit=100), []
    incoming.on_close = lambda: closed.append(1)
    descriptor = incoming._descriptor
    with monkeypatch.context() as patch, capture_logs() as told:
        patch.setattr(Path, "unlink", broken_disk)
        incoming.close()
    assert closed == [1]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    assert [line["event"] for line in told] == ["temporary_file_left"]
    assert spool.remove_left() == 1


def test_a_file_whose_folder_cannot_be_made_durable_is_not_kept(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sender is told so, and sends again: it must not stay beside that as a file that nobody names."""
    incoming = spool.open(limit=100)
    incoming.write(b"rows")
    with monkeypatch.context() as patch:
        patch.setattr("ingestd.storage.durable.sync", broken_disk)
        with pytest.raises(OSError, match="broken disk"):
            incoming.commit()
    incoming.close()
    assert everything(tmp_path) == []


def test_what_a_dead_process_was_receiving_is_removed(spool: Spool, tmp_path: Path) -> None:
    received = spool.open(limit=100)
    (tmp_path / "spool" / "tmp" / "of-the-dead").write_bytes(b"half")
    assert spool.remove_left() == 1
    assert [path.name for path in everything(tmp_path)] == [Path(received.name).name]
    received.close()


def broken_disk(*_: object, **__: object) -> None:
    raise OSError(errno.EIO, "broken disk")


def test_closing_without_commit_leaves_nothing(spool: Spool, tmp_path: Path) -> None:
    """Complete or absent: closing is giving up, and may be done twice."""
    incoming = spool.open(limit=100)
    incoming.write(b"half")
    incoming.close()
    incoming.abort()
    assert incoming.closed
    assert everything(tmp_path) == []


def test_over_the_limit_is_said_while_bytes_arrive(spool: Spool) -> None:
    """The byte that is too many is refused at once."""
    incoming = spool.open(limit=4)
    incoming.write(b"1234")
    with pytest.raises(OSError, match="larger than 4 bytes") as caught:
        incoming.write(b"5")
    assert caught.value.errno == errno.EFBIG


def test_the_reserve_of_the_disk_is_kept(tmp_path: Path) -> None:
    """A nearly full disk is said before the store cannot write any more."""
    full = Spool(tmp_path, reserve_bytes=2**62)
    with pytest.raises(OSError, match="stay free") as caught:
        full.open(limit=1)
    assert caught.value.errno == errno.ENOSPC


def test_the_reserve_is_looked_at_during_a_transfer(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up during a large file is noticed before it is full."""
    incoming = spool.open(limit=2**40)
    monkeypatch.setattr(spool, "_reserve", 2**62)
    incoming.write(b"x" * 1024)
    eight = b"x" * 8 * 2**20
    with pytest.raises(OSError, match="stay free"):
        incoming.write(eight)
    incoming.close()


@pytest.mark.parametrize(
    "key", ["", "../../etc/passwd", "2026/11/24/../../../x", "/etc/passwd", "2026/11/24/xyz", "2026/11/24/" + "a" * 31]
)
def test_only_keys_of_the_spool_are_taken(spool: Spool, key: str) -> None:
    """No key leads outside."""
    with pytest.raises(ValueError, match="not a key"):
        spool.has(key)


@given(st.text())
def test_no_text_leads_outside(tmp_path_factory: pytest.TempPathFactory, key: str) -> None:
    """Any other text is refused too."""
    with pytest.raises(ValueError, match="not a key"):
        Spool(tmp_path_factory.getbasetemp() / "keys", reserve_bytes=0).has(key)


def test_adopting_copies_and_leaves_the_source(spool: Spool, tmp_path: Path) -> None:
    """The source is the caller's to remove, after the receipt."""
    source = tmp_path / "x.csv"
    source.write_bytes(b"content")
    incoming = spool.adopt(source, limit=100)
    with source.open("ab") as late:
        late.write(b" and more")  # a writer who still has the source cannot change the delivery
    landed = incoming.commit()
    assert spool.read(landed.key) == b"content"
    assert source.read_bytes() == b"content and more"


def test_a_source_that_changes_while_it_is_read_is_noticed(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half old and half new is not a file."""
    source = tmp_path / "x.csv"
    source.write_bytes(b"first")
    read = os.read

    def read_and_change(descriptor: int, size: int) -> bytes:
        chunk = read(descriptor, size)
        if not chunk:
            source.write_bytes(b"second")
        return chunk

    monkeypatch.setattr(os, "read", read_and_change)
    with pytest.raises(Changed):
        spool.adopt(source, limit=100)
    assert everything(tmp_path) == [source]


def test_neither_links_nor_pipes_are_adopted(spool: Spool, tmp_path: Path) -> None:
    """A link may point to what the daemon alone may read; a pipe would never end."""
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(OSError, match=r"symbolic links|regular file"):
            spool.adopt(tmp_path / name, limit=2**20)


def test_too_large_a_source_is_refused_before_it_is_read(spool: Spool, tmp_path: Path) -> None:
    """Its size is known beforehand."""
    (tmp_path / "x").write_bytes(b"12345")
    with pytest.raises(OSError, match="larger than 4 bytes") as caught:
        spool.adopt(tmp_path / "x", limit=4)
    assert caught.value.errno == errno.EFBIG


def test_parking_gives_the_file_away(spool: Spool, tmp_path: Path) -> None:
    """It appears at its place and is no longer the spool's."""
    incoming = spool.open(limit=10)
    incoming.write(b"x")
    incoming.park(tmp_path / "x.part")
    assert (tmp_path / "x.part").read_bytes() == b"x"
    assert incoming.closed
    assert everything(tmp_path / "spool") == []


def test_a_parked_file_survives_a_power_cut(spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sender is told that it is kept; also the campaign's folder, when it is new."""
    steps = watched(monkeypatch)
    spool.open(limit=10).park(tmp_path / "x.part")
    assert steps == ["file", "rename", "dir"]
    steps.clear()
    spool.open(limit=10).park(tmp_path / "DK-FIBRE" / "x.part")
    assert steps == ["file", "dir", "rename", "dir"]


def test_parking_on_another_file_system_copies(spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Homes may be on another disk than the spool."""
    rename = Path.rename

    def across(self: Path, target: Path) -> Path:
        if self.parent != target.parent:
            raise OSError(errno.EXDEV, "other file system")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", across)
    incoming = spool.open(limit=10)
    incoming.write(b"x")
    steps = watched(monkeypatch)
    incoming.park(tmp_path / "x.part")
    assert steps == ["file", "rename", "file", "rename", "dir"], "the copy is synced too"
    assert (tmp_path / "x.part").read_bytes() == b"x"
    assert everything(tmp_path) == [tmp_path / "x.part"]


def test_the_sweep_clears_what_a_crash_left(spool: Spool, tmp_path: Path) -> None:
    """A killed process leaves a temporary file, and a file that no delivery names; that one is put aside and told."""
    code = (
        "import os, sys; from pathlib import Path; from ingestd.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1]), reserve_bytes=0)\n"
        "spool.open(limit=9).write(b'half'); i = spool.open(limit=9); i.write(b'row less'); print(i.commit().key)\n"
        "sys.stdout.flush(); os.kill(os.getpid(), 9)"
    )
    ran = subprocess.run([sys.executable, "-c", code, tmp_path / "spool"], stdout=subprocess.PIPE, check=False)
    assert ran.returncode == -9
    assert len(everything(tmp_path)) == 2
    kept = spool.open(limit=9).commit()
    with capture_logs() as told:
        assert spool.sweep(lambda key: key == kept.key) == Swept(temporary=1, orphans=1)
    key = ran.stdout.decode().strip()
    orphan = tmp_path / "spool" / "orphans" / key.replace("/", "-")
    assert sorted(everything(tmp_path)) == sorted([tmp_path / "spool/deliveries" / kept.key, orphan])
    assert orphan.read_bytes() == b"row less"
    assert told == [{"event": "spool_orphan", "log_level": "warning", "key": key, "moved_to": str(orphan)}]
    assert spool.has(kept.key)


def test_a_sweep_with_the_wrong_database_deletes_nothing(spool: Spool, tmp_path: Path) -> None:
    """An older or another store knows none of the acknowledged files; every byte is still there."""
    for number in range(3):
        incoming = spool.open(limit=9)
        incoming.write(b"%d" % number)
        incoming.commit()
        incoming.close()
    assert spool.sweep(lambda _: False) == Swept(orphans=3)
    assert sorted(path.read_bytes() for path in (tmp_path / "spool" / "orphans").iterdir()) == [b"0", b"1", b"2"]
    assert spool.sweep(lambda _: False) == Swept()
    assert len(everything(tmp_path)) == 3


def test_an_orphan_overwrites_no_other(spool: Spool, tmp_path: Path) -> None:
    """An operator may have put a file back that comes here again."""
    orphans = tmp_path / "spool" / "orphans"
    orphans.mkdir()
    incoming = spool.open(limit=9)
    incoming.write(b"new")
    landed = incoming.commit()
    incoming.close()
    name = landed.key.replace("/", "-")
    (orphans / name).write_bytes(b"old")
    (orphans / f"{name}.1").symlink_to(tmp_path / "nowhere")
    assert spool.sweep(lambda _: False).orphans == 1
    assert (orphans / name).read_bytes() == b"old"
    assert (orphans / f"{name}.2").read_bytes() == b"new"


def test_two_sweeps_at_once_move_a_file_once(spool: Spool) -> None:
    """The slower one finds it gone."""
    incoming = spool.open(limit=9)
    incoming.commit()
    incoming.close()
    inner: list[Swept] = []

    def known(_: str) -> bool:
        if not inner:
            inner.append(Swept())
            inner[0] = spool.sweep(lambda _: False)
        return False

    assert spool.sweep(known) == Swept()
    assert inner == [Swept(orphans=1)]


def test_the_sweep_leaves_running_ones_alone(spool: Spool) -> None:
    """Neither a file that is being received nor one whose row is being written is touched."""
    receiving, recording = spool.open(limit=9), spool.open(limit=9)
    landed = recording.commit()
    assert spool.sweep(lambda _: False) == Swept()
    receiving.close()
    recording.close()
    assert spool.sweep(lambda _: False) == Swept(orphans=1)
    assert not spool.has(landed.key)


def test_a_row_written_during_the_sweep_saves_its_file(spool: Spool) -> None:
    """The second question is asked under the lock."""
    incoming = spool.open(limit=9)
    landed = incoming.commit()
    answers = iter([False, True])
    incoming.close()
    assert spool.sweep(lambda _: next(answers)) == Swept()
    assert spool.has(landed.key)


def test_opening_while_sweeping_loses_nothing(spool: Spool) -> None:
    """A sweep between the creation of a file and its lock makes the spool take another name."""
    ended = threading.Event()

    def sweep() -> None:
        while not ended.is_set():
            spool.sweep(lambda _: True)

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        for number in range(200):
            incoming = spool.open(limit=9)
            incoming.write(b"%d" % number)
            landed = incoming.commit()
            incoming.close()
            assert spool.read(landed.key) == b"%d" % number
    finally:
        ended.set()
        sweeper.join()


def test_discarding_twice_is_fine(spool: Spool) -> None:
    """The second time there is nothing left to remove."""
    landed = spool.open(limit=9).commit()
    spool.discard(landed.key)
    spool.discard(landed.key)
    assert not spool.has(landed.key)


# --- bytes that do not come in order


@given(
    content=st.binary(max_size=400),
    cuts=st.lists(st.integers(0, 400), max_size=12),
    order=st.randoms(use_true_random=False),
    again=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), max_size=5),
)
def test_pieces_in_any_order_make_the_file(
    tmp_path_factory: pytest.TempPathFactory,
    content: bytes,
    cuts: list[int],
    order: random.Random,
    again: list[tuple[int, int]],
) -> None:
    """Also when some come twice."""
    spool = Spool(tmp_path_factory.mktemp("spool"), reserve_bytes=0)
    ends = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    pieces = [*pairwise(ends), *((start, end) for start, end in again if start <= end <= len(content))]
    order.shuffle(pieces)
    incoming = spool.open(limit=400)
    for start, end in pieces:
        assert incoming.write_at(start, content[start:end]) == end - start
    landed = incoming.commit()
    incoming.close()
    assert spool.read(landed.key) == content
    assert (landed.size, landed.sha256) == (len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(
    ("pieces", "missing"),
    [([(3, b"x")], "0 to 2"), ([(0, b"ab"), (4, b"x")], "2 to 3"), ([(0, b"a"), (2, b"b"), (4, b"c")], "1 to 1")],
)
def test_a_hole_is_no_file(spool: Spool, tmp_path: Path, pieces: list[tuple[int, bytes]], missing: str) -> None:
    """Neither in the spool nor parked."""
    incoming = spool.open(limit=100)
    for offset, chunk in pieces:
        incoming.write_at(offset, chunk)
    for keep in (incoming.commit, lambda: incoming.park(tmp_path / "x.part")):
        with pytest.raises(Gap, match=f"bytes {missing} are missing"):
            keep()
    incoming.close()
    assert everything(tmp_path) == []


def test_pieces_out_of_order_have_the_same_limits(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Size, and how many there may be."""
    incoming = spool.open(limit=100)
    with pytest.raises(OSError, match="larger than 100 bytes"):
        incoming.write_at(100, b"x")
    monkeypatch.setattr("ingestd.spool._MOST_PIECES", 3)
    incoming = spool.open(limit=100)
    incoming.write_at(10, b"x")
    incoming.write_at(20, b"x")
    with pytest.raises(OSError, match="more than 3 pieces"):
        incoming.write_at(30, b"x")
