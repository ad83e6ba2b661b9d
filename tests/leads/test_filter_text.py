"""Filters as sentences: what is told is read as the same filter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from ingestd.errors import Invalid
from ingestd.leads import filter_text, filters
from ingestd.leads.filters import Every, Filter, Not, Some
from tests.leads.test_filters import FIELDS, TREES


def simplified(tree: Filter) -> Filter:
    """Without groups of one part, which no sentence shows."""
    if isinstance(tree, Not):
        return Not(part=simplified(tree.part))
    if isinstance(tree, Every | Some):
        parts = tuple(simplified(part) for part in tree.parts)
        if len(parts) == 1:
            return parts[0]
        return Every(parts=parts) if isinstance(tree, Every) else Some(parts=parts)
    return tree


@given(TREES)
def test_what_is_told_is_read(tree: dict[str, Any]) -> None:
    wanted = simplified(filters.parsed(tree, FIELDS))
    assert filter_text.read(filter_text.told(wanted), FIELDS) == wanted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {"all": []}),
        ("every lead", {"all": []}),
        ("city is Copenhagen and status is open", {"all": [("city", "is", "Copenhagen"), ("status", "is", "open")]}),
        ("City IS New York", ("city", "is", "New York")),
        ("postcode from 4000 to 5999", ("postcode", "between", ["4000", "5999"])),
        ("Call attempts from 3", ("attempts", "from", 3)),
        ("Lead owner below team:berlin", ("owner", "below", "team:berlin")),
        ("city is one of Lund, Malmö , \"a, b\"", ("city", "in", ["Lund", "Malmö", "a, b"])),
        ("not (city is empty) or called_at in the last 7 days",
         {"any": [{"not": ("city", "empty")}, ("called_at", "last_days", 7)]}),
        ("city is not empty", ("city", "filled")),
        ("city is not Lund", ("city", "is_not", "Lund")),
        ("deactivated is no", ("deactivated", "is", False)),
        ('city is "Rock and Roll" and (city is a or city is b) and attempts to 2',
         {"all": [("city", "is", "Rock and Roll"), {"any": [("city", "is", "a"), ("city", "is", "b")]},
                  ("attempts", "to", 2)]}),
        ("city is a or city is b and city is c",
         {"any": [("city", "is", "a"), {"all": [("city", "is", "b"), ("city", "is", "c")]}]}),
    ],
)  # fmt: skip
def test_sentences_mean_what_they_say(text: str, expected: Any) -> None:
    assert filters.written(filter_text.read(text, FIELDS)) == filters.written(filters.parsed(whole(expected), FIELDS))


def whole(short: Any) -> Any:
    if isinstance(short, tuple):
        return dict(zip(("field", "op", "value"), short, strict=False))
    key, parts = next(iter(short.items()))
    return {key: [whole(part) for part in parts] if isinstance(parts, list) else whole(parts)}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("shoe size is 44", "at 'shoe': no lead has this field"),
        (
            "city equals Lund",
            "after 'city', at 'equals': city is asked by is, is not, is one of, contains, starts with, from, to,",
        ),
        ("attempts contains 4", "after 'attempts', at 'contains': attempts is asked by is, is not"),
        ("city is", "after 'city is', at 'the end': a value is missing"),
        ("(city is Lund", "')' is missing"),
        ('city is "Lund', "a quote that does not end"),
        ("attempts is many", "compared with a whole number"),
        ("city is Lund) and", "`and` or `or` is missing"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, told: str) -> None:
    with pytest.raises(Invalid) as refusal:
        filter_text.read(text, FIELDS)
    assert told in refusal.value.message
