"""The watch over the drop folder: inotify, set up anew when a folder was replaced or its file system came back."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

Identities = dict[Path, tuple[int, int]]

# It calls it an error that a watch is stopped while it reads, which is how one is set up anew.
logging.getLogger("watchdog.observers.inotify").setLevel(logging.CRITICAL)


class Watch:
    """Watches the folders that it was set up for: inotify keeps to a folder's inode, not to its name."""

    def __init__(self, root: Path, handler: FileSystemEventHandler, tell: Callable[[str], None]) -> None:
        """`tell` is given the reason when the system refuses; then scans find everything, only later."""
        self._root = root
        self._handler = handler
        self._tell = tell
        self._observer: BaseObserver | None = None
        self._watched: Identities = {}

    def look(self, folders: Iterable[Path]) -> bool:
        """Set the watch up when it is not, or when the root or one of its folders is another; True when that was done.

        Events of what happened before are missing: a scan has to follow.
        """
        present = _identities((self._root, *folders))
        if present == self._watched:
            return False
        self.stop()
        self._watched = present
        return self._root in present and self._started()

    def stop(self) -> None:
        """Watch no more."""
        observer, self._observer, self._watched = self._observer, None, {}
        if observer is not None:
            observer.stop()
            observer.join()

    def _started(self) -> bool:
        observer = Observer()
        try:
            observer.schedule(self._handler, str(self._root), recursive=True)
            observer.start()
        except OSError as problem:  # the limit of inotify watches, or the folder has just gone
            self._tell(problem.strerror or str(problem))
            return False
        self._observer = observer
        return True


def _identities(folders: Iterable[Path]) -> Identities:
    """Device and inode of the folders that are there. An operator may have linked them."""
    found: Identities = {}
    for folder in folders:
        try:
            status = os.stat(folder)  # noqa: PTH116 - as everywhere where the status is what is wanted
        except OSError:
            continue
        found[folder] = (status.st_dev, status.st_ino)
    return found
