"""`ingestd restore`: a backup becomes a home and a store again, in an empty home and an empty database.

All of the backup is read and held against its hashes before anything is touched. Then `store-id` is put in place first
and the store last, so a home whose restoring was cut is not opened by a daemon: its store is missing.

Nothing is overwritten. Whoever wants a home replaced gets what was there put aside, not removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from rich.progress import Progress

from ingestd import manifest
from ingestd.backup import Estate, copied, opened, store_file
from ingestd.errors import Misconfigured, Rejected, Unavailable
from ingestd.house import Lock
from ingestd.manifest import HOME, STORE, Manifest
from ingestd.storage.durable import sync
from ingestd.store import migrations, snapshots
from ingestd.store.ledger import now

IDENTITY = f"{HOME}/store-id"


def put_back(estate: Estate, source: Path, progress: Progress, *, replace: bool = False) -> Manifest:
    """Restores a backup. Raises Rejected when it is broken, foreign, or would overwrite something; Unavailable.

    With `replace` what is in the way is put aside: in the home's folder `replaced-<moment>`, and in a schema of that
    name of a PostgreSQL database.
    """
    told = manifest.read(source)
    if source.resolve().is_relative_to(estate.places.home.resolve()):
        advice = "move the backup out of it first, and keep backups elsewhere"
        raise Rejected("backup_in_home", f"{source} lies in the home that is to be restored", suggestion=advice)
    _check_fits(estate, source, told)
    sums = manifest.sums(source, told)
    _check_whole(source, sums, progress)
    try:
        with _alone(estate):
            if not replace:
                _check_empty(estate)
            with _room(estate, now()):
                _fill(estate, source, sums, progress)
                progress.add_task("store", total=None)
                snapshots.put_back(estate.engine, source / STORE / store_file(estate.engine), told.store.server)
                snapshots.check_same(estate.engine, told.store)
    except OSError as problem:
        raise Unavailable(f"{estate.places.home} cannot be filled: {problem}") from problem
    return told


def _check_fits(estate: Estate, source: Path, told: Manifest) -> None:
    kind = estate.engine.dialect.name
    if told.store.kind != kind:
        advice = "set store.url to an empty database of that kind"
        raise manifest.foreign(source, f"is of a store on {told.store.kind}; store.url names one on {kind}", advice)
    if not migrations.knows(told.store.revision):
        advice = "restore it with that version or a later one"
        raise manifest.foreign(source, f"was made by a newer version, ingestd {told.ingestd}", advice)


def _check_whole(source: Path, sums: dict[str, str], progress: Progress) -> None:
    """Raises Rejected with the first file that is not as it was."""
    task = progress.add_task("check the backup", total=len(sums))
    for path, digest in sums.items():
        _copy(source / path, None, digest)
        progress.update(task, advance=1)
    if IDENTITY not in sums:
        raise manifest.broken(source / IDENTITY, "is missing")


def _copy(path: Path, target: Path | None, digest: str) -> None:
    """Copies a file of a backup, or only reads it; raises Rejected when it is not the one that was backed up."""
    descriptor = opened(path)
    if descriptor is None:
        raise manifest.broken(path, "is missing")
    try:
        has = copied(descriptor, target)[0] if target else _hash(descriptor)
    finally:
        os.close(descriptor)
    if has != digest:
        raise manifest.broken(path, "is not what was backed up: its SHA-256 is another one")


def _hash(descriptor: int) -> str:
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _alone(estate: Estate) -> Iterator[None]:
    """No daemon may open the home meanwhile."""
    if not estate.places.home.exists():
        estate.places.home.mkdir(parents=True, mode=0o700)
    lock = Lock(estate.places)
    try:
        if not lock.taken():
            raise Misconfigured(str(lock.path), "lock", "a daemon uses this home; stop it or choose another --home")
        yield
    finally:
        lock.release()


def _check_empty(estate: Estate) -> None:
    advice = "choose an empty one, or have what is there put aside with --replace"
    found = next(_content(estate), None)
    if found is not None:
        raise Rejected("home_not_empty", f"the home is not empty: {found}", suggestion=advice)
    if not snapshots.is_empty(estate.engine):
        raise Rejected("store_not_empty", "the database of store.url is not empty", suggestion=advice)


def _content(estate: Estate) -> Iterator[Path]:
    """The files of a home; empty folders and what only holds while a daemon runs do not count."""
    for root, folders, names in os.walk(estate.places.home):
        if Path(root) == estate.places.home:
            folders[:] = [name for name in folders if name != estate.places.run.name]
        yield from (Path(root, name) for name in names)


@contextmanager
def _room(estate: Estate, moment: datetime) -> Iterator[None]:
    """Puts aside what is in the way; when the block fails, what it has made goes, and everything is as it was."""
    name = f"replaced-{moment:%Y%m%dT%H%M%S}"
    with contextlib.ExitStack() as stack:
        if estate.engine.dialect.name != "sqlite" and not snapshots.is_empty(estate.engine):
            stack.enter_context(snapshots.aside(estate.engine, name))
        if in_the_way := [*_in_the_way(estate)]:
            stack.enter_context(_aside(estate, in_the_way, name))
        yield


def _in_the_way(estate: Estate) -> Iterator[Path]:
    """What is in the home, but for what holds while a daemon runs, and an SQLite store that is elsewhere."""
    home = estate.places.home
    yield from (each for each in home.iterdir() if each != estate.places.run)
    if estate.engine.dialect.name == "sqlite":
        database = snapshots.database_file(estate.engine)
        beside = (database.with_name(database.name + suffix) for suffix in ("", "-wal", "-shm"))
        yield from (each for each in beside if each.parent != home and each.exists())


@contextmanager
def _aside(estate: Estate, in_the_way: list[Path], name: str) -> Iterator[None]:
    aside = estate.places.home / name
    aside.mkdir(mode=0o700)
    for each in in_the_way:
        shutil.move(each, aside / each.name)
    try:
        yield
    except BaseException:
        estate.engine.dispose()
        for made in [each for each in _in_the_way(estate) if each != aside]:
            shutil.rmtree(made) if made.is_dir() else made.unlink()
        for each in in_the_way:
            shutil.move(aside / each.name, each)
        aside.rmdir()
        raise


def _fill(estate: Estate, source: Path, sums: dict[str, str], progress: Progress) -> None:
    """The name of the store first: with a name and without its store, a home is not opened."""
    mine = {path: digest for path, digest in sums.items() if path.startswith(f"{HOME}/") and path != IDENTITY}
    task = progress.add_task("files", total=len(mine))
    for path, digest in [(IDENTITY, sums[IDENTITY]), *mine.items()]:
        target = estate.places.home / path.removeprefix(f"{HOME}/")
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _copy(source / path, target, digest)
        progress.update(task, advance=1)
    os.sync()  # one for all: an fsync for each of many small files takes a hundred times as long
    sync(estate.places.home)
