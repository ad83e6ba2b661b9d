"""What SFTP clients are told: problems as statuses, files as attributes."""

from __future__ import annotations

import os
import stat

import asyncssh

from ingestd.errors import IngestdError
from ingestd.receive.home import NotAllowed
from ingestd.receive.sending import why_not_kept


def answer_to(problem: Exception) -> asyncssh.SFTPError | None:
    """The answer to a problem that was foreseen. Version 3 knows few codes, so the text says it."""
    if isinstance(problem, asyncssh.SFTPError):
        return problem
    if isinstance(problem, NotAllowed):
        return asyncssh.SFTPPermissionDenied(str(problem))
    if isinstance(problem, (FileNotFoundError, NotADirectoryError)):
        return asyncssh.SFTPNoSuchFile("No such file")
    if isinstance(problem, OSError):
        return asyncssh.SFTPFailure(problem.strerror or "it cannot be done now")
    if isinstance(problem, IngestdError):
        return asyncssh.SFTPFailure(why_not_kept(problem))
    return None


def check_size(attrs: asyncssh.SFTPAttrs, size: int | None) -> None:
    """Raise SFTPFailure when a client wants a file to have another size than it has."""
    if attrs.size is not None and attrs.size != size:
        raise asyncssh.SFTPFailure("a file has the size that is sent; it cannot be cut or stretched")


def attributes(status: os.stat_result) -> asyncssh.SFTPAttrs:
    """What a partner may know of a file: neither its owner nor its mode on our disk."""
    if stat.S_ISREG(status.st_mode):
        return regular(status.st_size, status.st_mtime)
    at = int(status.st_mtime)
    return asyncssh.SFTPAttrs(size=0, permissions=stat.S_IFDIR | 0o755, atime=at, mtime=at, nlink=1)


def regular(size: int, at: float) -> asyncssh.SFTPAttrs:
    """A regular file of so many bytes, from so many seconds after 1970."""
    return asyncssh.SFTPAttrs(size=size, permissions=stat.S_IFREG | 0o644, atime=int(at), mtime=int(at), nlink=1)
