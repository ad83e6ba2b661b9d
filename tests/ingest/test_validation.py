"""Validation: types and rules of `schemas/`; every problem of a record is found, with its value, column and row."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestd import schemas
from ingestd.ingest import validation
from ingestd.ingest.validation import Checked, Rules
from ingestd.schemas import LeadField, Schema
from tests.databases import ROOT

SCHEMA = schemas.read(ROOT / "schemas", "energy")
GOOD = {"phone": "26000001"}


def rules(*, schema: Schema = SCHEMA, **changes: Any) -> Rules:
    facts = {"region": "DK", "timezone": "Europe/Copenhagen", "dates": "dmy", "today": date(2026, 11, 24)}
    return Rules(schema=schema, **{**facts, **changes})


def checked(*records: Mapping[str, str | None], **changes: Any) -> Checked:
    """Records as mapped: every field that one of them names; headers are the names in capitals."""
    fields = list(dict.fromkeys(name for record in records for name in record))
    frame = pl.DataFrame(
        [[record.get(name) for name in fields] for record in records],
        schema=dict.fromkeys(fields, pl.String),
        orient="row",
    ).insert_column(0, pl.Series("row", range(1, len(records) + 1), dtype=pl.UInt32))
    result = validation.check(frame, {name: name.upper() for name in fields}, rules(**changes))
    assert result.frame.columns == ["row", *fields, "invalid_phone"]
    assert result.frame["row"].equals(frame["row"])
    return result


def told(result: Checked) -> list[tuple[int, str, str]]:
    return result.problems.select("row", "field", "code").rows()


def with_field(**facts: Any) -> Schema:
    """The schema with one more field `extra_field`."""
    field = LeadField(name="extra_field", title="Extra", **facts)
    return Schema(fields=(*SCHEMA.fields, field), countries=SCHEMA.countries, version="")


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("phone", "26 00 00 01", "+4526000001"),
        ("alternative_phone", "0045 26000001", "+4526000001"),
        ("email", "søren@østergård.example", "søren@østergård.example"),
        ("email", "a.b+c@mail-x.example.com", "a.b+c@mail-x.example.com"),
        ("date_of_birth", "3/4/1980", date(1980, 4, 3)),
        ("date_of_birth", "24-11-2026", date(2026, 11, 24)),  # born today
        ("date_of_birth", "1900-01-01", date(1900, 1, 1)),
        ("scheduled_at", "2026-12-01 10:30", datetime(2026, 12, 1, 9, 30, tzinfo=UTC)),
        ("priority", "0", 0),
        ("priority", "100", 100),
        ("country", "Tyskland", "DE"),
        ("postcode", "2100", "2100"),
        ("comments", "x" * 4000, "x" * 4000),
        ("first_name", "æ" * 100, "æ" * 100),  # characters, not bytes
        ("ownership_code", "Nobody knows", "Nobody knows"),
        ("contract_end", "2027-01-01", date(2027, 1, 1)),
        ("consumption_kwh", "10000000", 10_000_000),
        ("title", None, None),
    ],
)
def test_a_good_cell_gets_its_type(field: str, text: str | None, value: object) -> None:
    result = checked({**GOOD, field: text})
    assert told(result) == []
    assert result.frame[field].to_list() == [value]


@pytest.mark.parametrize(
    ("field", "text", "code", "stage"),
    [
        ("phone", None, "required_missing", "rule"),
        ("phone", "twenty", "phone_unparseable", "type"),
        ("phone", "12", "phone_too_short", "type"),
        ("phone", "+45 1234 5678 9012 3456", "phone_too_long", "type"),
        ("phone", "+999 1234567", "phone_invalid_country_code", "type"),
        ("phone", "+4500000000", "phone_invalid", "type"),
        ("phone", "26000001.0", "phone_is_a_number", "type"),
        ("alternative_phone", "2.6000001E7", "phone_is_a_number", "type"),
        ("alternative_phone", "12", "phone_too_short", "type"),
        ("email", "no at sign", "email_invalid", "rule"),
        ("email", "two@at@signs.example", "email_invalid", "rule"),
        ("email", "nobody@localhost", "email_invalid", "rule"),
        ("email", "a@b..example", "email_invalid", "rule"),
        ("email", "a@-b.example", "email_invalid", "rule"),
        ("email", f"{'x' * 250}@b.example", "too_long", "rule"),
        ("date_of_birth", "31-02-1980", "date_unreadable", "type"),
        ("date_of_birth", "01-02-80", "date_unreadable", "type"),
        ("date_of_birth", "25-11-2026", "out_of_range", "rule"),
        ("date_of_birth", "1899-12-31", "out_of_range", "rule"),
        ("scheduled_at", "tomorrow", "datetime_unreadable", "type"),
        ("scheduled_at", "2026-12-01", "datetime_unreadable", "type"),
        ("priority", "high", "integer_unreadable", "type"),
        ("priority", "101", "out_of_range", "rule"),
        ("priority", "-1", "out_of_range", "rule"),
        ("country", "Atlantis", "country_unreadable", "type"),
        ("postcode", "21000", "postcode_invalid", "rule"),
        ("postcode", "1" * 13, "too_long", "rule"),
        ("first_name", "x" * 101, "too_long", "rule"),
        ("comments", "x" * 4001, "too_long", "rule"),
        ("ownership_code", "x" * 65, "too_long", "rule"),
        ("consumption_kwh", "10000001", "out_of_range", "rule"),
        ("contract_end", "some day", "date_unreadable", "type"),
    ],
)
def test_a_bad_cell_is_named_with_column_and_value(field: str, text: str | None, code: str, stage: str) -> None:
    result = checked(GOOD, {**GOOD, field: text})
    found = [each for each in result.problems.to_dicts() if each["code"] == code]
    assert len(found) == 1, told(result)
    (problem,) = found
    assert (problem["row"], problem["stage"], problem["severity"]) == (2, stage, "error")
    assert (problem["column"], problem["field"], problem["value"]) == (field.upper(), field, text or "")
    assert problem["message"]
    assert set(result.problems["row"]) == {2}


def test_all_problems_of_a_record_are_found_at_once() -> None:
    bad = {
        "phone": "12",
        "email": "x",
        "date_of_birth": "31.02.2000",
        "priority": "500",
        "country": "Atlantis",
        "first_name": "y" * 101,
        "scheduled_at": "soon",
    }
    result = checked(bad, {"phone": "26000001"}, bad)
    for row in (1, 3):
        assert {(field, code) for number, field, code in told(result) if number == row} == {
            ("phone", "phone_too_short"),
            ("email", "email_invalid"),
            ("date_of_birth", "date_unreadable"),
            ("priority", "out_of_range"),
            ("country", "country_unreadable"),
            ("first_name", "too_long"),
            ("scheduled_at", "datetime_unreadable"),
        }
    assert 2 not in set(result.problems["row"])


def test_two_rules_of_one_cell_are_two_problems() -> None:
    text = "x" * 300
    assert [code for _, _, code in told(checked({**GOOD, "email": text}))] == ["too_long", "email_invalid"]


def test_an_unreadable_required_cell_is_not_called_missing_too() -> None:
    assert told(checked({"phone": "x"})) == [(1, "phone", "phone_unparseable")]


@pytest.mark.parametrize(
    ("country", "postcode", "good"),
    [
        ("Germany", "10115", True),
        ("DE", "1011", False),
        (None, "2100", True),  # the campaign's country
        (None, "10115", False),
        ("GB", "sw1a 1aa", True),
        ("GB", "12345", False),
        ("Nederland", "1234 AB", True),
        ("NL", "0234 AB", False),
        ("US", "12345-6789", True),
        ("PT", "1000-001", True),
        ("SE", "SE-123 45", True),
        ("FO", "100", True),
    ],
)
def test_a_postcode_has_the_form_of_its_records_country(country: str | None, postcode: str, good: bool) -> None:
    result = checked({**GOOD, "phone": "+4526000001", "country": country, "postcode": postcode})
    assert [code for _, _, code in told(result)] == ([] if good else ["postcode_invalid"])


def test_without_a_column_of_countries_the_campaigns_counts() -> None:
    assert told(checked({**GOOD, "postcode": "10115"})) == [(1, "postcode", "postcode_invalid")]
    assert told(checked({**GOOD, "phone": "+4526000001", "postcode": "10115"}, region="DE")) == []


def test_a_country_without_a_known_form_takes_any_postcode() -> None:
    elsewhere = schemas.Country(names=("Elsewhere",), postcode=None)
    schema = Schema(fields=SCHEMA.fields, countries={**SCHEMA.countries, "XX": elsewhere}, version="")
    record = {"phone": "+4526000001", "country": "Elsewhere", "postcode": "?"}
    assert told(checked(record, schema=schema)) == []


def test_phones_are_read_as_dialled_in_their_records_country() -> None:
    result = checked(
        {"phone": "030 123456", "country": "Deutschland"},
        {"phone": "26000001", "country": None},
        {"phone": "26000001", "country": "DK"},
        {"phone": "+49 30 123456", "country": "DK"},
    )
    assert told(result) == []
    assert result.frame["phone"].to_list() == ["+4930123456", "+4526000001", "+4526000001", "+4930123456"]


def test_an_extension_is_taken_off_with_a_warning() -> None:
    result = checked({"phone": "26000001 ext. 12"})
    assert result.frame["phone"].to_list() == ["+4526000001"]
    assert result.problems.select("code", "severity").rows() == [("phone_extension", "warning")]


def test_a_phone_that_was_an_amount_is_never_another_ones() -> None:
    """With one 0 more it is valid in Germany; closed, it is kept as it came."""
    told_of = checked({"phone": "1512345678.0"}, {"phone": "+4526000001"}, region="DE", invalid_phone_closes=True)
    assert told_of.frame["phone"].to_list() == ["1512345678.0", "+4526000001"]
    assert told_of.frame["invalid_phone"].to_list() == [True, False]
    assert told_of.problems.select("row", "code", "severity").rows() == [(1, "phone_is_a_number", "warning")]
    assert "text" in told_of.problems["suggestion"][0]


def test_a_campaign_may_close_leads_with_an_invalid_phone() -> None:
    result = checked({"phone": "12"}, {"phone": "26000001"}, {"phone": None}, invalid_phone_closes=True)
    assert result.frame["phone"].to_list() == ["12", "+4526000001", None]
    assert result.frame["invalid_phone"].to_list() == [True, False, False]
    assert result.problems.select("row", "code", "severity").rows() == [
        (1, "phone_too_short", "warning"),
        (3, "required_missing", "error"),  # nothing was given that could be kept
    ]


def test_only_the_phone_itself_may_be_invalid() -> None:
    result = checked({**GOOD, "alternative_phone": "12"}, invalid_phone_closes=True)
    assert result.problems.select("row", "code", "severity").rows() == [(1, "phone_too_short", "error")]


@pytest.mark.parametrize(
    ("facts", "good", "bad", "code"),
    [
        ({"type": "text", "choices": ("house", "flat")}, "flat", "Flat", "not_a_choice"),
        ({"type": "text", "pattern": "[A-Z]{2}-[0-9]+"}, "DK-1", "xDK-1x", "pattern_mismatch"),
        ({"type": "text", "pattern": "a|b"}, "b", "bc", "pattern_mismatch"),
        ({"type": "text", "max_length": 3}, "æøå", "abcd", "too_long"),
        ({"type": "integer", "min": -5}, "-5", "-6", "out_of_range"),
        ({"type": "integer", "max": 5}, "-999999999999999999", "6", "out_of_range"),
        ({"type": "date", "min": "2026-01-01"}, "9999-12-31", "2025-12-31", "out_of_range"),
        ({"type": "date", "max": "today"}, "0001-01-01", "2026-11-25", "out_of_range"),
        ({"type": "text", "required": True}, "x", None, "required_missing"),
        ({"type": "country"}, "Danmark", "Narnia", "country_unreadable"),
    ],
)
def test_a_rule_of_a_template_holds(facts: dict[str, Any], good: str, bad: str | None, code: str) -> None:
    schema = with_field(**facts)
    result = checked({**GOOD, "extra_field": good}, {**GOOD, "extra_field": bad}, schema=schema)
    assert told(result) == [(2, "extra_field", code)]


def test_no_records_are_no_problem() -> None:
    frame = pl.DataFrame(schema={"row": pl.UInt32, **{field.name: pl.String for field in SCHEMA.fields}})
    result = validation.check(frame, {field.name: field.title for field in SCHEMA.fields}, rules())
    assert (result.frame.height, result.problems.height) == (0, 0)


CELL = st.one_of(st.none(), st.text(min_size=1, max_size=30), st.text("0123456789+-/.: @æ", min_size=1, max_size=20))


@given(
    st.lists(st.lists(CELL, min_size=len(SCHEMA.fields), max_size=len(SCHEMA.fields)), min_size=1, max_size=4),
    st.booleans(),
)
@settings(max_examples=30)
def test_any_cells_are_typed_or_named(cells: list[list[str | None]], closes: bool) -> None:
    """A cell without an error keeps its text exactly, where its type is a text."""
    names = [field.name for field in SCHEMA.fields]
    records = [dict(zip(names, row, strict=True)) for row in cells]
    result = checked(*records, invalid_phone_closes=closes)
    errors = {(row, field) for row, field, _ in told(result)}
    for row, (record, values) in enumerate(zip(records, result.frame.to_dicts(), strict=True), 1):
        for field in SCHEMA.fields:
            before, after = record[field.name], values[field.name]
            if before is not None and after is None:
                assert (row, field.name) in errors
            if before is None:
                assert after is None
            elif field.type in ("text", "email", "postcode", "code"):
                assert after == before
