"""A real daemon in processes of its own, for the tests that need one."""

from __future__ import annotations

import ftplib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from ingestd.accounts import hash_password
from ingestd.dispatch.dispatcher import Dispatcher
from ingestd.foreground import Order
from ingestd.house import House, open_house
from ingestd.organisation.uploads import Wish
from ingestd.preparing import prepare_store
from tests import databases
from tests.databases import ROOT
from tests.receive.receiving import CHEAP
from tests.receive.sftp_client import SftpClient

PATIENCE_SECONDS = 60.0
FEWER = {"INGESTD_ROLES": "ftp,worker"}
"""What a daemon does without the pages, which take as long to start as all the rest."""


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """Waits for a condition, not for luck; returns what it returned."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.02)
    return found


def at_once(*work: Callable[[], object]) -> None:
    """Does all of it at the same moment, each in a thread of its own; raises the first thing that went wrong."""
    failed: list[BaseException] = []
    barrier = threading.Barrier(len(work))

    def one(mine: Callable[[], object]) -> None:
        try:
            barrier.wait()
            mine()
        except BaseException as problem:  # noqa: BLE001 - raised below
            failed.append(problem)

    threads = [threading.Thread(target=one, args=(each,)) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def example_config(folder: Path) -> Path:
    """A copy of the example configuration whose passwords cost no time to check."""
    config = folder / "config"
    config.mkdir(parents=True)
    for path in (ROOT / "config").iterdir():
        text = path.read_text(encoding="utf-8")
        if path.name == "sources.toml":
            cheap = hash_password("secret", CHEAP)
            lines = [
                f'password_hash = "{cheap}"' if line.startswith("password_hash") else line for line in text.splitlines()
            ]
            text = "\n".join(lines)
        (config / path.name).write_text(text, encoding="utf-8")
    (folder / "schemas").symlink_to(ROOT / "schemas")
    return config


_SOURCE = """
[[source]]
name = "{name}"
title = "A partner of the test"
campaign = "{campaign}"
default_owner = "team:denmark"

[[source.login]]
login = "{name}"
password_hash = "{hash}"
"""


@contextmanager
def prepared(folder: Path) -> Iterator[House]:
    """A home in a folder, with the example's organisation in its store."""
    if "INGESTD_STORE__URL" not in os.environ:
        (folder / "home").mkdir(mode=0o700)
        databases.embedded(folder / "home")
    house = open_house(example_config(folder), folder / "home")
    prepare_store(house)
    yield house
    house.engine.dispose()


def add_sources(config: Path, campaigns: Mapping[str, str]) -> None:
    """Adds a source for each name, with a login of that name and the password `secret`, and its campaign."""
    cheap = hash_password("secret", CHEAP)
    with (config / "sources.toml").open("a", encoding="utf-8") as sources:
        for name, campaign in campaigns.items():
            sources.write(_SOURCE.format(name=name, campaign=campaign, hash=cheap))


class Daemon:
    """`ingestd serve` as an operator starts it."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.config, self.home = example_config(folder), folder / "home"
        self.journal = folder / "daemon.log"
        self.environment = {
            **os.environ,
            "INGESTD_FTP__PORT": "0",
            "INGESTD_HTTP__PORT": "0",
            "INGESTD_SFTP__PORT": "0",
            "INGESTD_FOLDER__QUIET_SECONDS": "0.2",
            "INGESTD_FOLDER__SCAN_SECONDS": "0.2",
            **environment,
        }
        self.before: list[str] = []
        """A command that starts the daemon, such as one that takes something away from it."""
        self.process: subprocess.Popen[bytes] | None = None
        self.view: House | None = None

    def __enter__(self) -> Self:
        return self if self.process else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self.view is not None:
            self.view.engine.dispose()

    def launch(self) -> subprocess.Popen[bytes]:
        """Starts it without waiting."""
        command = [sys.executable, "-m", "ingestd", "serve", "--config", str(self.config), "--home", str(self.home)]
        with self.journal.open("ab") as journal:
            self.process = subprocess.Popen([*self.before, *command], env=self.environment, stderr=journal, cwd=ROOT)
        return self.process

    def start(self) -> Self:
        """Starts it and waits for open doors."""
        self.launch()
        try:
            until(self._open, "open doors")
        except AssertionError as late:
            raise AssertionError(f"{late}; {self.journal.read_text()[-4000:]}") from late
        return self

    def _open(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.journal.read_text()[-4000:]
        return self.endpoints.exists()

    @property
    def endpoints(self) -> Path:
        return self.home / "run" / "endpoints.json"

    @property
    def doors(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.endpoints.read_text())
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        """The lines of the journal that tell of one kind of event."""
        whole = self.journal.read_text(encoding="utf-8").rpartition("\n")[0]
        return [event for event in map(json.loads, whole.splitlines()) if event["event"] == name]

    def hang_up(self) -> None:
        """As `systemctl reload`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> int:
        """As systemd stops it; the exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE_SECONDS)
        self.process = None
        return code

    def kill(self) -> None:
        """As a power cut of the process: no farewell."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None
        self.endpoints.unlink(missing_ok=True)

    def children(self, role: str) -> list[int]:
        """The processes of a role."""
        assert self.process is not None
        pid = self.process.pid
        try:
            found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except FileNotFoundError:
            return []
        return [int(child) for child in found if _role(int(child)) == role]

    def house(self) -> House:
        """A look at the store from outside."""
        if self.view is None:
            self.view = self._opened()
        return self.view

    def _opened(self) -> House:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("INGESTD_STORE__URL", self.environment.get("INGESTD_STORE__URL", ""))
            return open_house(self.config, self.home)

    def ftp(self, login: str) -> ftplib.FTP:
        """A client that has logged in."""
        door = self.doors["ftp"]
        client = ftplib.FTP()
        try:
            client.connect(door["host"], door["port"], timeout=10)
            client.login(login, "secret")
        except BaseException:
            client.close()
            raise
        return client

    def sftp(self, login: str) -> SftpClient:
        """A client that has logged in by SFTP."""
        door = self.doors["sftp"]
        return SftpClient((door["host"], door["port"]), login, password="secret")

    def send(self, login: str, name: str, data: bytes) -> str:
        """The door's answer to one file."""
        with self.ftp(login) as client:
            return client.storbinary(f"STOR upload/{name}", io.BytesIO(data))


def _role(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return words[words.index(b"role") + 1].decode() if b"role" in words else ""


class Manager:
    """What systemd hears of a service; like systemd it reads at once, or the sender would wait."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.address)
        self.heard: list[tuple[float, str]] = []
        """when, by the monotonic clock, and what"""
        self.thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.address)
        self.thread.join()
        self.socket.close()

    def _read(self) -> None:
        while text := self.socket.recv(4096).decode():
            self.heard.append((time.monotonic(), text))

    @property
    def messages(self) -> list[str]:
        """Every message so far."""
        return [text for _, text in self.heard]

    def heard_since(self, moment: float, word: str) -> bool:
        """Whether a message with this assignment came after the moment."""
        return any(at > moment and word in text.split("\n") for at, text in tuple(self.heard))


@dataclass(frozen=True, kw_only=True)
class UntilDone:
    """A dispatcher's stop: at the moment when nothing is left to load."""

    dispatcher: Dispatcher

    def is_set(self) -> bool:
        return self.dispatcher.health()["ready"] == 0

    def wait(self) -> None:
        raise AssertionError("a job is not due")

    def ring(self) -> None:
        """Nobody waits."""


def order_of(file: Path, source: str) -> Order:
    """A file of a source that an operator brings by hand."""
    return Order(file=file, wish=Wish(source=source), login="operator")
