"""Feeds from which a file should have come by now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from ingestd.store import deliveries, organisation


@dataclass(frozen=True, kw_only=True)
class Silent:
    """A feed that is silent for longer than it is expected to be."""

    source: str
    title: str
    expected: timedelta
    """within which a file comes as a rule (`expected_every_hours` of the source)"""
    last: datetime | None
    """when the last file came; None: none ever did"""

    def overdue(self, at: datetime) -> timedelta | None:
        """For how long it has been late; None when nothing ever came."""
        return None if self.last is None else at - self.last - self.expected


def silent(connection: Connection, at: datetime) -> list[Silent]:
    """Every active source that has an expected interval and has missed it; the longest silence first."""
    found = []
    for source in organisation.all_sources(connection):
        if source.expected_every_hours is None:
            continue
        expected = timedelta(hours=source.expected_every_hours)
        last = deliveries.last_received(connection, source.name)
        if last is None or at - last > expected:
            found.append(Silent(source=source.name, title=source.title, expected=expected, last=last))
    return sorted(found, key=lambda each: (each.last is not None, each.last))
