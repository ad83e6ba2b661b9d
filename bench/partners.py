"""Partners for the soak: each sends files of every kind through one door until it has been answered, as partners do.

Every good record has a name of its own, `<file>-<row>`, as its external id. So it can be told afterwards which record
of which file became a lead, and whether it did so once.
"""

from __future__ import annotations

import contextlib
import ftplib
import hashlib
import io
import itertools
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

import asyncssh

from bench import clients
from tests.receive.sftp_client import SftpClient
from tests.running import Daemon, until

SOURCE = "fibreweb"  # its campaign keeps duplicates, so a file that is loaded twice shows as leads too many
COMPANION = ".sha256"
BACKLOG = 100
"""deliveries that may wait before partners pause"""
PATIENCE_SECONDS = 180.0
BAD_EVERY = 7
"""of the records of a damaged file have a number that nobody can call"""


class Kind(StrEnum):
    """What a file is, and what must become of it."""

    GOOD = "good"
    LARGE = "large"
    DAMAGED = "damaged"  # some records are rejected
    PICTURE = "picture"  # refused
    AGAIN = "again"  # the same file once more: a duplicate
    PROVEN = "proven"  # a companion comes before it
    LATE = "late"  # a companion comes after it
    DISPROVED = "disproved"  # a companion says another digest: refused
    CUT = "cut"  # its sender dies in the middle: never a delivery


_WEIGHTS = {
    Kind.GOOD: 50, Kind.LARGE: 2, Kind.DAMAGED: 12, Kind.PICTURE: 5, Kind.AGAIN: 10, Kind.PROVEN: 10, Kind.LATE: 5,
    Kind.DISPROVED: 5, Kind.CUT: 3,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One file, as its sender remembers it."""

    number: int
    name: str
    door: str
    kind: Kind
    size: int
    """bytes"""
    sha256: str
    good: tuple[int, ...] = ()
    """the rows that must become leads"""
    bad: int = 0
    """the rows that must be rejected"""
    attempts: int = 1
    times: int = 1
    """how often the file was sent and acknowledged; twice or more make duplicates"""


AWAY = (OSError, EOFError, ftplib.Error, asyncssh.Error, asyncssh.SFTPError, KeyError, ValueError)
"""What a client meets while a server is killed and started; KeyError, ValueError: its endpoints are being written."""


def line(number: int, row: int) -> str:
    """A good record."""
    return f"{number}-{row},Lund,+4526{(number * 211 + row) % 1_000_000:06}"


def content(number: int, kind: Kind, dice: random.Random) -> tuple[bytes, tuple[int, ...], int]:
    """The bytes of a file, the rows that are good, and how many are bad."""
    if kind is Kind.PICTURE:
        return b"\x89PNG\r\n\x1a\n" + number.to_bytes(8, "big") * 20, (), 0
    count = dice.randint(4_000, 12_000) if kind is Kind.LARGE else dice.randint(5, 150)
    lines, good = ["Lead ID,Name,Phone"], []
    for row in range(count):
        if kind is Kind.DAMAGED and row % BAD_EVERY == 0:
            lines.append(f"{number}-{row},Lund,12")
        else:
            lines.append(line(number, row))
            good.append(row)
    return ("\n".join(lines) + "\n").encode(), tuple(good), count - len(good)


class Door(Protocol):
    """How a partner hands files in; raises one of AWAY when the other side is away."""

    name: str

    def send(self, name: str, data: bytes) -> bool:
        """Sends one file; True when it was kept, False when it was refused."""

    def cut(self, name: str, data: bytes) -> None:
        """Begins to send a file and dies."""

    def leave(self) -> None:
        """Ends the session without a farewell; the next file opens another."""


class FtpPartner:
    """Plain FTP, or with TLS."""

    def __init__(self, daemon: Daemon, *, tls: bool) -> None:
        self._daemon, self._tls = daemon, tls
        self._client: ftplib.FTP | None = None
        self.name = "ftps" if tls else "ftp"

    def send(self, name: str, data: bytes) -> bool:
        """By STOR; what is refused for good is answered with 55x."""
        try:
            return self._open().storbinary(f"STOR upload/{name}", io.BytesIO(data)).startswith("226")
        except ftplib.error_perm as refused:
            if str(refused).startswith("55"):
                return False
            raise

    def cut(self, name: str, data: bytes) -> None:
        """Ends the data connection by RST: an end of file would be one that the sender means."""
        connection = self._open().transfercmd(f"STOR upload/{name}")
        connection.sendall(data[: len(data) // 2])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        self.leave()

    def leave(self) -> None:
        """Closes the control connection."""
        if self._client is not None:
            self._client.close()
        self._client = None

    def _open(self) -> ftplib.FTP:
        if self._client is None:
            place = self._daemon.doors["ftp"]
            client = ftplib.FTP_TLS(context=clients.trusting()) if self._tls else ftplib.FTP()
            try:
                client.connect(place["host"], place["port"], timeout=60)
                client.login(SOURCE, "secret")
                if isinstance(client, ftplib.FTP_TLS):
                    client.prot_p()
            except BaseException:
                client.close()
                raise
            self._client = client
        return self._client


class SftpPartner:
    """SFTP with a password."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon, self.name = daemon, "sftp"
        self._client: SftpClient | None = None

    def send(self, name: str, data: bytes) -> bool:
        """Open, write, close; the answer to the close is the receipt."""
        try:
            self._open().send(f"upload/{name}", data)
        except asyncssh.SFTPError as refused:
            if refused.code == asyncssh.FX_FAILURE and "sha256" in refused.reason:
                return False
            raise
        return True

    def cut(self, name: str, data: bytes) -> None:
        """Ends the connection before the file is closed."""
        client = self._open()
        file = client.open(f"upload/{name}")
        client.run(file.write(data[: len(data) // 2]))
        self._client = None
        client.reset()

    def leave(self) -> None:
        """Closes the connection."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(*AWAY):
                client.close()

    def _open(self) -> SftpClient:
        if self._client is None:
            self._client = self._daemon.sftp(SOURCE)
        return self._client


class FolderPartner:
    """The drop folder: a file is kept when it is gone from where it was moved to."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon, self.name = daemon, "folder"
        self._base = daemon.home / "drop" / SOURCE
        self._writing = daemon.home.parent / "writing"

    def send(self, name: str, data: bytes) -> bool:
        """Written elsewhere and moved in. Whether a companion refuses it, is told in `rejected/` and not here.

        A companion stays where it is until its file comes; one that does not fit is given a minute to change. Nobody
        waits here for a file with a companion: the end of the soak does.
        """
        self._base.mkdir(parents=True, exist_ok=True)
        self._writing.mkdir(exist_ok=True)
        (self._writing / name).write_bytes(data)
        (self._writing / name).rename(self._base / name)
        if not name.endswith(COMPANION) and not (self._base / f"{name}{COMPANION}").exists():
            until(lambda: not (self._base / name).exists(), f"{name} to be taken", seconds=PATIENCE_SECONDS)
        return True

    def cut(self, name: str, data: bytes) -> None:
        """Nothing can be told from a file that is written in place and left; so its name says that it is not done."""
        self._base.mkdir(parents=True, exist_ok=True)
        (self._base / f"{name}.part").write_bytes(data[: len(data) // 2])

    def leave(self) -> None:
        """There is no session."""


class Partner(threading.Thread):
    """Sends files through one door until it is told to stop; then it has been answered for each."""

    def __init__(self, door: Door, seed: int, numbers: Iterator[int], backlog: Callable[[], int]) -> None:
        super().__init__(name=f"{door.name}-{seed}", daemon=True)
        self.door, self.numbers, self.backlog = door, numbers, backlog
        self.dice = random.Random(seed)
        self.sent: list[Sent] = []
        self.enough = threading.Event()
        self.failed: BaseException | None = None

    def run(self) -> None:
        """Until `enough`; what goes wrong ends the soak and not only this thread."""
        try:
            while not self.enough.is_set():
                if self.backlog() > BACKLOG:
                    self.enough.wait(0.1)
                else:
                    self._one()
        except Exception as problem:  # noqa: BLE001 - kept, and raised by who looks
            self.failed = problem
        finally:
            self.door.leave()

    def _one(self) -> None:
        kind = self.dice.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        earlier = [place for place, each in enumerate(self.sent) if each.kind is Kind.GOOD]
        if kind is Kind.AGAIN and earlier:
            self._again(self.dice.choice(earlier))
        elif kind is not Kind.AGAIN:
            # In a folder a companion without its file waits for the next one of that name.
            late = kind is Kind.LATE and self.door.name == "folder"
            self._new(next(self.numbers), Kind.PROVEN if late else kind)

    def _new(self, number: int, kind: Kind) -> None:
        data, good, bad = content(number, kind, self.dice)
        sha256, name = hashlib.sha256(data).hexdigest(), f"soak-{number}.csv"
        file = Sent(
            number=number, name=name, door=self.door.name, kind=kind, size=len(data), sha256=sha256, good=good, bad=bad
        )
        if kind is Kind.CUT:
            self._until_answered(lambda: self.door.cut(name, data), name)
            self.sent.append(file)
            return
        says = hashlib.sha256(b"another file").hexdigest() if kind is Kind.DISPROVED else sha256
        companion = says.encode() + b"\n"

        def send() -> bool:
            if kind in (Kind.PROVEN, Kind.DISPROVED):
                self.door.send(f"{name}{COMPANION}", companion)
            return self.door.send(name, data)

        attempts = self._until_answered(send, name)
        if kind is Kind.LATE:
            attempts += self._until_answered(lambda: self.door.send(f"{name}{COMPANION}", companion), name) - 1
        self.sent.append(replace(file, attempts=attempts))

    def _again(self, place: int) -> None:
        """The same name with the same bytes, made anew from the file's number."""
        file = self.sent[place]
        lines = ["Lead ID,Name,Phone", *(line(file.number, row) for row in file.good)]
        data = ("\n".join(lines) + "\n").encode()
        assert hashlib.sha256(data).hexdigest() == file.sha256
        attempts = self._until_answered(lambda: self.door.send(file.name, data), file.name)
        self.sent[place] = replace(file, attempts=file.attempts + attempts, times=file.times + 1)

    def _until_answered(self, attempt: Callable[[], object], name: str) -> int:
        """How many attempts it took. A partner that is cut off tries again, as long as it takes."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        for number in itertools.count(1):
            try:
                attempt()
            except AWAY as away:
                self.door.leave()
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{name} was not answered within {PATIENCE_SECONDS:.0f} s: {away!r}") from away
                time.sleep(0.1)  # a partner waits before it tries again
            else:
                return number
        raise AssertionError
