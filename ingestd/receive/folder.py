"""The drop folder: events are doorbells, the scan is the truth.

Each look finds every file and decides by what was seen of it before (`folder_rules`) which are whole. Those are taken
(`folder_taking`), oldest first, and moved away or remembered (`folder_after`).
"""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import structlog

from ingestd.errors import Unavailable
from ingestd.receive import names
from ingestd.receive.companions import SUFFIXES
from ingestd.receive.folder_after import Custody, LeaveInPlace, Memory, MoveAway
from ingestd.receive.folder_beside import Beside, Digests
from ingestd.receive.folder_events import Doorbell
from ingestd.receive.folder_rules import (
    MOVED,
    PATIENCE,
    FolderOptions,
    Observation,
    evidence,
    observe,
    overdue,
    waits_for_proof,
)
from ingestd.receive.folder_scan import APART, Found, found, passed_by
from ingestd.receive.folder_taking import Taken, Taking
from ingestd.receive.folder_watch import Watch
from ingestd.receive.landing import Landing, Receipt

__all__ = ["DropFolder", "DropOptions", "FolderOptions"]

_BEAT_SECONDS = 1.0  # the watchdog wants to be told that the loop advances at least so often
_ABOUT_FILES = {"folder_waits_for_proof", "folder_cannot_take", "folder_fault"}


@dataclass(frozen=True, kw_only=True)
class DropOptions:
    """What the drop folder of all sources does."""

    root: Path
    """the folder, with one subfolder a source"""
    after: Literal["done", "results", "leave"] = "done"
    """what becomes of a file that was taken: it comes back with its results, it is gone, or it stays untouched"""
    events: bool = True
    """False for network mounts, where the system tells of no events"""
    scan_seconds: float = 1.0
    """seconds between two looks, unless an event calls for one"""


class DropFolder:
    """Takes files from `<root>/<source>/` and `<root>/<source>/<campaign code>/`."""

    def __init__(
        self,
        options: DropOptions,
        sources: Mapping[str, FolderOptions],
        landing: Landing,
        *,
        memory: Memory | None = None,
        clock: Callable[[], float] = time.monotonic,
        beat: Callable[[], None] = lambda: None,
        audit: Any = None,
    ) -> None:
        """`memory` keeps what was taken when files are left; raises ValueError when it is missing then."""
        self._options = options
        self._root = options.root
        self._sources = dict(sources)
        self._clock = clock
        self._beat = beat
        self._audit: Any = audit or structlog.get_logger("ingestd.folder")
        self._taking = Taking(landing, _custody(options, memory), self._audit)
        self._taken = Taken()
        self._digests = Digests(beat)
        self._seen: dict[Path, Observation] = {}
        self._told: set[tuple[str, Path]] = set()
        self._watching = False
        self._bell = Doorbell(apart=APART)
        self._watch = Watch(self._root, self._bell, refused=self._not_watched, lost=self._events_lost)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="folder", daemon=True)

    def start(self) -> None:
        """Make the folders and look into them. What cannot be made is told, and looked for at each scan."""
        self._make_folders(self._sources)
        self._watching = self._options.events
        self._arm(self._sources)
        self._thread.start()

    def stop(self) -> None:
        """Finish the file at hand and stop."""
        self._ended.set()
        self._bell.ring()
        self._thread.join()
        self._watch.stop()

    def replace_sources(self, sources: Mapping[str, FolderOptions]) -> None:
        """From now on take the files of these sources, and as they say. May be called by any thread."""
        self._make_folders(sources)
        self._sources = dict(sources)  # a scan under way goes on with those it began with
        self._bell.ring()

    def _make_folders(self, sources: Iterable[str]) -> None:
        for source in sources:
            with contextlib.suppress(OSError):  # told by the scan, which cannot look into it
                (self._root / source).mkdir(parents=True, exist_ok=True)

    @property
    def traffic(self) -> dict[str, int]:
        """How many files lie there and are not taken yet. May be called by any thread."""
        return {"files": len(self._seen)}

    # --- the loop

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                if self._arm(self._sources):
                    self._audit.info("folder_watched_anew", path=str(self._root))
                self.scan()
            except Exception as problem:  # noqa: BLE001 - whatever one scan met, the next one looks again
                self._audit.error("folder_fault", exc_info=problem)
            self._rest(self._options.scan_seconds)

    def _rest(self, seconds: float) -> None:
        """Until an event rings, or for so long."""
        end = time.monotonic() + seconds
        while True:
            self._beat()
            left = end - time.monotonic()
            if left <= 0 or self._bell.wait(min(left, _BEAT_SECONDS)):
                return

    def _arm(self, sources: Iterable[str]) -> bool:
        """Watch the folders that are there now; True when that was not so."""
        return self._watching and self._watch.look(self._root / source for source in sources)

    def _not_watched(self, reason: str) -> None:
        self._audit.warning("folder_not_watched", reason=reason)

    def _events_lost(self, reason: str) -> None:
        self._audit.warning("folder_events_lost", reason=reason)
        self._bell.ring()

    def scan(self) -> list[Receipt]:
        """Look at every file once and take those that are whole."""
        sources, signs, now = self._sources, self._bell.signs(), self._clock()
        try:
            files = [file for source, options in sources.items() for file in self._found(source, options)]
            self._look(files, signs, now)
            return self._decide([file for file in files if not file.partial], now)
        except Unavailable as problem:
            self._tell_once("folder_store_away", self._root, reason=str(problem))
            return []

    # --- looking

    def _found(self, source: str, options: FolderOptions) -> list[Found]:
        base = self._root / source
        closed: dict[Path, OSError] = {}
        files: list[Found] = []
        self._beat()
        try:
            files = list(found(base, source, options, closed.__setitem__))
            for folder, reason in passed_by(base):
                self._tell_once("folder_ignored", folder, source=source, reason=reason)
        except OSError as problem:
            closed[base] = problem
        self._tell_closed(base, closed)
        if not closed:  # else a file that is not seen is not gone
            self._taking.looked(source, base, files)
        return files

    def _tell_closed(self, base: Path, closed: Mapping[Path, OSError]) -> None:
        """Which folders of a source cannot be looked into; one that could be meanwhile is told again."""
        mine = {(event, path) for event, path in self._told if base in (path, path.parent)}
        self._told -= {(event, path) for event, path in mine if event == "folder_cannot_look" and path not in closed}
        for path, problem in closed.items():
            self._tell_once("folder_cannot_look", path, reason=problem.strerror or str(problem))

    def _look(self, files: Iterable[Found], signs: Mapping[str, str], now: float) -> None:
        """Note what was seen. A rename is seen by its mark under another name, also when no event tells of it."""
        before, present = self._seen, {file.path: file for file in files}
        gone = {seen.mark for path, seen in before.items() if path not in present}
        self._seen = {}
        for path, file in present.items():
            sign = signs.get(str(path), "")
            moved = not file.claimed and path not in before and file.mark in gone
            told = sign or (MOVED if moved else "")
            self._seen[path] = observe(before.get(path), file.mark, now, sign=told, heard=bool(sign))
        self._told = {(event, path) for event, path in self._told if event not in _ABOUT_FILES or path in present}
        self._digests.forget_all_but(present)
        self._taking.forget_all_but(present)

    def _tell_once(self, event: str, path: Path, **facts: object) -> None:
        """A scan a second would write a line a second."""
        if (event, path) not in self._told:
            self._told.add((event, path))
            self._audit.warning(event, path=names.label(str(path)), **facts)

    # --- deciding

    def _decide(self, files: Iterable[Found], now: float) -> list[Receipt]:
        new, done = [], set()
        for file in files:
            if not self._taking.custody(file).done_with(file):
                new.append(file)
            elif not file.kind:
                done.add(file.place)
        companions = [file for file in new if file.kind]
        beside = Beside(companions, self._seen, now, self._digests.fits)
        receipts = self._take_all([file for file in new if not file.kind], beside, now)
        coming = {file.place for file in new if not file.kind}
        for companion in companions:
            if companion.place not in coming and beside.whole(companion) and not self._ended.is_set():
                late = companion.place in done or self._taken.misses(companion)
                self._attempt(companion, partial(self._hand, companion, now, late=late))
        return receipts

    def _take_all(self, files: Iterable[Found], beside: Beside, now: float) -> list[Receipt]:
        """Oldest first, so that versions of one name are numbered in the order they were written."""
        receipts: list[Receipt] = []
        whole = [(file, known) for file in files if (known := self._known(file, beside, now))]
        for file, known in sorted(whole, key=lambda pair: (pair[0].status.st_mtime_ns, pair[0].name)):
            if self._ended.is_set() or not self._attempt(file, partial(self._take, file, known, beside, receipts)):
                break
        return receipts

    def _known(self, file: Found, beside: Beside, now: float) -> str:
        """By what a file is known to be whole. One that has waited too long for its companion is refused."""
        seen, said = self._seen[file.path], beside.said(file)
        known = evidence(seen, file.options, now, said)
        if not known and waits_for_proof(seen, file.options, now, said):
            if overdue(seen, file.options, now) and self._options.after != "leave":
                self._attempt(file, partial(self._taking.refuse, file, file.path, _too_late(file)))
            else:
                self._tell_once("folder_waits_for_proof", file.path, source=file.source)
        return known

    # --- taking

    def _attempt(self, file: Found, action: Callable[[], None]) -> bool:
        """Do something with a file. What fails does not hold up the others; False when they would fail as well."""
        self._beat()
        try:
            action()
        except Unavailable:
            raise
        except OSError as problem:
            self._tell_once("folder_cannot_take", file.path, reason=problem.strerror or str(problem))
            return problem.errno not in (errno.ENOSPC, errno.EDQUOT)
        except Exception as problem:  # noqa: BLE001 - one file that meets a bug does not keep all others from being taken
            self._tell_once("folder_fault", file.path, exc_info=problem)
        return True

    def _take(self, file: Found, known: str, beside: Beside, receipts: list[Receipt]) -> None:
        companions = beside.of(file)
        heard = any(self._seen[each.path].heard for each in (file, *companions))
        found_by = "event" if heard and not known.startswith(("quiet", "digest")) else "scan"
        receipt = self._taking.take(file, known, companions, found_by=found_by)
        if receipt is not None:
            receipts.append(receipt)
            self._taken.note(file, companions)
            self._told -= {("folder_store_away", self._root), *((event, file.path) for event in _ABOUT_FILES)}

    def _hand(self, companion: Found, now: float, *, late: bool) -> None:
        """A companion whose file is not waiting here: it was taken before, or it has not come yet.

        One that came first lies until its file comes. It is handed in meanwhile: its file may have come by another
        door, or before the daemon was started anew.
        """
        seen = self._seen[companion.path]
        if late and self._taking.hand(companion):
            self._taken.give(companion)
            self._taking.custody(companion).taken(companion, companion.path, None)
        elif overdue(seen, companion.options, now):
            reason = f"Its file did not come within {companion.options.wait_hours:g} hours."
            self._taking.refuse(companion, companion.path, reason)
        elif not late and now - seen.since >= PATIENCE:
            self._taking.hand(companion)


def _too_late(file: Found) -> str:
    wanted = [file.name + suffix for suffix in SUFFIXES]
    return f"No companion came within {file.options.wait_hours:g} hours: {', '.join(wanted[:-1])} or {wanted[-1]}."


def _custody(options: DropOptions, memory: Memory | None) -> Custody:
    if options.after != "leave":
        return MoveAway(handed_back=options.after == "done")
    if memory is None:
        raise ValueError("files that are left where they are must be remembered")
    return LeaveInPlace(memory)
