"""Days of UTC that somebody writes as a text, as the browser's own field sends it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from ingestd.errors import Invalid


def begin(text: str, field: str) -> datetime | None:
    """The beginning of a day; None for nothing. Raises Invalid for what is no day."""
    return _moment(text, field, 0)


def end(text: str, field: str) -> datetime | None:
    """The beginning of the day after; None for nothing. Raises Invalid for what is no day, or the last there is."""
    return _moment(text, field, 1)


def _moment(text: str, field: str, later: int) -> datetime | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text) + timedelta(days=later)
    except (ValueError, OverflowError):
        raise Invalid("value_unusable", f"{text!r} is no day; write it as 2026-11-30", field=field) from None
    return datetime.combine(day, time(), UTC)
