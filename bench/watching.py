"""Memory and file descriptors of each role of a running daemon over time, and whether they grow."""

from __future__ import annotations

import statistics
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from tests.running import Daemon

LOOK_SECONDS = 0.5
LEAST_LOOKS = 30
"""of a process, before anything is said about it"""
MEMORY_SHARE, MEMORY_MIB = 1.15, 24
"""What the last third may have more than the middle one: a share, and what caches of the database take."""
MORE_DESCRIPTORS = 16
"""and so many descriptors; sessions come and go"""


@dataclass(frozen=True, kw_only=True)
class Look:
    """One process at one moment."""

    at: float
    memory: float
    """resident, MiB"""
    descriptors: int


@dataclass(frozen=True, kw_only=True)
class Trend:
    """What became of one process while it was watched."""

    role: str
    seconds: float
    memory: tuple[float, float]
    """the medians of the second and of the last third, MiB"""
    descriptors: tuple[float, float]
    slope: float
    """MiB an hour, over the second and last third"""

    @property
    def grows(self) -> bool:
        """Whether it took more at the end than it may."""
        allowed = self.memory[0] * MEMORY_SHARE + MEMORY_MIB
        return self.memory[1] > allowed or self.descriptors[1] > self.descriptors[0] + MORE_DESCRIPTORS


class Watcher(threading.Thread):
    """Looks at every process of a daemon until it is told to stop."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(daemon=True)
        self.daemon_under_test, self.enough = daemon, threading.Event()
        self.looks: dict[tuple[str, int], list[Look]] = defaultdict(list)

    def run(self) -> None:
        """Twice a second; a process that ends meanwhile is looked at no more."""
        while not self.enough.wait(LOOK_SECONDS):
            process = self.daemon_under_test.process
            if process is None:
                continue
            pids = [("daemon", process.pid)]
            for role in ("receiver", "worker", "web"):
                pids += [(role, pid) for pid in self.daemon_under_test.children(role)]
            for role, pid in pids:
                found = look(pid)
                if found is not None:
                    self.looks[role, pid].append(found)

    def trends(self) -> list[Trend]:
        """Of every process that was looked at often enough."""
        return [trend(role, looks) for (role, _), looks in self.looks.items() if len(looks) >= LEAST_LOOKS]


def look(pid: int) -> Look | None:
    """None when the process has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return None
    memory = next((line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")), None)
    if memory is None:  # a process that is being buried has none
        return None
    return Look(at=time.monotonic(), memory=int(memory) / 1024, descriptors=descriptors)


def trend(role: str, looks: list[Look]) -> Trend:
    """The first third is left out: caches and pools are filled then."""
    third = len(looks) // 3
    middle, last = looks[third : 2 * third], looks[2 * third :]
    warm = middle + last
    slope = statistics.linear_regression([each.at for each in warm], [each.memory for each in warm]).slope
    return Trend(
        role=role,
        seconds=looks[-1].at - looks[0].at,
        memory=(_median(middle, "memory"), _median(last, "memory")),
        descriptors=(_median(middle, "descriptors"), _median(last, "descriptors")),
        slope=slope * 3600,
    )


def _median(looks: list[Look], what: str) -> float:
    return float(statistics.median(getattr(look, what) for look in looks))
