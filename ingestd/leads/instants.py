"""Moments at the ends of the calendar: what the store, and people in every time zone, can do with them."""

from __future__ import annotations

from datetime import MINYEAR, UTC, date, datetime, time, timedelta

FIRST, LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, 23, 59, 59, tzinfo=UTC)
"""Between them a moment has a date in every time zone."""


def everywhere(moment: datetime) -> bool:
    """True for a moment that can be told in every time zone."""
    return FIRST <= moment <= LAST


def begin(value: date) -> datetime:
    """The first moment of a day by UTC; of a moment, itself."""
    return in_utc(value) if isinstance(value, datetime) else datetime.combine(value, time(), UTC)


def end(value: date) -> datetime | None:
    """The first moment after a day by UTC, None after the last day of all; of a moment, itself."""
    if isinstance(value, datetime):
        return in_utc(value)
    return None if value == date.max else datetime.combine(value, time(), UTC) + timedelta(days=1)


def in_utc(moment: datetime) -> datetime:
    """The same moment by UTC; the first or the last one of all for those that UTC has no date for."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC) if moment.year == MINYEAR else datetime.max.replace(tzinfo=UTC)
