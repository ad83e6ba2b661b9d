"""Where bytes land: a temporary file of this machine, fsync, and then the storage, which keeps them for good.

In the home that is a rename on the same file system; an object store gets a copy. A file under `deliveries/` is named
by exactly one delivery row. Whoever is between the rename and the row holds a lock (flock) on the file, so a sweep can
tell a running landing from the leftover of a crash, also from another process: the kernel drops the lock of a process
that died. A storage that several homes share knows no such lock; there only files of another day are looked at.

A sweep deletes nothing under `deliveries/`. A file that no row names may be what a crash left between the rename and
the row, but also an acknowledged delivery whose row is in another database than the one that was asked (a wrong
setting, a restored backup). It goes to `orphans/`, where an operator decides.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from ingestd.digest import Digest
from ingestd.errors import Damaged, IngestdError
from ingestd.storage import Folder, Found, Storage
from ingestd.storage.durable import alone_removed, locked, move

log = structlog.get_logger()

RESERVE_BYTES = 64 * 1024 * 1024
"""bytes kept free on the file system, so that the store can still write its rows when the spool is full"""

HASHING_THREADS = 2
"""that hash large files while others go on receiving"""

ORPHAN_AGE = timedelta(days=1)
"""No landing takes so long: an older file without a delivery is what a crash left."""

_DELIVERIES, _ORPHANS, _DRAFTS = "deliveries", "orphans", "drafts"
_KEY = re.compile(r"\d{4}/\d{2}/\d{2}/[0-9a-f]{32}")
_CHUNK = 1024 * 1024
_LOOK_EVERY = 8 * 1024 * 1024  # bytes between two looks at the free space
_MOST_PIECES = 1024  # of one file that are remembered; clients that write in parallel are a few dozen ahead


class Changed(IngestdError):
    """A file was written to while it was being taken, so what was read may be neither its old nor its new content."""


class Gap(IngestdError):
    """Bytes are missing in the middle of a file that was to be kept; the text says which."""


@dataclass(frozen=True, kw_only=True)
class Landed:
    """Bytes that survive a power cut."""

    key: str
    size: int
    """bytes"""
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What the ledger answered when the landing was written down."""

    delivery_id: int
    duplicate_of: int | None = None
    """The delivery that has the same source, name and hash; its id is the one to tell the sender."""
    previous_version: int | None = None
    """The delivery that has the same source and name with other bytes."""
    held: bool = False
    """True when the delivery is not queued yet: a companion speaks about it, or one is demanded."""
    proved: bool = False
    """True for a duplicate that proves the delivery, which was waiting for that."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A file that has landed, as the ledger knows it."""

    delivery_id: int
    size: int
    """bytes"""
    sha256: str
    received_at: datetime
    spool_key: str
    """where its bytes are; the key of the delivery that it duplicates, if it is a duplicate"""


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What a sweep found."""

    temporary: int = 0
    """leftovers in `tmp/`, removed"""
    orphans: int = 0
    """files that no delivery names, moved to `orphans/`"""


class Incoming:
    """A file that is being received. Unless it is committed, closing it removes it: complete or absent."""

    def __init__(self, spool: Spool, descriptor: int, path: Path, limit: int) -> None:
        self.name = str(path)
        self.size = 0
        self._spool = spool
        self._descriptor = descriptor
        self._path = path
        self._limit = limit
        self._hash = Digest(spool.hashing)
        self._look_at = _LOOK_EVERY
        self.on_close: Callable[[], None] = lambda: None
        """called once, when nothing is open any more"""
        self._early: Future[None] | None = None
        self._pieces: list[tuple[int, int]] | None = None  # of a file that does not come in order: [from, to)

    @property
    def closed(self) -> bool:
        """True when nothing can be written any more."""
        return self._descriptor < 0

    def write(self, chunk: bytes) -> int:
        """Keep a chunk. Raises OSError: EFBIG over the limit, ENOSPC when the reserve of the disk would be touched."""
        self._grow(self.size + len(chunk))
        self._hash.update(chunk)
        rest = memoryview(chunk)
        while rest:  # a nearly full disk takes a part of a chunk before it says ENOSPC
            rest = rest[os.write(self._descriptor, rest) :]
        return len(chunk)

    def write_at(self, offset: int, chunk: bytes) -> int:
        """Keep a chunk of a file that may come in any order; raises as `write` does, EINVAL for too many pieces.

        In order it costs what `write` costs. Else the file is read once more for its hash when it is committed.
        """
        if self._pieces is None:
            if offset == self.size:
                return self.write(chunk)
            self._pieces = [(0, self.size)]
        end = offset + len(chunk)
        self._grow(max(self.size, end))
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.pwrite(self._descriptor, rest, end - len(rest)) :]
        self._pieces = _joined(self._pieces, offset, end)
        if len(self._pieces) > _MOST_PIECES:
            raise OSError(errno.EINVAL, f"sent in more than {_MOST_PIECES} pieces out of order")
        return len(chunk)

    def check_whole(self) -> None:
        """Raise Gap when bytes before the last one never came."""
        if self._pieces is not None and (missing := _missing(self._pieces)):
            first, end = missing
            raise Gap(f"bytes {first} to {end - 1} are missing")

    def _grow(self, size: int) -> None:
        self.size = size
        if size > self._limit:
            raise OSError(errno.EFBIG, f"larger than {self._limit} bytes")
        if size >= self._look_at:
            self._look_at = size + _LOOK_EVERY
            self._spool.check_room()

    def digest(self) -> str:
        """The SHA-256 of what was written so far, in hexadecimal."""
        if self._pieces is not None:
            self._hash, at = Digest(self._spool.hashing), 0
            while chunk := os.pread(self._descriptor, _CHUNK, at):
                self._hash.update(chunk)
                at += len(chunk)
        return self._hash.hexdigest()

    def sync_early(self, threads: Executor) -> None:
        """Have a thread begin to make the bytes durable while it is still being decided whether they are kept."""
        self._early = threads.submit(os.fsync, self._descriptor)

    def commit(self) -> Landed:
        """Make the bytes durable under a new key. The lock is held until `close`, due after the ledger's row.

        Raises Gap when bytes in the middle never came; OSError or Unavailable when the storage does not keep them.
        """
        sha256 = self._made_durable()
        key = self._spool.new_key()
        self._spool.keep(self._path, key, sha256)
        return Landed(key=key, size=self.size, sha256=sha256)

    def keep_as_draft(self, key: str) -> Landed:
        """Make the bytes durable where no delivery is: among the drafts of the spool. Raises as `commit` does."""
        sha256 = self._made_durable()
        self._spool.drafts.keep(self._path, key, sha256=sha256)
        return Landed(key=key, size=self.size, sha256=sha256)

    def _made_durable(self) -> str:
        """The SHA-256 of what is on the disk now."""
        self.check_whole()
        sha256 = self.digest()
        if self._early is not None:
            self._early.result()  # the kernel tells of a failed write only once, so its answer is not thrown away
        os.fsync(self._descriptor)
        return sha256

    def park(self, target: Path) -> None:
        """Give the file away, as it is, to a place outside the spool; durable, and replaces what is there."""
        self.check_whole()
        os.fsync(self._descriptor)
        move(self._path, target)
        self.close()

    def close(self) -> None:
        """Let go of the file; what was neither committed nor parked is removed. May be called again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        try:
            self._path.unlink(missing_ok=True)  # nothing is there when it was renamed
        except OSError as problem:  # what was committed stays so, and a sweep takes what was not
            log.warning("temporary_file_left", path=self.name, error=str(problem))
        finally:
            os.close(descriptor)
            self.on_close()

    abort = close


class Spool:
    """Received files. `tmp/` is private to the machine; what is kept is in a storage, by default beside it.

    There `deliveries/` holds what the ledger names, `orphans/` what it did not name at a sweep, and `drafts/` what was
    uploaded on a page and not imported yet.
    """

    def __init__(
        self,
        root: Path,
        *,
        storage: Storage | None = None,
        reserve_bytes: int = RESERVE_BYTES,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._temporary = root / "tmp"
        self._storage: Storage = storage or Folder(root)
        self._reserve = reserve_bytes
        self._clock = clock
        self.hashing: Executor = ThreadPoolExecutor(HASHING_THREADS, "hashing")
        self._temporary.mkdir(parents=True, exist_ok=True)

    @property
    def drafts(self) -> Storage:
        """Files that somebody has uploaded and not imported yet: none of them is a delivery."""
        return self._storage.below(_DRAFTS)

    def open(self, *, limit: int) -> Incoming:
        """A new private file that takes at most `limit` bytes; raises ENOSPC when the disk is nearly full."""
        self.check_room()
        while True:
            path = self._temporary / secrets.token_hex(16)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            if locked(descriptor) and os.fstat(descriptor).st_nlink:
                return Incoming(self, descriptor, path, limit)
            os.close(descriptor)  # a sweep saw the file between its creation and its lock, and took it for a leftover

    def adopt(self, source: Path, *, limit: int) -> Incoming:
        """A copy of a regular file. The source stays: whoever called removes it when the receipt is there.

        A copy and no hard link, because a writer who still has the source open would change the linked bytes after they
        were hashed. Raises Changed when the source changed meanwhile, EFBIG and ENOSPC as `Incoming.write` does.
        """
        # O_NONBLOCK: opening a FIFO must not wait for its writer; on a regular file it means nothing.
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise OSError(errno.EINVAL, "not a regular file", str(source))
            if before.st_size > limit:
                raise OSError(errno.EFBIG, f"larger than {limit} bytes", str(source))
            return self._copied(descriptor, before, limit)
        finally:
            os.close(descriptor)

    def _copied(self, descriptor: int, before: os.stat_result, limit: int) -> Incoming:
        incoming = self.open(limit=limit)
        try:
            while chunk := os.read(descriptor, _CHUNK):
                incoming.write(chunk)
            _check_unchanged(incoming.size, before, os.fstat(descriptor))
        except BaseException:
            incoming.abort()
            raise
        return incoming

    def free(self) -> int:
        """Bytes that are free on the file system."""
        disk = os.statvfs(self._temporary)
        return disk.f_bavail * disk.f_frsize

    def capacity(self) -> int:
        """Bytes that the file system has."""
        disk = os.statvfs(self._temporary)
        return disk.f_blocks * disk.f_frsize

    def has_room(self, size: int = 0) -> bool:
        """True while `size` bytes fit without touching the reserve."""
        return self.free() - size >= self._reserve

    def check_room(self, size: int = 0) -> None:
        """Raise ENOSPC unless `size` bytes fit without touching the reserve."""
        if not self.has_room(size):
            raise OSError(errno.ENOSPC, f"less than {self._reserve} bytes would stay free")

    def new_key(self) -> str:
        """A key nobody has; the day in it keeps folders small and lets an operator find files."""
        return f"{self._clock():%Y/%m/%d}/{secrets.token_hex(16)}"

    def keep(self, path: Path, key: str, sha256: str) -> None:
        """Have the storage keep a temporary file; it may be gone afterwards. Raises OSError and Unavailable."""
        self._storage.keep(path, place(key), sha256=sha256)

    def read(self, key: str, sha256: str = "") -> bytes:
        """The bytes of a key; raises FileNotFoundError, OSError and Unavailable.

        With a hash, they are held against it; raises Damaged when they are others, also when they are read once more.
        """
        for _ in range(2):
            content = self._storage.read(place(key))
            if not sha256 or hashlib.sha256(content).hexdigest() == sha256:
                return content
        raise Damaged(f"{self._storage} has other bytes for {key} than were received")

    def rewrite(self, key: str, content: bytes) -> None:
        """Other bytes for a key that is there; for anonymising alone. Raises as `read` does."""
        self._storage.rewrite(place(key), content)

    def pieces(self, key: str) -> Iterator[bytes]:
        """The same in pieces, without a check."""
        return self._storage.pieces(place(key))

    def has(self, key: str) -> bool:
        """True when the bytes of a key are there; raises Unavailable."""
        return self._storage.has(place(key))

    def discard(self, key: str) -> None:
        """Remove the bytes of a key, if they are there."""
        self._storage.discard(place(key))

    def sweep(self, known: Callable[[str], bool]) -> Swept:
        """Remove temporary files that crashes left, and put files of the home aside that no delivery names."""
        temporary = self.remove_left()
        if self._storage.shared:
            return Swept(temporary=temporary)
        moved = [self.put_aside(each.key, known) for each in list(self._kept()) if not known(each.key)]
        return Swept(temporary=temporary, orphans=sum(map(bool, moved)))

    def remove_left(self) -> int:
        """Remove temporary files of processes that died; returns how many. What is being received stays."""
        return sum(alone_removed(path) for path in self._temporary.iterdir())

    def orphans(self, known: Callable[[str], bool], *, age: timedelta = ORPHAN_AGE) -> Iterator[Found]:
        """Files that no delivery names, by their keys; younger ones may be landing just now. Raises Unavailable."""
        newest = self._clock() - age
        for each in self._kept():
            if each.modified < newest and not known(each.key):
                yield each

    def keys(self) -> Iterator[str]:
        """The key of each file that is kept; raises Unavailable."""
        return (each.key for each in self._kept())

    def _kept(self) -> Iterator[Found]:
        for each in self._storage.found(_DELIVERIES):
            key = each.key.removeprefix(f"{_DELIVERIES}/")
            if _KEY.fullmatch(key):
                yield replace(each, key=key)

    def put_aside(self, key: str, known: Callable[[str], bool]) -> str:
        """Move a file that no delivery names to `orphans/`; returns where it is, or nothing when it was left."""
        target = f"{_ORPHANS}/{key.replace('/', '-')}"
        moved = self._storage.put_aside(place(key), target, lambda: not known(key))
        if moved:
            log.warning("spool_orphan", key=key, moved_to=moved)
        return moved


def place(key: str) -> str:
    """Where the bytes of a key are in their storage; only keys that a spool makes are taken, so none leads outside."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"not a key of the spool: {key!r}")
    return f"{_DELIVERIES}/{key}"


def _joined(pieces: list[tuple[int, int]], start: int, end: int) -> list[tuple[int, int]]:
    """The pieces, in order and apart, after another one came; what touches or overlaps becomes one."""
    before = [piece for piece in pieces if piece[1] < start]
    after = [piece for piece in pieces if piece[0] > end]
    among = pieces[len(before) : len(pieces) - len(after)]
    whole = (min([start, *(piece[0] for piece in among)]), max([end, *(piece[1] for piece in among)]))
    return [*before, whole, *after]


def _missing(pieces: list[tuple[int, int]]) -> tuple[int, int] | None:
    """The first hole: from the first byte that never came to the next one that did."""
    if pieces[0][0] > 0:
        return 0, pieces[0][0]
    return (pieces[0][1], pieces[1][0]) if len(pieces) > 1 else None


def fingerprint(status: os.stat_result) -> tuple[int, int, int, int]:
    """What changes when a file is written to or replaced."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _check_unchanged(read: int, before: os.stat_result, after: os.stat_result) -> None:
    if read != before.st_size or fingerprint(after) != fingerprint(before):
        raise Changed(f"{read} bytes read of {before.st_size}, now {after.st_size}")
