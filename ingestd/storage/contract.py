"""What every storage does, be it a folder or an object store."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Protocol

NAME = "store-id"
"""The file with the name that a store and its storage share, as `store-id` of a home."""

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A file that is kept."""

    key: str
    size: int
    """bytes"""
    modified: datetime
    """UTC, by the clock of the storage"""


class NewFolder(Protocol):
    """A folder of files that is being written; none of its files is ever changed later."""

    def target(self, name: str) -> Path | BytesIO:
        """Where to write a file of this name."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file in one go."""


class Storage(Protocol):
    """Files under keys, such as `deliveries/2026/11/24/…`. They are written once, durable, and never overwritten,
    but by `rewrite`.

    Everything raises Unavailable when an object store or a shared folder is away. A folder of this machine raises
    OSError as the system tells it; a file that is missing for sure is a FileNotFoundError from both. A key that leads
    elsewhere is a ValueError. Safe to use from several threads.
    """

    @property
    def shared(self) -> bool:
        """True when other homes may keep files here as well."""

    def below(self, folder: str) -> Storage:
        """The same with keys that are relative to a folder."""

    def keep(self, source: Path, key: str, *, sha256: str) -> None:
        """Keep a file of a local folder. It may be moved, or copied and left behind. It must be fsynced.

        Raises OSError with ENOSPC or EDQUOT when there is no room.
        """

    def rewrite(self, key: str, content: bytes) -> None:
        """Give a file that is there other bytes: the old ones or the new ones, also after a power cut.

        For anonymising alone: everything else may rely on files that never change.
        """

    def read(self, key: str) -> bytes:
        """All bytes of a file."""

    def pieces(self, key: str) -> Iterator[bytes]:
        """The bytes of a file in pieces. What is wrong is raised by the first one, or in the middle."""

    def has(self, key: str) -> bool:
        """True when the file is there."""

    def discard(self, key: str) -> None:
        """Remove a file, if it is there."""

    def tidy(self, folder: str) -> None:
        """Remove a folder that `new` has made, if nothing is left in it."""

    def found(self, folder: str) -> Iterator[Found]:
        """Every file below a folder, in no order."""

    def put_aside(self, key: str, target: str, unwanted: Callable[[], bool]) -> str:
        """Move a file that is still unwanted when nobody is writing it; returns where it is now, or an empty text."""

    def new(self, folder: str) -> AbstractContextManager[NewFolder]:
        """A new folder; its files are durable when the context ends. Raises Unavailable, also when it is there."""

    def claim(self, name: str) -> str:
        """Say in `store-id` whose the storage is, unless that is said; returns what it says now."""

    def name(self, seconds: float | None = None) -> str | None:
        """What `store-id` says; None when there is none. The quickest proof that the storage answers."""

    def check(self) -> None:
        """Write, read and remove a small file. Raises Misconfigured or Unavailable with what to do about it."""


def checked(key: str) -> str:
    """The key, when no part of it leads elsewhere or hides; raises ValueError."""
    if not all(_PART.fullmatch(part) for part in key.split("/")):
        raise ValueError(f"not a key of the storage: {key!r}")
    return key
