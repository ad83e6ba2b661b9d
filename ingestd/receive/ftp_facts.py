"""What is known of a file, for FTP: SIZE, MDTM, MLST and hashes, of files on the disk and of those that have landed.

A file that has landed is not in the folder any more, but the partner may ask for it under the name it was sent with:
then the ledger answers. Everything is looked up in a thread.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ingestd.errors import Unavailable
from ingestd.receive.ftp_control import Control
from ingestd.receive.home import NotAllowed, PartnerHome, upload_place
from ingestd.receive.landing import Landing

_ALGORITHMS = {"SHA-256": "sha256", "MD5": "md5"}  # names of draft-bryan-ftp-hash, and Python's
_CHUNK = 1024 * 1024


def _asks(help_text: str, perm: str | None = "l") -> dict[str, Any]:
    return {"perm": perm, "auth": True, "arg": True, "help": f"Syntax: {help_text}"}


COMMANDS = {
    "HASH": _asks("HASH <SP> file-name (hash of a file; OPTS HASH chooses the algorithm)."),
    "XSHA256": _asks("XSHA256 <SP> file-name (SHA-256 of a file)."),
    "XMD5": _asks("XMD5 <SP> file-name (MD5 of a file)."),
}
"""What pyftpdlib does not know."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """One file, wherever it is."""

    size: int
    """bytes"""
    modified: datetime
    """UTC; of a file that has landed: when it was received"""
    sha256: str
    """empty when it is not known without reading the file"""
    pieces: Callable[[], Iterable[bytes]]

    @property
    def stamp(self) -> str:
        """The time as RFC 3659 (2.3) writes it."""
        return f"{self.modified:%Y%m%d%H%M%S}"

    def hash(self, algorithm: str) -> str:
        """Hexadecimal; reads the file when it must."""
        if algorithm == "sha256" and self.sha256:
            return self.sha256
        digest = hashlib.new(algorithm, usedforsecurity=False)
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()


def facts_of(home: PartnerHome, real: str, source: str, landing: Landing) -> Facts:
    """The facts of a file of the home, or else of what has landed under its name. Raises NotAllowed, Unavailable."""
    if os.path.lexists(real):
        return _on_disk(home, real)
    place = upload_place(home.path(real))
    kept = landing.latest_named(source, place.folder, place.label)
    if kept is None:
        raise NotAllowed("No such file")
    return Facts(
        size=kept.size,
        modified=kept.received_at,
        sha256=kept.sha256,
        pieces=lambda: landing.pieces(kept),
    )


def _on_disk(home: PartnerHome, real: str) -> Facts:
    status = Path(real).lstat()
    if not stat.S_ISREG(status.st_mode):
        raise NotAllowed("Not a file")
    return Facts(
        size=status.st_size,
        modified=datetime.fromtimestamp(status.st_mtime, UTC),
        sha256="",
        pieces=lambda: _pieces(home, real),
    )


def _pieces(home: PartnerHome, real: str) -> Iterator[bytes]:
    with home.open(real) as file:
        while piece := file.read(_CHUNK):
            yield piece


class FactCommands(Control):
    """The commands that ask about one file."""

    def __init__(self, connection: Any, server: Any, ioloop: Any = None) -> None:
        self._algorithm = "SHA-256"
        super().__init__(connection, server, ioloop=ioloop)

    def ftp_SIZE(self, path: str) -> None:  # noqa: N802 - pyftpdlib calls it by this name
        """The number of bytes (RFC 3659, 4)."""
        self._tell(path, lambda facts: f"213 {facts.size}")

    def ftp_MDTM(self, path: str) -> None:  # noqa: N802
        """The time of the last change, in UTC (RFC 3659, 3)."""
        self._tell(path, lambda facts: f"213 {facts.stamp}")

    def ftp_HASH(self, path: str) -> None:  # noqa: N802
        """The hash by the chosen algorithm, of all bytes (draft-bryan-ftp-hash)."""
        algorithm, name = self._algorithm, self.fs.fs2ftp(path)

        def reply(facts: Facts) -> str:
            last = max(facts.size - 1, 0)
            return f"213 {algorithm} 0-{last} {facts.hash(_ALGORITHMS[algorithm])} {name}"

        self._tell(path, reply)

    def ftp_XSHA256(self, path: str) -> None:  # noqa: N802
        """The SHA-256, as older clients ask for it."""
        self._tell(path, lambda facts: f"250 {facts.hash('sha256')}")

    def ftp_XMD5(self, path: str) -> None:  # noqa: N802
        """The MD5, as older clients ask for it."""
        self._tell(path, lambda facts: f"250 {facts.hash('md5')}")

    def ftp_MLST(self, path: str) -> None:  # noqa: N802
        """All facts of one file or folder (RFC 3659, 7)."""
        if os.path.lexists(path):
            super().ftp_MLST(path)
            return
        name = self.fs.fs2ftp(path)

        def lines(facts: Facts) -> str:
            return f"type=file;size={facts.size};modify={facts.stamp};perm=; {name}"

        self._ask(path, lines, self._told_mlst)

    def _told_mlst(self, done: Future[str]) -> None:
        if self._closed or done.exception():
            self._told(done)
            return
        self.push(f"250-Listing:\r\n {done.result()}\r\n")
        self.answer("250 End MLST.")

    def ftp_OPTS(self, line: str) -> None:  # noqa: N802
        """Choose the algorithm of HASH; the rest is pyftpdlib's."""
        command, _, wanted = line.partition(" ")
        if command.upper() != "HASH":
            super().ftp_OPTS(line)
        elif wanted and wanted.upper() not in _ALGORITHMS:
            self.respond("504 Unknown algorithm; the one in use stays.")
        else:
            self._algorithm = wanted.upper() or self._algorithm
            self.respond(f"200 {self._algorithm}")

    def features(self) -> list[str]:
        """What FEAT tells beyond pyftpdlib's own."""
        known = ";".join(name + ("*" if name == self._algorithm else "") for name in _ALGORITHMS)
        return [f"HASH {known}", "XMD5", "XSHA256"]

    def ftp_FEAT(self, line: str) -> None:  # noqa: N802
        """What is offered beyond RFC 959 (RFC 2389)."""
        self._extra_feats = self.features()
        super().ftp_FEAT(line)

    def _tell(self, path: str, reply: Callable[[Facts], str]) -> None:
        self._ask(path, reply, self._told)

    def _ask(self, path: str, reply: Callable[[Facts], str], then: Callable[[Future[str]], None]) -> None:
        assert self.account is not None, "pyftpdlib lets these commands through after a login only"
        home, source, landing = self.fs.home, self.account.source, self.desk.landing
        self.offload(self.desk.asking, lambda: reply(facts_of(home, path, source, landing)), then)

    def _told(self, done: Future[str]) -> None:
        problem = done.exception()
        if problem is None:
            self.answer(done.result())
        elif isinstance(problem, NotAllowed):
            self.answer(f"550 {problem}.")
        elif isinstance(problem, FileNotFoundError):
            self.answer("550 The file's bytes are not here any more.")
        elif isinstance(problem, Unavailable):
            self.answer("451 Deliveries cannot be looked up now; ask again later.")
        elif isinstance(problem, OSError):
            self.answer(f"550 {problem.strerror}.")
        else:
            self.audit("fault", where="facts", exc_info=problem)
            self.answer("451 The file cannot be looked up.")
