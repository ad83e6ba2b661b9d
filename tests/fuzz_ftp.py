"""Random sessions against a real FTP door: no crash, no leak, no way out of the home, and the next client is served.

The tests run a few hundred. For more:

    python -m tests.fuzz_ftp --examples 100000

A failure prints the smallest session that shows it.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestd.accounts import Account, InMemoryAccounts, Passwords
from ingestd.certificates import self_signed
from ingestd.receive import names
from ingestd.receive.ftp import FtpDoor, FtpOptions
from ingestd.receive.gate import Gate
from ingestd.receive.landing import Landing
from ingestd.spool import Spool
from ingestd.throttle import Throttle, ThrottleRules
from tests.receive.receiving import (
    CHEAP,
    LIMIT,
    PASSWORD,
    PASSWORD_HASH,
    MemoryLedger,
    Rings,
    files_below,
    wait_for,
)

# --- what is sent

VERBS = [
    "ABOR",
    "ACCT",
    "ALLO",
    "APPE",
    "AUTH",
    "CDUP",
    "CWD",
    "DELE",
    "EPRT",
    "EPSV",
    "FEAT",
    "HASH",
    "HELP",
    "LIST",
    "MDTM",
    "MFMT",
    "MKD",
    "MLSD",
    "MLST",
    "MODE",
    "NLST",
    "NOOP",
    "OPTS",
    "PASS",
    "PASV",
    "PBSZ",
    "PORT",
    "PROT",
    "PWD",
    "QUIT",
    "REIN",
    "REST",
    "RETR",
    "RMD",
    "RNFR",
    "RNTO",
    "SITE",
    "SIZE",
    "STAT",
    "STOR",
    "STOU",
    "STRU",
    "SYST",
    "TYPE",
    "USER",
    "XCUP",
    "XCWD",
    "XMD5",
    "XMKD",
    "XPWD",
    "XRMD",
    "XSHA256",
]
SECRET = b"for nobody outside"
ESCAPES = st.sampled_from(
    [
        b"results/out", b"results/out/secret", b"upload/out/secret", b"upload/out/x.part", b"upload/out/y.csv",
        b"../bravo/upload/x.part", b"../../outside/secret", b"/../../../../etc/passwd", b"upload/..",
        b"upload/../../bravo/upload/x.part", b"%2e%2e/outside/secret", b"~", b"~root",
    ]
)  # fmt: skip
PLAIN = st.sampled_from(
    [
        b"x.csv", b"x.part", b"y.part", b"upload", b"upload/", b"upload/x.part", b"upload/C-1", b"upload/C-1/x.csv",
        b"results", b"results/r.csv", b"/", b"//", b".", b"..", b"-la", b"*", b"x\0y.part", b"x\ny", b"x\r\x0by.part",
        b"\xff\xfe.part", b"\xc3", b"caf\xe9.csv", b"\xed\xa0\x80.part", "ü\u2028.part".encode(), b"a" * 300,
        b"a/" * 400, b"x.part" + b" " * 50,
    ]
)  # fmt: skip
GOOD = st.sampled_from([b"x.csv", b"x.part", b"upload/x.part", b"upload/C-1/x.part", b"upload/C-1/x.csv", b"y.tmp"])
PATHS = st.one_of(ESCAPES, PLAIN, GOOD)
WORDS = st.sampled_from(
    [
        b"acme", PASSWORD.encode(), b"A", b"I", b"L 8", b"0", b"-1", b"1", b"999999999999999999999", b"1000001", b"ALL",
        b"TLS", b"P", b"C", b"MLST size;", b"MLST", b"HASH MD5", b"HASH x", b"UTF8 ON", b"HELP", b"HELP CHMOD",
        b"CHMOD 777 x", b"127,0,0,1,0,22", b"1,2,3", b"|1|127.0.0.1|22|", b"|2|::1|22|", b"|||", b"|", b"%s%n{0}",
    ]
)  # fmt: skip
ARGUMENTS = st.one_of(PATHS, WORDS, st.binary(max_size=40))
LINES = st.one_of(
    st.builds(lambda verb, rest: verb.encode() + b" " + rest, st.sampled_from(VERBS), ARGUMENTS),
    st.sampled_from([verb.encode() for verb in VERBS]),
    st.builds(lambda verb, rest: verb.lower().encode() + rest, st.sampled_from(VERBS), st.binary(max_size=8)),
    st.binary(max_size=60),
    st.sampled_from([b"", b" ", b"\xff\xf4\xff\xf2ABOR", b"A" * 5000, b"STOR " + b"b" * 2043, b"\0" * 10]),
)


@dataclass(frozen=True)
class Transfer:
    """A command with a data connection that is there, and what is sent over it."""

    command: bytes
    content: bytes
    times: int
    ending: str


TRANSFERS = st.builds(
    Transfer,
    st.builds(
        lambda verb, path: verb + b" " + path,
        st.sampled_from([b"STOR", b"STOR", b"STOR", b"RETR", b"RETR", b"LIST", b"MLSD", b"NLST"]),
        PATHS,
    ),
    st.binary(max_size=50),
    st.sampled_from([1, 1, 5_000]),
    st.sampled_from(["fin", "reset", "left open"]),
)
LOGIN = (b"USER acme", b"PASS " + PASSWORD.encode())
ABOUT_FILES = st.builds(
    lambda verb, path: verb + b" " + path,
    st.sampled_from([b"CWD", b"DELE", b"MKD", b"RMD", b"SIZE", b"MDTM", b"HASH", b"XMD5", b"MLST", b"STAT"]),
    PATHS,
)
RENAMES = st.builds(lambda old, new: b"RNFR " + old + b"\r\nRNTO " + new, PATHS, PATHS)
SESSIONS = st.tuples(
    st.sampled_from([(), LOGIN[:1], LOGIN, LOGIN, LOGIN, LOGIN, LOGIN, LOGIN]),
    st.lists(st.one_of(LINES, TRANSFERS, TRANSFERS, ABOUT_FILES, RENAMES), min_size=1, max_size=12),
    st.booleans(),
)


# --- where it is sent to


@dataclass
class Arena:
    """A door, and around it what must not change."""

    door: FtpDoor
    root: Path
    ledger: MemoryLedger
    audited: list[Any] = field(default_factory=list)
    before: dict[str, bytes] = field(default_factory=dict)

    def play(self, login: tuple[bytes, ...], steps: list[bytes | Transfer], *, at_once: bool) -> None:
        """One session, and a look at everything after it."""
        self.audited.clear()
        with contextlib.closing(socket.create_connection(self.door.address, timeout=10)) as control:
            left_open = list(self._send(control, login, steps, at_once))
            with contextlib.suppress(OSError):
                control.shutdown(socket.SHUT_WR)
            assert SECRET not in drain(control)
        for data in left_open:
            data.close()
        wait_for(lambda: not self.door._desk.sessions)
        self.look()

    def _send(
        self, control: socket.socket, login: tuple[bytes, ...], steps: list[bytes | Transfer], at_once: bool
    ) -> Iterator[socket.socket]:
        lines = b""
        with contextlib.suppress(OSError):  # the door may have ended the session
            for line in login:
                control.sendall(line + b"\r\n")
                answered(control, until=b"230" if line.startswith(b"PASS") else b"331")
            for step in steps:
                if isinstance(step, bytes):
                    lines += step + b"\r\n"
                elif data := self._begin(control, lines) if login == LOGIN else None:
                    lines = b""
                    control.sendall(step.command + b"\r\n")
                    began = answered(control).startswith(b"1")
                    if began and not step.command.startswith(b"STOR"):
                        assert SECRET not in drain(data)
                    finish(data, step)
                    if began and step.ending != "left open":
                        answered(control)
                    if step.ending == "left open":
                        yield data
                if not at_once:
                    control.sendall(lines)
                    lines = b""
            control.sendall(lines)

    def _begin(self, control: socket.socket, lines: bytes) -> socket.socket | None:
        """A data connection, if the session is in a state to have one."""
        control.sendall(lines + b"EPSV\r\n")
        port = answered(control, until=b"(|||").partition(b"(|||")[2].partition(b"|")[0]
        with contextlib.suppress(OSError, ValueError):
            return socket.create_connection(("127.0.0.1", int(port)), timeout=10)
        return None

    def look(self) -> None:
        """Nothing broke, nothing is left, nothing lies outside, and somebody else can come in."""
        told = {line["event"] for line in self.audited}
        assert not told & {"ftp_fault", "ftp_upload_fault", "ftp_login_fault"}, self.audited
        masked = [line["argument"] for line in self.audited if line.get("command") in ("USER", "PASS", "unknown")]
        assert set(masked) <= {"***"}
        wait_for(lambda: files_below(self.root / "spool" / "tmp") == [])
        outside = tree(self.root / "outside") | tree(self.root / "homes" / "bravo")
        lay_out(self.root)  # so that the next example is judged by itself
        assert outside == self.before
        for file in files_below(self.root / "homes" / "acme" / "upload"):
            assert names.is_partial(names.label(file.name)), file
        with contextlib.closing(socket.create_connection(self.door.address, timeout=10)) as other:
            other.sendall(b"NOOP\r\nQUIT\r\n")
            assert [line[:3] for line in drain(other).splitlines()] == [b"220", b"200", b"221"]
        wait_for(lambda: not self.door._desk.sessions)


def answered(control: socket.socket, until: bytes = b"\n") -> bytes:
    """What is answered soon; not every session answers, for it may be in the middle of a line."""
    answers = b""
    control.settimeout(0.3)
    with contextlib.suppress(TimeoutError):
        while until not in answers and (piece := control.recv(65536)):
            answers += piece
    control.settimeout(10)
    return answers


def finish(data: socket.socket, step: Transfer) -> None:
    """Send the content and end as the step says."""
    with contextlib.suppress(OSError):
        data.sendall(step.content * step.times)
    if step.ending == "reset":
        data.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    if step.ending != "left open":
        data.close()


def drain(control: socket.socket) -> bytes:
    """Everything until the door ends the connection."""
    answers = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := control.recv(65536):
            answers += piece
    return answers


def tree(folder: Path) -> dict[str, bytes]:
    """Every file and folder with its content."""
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


def lay_out(root: Path) -> None:
    """What lies outside the home, as it was."""
    for place, name in (("outside", "secret"), ("homes/bravo/upload", "x.part"), ("homes/bravo/results", "r.csv")):
        shutil.rmtree(root / place, ignore_errors=True)
        (root / place).mkdir(parents=True)
        (root / place / name).write_bytes(SECRET)


@contextlib.contextmanager
def arena(root: Path) -> Iterator[Arena]:
    """A door whose homes have links that lead out, and short deadlines."""
    ledger, audited = MemoryLedger(), []

    def keep(_logger: Any, _method: str, line: Any) -> Any:
        audited.append(dict(line))
        raise structlog.DropEvent

    accounts = [
        Account(login=each, source=each, password_hash=PASSWORD_HASH, limit=LIMIT) for each in ("acme", "bravo")
    ]
    throttle = Throttle(ThrottleRules(delay_seconds=0, failures=10**9))
    gate = Gate(accounts=InMemoryAccounts(accounts), passwords=Passwords(CHEAP), throttle=throttle)
    options = FtpOptions(
        port=0, tls="offered", idle_timeout=5, transfer_timeout=0.1, connect_timeout=0.1, settle_seconds=0.001
    )
    lay_out(root)
    for area in ("results", "upload"):
        (root / "homes" / "acme" / area).mkdir(parents=True)
    (root / "homes" / "acme" / "results" / "r.csv").write_bytes(b"result")
    for area in ("results", "upload"):
        (root / "homes" / "acme" / area / "out").symlink_to(root / "outside")
    landing = Landing(Spool(root / "spool", reserve_bytes=0), ledger, Rings())
    certificate = self_signed(root / "keys", datetime.now(UTC))
    audit = structlog.wrap_logger(None, processors=[keep])
    door = FtpDoor(options, landing, gate, root / "homes", certificate=certificate, audit=audit)
    door.start()
    try:
        before = tree(root / "outside") | tree(root / "homes" / "bravo")
        yield Arena(door, root, ledger, audited, before)
    finally:
        door.stop(within=1.0)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def fuzz(root: Path, examples: int) -> None:
    """Play so many random sessions. Raises AssertionError with the smallest one that breaks something."""
    with arena(root) as ground:
        Arena.look(ground)
        before = descriptors()

        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(SESSIONS)
        def play(session: tuple[tuple[bytes, ...], list[bytes | Transfer], bool]) -> None:
            login, steps, at_once = session
            ground.play(login, steps, at_once=at_once)

        play()
        wait_for(lambda: descriptors() <= before)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=10_000)
    with tempfile.TemporaryDirectory() as folder:
        fuzz(Path(folder), parser.parse_args().examples)
