"""What a partner finds in `results/`: receipt, log, rejected lines. Never half there, never another delivery's."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from ingestd.receive import names

RECEIPT = "receipt.json"
"""The part that is written last: where it is, the others are."""


def publish(folder: Path, name: str, delivery_id: int, parts: Mapping[str, Path | bytes]) -> tuple[Path, ...]:
    """Write `<name>.<part>` for every part, for example `leads.csv.receipt.json`; returns the paths.

    A name belongs to the first delivery that published under it; another delivery of the same file name gets
    `<name>.<delivery id>.<part>`. Publishing the same delivery again writes the same files again. Nothing is fsynced:
    the content can be made again from the store.
    """
    if reason := names.problem(name):
        raise ValueError(f"{name!r} {reason}")
    folder.mkdir(parents=True, exist_ok=True)
    stem = name if _owns(folder, name, delivery_id) else f"{name}.{delivery_id}"
    ordered = sorted(parts, key=lambda part: (part == RECEIPT, part))
    return tuple(_put(folder / f"{stem}.{part}", parts[part]) for part in ordered)


def prune(folder: Path, keep: timedelta, now: datetime) -> int:
    """Remove results that are older than `keep`; returns how many."""
    oldest = (now - keep).timestamp()
    removed = 0
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_file() and path.lstat().st_mtime < oldest:
            path.unlink(missing_ok=True)
            removed += not path.name.startswith(".")
    return removed


def _owns(folder: Path, name: str, delivery_id: int) -> bool:
    """True when this delivery has the plain name. A small hidden file remembers whose it is."""
    # Its own name is a hash: a dot and a suffix more would make the longest names too long for the file system.
    owner = folder / f".{hashlib.sha256(name.encode()).hexdigest()}.owner"
    mine = _partial(folder)
    mine.write_text(f"{delivery_id}\n", encoding="ascii")
    try:
        os.link(mine, owner)  # appears with its content, and for one of two deliveries only
    except FileExistsError:
        if owner.read_text(encoding="ascii").strip() != str(delivery_id):
            return False
        os.utime(owner)  # as young as the results, so that `prune` does not forget the owner before them
    except OSError as problem:  # file systems without hard links (exFAT, some network shares)
        if problem.errno not in (errno.EPERM, errno.EOPNOTSUPP):
            raise
        return False
    finally:
        mine.unlink()
    return True


def _put(target: Path, content: Path | bytes) -> Path:
    partial = _partial(target.parent)
    try:
        if isinstance(content, bytes):
            partial.write_bytes(content)
        else:
            shutil.copyfile(content, partial)  # a copy: partners of a drop folder could write to a linked original
        partial.rename(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return target


def _partial(folder: Path) -> Path:
    return folder / f".{secrets.token_hex(8)}.tmp"
