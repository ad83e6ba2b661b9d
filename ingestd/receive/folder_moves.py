"""How a file of the drop folder is moved within its source's folder: claimed, or put aside. No link is followed."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

from ingestd.receive import names
from ingestd.receive.held import held, new_file, taken
from ingestd.spool import fingerprint


def claim(base: Path, path: Path, target: Path, marker: str) -> bool:
    """Move a file out of its senders' sight, and its marker away. False when its place there is taken."""
    with _around(base, path) as here, _around(base, target, make=True) as there:
        if taken(there, target.name):
            return False
        os.rename(path.name, target.name, src_dir_fd=here, dst_dir_fd=there)
        if marker:  # now, or a new file of the same name would find it and count as whole
            with contextlib.suppress(FileNotFoundError):
                os.unlink(marker, dir_fd=here)
    return True


def put_aside(base: Path, path: Path, target: Path, reason: str) -> None:
    """Move a refused file to where its sender finds it, with the reason beside it; nothing there is replaced."""
    with _around(base, path) as here, _around(base, target, make=True) as there:
        free, note = _noted(there, names.shortened(target.name), reason)
        try:
            os.rename(path.name, free, src_dir_fd=here, dst_dir_fd=there)
        except OSError:
            os.unlink(note, dir_fd=there)
            raise


def _noted(folder: int, name: str, reason: str) -> tuple[str, str]:
    """A name that nobody has, and the reason written for it: refused files are kept when the sender tries again."""
    for number in itertools.count():
        free = f"{name}.{number}" if number else name
        note = f"{free}.reason.txt"
        if taken(folder, free):
            continue
        with contextlib.suppress(FileExistsError), new_file(folder, note) as writer:
            writer.write(f"{reason}\n".encode())
            return free, note
    raise AssertionError("numbers do not end")


def unchanged(base: Path, path: Path, status: os.stat_result) -> bool:
    """True while the file is the one that was seen."""
    try:
        with _around(base, path) as folder:
            return fingerprint(os.stat(path.name, dir_fd=folder, follow_symlinks=False)) == fingerprint(status)
    except FileNotFoundError:
        return False


def remove(base: Path, path: Path) -> None:
    """Remove a file that has landed."""
    with _around(base, path) as folder:
        os.unlink(path.name, dir_fd=folder)


def _around(base: Path, path: Path, *, make: bool = False) -> contextlib.AbstractContextManager[int]:
    """The folder of a file, held; `base` is the folder of its source."""
    return held(base, *path.parent.relative_to(base).parts, make=make)
