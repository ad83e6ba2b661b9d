"""Filters as they are written: what is taken, what is refused and where, and how they are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd import schemas
from ingestd.errors import Invalid
from ingestd.leads import filter_fields, filters
from ingestd.leads.filter_fields import OPERATORS, Field, Kind

SCHEMAS = Path(__file__).parents[2] / "schemas"
FIELDS = filter_fields.known([schemas.read(SCHEMAS, "energy"), schemas.read(SCHEMAS, "fibre")])

VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.TEXT: st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1).filter(str.strip),
    Kind.PHONE: st.from_regex(r"\A\+[1-9][0-9]{6,12}\Z"),
    Kind.NUMBER: st.integers(-(2**62), 2**62),
    Kind.NUMBERED: st.integers(1, 2**62),
    Kind.DAY: st.dates().map(lambda day: day.isoformat()),
    Kind.MOMENT: st.dates().map(lambda day: day.isoformat()),
    Kind.FLAG: st.booleans(),
    Kind.OWNER: st.sampled_from(["team:berlin", "user:ada"]),
    Kind.NAMED: st.sampled_from(["open", "success"]),
    Kind.AGENT: st.sampled_from(["user:ada", "user:bo"]),
    Kind.UPLOADER: st.sampled_from(["user:ada", "source:acme"]),
}


def comparison(field: Field) -> st.SearchStrategy[dict[str, Any]]:
    def of(op: str) -> st.SearchStrategy[dict[str, Any]]:
        value = VALUES[field.kind]
        given_by: dict[str, st.SearchStrategy[Any]] = {
            "in": st.lists(value, min_size=1, max_size=3),
            "between": st.lists(value, min_size=2, max_size=2),
            "last_days": st.integers(1, 365),
        }
        named = {"field": st.just(field.name), "op": st.just(op)}
        return st.fixed_dictionaries(named if op in filter_fields.ALONE else named | {"value": given_by.get(op, value)})

    return st.sampled_from(field.operators).flatmap(of)


COMPARISONS = st.sampled_from(list(FIELDS.values())).flatmap(comparison)
TREES = st.recursive(
    COMPARISONS,
    lambda part: st.one_of(
        st.lists(part, max_size=3).map(lambda parts: {"all": parts}),
        st.lists(part, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
        part.map(lambda one: {"not": one}),
    ),
    max_leaves=6,
)


@given(TREES)
def test_a_filter_is_written_as_it_was_read(tree: dict[str, Any]) -> None:
    try:
        found = filters.parsed(tree, FIELDS)
    except Invalid as refusal:
        assert "nested deeper" in refusal.message  # noqa: PT017 - any other refusal is an error
        return
    assert filters.parsed(filters.written(found), FIELDS) == found
    assert filters.told(found)


def test_no_filter_is_every_lead() -> None:
    assert filters.parsed(None, FIELDS) == filters.parsed({}, FIELDS) == filters.EVERYTHING
    assert filters.told(filters.EVERYTHING) == "every lead"


def test_a_filter_is_told_in_the_words_of_people() -> None:
    tree = {
        "all": [
            {"field": "city", "op": "is", "value": "Copenhagen"},
            {
                "any": [
                    {"field": "postcode", "op": "between", "value": ["4000", "5999"]},
                    {"field": "email", "op": "empty"},
                ]
            },
            {"not": {"field": "status", "op": "in", "value": ["success", "removed"]}},
        ]
    }
    assert filters.told(filters.parsed(tree, FIELDS)) == (
        "City is Copenhagen and (Postcode from 4000 to 5999 or E-mail is empty) "
        "and not (Status is one of success, removed)"
    )


NESTED: dict[str, Any] = {"not": {"not": {"not": {"not": {"not": {"not": {"not": {"not": {"not": {}}}}}}}}}}


@pytest.mark.parametrize(
    ("tree", "place", "why"),
    [
        ([], "filter", "neither a comparison nor a group"),
        ({"some": []}, "filter", "one of `all`, `any` and `not`"),
        ({"all": {}}, "filter.all", "a list of comparisons"),
        ({"any": []}, "filter.any", "a list of comparisons"),
        ({"all": [{"field": "colour", "value": "red"}]}, "filter.all.0.field", "which no lead has"),
        ({"field": "city", "op": "near", "value": "x"}, "filter.op", "asked by is, is_not"),
        ({"field": "city", "op": "is", "value": " "}, "filter.value", "compared with text"),
        ({"field": "city", "op": "is", "value": "a\0b"}, "filter.value", "no text has"),
        ({"field": "city", "op": "is", "value": "a\ud800b"}, "filter.value", "no text has"),
        ({"field": "city", "op": "is", "value": "x" * 501}, "filter.value", "longer than 500"),
        ({"field": "city", "op": "empty", "value": 1}, "filter.value", "not needed"),
        ({"field": "city", "op": "is", "colour": 1}, "filter", "'colour'"),
        ({"field": "priority", "op": "is", "value": True}, "filter.value", "a whole number"),
        ({"field": "priority", "op": "is", "value": 2**63}, "filter.value", "a whole number"),
        ({"field": "priority", "op": "between", "value": [1]}, "filter.value", "two values"),
        ({"field": "priority", "op": "in", "value": []}, "filter.value", "1 to 1,000 values"),
        ({"field": "called_at", "op": "from", "value": "2026-06-15T12:00:00"}, "filter.value", "YYYY-MM-DD"),
        ({"field": "called_at", "op": "last_days", "value": 0}, "filter.value", "1 to 36,500"),
        ({"field": "deactivated", "op": "is", "value": "yes"}, "filter.value", "true or false"),
        (
            {"not": {"not": {"not": {"not": {"not": {"not": {"not": {"not": {"not": {}}}}}}}}}},
            "filter" + ".not" * 9,
            "deeper",
        ),
        ({"all": [{"field": "city", "op": "filled"}] * 201}, "filter", "201 comparisons"),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_place(tree: Any, place: str, why: str) -> None:
    with pytest.raises(Invalid, match="filter") as refusal:
        filters.parsed(tree, FIELDS)
    assert refusal.value.facts["field"] == place
    assert why in refusal.value.message


def test_phones_are_taken_as_people_write_them() -> None:
    tree = filters.parsed({"field": "phone", "op": "is", "value": "0045 26 12 34-56"}, FIELDS)
    assert isinstance(tree, filters.Comparison)
    assert tree.value == "+4526123456"


def test_an_outline_has_the_values_of_the_named_fields_only() -> None:
    mail, status = ({"field": "email", "op": "is", "value": "a@b.c"}, {"field": "status", "op": "is", "value": "open"})
    tree = {"any": [{"not": mail}, status, {"all": []}]}
    shown = {"any": [{"not": {"field": "email", "op": "is"}}, status, {"all": []}]}
    assert filters.outline(tree, filter_fields.IMPERSONAL) == shown


def test_every_kind_has_operators() -> None:
    assert set(OPERATORS) == set(Kind)
