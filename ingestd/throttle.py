"""Who may come in and try: one throttle for every door, by address and by login.

It lives in the process that has the doors. A restart forgets it, which costs an attacker's ban and nothing else.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

_LONGEST_MEMORY = 100_000
"""keys remembered at once; an attacker with many addresses must not fill the memory"""


@dataclass(frozen=True, kw_only=True)
class ThrottleRules:
    """What one address and one login may do. A login is banned for the address that tried it, see `Throttle`."""

    max_per_address: int = 0
    """sessions at once from one address; 0: no limit"""
    delay_seconds: float = 1.0
    """pause before the first wrong password is answered; doubles with each further one"""
    longest_delay_seconds: float = 15.0
    failures: int = 10
    """wrong passwords after which the address, or the login, is banned"""
    ban_seconds: float = 900.0
    """seconds a ban lasts; failures are forgotten after as long without another"""


@dataclass(kw_only=True)
class _Failures:
    count: int = 0
    last: float = 0.0
    delay: float = 0.0
    """seconds that the last answer was held back"""


class Throttle:
    """Counts sessions and wrong passwords. Safe to use from several threads.

    Failures count for the address and for the login. A login that is banned is banned from every address but those it
    came in from before: an attacker who knows a partner's login must not be able to shut the partner out.
    """

    def __init__(self, rules: ThrottleRules | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules = rules or ThrottleRules()
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: Counter[str] = Counter()
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()
        self._trusted: OrderedDict[tuple[str, str], None] = OrderedDict()

    def enter(self, address: str) -> str:
        """Count a session in; the reason when it may not come in, then it is not counted. Pair with `leave`."""
        place = network(address)
        with self._lock:
            if seconds := self._banned(("address", place)):
                return f"too many wrong passwords from your address; try again in {_told(seconds)}"
            if 0 < self._rules.max_per_address <= self._sessions[place]:
                return f"too many sessions from your address; at most {self._rules.max_per_address} at once"
            self._sessions[place] += 1
            return ""

    def leave(self, address: str) -> None:
        """Count a session out that was let in."""
        place = network(address)
        with self._lock:
            self._sessions[place] -= 1
            if self._sessions[place] <= 0:
                del self._sessions[place]

    def refusal(self, address: str, login: str) -> str:
        """Why no password is looked at now; empty when one is."""
        seconds = self.banned(address, login)
        return f"too many wrong passwords; try again in {_told(seconds)}" if seconds else ""

    def banned(self, address: str, login: str | None = None) -> float:
        """Seconds for which no password is looked at, because there were too many wrong ones; 0 when one is.

        Without a login, as for `failed`, only those of the address count.
        """
        place = network(address)
        with self._lock:
            seconds = self._banned(("address", place))
            if not seconds and login is not None and (place, login) not in self._trusted:
                seconds = self._banned(("login", login))
        return seconds

    def too_soon(self, address: str, login: str) -> float:
        """Seconds for which no password from an address is looked at: its last wrong one has not been answered yet.

        So that guessing in many sessions at once is no quicker than in one. Where the login has come in from before it
        does not wait: neighbours must not hold it up.
        """
        place = network(address)
        with self._lock:
            known = self._failures.get(("address", place))
            if known is None or (place, login) in self._trusted:
                return 0.0
            return max(0.0, known.last + known.delay - self._clock())

    def failed(self, address: str, login: str | None = None) -> float:
        """Note a wrong password; returns the seconds to wait before it is answered.

        Without a login for a secret that nobody can guess from however many addresses, such as that of an API key: to
        ban it would only shut out whose it is.
        """
        counted = [("address", network(address)), *([] if login is None else [("login", login)])]
        with self._lock:
            noted = [self._note(key) for key in counted]
            doubled: float = self._rules.delay_seconds * 2 ** min(max(each.count for each in noted) - 1, 30)
            delay = min(self._rules.longest_delay_seconds, doubled)
            for each in noted:
                each.delay = delay
        return delay

    def succeeded(self, address: str, login: str) -> None:
        """Forget the failures of a login that came in, and remember where it came in from.

        Those of its address stay until their time: one good login must not buy an attacker further guesses.
        """
        place = network(address)
        with self._lock:
            self._failures.pop(("login", login), None)
            _remember(self._trusted, (place, login), None)

    def bans(self) -> int:
        """How many addresses and logins are banned now."""
        with self._lock:
            return sum(self._banned(key) > 0 for key in list(self._failures))

    def _note(self, key: tuple[str, str]) -> _Failures:
        now = self._clock()
        known = self._failures.get(key)
        fresh = known is None or now - known.last > self._rules.ban_seconds
        failures = _Failures(count=1 if fresh or known is None else known.count + 1, last=now)
        _remember(self._failures, key, failures)
        return failures

    def _banned(self, key: tuple[str, str]) -> float:
        """Seconds that the ban lasts; 0 when there is none."""
        known = self._failures.get(key)
        if known is None or known.count < self._rules.failures:
            return 0.0
        return max(0.0, known.last + self._rules.ban_seconds - self._clock())


def network(address: str) -> str:
    """What counts as one address: IPv4 as it is, also mapped into IPv6; of IPv6 the /64 of one customer."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv4Address):
        return str(known)
    if known.ipv4_mapped:
        return str(known.ipv4_mapped)
    return str(ipaddress.IPv6Network((known, 64), strict=False))


def _remember(memory: OrderedDict[tuple[str, str], T], key: tuple[str, str], value: T) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > _LONGEST_MEMORY:
        memory.popitem(last=False)


def _told(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
