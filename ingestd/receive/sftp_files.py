"""What an SFTP client can do with files: send them to the landing, park them, rename them, fetch results.

Nothing of asyncssh's own file access is left: each of its methods that `Handler` lets through is replaced here.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import asyncssh

from ingestd.accounts import Account
from ingestd.model import Arrival, Completeness
from ingestd.receive import names
from ingestd.receive.home import NotAllowed, PartnerHome, Place, upload_place
from ingestd.receive.landing import Receipt
from ingestd.receive.sending import Sender, Sending, is_bug, land_parked, why_not_kept
from ingestd.receive.sftp_answers import answer_to, attributes, check_size, regular
from ingestd.receive.sftp_desk import Desk
from ingestd.spool import fingerprint

EVIDENCE = "sftp close"
_WHOLE = "an upload cannot be continued or appended to; send the whole file again"
_RENAMED = "renamed to its final name"
_WRITING = asyncssh.FXF_WRITE | asyncssh.FXF_APPEND | asyncssh.FXF_CREAT | asyncssh.FXF_TRUNC
_LONGEST_READ = 256 * 1024  # bytes of one answer; a client that wants more asks again
_MOST_REMEMBERED = 1000  # files that one channel has landed or parked

Audit = Callable[..., None]


@dataclass(frozen=True, eq=False)
class Fetching:
    """A file that the client reads."""

    file: IO[bytes]
    path: str
    give_back: Callable[[], None]
    """to be called when it is closed"""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A file that has landed in this channel. Clients ask for it after they have closed it."""

    size: int
    """bytes"""
    at: float
    """seconds since 1970"""


class Files(asyncssh.SFTPServer):
    """The partner's home in one channel. Requests come one after the other."""

    def __init__(
        self,
        channel: asyncssh.SSHServerChannel[bytes],
        desk: Desk,
        account: Account,
        peer: str,
        audit: Audit,
    ) -> None:
        self._home = PartnerHome(desk.homes / account.source)
        super().__init__(channel, chroot=os.fsencode(self._home.root))
        self._desk = desk
        self._account = account
        self._sender = Sender(account=account, peer=peer, protocol="sftp")
        self._audit = audit
        self._landed: OrderedDict[Place, Kept] = OrderedDict()
        self._parked: OrderedDict[str, tuple[int, int, int, int]] = OrderedDict()
        self.open_files: set[Sending | Fetching] = set()
        self.asked_to_close = False
        """True while a close is obeyed that the client has asked for"""

    @property
    def uploads(self) -> int:
        """How many files are being sent."""
        return sum(isinstance(file, Sending) for file in self.open_files)

    # --- paths

    def _path(self, raw: bytes) -> str:
        """The absolute path as the partner writes it. Raises NotAllowed."""
        if any(byte < 0x20 or byte == 0x7F for byte in raw):
            raise NotAllowed("The name contains control characters")
        return posixpath.normpath("/" + raw.decode("utf-8", "surrogateescape").lstrip("/"))

    @contextlib.contextmanager
    def _answered(self, operation: str, *paths: bytes, tell: bool = True) -> Iterator[None]:
        """Answer what goes wrong in the client's words, and note it; with `tell`, also what goes right."""
        argument = " ".join(names.label(path.decode("utf-8", "surrogateescape")) for path in paths)
        try:
            yield
        except Exception as problem:
            answer = answer_to(problem)
            if answer is None:
                self._audit("fault", where=operation, exc_info=problem)
                raise asyncssh.SFTPFailure("something broke on our side; try again later") from problem
            if not (isinstance(answer, asyncssh.SFTPNoSuchFile) and operation == "stat"):  # asked before every upload
                self._audit("command_refused", operation=operation, argument=argument, reply=answer.reason)
            raise answer from problem
        if tell:
            self._audit("command", operation=operation, argument=argument)

    # --- opening

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> Sending | Fetching:  # noqa: ARG002
        """Open a file for sending or for fetching; the attributes that a client wishes are not kept."""
        with self._answered("open", path, tell=False):
            opened = self._expect(path, pflags) if pflags & _WRITING else self._fetch(path)
        self.open_files.add(opened)
        return opened

    def _expect(self, raw: bytes, pflags: int) -> Sending:
        path = self._path(raw)
        place, real = upload_place(path), self._home.real(path)
        self._check_flags(place, real, pflags)
        return Sending(
            incoming=self._desk.gate.open_files.incoming(self._desk.landing, self._account),
            place=place,
            sender=self._sender,
            park_at=real if place.partial else None,
            home=self._home.root,
        )

    def _check_flags(self, place: Place, real: Path, pflags: int) -> None:
        there = os.path.lexists(real)
        if real.is_dir():
            raise NotAllowed("That is a folder")
        if there and pflags & asyncssh.FXF_EXCL:
            raise asyncssh.SFTPFailure("there is a file of that name")
        resumed = (there or place in self._landed) and not pflags & asyncssh.FXF_TRUNC
        if pflags & asyncssh.FXF_APPEND or resumed:
            raise asyncssh.SFTPFailure(_WHOLE)
        if not there and not pflags & asyncssh.FXF_CREAT:
            raise asyncssh.SFTPNoSuchFile("No such file")

    def _fetch(self, raw: bytes) -> Fetching:
        path = self._path(raw)
        real = str(self._home.real(path))
        give_back = self._desk.gate.open_files.take(self._account.source)
        try:
            return Fetching(self._home.open(real), path, give_back)
        except BaseException:
            give_back()
            raise

    # --- bytes

    def write(self, file_obj: object, offset: int, data: bytes) -> int:
        """Keep a piece of a file. After the first that cannot be kept there is no file any more."""
        if not isinstance(file_obj, Sending):
            raise asyncssh.SFTPPermissionDenied("the file is open for reading")
        if file_obj.problem is not None:
            raise asyncssh.SFTPFailure(why_not_kept(file_obj.problem))
        try:
            return file_obj.incoming.write_at(offset, data)
        except Exception as problem:
            self._refuse(file_obj, problem)
            raise asyncssh.SFTPFailure(why_not_kept(problem)) from problem

    def _refuse(self, sending: Sending, problem: BaseException) -> None:
        sending.problem = problem
        sending.incoming.close()
        if is_bug(problem):
            self._tell("upload_fault", sending, exc_info=problem)
        self._tell("upload_refused", sending, reply=why_not_kept(problem))

    def read(self, file_obj: object, offset: int, size: int) -> bytes:
        """A piece of a file."""
        if not isinstance(file_obj, Fetching):
            raise asyncssh.SFTPPermissionDenied("the file is open for writing")
        with self._answered("read", os.fsencode(file_obj.path), tell=False):
            return os.pread(file_obj.file.fileno(), min(size, _LONGEST_READ), offset)

    # --- the end of a file

    async def close(self, file_obj: object) -> None:
        """Close a file. A sent one is kept now, if it was the client that closed it; the answer is the receipt."""
        if isinstance(file_obj, Fetching):
            self._drop(file_obj)
            self._audit("download", path=names.label(file_obj.path))
        elif isinstance(file_obj, Sending) and not self.asked_to_close:
            self._drop(file_obj)
        elif isinstance(file_obj, Sending):
            try:
                await self._keep(file_obj)
            finally:
                self.open_files.discard(file_obj)

    async def _keep(self, sending: Sending) -> None:
        if sending.problem is not None:
            raise asyncssh.SFTPFailure(why_not_kept(sending.problem))
        sending.prove(EVIDENCE)
        try:
            receipt = await self._desk.landings(lambda: sending.keep(self._desk.landing))
        except Exception as problem:
            self._refuse(sending, problem)
            raise asyncssh.SFTPFailure(why_not_kept(problem)) from problem
        if receipt is not None:
            self._tell("upload_landed", sending, reply=str(receipt))
            self._remember_landed(sending.place, receipt)
        elif sending.park_at is not None:
            self._tell("upload_parked", sending)
            self._remember_parked(sending.park_at)

    def _drop(self, file: Sending | Fetching) -> None:
        if file not in self.open_files:
            return
        self.open_files.discard(file)
        if isinstance(file, Fetching):
            file.file.close()
            file.give_back()
            return
        if not file.incoming.closed:
            self._tell("upload_cut", file, reason="the connection or the channel ended")
        file.incoming.close()

    def drop_all(self) -> None:
        """Let go of every file that is still open."""
        for file in tuple(self.open_files):
            self._drop(file)

    def _tell(self, event: str, sending: Sending, **facts: Any) -> None:
        place = sending.place
        self._audit(event, name=place.label, folder=place.folder, received=sending.incoming.size, **facts)

    def _remember_landed(self, place: Place, receipt: Receipt) -> None:
        self._landed[place] = Kept(size=receipt.size, at=time.time())
        _forget_oldest(self._landed)

    def _remember_parked(self, real: Path) -> None:
        with contextlib.suppress(FileNotFoundError):  # another session was quicker
            self._parked[str(real)] = fingerprint(real.stat())
        _forget_oldest(self._parked)

    # --- renaming: how partners say "done"

    async def rename(self, oldpath: bytes, newpath: bytes) -> None:
        """Rename a parked file; a final name lands it, and the answer is the receipt."""
        await self._rename(oldpath, newpath, replace=False)

    async def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        """The same, and another parked file of the new name is replaced."""
        await self._rename(oldpath, newpath, replace=True)

    async def _rename(self, old: bytes, new: bytes, *, replace: bool) -> None:
        with self._answered("rename", old, new):
            source, target = self._home.real(self._path(old)), self._home.real(self._path(new))
            self._home.parked(str(source))
            place = upload_place(self._path(new))
            if not place.partial:
                await self._land_parked(source, place)
                return
            self._park_as(source, target, replace=replace)

    def _park_as(self, source: Path, target: Path, *, replace: bool) -> None:
        if os.path.lexists(target) and not replace:
            raise asyncssh.SFTPFailure("there is a file of that name")
        self._home.make_folder_of(str(target))
        source.rename(target)
        if known := self._parked.pop(str(source), None):
            self._parked[str(target)] = known

    def _arrival(self, source: Path, place: Place) -> Arrival:
        """Proven when this session has sent the parked file: another one may have parked it by another protocol."""
        if self._parked.get(str(source)) == fingerprint(source.stat()):
            return self._sender.arrival(place, Completeness.PROVEN, f"{EVIDENCE}, {_RENAMED}")
        return self._sender.arrival(place, Completeness.ASSUMED, _RENAMED)

    async def _land_parked(self, source: Path, place: Place) -> None:
        arrival = self._arrival(source, place)
        facts = {"name": place.label, "folder": place.folder, "renamed": True}
        landing, limit = self._desk.landing, self._account.limit
        try:
            receipt = await self._desk.landings(lambda: land_parked(landing, source, arrival, limit))
        except Exception as problem:
            if is_bug(problem):
                self._audit("upload_fault", exc_info=problem, **facts)
            self._audit("upload_refused", reply=why_not_kept(problem), **facts)
            raise asyncssh.SFTPFailure(why_not_kept(problem)) from problem
        self._audit("upload_landed", reply=str(receipt), received=receipt.size, **facts)
        self._parked.pop(str(source), None)
        self._remember_landed(place, receipt)

    # --- folders and removal

    def remove(self, path: bytes) -> None:
        """Remove a parked file."""
        with self._answered("remove", path):
            self._home.remove(str(self._home.real(self._path(path))))

    def mkdir(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:  # noqa: ARG002 - its mode is ours to choose
        """Make a campaign's folder."""
        with self._answered("mkdir", path):
            real = self._home.real(self._path(path))
            if real.exists():
                raise asyncssh.SFTPFailure("it is there already")
            self._home.make_folder(str(real))

    def rmdir(self, path: bytes) -> None:
        """Remove a campaign's folder, if it is empty."""
        with self._answered("rmdir", path):
            self._home.remove_folder(str(self._home.real(self._path(path))))

    def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        """What is in a folder; what cannot be listed is said at once, not with the first name."""
        with self._answered("list", path):
            real = self._home.real(self._path(path))
            return self._entries(real, sorted(self._home.names(str(real))))

    async def _entries(self, folder: Path, entries: Sequence[str]) -> AsyncIterator[asyncssh.SFTPName]:
        for name in (".", "..", *entries):
            if known := _looked_at(folder if name in (".", "..") else folder / name):
                yield asyncssh.SFTPName(name.encode("utf-8", "surrogateescape"), attrs=known)

    # --- attributes

    def realpath(self, path: bytes) -> bytes:
        """The absolute path; nothing is looked up, so nothing is given away."""
        with self._answered("realpath", path, tell=False):
            return self._path(path).encode("utf-8", "surrogateescape")

    def lstat(self, path: bytes) -> asyncssh.SFTPAttrs:
        """Size, kind and time of a file or folder, also of a file that has just landed."""
        with self._answered("stat", path, tell=False):
            asked = self._path(path)
            try:
                return attributes(self._home.real(asked).lstat())
            except FileNotFoundError:
                if kept := self._kept(asked):
                    return regular(kept.size, kept.at)
                raise

    def _kept(self, path: str) -> Kept | None:
        with contextlib.suppress(NotAllowed):
            return self._landed.get(upload_place(path))
        return None

    stat = lstat  # no symbolic link is followed

    def fstat(self, file_obj: object) -> asyncssh.SFTPAttrs:
        """The same for an open file."""
        if isinstance(file_obj, Sending):
            return regular(file_obj.incoming.size, time.time())
        assert isinstance(file_obj, Fetching)
        return attributes(os.fstat(file_obj.file.fileno()))

    def setstat(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        """Agreed to and ignored: clients set times and modes after an upload. A size is what was sent."""
        with self._answered("setstat", path, tell=False):
            check_size(attrs, self.lstat(path).size)

    lsetstat = setstat

    def fsetstat(self, file_obj: object, attrs: asyncssh.SFTPAttrs) -> None:
        """The same for an open file."""
        check_size(attrs, self.fstat(file_obj).size)

    def statvfs(self, path: bytes) -> os.statvfs_result:
        """Room on the disk."""
        with self._answered("statvfs", path, tell=False):
            return os.statvfs(self._home.real(self._path(path)))

    def format_user(self, uid: int | None) -> str:  # noqa: ARG002 - nobody learns the users of this machine
        """The owner in listings."""
        return "partner"

    def format_group(self, gid: int | None) -> str:  # noqa: ARG002
        """The group in listings."""
        return "partner"


def _looked_at(real: Path) -> asyncssh.SFTPAttrs | None:
    try:
        return attributes(real.lstat())
    except FileNotFoundError:  # taken or pruned meanwhile
        return None


def _forget_oldest(memory: OrderedDict[Any, Any]) -> None:
    while len(memory) > _MOST_REMEMBERED:
        memory.popitem(last=False)
