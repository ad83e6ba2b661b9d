"""What the log and the original tell of a delivery."""

from __future__ import annotations

import pytest

from ingestd import samples
from ingestd.ingest import insight, reading
from ingestd.ingest.poollog import PoolLog
from ingestd.model import Delivery, DialectHints
from tests.ingest.conftest import Station


def travelled(station: Station, data: bytes, name: str = "leads.csv") -> tuple[Delivery, PoolLog]:
    number = station.land(data, name=name)
    station.road.travel(number)
    delivery = station.road.ledger.get(number)
    assert delivery is not None
    return delivery, PoolLog(storage=station.road.logs, key=delivery.log_key)


def test_groups_have_every_problem_once_with_up_to_three_examples(station: Station) -> None:
    _, log = travelled(station, samples.dirty())
    found = insight.groups(log)
    assert sum(each.count for each in found) == log.problems().height
    severities = [each.severity for each in found]
    assert severities == sorted(severities)
    email = next(each for each in found if each.code == "email_invalid")
    assert (email.column, email.count, email.examples) == ("E-mail", 2, ("no at sign", "two@at@signs"))


def test_records_of_a_group_come_in_pages_with_the_bytes_that_came(station: Station) -> None:
    data = b"Phone,City\n" + b"".join(b"x%d,K\xf8ge\n" % number for number in range(5)) + b"+4526000011,ok\n"
    _, log = travelled(station, data)
    sheet = insight.read_again(data, "leads.csv", None)
    assert sheet is not None
    first = insight.records(log, code="phone_unparseable", column="Phone", after=0, limit=3)
    rest = insight.records(log, code="phone_unparseable", column=None, after=first[-1].row, limit=3)
    told = insight.with_originals(sheet, first + rest)
    assert [each.original for each in told] == [f"x{number},Køge" for number in range(5)]
    assert [each.line_start for each in told] == [2, 3, 4, 5, 6]
    assert {each.outcome for each in told} == {"rejected"}
    assert insight.records(log, code="nothing", column=None, after=0, limit=3) == []


def test_a_file_that_reads_otherwise_now_gives_no_wrong_lines(station: Station) -> None:
    data = b"Phone,City\nx1,a\n"
    _, log = travelled(station, data)
    found = insight.records(log, code="phone_unparseable", column=None, after=0, limit=3)
    longer = reading.read(b"note\n\n" + data, name="x", hints=DialectHints())
    assert [each.original for each in insight.with_originals(longer, found)] == [None]
    assert insight.read_again(b"\x89PNG\r\n\x1a\n", "x", None) is None


def test_columns_say_how_full_and_various_they_are(station: Station) -> None:
    data = b"Phone,City,Mine\n+4526000011,a,1\n+4526000012, ,1\nx,b,2\n"
    _, log = travelled(station, data)
    sheet = insight.read_again(data, "leads.csv", None)
    assert sheet is not None
    found = insight.columns(sheet, log)
    assert found.records == 3
    told = [(each.header, each.field, each.filled, each.distinct, each.invalid) for each in found.columns]
    assert told == [("Phone", "phone", 3, 3, 1), ("City", "city", 2, 2, 0), ("Mine", "", 3, 2, 0)]


@pytest.mark.parametrize("data", [b"", b"Name,City\nLund,Odense\n"])
def test_a_refused_file_has_no_groups(station: Station, data: bytes) -> None:
    _, log = travelled(station, data or b"\n")
    assert insight.groups(log) == []
