"""FTP clients for tests: ftplib, and one that sends just what it is told."""

from __future__ import annotations

import ftplib
import io
import socket

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

    def __init__(self, door: OpenDoor) -> None:
        self.control = socket.create_connection(door.address, timeout=10)
        self.replies = self.control.makefile("rb")
        self.replies.readline()

    def say(self, line: bytes) -> bytes:
        self.control.sendall(line + b"\r\n")
        return self.replies.readline().rstrip()

    def log_in(self) -> Wire:
        self.say(b"USER acme")
        assert self.say(b"PASS " + PASSWORD.encode()).startswith(b"230")
        return self

    def data(self) -> socket.socket:
        port = int(self.say(b"EPSV").split(b"|")[3])
        return socket.create_connection(("127.0.0.1", port), timeout=10)

    def close(self) -> None:
        self.replies.close()
        self.control.close()
