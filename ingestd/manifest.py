"""What tells a whole backup from one that was cut, damaged or made by something else.

A backup is a folder with `manifest.json`, written last, and `SHA256SUMS` with the hash of every other file in it. The
manifest has the hash of that list, so nothing can change unseen. `sha256sum --check SHA256SUMS` reads the list, too.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from ingestd.errors import Rejected
from ingestd.store.snapshots import StoreFacts

FORMAT, VERSION = "ingestd backup", 1
MANIFEST, SUMS = "manifest.json", "SHA256SUMS"
STORE, HOME = "store", "home"
"""The two folders of a backup: the copy of the store; what is put into the home."""

_LINE = re.compile(rb"(\\?)([0-9a-f]{64})  ([^\n]+)")
_LARGEST = 1024 * 1024
"""bytes of a manifest; it has a few lines"""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is in a backup."""

    ingestd: str
    """the version that made it"""
    taken_at: datetime
    """the moment of the store's snapshot; what was acknowledged later is not in the backup"""
    store: StoreFacts
    files: int
    size: int
    """bytes of all files"""
    sums: str
    """SHA-256 of the list of hashes"""
    faults: tuple[str, ...] = ()
    """files that the store names and that were missing or damaged already"""


def broken(path: Path, why: str) -> Rejected:
    """A backup that cannot be trusted."""
    told = "the backup was cut, or damaged since; nothing was restored. Take another one"
    return Rejected("backup_broken", f"{path} {why}", suggestion=told)


def foreign(source: Path, why: str, advice: str = "") -> Rejected:
    """A backup that does not fit here."""
    return Rejected("backup_foreign", f"{source} {why}", suggestion=advice)


def written(folder: Path, sums: Mapping[str, str]) -> str:
    """Writes the list of hashes, of paths relative to the folder; returns its own hash."""
    lines = b"".join(_line(path, digest) for path, digest in sorted(sums.items()))
    (folder / SUMS).write_bytes(lines)
    return hashlib.sha256(lines).hexdigest()


def _line(path: str, digest: str) -> bytes:
    """As sha256sum writes it: a name with a backslash or a line end is escaped, and so is the line."""
    name = os.fsencode(path)
    escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return (b"\\" if escaped != name else b"") + digest.encode() + b"  " + escaped + b"\n"


def seal(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest, which makes the backup whole."""
    told = {"format": FORMAT, "version": VERSION, **asdict(manifest), "taken_at": manifest.taken_at.isoformat()}
    (folder / MANIFEST).write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read(source: Path) -> Manifest:
    """The manifest of a backup; raises Rejected when there is none that this version understands."""
    if not source.is_dir():
        told = "is no folder" if source.exists() else "is not there"
        raise foreign(source, told, "name the folder that `ingestd backup` made")
    path = source / MANIFEST
    try:
        with path.open("rb") as file:
            told = json.loads(file.read(_LARGEST))
    except FileNotFoundError as problem:
        raise broken(path, "is missing: this is no backup, or one that was not finished") from problem
    except (OSError, ValueError) as problem:
        raise broken(path, f"cannot be read: {problem}") from problem
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise foreign(source, "is no backup of ingestd")
    if told.get("version") != VERSION:
        raise foreign(source, f"has the format {told.get('version')!r}; this ingestd reads {VERSION}")
    try:
        return _manifest(told)
    except (KeyError, TypeError, ValueError) as problem:
        raise broken(path, f"is incomplete: {problem}") from problem


def _manifest(told: dict[str, Any]) -> Manifest:
    known = {name: told[name] for name in ("ingestd", "files", "size", "sums")}
    store = StoreFacts(**told["store"])
    moment = datetime.fromisoformat(told["taken_at"])
    return Manifest(**known, store=store, taken_at=moment, faults=tuple(told["faults"]))


def sums(source: Path, manifest: Manifest) -> dict[str, str]:
    """The hash of every file of a backup, by its path in it; raises Rejected when the list is not the one it had."""
    path = source / SUMS
    try:
        lines = path.read_bytes()
    except OSError as problem:
        raise broken(path, f"cannot be read: {problem.strerror}") from problem
    if hashlib.sha256(lines).hexdigest() != manifest.sums:
        raise broken(path, "is not the list that the backup was made with")
    return dict(_entry(source, line) for line in lines.split(b"\n")[:-1])


def _entry(source: Path, line: bytes) -> tuple[str, str]:
    """One line of the list. No path leads outside, also when somebody wrote the list by hand."""
    found = _LINE.fullmatch(line)
    if found is None:
        raise foreign(source, f"has a line in {SUMS} that is none of ours: {line[:80]!r}")
    escaped, digest, name = found.groups()
    if escaped:
        name = re.sub(rb"\\(.)", lambda char: {b"n": b"\n", b"r": b"\r"}.get(char[1], char[1]), name)
    path = os.fsdecode(name)
    if PurePosixPath(path).parts[:1] not in ((STORE,), (HOME,)) or ".." in path.split("/"):
        raise foreign(source, f"names a file that a backup cannot have: {path!r}")
    return path, digest.decode()
