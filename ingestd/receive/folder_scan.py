"""Which files lie in the drop folder of a source."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ingestd.receive import names
from ingestd.receive.companions import Kind, kind_of
from ingestd.receive.folder_rules import FolderOptions, Mark
from ingestd.receive.results import DONE, REJECTED, RESULTS
from ingestd.spool import fingerprint

TAKING = ".taking"
APART = {TAKING, RESULTS, REJECTED, DONE}
"""Folders of our own, in which nothing is dropped."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """One file of a scan."""

    path: Path
    raw_name: str
    """the name as its sender gave it, undecodable bytes as surrogates"""
    base: Path
    """the folder of its source"""
    source: str
    folder: str
    """the campaign code, or empty"""
    options: FolderOptions
    status: os.stat_result
    kind: Kind | None = None
    """what it says about another file; None when it is no companion"""
    about: str = ""
    """the name of that other file, as its sender gave it"""
    claimed: bool = False
    """True when it was already moved out of its sender's sight"""

    @property
    def mark(self) -> Mark:
        """What changes when it is written to or replaced."""
        return fingerprint(self.status)

    @property
    def partial(self) -> bool:
        """True when its sender says by the name that it is not finished."""
        return names.is_partial(self.raw_name)

    @property
    def name(self) -> str:
        """The name as text."""
        return names.label(self.raw_name)

    @property
    def place(self) -> tuple[str, str, str]:
        """Source, folder and name: what its companions have in common with it."""
        return self.source, self.folder, self.about or self.raw_name


def claim_path(file: Found) -> Path:
    """Where a file is moved to while it is taken. Campaign codes have no `@`, so both parts can be told apart again.

    One flat folder: watchdog warns of folders that are made within new folders.
    """
    return file.base / TAKING / f"{file.folder}@{file.raw_name}"


def found(base: Path, source: str, options: FolderOptions, tell: Callable[[Path, OSError], None]) -> Iterator[Found]:
    """Every file of a source: dropped, dropped for a campaign, and claimed but not yet landed. No link is followed.

    A campaign's folder that cannot be read is told and passed by. Raises OSError when the source's own cannot.
    """
    entries = _entries(base)
    start = _Start(base, source, options)
    yield from start.files(entries, "")
    folders = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    for name in folders:
        if names.is_folder(name) and name not in APART:
            try:
                inner = _entries(base / name)
            except OSError as problem:
                tell(base / name, problem)
                continue
            yield from start.files(inner, name)
    # A claimed file has had its companions, and they are gone.
    claimed = _Start(base, source, replace(options, demand=False))
    for file in claimed.files(_entries(base / TAKING), "") if TAKING in folders else ():
        folder, _, raw_name = file.raw_name.partition("@")
        yield replace(file, folder=folder, raw_name=raw_name, kind=None, about="", claimed=True)


@dataclass(frozen=True)
class _Start:
    base: Path
    source: str
    options: FolderOptions

    def files(self, entries: list[os.DirEntry[str]], folder: str) -> Iterator[Found]:
        for entry in entries:
            if not entry.is_file(follow_symlinks=False):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # its sender took it away
            about, kind = kind_of(entry.name) or ("", None)
            yield Found(
                path=Path(entry.path),
                raw_name=entry.name,
                base=self.base,
                source=self.source,
                folder=folder,
                options=self.options,
                status=status,
                kind=kind,
                about=about,
            )


def passed_by(base: Path) -> Iterator[tuple[Path, str]]:
    """Folders in which something lies that is never looked at, and why. Those with a partial name are meant to be."""
    for path in _folders(base):
        if path.name in APART:
            continue
        if path.is_symlink():
            yield path, "it is a symbolic link"
        elif names.is_folder(path.name):
            yield from ((deeper, "it lies within a campaign's folder") for deeper in _folders(path))
        else:
            yield path, "its name cannot be a campaign code"


def _folders(place: Path) -> list[Path]:
    """The folders in which something lies, links to folders too; what cannot be read is told by the scan for files."""
    with contextlib.suppress(OSError):
        return [place / e.name for e in _entries(place) if not names.is_partial(e.name) and _occupied(e)]
    return []


def _occupied(entry: os.DirEntry[str]) -> bool:
    with contextlib.suppress(OSError):
        if entry.is_symlink() or not entry.is_dir():
            return entry.is_dir()
        with os.scandir(entry.path) as entries:
            return next(entries, None) is not None
    return False


def _entries(place: Path) -> list[os.DirEntry[str]]:
    with os.scandir(place) as entries:
        return list(entries)
