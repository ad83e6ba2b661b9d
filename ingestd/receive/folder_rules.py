"""When a file in a drop folder is whole: a pure rule over what was seen of it (RECEIVING.md, Drop folder)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ingestd.receive import names

CLOSED = "closed by its writer"
MOVED = "moved into place"

COMPANIONS = (".done", ".ok", ".sha256", ".md5")
"""Files that speak about another file. They are never deliveries themselves."""


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """What one source's drop folder does."""

    limit: int
    """bytes a file may have"""
    quiet_seconds: float = 2.0
    """seconds without a change after which a file counts as whole"""
    markers: tuple[str, ...] = ()
    """When given, for example (".done",), a file is whole when `<name>.done` is there, and only then."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was seen of one file."""

    mark: tuple[int, int, int, int]
    """device, inode, size and time of change, as `spool.fingerprint` tells them"""
    since: float
    """seconds of the watcher's clock at which this mark was seen first"""
    sign: str = ""
    """CLOSED or MOVED when an event said so, else empty"""
    marker: str = ""
    """the marker that lies beside the file"""

    @property
    def size(self) -> int:
        """bytes"""
        return self.mark[2]


def ignored(name: str) -> bool:
    """True for files that are not finished, or not data."""
    return names.is_partial(name) or name.casefold().endswith(COMPANIONS)


def observe(
    before: Observation | None, mark: tuple[int, int, int, int], now: float, *, sign: str = "", marker: str = ""
) -> Observation:
    """What is known after another look. A file that changed starts anew."""
    if before is None or before.mark != mark:
        return Observation(mark=mark, since=now, sign=sign, marker=marker)
    return replace(before, sign=sign or before.sign, marker=marker)


def evidence(seen: Observation, options: FolderOptions, now: float) -> str:
    """By what the file is known to be whole; empty while it is not."""
    if options.markers:
        return f"marker {seen.marker}" if seen.marker else ""
    # An empty file that was closed is often the first step of a writer who opens it again (touch, some FTP servers).
    if seen.sign == MOVED or (seen.sign == CLOSED and seen.size):
        return seen.sign
    # Since it was seen first, not by its own time of change: copies keep old times while they are being written.
    if now - seen.since >= options.quiet_seconds:
        return f"quiet {options.quiet_seconds:g} s"
    return ""


def ready(seen: Observation, options: FolderOptions, now: float) -> bool:
    """True when the file may be taken."""
    return bool(evidence(seen, options, now))
