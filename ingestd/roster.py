"""The roster: what the supervisor knows of its roles, in `run/roles.json` for `ingestd status` and `/readyz`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

Standing = Literal["starting", "running", "stuck", "down"]


@dataclass(frozen=True, kw_only=True)
class RoleState:
    """One role at the moment of writing."""

    name: str
    state: Standing
    pid: int | None
    since: datetime | None
    """start of its process; None between two lives"""
    beat_at: datetime | None
    """when it last said how its loops are"""
    restarts: int
    """how often it was replaced since the daemon started"""


@dataclass(frozen=True, kw_only=True)
class Roster:
    """All roles of a daemon."""

    pid: int
    """the supervisor's"""
    since: datetime
    written_at: datetime
    roles: tuple[RoleState, ...]

    def age(self, now: datetime) -> float:
        """Seconds since it was written; the supervisor does so every second."""
        return max(0.0, (now - self.written_at).total_seconds())


def write(path: Path, roster: Roster) -> None:
    """Complete or absent; raises OSError."""
    replace(path, json.dumps(asdict(roster), default=datetime.isoformat, indent=1))


def replace(path: Path, text: str) -> None:
    """Gives a file new content in one step; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(text + "\n", encoding="utf-8")
    fresh.replace(path)


def read(path: Path) -> Roster | None:
    """None when no daemon runs that would have written one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    roles = tuple(
        RoleState(**{**role, "since": _moment(role["since"]), "beat_at": _moment(role["beat_at"])})
        for role in found["roles"]
    )
    moments = {key: datetime.fromisoformat(found[key]) for key in ("since", "written_at")}
    return Roster(pid=found["pid"], roles=roles, **moments)


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
