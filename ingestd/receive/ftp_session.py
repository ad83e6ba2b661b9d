"""One FTP session: its login, its commands, its place in the queue of slow work. pyftpdlib does the protocol."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from pyftpdlib.handlers import FTPHandler
from pyftpdlib.ioloop import AsyncChat

from ingestd.accounts import Account
from ingestd.model import Arrival, Completeness
from ingestd.receive import names
from ingestd.receive.ftp_data import Sending, refusal
from ingestd.receive.ftp_desk import Desk
from ingestd.receive.ftp_home import Home, Permissions
from ingestd.receive.gate import Refused
from ingestd.receive.home import NotAllowed, PartnerHome, Place, upload_place
from ingestd.receive.landing import Receipt
from ingestd.spool import Changed, fingerprint

T = TypeVar("T")

# Appending and resuming would join bytes of two sessions, STOU goes past `open`, the others change what is not theirs.
_NOT_OFFERED = {"APPE", "STOU", "SITE CHMOD", "MFMT"}
_URGENT = {"ABOR", "STAT", "NOOP"}  # obeyed while a transfer runs (RFC 959, 4.1.3)
_AUDITED = {"DELE", "MKD", "XMKD", "RMD", "XRMD", "RNFR", "RNTO", "REIN"}
_NO_CONNECTION = "425 There is no data connection; use PASV or EPSV first."
_LONGEST_QUEUE = 64  # commands a client may send ahead


class Session(FTPHandler):  # type: ignore[misc]  # pyftpdlib is untyped
    """One control connection. Each door makes its own subclass, with its desk and its limits as class attributes."""

    desk: Desk
    data_channel: Any
    _restart_position: Any
    _rnfr: Any
    _in_dtp_queue: Any
    _out_dtp_queue: Any
    _dtp_acceptor: Any
    _dtp_connector: Any
    authorizer = Permissions()
    abstracted_fs = Home
    proto_cmds = {k: v for k, v in FTPHandler.proto_cmds.items() if k not in _NOT_OFFERED}  # noqa: RUF012 - never changed
    unicode_errors = "surrogateescape"  # "replace" makes two Latin-1 names one, "strict" wedges the session

    def __init__(self, connection: Any, server: Any, ioloop: Any = None) -> None:
        self.account: Account | None = None
        self._let_in = False
        self._occupied = False
        self._held: deque[tuple[str, str, str]] = deque()
        super().__init__(connection, server, ioloop=ioloop)
        self._current_type = "i"

    # --- the life of a session

    def handle(self) -> None:
        """Greet the client, or say why it may not come in."""
        self.desk.sessions.add(self)
        if reason := self.desk.gate.throttle.enter(self.remote_ip):
            self.audit("session_refused", reason=reason)
            self.respond(f"421 {reason}.")
            self.close_when_done()
        else:
            self._let_in = True
            super().handle()

    def close(self) -> None:
        """End the session; what it was sending is dropped by its data channel."""
        self.desk.sessions.discard(self)
        if self._let_in:
            self._let_in = False
            self.desk.gate.throttle.leave(self.remote_ip)
        super().close()

    @property
    def protocol(self) -> str:
        """By which the login comes in."""
        return "ftp"

    @property
    def leaving(self) -> bool:
        """True when the client said QUIT, so that the end of its connection is no accident."""
        return bool(self._quit_pending) or any(command == "QUIT" for _, command, _ in self._held)

    def dismiss(self) -> None:
        """End the session because the door closes, but let a running transfer finish."""
        if self._closed or self._occupied or self.data_channel is not None:
            return
        self.respond("421 The server is shutting down.")
        self.close_when_done()

    def flush_account(self) -> None:
        """Forget the login, as for USER and REIN."""
        self.drop_queued()
        super().flush_account()
        self.account = None
        self._current_type = "i"

    # --- commands in order

    def pre_process_command(self, line: str, command: str, argument: str) -> None:
        """Obey a command, or keep it until the one before it is answered. pyftpdlib would answer out of order."""
        in_turn = not self._held or command[-4:] == "ABOR"
        if in_turn and not self._must_wait(command):
            super().pre_process_command(line, command, argument)
        elif len(self._held) < _LONGEST_QUEUE:
            self._held.append((line, command, argument))
            if command == "QUIT":  # a client that closes right after it said so has not cut its file
                self.del_channel()
        else:
            self.respond("421 Too many commands at once.")
            self.close_when_done()

    def _must_wait(self, command: str) -> bool:
        channel = self.data_channel
        if self._occupied or (channel is not None and channel.busy):
            return True
        # Telnet's interrupt may stand before an urgent command, as in pyftpdlib.
        return channel is not None and channel.file_obj is not None and command[-4:] not in _URGENT

    def go_on(self) -> None:
        """Obey the commands that had to wait."""
        while self._held and not self._closed and not self._must_wait(self._held[0][1]):
            if self._held[0][1] == "QUIT":
                self.add_channel()
            super().pre_process_command(*self._held.popleft())
        if self.desk.stopping and not self._closed:
            self.dismiss()

    def _offload(self, pool: Any, work: Callable[[], T], then: Callable[[Future[T]], None]) -> None:
        """Do slow work in a thread; commands wait, the loop does not."""
        self._occupied = True
        self.desk.offload(pool, work, then)

    def _answer(self, reply: str) -> None:
        """The reply to a command that was offloaded."""
        self._occupied = False
        if not self._closed:
            self.respond(reply)
            self.go_on()

    # --- login

    def ftp_PASS(self, line: str) -> None:  # noqa: N802 - pyftpdlib calls it by this name
        """Check the password in a thread: on the loop, a hash would hold up everybody."""
        if self.authenticated:
            self.respond("503 User already authenticated.")
        elif not self.username:
            self.respond("503 Login with USER first.")
        else:
            login = names.label(self.username)
            self._offload(self.desk.hashing, lambda: self._check(login, line), lambda done: self._checked(login, done))

    def _check(self, login: str, password: str) -> Account | Refused:
        checked = self.desk.gate.check(login, password, protocol=self.protocol, address=self.remote_ip)
        if isinstance(checked, Account):
            PartnerHome.of(self.desk.homes, checked.source)
        return checked

    def _checked(self, login: str, done: Future[Account | Refused]) -> None:
        if self._closed:
            return
        if problem := done.exception():
            self.audit("login_fault", login=login, exc_info=problem)
            self._answer("421 Logins cannot be checked now; try again later.")
            self.close_when_done()
        elif isinstance(checked := done.result(), Account):
            self.account = checked
            self._occupied = False
            self.handle_auth_success(str(self.desk.homes / checked.source), "", "Login successful.")
            self.audit("login")
            self.go_on()
        else:
            self.audit("login_refused", login=login, reason=checked.reason)
            self.call_later(checked.delay, self._refuse_login, checked)

    def _refuse_login(self, refused: Refused) -> None:
        self.username = ""
        self.attempted_logins += 1
        if self.attempted_logins < self.max_login_attempts and not refused.banned:
            self._answer("530 Authentication failed.")
        else:
            self._held.clear()
            self._answer(f"530 Authentication failed{': ' + refused.banned if refused.banned else ''}. Disconnecting.")
            self.close_when_done()

    # --- sending files

    def ftp_STOR(self, path: str, _mode: str = "w") -> None:  # noqa: N802
        """Take a file. It goes to the spool; the path is only its name."""
        restart, self._restart_position = self._restart_position, 0
        if restart:
            self.respond("554 An upload cannot be continued; send the whole file again.")
            return
        try:
            self._expect(self._sending(path))
        except NotAllowed as problem:
            self.respond(f"550 {problem}.")
        except OSError as problem:
            self.respond(refusal(problem))

    def _sending(self, path: str) -> Sending:
        place, account = upload_place(self.fs.fs2ftp(path)), self._account()
        return Sending(
            incoming=self.desk.landing.open(account.limit),
            place=place,
            park_at=Path(path) if place.partial else None,
            source=account.source,
            login=account.login,
            peer=self.remote_ip,
        )

    def _expect(self, sending: Sending) -> None:
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
        """Refuse a file before it is sent, when the client says how large it is."""
        size = line.split(" ", maxsplit=1)[0]
        try:
            if not (size.isascii() and size.isdigit()):
                self.respond("501 ALLO needs a number of bytes.")
            elif int(size) > self._account().limit:
                self.respond(f"552 files may have {self._account().limit} bytes.")
            else:
                self.desk.landing.check_room(int(size))
                self.respond("200 There is room.")
        except OSError as problem:
            self.respond(refusal(problem))

    def _account(self) -> Account:
        assert self.account is not None, "pyftpdlib lets these commands through after a login only"
        return self.account

    # --- renaming: how partners say "done"

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
                Path(path).parent.mkdir(exist_ok=True)
                Path(source).rename(path)
        except (NotAllowed, OSError) as problem:
            self.respond(f"550 {problem if isinstance(problem, NotAllowed) else problem.strerror}.")
            return
        if place.partial:
            self.respond("250 Renaming ok; kept until it is renamed to its final name.")
        else:
            self._land_parked(Path(source), place)

    def _land_parked(self, source: Path, place: Place) -> None:
        account = self._account()
        arrival = Arrival(
            source=account.source,
            login=account.login,
            peer=self.remote_ip,
            protocol="ftp",
            name=place.label,
            folder=place.folder,
            completeness=Completeness.ASSUMED,
            evidence="renamed to its final name",
        )
        self._offload(
            self.desk.landings,
            lambda: self._take(source, arrival, account.limit),
            lambda done: self._landed(arrival, done),
        )

    def _take(self, source: Path, arrival: Arrival, limit: int) -> Receipt:
        """Land a parked file. It stays until the receipt is there, so a client that got none can rename again."""
        try:
            before = fingerprint(source.stat())
            receipt = self.desk.landing.accept(self.desk.landing.adopt(source, limit), arrival)
            if fingerprint(source.stat()) == before:  # else another session has parked a new file under the name
                source.unlink()
        except Changed as problem:
            raise OSError(str(problem)) from problem
        return receipt

    def _landed(self, arrival: Arrival, done: Future[Receipt]) -> None:
        problem = done.exception()
        reply = refusal(problem) if problem else f"250 {done.result()}"
        event = "upload_refused" if problem else "upload_landed"
        self.audit(event, name=arrival.name, folder=arrival.folder, reply=reply, renamed=True)
        self._answer(reply)

    # --- data connections

    def _make_epasv(self, extmode: bool = False) -> None:
        self.drop_queued()
        try:
            super()._make_epasv(extmode)
        except OSError:
            self._dtp_acceptor = None
            self.respond("425 No port is free for a data connection; try again later.")

    def _make_eport(self, ip: str, port: int) -> None:
        self.drop_queued()
        super()._make_eport(ip, port)

    def _on_dtp_connection(self) -> None:
        self._dtp_connector = None  # its socket is the data channel's now
        if self.data_channel is not None and self.data_channel.connected:
            super()._on_dtp_connection()
        else:
            self.data_channel = None
            self.data_broke()

    def data_broke(self) -> None:
        """Answer a transfer whose data connection is gone before it began."""
        if self._in_dtp_queue or self._out_dtp_queue:
            self.drop_queued()
            self.respond("426 the data connection broke; nothing was kept.")

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

    def drop_queued(self) -> None:
        """Forget transfers whose data connection never came; pyftpdlib would give them the next one."""
        for file in (self._in_dtp_queue and self._in_dtp_queue[0], self._out_dtp_queue and self._out_dtp_queue[2]):
            if file:
                file.close()
        self._in_dtp_queue = self._out_dtp_queue = None

    def ftp_TYPE(self, line: str) -> None:  # noqa: N802
        """Agree, but always keep the bytes: pyftpdlib's ASCII mode drops a trailing CR."""
        super().ftp_TYPE(line)
        self._current_type = "i"

    def push(self, text: str) -> None:
        """Send a reply. pyftpdlib's own cannot send back the names it read with `surrogateescape`."""
        AsyncChat.push(self, text.encode(self.encoding, self.unicode_errors))

    # --- audit

    def audit(self, event: str, **facts: object) -> None:
        """One line for operators; never a password."""
        who: dict[str, object] = {"peer": self.remote_ip}
        if self.account is not None:
            who |= {"source": self.account.source, "login": self.account.login}
        self.desk.audit.info(f"ftp_{event}", **(who | facts))

    def log_cmd(self, command: str, argument: str, code: int, reply: str) -> None:
        """Called for every answered command; the argument of PASS or of an unknown command may be a password."""
        if command in _AUDITED or code >= 400:
            event = "command_refused" if code >= 400 else "command"
            known = self.proto_cmds.get(command)
            if known is None or command in ("PASS", "USER"):
                self.audit(event, command=command if known else "unknown", code=code)
                return
            path = self.fs.fs2ftp(argument) if self.fs is not None and known["perm"] and argument else argument
            self.audit(event, command=command, argument=names.label(path), code=code, reply=names.label(reply))

    def on_file_sent(self, file: str) -> None:
        """A result was fetched."""
        self.audit("download", name=names.label(Path(file).name))

    def log_exception(self, instance: object) -> None:
        """Something broke in this session."""
        self.audit("fault", where=type(instance).__name__, exc_info=True)

    def log(self, *_: object, **__: object) -> None:
        """pyftpdlib's own lines are not wanted: everything is in the audit."""

    logline = log_transfer = log
