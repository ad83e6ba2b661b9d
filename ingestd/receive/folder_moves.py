"""How a file of the drop folder is moved within its source's folder: claimed, or put aside. No link is followed."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from ingestd.receive import names
from ingestd.receive.held import held, new_file, taken
from ingestd.receive.results import REASON
from ingestd.spool import fingerprint


def claim(base: Path, path: Path, target: Path) -> bool:
    """Move a file out of its senders' sight. False when its place there is taken. Raises OSError.

    One that may not be read stays where its sender sees it: it is opened first.
    """
    with held_around(base, path) as here, held_around(base, target, make=True) as there:
        if taken(there, target.name):
            return False
        os.close(os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=here))
        os.rename(path.name, target.name, src_dir_fd=here, dst_dir_fd=there)
    return True


def put_aside(base: Path, path: Path, target: Path, reason: str) -> None:
    """Move a refused file to where its sender finds it, with the reason beside it; nothing there is replaced."""
    with held_around(base, path) as here, held_around(base, target, make=True) as there:
        for free, note in _noted(there, names.shortened(target.name), reason):
            try:
                _move(path.name, free, here, there)
            except FileExistsError:  # results were put there meanwhile
                os.unlink(note, dir_fd=there)
            except OSError:
                os.unlink(note, dir_fd=there)
                raise
            else:
                return


def _move(name: str, target: str, here: int, there: int) -> None:
    """Rename without replacing what another process put there, where the file system has hard links."""
    try:
        os.link(name, target, src_dir_fd=here, dst_dir_fd=there, follow_symlinks=False)
    except OSError as problem:
        if problem.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        os.rename(name, target, src_dir_fd=here, dst_dir_fd=there)
    else:
        os.unlink(name, dir_fd=here)


def _noted(folder: int, name: str, reason: str) -> Iterator[tuple[str, str]]:
    """Names that nobody has, and the reason written for each: refused files are kept when the sender tries again."""
    for number in itertools.count():
        free = f"{name}.{number}" if number else name
        note = f"{free}.{REASON}"
        if taken(folder, free):
            continue
        with contextlib.suppress(FileExistsError), new_file(folder, note) as writer:
            writer.write(f"{reason}\n".encode())
            yield free, note


def unchanged(base: Path, path: Path, status: os.stat_result) -> bool:
    """True while the file is the one that was seen."""
    try:
        with held_around(base, path) as folder:
            return fingerprint(os.stat(path.name, dir_fd=folder, follow_symlinks=False)) == fingerprint(status)
    except FileNotFoundError:
        return False


def remove(base: Path, path: Path) -> None:
    """Remove a file that has landed."""
    with held_around(base, path) as folder:
        os.unlink(path.name, dir_fd=folder)


@contextlib.contextmanager
def reachable(base: Path, path: Path) -> Iterator[Path]:
    """The path of a file by way of its folder, held: whatever becomes of that folder's name meanwhile."""
    with held_around(base, path) as folder:
        yield Path(f"/proc/self/fd/{folder}") / path.name


def held_around(base: Path, path: Path, *, make: bool = False) -> contextlib.AbstractContextManager[int]:
    """The folder of a file, held; `base` is the folder of its source."""
    return held(base, *path.parent.relative_to(base).parts, make=make)
