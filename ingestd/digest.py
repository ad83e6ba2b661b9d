"""The SHA-256 of a file while it comes in, large pieces of it in another thread.

A door's loop goes on receiving while the last piece is being hashed: for a file of 35 MB both take about as long.
hashlib lets other threads run meanwhile.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from concurrent.futures import Executor

LARGE = 128 * 1024
"""bytes from which on a piece is worth handing to another thread"""
MOST_WAITING = 8 * 1024 * 1024
"""bytes of one file that may wait to be hashed; then its sender is waited for"""


class Digest:
    """One digest. `update` is for one thread at a time."""

    def __init__(self, threads: Executor) -> None:
        self._threads = threads
        self._hash = hashlib.sha256()
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._busy = False
        self._changed = threading.Condition()

    def update(self, piece: bytes) -> None:
        """Take the next piece, which must not change any more."""
        with self._changed:
            if self._busy or len(piece) >= LARGE:
                self._changed.wait_for(lambda: self._waiting <= MOST_WAITING)
                self._pieces.append(piece)
                self._waiting += len(piece)
                if not self._busy:
                    self._busy = True
                    self._threads.submit(self._work)
                return
        self._hash.update(piece)

    def _work(self) -> None:
        """Hash what waits, one piece after the other; `_busy` keeps everybody else off."""
        while True:
            with self._changed:
                if not self._pieces:
                    self._busy = False
                    self._changed.notify_all()
                    return
                piece = self._pieces.popleft()
            self._hash.update(piece)
            with self._changed:
                self._waiting -= len(piece)
                self._changed.notify_all()

    def hexdigest(self) -> str:
        """The digest of everything so far, in hexadecimal."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)
            return self._hash.hexdigest()
