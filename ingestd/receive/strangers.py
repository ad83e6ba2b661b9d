"""Clients that have not logged in: when all places are taken, those of one address give way.

A limit for strangers would refuse a thousand partners behind one address that come at once, as they do on the hour. So
they are all let in while there is room, and nobody can hold the room without a login.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Protocol, TypeVar

from ingestd.accounts import Account

MOST_STRANGERS = 20
"""places that strangers of one address keep when somebody else wants one; of few places a tenth"""

GIVES_WAY = "all places are taken, and you did not log in yet; try again later"
"""what they are told"""


class Guest(Protocol):
    """A session, as far as its place is concerned."""

    account: Account | None
    place: str
    """its network"""
    since: float
    """seconds of the loop's clock"""


G = TypeVar("G", bound=Guest)


def who_gives_way(sessions: Iterable[G], places: int) -> G | None:
    """The oldest stranger of the address that has most of them; None when none has too many."""
    strangers = [session for session in sessions if session.account is None]
    if not strangers:
        return None
    address, count = Counter(session.place for session in strangers).most_common(1)[0]
    if count <= max(1, min(MOST_STRANGERS, places // 10)):
        return None
    return min((session for session in strangers if session.place == address), key=lambda session: session.since)
