"""FTP clients for tests: ftplib, and one that sends just what it is told."""

from __future__ import annotations

import contextlib
import ftplib
import io
import socket
import ssl
import struct

import pytest

from tests.receive.receiving import PASSWORD, OpenDoor

ROWS = b"name,phone\nAda,+4533330000\r\nBo,\r" * 500  # with a lone CR, which ASCII mode would lose


def client(door: OpenDoor, login: str = "acme", password: str = PASSWORD) -> ftplib.FTP:
    ftp = ftplib.FTP(encoding="utf-8")
    try:
        ftp.connect(*door.address, timeout=10)
        ftp.login(login, password)
    except ftplib.Error:
        ftp.close()
        raise
    return ftp


def store(ftp: ftplib.FTP, name: str, content: bytes = ROWS) -> str:
    return ftp.storbinary(f"STOR {name}", io.BytesIO(content))


def refused(ftp: ftplib.FTP, command: str) -> str:
    with pytest.raises(ftplib.Error) as caught:
        ftp.sendcmd(command)
    return str(caught.value)


class Wire:
    """A client that sends just what it is told."""

    def __init__(self, door: OpenDoor, *, source: str = "", host: str = "", implicit: bool = False) -> None:
        at = door.door.implicit_address if implicit else door.address
        assert at is not None
        self.host = host or at[0]
        self.tls = implicit
        here = (source, 0) if source else None
        self.control: socket.socket = socket.create_connection((self.host, at[1]), timeout=10, source_address=here)
        if implicit:
            self.control = trusting().wrap_socket(self.control)
        self.replies = self.control.makefile("rb")
        self.greeting = self.replies.readline()

    def say(self, line: bytes) -> bytes:
        self.control.sendall(line + b"\r\n")
        return self.reply()

    def reply(self) -> bytes:
        """The last line of the next reply."""
        line = self.replies.readline().rstrip()
        while line and line[3:4] != b" ":
            line = self.replies.readline().rstrip()
        return line

    def log_in(self, login: bytes = b"acme") -> Wire:
        self.say(b"USER " + login)
        assert self.say(b"PASS " + PASSWORD.encode()).startswith(b"230")
        return self

    def protect(self, *, data: bool = True) -> Wire:
        """AUTH TLS, and PROT P unless data stays in the clear."""
        assert self.say(b"AUTH TLS").startswith(b"234")
        self.replies.close()
        self.control = trusting().wrap_socket(self.control)
        self.replies = self.control.makefile("rb")
        self.tls = data
        if data:
            assert self.say(b"PBSZ 0").startswith(b"200")
            assert self.say(b"PROT P").startswith(b"200")
        return self

    def data(self, source: str = "") -> socket.socket:
        port = int(self.say(b"EPSV").split(b"|")[3])
        here = (source, 0) if source else None
        return socket.create_connection((self.host, port), timeout=10, source_address=here)

    def begin(self, command: bytes) -> socket.socket:
        """A transfer that has begun, protected if this session protects data."""
        data = self.data()
        assert self.say(command)[:1] == b"1"
        return trusting().wrap_socket(data) if self.tls else data

    def store(self, name: bytes, content: bytes = ROWS) -> bytes:
        """The answer to a file that is sent whole."""
        data = self.begin(b"STOR " + name)
        data.sendall(content)
        end(data)
        return self.reply()

    def close(self) -> None:
        self.replies.close()
        self.control.close()


def trusting(*, oldest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2) -> ssl.SSLContext:
    """A client that takes every certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = oldest
    return context


def end(data: socket.socket) -> None:
    """Say that this was all: a close_notify if there is TLS, and a FIN."""
    if isinstance(data, ssl.SSLSocket):
        with contextlib.suppress(OSError):  # the server may close first
            data = data.unwrap()
    data.close()


def reset(data: socket.socket) -> None:
    """Close by RST."""
    data.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    data.close()
