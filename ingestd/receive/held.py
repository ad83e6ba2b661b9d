"""Folders that partners can write to, held open while we work in them.

A local partner could replace `results/` by a symbolic link and have the daemon write or delete elsewhere. A look
beforehand would leave a moment for that; names are therefore taken relative to a descriptor of the folder (`dir_fd`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def held(base: Path, *parts: str, make: bool = False) -> Iterator[int]:
    """A descriptor of the folder `base/<part>/..`; with `make`, its parts are made. Raises OSError.

    The base lies where partners cannot write, so an operator's link to another disk is followed there. No part may be
    a symbolic link: ELOOP.
    """
    descriptor = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            outer, descriptor = descriptor, _inner(descriptor, part, make)
            os.close(outer)
        yield descriptor
    finally:
        os.close(descriptor)


def _inner(folder: int, part: str, make: bool) -> int:
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(part, dir_fd=folder)
    try:
        return os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError as problem:  # ENOTDIR or ELOOP for a link, which does not say enough
        if taken(folder, part) and stat.S_ISLNK(os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, f"{part} is a symbolic link; none is followed") from problem
        raise


def new_file(folder: int, name: str) -> IO[bytes]:
    """A file for writing. Raises FileExistsError for whatever has the name already, also a symbolic link."""
    return os.fdopen(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder), "wb")


def taken(folder: int, name: str) -> bool:
    """True when anything has the name, also a symbolic link to nothing."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def prune_folder(
    base: Path,
    *parts: str,
    oldest: float,
    tell: Callable[[Path, OSError], None],
    wanted: Callable[[str], bool] = lambda _: True,
) -> list[str]:
    """Remove the regular files of a folder that were last changed before `oldest`; returns their names.

    What cannot be removed is told and passed by. Another process may prune the same folder at the same time.
    """
    folder = base.joinpath(*parts)
    try:
        with held(base, *parts) as descriptor:
            old = [name for name in _old_files(descriptor, oldest, folder, tell) if wanted(name)]
            return [name for name in old if _removed(descriptor, name, folder, tell)]
    except FileNotFoundError:
        return []
    except OSError as problem:
        tell(folder, problem)
        return []


def _old_files(descriptor: int, oldest: float, folder: Path, tell: Callable[[Path, OSError], None]) -> Iterator[str]:
    for name in os.listdir(descriptor):
        try:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError:
            continue
        except OSError as problem:
            tell(folder / name, problem)
            continue
        if stat.S_ISREG(status.st_mode) and status.st_mtime < oldest:
            yield name


def _removed(descriptor: int, name: str, folder: Path, tell: Callable[[Path, OSError], None]) -> bool:
    try:
        os.unlink(name, dir_fd=descriptor)
    except FileNotFoundError:
        return False
    except OSError as problem:
        tell(folder / name, problem)
        return False
    return True
