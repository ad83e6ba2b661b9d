"""The servers that the doors are measured on: ingestd's own receiver process, alone, and vsftpd as its peer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import select

from ingestd import presence
from ingestd.house import House, open_house
from ingestd.preparing import prepare_store
from ingestd.store.engine import reading
from ingestd.store.tables import deliveries
from tests.running import ROOT, example_config

LOGIN, PASSWORD = "nordlead", "secret"
START_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A self-signed certificate for the loopback address, the same for both servers."""

    chain: Path
    key: Path


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where files are sent to, and as whom."""

    host: str
    port: int
    login: str
    password: str
    folder: str = "upload"


class Server(Protocol):
    """What uploads are measured on."""

    place: Place

    def check(self, names: list[str], data: bytes, sha256: str) -> None:
        """Every file of `names` is there with exactly `data`; fails otherwise."""

    def clear(self) -> None:
        """Removes the bytes of what was sent."""


def certificate(folder: Path) -> Certificate:
    """Makes one with a P-256 key, as certificate authorities give out today."""
    made = Certificate(chain=folder / "certificate.pem", key=folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(made.key), "-out", str(made.chain)]
    subprocess.run(command, check=True, capture_output=True)
    return made


@dataclass(kw_only=True)
class Receiver:
    """The process with the doors as the supervisor starts it, over a real spool and an SQLite ledger; no worker.

    The passwords of its logins cost no time to check: logging in is not what is measured.
    """

    folder: Path
    tls: Certificate
    place: Place = field(init=False)
    pid: int = field(init=False)

    def __post_init__(self) -> None:
        config, self._home = example_config(self.folder), self.folder / "home"
        self._house: House = open_house(config, self._home)
        prepare_store(self._house)
        node = presence.join(self._house, presence.node_of(self._house, ("ftp",), "bench"), time.sleep)
        lifeline, self._lifeline = os.pipe()
        self._doorbell, doorbell = os.pipe()  # nobody listens, and a full pipe has rung already
        ready, said = os.pipe()
        command = [sys.executable, "-m", "ingestd", "role", "receiver", "--name", "receiver"]
        command += ["--pipes", f"{lifeline},{doorbell},{said}", "--config", str(config), "--home", str(self._home)]
        command += ["--node", str(node)]
        with (self.folder / "receiver.log").open("wb") as journal:
            self._process = subprocess.Popen(
                command, env=self._environment(), pass_fds=(lifeline, doorbell, said), stderr=journal, cwd=ROOT
            )
        for theirs in (lifeline, doorbell, said):
            os.close(theirs)
        with os.fdopen(ready) as heard:
            doors: dict[str, Any] = json.loads(heard.readline() or "{}").get("doors", {})
        assert "ftp" in doors, (self.folder / "receiver.log").read_text()[-2000:]
        door = doors["ftp"]
        self.place = Place(host=door["host"], port=door["port"], login=LOGIN, password=PASSWORD)
        self.pid = self._process.pid

    def _environment(self) -> dict[str, str]:
        settings = {
            "FTP__PORT": "0",
            "TLS__CERTIFICATE": str(self.tls.chain),
            "TLS__KEY": str(self.tls.key),
            "FOLDER__ENABLED": "false",
            "SFTP__ENABLED": "false",
            "HTTP__ENABLED": "false",
        }
        return {**os.environ, **{f"INGESTD_{name}": value for name, value in settings.items()}}

    def check(self, names: list[str], data: bytes, sha256: str) -> None:
        """Every file is a delivery of its own with the right hash, and the spool has its bytes."""
        table = deliveries.c
        query = select(table.name, table.sha256, table.spool_key).where(table.name.in_(names))
        with reading(self._house.engine) as connection:
            found = {row.name: (row.sha256, row.spool_key) for row in connection.execute(query)}
        assert sorted(found) == sorted(names), f"{len(names) - len(found)} files are no deliveries"
        for name, (digest, key) in found.items():
            assert digest == sha256, name
            assert self._house.spool.read(key) == data, name

    def landed(self) -> int:
        """How many deliveries the ledger has."""
        with reading(self._house.engine) as connection:
            return len(connection.execute(select(deliveries.c.id)).all())

    def clear(self) -> None:
        """Empties the spool; the ledger keeps its rows."""
        for path in (self._home / "spool" / "deliveries").glob("*/*/*/*"):
            path.unlink()

    def stop(self) -> None:
        """As the supervisor stops it."""
        _stop(self._process)
        self._house.engine.dispose()
        os.close(self._lifeline)
        os.close(self._doorbell)


@dataclass(kw_only=True)
class Vsftpd:
    """Debian's vsftpd with a configuration of its own: anonymous uploads, a process a session, no hash, no fsync."""

    folder: Path
    tls: Certificate
    place: Place = field(init=False)
    pid: int = field(init=False)

    def __post_init__(self) -> None:
        root, self._uploads = self.folder / "root", self.folder / "root" / "upload"
        empty = self.folder / "empty"
        for made in (self._uploads, empty):
            made.mkdir(parents=True)
        if os.geteuid() == 0:
            shutil.chown(self._uploads, "ftp")  # the user that vsftpd has for anonymous sessions
        port = _free_port()
        configuration = self.folder / "vsftpd.conf"
        settings = {
            **_VSFTPD,
            "listen_port": port,
            "anon_root": root,
            "secure_chroot_dir": empty,
            "rsa_cert_file": self.tls.chain,
            "rsa_private_key_file": self.tls.key,
            "run_as_launching_user": "NO" if os.geteuid() == 0 else "YES",
        }
        configuration.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        self._process = subprocess.Popen([_vsftpd(), str(configuration)], stderr=subprocess.DEVNULL)
        self.place = Place(host="127.0.0.1", port=port, login="anonymous", password="bench@example.com")
        self.pid = self._process.pid
        _until(self._open)

    def _open(self) -> bool:
        assert self._process.poll() is None, "vsftpd does not start"
        try:
            socket.create_connection((self.place.host, self.place.port), timeout=1).close()
        except OSError:
            return False
        return True

    def check(self, names: list[str], data: bytes, sha256: str) -> None:  # noqa: ARG002 - the bytes are compared
        """Every file lies in the folder with the right bytes."""
        for name in names:
            assert (self._uploads / name).read_bytes() == data, name

    def clear(self) -> None:
        """Empties the folder."""
        for path in self._uploads.iterdir():
            path.unlink()

    def stop(self) -> None:
        """Ends it; its sessions end with their clients."""
        _stop(self._process)


_VSFTPD: dict[str, object] = {
    "listen": "YES",
    "listen_address": "127.0.0.1",
    "background": "NO",
    "anonymous_enable": "YES",
    "local_enable": "NO",
    "write_enable": "YES",
    "anon_upload_enable": "YES",
    "xferlog_enable": "NO",
    "max_clients": 0,
    "max_per_ip": 0,
    "ssl_enable": "YES",
    "allow_anon_ssl": "YES",
    "force_local_logins_ssl": "NO",
    "force_local_data_ssl": "NO",
    "require_ssl_reuse": "NO",
    "ssl_ciphers": "HIGH",
}


def _vsftpd() -> str:
    """Debian's vsftpd, installed when that is possible."""
    found = shutil.which("vsftpd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        print("installing vsftpd, the peer ...")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "install", "-y", "-q", "vsftpd"], env=environment, check=True, capture_output=True)
        found = shutil.which("vsftpd", path="/usr/sbin:/usr/bin")
    if found is None:
        raise SystemExit("vsftpd is missing; as root: apt-get install vsftpd")
    return found


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the server does not answer"
        time.sleep(0.02)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
