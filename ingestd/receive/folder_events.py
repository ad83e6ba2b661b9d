"""What the operating system tells about a drop folder. Lost events delay a file, they never lose one."""

from __future__ import annotations

import os
import threading
from pathlib import PurePath

from watchdog.events import FileSystemEvent, FileSystemEventHandler

from ingestd.receive.folder_rules import CLOSED, MOVED


class Doorbell(FileSystemEventHandler):
    """Collects signs of finished files, and wakes the scan."""

    def __init__(self, *, apart: set[str]) -> None:
        """`apart`: folders whose changes are our own."""
        self._apart = apart
        self._signs: dict[str, str] = {}
        self._lock = threading.Lock()
        self._rung = threading.Event()

    def ring(self) -> None:
        """Have the next scan begin at once."""
        self._rung.set()

    def wait(self, seconds: float) -> bool:
        """Wait until it rings, or for so long; True when it rang."""
        rung = self._rung.wait(seconds)
        self._rung.clear()
        return rung

    def signs(self) -> dict[str, str]:
        """The signs since the last time, by path."""
        with self._lock:
            signs, self._signs = self._signs, {}
        return signs

    def on_closed(self, event: FileSystemEvent) -> None:
        """A writer has closed the file."""
        self._sign(os.fsdecode(event.src_path), CLOSED)

    def on_moved(self, event: FileSystemEvent) -> None:
        """A file was renamed within the folder: that is how senders say "done"."""
        self._unsign(os.fsdecode(event.src_path))
        if not event.is_directory:
            self._sign(os.fsdecode(event.dest_path), MOVED)

    def on_opened(self, event: FileSystemEvent) -> None:
        """Somebody goes on with the file, perhaps to append: what was said before counts no more."""
        self._unsign(os.fsdecode(event.src_path))

    def on_modified(self, event: FileSystemEvent) -> None:
        """The file was written to. No ring: a slow writer would have the folder scanned all the time."""
        self._unsign(os.fsdecode(event.src_path))

    def _sign(self, path: str, sign: str) -> None:
        if self._apart.isdisjoint(PurePath(path).parts):
            with self._lock:
                self._signs[path] = sign
            self.ring()

    def _unsign(self, path: str) -> None:
        with self._lock:
            self._signs.pop(path, None)
