"""A folder as a storage: durable by fsync and rename. obstore does not fsync on a local disk, so this is our own."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ingestd.errors import Unavailable
from ingestd.storage.contract import NAME, Found, checked
from ingestd.storage.durable import alone, free_name, make_folder, move, sync, write

PIECE = 1024 * 1024
"""bytes that are read at once of a file that is read in pieces"""


@dataclass(frozen=True, kw_only=True)
class _New:
    folder: Path

    def target(self, name: str) -> Path:
        """Where polars writes itself: through a file of Python's it would take longer."""
        return self.folder / checked(name)

    def write(self, name: str, content: bytes) -> None:
        """Write a file in one go."""
        self.target(name).write_bytes(content)


@dataclass(frozen=True)
class Folder:
    """Files in a folder: of this machine, or on a mount that several machines share.

    A mount that is away leaves an empty folder behind, in which nothing may be kept and nothing is missing. So a shared
    one is away unless its `store-id` can be read.
    """

    root: Path
    mount: Path | None = None
    """the folder that several machines share; None for a home's own"""

    @property
    def shared(self) -> bool:
        """True for a mount."""
        return self.mount is not None

    def __str__(self) -> str:
        return str(self.root)

    def below(self, folder: str) -> Folder:
        """A folder in it."""
        return Folder(self.root / checked(folder), self.mount)

    def path(self, key: str) -> Path:
        """Where a file is."""
        return self.root / checked(key)

    def keep(self, source: Path, key: str, *, sha256: str) -> None:  # noqa: ARG002 - object stores keep it beside
        """Rename it, or copy it to the mount."""
        target = self.path(key)
        with self._mounted():
            self._look()
            try:
                move(source, target)
            except OSError:
                if not source.exists():  # it was renamed, and then the folder could not be made durable
                    with contextlib.suppress(OSError):
                        target.unlink(missing_ok=True)
                raise

    def rewrite(self, key: str, content: bytes) -> None:
        """A hidden file beside it takes its place."""
        path = self.path(key)
        partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        with self._mounted():
            mode = stat.S_IMODE(path.stat().st_mode)
            try:
                write(partial, content)
                partial.chmod(mode)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
            sync(path.parent)

    def read(self, key: str) -> bytes:
        """All bytes of a file."""
        path = self.path(key)
        with self._mounted():
            return path.read_bytes()

    def pieces(self, key: str) -> Iterator[bytes]:
        """The bytes of a file in pieces."""
        path = self.path(key)
        with self._mounted(), path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece

    def has(self, key: str) -> bool:
        """True when the file is there."""
        there = self.path(key).is_file()
        if not there:
            self._look()
        return there

    def discard(self, key: str) -> None:
        """Remove a file, if it is there."""
        self.path(key).unlink(missing_ok=True)

    def tidy(self, folder: str) -> None:
        """One that is not empty, or cannot be removed now, stays."""
        with contextlib.suppress(OSError):
            self.path(folder).rmdir()

    def found(self, folder: str) -> Iterator[Found]:
        """Every file below a folder; hidden ones are being written."""
        self._look()
        walk = os.walk(self.root / checked(folder))  # passes by folders that are removed meanwhile
        for path in (Path(place, name) for place, _, names in walk for name in names if not name.startswith(".")):
            with contextlib.suppress(FileNotFoundError):  # taken away meanwhile
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    key = path.relative_to(self.root).as_posix()
                    modified = datetime.fromtimestamp(status.st_mtime, UTC)
                    yield Found(key=key, size=status.st_size, modified=modified)

    def put_aside(self, key: str, target: str, unwanted: Callable[[], bool]) -> str:
        """Under a lock that a running landing holds, also one of another process."""
        path = self.path(key)
        with alone(path) as mine:
            # The question is asked under the lock: a row may have been written until then.
            if not mine or not unwanted():
                return ""
            wanted = self.path(target)
            make_folder(wanted.parent)
            free = free_name(wanted)
            try:
                path.rename(free)
            except FileNotFoundError:  # another sweep was quicker
                return ""
        sync(free.parent)
        sync(path.parent)
        return str(free)

    @contextlib.contextmanager
    def new(self, folder: str) -> Iterator[_New]:
        """Files and folders are fsynced at the end."""
        place = self.path(folder)
        self._look()
        try:
            place.mkdir(parents=True)
            yield _New(folder=place)
            for path in (*place.iterdir(), place, place.parent, place.parent.parent):
                sync(path)
        except OSError as problem:
            raise Unavailable(f"{place} cannot be written: {problem}") from problem

    def claim(self, name: str) -> str:
        """The name appears with its content, for one of several homes only."""
        assert self.mount is not None, "a home has a name of its own"
        partial = self.mount / f".{secrets.token_hex(8)}.tmp"
        try:
            write(partial, f"{name}\n".encode("ascii"))
            with contextlib.suppress(FileExistsError):
                (self.mount / NAME).hardlink_to(partial)
            sync(self.mount)
            return self.name() or ""
        except OSError as problem:
            raise Unavailable(f"{self.mount} cannot be written to: {problem.strerror}") from problem
        finally:
            partial.unlink(missing_ok=True)

    def name(self, seconds: float | None = None) -> str | None:  # noqa: ARG002 - the system answers, or nothing does
        """What `store-id` says."""
        try:
            return ((self.mount or self.root) / NAME).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise Unavailable(f"{self.mount} cannot be read: {problem.strerror}") from problem

    def check(self) -> None:
        """Write, read and remove a small file."""
        path = (self.mount or self.root) / f"check-{secrets.token_hex(8)}"
        try:
            path.write_bytes(b"ingestd check")
            path.read_bytes()
            path.unlink()
        except OSError as problem:
            told = (
                f"{path.parent} cannot be used: {problem.strerror}; is the share mounted, and may ingestd write there?"
            )
            raise Unavailable(told) from problem

    def _look(self) -> None:
        if self.mount is not None and self.name() is None:
            raise Unavailable(f"{self.mount} has no {NAME}: the share is not mounted")

    @contextlib.contextmanager
    def _mounted(self) -> Iterator[None]:
        """Nothing is missing on a share that is not there."""
        try:
            yield
        except FileNotFoundError:
            self._look()
            raise
