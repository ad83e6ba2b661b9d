"""The drop folder: events are doorbells, the scan is the truth.

A file goes through four steps, and a kill between any two of them neither loses nor doubles it:

1. claimed: renamed to `.taking/`, so that a new file under the old name cannot be mistaken for it;
2. copied into the spool, hashed, fsynced (a writer who still holds the file cannot change the copy);
3. recorded in the ledger;
4. removed from `.taking/`.

What lies in `.taking/` after a crash is landed again: before step 3 that is the first time, after it the ledger answers
"duplicate" (same source, name and hash), and the file is removed. The spool's sweep takes what step 2 left.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog
from watchdog.observers import Observer

from ingestd.errors import Unavailable
from ingestd.model import Arrival, Completeness
from ingestd.receive import names
from ingestd.receive.folder_events import Doorbell
from ingestd.receive.folder_moves import claim, put_aside, remove, unchanged
from ingestd.receive.folder_rules import FolderOptions, Observation, evidence, observe, ready
from ingestd.receive.folder_scan import APART, REJECTED, Found, claim_path, found, passed_by
from ingestd.receive.landing import Landing, Receipt
from ingestd.spool import Changed, fingerprint

__all__ = ["DropFolder", "FolderOptions", "ready"]


class DropFolder:
    """Takes files from `<root>/<source>/` and `<root>/<source>/<campaign code>/`."""

    def __init__(
        self,
        root: Path,
        sources: Mapping[str, FolderOptions],
        landing: Landing,
        *,
        clock: Callable[[], float] = time.monotonic,
        scan_seconds: float = 1.0,
        audit: Any = None,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._beat = beat
        self._root = root
        self._sources = sources
        self._landing = landing
        self._clock = clock
        self._scan_seconds = scan_seconds
        self._audit: Any = audit or structlog.get_logger("ingestd.folder")
        self._seen: dict[Path, Observation] = {}
        self._told: set[tuple[str, Path]] = set()
        self._bell = Doorbell(apart=APART)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="folder", daemon=True)
        self._observer: Any = None

    def start(self) -> None:
        """Make the folders and watch them. Raises OSError when they cannot be made."""
        for source in self._sources:
            (self._root / source).mkdir(parents=True, exist_ok=True)
        self._observer = Observer()
        self._observer.schedule(self._bell, str(self._root), recursive=True)
        try:
            self._observer.start()
        except OSError as problem:  # the limit of inotify watches; scans find everything, only later
            self._audit.warning("folder_not_watched", reason=problem.strerror)
            self._observer = None
        self._thread.start()

    def stop(self) -> None:
        """Finish the file at hand and stop."""
        self._ended.set()
        self._bell.ring()
        self._thread.join()
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._beat()
            try:
                self.scan()
            except Exception as problem:  # noqa: BLE001 - whatever one scan met, the next one looks again
                self._audit.error("folder_fault", exc_info=problem)
            self._bell.wait(self._scan_seconds)

    def scan(self) -> list[Receipt]:
        """Look at every file once and take those that are whole."""
        signs, now = self._bell.signs(), self._clock()
        seen: dict[Path, Observation] = {}
        whole: list[tuple[Found, str]] = []
        for source, options in tuple(self._sources.items()):
            for file in self._found(source, options):
                sign = signs.get(str(file.path), "")
                mark = fingerprint(file.status)
                seen[file.path] = observe(self._seen.get(file.path), mark, now, sign=sign, marker=file.marker)
                if known := evidence(seen[file.path], file.options, now):
                    whole.append((file, known))
        self._seen = seen
        return self._take_all(whole)

    def _take_all(self, whole: list[tuple[Found, str]]) -> list[Receipt]:
        """Oldest first, so that versions of one name are numbered in the order they were written."""
        receipts = []
        for file, known in sorted(whole, key=lambda pair: (pair[0].status.st_mtime_ns, pair[0].name)):
            if self._ended.is_set():
                break
            self._beat()
            try:
                receipt = self._take(file, known)
            except Unavailable as problem:
                self._tell_once("folder_store_away", self._root, reason=str(problem))
                break
            except OSError as problem:
                self._tell_once("folder_cannot_take", file.path, reason=problem.strerror or str(problem))
                if problem.errno in (errno.ENOSPC, errno.EDQUOT):
                    break
            else:
                self._told -= {("folder_store_away", self._root), ("folder_cannot_take", file.path)}
                receipts += [receipt] if receipt else []
        return receipts

    # --- finding

    def _found(self, source: str, options: FolderOptions) -> list[Found]:
        base = self._root / source
        try:
            files = list(found(base, source, options))
            for folder, reason in passed_by(base):
                self._tell_once("folder_ignored", folder, source=source, reason=reason)
        except OSError as problem:
            self._tell_once("folder_cannot_look", base, reason=problem.strerror)
            return []
        self._told.discard(("folder_cannot_look", base))
        return files

    def _tell_once(self, event: str, path: Path, **facts: object) -> None:
        """A scan a second would write a line a second."""
        if (event, path) not in self._told:
            self._told.add((event, path))
            self._audit.warning(event, path=names.label(str(path)), **facts)

    # --- taking

    def _take(self, file: Found, known: str) -> Receipt | None:
        if reason := names.problem(file.name):
            self._reject(file, file.path, f"The name {reason}.")
            return None
        base = self._root / file.source
        path = file.path if file.claimed else self._claim(file)
        if path is None or not unchanged(base, path, file.status):
            return None  # written to since the scan: it is looked at again
        try:
            incoming = self._landing.adopt(path, file.options.limit)
            receipt = self._landing.accept(incoming, _arrival(file, known))
        except Changed:
            return None
        except OSError as problem:
            if problem.errno != errno.EFBIG:
                raise
            self._reject(file, path, f"The file is {problem.strerror}.")
            return None
        self._audit.info("folder_landed", **_who(file), receipt=str(receipt), evidence=known, received=receipt.size)
        if unchanged(base, path, file.status):  # else a writer still had it: it is landed again, as a new version
            remove(base, path)
        return receipt

    def _claim(self, file: Found) -> Path | None:
        """Move a file out of its senders' sight. None when one of the same name is still being taken."""
        base = self._root / file.source
        target = claim_path(base, file)
        return target if claim(base, file.path, target, file.marker) else None

    def _reject(self, file: Found, path: Path, reason: str) -> None:
        """Put a refused file where its sender finds it, with the reason beside it."""
        base = self._root / file.source
        put_aside(base, path, base / REJECTED / file.raw_name, reason)
        self._audit.info("folder_rejected", **_who(file), reason=reason)


def _who(file: Found) -> dict[str, str]:
    return {"source": file.source, "folder": file.folder, "name": file.name}


def _arrival(file: Found, known: str) -> Arrival:
    return Arrival(
        source=file.source,
        login=file.source,
        peer="local",
        protocol="folder",
        name=file.name,
        folder=file.folder,
        completeness=Completeness.PROVEN if known.startswith("marker") else Completeness.ASSUMED,
        evidence=known,
    )
