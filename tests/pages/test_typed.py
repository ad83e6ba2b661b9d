"""Moments that people type, by the clock of a campaign."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ingestd.errors import Invalid
from ingestd.web.pages.typed import moment

HERE = "Europe/Copenhagen"


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2027-03-28T01:59", datetime(2027, 3, 28, 0, 59, tzinfo=UTC)),
        ("2027-03-28T03:00", datetime(2027, 3, 28, 1, 0, tzinfo=UTC)),
        ("2027-10-31T02:30", datetime(2027, 10, 31, 0, 30, tzinfo=UTC)),
        ("2027-03-28T02:30+01:00", datetime(2027, 3, 28, 1, 30, tzinfo=UTC)),
    ],
)
def test_a_moment_is_meant_by_the_clock_of_the_campaign(text: str, utc: datetime) -> None:
    found = moment(text, HERE, "when")
    assert found is not None
    assert found.astimezone(UTC) == utc


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2027-03-28T02:30", "the clocks of Europe/Copenhagen skip 02:30 on 2027-03-28"),
        ("soon", "'soon' is no moment"),
        ("0001-01-01T00:00", "is no moment"),
    ],
)
def test_what_no_clock_shows_is_none(text: str, told: str) -> None:
    with pytest.raises(Invalid, match=told) as refused:
        moment(text, HERE, "when")
    assert refused.value.facts["field"] == "when"


def test_nothing_is_no_moment() -> None:
    assert moment("", HERE, "when") is None
