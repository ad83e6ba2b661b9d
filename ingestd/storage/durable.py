"""Files that survive a power cut, and locks that do not survive their process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

_CHUNK = 1024 * 1024


def move(source: Path, target: Path) -> None:
    """Rename; on another file system a copy that appears there in one step, and the source is removed."""
    make_folder(target.parent)
    try:
        source.rename(target)
    except OSError as problem:
        if problem.errno != errno.EXDEV:
            raise
        copy(source, target)
        source.unlink()
    sync(target.parent)


def alone_removed(path: Path) -> bool:
    """Remove a file unless somebody is receiving it right now."""
    with alone(path) as mine:
        if mine:
            path.unlink(missing_ok=True)
        return mine


@contextlib.contextmanager
def alone(path: Path) -> Iterator[bool]:
    """True, and the lock held, when the file is there and nobody else is landing or sweeping it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        yield locked(descriptor)
    finally:
        os.close(descriptor)


def locked(descriptor: int) -> bool:
    """Lock an open file; False when another one has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def free_name(path: Path) -> Path:
    """The path, or with a number behind it, so that nothing is there. The caller's lock keeps others from the name."""
    numbered = (path.with_name(f"{path.name}.{number}") if number else path for number in itertools.count())
    return next(each for each in numbered if not os.path.lexists(each))


def make_folder(folder: Path) -> None:
    """Make a folder and its parents durable: a rename into a folder that a power cut forgets would be lost with it."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)


def sync(path: Path) -> None:
    """Make the bytes of a file durable, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(path: Path, content: bytes) -> None:
    """Write a new file whose bytes are durable; its name is not yet."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def copy(source: Path, target: Path) -> None:
    """Copy to another file system, appearing there in one step and with bytes that are durable."""
    partial = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with source.open("rb") as reader, partial.open("xb") as writer:
            while chunk := reader.read(_CHUNK):
                writer.write(chunk)
            writer.flush()
            os.fsync(writer.fileno())
        partial.rename(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
