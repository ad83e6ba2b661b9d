"""What becomes of a file of the drop folder: it is moved away while it is taken, or left where it is and remembered."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import quote_from_bytes

from ingestd.receive.folder_moves import claim, put_aside, remove, unchanged
from ingestd.receive.folder_rules import Mark
from ingestd.receive.folder_scan import Found, claim_path
from ingestd.receive.results import REJECTED


class Custody(Protocol):
    """What is done to files."""

    def done_with(self, file: Found) -> bool:
        """True when the file was taken before, as it is now. Raises Unavailable."""

    def hold(self, file: Found) -> Path | None:
        """Where the file is to be read; None while it cannot be had. Raises OSError."""

    def taken(self, file: Found, path: Path, delivery_id: int | None) -> None:
        """The file is kept elsewhere now. Raises OSError, Unavailable."""

    def refused(self, file: Found, path: Path, reason: str, *, recorded: bool) -> None:
        """The file is not taken; `recorded` when the ledger knows of it. Raises OSError, Unavailable."""

    def looked(self, source: str, base: Path, files: Collection[Found]) -> None:
        """These are all the files of a source now. Raises Unavailable."""


class MoveAway:
    """Files are claimed by a rename, and removed when they are kept: an empty folder means that all was taken."""

    def __init__(self, *, handed_back: bool) -> None:
        """`handed_back`: files that the ledger knows of come back with their results."""
        self._handed_back = handed_back

    def done_with(self, file: Found) -> bool:  # noqa: ARG002 - what is there was not taken
        """Never: what was taken is gone."""
        return False

    def hold(self, file: Found) -> Path | None:
        """The file in `.taking/`, so that a new one under its name is not mistaken for it."""
        if file.claimed or file.kind:  # a companion is small and soon gone
            return file.path
        target = claim_path(file)
        return target if claim(file.base, file.path, target) else None

    def taken(self, file: Found, path: Path, delivery_id: int | None) -> None:  # noqa: ARG002 - the ledger knows it
        """Removed, unless a writer still had it: then it is taken again, as a new version."""
        with contextlib.suppress(FileNotFoundError):
            if unchanged(file.base, path, file.status):
                remove(file.base, path)

    def refused(self, file: Found, path: Path, reason: str, *, recorded: bool) -> None:
        """Put where its sender finds it, with the reason beside it; or removed when it comes back with its receipt."""
        if recorded and self._handed_back:
            self.taken(file, path, None)
        else:
            put_aside(file.base, path, file.base / REJECTED / file.raw_name, reason)

    def looked(self, source: str, base: Path, files: Collection[Found]) -> None:
        """Nothing is remembered of them."""


class Memory(Protocol):
    """What is known of files that were left where they are; each call raises Unavailable."""

    def known(self, source: str) -> Mapping[str, str]:
        """Path and mark of every file that was taken."""

    def remember(self, source: str, path: str, mark: str, delivery_id: int | None) -> None:
        """A file was taken as it is now; None when it became no delivery."""

    def forget(self, source: str, paths: Collection[str]) -> None:
        """These files are gone."""


class LeaveInPlace:
    """Files are only read. What was taken is remembered, so that neither a scan nor a restart takes it again."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._known: dict[str, dict[str, str]] = {}
        self._trusted: dict[Path, tuple[int, int]] = {}

    def done_with(self, file: Found) -> bool:
        """True when a file with this path and mark was taken."""
        return self._of(file.source).get(_place(file)) == mark_text(file.mark)

    def hold(self, file: Found) -> Path | None:
        """The file where it is."""
        return file.path

    def taken(self, file: Found, path: Path, delivery_id: int | None) -> None:  # noqa: ARG002 - where it is
        """Remembered."""
        known, place, mark = self._of(file.source), _place(file), mark_text(file.mark)
        self._memory.remember(file.source, place, mark, delivery_id)
        known[place] = mark

    def refused(self, file: Found, path: Path, reason: str, *, recorded: bool) -> None:  # noqa: ARG002 - told by the log
        """Remembered, so that it is told once."""
        self.taken(file, path, None)

    def looked(self, source: str, base: Path, files: Collection[Found]) -> None:
        """Forget the files that are gone, unless their file system may be what is gone.

        A folder is trusted once a file that is remembered was seen in it, for as long as it is the same folder: the
        empty mount point of a share that is away is another.
        """
        known = self._of(source)
        present = {_place(file): file.path.parent for file in files if not file.claimed}
        for folder in {folder for place, folder in present.items() if place in known}:
            self._trust(folder)
        gone = [place for place in known if place not in present and self._is_gone(base, place)]
        if gone:
            self._memory.forget(source, gone)
            for place in gone:
                del known[place]

    def _is_gone(self, base: Path, place: str) -> bool:
        folder = base / place.rpartition("/")[0]
        if folder != base and not os.path.lexists(folder):
            folder = base
        identity = _identity(folder)
        return identity is not None and self._trusted.get(folder) == identity

    def _trust(self, folder: Path) -> None:
        if identity := _identity(folder):
            self._trusted[folder] = identity

    def _of(self, source: str) -> dict[str, str]:
        if source not in self._known:
            self._known[source] = dict(self._memory.known(source))
        return self._known[source]


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _place(file: Found) -> str:
    """The path within the source's folder, as text that every store keeps, whatever bytes are in the name.

    The folder is a campaign code, which needs no escape.
    """
    name = quote_from_bytes(os.fsencode(file.raw_name))
    return f"{file.folder}/{name}" if file.folder else name


def mark_text(mark: Mark) -> str:
    """Inode, size and time of change. The device's number is left out: it changes when a share is mounted again."""
    return ":".join(map(str, mark[1:]))
