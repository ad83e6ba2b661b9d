"""Files in an FTP home that wait for their renaming: some are given up by their senders and would stay for ever."""

from __future__ import annotations

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

_UPLOAD = "upload"
_told: set[Path] = set()


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
