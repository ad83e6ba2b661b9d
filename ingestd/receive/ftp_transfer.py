"""Sending files by FTP: STOR, what is said before it, the renames that say "done", and data connections."""

from __future__ import annotations

import contextlib
import ipaddress
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingestd.accounts import Account
from ingestd.model import Arrival, Completeness
from ingestd.receive.ftp_control import Control
from ingestd.receive.ftp_data import Upload, refusal
from ingestd.receive.home import NotAllowed, Place, upload_place
from ingestd.receive.landing import Receipt
from ingestd.receive.open_files import TooManyOpen
from ingestd.receive.sending import Looks, Sender, is_bug, land_parked
from ingestd.spool import fingerprint

_NO_CONNECTION = "425 There is no data connection; use PASV or EPSV first."
_NO_PASV = "522 PASV is for IPv4 only; use EPSV."
_MOST_PROVEN = 1_000  # parked files whose proof a session remembers


@dataclass(frozen=True, kw_only=True)
class _Proven:
    """A parked file that came whole in this session, as it lay on the disk."""

    looks: Looks
    evidence: str


class TransferCommands(Control):
    """The commands that send and fetch files."""

    _restart_position: Any
    _rnfr: Any

    def __init__(self, connection: Any, server: Any, ioloop: Any = None) -> None:
        self._announced: int | None = None
        self._proven: dict[str, _Proven] = {}
        super().__init__(connection, server, ioloop=ioloop)

    def flush_account(self) -> None:
        """Forget the login and what it has announced."""
        super().flush_account()
        self._announced = None
        self._proven.clear()

    # --- sending files

    def is_sending(self) -> bool:
        """True while bytes of a file come."""
        return self.data_channel is not None and bool(self.data_channel.receive)

    def ftp_STOR(self, path: str, _mode: str = "w") -> None:  # noqa: N802 - pyftpdlib calls it by this name
        """Take a file. It goes to the spool; the path is only its name."""
        restart, self._restart_position = self._restart_position, 0
        announced, self._announced = self._announced, None  # also a STOR that fails uses it up
        if restart:
            self.respond("554 An upload cannot be continued; send the whole file again.")
            return
        try:
            self._expect(self._sending(path, announced))
        except NotAllowed as problem:
            self.respond(f"550 {problem}.")
        except (TooManyOpen, OSError) as problem:
            self.respond(refusal(problem))

    def _sending(self, path: str, announced: int | None) -> Upload:
        place = upload_place(self.fs.fs2ftp(path))
        return Upload(
            incoming=self.desk.gate.open_files.incoming(self.desk.landing, self._account()),
            place=place,
            sender=self._sender(),
            park_at=Path(path) if place.partial else None,
            home=self.fs.home.root,
            announced=announced,
        )

    def _sender(self) -> Sender:
        return Sender(account=self._account(), peer=self.peer, protocol=self.protocol)

    def _expect(self, sending: Upload) -> None:
        self.drop_queued()
        if not self._can_transfer:
            sending.close()
            self.respond(_NO_CONNECTION)
        elif self.data_channel is not None:
            self.respond("125 Data connection already open. Transfer starting.")
            self.data_channel.file_obj = sending
            self.data_channel.enable_receiving("i", "STOR")
        else:
            self.respond("150 File status okay. About to open data connection.")
            self._in_dtp_queue = (sending, "STOR")

    def ftp_ALLO(self, line: str) -> None:  # noqa: N802
        """Refuse a file before it is sent, when the client says how large it is; else take it by its word."""
        self._announced = None
        size = line.split(" ", maxsplit=1)[0]
        try:
            if not (size.isascii() and size.isdigit()):
                self.respond("501 ALLO needs a number of bytes.")
            elif int(size) > self._account().limit:
                self.respond(f"552 files may have {self._account().limit} bytes.")
            else:
                self.desk.landing.check_room(int(size))
                self._announced = int(size)
                self.respond("200 There is room.")
        except OSError as problem:
            self.respond(refusal(problem))

    def _account(self) -> Account:
        assert self.account is not None, "pyftpdlib lets these commands through after a login only"
        return self.account

    # --- renaming: how partners say "done"

    def parked(self, sending: Upload) -> None:
        """Remember that a file came whole before it was parked, so that its rename is proven too."""
        if sending.completeness is not Completeness.PROVEN or not sending.park_at or len(self._proven) >= _MOST_PROVEN:
            return
        with contextlib.suppress(FileNotFoundError):  # another session was quicker
            looks = fingerprint(sending.park_at.stat())
            self._proven[str(sending.park_at)] = _Proven(looks=looks, evidence=sending.evidence)

    def ftp_RNFR(self, path: str) -> None:  # noqa: N802
        """Name the parked file that is to be renamed."""
        try:
            self.fs.home.parked(path)
        except NotAllowed as problem:
            self.respond(f"550 {problem}.")
        else:
            self._rnfr = path
            self.respond("350 Ready for destination name.")

    def ftp_RNTO(self, path: str) -> None:  # noqa: N802
        """Rename a parked file; a final name lands it."""
        source, self._rnfr = self._rnfr, None
        if source is None:
            self.respond("503 Bad sequence of commands: use RNFR first.")
            return
        try:
            place = upload_place(self.fs.fs2ftp(path))
            if place.partial:
                self.fs.home.make_folder_of(path)
                Path(source).rename(path)
        except (NotAllowed, OSError) as problem:
            self.respond(f"550 {problem if isinstance(problem, NotAllowed) else problem.strerror}.")
            return
        if not place.partial:
            self._land_parked(Path(source), place)
            return
        if proven := self._proven.pop(source, None):
            self._proven[path] = proven
        self.respond("250 Renaming ok; kept until it is renamed to its final name.")

    def _land_parked(self, source: Path, place: Place) -> None:
        sender, proven = self._sender(), self._proof_of(source)
        completeness = Completeness.PROVEN if proven else Completeness.ASSUMED
        evidence = f"{proven.evidence}, renamed" if proven else "renamed to its final name"
        arrival = sender.arrival(place, completeness, evidence)
        landing, looks = self.desk.landing, proven.looks if proven else None
        self.offload(
            self.desk.landings,
            lambda: land_parked(landing, source, arrival, sender.account.limit, looks),
            lambda done: self._landed(source, arrival, done),
        )

    def _proof_of(self, source: Path) -> _Proven | None:
        """By what a parked file is known to be whole, unless another session has parked another one since."""
        proven = self._proven.get(str(source))
        with contextlib.suppress(FileNotFoundError):  # which is told when it is to be landed
            if proven and fingerprint(source.stat()) != proven.looks:
                del self._proven[str(source)]
                return None
        return proven

    def _landed(self, source: Path, arrival: Arrival, done: Future[Receipt]) -> None:
        problem = done.exception()
        facts = {"name": arrival.name, "folder": arrival.folder, "renamed": True}
        if problem is None:
            self._proven.pop(str(source), None)
        elif is_bug(problem):
            self.audit("upload_fault", exc_info=problem, **facts)
        reply = refusal(problem) if problem else f"250 {done.result()}"
        self.audit("upload_refused" if problem else "upload_landed", reply=reply, **facts)
        self.answer(reply)

    # --- data connections

    def ftp_PASV(self, line: str) -> None:  # noqa: N802
        """Open a port for an IPv4 client. pyftpdlib would write IPv6 into a reply that has no room for it."""
        here = str(self.socket.getsockname()[0])
        if ":" in here.removeprefix("::ffff:"):
            self.respond(_NO_PASV)
        else:
            super().ftp_PASV(line)

    def _make_epasv(self, extmode: bool = False) -> None:
        self.drop_queued()
        try:
            super()._make_epasv(extmode)
        except OSError:
            self._dtp_acceptor = None
            self.respond("425 No port is free for a data connection; try again later.")

    def _make_eport(self, ip: str, port: int) -> None:
        self.drop_queued()
        super()._make_eport(self.remote_ip if _same_address(ip, self.remote_ip) else ip, port)
        if self._dtp_connector is not None and self._dtp_connector.connected:  # at once, as the loopback can be
            self._dtp_connector = None

    def _on_dtp_connection(self) -> None:
        self._dtp_connector = None  # its socket is the data channel's now
        if self.data_channel is not None and self.data_channel.connected:
            super()._on_dtp_connection()
        else:
            self.data_channel = None
            self.data_broke()
        self.go_on()

    def data_broke(self) -> None:
        """Answer a transfer whose data connection is gone before it began."""
        if self._in_dtp_queue or self._out_dtp_queue:
            self.drop_queued()
            self.respond("426 the data connection broke; nothing was kept.")

    @property
    def awaits_data(self) -> bool:
        """True when a transfer was asked for and its data connection is not there yet."""
        return bool(self._in_dtp_queue or self._out_dtp_queue)

    @property
    def _can_transfer(self) -> bool:
        # pyftpdlib keeps the two when they failed, and says so in a private attribute only.
        coming = [each for each in (self._dtp_acceptor, self._dtp_connector) if each is not None]
        return self.data_channel is not None or not all(each._closed for each in coming)  # noqa: SLF001

    def push_dtp_data(self, data: Any, isproducer: bool = False, file: Any = None, cmd: str | None = None) -> None:
        """Send a listing or a file, if there is or will be a connection for it; pyftpdlib waits for ever."""
        if self._can_transfer:
            super().push_dtp_data(data, isproducer, file, cmd)
            return
        if file is not None:
            file.close()
        self.respond(_NO_CONNECTION)

    def ftp_TYPE(self, line: str) -> None:  # noqa: N802
        """Agree, but always keep the bytes: pyftpdlib's ASCII mode drops a trailing CR."""
        super().ftp_TYPE(line)
        self._current_type = "i"


def _same_address(one: str, other: str) -> bool:
    """The same IPv6 address can be written in several ways."""
    try:
        return ipaddress.ip_address(one) == ipaddress.ip_address(other.partition("%")[0])
    except ValueError:
        return False
