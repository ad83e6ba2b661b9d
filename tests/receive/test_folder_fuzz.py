"""Whatever senders do with a folder, each file that was whole is one delivery, and nothing else is touched."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import structlog
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ingestd.receive import names
from ingestd.receive.companions import kind_of
from ingestd.receive.folder import DropFolder, DropOptions, FolderOptions
from ingestd.receive.folder_rules import PATIENCE
from ingestd.spool import Spool
from tests.receive.dropping import QUIET, Clock, Judge, MemoryInProcess
from tests.receive.receiving import MemoryLedger

LIMIT = 300  # bytes

PLACES = st.sampled_from(["", "C-1", "C-2", "results", "deep/er", ".taken"])
USUAL = ["x.csv", "y.csv", "caf\xe9.csv", "x.csv.part", ".x.csv.Ab12", "~x.csv", "x.csv.done", "y.csv.sha256", "@x.csv"]
BYTES = st.binary(min_size=1, max_size=30).filter(lambda raw: not set(raw) & {0, ord("/")} and raw not in (b".", b".."))
NAMES = st.one_of(
    st.sampled_from([name.encode() for name in USUAL]),
    st.sampled_from([b"caf\xe9.csv", b"a\nb.csv", b"n" * 250, b"n" * 180, b"\xc3", b"x.csv.1", b"x.csv.reason.txt"]),
    BYTES,
).map(os.fsdecode)
SUFFIXES = st.sampled_from([".done", ".OK", ".sha256", ".md5", ".count"])


def eligible(path: Path, drop: Path) -> bool:
    """Whether a file that lies there is meant to become a delivery."""
    folder = path.parent.relative_to(drop).as_posix()
    good = path.is_file() and not path.is_symlink() and folder in (".", "C-1", "C-2")
    if not good or names.is_partial(path.name) or kind_of(path.name):
        return False
    return not names.problem(names.label(path.name)) and path.stat().st_size <= LIMIT


class Senders(RuleBasedStateMachine):
    """Senders and scans take turns; `settle` lets so much time pass that whatever lies there counts as whole."""

    @initialize(after=st.sampled_from(["done", "results", "leave"]))
    def begin(self, after: Any) -> None:
        self.home = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.root, self.drop, self.outside = self.home / "drop", self.home / "drop/acme", self.home / "outside"
        for place in (self.drop, self.outside):
            place.mkdir(parents=True)
        (self.outside / "precious.csv").write_bytes(b"precious")
        self.after, self.memory, self.clock, self.ledger = after, MemoryInProcess(), Clock(), MemoryLedger()
        self.contents = map("{}\n".format, itertools.count())
        self.told: list[Any] = []
        self.written: set[bytes] = set()
        self.spool = Spool(self.home / "spool", reserve_bytes=0)
        self.landing = Judge(self.spool, self.ledger)
        self.restart()

    def teardown(self) -> None:
        if hasattr(self, "home"):
            self.settle()
            shutil.rmtree(self.home)

    @rule()
    def restart(self) -> None:
        """The daemon is killed between two scans."""

        def keep(_logger: Any, _method: str, line: Any) -> Any:
            self.told.append(dict(line))
            raise structlog.DropEvent

        options = DropOptions(root=self.root, after=self.after)
        sources = {"acme": FolderOptions(limit=LIMIT, quiet_seconds=QUIET)}
        audit = structlog.wrap_logger(None, processors=[keep])
        self.folder = DropFolder(options, sources, self.landing, memory=self.memory, clock=self.clock, audit=audit)

    def _write(self, path: Path, content: bytes, *, append: bool = False) -> None:
        if path.is_dir() or path.is_symlink():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab" if append else "wb") as writer:
            writer.write(content)
        self.written.add(path.read_bytes())

    @rule(place=PLACES, name=NAMES, size=st.sampled_from([1, 1, 1, LIMIT]), append=st.booleans())
    def write(self, place: str, name: str, size: int, append: bool) -> None:
        self._write(self.drop / place / name, next(self.contents).encode() * size, append=append)

    @rule(place=PLACES, name=NAMES)
    def write_nothing(self, place: str, name: str) -> None:
        self._write(self.drop / place / name, b"")

    def _some(self, data: Any) -> Path | None:
        files = sorted(path for path in self.drop.rglob("*") if path.is_file() and ".taking" not in path.parts)
        return data.draw(st.sampled_from(files)) if files else None

    @rule(data=st.data(), place=PLACES, name=NAMES, link=st.booleans())
    def rename_or_link(self, data: Any, place: str, name: str, link: bool) -> None:
        source, target = self._some(data), self.drop / place / name
        if source is None or target.is_dir() or source.is_symlink() or target == source:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if link:
            target.unlink(missing_ok=True)
            target.hardlink_to(source)
        else:
            source.rename(target)
        self.written.add(target.read_bytes())  # it may be one of our own notes

    @rule(data=st.data(), time=st.integers(0, 3))
    def touch(self, data: Any, time: int) -> None:
        path = self._some(data)
        if path is not None and not path.is_symlink():
            os.utime(path, ns=(time, time))

    @rule(data=st.data())
    def delete(self, data: Any) -> None:
        path = self._some(data)
        if path is not None:
            path.unlink()

    @rule(data=st.data(), suffix=SUFFIXES, right=st.booleans())
    def accompany(self, data: Any, suffix: str, right: bool) -> None:
        path = self._some(data)
        if path is None or len(os.fsencode(path.name)) > 240 or path.is_symlink():
            return
        algorithm = "md5" if suffix == ".md5" else "sha256"
        said = hashlib.new(algorithm, path.read_bytes()).hexdigest() if right else "nothing of use"
        self._write(path.with_name(path.name + suffix), said.encode())

    @rule(name=NAMES, to_folder=st.booleans())
    def link_elsewhere(self, name: str, to_folder: bool) -> None:
        if not os.path.lexists(self.drop / name):
            (self.drop / name).symlink_to(self.outside if to_folder else self.outside / "precious.csv")

    @rule(seconds=st.sampled_from([0.1, QUIET / 2, QUIET]))
    def look(self, seconds: float) -> None:
        self.clock.now += seconds
        self.folder.scan()

    @rule()
    def settle(self) -> None:
        expected = {self._key(path) for path in self.drop.rglob("*") if eligible(path, self.drop)}
        for _ in range(4):
            self.folder.scan()
            self.clock.now += PATIENCE
        blocked = {line["path"] for line in self.told if line["event"] == "folder_cannot_take"}
        assert expected <= set(self._delivered()) or blocked, expected - set(self._delivered())
        if self.after != "leave" and not blocked:
            assert [path for path in self.drop.rglob("*") if eligible(path, self.drop)] == []

    def _key(self, path: Path) -> tuple[str, str, bytes]:
        folder = "" if path.parent == self.drop else path.parent.name
        return folder, names.label(path.name), path.read_bytes()

    def _delivered(self) -> list[tuple[str, str, bytes]]:
        return [(arrival.folder, arrival.name, self.spool.read(landed.key)) for arrival, landed in self.ledger.loaded()]

    @invariant()
    def each_is_loaded_once_and_whole(self) -> None:
        if not hasattr(self, "home"):
            return
        delivered = self._delivered()
        assert len(delivered) == len(set(delivered))
        assert {content for *_, content in delivered} <= self.written
        assert [line for line in self.told if line["event"] == "folder_fault"] == []
        assert list(self.outside.iterdir()) == [self.outside / "precious.csv"]
        assert (self.outside / "precious.csv").read_bytes() == b"precious"


Senders.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestSenders = Senders.TestCase
