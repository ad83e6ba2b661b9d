"""What a partner sees of us, the same at every door: a flat upload area and read-only results.

No symbolic link is followed. Paths come in two kinds: `path` as the partner writes it, such as `/upload/x.csv`, and
`real`, where that is on the disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ingestd.errors import IngestdError
from ingestd.receive import names

UPLOAD = "upload"
RESULTS = "results"

MOST_FOLDERS = 500
"""campaign folders in one home; each is looked into whenever a file is parked"""


class NotAllowed(IngestdError):
    """The partner asked for a place that is not theirs to use so; the text is written for them."""


class TooManyFolders(OSError):
    """A partner has made more campaign folders than anybody needs; the text is written for them."""

    def __init__(self) -> None:
        super().__init__(errno.EDQUOT, f"there are {MOST_FOLDERS} folders; remove those that you do not need first")

    def __str__(self) -> str:
        return str(self.strerror)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A path in the upload area, taken apart."""

    folder: str
    """the campaign code, or empty"""
    name: str
    """as the client sent it, decoded with `surrogateescape`"""

    @property
    def label(self) -> str:
        """The name as text."""
        return names.label(self.name)

    @property
    def partial(self) -> bool:
        """True when the client says by the name that it will rename later."""
        return names.is_partial(self.label)


def upload_place(path: str) -> Place:
    """Where a file may be sent to: `/x`, `/upload/x` or `/upload/<folder>/x`. Raises NotAllowed."""
    parts = path.strip("/").split("/")
    if parts[0] == RESULTS:
        raise NotAllowed("results/ is read-only")
    if len(parts) == 1 and parts[0] != UPLOAD:
        return _place("", parts[0])
    if parts[0] == UPLOAD and len(parts) == 2:
        return _place("", parts[1])
    if parts[0] == UPLOAD and len(parts) == 3:
        return _place(parts[1], parts[2])
    raise NotAllowed("Files go to /, /upload/ or /upload/<campaign code>/")


def _place(folder: str, name: str) -> Place:
    if folder and not names.is_folder(folder):
        raise NotAllowed("The folder's name cannot be a campaign code")
    if problem := names.problem(names.label(name)):
        raise NotAllowed(f"The name {problem}")
    return Place(folder=folder, name=name)


def upload_folder(path: str) -> str:
    """The campaign code of a folder that may be made or removed: `/upload/<folder>`. Raises NotAllowed."""
    parts = path.strip("/").split("/")
    if len(parts) != 2 or parts[0] != UPLOAD or not names.is_folder(parts[1]):
        raise NotAllowed("Folders can be made and removed only as /upload/<campaign code>")
    return parts[1]


@dataclass(frozen=True)
class PartnerHome:
    """The folders of one source. Sent files never lie in it, only parked ones, campaign folders and results."""

    root: Path

    @classmethod
    def of(cls, homes: Path, source: str) -> PartnerHome:
        """The home of a source, made when it is not there."""
        root = homes / source
        for folder in (UPLOAD, RESULTS):
            (root / folder).mkdir(parents=True, exist_ok=True)
        return cls(root)

    def real(self, path: str) -> Path:
        """Where a partner's absolute path is on the disk. Raises NotAllowed when that is not inside the home."""
        real = Path(os.path.normpath(f"{self.root}/{path}"))
        if not self.contains(str(real)):
            raise NotAllowed("No such place")
        return real

    def contains(self, real: str) -> bool:
        """Inside the home, and no part of the way is a symbolic link."""
        root = str(self.root)
        inside = os.path.normpath(real)
        if inside != root and not inside.startswith(root + os.sep):
            return False
        step = Path(root)
        for part in Path(inside).relative_to(root).parts:
            step /= part
            if os.path.islink(step):  # noqa: PTH114 - False for a name that no file can have; pathlib raises
                return False
        return True

    def path(self, real: str) -> str:
        """The path as the partner knows it; the root for what is outside."""
        root = str(self.root)
        inside = os.path.normpath(real)
        return inside[len(root) :] or "/" if inside == root or inside.startswith(root + os.sep) else "/"

    def names(self, real: str) -> list[str]:
        """Names in a folder, without what results are being written under and without symbolic links."""
        hide_dots = self.path(real) == f"/{RESULTS}"
        with os.scandir(real) as entries:
            return [e.name for e in entries if not e.is_symlink() and not (hide_dots and e.name.startswith("."))]

    def open(self, real: str) -> IO[bytes]:
        """A regular file for reading. Raises NotAllowed for anything else."""
        try:
            return open(real, "rb", opener=_open_regular)
        except ValueError as problem:
            raise NotAllowed(str(problem)) from problem

    def make_folder(self, real: str) -> None:
        """Make a campaign's folder. Raises NotAllowed, and OSError when it is one too many or is there."""
        upload_folder(self.path(real))
        with os.scandir(self.root / UPLOAD) as entries:
            if sum(entry.is_dir(follow_symlinks=False) for entry in entries) >= MOST_FOLDERS:
                raise TooManyFolders
        Path(real).mkdir()

    def make_folder_of(self, real: str) -> None:
        """Make the folder that a file is to be parked in, unless it is there. Raises as `make_folder` does."""
        folder = Path(real).parent
        if not folder.is_dir():
            with contextlib.suppress(FileExistsError):  # another session was quicker
                self.make_folder(str(folder))

    def remove_folder(self, real: str) -> None:
        """Remove a campaign's folder, if it is empty."""
        upload_folder(self.path(real))
        Path(real).rmdir()

    def remove(self, real: str) -> None:
        """Remove a parked file: what has landed is not here any more."""
        self.parked(real)
        Path(real).unlink()

    def parked(self, real: str) -> Place:
        """The place of a parked file. Raises NotAllowed when there is none."""
        place = upload_place(self.path(real))
        if not Path(real).is_file():
            raise NotAllowed("No such file")
        return place


def _open_regular(real: str, flags: int) -> int:
    # O_NONBLOCK: opening a FIFO must not hold the loop up.
    descriptor = os.open(real, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise ValueError("Not a regular file")
