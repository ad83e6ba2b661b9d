"""What a partner finds in `results/`, `done/` and `rejected/`: never half there, never another delivery's.

Receipt, log and rejected lines; in `done/` and `rejected/` of a drop folder the file itself as well.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import chain, count, islice
from pathlib import Path

import structlog

from ingestd.receive import names
from ingestd.receive.held import held, new_file, prune_folder, taken

log = structlog.get_logger()

RESULTS, DONE, REJECTED = "results", "done", "rejected"
"""Where things come back: results alone; taken files with their results; refused files."""

RECEIPT = "receipt.json"
"""The part that is written last: where it is, the others are."""

ORIGINAL = ""
"""The part that is the file itself, under its own name."""

PARTS = (RECEIPT, "log.csv", "rejected.csv")
"""What is put beside a file under its name when it was processed."""

REASON = "reason.txt"
"""What is put beside a file that was refused at the door."""

_STEMS = 9
"""under which a delivery is looked for that is withdrawn"""

_told: set[Path] = set()


class _NoLinksError(Exception):
    """The file system has no hard links (exFAT, some network shares), so nobody can own a name there."""


def publish(
    folder: Path, name: str, delivery_id: int, parts: Mapping[str, bytes | Iterable[bytes]]
) -> tuple[Path, ...]:
    """Write `<name>.<part>` for every part, for example `leads.csv.receipt.json`; returns the paths.

    A name belongs to the first delivery that published under it; another delivery of the same file name gets
    `<name>.<delivery id>.<part>`, and one more number where a file came that is called so. Publishing the same
    delivery again writes the same files again. Nothing is fsynced: the content can be made again from the store.
    Raises OSError, also when the folder is a symbolic link.
    """
    if reason := names.problem(name):
        raise ValueError(f"{name!r} {reason}")
    ordered = sorted(parts, key=lambda part: (part == RECEIPT, part))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with held(folder.parent, folder.name, make=True) as place:
        stem = _stem(place, name, delivery_id, parts)
        return tuple(folder / _put(place, _full(stem, part), parts[part]) for part in ordered)


def withdraw(folder: Path, name: str, delivery_id: int) -> None:
    """Remove what an earlier end of a delivery has put there, as far as it is there. Raises OSError."""
    with contextlib.suppress(FileNotFoundError), held(folder.parent, folder.name) as place:
        numbered = f"{name}.{delivery_id}"
        mine = [each for each in islice(_stems(name, delivery_id), _STEMS) if _mine(place, each, delivery_id)]
        if not taken(place, _owner(numbered)):  # as without hard links
            mine.append(numbered)
        for path in (_full(stem, part) for stem in mine for part in (ORIGINAL, *PARTS)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path, dir_fd=place)


def _full(stem: str, part: str) -> str:
    return f"{stem}.{part}" if part else stem


def _stem(place: int, name: str, delivery_id: int, parts: Collection[str]) -> str:
    try:
        return next(each for each in _stems(name, delivery_id) if _usable(place, each, delivery_id, parts))
    except _NoLinksError:
        return f"{name}.{delivery_id}"


def _stems(name: str, delivery_id: int) -> Iterator[str]:
    """What the parts of a delivery may be called, the best first: its number may be the end of another file's name."""
    numbered = f"{name}.{delivery_id}"
    return chain((name, numbered), (f"{numbered}.{more}" for more in count(2)))


def _usable(place: int, name: str, delivery_id: int, parts: Collection[str]) -> bool:
    """True when a name is this delivery's. A file that was refused at the door may lie there as well."""
    if ORIGINAL in parts and name.endswith((*PARTS, REASON)):
        return False  # it would take the place of another file's part
    if _mine(place, name, delivery_id):
        return True
    return not any(taken(place, _full(name, part)) for part in (*parts, REASON)) and _owns(place, name, delivery_id)


def _mine(place: int, name: str, delivery_id: int) -> bool:
    """Whether this delivery has published under a name, and nothing else was put there since."""
    owned = taken(place, _owner(name)) and _is_owner(place, _owner(name), delivery_id)
    return owned and not taken(place, _full(name, REASON))


def prune(folder: Path, keep: timedelta, now: datetime) -> int:
    """Remove results that are older than `keep`; returns how many. What cannot be removed is told once, not raised."""
    oldest = (now - keep).timestamp()

    def wanted(name: str) -> bool:
        # A file that was refused at the door has the time its sender gave it; its reason was written then.
        return not _younger(folder / _full(name, REASON), oldest)

    removed = prune_folder(folder.parent, folder.name, oldest=oldest, tell=_tell, wanted=wanted)
    return sum(not name.startswith(".") for name in removed)


def _younger(path: Path, oldest: float) -> bool:
    try:
        return path.lstat().st_mtime >= oldest
    except OSError:
        return False


def _tell(path: Path, problem: OSError) -> None:
    if path not in _told:
        _told.add(path)
        log.warning("result_not_pruned", path=names.label(str(path)), reason=problem.strerror or str(problem))


def _owns(folder: int, name: str, delivery_id: int) -> bool:
    """True when this delivery has the name. A small hidden file remembers whose it is."""
    owner = _owner(name)
    mine = _partial()
    with new_file(folder, mine) as writer:
        writer.write(b"%d\n" % delivery_id)
    try:  # appears with its content, and for one of two deliveries only
        os.link(mine, owner, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        return _is_owner(folder, owner, delivery_id)
    except OSError as problem:
        if problem.errno not in (errno.EPERM, errno.EOPNOTSUPP):
            raise
        raise _NoLinksError from problem
    finally:
        os.unlink(mine, dir_fd=folder)
    return True


def _owner(name: str) -> str:
    # Its own name is a hash: a dot and a suffix more would make the longest names too long for the file system.
    return f".{hashlib.sha256(name.encode()).hexdigest()}.owner"


def _is_owner(folder: int, owner: str, delivery_id: int) -> bool:
    try:
        descriptor = os.open(owner, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as problem:
        if problem.errno != errno.ELOOP:
            raise
        return False  # a symbolic link is not ours; the plain name is nobody's then
    try:
        mine = os.read(descriptor, 64).strip() == b"%d" % delivery_id
        if mine:
            os.utime(descriptor)  # as young as the results, so that `prune` does not forget the owner before them
        return mine
    finally:
        os.close(descriptor)


def _put(folder: int, name: str, content: bytes | Iterable[bytes]) -> str:
    partial = _partial()
    try:
        with new_file(folder, partial) as writer:
            if isinstance(content, bytes):
                writer.write(content)
            else:  # a copy: partners of a drop folder could write to a linked original
                writer.writelines(content)
        os.rename(partial, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial, dir_fd=folder)
        raise
    return name


def _partial() -> str:
    return f".{secrets.token_hex(8)}.tmp"
