"""The roles as the supervisor has them: one process each, what it says, and how long it has said nothing good."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ingestd import roster
from ingestd.roster import RoleState, Standing

START_SECONDS = 60.0
"""How long a role may take until it is ready: libraries, keys, a database that answers slowly."""


@dataclass(frozen=True, kw_only=True)
class Handed:
    """What every child gets from the supervisor."""

    config: Path
    home: Path
    lifeline: int
    doorbell: int
    lock: int
    node: int
    """the number under which the store knows this daemon"""
    sockets: Mapping[str, int]
    environment: Mapping[str, str]


@dataclass(kw_only=True)
class Child:
    """One role in a process of its own."""

    role: str
    name: str
    process: subprocess.Popen[bytes] | None = None
    told: int | None = None
    """The pipe on which the child speaks; closed when it is gone."""
    said_ready: bool = False
    was_ready: bool = False
    """in this life or an earlier one"""
    failures: int = 0
    """how often it ended with an error soon after its start"""
    restarts: int = 0
    started_at: float = 0.0
    not_before: float = 0.0
    since: datetime | None = None
    beat_at: datetime | None = None
    heard_at: float = 0.0
    late: dict[str, float] = field(default_factory=dict)
    """loop → seconds that it was overdue when it was heard last"""
    stuck: bool = False
    """True from the moment it was told of"""
    half: bytes = b""
    """the beginning of a line that has not come whole"""

    @property
    def running(self) -> bool:
        """True while its process lives, also when it is stopped or hangs."""
        return self.process is not None and self.process.poll() is None

    def start(self, handed: Handed, now: float) -> None:
        """Starts its process."""
        heard, said = os.pipe()
        pipes = f"{handed.lifeline},{handed.doorbell},{said}"
        command = [sys.executable, "-m", "ingestd", "role", self.role, "--name", self.name, "--pipes", pipes]
        command += ["--config", str(handed.config), "--home", str(handed.home), "--node", str(handed.node)]
        for door, descriptor in handed.sockets.items():
            command += ["--socket", f"{door}={descriptor}"]
        inherited = (handed.lifeline, handed.doorbell, said, handed.lock, *handed.sockets.values())
        self.process = subprocess.Popen(command, pass_fds=inherited, env=dict(handed.environment))  # noqa: S603 - our own
        os.close(said)
        self.told, self.half, self.late = heard, b"", {}
        self.started_at, self.since = now, roster.now()
        self.heard_at = now + START_SECONDS  # until then it need not speak
        self.beat_at = None

    def hear(self) -> list[dict[str, Any]]:
        """What it has said since; call it when its pipe can be read."""
        assert self.told is not None
        said = os.read(self.told, 65536)
        if not said:
            self.close()
            return []
        *lines, self.half = (self.half + said).split(b"\n")
        self.heard_at, self.beat_at = time.monotonic(), roster.now()
        messages = [json.loads(line) for line in lines]
        for message in messages:
            self.late = message.get("overdue", self.late)
        return messages

    def overdue(self, now: float) -> float:
        """Seconds that its slowest loop has not advanced, beyond what a turn may take; 0 between two lives."""
        if not self.running:
            return 0.0
        return max(0.0, max(self.late.values(), default=0.0) + now - self.heard_at)

    def buried(self) -> int:
        """Forgets the process that ended, and gives its exit code."""
        assert self.process is not None
        code: int = self.process.returncode
        self.process, self.said_ready, self.stuck, self.since = None, False, False, None
        self.restarts += 1
        self.close()
        return code

    def kill(self) -> None:
        """Ends it at once, also when it is stopped."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Listens no longer."""
        if self.told is not None:
            os.close(self.told)
            self.told = None

    def state(self) -> RoleState:
        """For the roster."""
        pid = self.process.pid if self.process is not None and self.running else None
        return RoleState(
            name=self.name,
            state=self._standing(),
            pid=pid,
            since=self.since if pid else None,
            beat_at=self.beat_at,
            restarts=self.restarts,
        )

    def _standing(self) -> Standing:
        if not self.running:
            return "down"
        if self.stuck:
            return "stuck"
        return "running" if self.said_ready else "starting"


def of(*, receiver: bool, workers: int, results: bool, web: bool) -> Sequence[Child]:
    """The children of a daemon, in the order in which they start."""
    loading = [Child(role="worker", name=f"worker-{number}") for number in range(1, workers + 1)]
    return [
        *([Child(role="receiver", name="receiver")] if receiver else []),
        *loading,
        *([Child(role="results", name="results")] if results else []),
        *([Child(role="web", name="web")] if web else []),
    ]
