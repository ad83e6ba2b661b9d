"""The clients that the doors are measured with: curl for large files, and plain sockets where a thousand are needed."""

from __future__ import annotations

import os
import resource
import socket
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.servers import Place

PATIENCE_SECONDS = 120.0


class Client:
    """One FTP session over plain sockets: it costs next to nothing, and knows to the microsecond what it waited."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._control = socket.create_connection((place.host, place.port), timeout=PATIENCE_SECONDS)
        self._control.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self._reply("220")
        self.ask(f"USER {place.login}", "331")
        self.ask(f"PASS {place.password}", "230")
        self.ask("TYPE I", "200")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._control.close()

    def ask(self, command: str, expected: str) -> str:
        """Sends a command; the reply, which must begin as expected."""
        self._control.sendall(f"{command}\r\n".encode())
        return self._reply(expected)

    def send(self, name: str, data: bytes) -> str:
        """Sends one file; the final reply."""
        with self._data() as connection:
            self.ask(f"STOR {self._place.folder}/{name}", "1")  # 150, or 125 when the data connection is taken already
            connection.sendall(data)
        return self._reply("226")

    def _data(self) -> socket.socket:
        told = self.ask("EPSV", "229")
        port = int(told[told.index("|||") + 3 :].split("|")[0])
        return socket.create_connection((self._place.host, port), timeout=PATIENCE_SECONDS)

    def _reply(self, expected: str) -> str:
        while True:
            line, end, rest = self._buffer.partition(b"\r\n")
            if not end:
                more = self._control.recv(4096)
                assert more, f"the server closed the session instead of {expected}"
                self._buffer += more
                continue
            self._buffer = rest
            if line[3:4] != b"-" and line[:3].isdigit():
                assert line.startswith(expected.encode()), f"{line!r} instead of {expected}"
                return line.decode()


def offers_tls(place: Place) -> bool:
    """Whether a server answers AUTH TLS."""
    with socket.create_connection((place.host, place.port), timeout=PATIENCE_SECONDS) as control:
        control.recv(4096)
        control.sendall(b"AUTH TLS\r\n")
        return control.recv(4096).startswith(b"234")


def send_together(place: Place, file: Path, names: list[str], *, tls: bool, announces: bool = False) -> float:
    """A curl for each name, all at once, each sends the file; seconds from the first start to the last end."""
    with ThreadPoolExecutor(len(names)) as pool:
        begun = time.perf_counter()
        for done in [pool.submit(_curl, place, file, name, tls=tls, announces=announces) for name in names]:
            done.result()
        return time.perf_counter() - begun


def _curl(place: Place, file: Path, name: str, *, tls: bool, announces: bool) -> None:
    target = f"ftp://{place.host}:{place.port}/{place.folder}/{name}"
    command = ["curl", "--silent", "--show-error", "--user", f"{place.login}:{place.password}"]
    if announces:
        command += ["--quote", f"ALLO {file.stat().st_size}"]
    command += ["--ssl-reqd", "--insecure"] if tls else []
    command += ["--upload-file", str(file), target]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stderr


def trusting() -> ssl.SSLContext:
    """Takes any certificate: the one here is made for the run."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def raise_descriptor_limit() -> None:
    """A thousand sessions are two thousand sockets on this side too."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, with what its ended children took."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(word) for word in words[11:15]) / os.sysconf("SC_CLK_TCK")
