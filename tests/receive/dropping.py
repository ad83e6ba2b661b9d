"""What the tests of the drop folder share: a clock that the test moves, and a look at what lies there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ingestd.receive.folder import DropFolder
from tests.receive.receiving import files_below

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
