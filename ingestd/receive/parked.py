"""Files in a partner's home that wait for their renaming: not too many, and none for ever."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from ingestd.receive import names
from ingestd.receive.held import held, prune_folder

log = structlog.get_logger()

KEEP = timedelta(days=7)
"""How long a file is kept under its working name unless the daemon says otherwise."""

MOST = 1_000
"""files that may wait in one home"""
MOST_FILES_OF_LIMIT = 10
"""bytes that may wait in one home, in files of the largest size that its source may send"""

_UPLOAD = "upload"
_told: set[Path] = set()


class TooMuchWaits(OSError):
    """A partner leaves too many files under working names; the text is written for it."""

    def __init__(self, what: str) -> None:
        super().__init__(errno.EDQUOT, f"{what} wait to be renamed; rename or remove what waits first")

    def __str__(self) -> str:
        return str(self.strerror)


def check_waiting(home: Path, replaced: Path, coming: int, limit: int) -> None:
    """Raise TooMuchWaits when another file of `coming` bytes is one too many; `limit` is the source's for one file.

    `replaced` is where it will be, so what is there does not count. Looks at each file: slow, so not on a loop.
    """
    files = [
        size
        for parts in _folders(home)
        for name, size in _waiting(home, parts)
        if home.joinpath(*parts, name) != replaced
    ]
    if len(files) >= MOST:
        raise TooMuchWaits(f"{len(files)} files")
    if files and sum(files) + coming > MOST_FILES_OF_LIMIT * limit:
        raise TooMuchWaits(f"{sum(files)} bytes")


def _waiting(home: Path, parts: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Names and sizes of what is parked in one folder."""
    try:
        with held(home, *parts) as descriptor, os.scandir(descriptor) as entries:
            for entry in entries:
                if _parked(entry.name) and entry.is_file(follow_symlinks=False):
                    with contextlib.suppress(FileNotFoundError):  # renamed meanwhile
                        yield entry.name, entry.stat(follow_symlinks=False).st_size
    except OSError:  # it was removed meanwhile; anything else is told when its files are pruned
        return


def prune_parked(home: Path, keep: timedelta, now: datetime) -> int:
    """Remove parked files of one home that nobody has written to for `keep`; returns how many. Raises nothing."""
    oldest = (now - keep).timestamp()
    pruned = [prune_folder(home, *parts, oldest=oldest, tell=_tell, wanted=_parked) for parts in _folders(home)]
    return sum(map(len, pruned))


def _folders(home: Path) -> Iterator[tuple[str, ...]]:
    """Where files can be parked: the home, its upload area and that one's campaign folders. `results/` is not one."""
    yield ()
    yield (_UPLOAD,)
    try:
        with held(home, _UPLOAD) as descriptor, os.scandir(descriptor) as entries:
            campaigns = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:  # told when its files are pruned
        return
    yield from ((_UPLOAD, name) for name in campaigns)


def _parked(name: str) -> bool:
    return names.is_partial(names.label(name))


def _tell(path: Path, problem: OSError) -> None:
    if path not in _told:
        _told.add(path)
        log.warning("parked_not_pruned", path=names.label(str(path)), reason=problem.strerror or str(problem))
