"""Which files lie in the drop folder of a source."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ingestd.receive import names
from ingestd.receive.folder_rules import FolderOptions, ignored

TAKING, RESULTS, REJECTED = ".taking", "results", "rejected"
APART = {TAKING, RESULTS, REJECTED}


@dataclass(frozen=True, kw_only=True)
class Found:
    """One file of a scan."""

    path: Path
    source: str
    folder: str
    """the campaign code, or empty"""
    options: FolderOptions
    status: os.stat_result
    marker: str = ""
    """the name of the marker that lies beside it"""

    @property
    def claimed(self) -> bool:
        """True when the file was already moved out of its sender's sight."""
        return self.path.parent.name == TAKING

    @property
    def raw_name(self) -> str:
        """The name as its sender gave it, undecodable bytes as surrogates."""
        return self.path.name.partition("@")[2] if self.claimed else self.path.name

    @property
    def name(self) -> str:
        """The name as text."""
        return names.label(self.raw_name)


def claim_path(base: Path, file: Found) -> Path:
    """Where a file is moved to while it is taken. Campaign codes have no `@`, so both parts can be told apart again.

    One flat folder: watchdog warns of folders that are made within new folders.
    """
    return base / TAKING / f"{file.folder}@{file.raw_name}"


def found(base: Path, source: str, options: FolderOptions) -> Iterator[Found]:
    """Every file of a source: dropped, dropped for a campaign, and claimed but not yet landed. No link is followed."""
    yield from _files(base, source, "", options)
    folders = [entry.name for entry in _entries(base) if entry.is_dir(follow_symlinks=False)]
    for name in folders:
        if names.is_folder(name) and name not in APART:
            yield from _files(base / name, source, name, options)
    # A claimed file lost its marker when it was claimed.
    unmarked = replace(options, markers=())
    for file in _files(base / TAKING, source, "", unmarked) if TAKING in folders else ():
        yield replace(file, folder=file.path.name.partition("@")[0])


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


def _files(place: Path, source: str, folder: str, options: FolderOptions) -> Iterator[Found]:
    here = {entry.name: entry for entry in _entries(place) if entry.is_file(follow_symlinks=False)}
    for name, entry in here.items():
        if ignored(name):
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # its sender took it away
        marker = next((name + suffix for suffix in options.markers if name + suffix in here), "")
        yield Found(path=place / name, source=source, folder=folder, options=options, status=status, marker=marker)


def _entries(place: Path) -> list[os.DirEntry[str]]:
    with os.scandir(place) as entries:
        return list(entries)
