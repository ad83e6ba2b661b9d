"""One FTP control connection: its life, its commands in order, its audit. pyftpdlib does the protocol."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ingestd.accounts import Account
from ingestd.receive import names
from ingestd.receive.ftp_flow import Flow
from ingestd.receive.ftp_home import Home, Permissions
from ingestd.receive.ftp_patience import Patience
from ingestd.receive.open_files import scarce
from ingestd.receive.strangers import GIVES_WAY
from ingestd.throttle import network

T = TypeVar("T")

_URGENT = {"ABOR", "STAT", "NOOP"}  # obeyed while a transfer runs (RFC 959, 4.1.3)
_CHEAP = {"NOOP", "USER", "QUIT", "TYPE", "MODE", "STRU", "OPTS", "FEAT", "SYST", "PWD", "ALLO", "PBSZ", "PROT", "ABOR"}
"""obeyed at once; the others wait for their turn, behind those of other clients"""
_LONGEST_QUEUE = 64  # commands a client may send ahead
_MASKED = "***"
_CONTROLS = dict.fromkeys((*range(32), *range(127, 160)), "?")


class Control(Flow):
    """What every session has, whatever it does. Each door makes its own subclass, with its desk and its limits."""

    data_channel: Any
    _in_dtp_queue: Any
    _out_dtp_queue: Any
    _dtp_acceptor: Any
    _dtp_connector: Any
    authorizer = Permissions()
    abstracted_fs = Home
    unicode_errors = "surrogateescape"  # "replace" makes two Latin-1 names one, "strict" wedges the session

    def __init__(self, connection: Any, server: Any, ioloop: Any = None) -> None:
        self.account: Account | None = None
        self.received = self.sent = 0
        self._let_in = False
        self._occupied = False
        self._unwanted = ""
        self._asked = ("", "")
        self._held: deque[tuple[str, str, str]] = deque()
        self._patience = Patience()
        self.since = time.monotonic()
        super().__init__(connection, server, ioloop=ioloop)
        self._current_type = "i"
        self.place = ""
        if self.connected:
            self.place = network(self.remote_ip)
            self.desk.sessions.add(self)

    # --- the life of a session

    @property
    def urgent(self) -> bool:
        """Asked by the loop: commands are read at once."""
        return True

    @property
    def peer(self) -> str:
        """The client's address; one of IPv4 as such, also when it came to an IPv6 socket."""
        return str(self.remote_ip).removeprefix("::ffff:")

    @property
    def protocol(self) -> str:
        """By which the login comes in."""
        return "ftp"

    def handle(self) -> None:
        """Greet the client, or say why it may not come in."""
        if scarce(self._fileno):
            self.handle_max_cons()
        elif reason := self.desk.gate.throttle.enter(self.remote_ip):
            self.turn_away(reason)
        else:
            self._let_in = True
            self.audit("session")
            self.call_later(self.desk.options.login_timeout, self._not_in_yet)
            self.welcome()

    def welcome(self) -> None:
        """Say that commands can come."""
        super().handle()

    def _not_in_yet(self) -> None:
        if self.account is None:
            self.dismiss("You did not log in in time")

    def turn_away(self, reason: str) -> None:
        """Say why the client may not come in."""
        self.audit("session_refused", reason=reason)
        self.respond(f"421 {reason}.")
        self.close_when_done()

    def handle_max_cons(self) -> None:
        """Asked by the listener when there are enough sessions."""
        self.turn_away("there are too many sessions now; try again later")

    def give_way(self) -> None:
        """End a session that is not logged in, at once: another one waits for its place."""
        self.audit("session_refused", reason=GIVES_WAY)
        self.respond(f"421 {GIVES_WAY}.")
        self.close()

    def close(self) -> None:
        """End the session; what it was sending is dropped by its data channel."""
        if self._closed:
            return
        super().close()
        self.desk.sessions.discard(self)
        if self._let_in:
            self._let_in = False
            self.desk.gate.throttle.leave(self.remote_ip)
            seconds = round(time.monotonic() - self.since, 3)
            self._tell_untold()
            self.audit("session_end", received=self.received, sent=self.sent, seconds=seconds)

    @property
    def leaving(self) -> bool:
        """True when the client said QUIT, so that the end of its connection is no accident."""
        return bool(self._quit_pending) or any(command == "QUIT" for _, command, _ in self._held)

    def dismiss(self, reason: str) -> None:
        """End the session, but let a running transfer finish."""
        self._unwanted = reason
        if self._closed or self._closing or self._occupied or self.data_channel is not None:
            return
        self.respond(f"421 {reason}.")
        self.close_when_done()

    def flush_account(self) -> None:
        """Forget the login, as for USER and REIN."""
        self.drop_queued()
        super().flush_account()
        self.account = None
        self._current_type = "i"

    def drop_queued(self) -> None:
        """Forget transfers whose data connection never came; pyftpdlib would give them the next one."""
        for file in (self._in_dtp_queue and self._in_dtp_queue[0], self._out_dtp_queue and self._out_dtp_queue[2]):
            if file:
                file.close()
        self._in_dtp_queue = self._out_dtp_queue = None

    # --- commands in order

    def pre_process_command(self, line: str, command: str, argument: str) -> None:
        """Obey a command, or keep it until the one before it is answered. pyftpdlib would answer out of order."""
        in_turn = not self._held or command[-4:] == "ABOR"
        if in_turn and not self._must_wait(command):
            self._obey(line, command, argument)
            self.go_on()  # ABOR overtakes, and what had to wait need not any more
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
        if self._dtp_connector is not None and self._dtp_connector.trying and command[-4:] != "ABOR":
            return True
        # Telnet's interrupt may stand before an urgent command, as in pyftpdlib.
        return channel is not None and channel.file_obj is not None and command[-4:] not in _URGENT

    def _obey(self, line: str, command: str, argument: str) -> None:
        if command in _CHEAP:
            self._do(line, command, argument)
            return
        self._occupied = True
        self.desk.ioloop.soon(self, partial(self._in_turn, line, command, argument))

    def _in_turn(self, line: str, command: str, argument: str) -> None:
        self._occupied = False
        if not self._closed:
            self._do(line, command, argument)
            self.go_on()

    def _do(self, line: str, command: str, argument: str) -> None:
        self._patience.asked(logged_in=self.account is not None)
        self._do_it(line, command, argument)
        if (reason := self._patience.lost) and not (self._closed or self._closing):
            self._held.clear()
            self.audit("flood", reason=reason)
            self.respond(f"421 {reason}.")
            self.close_when_done()

    def _do_it(self, line: str, command: str, argument: str) -> None:
        if not line:
            self.respond("500 An empty line, or one that is too long, is no command.")
            self.log_cmd("", "", 500, "")
        elif "\0" in argument or (self._names_place(command) and any(map(_is_control, argument))):
            self.respond("550 Names with control characters are not allowed.")
            self.log_cmd(command, argument, 550, "")
        else:
            super().pre_process_command(line, command, argument)

    def _names_place(self, command: str) -> bool:
        return bool(self.proto_cmds.get(command, {}).get("perm"))

    def process_command(self, command: str, *arguments: str, **more: str) -> None:
        """Do what a command says; what is answered later is audited with it."""
        self._asked = (command, arguments[0] if arguments else "")
        super().process_command(command, *arguments, **more)

    def ftp_STAT(self, path: str) -> None:  # noqa: N802 - pyftpdlib calls it by this name
        """The session's state, or a listing."""
        super().ftp_STAT(path)
        if self.authenticated and not path:  # pyftpdlib goes past `process_command` here
            self.log_cmd("STAT", "", 211, "")

    def ftp_QUIT(self, line: str) -> None:  # noqa: N802
        """Say goodbye; written down before the session's end is."""
        self.log_cmd("QUIT", "", 221, "")
        super().ftp_QUIT(line)
        self._last_response = ""

    def go_on(self) -> None:
        """Obey the commands that had to wait."""
        while self._held and not self._closed and not self._must_wait(self._held[0][1]):
            if self._held[0][1] == "QUIT":
                self.add_channel()
            self._obey(*self._held.popleft())
        if self._unwanted and not self._closed:
            self.dismiss(self._unwanted)

    def offload(self, pool: Any, work: Callable[[], T], then: Callable[[Future[T]], None]) -> None:
        """Do slow work in a thread; commands wait, the loop does not."""
        self._occupied = True
        self.desk.offload(pool, work, partial(self._with_outcome, then))

    def _with_outcome(self, then: Callable[[Future[T]], None], done: Future[T]) -> None:
        try:
            then(done)
        except Exception as problem:  # noqa: BLE001 - without an answer the session would hang
            self.audit("fault", where=self._asked[0], exc_info=problem)
            self.answer("451 Something broke on our side; try again later.")

    def answer(self, reply: str) -> None:
        """The reply to a command that was offloaded."""
        self._occupied = False
        if not self._closed:
            self.respond(reply)
            self.log_cmd(*self._asked, int(reply[:3]), reply[4:])
            self.go_on()

    def respond(self, resp: str, logfun: Any = None) -> None:
        """Send the last line of a reply. A name in it must not end it early."""
        self._patience.answered(resp[:3])
        super().respond(resp.translate(_CONTROLS), **({} if logfun is None else {"logfun": logfun}))

    # --- audit

    def audit(self, event: str, **facts: object) -> None:
        """One line for operators; never a password."""
        who: dict[str, object] = {"peer": self.peer}
        if self.account is not None:
            who |= {"source": self.account.source, "login": self.account.login}
        self.desk.audit.info(f"ftp_{event}", **(who | facts))

    def log_cmd(self, command: str, argument: str, code: int, reply: str) -> None:
        """Called for every answered command; the argument of PASS or of an unknown command may be a password."""
        event = "command_refused" if code >= 400 else "command"
        if code >= 400:
            if not self._patience.tells():
                return
            self._tell_untold()
        known = self.proto_cmds.get(command)
        if known is None or command in ("PASS", "USER"):
            self.audit(event, command=command if known else "unknown", argument=_MASKED, code=code)
            return
        path = self.fs.fs2ftp(argument) if self.fs is not None and known["perm"] and argument else argument
        self.audit(event, command=command, argument=names.label(path), code=code, reply=names.label(reply))

    def _tell_untold(self) -> None:
        if untold := self._patience.forget_untold():
            self.audit("commands_refused", count=untold)

    def on_file_sent(self, file: str) -> None:
        """A result was fetched."""
        self.audit("download", name=names.label(Path(file).name))

    def log_exception(self, instance: object) -> None:
        """Something broke in this session."""
        self.audit("fault", where=type(instance).__name__, exc_info=True)

    def log(self, *_: object, **__: object) -> None:
        """pyftpdlib's own lines are not wanted: everything is in the audit."""

    logline = log_transfer = log


def _is_control(character: str) -> bool:
    return ord(character) in _CONTROLS
