"""A partner's home as pyftpdlib wants to see it."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pyftpdlib.exceptions import FilesystemError
from pyftpdlib.filesystems import AbstractedFS

from ingestd.receive.home import NotAllowed, PartnerHome, TooManyFolders


@contextlib.contextmanager
def _answered() -> Iterator[None]:
    """pyftpdlib answers 550 with the text of a FilesystemError."""
    try:
        yield
    except (NotAllowed, TooManyFolders) as problem:
        raise FilesystemError(str(problem)) from problem


class Home(AbstractedFS):  # type: ignore[misc]  # pyftpdlib is untyped
    """pyftpdlib's file system over one home. Sent files never pass through here; only parked ones lie in it."""

    @property
    def home(self) -> PartnerHome:
        """The home itself."""
        return PartnerHome(Path(self.root))

    def validpath(self, path: str) -> bool:
        """Inside the home, and no part of the way is a symbolic link."""
        return self.home.contains(path)

    def fs2ftp(self, fspath: str) -> str:
        """The path as the client knows it. pyftpdlib's own asks the disk again; the paths here are already checked."""
        return self.home.path(fspath)

    def open(self, filename: str, mode: str) -> IO[bytes]:
        """Open a regular file for reading; nothing is written through this object."""
        if mode != "rb":
            raise FilesystemError("Read-only")
        with _answered():
            return self.home.open(filename)

    def listdir(self, path: str) -> list[str]:
        """Names in a folder, without what results are being written under and without symbolic links."""
        return self.home.names(path)

    def chdir(self, path: str) -> None:
        """Change the session's folder. pyftpdlib's own changes the folder of the whole process for a moment."""
        if not Path(path).is_dir():
            raise FilesystemError("No such directory")
        self.cwd = self.fs2ftp(path)

    def stat(self, path: str) -> os.stat_result:
        """What listings show: neither the owner nor the mode on our disk; as by SFTP."""
        known = super().stat(path)
        folder = stat.S_ISDIR(known.st_mode)
        mode = stat.S_IFMT(known.st_mode) | (0o755 if folder else 0o644)
        return os.stat_result((mode, known.st_ino, known.st_dev, 1, 0, 0, 0 if folder else known.st_size, *known[7:10]))

    lstat = stat

    def get_user_by_uid(self, _uid: int) -> str:
        """Shown in listings: nobody learns the users of this machine."""
        return "partner"

    get_group_by_gid = get_user_by_uid

    def mkdir(self, path: str) -> None:
        """Make a campaign's folder."""
        with _answered():
            self.home.make_folder(path)

    def rmdir(self, path: str) -> None:
        """Remove a campaign's folder, if it is empty."""
        with _answered():
            self.home.remove_folder(path)

    def remove(self, path: str) -> None:
        """Remove a parked file: what has landed is not here any more."""
        with _answered():
            self.home.remove(path)


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
