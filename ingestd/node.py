"""A node: one daemon with its home, and the roles that it has. Pure; the store knows all of them (store/nodes.py)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ingestd.errors import Misconfigured
from ingestd.settings import DaemonSettings

ROLES = ("ftp", "sftp", "folder", "web", "worker")
DOORS = frozenset(("ftp", "sftp", "folder"))
_WITH_RESULTS = frozenset(("ftp", "sftp"))
"""doors at which partners fetch their results"""
SWITCHES: Mapping[str, str] = {"ftp": "ftp", "sftp": "sftp", "folder": "folder", "web": "http"}
"""role → section of ingestd.toml whose `enabled` switches it off; workers are always there"""

BEAT_SECONDS = 2.0
"""How often a process of a node writes what it is doing."""
SILENT_SECONDS = 10.0
"""A node that has not spoken for so long is shown as silent, and its name is free."""

_LONGEST_NAME = 48


@dataclass(frozen=True, kw_only=True)
class Node:
    """What a daemon says of itself when it starts."""

    name: str
    home: str
    """what its home calls itself, wherever it lies"""
    place: str
    """the machine and the folder"""
    version: str
    roles: tuple[str, ...]

    @property
    def results(self) -> bool:
        """Whether partners fetch results here."""
        return bool(_WITH_RESULTS & set(self.roles))


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process of a node, at its last beat."""

    name: str
    since: datetime
    beat_at: datetime
    doing: Mapping[str, Any]

    def told(self, now: datetime, names: Mapping[int, str]) -> str:
        """What it does, for people; empty when it waits. `names` are those of the files, by delivery.

        One that has not spoken for long may do something else by now.
        """
        doing, silent = self.doing, (now - self.beat_at).total_seconds()
        if silent > SILENT_SECONDS:
            return f"{self.name}: silent for {lasting(silent)}"
        if "delivery" in doing:
            name = names.get(doing["delivery"], "")
            spent = (now - datetime.fromisoformat(doing["since"])).total_seconds()
            spent_told = lasting(max(0.0, spent))
            return f"{self.name}: delivery {doing['delivery']} {name}, {doing['stage']}, for {spent_told}"
        counts = {door: its for door, its in doing.items() if any(its.values())}
        told = (
            f"{door} {', '.join(_counted(count, what) for what, count in its.items())}" for door, its in counts.items()
        )
        return f"{self.name}: {'; '.join(told)}" if counts else ""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A node as the store knows it."""

    id: int
    node: Node
    since: datetime
    beat_at: datetime
    ended_at: datetime | None
    """when it was stopped; None while it runs, and when it died"""
    processes: tuple[Process, ...] = field(default=())

    def age(self, now: datetime) -> float:
        """Seconds since its last beat."""
        return max(0.0, (now - self.beat_at).total_seconds())

    def state(self, now: datetime) -> str:
        """`running`, `silent` or `stopped`."""
        if self.ended_at is not None:
            return "stopped"
        return "silent" if self.age(now) > SILENT_SECONDS else "running"

    def gives_way(self, other: Node, now: datetime) -> bool:
        """Whether another daemon may have its name: it is stopped or silent, or was the same home.

        No two daemons run in one home at a time, so an earlier life of it is over.
        """
        same_home = (self.node.home, self.node.place) == (other.home, other.place)
        return same_home or self.state(now) != "running"


def at_work(nodes: Iterable[Standing]) -> set[int]:
    """The deliveries that are being loaded, wherever."""
    return {each.doing["delivery"] for node in nodes for each in node.processes if "delivery" in each.doing}


def lasting(seconds: float) -> str:
    """A length of time as people say it, such as `41 s`, `3 min` or `2 days, 4:10`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return str(timedelta(minutes=seconds // 60)).rpartition(":")[0]


def _counted(count: int, what: str) -> str:
    return f"{count} {what.removesuffix('s') if count == 1 else what}"


def own_name(configured: str, host: str) -> str:
    """The name of a node: as configured, else the host's, as far as it can be one."""
    return configured or re.sub(r"[^A-Za-z0-9._-]", "-", host)[:_LONGEST_NAME]


def roles_of(wanted: str | None, settings: DaemonSettings) -> tuple[str, ...]:
    """The roles of a daemon: those named, else all that the configuration has. Raises Misconfigured."""
    enabled = [role for role in ROLES if _enabled(role, settings)]
    if wanted is None:
        return tuple(enabled)
    named = [word.strip() for word in wanted.split(",") if word.strip()]
    for role in named:
        if role not in ROLES:
            raise Misconfigured("--roles", role, f"is no role; the roles are {', '.join(ROLES)}")
        if role not in enabled:
            raise Misconfigured("--roles", role, f"is switched off in ingestd.toml: {SWITCHES[role]}.enabled is false")
    if not named:
        raise Misconfigured("--roles", "roles", f"names none; the roles are {', '.join(ROLES)}")
    return tuple(role for role in ROLES if role in named)


def _enabled(role: str, settings: DaemonSettings) -> bool:
    section = SWITCHES.get(role)
    return section is None or bool(getattr(settings, section).enabled)


def switched_off(roles: tuple[str, ...]) -> dict[str, str]:
    """What the environment of this node's processes says, so that they leave the other roles alone."""
    return {f"INGESTD_{section.upper()}__ENABLED": "false" for role, section in SWITCHES.items() if role not in roles}
