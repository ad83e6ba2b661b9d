"""The order of dialling (LEADS.md): one text a lead, `dial_key`, the smaller the sooner.

Only leads that may be dialled now have one, and an import gives none: a load would pay for it with its whole index.
Whoever changes a lead writes its key; what imports bring is given keys a few thousand at a time (`dialling`).
"""

from __future__ import annotations

from datetime import datetime

_PRIORITIES, _SECONDS, _NUMBERS = 9_999_999, 99_999_999_999, 9_999_999_999
"""The largest numbers of seven, eleven and ten digits: what has none comes last."""


def key(place: int, priority: int | None, scheduled_at: datetime | None, pool_id: int, rank: int) -> str:
    """By the status's place, then the highest priority, then the earliest time, then pool and file order."""
    wanted = _PRIORITIES if priority is None else _PRIORITIES - 1 - min(max(priority, 0), _PRIORITIES - 1)
    second = _SECONDS if scheduled_at is None else max(0, int(scheduled_at.timestamp()))
    return f"{place:02d}{wanted:07d}{second:011d}{pool_id % _NUMBERS:010d}{rank % _NUMBERS:010d}"
