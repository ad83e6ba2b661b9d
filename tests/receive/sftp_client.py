"""SFTP clients for tests: asyncssh's, one call after another, and one that sends just what it is told."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

import asyncssh

from ingestd.receive.sftp import SftpDoor
from tests.receive.receiving import PASSWORD

T = TypeVar("T")


class SshClient:
    """An SSH connection that is logged in."""

    def __init__(self, door: SftpDoor | tuple[str, int], login: str = "acme", **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        host, port = door if isinstance(door, tuple) else door.address
        given: dict[str, Any] = {
            "config": None,
            "known_hosts": None,
            "client_keys": None,
            "agent_path": None,
            "username": login,
            "password": PASSWORD,
            "login_timeout": 30,
        }
        try:
            self.connection = self.run(asyncssh.connect(host, port, **given | options))
        except BaseException:
            self._end_loop()
            raise

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Make a call and wait for it."""
        return self.loop.run_until_complete(call)

    def close(self) -> None:
        self.connection.close()
        self.run(self.connection.wait_closed())
        self._end_loop()

    def _end_loop(self) -> None:
        self.run(asyncio.sleep(0))
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()

    def reset(self) -> None:
        """End the connection with RST, as a machine that was switched off and on again."""
        transport = self.connection._transport
        assert transport is not None
        connected = transport.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.abort()
        self.run(self.connection.wait_closed())
        self._end_loop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, _: TracebackType | None) -> None:
        if not self.loop.is_closed():
            self.close()


class SftpClient(SshClient):
    """asyncssh's client, with paths as bytes."""

    def __init__(self, door: SftpDoor | tuple[str, int], login: str = "acme", **options: Any) -> None:
        super().__init__(door, login, **options)
        try:
            self.client = self.run(self.connection.start_sftp_client(path_encoding=None))
        except BaseException:
            self.close()
            raise

    def do(self, operation: str, *arguments: Any, **options: Any) -> Any:
        """`do("rename", a, b)` calls `rename`; texts become bytes, as they are sent."""
        raw = [each.encode() if isinstance(each, str) and operation != "open" else each for each in arguments]
        return self.run(getattr(self.client, operation)(*raw, **options))

    def open(self, path: str | bytes, mode: Any = "wb") -> asyncssh.SFTPClientFile:
        raw = path.encode() if isinstance(path, str) else path
        opened: asyncssh.SFTPClientFile = self.run(self.client.open(raw, mode))  # type: ignore[call-overload]
        return opened

    def send(self, path: str | bytes, content: bytes) -> None:
        """Open, write, close."""
        file = self.open(path)
        self.run(file.write(content))
        self.run(file.close())

    def fetch(self, path: str | bytes) -> bytes:
        file = self.open(path, "rb")
        content = self.run(file.read())
        self.run(file.close())
        assert isinstance(content, bytes)
        return content


class RawClient(SshClient):
    """Sends just the packets that it is told (draft-ietf-secsh-filexfer-02)."""

    INIT, OPEN, CLOSE, READ, WRITE, OPENDIR, STATUS, HANDLE = 1, 3, 4, 5, 6, 11, 101, 102
    SENDING = 2 | 8 | 16
    """write, create, truncate"""

    def __init__(self, door: SftpDoor | tuple[str, int], login: str = "acme", **options: Any) -> None:
        super().__init__(door, login, **options)
        session = self.connection.open_session(subsystem="sftp", encoding=None)
        self.writer, self.reader, _ = self.run(session)
        self.write(bytes([self.INIT]) + struct.pack(">I", 3))
        self.greeting = self.answer()

    def write(self, packet: bytes) -> None:
        self.writer.write(text(packet))
        self.run(asyncio.sleep(0))

    def answer(self) -> bytes:
        size = self.run(self.reader.readexactly(4))
        return self.run(self.reader.readexactly(int.from_bytes(size, "big")))

    def ask(self, kind: int, body: bytes) -> bytes:
        """The answer to a request, without its number."""
        self.write(bytes([kind]) + struct.pack(">I", 7) + body)
        answer = self.answer()
        return answer[:1] + answer[5:]

    def status(self, kind: int, body: bytes) -> tuple[int, str]:
        """Code and text of a status."""
        answer = self.ask(kind, body)
        assert answer[0] == self.STATUS, answer
        code, size = struct.unpack(">II", answer[1:9])
        return code, answer[9 : 9 + size].decode()

    def open(self, path: bytes, flags: int = SENDING) -> bytes:
        """The handle, as it is sent."""
        answer = self.ask(self.OPEN, text(path) + struct.pack(">II", flags, 0))
        assert answer[0] == self.HANDLE, answer
        return answer[1:]


def text(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content
