"""Why was this number rejected: the logs are looked through for as long as there is time."""

from __future__ import annotations

import itertools

import pytest

from ingestd import samples
from ingestd.ingest import tracing
from ingestd.model import Delivery
from tests.ingest.conftest import Station


@pytest.fixture
def delivered(station: Station) -> list[Delivery]:
    """Two files, the newest first."""
    for name, data in (("clean.csv", samples.clean(20)), ("dirty.csv", samples.dirty())):
        station.road.travel(station.land(data, name=name))
    return station.road.ledger.latest(limit=9)


@pytest.mark.parametrize(
    ("text", "compared"),
    [
        ("+45 28 99 99 99", "28999999"),
        ("0045 (28) 999-999", "28999999"),
        ("123456", "123456"),
        ("12 34", ""),
        ("x", ""),
    ],
)
def test_numbers_are_compared_by_their_last_digits(text: str, compared: str) -> None:
    assert tracing.digits(text) == compared


def test_a_number_is_found_with_its_file_line_rule_and_value(station: Station, delivered: list[Delivery]) -> None:
    traced = tracing.trace(delivered, station.road.logs, "9012 3456")
    (one,) = traced.found
    assert (one.delivery.name, one.outcome, one.lead_id, one.phone) == (
        "dirty.csv", "rejected", None, "+45 1234 5678 9012 3456",
    )  # fmt: skip
    ((code, column, value, message),) = one.problems
    assert (code, column, value) == ("phone_too_long", "Phone", "+45 1234 5678 9012 3456")
    assert "too long" in message
    assert one.line is not None
    assert samples.dirty().splitlines()[one.line - 1].count(b"9012 3456") == 1
    assert (traced.looked_at, traced.whole, traced.back_to) == (2, True, delivered[-1].received_at)


def test_a_number_that_was_loaded_is_found_too(station: Station, delivered: list[Delivery]) -> None:
    traced = tracing.trace(delivered, station.road.logs, "+4526000000")
    assert {(each.delivery.name, each.outcome) for each in traced.found} == {
        ("clean.csv", "inserted"), ("dirty.csv", "duplicate"),
    }  # fmt: skip
    assert next(each for each in traced.found if each.outcome == "inserted").lead_id


def test_when_the_time_is_up_it_says_how_far_it_looked(station: Station, delivered: list[Delivery]) -> None:
    ticks = itertools.count(0.0, 1.5)
    traced = tracing.trace(delivered, station.road.logs, "+4526000000", clock=lambda: next(ticks))
    assert (traced.looked_at, traced.whole, traced.back_to) == (1, False, delivered[0].received_at)


def test_a_log_that_is_gone_is_passed_over(station: Station, delivered: list[Delivery]) -> None:
    for path in (station.home / "logs" / delivered[0].log_key).iterdir():
        path.unlink()
    traced = tracing.trace(delivered, station.road.logs, "+4526000000")
    assert [each.delivery.name for each in traced.found] == ["clean.csv"]
