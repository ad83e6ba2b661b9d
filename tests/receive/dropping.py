"""What the tests of the drop folder share: a clock that the test moves, and a look at what lies there."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ingestd.errors import Rejected
from ingestd.model import Arrival
from ingestd.receive.companions import kind_of
from ingestd.receive.folder import DropFolder
from ingestd.receive.landing import Also, Landing, Receipt
from ingestd.spool import Incoming, Spool
from tests.receive.receiving import MemoryLedger, files_below

QUIET = 2.0  # seconds


class Clock:
    """Stands still until the test moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def quiet_scan(folder: DropFolder, clock: Clock) -> int:
    """Look, wait until everything counts as quiet, look again."""
    folder.scan()
    clock.now += QUIET
    return len(folder.scan())


def lying(drop: Path) -> list[str]:
    return [path.relative_to(drop).as_posix() for path in files_below(drop)]


def told(audited: list[Any], event: str) -> list[Any]:
    """The audit lines of one event."""
    return [line for line in audited if line["event"] == event]


class MemoryInProcess:
    """Remembers the files that were left, as long as the test."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, str]] = defaultdict(dict)

    def known(self, source: str) -> Mapping[str, str]:
        return self._known[source]

    def remember(self, source: str, path: str, mark: str, delivery_id: int | None) -> None:  # noqa: ARG002 - not asked
        self._known[source] = {**self._known[source], path: mark}

    def forget(self, source: str, paths: Collection[str]) -> None:
        self._known[source] = {path: mark for path, mark in self._known[source].items() if path not in paths}


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder that nobody can write to: permissions do not bind root, who mounts it instead."""
    if os.geteuid() != 0:
        folder.chmod(0o555)
        yield
        folder.chmod(0o755)
        return
    with mounted("--bind", str(folder), on=folder):
        _run("mount", "-o", "remount,bind,ro", str(folder))
        yield


@contextlib.contextmanager
def mounted(*arguments: str, on: Path) -> Iterator[None]:
    """A file system in a place, for root only."""
    try:
        _run("mount", *arguments, str(on))
    except subprocess.CalledProcessError as problem:
        pytest.skip(f"this machine does not let root mount: {problem.stderr!r}")
    try:
        yield
    finally:
        _run("umount", "--lazy", str(on))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


class Judge(Landing):
    """Takes companions as the real landing does, but only notes them; refuses what it is told to."""

    def __init__(self, spool: Spool, ledger: MemoryLedger) -> None:
        super().__init__(spool, ledger, ring=lambda: None)
        self.names: list[str] = []
        """in the order in which they were handed in"""
        self.said: dict[str, bytes] = {}
        self.refused: dict[str, str] = {}
        """name → why"""

    def accept(
        self,
        incoming: Incoming,
        arrival: Arrival,
        also: Also = lambda _connection, _delivery: None,
        *,
        ahead: bool = False,
    ) -> Receipt:
        self.names.append(arrival.name)
        if kind_of(arrival.name) is None:
            receipt = super().accept(incoming, arrival, also, ahead=ahead)
        else:
            self.said[arrival.name] = Path(incoming.name).read_bytes()
            incoming.close()
            receipt = Receipt(delivery_id=0, size=incoming.size, sha256="")
        if arrival.name in self.refused:
            raise Rejected("digest_mismatch", self.refused[arrival.name])
        return receipt
