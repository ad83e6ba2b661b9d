"""Files that partners have open with us: one source must not take all file descriptors of the process."""

from __future__ import annotations

import resource
import threading
from collections import Counter
from collections.abc import Callable

from ingestd.accounts import Account
from ingestd.errors import IngestdError
from ingestd.receive.landing import Landing
from ingestd.spool import Incoming

_SHARE = 8
_LEAST = 64
"""files that a source may have open however few descriptors there are"""
_RESERVE = 20


class TooManyOpen(IngestdError):
    """A source has as many files open as it may; the text is written for it."""


class OpenFiles:
    """Counts the open files of each source over all its logins, connections and doors. Safe to use from threads."""

    def __init__(self, most: int | None = None) -> None:
        """`most` for one source; None: an eighth of the process's descriptors, and never less than 64."""
        self._most = most
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()

    def take(self, source: str) -> Callable[[], None]:
        """Count a file that is about to be opened; call what is returned, once, when it is closed."""
        most = self._most or max(_LEAST, _descriptors() // _SHARE)
        with self._lock:
            if self._open[source] >= most:
                raise TooManyOpen(f"you have {most} files open; wait until some are closed")
            self._open[source] += 1
        return lambda: self._give_back(source)

    def _give_back(self, source: str) -> None:
        with self._lock:
            self._open[source] -= 1
            if not self._open[source]:
                del self._open[source]

    def incoming(self, landing: Landing, account: Account) -> Incoming:
        """A file to write what arrives into, counted until it is closed. Raises TooManyOpen, and as `landing.open`."""
        give_back = self.take(account.source)
        try:
            incoming = landing.open(account.limit)
        except BaseException:
            give_back()
            raise
        incoming.on_close = give_back
        return incoming


def scarce(descriptor: int) -> bool:
    """True for one of the last twentieth, which is kept for the database and for files that are being taken.

    The kernel gives the lowest free number, so a new descriptor tells how many are taken.
    """
    most = _descriptors()
    return descriptor >= most - most // _RESERVE


def _descriptors() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
