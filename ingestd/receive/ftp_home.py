"""The folders a partner sees by FTP: a flat upload area and read-only results. No symbolic link is followed."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pyftpdlib.exceptions import FilesystemError
from pyftpdlib.filesystems import AbstractedFS

from ingestd.receive import names

UPLOAD = "upload"
RESULTS = "results"


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
    """Where a file may be sent to: `/x`, `/upload/x` or `/upload/<folder>/x`. Raises FilesystemError."""
    parts = path.strip("/").split("/")
    if parts[0] == RESULTS:
        raise FilesystemError("results/ is read-only")
    if len(parts) == 1 and parts[0] != UPLOAD:
        return _place("", parts[0])
    if parts[0] == UPLOAD and len(parts) == 2:
        return _place("", parts[1])
    if parts[0] == UPLOAD and len(parts) == 3:
        return _place(parts[1], parts[2])
    raise FilesystemError("Files go to /, /upload/ or /upload/<campaign code>/")


def _place(folder: str, name: str) -> Place:
    if folder and not names.is_folder(folder):
        raise FilesystemError("The folder's name cannot be a campaign code")
    if problem := names.problem(names.label(name)):
        raise FilesystemError(f"The name {problem}")
    return Place(folder=folder, name=name)


def upload_folder(path: str) -> str:
    """The campaign code of a folder that may be made or removed: `/upload/<folder>`. Raises FilesystemError."""
    parts = path.strip("/").split("/")
    if len(parts) != 2 or parts[0] != UPLOAD or not names.is_folder(parts[1]):
        raise FilesystemError("Folders can be made and removed only as /upload/<campaign code>")
    return parts[1]


def _open_regular(path: str, flags: int) -> int:
    # O_NONBLOCK: opening a FIFO must not hold the loop up.
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise ValueError("Not a regular file")


class Home(AbstractedFS):  # type: ignore[misc]  # pyftpdlib is untyped
    """pyftpdlib's file system over one home. Sent files never pass through here; only parked ones lie in it."""

    def validpath(self, path: str) -> bool:
        """Inside the home, and no part of the way is a symbolic link."""
        root = str(self.root)
        inside = os.path.normpath(path)
        if inside != root and not inside.startswith(root + os.sep):
            return False
        step = Path(root)
        for part in Path(inside).relative_to(root).parts:
            step /= part
            if step.is_symlink():
                return False
        return True

    def fs2ftp(self, fspath: str) -> str:
        """The path as the client knows it. pyftpdlib's own asks the disk again; the paths here are already checked."""
        root = str(self.root)
        path = os.path.normpath(fspath)
        return path[len(root) :] or "/" if path == root or path.startswith(root + os.sep) else "/"

    def open(self, filename: str, mode: str) -> IO[bytes]:
        """Open a regular file for reading; nothing is written through this object."""
        if mode != "rb":
            raise FilesystemError("Read-only")
        try:
            return open(filename, "rb", opener=_open_regular)
        except ValueError as problem:
            raise FilesystemError(str(problem)) from problem

    def listdir(self, path: str) -> list[str]:
        """Names in a folder, without what results are being written under and without symbolic links."""
        hide_dots = self.fs2ftp(path) == f"/{RESULTS}"
        with os.scandir(path) as entries:
            return [e.name for e in entries if not e.is_symlink() and not (hide_dots and e.name.startswith("."))]

    def chdir(self, path: str) -> None:
        """Change the session's folder. pyftpdlib's own changes the folder of the whole process for a moment."""
        if not Path(path).is_dir():
            raise FilesystemError("No such directory")
        self.cwd = self.fs2ftp(path)

    def mkdir(self, path: str) -> None:
        """Make a campaign's folder."""
        upload_folder(self.fs2ftp(path))
        Path(path).mkdir()

    def rmdir(self, path: str) -> None:
        """Remove a campaign's folder, if it is empty."""
        upload_folder(self.fs2ftp(path))
        Path(path).rmdir()

    def remove(self, path: str) -> None:
        """Remove a parked file: what has landed is not here any more."""
        self.parked(path)
        Path(path).unlink()

    def parked(self, path: str) -> Place:
        """The place of a parked file. Raises FilesystemError when there is none."""
        place = upload_place(self.fs2ftp(path))
        if not Path(path).is_file():
            raise FilesystemError("No such file")
        return place


class Permissions:
    """What pyftpdlib asks of an authorizer. Logins are checked by the session, places by `Home`."""

    granted = "elrdfmw"

    def has_perm(self, _username: str, permission: str, _path: str | None = None) -> bool:
        """True for every kind of command that is offered at all."""
        return permission in self.granted

    def get_perms(self, _username: str) -> str:
        """Shown in machine-readable listings."""
        return self.granted

    def get_msg_quit(self, _username: str) -> str:
        """The last words."""
        return "Goodbye."

    def impersonate_user(self, _username: str, _password: str) -> None:
        """Everything runs as the daemon's user."""

    def terminate_impersonation(self, _username: str) -> None:
        """Everything runs as the daemon's user."""
