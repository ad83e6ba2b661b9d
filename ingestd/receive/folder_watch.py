"""The watch over the drop folder: inotify, set up anew when a folder was replaced or its file system came back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

Identities = dict[Path, tuple[int, int] | None]

# It calls it an error that a watch is stopped while it reads, which is how one is set up anew.
logging.getLogger("watchdog.observers.inotify").setLevel(logging.CRITICAL)


_OVERFLOWS = logging.getLogger("watchdog.observers.inotify_c")
"""The only place where watchdog says that events were lost."""


class _Overheard(logging.Handler):
    """What watchdog says to its own log."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Pass it on."""
        self._tell(record.getMessage())


class Watch:
    """Watches the folders that it was set up for: inotify keeps to a folder's inode, not to its name."""

    def __init__(
        self,
        root: Path,
        handler: FileSystemEventHandler,
        *,
        refused: Callable[[str], None],
        lost: Callable[[str], None],
    ) -> None:
        """`refused` is told why the system does not watch, `lost` when it had more events than it keeps.

        Either way scans find everything, only later.
        """
        self._root = root
        self._handler = handler
        self._refused = refused
        self._overheard = _Overheard(lost)
        self._observer: BaseObserver | None = None
        self._watched: Identities = {}

    def look(self, folders: Iterable[Path]) -> bool:
        """Set the watch up when it is not, or when the root or one of its folders is another; True when that was done.

        A folder that is asked for the first time needs nothing: everything below the root is watched, and what is made
        there. Events of what happened before are missing: a scan has to follow.
        """
        before, self._watched = self._watched, _identities((self._root, *folders))
        if self._root in before and all(before.get(path, now) == now for path, now in self._watched.items()):
            return False
        self._stop()
        return self._watched[self._root] is not None and self._started()

    def stop(self) -> None:
        """Watch no more."""
        self._watched = {}
        self._stop()

    def _stop(self) -> None:
        observer, self._observer = self._observer, None
        _OVERFLOWS.removeHandler(self._overheard)
        if observer is not None:
            observer.stop()
            observer.join()

    def _started(self) -> bool:
        observer = Observer()
        try:
            observer.schedule(self._handler, str(self._root), recursive=True)
            observer.start()
        except OSError as problem:  # the limit of inotify watches, or the folder has just gone
            self._refused(problem.strerror or str(problem))
            return False
        self._observer = observer
        _OVERFLOWS.addHandler(self._overheard)
        return True


def _identities(folders: Iterable[Path]) -> Identities:
    """Device and inode of each folder, None when it is not there. An operator may have linked them."""
    found: Identities = {}
    for folder in folders:
        try:
            status = folder.stat()
        except OSError:
            found[folder] = None
        else:
            found[folder] = (status.st_dev, status.st_ino)
    return found
