"""`ingestd backup`: a consistent copy of the store and of every file that it names, taken while the daemon runs.

The order is what makes it consistent. First what partners have not finished, which the store does not know yet: a file
that lands meanwhile is in both, and is a duplicate after a restore. Then the store, in one snapshot. Then the files
that the snapshot names: raw files and logs are durable before their rows are, and are never written to again. Last
what can only have grown since: results, orphans, keys.

Files in a storage of their own stay there; the store names them, and they are never changed.

Of the drop folder only what is being taken is in a backup: what lies in `done/` and `rejected/` is in spool and logs,
and what still waits has not been acknowledged. The configuration is the operator's.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from rich.progress import Progress
from sqlalchemy import Engine

from ingestd import manifest, settings
from ingestd.errors import Misconfigured, Rejected, Unavailable
from ingestd.house import Places
from ingestd.manifest import HOME, STORE, Manifest
from ingestd.receive.folder_scan import TAKING
from ingestd.receive.home import RESULTS, UPLOAD
from ingestd.settings import Configuration
from ingestd.spool import place
from ingestd.storage.durable import sync
from ingestd.store import snapshots
from ingestd.store.engine import open_engine, sqlite_url
from ingestd.store.ledger import now
from ingestd.store.snapshots import Named, StoreFacts

PIECE = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Estate:
    """What a backup is taken of, and what it is restored to: the store and the home, before anything is opened."""

    configuration: Configuration
    places: Places
    engine: Engine

    @property
    def keeps_files(self) -> bool:
        """Whether received files and logs are in the home, and not in a storage of their own."""
        return not self.configuration.daemon.storage.url

    @classmethod
    def of(cls, config: Path, home: Path) -> Estate:
        """As the configuration says; makes nothing. Raises Misconfigured."""
        configuration, home = settings.read(config.resolve()), home.resolve()
        engine = open_engine(configuration.daemon.store.url or sqlite_url(home))
        return cls(configuration=configuration, places=Places(home=home), engine=engine)


@dataclass(kw_only=True)
class Copying:
    """A backup that is being made."""

    estate: Estate
    folder: Path
    """where it is made, under a temporary name"""
    progress: Progress
    sums: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    size: int = 0

    def keep(self, path: Path, *, within: int | None = None) -> str | None:
        """Copies a file of the home; its hash, or None when it is not there or no plain file. Raises OSError.

        `within` is a descriptor of its folder; without one the path is one that only we write to.
        """
        place = f"{HOME}/{path.relative_to(self.estate.places.home).as_posix()}"
        descriptor = opened(path.name if within is not None else path, within)
        if descriptor is None:
            return None
        target = self.folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.sums[place], size = copied(descriptor, target)
        finally:
            os.close(descriptor)
        self.size += size
        return self.sums[place]


def opened(path: Path | str, within: int | None = None) -> int | None:
    """A descriptor of a plain file; None for whatever is none, or not there any more."""
    # O_NONBLOCK: opening a FIFO must not wait for its writer; on a regular file it means nothing.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, dir_fd=within)
    except OSError as problem:
        if problem.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):  # gone; a link; a socket or a FIFO
            return None
        raise
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


def take(estate: Estate, target: Path, progress: Progress) -> Manifest:
    """Makes the folder `target`, whole or not at all. Raises Rejected, Unavailable, Misconfigured."""
    target = target.absolute()
    if os.path.lexists(target):
        raise Rejected("backup_exists", f"{target} is there already", suggestion="choose another name")
    if estate.engine.dialect.name == "sqlite" and snapshots.is_empty(estate.engine):
        raise Rejected("store_missing", f"there is no store in {estate.places.home}", suggestion="look at --home")
    partial = target.with_name(f"{target.name}.partial-{secrets.token_hex(4)}")
    try:
        partial.mkdir(parents=True, mode=0o700)
        made = _made(Copying(estate=estate, folder=partial, progress=progress))
        partial.rename(target)
        sync(target.parent)
    except OSError as problem:
        shutil.rmtree(partial, ignore_errors=True)
        raise Unavailable(f"{target} cannot be made: {problem.strerror or problem}") from problem
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return made


def _made(copying: Copying) -> Manifest:
    _copy_waiting(copying)
    taken_at = now()
    facts, raw, logs = _copy_store(copying)
    _check_pair(copying.estate, facts.identity)
    if copying.estate.keeps_files:
        _copy_raw(copying, raw)
        _copy_logs(copying, logs)
    _copy_rest(copying)
    sums = manifest.written(copying.folder, copying.sums)
    os.sync()  # one for all: an fsync for each of many small files takes a hundred times as long
    made = Manifest(
        ingestd=version("ingestd"),
        taken_at=taken_at,
        store=facts,
        files=len(copying.sums),
        size=copying.size,
        sums=sums,
        faults=tuple(copying.faults),
    )
    manifest.seal(copying.folder, made)
    sync(copying.folder / manifest.MANIFEST)
    sync(copying.folder)
    return made


def _copy_store(copying: Copying) -> tuple[StoreFacts, list[Named], list[str]]:
    """One snapshot of the store, with the files and the logs that it names."""
    (copying.folder / STORE).mkdir(mode=0o700)
    place, engine = f"{STORE}/{store_file(copying.estate.engine)}", copying.estate.engine
    copy, task = copying.folder / place, copying.progress.add_task("store", total=None)

    def advance(done: int, of: int) -> None:
        copying.progress.update(task, completed=done, total=of)

    with snapshots.taken(engine, copy, advance) as connection:
        found = snapshots.facts(connection), snapshots.files(connection), snapshots.logs(connection)
    copy.chmod(0o600)
    with copy.open("rb") as file:
        copying.sums[place] = hashlib.file_digest(file, "sha256").hexdigest()
    copying.size += copy.stat().st_size
    return found


def store_file(engine: Engine) -> str:
    """The name of a store's copy."""
    return "ingestd.db" if engine.dialect.name == "sqlite" else "ingestd.dump"


def _check_pair(estate: Estate, identity: str) -> None:
    place = estate.places.home / "store-id"
    mine = place.read_text(encoding="ascii").strip() if place.exists() else ""
    if mine != identity:
        raise Misconfigured(str(place), "store.url", "this home and this store do not belong together")


def _copy_waiting(copying: Copying) -> None:
    """What is whole and not in the ledger yet: uploads that wait for their rename, files that are being taken.

    A file that still lies in the drop folder may be half written, and after a restore nobody would write the rest.
    """
    places, folder = copying.estate.places, copying.estate.configuration.daemon.folder
    for home in _folders(places.homes):
        _copy_tree(copying, home, deep=False)
        _copy_tree(copying, home / UPLOAD)
    drop = places.home / folder.path
    if drop.is_relative_to(places.home):
        for source in _folders(drop):
            _copy_tree(copying, source / TAKING)


def _copy_raw(copying: Copying, raw: list[Named]) -> None:
    """The received files, each held against the hash in the ledger."""
    spool = copying.estate.places.home / "spool"
    task = copying.progress.add_task("received files", total=sum(each.size for each in raw) or 1)
    for each in raw:
        has = copying.keep(spool / place(each.spool_key))
        if has is None and snapshots.names_file(copying.estate.engine, each.spool_key):
            copying.faults.append(f"the file of delivery {each.delivery_id} is missing: {each.spool_key}")
        elif has is not None and has != each.sha256:
            copying.faults.append(f"the file of delivery {each.delivery_id} is damaged: {each.spool_key}")
        copying.progress.update(task, advance=each.size)


def _copy_logs(copying: Copying, logs: list[str]) -> None:
    task = copying.progress.add_task("logs", total=len(logs) or 1)
    for key in logs:
        folder = copying.estate.places.home / "logs" / key
        if not _copy_tree(copying, folder):
            copying.faults.append(f"the log {key} is missing")
        copying.progress.update(task, advance=1)


def _copy_rest(copying: Copying) -> None:
    places = copying.estate.places
    for home in _folders(places.homes):
        _copy_tree(copying, home / RESULTS, deep=False)
    _copy_tree(copying, places.home / "spool" / "orphans")
    _copy_tree(copying, places.keys)
    _copy_tree(copying, places.home, deep=False, only="store-id")


def _folders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir()) if folder.is_dir() else []


def _copy_tree(copying: Copying, folder: Path, *, deep: bool = True, only: str = "") -> int:
    """Copies the plain files of a folder; how many there were. What goes meanwhile is not there.

    Names are taken relative to descriptors and no link is followed: partners could lay one to where they may not look.
    What begins with a dot and ends with `.tmp` is being written just now.
    """
    count = 0
    with contextlib.suppress(FileNotFoundError):
        for root, folders, names, descriptor in os.fwalk(folder):
            folders[:] = sorted(folders) if deep else []
            for name in sorted(names):
                if only in ("", name) and not (name.startswith(".") and name.endswith(".tmp")):
                    count += copying.keep(Path(root, name), within=descriptor) is not None
    return count


def copied(descriptor: int, target: Path) -> tuple[str, int]:
    """Copies an open file to a new one that nobody else may read; its SHA-256 and size. Raises OSError."""
    digest, size = hashlib.sha256(), 0
    made = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(made, "wb", buffering=0) as writer:
        while piece := os.read(descriptor, PIECE):
            digest.update(piece)
            rest = memoryview(piece)
            while rest:
                rest = rest[writer.write(rest) :]
            size += len(piece)
    return digest.hexdigest(), size
