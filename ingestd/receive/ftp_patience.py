"""How many useless commands of one FTP session are put up with, and how many of them are told one by one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

MOST_BEFORE_LOGIN = 50
"""commands; a client that protects the connection and tries three passwords needs a dozen"""
MOST_USELESS = 100
"""commands in a row that are unknown, wrong or sent without a login"""
MOST_TOLD = 100
"""refused commands of one session and minute that the audit tells one by one"""
_MINUTE = 60.0  # seconds

# Not 550 and its like: a partner may look again and again for a file that is not there yet.
_USELESS = {"500", "501", "502", "503", "504", "530"}


@dataclass
class Patience:
    """Counts the commands of one session."""

    clock: Callable[[], float] = time.monotonic
    _before_login: int = 0
    _useless: int = 0
    _told: int = 0
    _untold: int = 0
    _since: float = 0.0

    def asked(self, *, logged_in: bool) -> None:
        """Count a command."""
        self._before_login = 0 if logged_in else self._before_login + 1

    def answered(self, code: str) -> None:
        """Count an answer."""
        self._useless = self._useless + 1 if code in _USELESS else 0

    @property
    def lost(self) -> str:
        """Why the session is to be ended; empty while it is not."""
        if self._before_login >= MOST_BEFORE_LOGIN:
            return f"You sent {MOST_BEFORE_LOGIN} commands without a login"
        if self._useless >= MOST_USELESS:
            return f"You sent {MOST_USELESS} wrong commands in a row"
        return ""

    def tells(self) -> bool:
        """Count a refused command; True when it is to be told by itself."""
        now = self.clock()
        if now - self._since > _MINUTE:
            self._since, self._told = now, 0
        self._told += 1
        self._untold += self._told > MOST_TOLD
        return self._told <= MOST_TOLD

    def forget_untold(self) -> int:
        """How many refused commands were not told by themselves since this was asked last."""
        untold, self._untold = self._untold, 0
        return untold
