"""Ownership: the record's code, then the file's name, then the default; and never a guess."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.errors import Rejected
from ingestd.ingest import ownership
from ingestd.ingest.ownership import Policy
from ingestd.model import Owner, Owners
from ingestd.settings import code_key


def owner(number: int, kind: str, name: str, code: str) -> Owner:
    return Owner(id=number, kind=kind, name=name, code=code)


COPENHAGEN = owner(1, "team", "copenhagen", "DK-CPH")
AARHUS = owner(2, "team", "aarhus", "DK-AAR")
AGENT = owner(3, "user", "jens", "CPH-101")
GREEK = owner(4, "team", "greek", "ΣΤΡΑΣΣΕ")
EVERY = (COPENHAGEN, AARHUS, AGENT, GREEK)
OWNERS = Owners(
    by_code={code_key(each.code or ""): each for each in EVERY},
    by_name={f"{each.kind}:{each.name}": each for each in EVERY},
)
STRICT = Policy(default=AARHUS, unknown_to_default=False)
LENIENT = Policy(default=AARHUS, unknown_to_default=True)
NOBODY = Policy(default=None, unknown_to_default=False)
PATTERN = "_(?P<code>[A-Z]{2}-[A-Z]{3})_"


def resolved(
    *codes: str | None, policy: Policy = STRICT, named: Owner | None = None
) -> tuple[list[int | None], list[dict[str, Any]]]:
    frame = pl.DataFrame(
        {"row": range(1, len(codes) + 1), "ownership_code": codes},
        schema={"row": pl.UInt32, "ownership_code": pl.String},
    )
    owned, found = ownership.resolve(frame, "Owner code", OWNERS, policy, named)
    assert owned.drop("owner_id").equals(frame)
    return owned["owner_id"].to_list(), found.to_dicts()


def test_the_records_own_code_comes_first() -> None:
    assert resolved("DK-CPH", "CPH-101", named=AARHUS) == ([1, 3], [])


def test_without_a_code_the_files_name_decides_then_the_default() -> None:
    assert resolved(None, named=COPENHAGEN) == ([1], [])
    assert resolved(None) == ([2], [])


def test_without_a_column_of_codes_everything_goes_to_name_or_default() -> None:
    frame = pl.DataFrame({"row": [1, 2]}, schema={"row": pl.UInt32})
    for named, number in ((COPENHAGEN, 1), (None, 2)):
        owned, found = ownership.resolve(frame, "", OWNERS, STRICT, named)
        assert (owned["owner_id"].to_list(), found.height) == ([number, number], 0)


def test_a_record_that_nobody_would_own_is_an_error() -> None:
    numbers, found = resolved(None, "DK-CPH", policy=NOBODY)
    assert numbers == [None, 1]
    assert [(each["row"], each["code"], each["severity"]) for each in found] == [(1, "owner_missing", "error")]
    frame = pl.DataFrame({"row": [7]}, schema={"row": pl.UInt32})
    _, found_without = ownership.resolve(frame, "", OWNERS, NOBODY, None)
    assert found_without["row"].to_list() == [7]


@pytest.mark.parametrize("code", ["dk-cph", "  DK-CPH ", "Dk-Cph\t"])
def test_codes_are_compared_trimmed_and_without_case(code: str) -> None:
    assert resolved(code) == ([1], [])


def test_case_is_that_of_unicode() -> None:
    assert resolved("στραςςε") == ([4], [])


def test_an_unknown_code_is_an_error_with_the_nearest_known_one() -> None:
    numbers, (problem,) = resolved("DK-CHP")
    assert numbers == [None]
    assert problem["code"] == "ownership_code_unknown"
    assert (problem["severity"], problem["stage"]) == ("error", "ownership")
    assert (problem["column"], problem["field"], problem["value"]) == ("Owner code", "ownership_code", "DK-CHP")
    assert problem["suggestion"] == "is 'DK-CPH' meant?"


def test_an_unknown_code_is_never_given_to_the_files_owner() -> None:
    assert resolved("nobody", named=COPENHAGEN)[0] == [None]


def test_a_code_like_no_other_gets_no_guess() -> None:
    _, (problem,) = resolved("42")
    assert problem["suggestion"] == "ask the operator for the codes of your source"


def test_a_source_may_take_unknown_codes_to_its_default_with_a_warning() -> None:
    numbers, (problem,) = resolved("DK-CHP", "dk-cph", None, policy=LENIENT, named=COPENHAGEN)
    assert numbers == [2, 1, 1]
    assert (problem["row"], problem["severity"]) == (1, "warning")
    assert "loaded to the source's default owner" in problem["message"]
    assert problem["suggestion"] == "is 'DK-CPH' meant?"


def test_the_same_unknown_code_is_named_for_every_record() -> None:
    _, found = resolved("x", "DK-CPH", "x", "y")
    assert [(each["row"], each["value"]) for each in found] == [(1, "x"), (3, "x"), (4, "y")]


def test_a_column_of_something_else_does_not_take_hours() -> None:
    """Only so many codes are compared with all known ones; the others are told the same as those without a near one."""
    codes = [f"DK-CP{number}" for number in range(ownership.SUGGESTED + 50)]
    numbers, found = resolved(*codes)
    assert set(numbers) == {None}
    assert len(found) == len(codes)
    assert sum("meant" in each["suggestion"] for each in found) == ownership.SUGGESTED
    assert all(each["suggestion"] for each in found)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("leads_DK-CPH_2026.csv", COPENHAGEN),
        ("FOLDER_DK-AAR_/leads.csv", AARHUS),
        ("leads.csv", None),
        ("leads_dk-cph_2026.csv", None),  # the pattern decides what is a code
    ],
)
def test_a_code_in_the_name_or_folder_is_found_by_the_sources_pattern(path: str, expected: Owner | None) -> None:
    assert ownership.from_name(PATTERN, path, OWNERS, STRICT) == expected


def test_an_unknown_code_in_the_name_goes_to_the_default_where_the_source_says_so() -> None:
    assert ownership.from_name(PATTERN, "leads_DK-CPX_2026.csv", OWNERS, LENIENT) == AARHUS


def test_without_a_pattern_names_say_nothing() -> None:
    assert ownership.from_name(None, "leads_DK-CPH_2026.csv", OWNERS, STRICT) is None


def test_a_pattern_may_leave_its_code_out() -> None:
    optional = r"leads(?:_(?P<code>[A-Z-]+))?\.csv"
    assert ownership.from_name(optional, "leads.csv", OWNERS, STRICT) is None
    assert ownership.from_name(optional, "leads_DK-CPH.csv", OWNERS, STRICT) == COPENHAGEN


def test_an_unknown_code_in_the_name_refuses_the_file_with_a_suggestion() -> None:
    with pytest.raises(Rejected, match="'DK-CPX'") as caught:
        ownership.from_name(PATTERN, "leads_DK-CPX_2026.csv", OWNERS, STRICT)
    assert caught.value.code == "ownership_code_unknown"
    assert caught.value.suggestion == "is 'DK-CPH' meant?"


CODES = st.one_of(st.none(), st.sampled_from(["DK-CPH", "dk-aar ", " cph-101", "DK-CHP"]), st.text(min_size=1))


@given(st.lists(CODES, max_size=12), st.sampled_from([STRICT, LENIENT, NOBODY]), st.sampled_from([None, COPENHAGEN]))
def test_every_record_has_an_owner_or_an_error(codes: list[str | None], policy: Policy, named: Owner | None) -> None:
    numbers, found = resolved(*codes, policy=policy, named=named)
    errors = [each["row"] for each in found if each["severity"] == "error"]
    assert len(errors) == len(set(errors))
    for row, (code, number) in enumerate(zip(codes, numbers, strict=True), 1):
        assert (number is None) == (row in errors)
        known = OWNERS.by_code.get(code_key(code)) if code else named or policy.default
        if known:
            assert number == known.id
        elif number is not None:
            assert (policy, number) == (LENIENT, AARHUS.id)
            assert row in [each["row"] for each in found]
