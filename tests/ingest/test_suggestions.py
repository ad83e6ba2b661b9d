"""Suggestions: which field each column probably is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd import schemas
from ingestd.ingest import mapping
from ingestd.ingest.suggestions import ALTERNATIVES, SAMPLES, Knowledge, Suggestion, suggest
from tests.databases import ROOT

SCHEMA = schemas.read(ROOT / "schemas", "energy")


def known(**facts: Any) -> Knowledge:
    return Knowledge(**{"schema": SCHEMA, "region": "DK", **facts})


def one(header: str, *cells: str, **facts: Any) -> Suggestion:
    (found,) = suggest([header], [cells], known(**facts))
    return found


@pytest.mark.parametrize(
    ("header", "field", "why"),
    [
        ("phone", "phone", "name"),
        ("  PHONE: ", "phone", "name"),
        ("E-mail", "email", "name"),
        ("tlf.", "phone", "alias"),
        ("Straße", "address", "alias"),
        ("Yearly consumption, kWh", "consumption_kwh", "name"),
    ],
)
def test_what_the_road_knows_is_sure(header: str, field: str, why: str) -> None:
    found = one(header)
    assert (found.field, found.score, found.why) == (field, 100, why)


def test_the_saved_mapping_comes_first() -> None:
    found = one("Phone", saved={"phone": "comments"})
    assert (found.field, found.why) == ("comments", "mapping")
    ignored = one("Phone", saved={"PHONE": ""})
    assert (ignored.field, ignored.score, ignored.why) == (None, 100, "ignored")


@pytest.mark.parametrize(
    ("header", "field"),
    [("Fornavne", "first_name"), ("Gebursdatum", "date_of_birth"), ("PhoneNumer", "phone"), ("Telefon_privat", "phone"),
     ("customer e-mail", "email"), ("mobilePhone1", "phone")],
)  # fmt: skip
def test_what_is_spelt_alike_is_suggested_with_less_than_certainty(header: str, field: str) -> None:
    found = one(header)
    assert (found.field, found.why) == (field, "similar")
    assert 70 <= found.score < 100


def test_cells_that_contradict_a_header_take_its_suggestion_away() -> None:
    assert one("phone typ", "mobile", "fixed").field is None
    assert one("phone typ", "26000001", "26000002").field == "phone"


@pytest.mark.parametrize(
    ("cells", "field"),
    [
        (("a@example.org", "b@example.org"), "email"),
        (("26 00 00 01", "+45 26000002", "26000003"), "phone"),
        (("01.02.1970", "28.12.1981"), "date_of_birth"),
        (("Denmark", "DK", "Tyskland"), "country"),
        (("dk-cph", " DK-CPH "), "ownership_code"),
        (("nothing", "of", "it"), None),
        ((), None),
    ],
)
def test_cells_speak_when_the_header_says_nothing(cells: tuple[str, ...], field: str | None) -> None:
    found = one("Column 7", *cells, codes=frozenset({"dk-cph"}))
    assert found.field == field
    assert found.score <= 65
    assert found.why == ("content" if field else "")


def test_a_second_column_of_numbers_is_the_other_number() -> None:
    first, second, third = suggest(["Phone", "X", "Y"], [["26000001"], ["26000002"], ["26000003"]], known())
    assert (first.field, second.field, third.field) == ("phone", "alternative_phone", None)
    assert [each.field for each in third.alternatives] == ["phone", "alternative_phone"]


def test_samples_are_the_first_different_values() -> None:
    assert one("City", "Odense", "", "Odense", " Aarhus ").samples == ("Odense", "Aarhus")


headers = st.lists(
    st.sampled_from([name for field in SCHEMA.fields for name in field.names]) | st.text(max_size=12),
    max_size=12,
    unique=True,
)


@given(headers, st.data())
def test_a_field_is_suggested_once_and_the_road_takes_every_suggestion(header: list[str], data: st.DataObject) -> None:
    saved = data.draw(st.dictionaries(st.sampled_from(header or ["x"]), st.sampled_from(["", "phone", "city"])))
    found = suggest(header, [["26000001", "x@y.dk"]] * len(header), known(saved=saved))
    assert [each.header for each in found] == header
    fields = [each.field for each in found if each.field]
    assert len(fields) == len(set(fields))
    assert all(0 <= each.score <= 100 for each in found)
    assert all(len(each.alternatives) <= ALTERNATIVES and len(each.samples) <= SAMPLES for each in found)
    made = {each.header: each.field or "" for each in found if schemas.header_key(each.header)}
    if len({schemas.header_key(name) for name in header}) == len(header):  # the reader lets no others through
        assigned = mapping.assign(tuple(header), SCHEMA, made)
        assert {column: field for field, column in assigned.items()} == {
            each.header: each.field for each in found if each.field and each.header in made
        }
