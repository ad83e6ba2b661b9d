"""An object store as a storage: S3, Google Cloud Storage or Azure, by obstore.

Every put says "only if there is none", but for `rewrite`, and is over within a time that a partner waits for. It is not
believed before the store has told the size of what it has; S3 itself compares the SHA-256, which is part of each
signature.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import mmap
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import obstore
import structlog
from obstore.store import AzureStore, GCSStore, S3Store

from ingestd.errors import Misconfigured, Unavailable
from ingestd.storage.away import Foreign, Missing, Taken, Unreachable, advice, translated
from ingestd.storage.contract import NAME, Found, checked

log = structlog.get_logger()

Client = S3Store | GCSStore | AzureStore

LARGE = 64 * 1024 * 1024
"""bytes from which on a file is put in parts, which go up beside each other"""
RANGE = 8 * 1024 * 1024
"""bytes that are read at once of a file that is read in pieces"""
PART = 16 * 1024 * 1024
PARTS = 4
AWAY_SECONDS = 2.0
"""After a store did not answer nobody waits for it: else the last of many clients would wait for all before it."""
CLEANING_SECONDS = 3.0
"""What taking back a file may take; what stays is an orphan, and reported as one."""

T = TypeVar("T")


class _Patience:
    """Until when a store counts as away. Of one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._until = 0.0
        self._why = ""

    def check(self) -> None:
        """Raise Unavailable while the store counts as away."""
        with self._lock:
            if self._clock() < self._until:
                raise Unreachable(self._why)

    def lost(self, why: Unreachable) -> None:
        """The store has just not answered."""
        with self._lock:
            self._until, self._why = self._clock() + AWAY_SECONDS, str(why)


@dataclass(frozen=True, kw_only=True)
class _New:
    files: dict[str, BytesIO] = field(default_factory=dict)

    def target(self, name: str) -> BytesIO:
        """Memory: an object is put as a whole."""
        return self.files.setdefault(checked(name), BytesIO())

    def write(self, name: str, content: bytes) -> None:
        """Write a file in one go."""
        self.target(name).write(content)


@dataclass(frozen=True, kw_only=True)
class Objects:
    """Files below a prefix of a bucket."""

    client: Client
    url: str
    """without credentials, for people"""
    seconds: float
    """within which a file is put or read, or is not"""
    folder: str = ""
    """below the prefix, with a slash at its end"""
    patience: _Patience = field(default_factory=_Patience)

    @property
    def shared(self) -> bool:
        """Always: whoever has the credentials."""
        return True

    def __str__(self) -> str:
        return f"{self.url}/{self.folder}".rstrip("/")

    def below(self, folder: str) -> Objects:
        """The same with keys below a folder."""
        mine = f"{self.folder}{checked(folder)}/"
        return Objects(client=self.client, url=self.url, seconds=self.seconds, folder=mine, patience=self.patience)

    def keep(self, source: Path, key: str, *, sha256: str) -> None:
        """Put a file. Before it is believed the store says how large it is."""
        size = source.stat().st_size
        try:
            self._run(lambda: self._put_file(self._key(key), source, size, sha256))
        except (Taken, Unreachable):  # not ours, or nobody hears us; what did arrive is an orphan
            raise
        except (Unavailable, OSError):
            self._forget(key)
            raise

    async def _put_file(self, key: str, source: Path, size: int, sha256: str) -> None:
        attributes = {"sha256": sha256}
        if size < LARGE:
            await obstore.put_async(self.client, key, _mapped(source), mode="create", attributes=attributes)
        else:
            await self._put_parts(key, source, attributes)
        there = await obstore.head_async(self.client, key)
        if there["size"] != size:
            raise Unavailable(f"{self.url} has kept {there['size']} of {size} bytes")

    async def _put_parts(self, key: str, source: Path, attributes: dict[str, str]) -> None:
        """No store joins parts "only if there is none", so it is asked before; keys are random besides."""
        with contextlib.suppress(FileNotFoundError):
            await obstore.head_async(self.client, key)
            raise obstore.exceptions.AlreadyExistsError(key)
        await obstore.put_async(self.client, key, source, attributes=attributes, chunk_size=PART, max_concurrency=PARTS)

    def rewrite(self, key: str, content: bytes) -> None:
        """Put over what is there. A bucket that keeps versions keeps the old bytes, too."""
        whole, attributes = self._key(key), {"sha256": hashlib.sha256(content).hexdigest()}

        async def put() -> None:
            await obstore.head_async(self.client, whole)  # nothing new is made
            await obstore.put_async(self.client, whole, content, attributes=attributes)
            there = await obstore.head_async(self.client, whole)
            if there["size"] != len(content):
                raise Unavailable(f"{self.url} has kept {there['size']} of {len(content)} bytes")

        self._found(put)

    def read(self, key: str) -> bytes:
        """All bytes of a file."""

        async def whole() -> bytes:
            return bytes(await (await obstore.get_async(self.client, self._key(key))).bytes_async())

        return self._found(whole)

    def pieces(self, key: str) -> Iterator[bytes]:
        """The bytes of a file in pieces, each asked for when it is wanted: whoever reads slowly keeps nothing open."""
        whole = self._key(key)
        size = self._found(lambda: obstore.head_async(self.client, whole))["size"]
        for start in range(0, size, RANGE):
            yield self._run(partial(self._range, whole, start, min(start + RANGE, size)))

    async def _range(self, key: str, start: int, end: int) -> bytes:
        return bytes(await obstore.get_range_async(self.client, key, start=start, end=end))

    def has(self, key: str) -> bool:
        """True when the file is there."""
        try:
            self._found(lambda: obstore.head_async(self.client, self._key(key)))
        except FileNotFoundError:
            return False
        return True

    def discard(self, key: str) -> None:
        """Remove a file. One that cannot be removed now is an orphan, and reported as one."""
        self._forget(key)

    def tidy(self, folder: str) -> None:
        """There are no folders, only names."""

    def found(self, folder: str) -> Iterator[Found]:
        """Every file below a folder."""
        self.patience.check()
        try:
            for some in obstore.list(self.client, prefix=self._key(folder), chunk_size=1000):
                for each in some:
                    key = each["path"].removeprefix(self.folder)
                    yield Found(key=key, size=each["size"], modified=each["last_modified"])
        except Foreign as problem:
            raise self._away(problem, self.seconds) from None

    def put_aside(self, key: str, target: str, unwanted: Callable[[], bool]) -> str:
        """A copy first, and only when it is as large the old one goes. No lock: ask for old files only."""
        if not unwanted():
            return ""
        old, new = self._key(key), self._key(target)

        async def copied() -> bool:
            await obstore.copy_async(self.client, old, new)
            sizes = [(await obstore.head_async(self.client, each))["size"] for each in (old, new)]
            return sizes[0] == sizes[1]

        if not self._found(copied) or not unwanted():
            return ""
        self._run(lambda: obstore.delete_async(self.client, old))
        return f"{self}/{target}"

    @contextlib.contextmanager
    def new(self, folder: str) -> Iterator[_New]:
        """All files are put beside each other when the context ends."""
        place, made = self._key(folder), _New()

        async def put_all() -> None:
            puts = (
                obstore.put_async(self.client, f"{place}/{name}", file.getbuffer(), mode="create")
                for name, file in made.files.items()
            )
            await asyncio.gather(*puts)

        yield made
        try:
            self._run(put_all)
        except OSError as problem:  # it is full, which is no fault of the file
            raise Unavailable(str(problem)) from problem

    def claim(self, name: str) -> str:
        """One of several homes is the first."""
        with contextlib.suppress(Taken):
            self._run(lambda: obstore.put_async(self.client, NAME, f"{name}\n".encode(), mode="create"))
        return self.name() or ""

    def name(self, seconds: float | None = None) -> str | None:
        """What `store-id` says. When nothing says that the bucket is missing, that it is not there is an answer too."""

        async def whole() -> str:
            return bytes(await (await obstore.get_async(self.client, NAME)).bytes_async()).decode("ascii").strip()

        try:
            return self._run(whole, seconds, patient=seconds is None)
        except Missing:
            return None

    def check(self) -> None:
        """Write a small file, see that it is not overwritten, read it, find it, remove it."""
        key = f"check-{secrets.token_hex(8)}"
        content = json.dumps({"ingestd": "check"}).encode()

        async def whole() -> None:
            await obstore.put_async(self.client, key, content, mode="create")
            try:
                with contextlib.suppress(obstore.exceptions.AlreadyExistsError):
                    await obstore.put_async(self.client, key, content, mode="create")
                    told = f"{self.url} overwrites files: it does not know If-None-Match, so it cannot be used"
                    raise Misconfigured("ingestd.toml", "storage.url", told)
                await obstore.get_async(self.client, key)
                await obstore.list(self.client, prefix=key).collect_async()
            finally:
                await obstore.delete_async(self.client, key)

        try:
            self._run(whole, patient=False)
        except (Unavailable, OSError) as problem:
            raise Unavailable(f"{problem}; {advice(problem)}") from problem

    # --- one way to everything

    def _key(self, key: str) -> str:
        return f"{self.folder}{checked(key)}"

    def _run(self, call: Callable[[], Awaitable[T]], seconds: float | None = None, *, patient: bool = True) -> T:
        """Within the time, or not at all: what has not ended by then is broken off."""
        limit = seconds or self.seconds

        async def bounded() -> T:
            async with asyncio.timeout(limit):
                return await call()

        if patient:
            self.patience.check()
        try:
            return asyncio.run(bounded())
        except Foreign as problem:
            raise self._away(problem, limit) from None

    def _found(self, call: Callable[[], Awaitable[T]]) -> T:
        """As `_run`; raises FileNotFoundError when the file is missing for sure."""
        try:
            return self._run(call)
        except Missing:
            self._sure()
            raise FileNotFoundError(str(self)) from None

    def _sure(self) -> None:
        """Nothing is missing in a storage that is not there, or is another one."""
        if self.name() is None:
            raise Unavailable(f"{self.url} has no {NAME}: it is not the storage of this store, or was emptied")

    def _away(self, problem: Exception, seconds: float) -> Exception:
        told = translated(problem, self.url, seconds)
        if isinstance(told, Unreachable):
            self.patience.lost(told)
        return told

    def _forget(self, key: str) -> None:
        try:
            self._run(lambda: obstore.delete_async(self.client, self._key(key)), CLEANING_SECONDS)
        except (Unavailable, OSError) as problem:
            log.warning("file_not_removed", key=f"{self.folder}{key}", reason=str(problem))


def _mapped(source: Path) -> bytes | mmap.mmap:
    """The bytes of a file without a copy in memory."""
    with source.open("rb") as file:
        if not source.stat().st_size:  # which cannot be mapped
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
