"""Casting: every accepted form is read back exactly, everything else is null, and nothing raises."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.ingest import casting
from ingestd.schemas import header_key

COPENHAGEN = "Europe/Copenhagen"
ORDERS = st.sampled_from(["dmy", "mdy"])
ZONES = st.sampled_from([COPENHAGEN, "UTC", "America/New_York", "Pacific/Auckland", "Asia/Kolkata"])
ISO_DATES = ["%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%Y-%m-%d 00:00", "%Y-%m-%dT00:00:00"]
FORMS = {
    "dmy": [*ISO_DATES, "%d.%m.%Y", "%d-%m-%Y", "%d/%m/%Y"],
    "mdy": [*ISO_DATES, "%m/%d/%Y", "%m-%d-%Y", "%d.%m.%Y"],
}


def column(*cells: str | None) -> pl.Series:
    return pl.Series("cell", cells, dtype=pl.String)


def read_date(text: str, order: str = "dmy") -> date | None:
    value: date | None = casting.dates(column(text), order).item()
    return value


def read_instant(text: str, order: str = "dmy", zone: str = COPENHAGEN) -> datetime | None:
    value: datetime | None = casting.instants(column(text), order, zone).item()
    return value


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def written(moment: date, form: str) -> str:
    # strftime leaves out the leading zeros of early years on some systems
    return moment.strftime(form.replace("%Y", f"{moment.year:04}"))


@pytest.mark.parametrize(
    ("text", "order", "value"),
    [
        ("2026-01-31", "dmy", date(2026, 1, 31)),
        ("2026-1-5", "mdy", date(2026, 1, 5)),
        ("2026/01/31", "mdy", date(2026, 1, 31)),
        ("20260131", "dmy", date(2026, 1, 31)),
        ("2026-01-31 00:00", "dmy", date(2026, 1, 31)),
        ("2026-01-31T00:00:00", "dmy", date(2026, 1, 31)),
        ("31.01.2026", "dmy", date(2026, 1, 31)),
        ("31.01.2026", "mdy", date(2026, 1, 31)),  # dots are never American
        ("3/4/2026", "dmy", date(2026, 4, 3)),
        ("3/4/2026", "mdy", date(2026, 3, 4)),
        ("03-04-2026", "dmy", date(2026, 4, 3)),
        ("03-04-2026", "mdy", date(2026, 3, 4)),
        ("29-02-2024", "dmy", date(2024, 2, 29)),
        ("0001-01-01", "dmy", date(1, 1, 1)),
        ("9999-12-31", "dmy", date(9999, 12, 31)),
    ],
)
def test_a_date_is_read_in_the_order_of_its_source(text: str, order: str, value: date) -> None:
    assert read_date(text, order) == value


@pytest.mark.parametrize("order", ["dmy", "mdy"])
@pytest.mark.parametrize(
    "text",
    ["12-11-10", "1/2/26", "31.01.26", "260131", "10-11-12", "26-01-31"],  # two-digit years
)
def test_a_year_of_two_digits_is_never_read(text: str, order: str) -> None:
    assert read_date(text, order) is None


@pytest.mark.parametrize(
    "text",
    [
        "31-02-1980",
        "29-02-2026",
        "2026-13-01",
        "2026-00-10",
        "2026-01-32",
        "32/01/2026",
        "20261301",
        "0000-01-01",  # Python has no year 0
        "00000101",
        "2026-01-31 10:00",  # a moment is no date
        "31.1",
        "Jan 31 2026",
        "2026-01-31x",
        " 2026-01-31",
        "2026-01-31\n",
        "٢٠٢٦-٠١-٣١",  # noqa: RUF001 - digits, but not ours
        "12026-01-01",
        "-2026-01-01",
        "2026-01/31",
        "45000",  # a spreadsheet's serial number
        "",
    ],
)
def test_what_is_no_day_is_not_read(text: str) -> None:
    assert read_date(text) is None


def test_the_american_order_does_not_fall_back_to_the_other() -> None:
    assert read_date("31/01/2026", "mdy") is None
    assert read_date("01/31/2026", "dmy") is None


@given(st.dates(), ORDERS, st.data())
def test_a_date_in_any_accepted_form_is_read_back_exactly(day: date, order: str, data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(FORMS[order]))
    assert read_date(written(day, form), order) == day


@given(st.lists(st.tuples(st.dates(), st.integers(0, 7)), max_size=20), ORDERS)
def test_a_column_may_mix_the_forms(cells: list[tuple[date, int]], order: str) -> None:
    texts = [written(day, FORMS[order][form]) for day, form in cells]
    assert casting.dates(column(*texts, "no date", None), order).to_list() == [*(day for day, _ in cells), None, None]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-01-31 14:30", "2026-01-31 13:30"),
        ("2026-01-31T14:30:05", "2026-01-31 13:30:05"),
        ("2026-07-31 14:30:05.25", "2026-07-31 12:30:05.250000"),
        ("2026-07-31 14:30:05.1234560", "2026-07-31 12:30:05.123456"),
        ("31.12.2026 7:05", "2026-12-31 06:05"),
        ("31/12/2026 07:05", "2026-12-31 06:05"),
        ("2026/12/31 07:05", "2026-12-31 06:05"),
        ("2026-01-31T14:30Z", "2026-01-31 14:30"),
        ("2026-01-31T14:30:00Z", "2026-01-31 14:30"),
        ("2026-01-31 14:30+01:00", "2026-01-31 13:30"),
        ("2026-01-31 14:30:00 +0530", "2026-01-31 09:00"),
        ("2026-01-31T14:30:00.5-05:00", "2026-01-31 19:30:00.500000"),
        ("2026-12-31T23:30:00-01:00", "2027-01-01 00:30"),
        ("2026-10-25 02:30", "2026-10-25 00:30"),  # shown twice: the earlier one
        ("2026-10-25 02:30+01:00", "2026-10-25 01:30"),  # the later one, said so
        ("2026-03-29 03:00", "2026-03-29 01:00"),  # the first moment after the gap
    ],
)
def test_a_moment_is_read_on_the_wall_clock_or_with_its_offset(text: str, value: str) -> None:
    assert read_instant(text) == utc(value)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-29 02:30",  # the clock skips it
        "2026-01-31",
        "14:30",
        "2026-01-31 24:00",
        "2026-01-31 14:60",
        "2026-01-31 14:30:60",  # never 14:31
        "2026-01-31 14:30:60Z",
        "2026-01-31 14:30:05.1234567",  # would lose its last digit
        "2026-01-31T14:30:05.1234567Z",
        "2026-02-30 10:00",
        "2026-01-31T14:30:00+25:00",
        "2026-01-31T14:30:00+99:99",
        "2026-01-31 14:30 CET",
        "31.01.26 14:30",
        "0000-01-01 10:00",
        "0001-01-01 00:00:00+14:00",
        "9999-12-31 23:59:59-05:00",
        "",
    ],
)
def test_what_is_no_moment_is_not_read(text: str) -> None:
    assert read_instant(text) is None


@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Auckland"])
@pytest.mark.parametrize("text", ["0001-01-01 00:00", "9999-12-31 23:59", "0000-06-01 00:00"])
def test_the_ends_of_time_do_not_raise(text: str, zone: str) -> None:
    assert read_instant(text, zone=zone) is None


@given(
    st.datetimes(min_value=datetime(2, 1, 2), max_value=datetime(9998, 12, 30)),  # noqa: DTZ001 - offset put below
    st.integers(-14 * 60, 14 * 60),
    st.sampled_from(["T", " "]),
)
def test_a_moment_with_an_offset_is_read_back_exactly(naive: datetime, minutes: int, between: str) -> None:
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert read_instant(moment.isoformat(sep=between)) == moment


# From 1980 on: databases of time zones differ about war-time clocks, and calls are scheduled in our time.
@given(st.datetimes(min_value=datetime(1980, 1, 1), max_value=datetime(2100, 1, 1)), ZONES, ORDERS)  # noqa: DTZ001
def test_a_moment_on_the_wall_clock_is_what_the_clock_showed_or_nothing(naive: datetime, zone: str, order: str) -> None:
    moment = read_instant(naive.isoformat(sep=" "), order, zone)
    if moment is None:  # only what the clock skips
        there_and_back = naive.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).astimezone(ZoneInfo(zone))
        assert there_and_back.replace(tzinfo=None) != naive
    else:
        assert moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == naive


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("+5", 5),
        ("-3", -3),
        ("-0", 0),
        ("007", 7),
        ("7.0", 7),
        ("7.00", 7),
        ("7.0000", 7),
        ("7.000000", 7),
        ("7.000", None),  # a thousand times as much where the point separates thousands
        ("12.000", None),
        ("1.000.000", None),
        ("9" * 18, 10**18 - 1),
        ("9" * 19, None),
        ("1.5", None),
        ("1.", None),
        ("1,000", None),
        ("1.000,0", None),
        ("1 000", None),
        ("1e3", None),
        ("0x10", None),
        ("१२", None),
        ("--1", None),
        ("+", None),
        ("", None),
        ("high", None),
        ("12\n", None),
    ],
)
def test_a_whole_number_has_ascii_digits_and_no_separators(text: str, value: int | None) -> None:
    assert casting.integers(column(text)).item() == value


@given(st.integers(-(10**18) + 1, 10**18 - 1))
def test_a_whole_number_is_read_back_exactly(number: int) -> None:
    assert casting.integers(column(str(number))).item() == number


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("DK", "DK"),
        ("dk", "DK"),
        (" d.k. ", "DK"),
        ("DANMARK", "DK"),
        ("Faeroe", None),
        ("Færøerne", "FO"),
        ("Österreich", "AT"),
        ("oesterreich", None),
        ("---", None),
    ],
)
def test_a_country_is_known_by_code_or_name(text: str, code: str | None) -> None:
    known = {"dk": "DK", "danmark": "DK", "færøerne": "FO", "österreich": "AT"}
    keys = {header_key(name): value for name, value in known.items()}
    assert casting.countries(column(text, None), keys).to_list() == [code, None]


def test_columns_without_a_value_stay_empty() -> None:
    nothing = column(None, None)
    assert casting.integers(nothing).to_list() == [None, None]
    assert casting.dates(nothing, "dmy").dtype == pl.Date
    assert casting.instants(nothing, "mdy", "UTC").dtype == pl.Datetime("us", "UTC")
    assert casting.countries(nothing, {}).to_list() == [None, None]
    assert [len(casting.dates(column(), "dmy")), len(casting.instants(column(), "dmy", "UTC"))] == [0, 0]


NEARLY = st.text(st.sampled_from("0123456789-/.: TZ+x"), max_size=26)


@given(st.lists(st.one_of(st.none(), st.text(), NEARLY), max_size=8), ORDERS, ZONES)
def test_no_text_raises_and_no_text_is_guessed(cells: list[str | None], order: str, zone: str) -> None:
    texts = column(*cells)
    days = casting.dates(texts, order).to_list()
    moments = casting.instants(texts, order, zone).to_list()
    numbers = casting.integers(texts).to_list()
    countries = casting.countries(texts, {"dk": "DK"}).to_list()
    for text, *values in zip(cells, days, moments, numbers, countries, strict=True):
        assert text or values == [None] * 4
