"""When a file in a drop folder is whole: a pure rule over what was seen of it (RECEIVING.md, Drop folder)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ingestd.receive.companions import Kind

CLOSED = "closed by its writer"
MOVED = "moved into place"

PATIENCE = 60.0
"""Seconds that a file is left alone which is not what its companion says, and a companion whose file is not there."""

Mark = tuple[int, int, int, int]
"""Device, inode, size and time of change of a file, as `spool.fingerprint` tells them."""


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """What one source's drop folder does."""

    limit: int
    """bytes a file may have"""
    quiet_seconds: float = 2.0
    """seconds without a change after which a file counts as whole"""
    demand: bool = False
    """True when a file is taken only with a companion that proves it"""
    wait_hours: float = 24.0
    """hours that a file waits for its companion, and a companion for its file"""

    @property
    def wait_seconds(self) -> float:
        """The same in seconds."""
        return self.wait_hours * 3600


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was seen of one file."""

    mark: Mark
    since: float
    """seconds of the watcher's clock at which this mark was seen first"""
    sign: str = ""
    """CLOSED or MOVED when an event or a scan said so, else empty"""
    heard: bool = False
    """True when an event told of it; else a scan found it"""

    @property
    def size(self) -> int:
        """bytes"""
        return self.mark[2]

    @property
    def finished(self) -> bool:
        """True when its writer said so."""
        # An empty file that was closed is often the first step of a writer who opens it again (touch, FTP servers).
        return self.sign == MOVED or (self.sign == CLOSED and self.size > 0)


@dataclass(frozen=True, kw_only=True)
class Said:
    """What the companions beside a file say about it."""

    kinds: frozenset[Kind] = frozenset()
    marker: str = ""
    """the name of the marker"""
    writing: bool = False
    """True while one of them may not be whole itself"""
    digest: str = ""
    """the name of the first that has a digest"""
    fits: Callable[[], bool] = lambda: True
    """whether the file has the digest that they say; reads it, so it is asked only when it matters"""


SILENT = Said()


def observe(before: Observation | None, mark: Mark, now: float, *, sign: str = "", heard: bool = False) -> Observation:
    """What is known after another look. A file that changed starts anew."""
    if before is None or before.mark != mark:
        return Observation(mark=mark, since=now, sign=sign, heard=heard)
    return replace(before, sign=sign or before.sign, heard=heard or before.heard)


def evidence(seen: Observation, options: FolderOptions, now: float, said: Said = SILENT) -> str:
    """By what the file is known to be whole; empty while it is not."""
    if said.writing or (options.demand and not said.kinds):
        return ""
    if said.marker:
        return f"marker {said.marker}"
    if seen.finished:
        return seen.sign
    # Since it was seen first, not by its own time of change: copies keep old times while they are being written.
    quiet = now - seen.since
    return _silence(quiet, options.quiet_seconds, said) if quiet >= options.quiet_seconds else ""


def _silence(quiet: float, enough: float, said: Said) -> str:
    """What it means that a file has not changed for `quiet` seconds."""
    if not said.digest:
        return f"quiet {enough:g} s"
    if said.fits():
        return f"digest {said.digest}"
    # A slow writer who pauses has not sent a wrong file. One that stays wrong is taken, to be refused with both values.
    return f"quiet {PATIENCE:g} s" if quiet >= PATIENCE else ""


def proven(known: str) -> bool:
    """Whether evidence proves the file: a guess by silence, or an event, does not."""
    return known.startswith(("marker ", "digest "))


def ready(seen: Observation, options: FolderOptions, now: float) -> bool:
    """True when the file may be taken."""
    return bool(evidence(seen, options, now))


def companion_whole(seen: Observation, kind: Kind, options: FolderOptions, now: float) -> bool:
    """Whether a companion may be read. A marker has nothing in it to wait for."""
    return kind is Kind.MARKER or seen.finished or now - seen.since >= options.quiet_seconds


def waits_for_proof(seen: Observation, options: FolderOptions, now: float, said: Said) -> bool:
    """True when a file would be taken, were no companion demanded."""
    return options.demand and not said.kinds and ready(seen, replace(options, demand=False), now)


def overdue(seen: Observation, options: FolderOptions, now: float) -> bool:
    """True when a file has waited too long for its companion, or a companion for its file."""
    return now - seen.since >= options.wait_seconds
