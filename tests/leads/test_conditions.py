"""Filters against the store: what a condition finds is what the same filter finds by reading each lead."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from ingestd.errors import Invalid
from ingestd.leads import conditions, filters
from ingestd.leads.filter_fields import Field, Kind
from ingestd.leads.filters import Comparison, Every, Filter, Not
from ingestd.leads.letters import ascii_lower
from ingestd.store.engine import reading
from ingestd.store.tables import leads as table
from tests.leads.conftest import MINUTE, NOON, Desk
from tests.leads.test_filters import FIELDS

CITIES = ["Copenhagen", "copenhagen", "ÆRØSKØBING", "Ærøskøbing", "Malmö", "100%", "a_b", "a\\b", None]
POSTCODES = ["4000", "4999", "5999", "6000", None]


def matching(desk: Desk, tree: Any) -> set[int]:
    with reading(desk.engine) as connection:
        names = conditions.terms(connection, NOON)
        where = conditions.condition(filters.parsed(tree, FIELDS), names)
        return set(connection.scalars(select(table.c.id).where(where)))


def one(field: str, op: str, value: Any = None) -> dict[str, Any]:
    return {"field": field, "op": op} | ({} if value is None else {"value": value})


def extra(**values: Any) -> str:
    return json.dumps(values, ensure_ascii=False)


def rows() -> list[dict[str, Any]]:
    return [
        {
            "city": CITIES[number % len(CITIES)],
            "postcode": POSTCODES[number % len(POSTCODES)],
            "priority": None if number % 4 == 0 else number % 7,
            "attempts": number % 3,
            "date_of_birth": None if number % 5 == 0 else date(1980, 1, 1) + timedelta(days=number),
            "called_at": None if number % 3 == 0 else NOON - number * timedelta(hours=7),
            "deactivated_at": NOON if number % 6 == 0 else None,
            "extra": None
            if number % 4 == 0
            else json.dumps({"consumption_kwh": number % 5, "supplier": CITIES[number % 8]}),
        }
        for number in range(60)
    ]


TEXTS = st.sampled_from([city for city in CITIES if city] + ["O", "ø", "æR", "%", "_", "\\", "x"])
DAYS = st.dates(date(1979, 12, 30), date(1980, 3, 5)).map(date.isoformat)
MOMENTS = st.dates(date(2026, 5, 25), date(2026, 6, 16)).map(date.isoformat)
NUMBERS = st.integers(-1, 7)


def asked(fields: list[str], ops: list[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    def of(op: str) -> st.SearchStrategy[Any]:
        if op in ("empty", "filled"):
            return st.none()
        if op == "in":
            return st.lists(values, min_size=1, max_size=3)
        return st.lists(values, min_size=2, max_size=2) if op == "between" else values

    return st.tuples(st.sampled_from(fields), st.sampled_from(ops)).flatmap(
        lambda pair: of(pair[1]).map(lambda value: one(*pair, value))
    )


THERE = ["empty", "filled"]
RANGE = ["from", "to", "between"]
EQUAL = ["is", "is_not", "in"]
COMPARISONS = st.one_of(
    asked(["city", "postcode", "extra.supplier"], [*EQUAL, *RANGE, *THERE, "contains", "starts_with"], TEXTS),
    asked(["priority", "attempts", "extra.consumption_kwh"], [*EQUAL, *RANGE, *THERE], NUMBERS),
    asked(["date_of_birth"], ["is", "is_not", *RANGE, *THERE], DAYS),
    asked(["called_at"], [*RANGE, *THERE], MOMENTS),
    asked(["deactivated"], ["is"], st.booleans()),
)
TREES = st.recursive(
    COMPARISONS,
    lambda part: st.one_of(
        st.lists(part, max_size=3).map(lambda parts: {"all": parts}),
        st.lists(part, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
        part.map(lambda inner: {"not": inner}),
    ),
    max_leaves=5,
)


def holds(tree: Filter, lead: Mapping[str, Any]) -> bool:
    """The same filter, by reading one lead."""
    if isinstance(tree, Comparison):
        return compared(tree, value_of(tree.field.name, lead))
    if isinstance(tree, Not):
        return not holds(tree.part, lead)
    parts = [holds(part, lead) for part in tree.parts]
    return all(parts) if isinstance(tree, Every) else any(parts)


def value_of(name: str, lead: Mapping[str, Any]) -> Any:
    if name == "deactivated":
        return lead["deactivated_at"] is not None
    extra = json.loads(lead["extra"] or "{}")
    return extra.get(name.removeprefix("extra.")) if name.startswith("extra.") else lead[name]


def compared(tree: Comparison, value: Any) -> bool:
    if tree.op in THERE:
        return (value is None) == (tree.op == "empty")
    if value is None:
        return tree.op == "is_not"
    given = tree.value if isinstance(tree.value, tuple) else (tree.value,)
    if tree.op in RANGE:
        return ranged(tree, value, given)
    same = [same_text(value, each) if isinstance(value, str) else value == each for each in given]
    within: dict[str, Callable[[], bool]] = {
        "is": lambda: any(same),
        "in": lambda: any(same),
        "is_not": lambda: not any(same),
        "contains": lambda: str(given[0]).lower() in value.lower(),
        "starts_with": lambda: value.lower().startswith(str(given[0]).lower()),
    }
    return within[tree.op]()


def same_text(value: str, other: Any) -> bool:
    return value.lower() == str(other).lower()


def ranged(tree: Comparison, value: Any, given: tuple[Any, ...]) -> bool:
    if isinstance(value, str):
        value, given = ascii_lower(value), tuple(ascii_lower(each) for each in given)
    if isinstance(value, datetime):
        value = value.astimezone(UTC).date()
    first = None if tree.op == "to" else given[0]
    last = None if tree.op == "from" else given[-1]
    return (first is None or first <= value) and (last is None or value <= last)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trees=st.lists(TREES, min_size=1, max_size=4))
def test_a_condition_finds_what_reading_finds(desk: Desk, trees: list[dict[str, Any]]) -> None:
    if not desk.all_leads():
        desk.leads(*rows())
    leads = desk.all_leads()
    for tree in trees:
        parsed = filters.parsed(tree, FIELDS)
        assert matching(desk, tree) == {lead["id"] for lead in leads if holds(parsed, lead)}, filters.told(parsed)


def test_owners_are_asked_for_by_name_and_with_all_below(desk: Desk) -> None:
    (mine,) = desk.leads({}, owner="user:copenhagen-1")
    (team,) = desk.leads({}, owner="team:copenhagen")
    (above,) = desk.leads({"original_owner_id": desk.owner("team:germany")}, owner="team:denmark")
    assert matching(desk, one("owner", "is", "team:copenhagen")) == {team}
    assert matching(desk, one("owner", "below", "team:copenhagen")) == {mine, team}
    assert matching(desk, one("owner", "in", ["team:copenhagen", "team:denmark"])) == {team, above}
    assert matching(desk, one("owner", "is_not", "team:copenhagen")) == {mine, above}
    assert matching(desk, one("original_owner", "is", "team:germany")) == {above}
    assert matching(desk, one("original_owner", "is", "team:copenhagen")) == {team}
    assert matching(desk, one("processed_by", "empty")) == {mine, team, above}


def test_leads_in_reach_of_an_agent(desk: Desk) -> None:
    (own,) = desk.leads({}, owner="user:copenhagen-1")
    (team,) = desk.leads({}, owner="team:copenhagen")
    (above,) = desk.leads({}, owner="team:denmark")
    (beside,) = desk.leads({}, owner="team:aarhus")
    (other,) = desk.leads({}, owner="user:copenhagen-2")
    assert matching(desk, one("callable_by", "is", "user:copenhagen-1")) == {own, team, above}
    assert matching(desk, one("callable_by", "is_not", "user:copenhagen-1")) == {beside, other}
    assert matching(desk, one("callable_by", "in", ["user:copenhagen-2", "user:aarhus-1"])) == {
        team, above, beside, other
    }  # fmt: skip
    with pytest.raises(Invalid, match="is 'user:copenhagen-1' meant"):
        matching(desk, one("callable_by", "is", "user:copenhagen-11"))


def test_status_campaign_pool_and_project(desk: Desk) -> None:
    first, second = desk.leads({}, {})
    (other,) = desk.leads({}, campaign="DE-ENERGY", owner="team:germany")
    desk.change(second, "success")
    assert matching(desk, one("status", "is", "open")) == {first, other}
    assert matching(desk, one("status", "is", "success")) == {second}
    assert matching(desk, one("status", "is_not", "closed")) == {first, other}
    assert matching(desk, one("campaign", "is", "DE-ENERGY")) == {other}
    assert matching(desk, one("campaign", "is_not", "DE-ENERGY")) == {first, second}
    assert matching(desk, one("pool", "is", desk.lead(other).pool_id)) == {other}
    assert matching(desk, one("id", "in", [first, other])) == {first, other}


def test_pools_tell_who_uploaded_and_when(desk: Desk) -> None:
    (number,) = desk.leads({})
    desk.set("pools", "id", desk.lead(number).pool_id, uploaded_by="copenhagen-1", uploaded_at=NOON)
    assert matching(desk, one("uploaded_by", "is", "user:copenhagen-1")) == {number}
    assert matching(desk, one("uploaded_by", "is_not", "user:copenhagen-1")) == set()
    assert matching(desk, one("uploaded_by", "is", "user:copenhagen-2")) == set()
    assert matching(desk, one("uploaded_at", "from", NOON.isoformat())) == {number}
    assert matching(desk, one("uploaded_at", "from", (NOON + MINUTE).isoformat())) == set()
    assert matching(desk, one("uploaded_at", "to", NOON.date().isoformat())) == {number}
    assert matching(desk, one("uploaded_at", "last_days", 1)) == {number}


def test_a_lock_counts_until_its_time(desk: Desk) -> None:
    held, over = desk.leads(
        {"locked_by_id": 1, "locked_until": NOON + MINUTE}, {"locked_by_id": 1, "locked_until": NOON}
    )
    assert matching(desk, one("locked", "is", True)) == {held}
    assert matching(desk, one("locked", "is", False)) == {over}


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        (one("owner", "is", "team:copenhagn"), "is 'team:copenhagen' meant"),
        (one("status", "is", "sucess"), "is 'success' meant"),
        (one("campaign", "is", "dk-energy"), "campaign 'dk-energy' is not known"),
        (one("uploaded_by", "is", "source:nobody"), "uploaded_by 'nobody' is not known"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(desk: Desk, tree: Any, told: str) -> None:
    with pytest.raises(Invalid) as refusal:
        matching(desk, tree)
    assert told in refusal.value.message


def test_a_filter_tells_the_campaigns_it_confines_itself_to(desk: Desk) -> None:
    with reading(desk.engine) as connection:
        names = conditions.terms(connection, NOON)
    energy, fibre = names.campaigns["DK-ENERGY"], names.campaigns["DE-ENERGY"]

    def confined(tree: Any) -> frozenset[int] | None:
        return conditions.campaigns_of(filters.parsed(tree, FIELDS), names)

    in_energy, in_fibre = one("campaign", "is", "DK-ENERGY"), one("campaign", "is", "DE-ENERGY")
    assert confined(in_energy) == energy
    assert confined(one("campaign", "in", ["DK-ENERGY", "DE-ENERGY"])) == energy | fibre
    assert confined({"all": [in_energy, one("city", "filled")]}) == energy
    assert confined({"all": [in_energy, in_fibre]}) == frozenset()
    assert confined({"any": [in_energy, in_fibre]}) is None
    assert confined({"not": in_energy}) is None


@pytest.mark.parametrize(
    ("op", "value", "found"),
    [
        ("to", "9999-12-31", True),
        ("between", ["0001-01-01", "9999-12-31"], True),
        ("from", "0001-01-01T00:00:00+01:00", True),
        ("to", "0001-01-01T00:00:00+01:00", False),
        ("to", "9999-12-31T23:59:59-05:00", True),
        ("from", "9999-12-31T23:59:59-05:00", False),
    ],
)
@pytest.mark.parametrize("field", ["called_at", "uploaded_at", "extra.metered_at"])
def test_the_ends_of_the_calendar_are_moments_too(desk: Desk, field: str, op: str, value: Any, found: bool) -> None:
    number, _ = desk.leads({"called_at": NOON, "extra": extra(metered_at=NOON.isoformat())}, {})
    asked = Field(name=field, title="", kind=Kind.MOMENT)
    with reading(desk.engine) as connection:
        names = conditions.terms(connection, NOON)
        where = conditions.condition(filters.parsed(one(field, op, value), {field: asked}), names)
        numbers = set(connection.scalars(select(table.c.id).where(where)))
    assert (number in numbers, number + 1 in numbers) == (found, found and field == "uploaded_at")


def test_numbers_may_be_larger_than_any_lead_has(desk: Desk) -> None:
    (number,) = desk.leads({"priority": 3, "extra": extra(consumption_kwh=10**17)})
    for field in ("attempts", "row", "priority", "id", "pool", "extra.consumption_kwh"):
        for op, value in (("is", 2**62), ("in", [2**62, 2**61])):
            assert matching(desk, one(field, op, value)) == set()
        assert matching(desk, one(field, "is_not", 2**62)) == {number}
    assert matching(desk, one("attempts", "to", 2**62)) == {number}
    assert matching(desk, one("extra.consumption_kwh", "from", 10**17)) == {number}


def test_lists_may_be_as_long_as_a_filter_takes_them(desk: Desk) -> None:
    mine, other = desk.leads({"city": "ÆØÅÄÖÜ7", "company": "æøåäöü9", "priority": 17}, {"city": "Lund"})
    names = [f"æøåäöü{number}" for number in range(1000)]
    for tree in (one("city", "in", names), one("priority", "in", [*range(900), 2**62])):
        assert matching(desk, {"all": [tree, one("company", "in", names)]}) == {mine}
        assert matching(desk, {"not": tree}) == {other}
    phones = [f"+4526{number:06d}" for number in range(mine, mine + 900)]
    assert matching(desk, one("phone", "in", phones)) == {mine, other}
    assert matching(desk, one("id", "in", list(range(mine, mine + 900)))) == {mine, other}
    uses = one("extra.consumption_kwh", "in", list(range(900)))
    assert matching(desk, uses) == set()
    owners = [f"team:{key}" for key in ("denmark", "aarhus", "copenhagen", "berlin", "germany")] * 5
    assert matching(desk, one("owner", "in", owners)) == {mine, other}


def test_what_a_template_kept_as_text_before_is_no_number(desk: Desk) -> None:
    told = ["about 4000", "4000", 4000, "007", "", "9" * 30, -5, "4000.5", None]
    numbers = desk.leads(*({"extra": extra(consumption_kwh=each)} for each in told))
    use = "extra.consumption_kwh"
    assert matching(desk, one(use, "from", -(2**62))) == {numbers[1], numbers[2], numbers[6]}
    assert matching(desk, one(use, "is", 4000)) == {numbers[1], numbers[2]}
    assert matching(desk, one(use, "to", 7)) == {numbers[6]}
    assert matching(desk, one(use, "is_not", 4000)) == set(numbers) - {numbers[1], numbers[2]}
    assert matching(desk, one(use, "empty")) == {numbers[8]}
