"""Reading the configuration folder anew while the daemon runs: all of it applies, or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ingestd import settings
from ingestd.house import House, apply_organisation
from ingestd.settings import DaemonSettings
from ingestd.store.organisation import Changes


@dataclass(frozen=True, kw_only=True)
class Reloaded:
    """What a reload did."""

    changes: Changes
    """in the store; the receiver and the workers read it there"""
    restart_needed: list[str]
    """keys of `ingestd.toml` that differ from what the daemon was started with"""


def reload(house: House, config: Path) -> Reloaded:
    """Applies organisation, sources and statuses; raises Misconfigured or Unavailable, and then nothing has changed."""
    fresh = settings.read(config)
    changes = apply_organisation(replace(house, configuration=fresh))
    return Reloaded(changes=changes, restart_needed=differing(house.configuration.daemon, fresh.daemon))


def differing(before: DaemonSettings, after: DaemonSettings) -> list[str]:
    """The keys whose values differ, as `ftp.port`; never a value, which may hold a password."""
    return list(_differing(before.model_dump(), after.model_dump()))


def _differing(before: Mapping[str, Any], after: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in after.items():
        if isinstance(value, dict):
            yield from _differing(before[key], value, f"{above}{key}.")
        elif before[key] != value:
            yield above + key
