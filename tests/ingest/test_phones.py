"""Phones: the answer is always libphonenumber's, whichever way a number goes."""

from __future__ import annotations

from collections.abc import Callable

import phonenumbers
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneMetadata

from bench import phones as bench
from ingestd.ingest import phones
from ingestd.ingest.phones import amounts, metadata, plain, reference, singly, written

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


ONE_AT_A_TIME, SMALL_GROUPS_SLOW, ALL_FAST = (10**9, 100), (0, 100), (0, 1)
"""The ways of a number, as `phones.FEW` and `plain.WORTHWHILE`: tests have few numbers, and fewer a region."""


@pytest.fixture(
    params=[ONE_AT_A_TIME, SMALL_GROUPS_SLOW, ALL_FAST], ids=["one at a time", "small groups slow", "all fast"]
)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way that a number can go."""
    go(request.param, monkeypatch)


@pytest.fixture
def all_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even one number of a region is decided by its expressions."""
    go(ALL_FAST, monkeypatch)


def go(way: tuple[int, int], patch: pytest.MonkeyPatch) -> None:
    """Sends all numbers one way."""
    patch.setattr(phones, "FEW", way[0])
    patch.setattr(plain, "WORTHWHILE", way[1])


def one(number: str | None, region: str | None) -> tuple[str | None, str | None, str | None]:
    """`e164, reason, extension` of one number."""
    row = phones.normalise(pl.Series([number], dtype=pl.String), pl.Series([region], dtype=pl.String)).row(0)
    return row[0], row[1], row[2]


VALID = [
    # Denmark: no trunk; +45 may be missing; a number may begin with 45 by itself
    ("DK", "20 12 34 56", "+4520123456"),
    ("DK", "(+45) 2012-3456", "+4520123456"),
    ("DK", "0045 20123456", "+4520123456"),
    ("DK", "4520123456", "+4520123456"),
    ("DK", "45 45 45 45", "+4545454545"),
    ("DK", "4545454545", "+4545454545"),
    ("DK", "+0045 20123456", "+4520123456"),
    # Sweden, Germany, Austria, Switzerland: trunk 0, numbers of many lengths
    ("SE", "070-123 45 67", "+46701234567"),
    ("SE", "08-12 34 56", "+468123456"),
    ("SE", "+46 (0)70 123 45 67", "+46701234567"),
    ("DE", "030/123456", "+4930123456"),
    ("DE", "0171 1234567", "+491711234567"),
    ("DE", "4930123456", "+4930123456"),
    ("DE", "+49 (0) 30 123456", "+4930123456"),
    ("AT", "01 234567890", "+431234567890"),
    ("AT", "0316 12345678901", None),
    ("CH", "044 668 18 00", "+41446681800"),
    # one calling code, several regions
    ("GB", "07911 123456", "+447911123456"),
    ("GB", "+44 1534 440000", "+441534440000"),
    ("JE", "440000", "+441534440000"),
    ("GG", "01481 256789", "+441481256789"),
    ("IM", "07624 301234", "+447624301234"),
    # the leading zero belongs to the number
    ("IT", "06 1234 5678", "+390612345678"),
    ("IT", "347 123 4567", "+393471234567"),
    ("VA", "06 69812345", "+390669812345"),
    ("SM", "886377", "+3780549886377"),
    ("SM", "0549 886377", "+3780549886377"),
    ("FR", "06 12 34 56 78", "+33612345678"),
    ("FR", "+33\u00a06\u00a012\u00a034\u00a056\u00a078", "+33612345678"),
    # the North American plan
    ("US", "(212) 555-2368", "+12125552368"),
    ("US", "1-212-555-2368", "+12125552368"),
    ("US", "011 45 20 12 34 56", "+4520123456"),
    ("CA", "416.555.0123", "+14165550123"),
    ("PR", "787 234 5678", "+17872345678"),
    ("AG", "464 1234", "+12684641234"),
    ("US", "310 1234", "+13101234"),
    ("CA", "310 1234", "+13101234"),
    ("RU", "8 (912) 345-67-89", "+79123456789"),
    ("RU", "810 45 20123456", "+4520123456"),
    ("KZ", "8 701 234 5678", "+77012345678"),
    # rewritten trunks: Argentine mobiles lose 15 and gain 9; Brazilian carrier codes go
    ("AR", "011 15-2345-6789", "+5491123456789"),
    ("AR", "011 2345-6789", "+541123456789"),
    ("AR", "+54 9 11 2345-6789", "+5491123456789"),
    ("BR", "011 96123-4567", "+5511961234567"),
    ("BR", "0 15 11 96123-4567", "+5511961234567"),
    ("MX", "55 1234 5678", "+525512345678"),
    ("AU", "0412 345 678", "+61412345678"),
    ("AU", "1831 412 345 678", "+61412345678"),
    ("NO", "406 12 345", "+4740612345"),
    ("FI", "041 2345678", "+358412345678"),
    ("HU", "06 20 123 4567", "+36201234567"),
    ("LT", "8 612 34567", "+37061234567"),
    ("JP", "090-1234-5678", "+819012345678"),
    # calling codes that are no country's
    (None, "+800 1234 5678", "+80012345678"),
    (None, "+808 1234 5678", "+80812345678"),
    (None, "+870 773 111 632", "+870773111632"),
    (None, "+878 10 1234 567890", "+878101234567890"),
    (None, "+881 612 345 678", "+881612345678"),
    (None, "+882 3421234", "+8823421234"),
    (None, "+883 510 012 345", "+883510012345"),
    (None, "+888 123 456 789 01", "+88812345678901"),
    (None, "+979 123 456 789", "+979123456789"),
    ("DK", "00800 1234 5678", "+80012345678"),
]


@pytest.mark.parametrize(("region", "number", "e164"), VALID)
def test_tricky_countries(region: str | None, number: str, e164: str | None, way: None) -> None:
    """Each line says what a person meant; libphonenumber must think so, too, or the table is wrong."""
    answer = one(number, region)
    assert answer == bench.definition(number, region)
    assert answer[0] == e164
    assert (answer[1] is None) == (e164 is not None)


REFUSED = [
    ("DK", "n/a", reference.UNPARSEABLE),
    ("DK", " ", reference.UNPARSEABLE),
    ("DK", "+", reference.UNPARSEABLE),
    ("DK", "7", reference.UNPARSEABLE),
    ("DK", "12", reference.TOO_SHORT),
    ("DK", "2012345", reference.TOO_SHORT),
    ("DK", "0045", reference.TOO_SHORT),
    ("DK", "+45", reference.UNPARSEABLE),
    ("DK", "201234567", reference.TOO_LONG),
    ("DK", "1" * 300, reference.TOO_LONG),
    ("DK", "12345678", reference.INVALID),
    ("DK", "+999 20123456", reference.INVALID_COUNTRY_CODE),
    ("DK", "00999 20123456", reference.INVALID_COUNTRY_CODE),
    (None, "20123456", reference.INVALID_COUNTRY_CODE),
    ("ZZ", "20123456", reference.INVALID_COUNTRY_CODE),
    ("dk", "20123456", reference.INVALID_COUNTRY_CODE),
    ("US", "555-2368", reference.TOO_SHORT),
    ("GB", "+44 20 7946", reference.TOO_SHORT),
]


@pytest.mark.parametrize(("region", "number", "reason"), REFUSED)
def test_refused_numbers_say_why(region: str | None, number: str, reason: str, way: None) -> None:
    """Every reason is one of the stable codes, and there is no number beside it."""
    assert reason in reference.REASONS
    assert one(number, region) == (None, reason, None)


@pytest.mark.parametrize("typed", ["20123456 x12", "20 12 34 56 ext. 12", "+4520123456;ext=12", "20123456,,12"])
def test_an_extension_is_told(typed: str, way: None) -> None:
    """E.164 drops it, so the caller must be able to log it."""
    assert one(typed, "DK") == ("+4520123456", None, "12")


ODD = [
    "20123456 x12",
    "+45 20 12 34 56 EXT. 7",
    "++45 20123456",
    "+0045 20123456",  # no known code: read once more, as dialled
    "+0045 2012345",
    "+0812345678",
    "2.470e+07",
    "+45 20 12 34 56 / +45 20 12 34 57",
    "20 12 34 56 (mobil)",  # spells 66245
    "2012 3FLY",
    "201 2l 34 56",
    "20 12 34 5l",
    "2l 12 34 56",
    "O2O12 34 56",
    "20 12 34 56, 20 12 34 57",
    "+4520123456, +4520123457",
    "20123456, 2012345678",
    "20123456, 201",
]


@pytest.mark.parametrize("typed", ODD)
def test_odd_numbers_are_decided_together(typed: str, all_fast: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What people type most, when they do not type plain numbers, is not left to libphonenumber either."""
    meant = bench.definition(typed, "DK")
    monkeypatch.setattr(reference, "verdict", lambda *_: pytest.fail("libphonenumber was asked"))
    assert one(typed, "DK") == meant


def test_absent_numbers_give_neither_number_nor_reason(way: None) -> None:
    """Null and the empty cell are not mistakes."""
    assert one(None, "DK") == (None, None, None)
    assert one("", "DK") == (None, None, None)


def test_an_absent_number_among_plain_ones_is_no_number(way: None) -> None:
    """What polars knows nothing of is neither plain nor odd."""
    answer = phones.normalise(pl.Series(["20123456", None, "+46 70 123 45 67"]), "DK")
    assert answer.rows() == [("+4520123456", None, None), (None, None, None), ("+46701234567", None, None)]
    assert written.sort(written.lines(pl.Series(["20123456", None]), "DK")).dialled.height == 1


def test_one_region_for_all_and_order_kept(way: None) -> None:
    """The answers stand where the numbers stood."""
    answer = phones.normalise(pl.Series(["x", None, "20123456", "+46 70 123 45 67", "", "12 34"] * 100), "DK")
    assert answer.schema == phones.SCHEMA
    assert answer["e164"].to_list() == [None, None, "+4520123456", "+46701234567", None, None] * 100
    assert answer["reason"].to_list()[:6] == [reference.UNPARSEABLE, None, None, None, None, reference.TOO_SHORT]


@pytest.mark.parametrize("regions", ["DK", pl.Series([], dtype=pl.String)])
def test_no_numbers(regions: pl.Series | str, way: None) -> None:
    """A file of no records is a table of no lines."""
    answer = phones.normalise(pl.Series([], dtype=pl.String), regions)
    assert (answer.height, answer.schema) == (0, phones.SCHEMA)


def test_as_many_regions_as_numbers(way: None) -> None:
    """A wrong length is a bug of the caller, and is not stretched."""
    with pytest.raises(AssertionError, match="2 numbers, but 1 regions"):
        phones.normalise(pl.Series(["1", "2"]), pl.Series(["DK"]))


def test_clean_numbers_never_ask_libphonenumber() -> None:
    """The fast way is fast only while it decides: of clean data nothing is left, of dirty data little."""
    clean, dirty = bench.clean(3_000, 3), bench.dirty(3_000, 3)
    assert bench.slow_share(clean["number"], clean["region"]) == (0, 0)
    assert bench.slow_share(dirty["number"], dirty["region"])[0] < 3_000 * 0.03


def test_most_clean_numbers_need_one_glance() -> None:
    """Looking at one after the other pays only while few of them ask libphonenumber, ten times as slow."""
    seen = [singly.glance(number, region) for number, region in bench.clean(3_000, 3).iter_rows()]
    assert sum(each is not None for each in seen) > 3_000 * 0.75


def test_every_expression_compiles(all_fast: None) -> None:
    """Rust's engine reads all metadata of this version of libphonenumber: each region's rules are all used."""
    digits = pl.Series("digits", ["0" * size for size in range(18)])
    codes = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
    every = [metadata.home(region) for region in REGIONS]
    every += [metadata.main(code) for code in phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS]
    assert {rules.code for rules in every} == set(codes)
    for rules in every:
        valid = rules.valid_by_length.drop_nulls().cast(pl.String)
        for pattern in filter(None, [*valid, rules.general, rules.trunk, rules.abroad, rules.leading]):
            assert digits.str.contains(pattern).len() == 18


@pytest.mark.parametrize("way", [ALL_FAST, ONE_AT_A_TIME], ids=["all fast", "one at a time"])
def test_agrees_on_generated_numbers_of_every_region(way: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same comparison as `python -m bench.phones --agree`, which runs it on millions."""
    go(way, monkeypatch)
    assert bench.differences(bench.generate(50_000, seed=20_26)).rows(named=True) == []


@pytest.mark.parametrize("way", [ALL_FAST, ONE_AT_A_TIME], ids=["all fast", "one at a time"])
def test_agrees_on_real_shaped_numbers_of_every_region(way: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """As people type them, a hundred or more of each region that libphonenumber knows, and of no country's codes."""
    go(way, monkeypatch)
    sample = bench.real_shaped(25_000, seed=20_26)
    counted = dict(sample["region"].value_counts().iter_rows())
    assert set(counted) == {*REGIONS, None}
    assert min(counted.values()) >= 100
    assert bench.differences(sample).rows(named=True) == []


def test_the_generated_numbers_are_of_every_region() -> None:
    """Of each region at least a hundred are read as its own, most of them in its own country."""
    sample = bench.generate(100_000, seed=20_26)
    counted = dict(sample["region"].value_counts().iter_rows())
    assert set(REGIONS) <= set(counted)
    assert min(counted[region] for region in REGIONS) >= 100


def test_agrees_on_dirty_numbers_of_three_countries() -> None:
    """As delivered, with the usual share of small groups left to libphonenumber."""
    assert bench.differences(bench.dirty(20_000, seed=5, share=0.5)).rows(named=True) == []


AMOUNTS = [
    ("1512345678.0", "DE"),  # libphonenumber: +4915123456780
    ("1512345678.00", "AT"),
    ("-1512345678.0", "DE"),
    ("+4915123456789.0", "DE"),
    ("1.512345679E9", "DE"),  # libphonenumber: +4915123456799
    ("1,51235E+09", "DE"),
    ("6641234567.0", "AT"),
    ("3331234567.0", "IT"),
    ("401234567.0", "FI"),
    ("20123456.0", "DK"),
    ("2.470e+07", "DK"),
]


@pytest.mark.parametrize(("cell", "region"), AMOUNTS)
def test_an_amount_is_no_phone(cell: str, region: str, way: None) -> None:
    """It would be another number, so the one cell is refused, and those beside it are read."""
    read = phones.read(pl.Series([cell, None, "+4520123456"]), region)
    assert read.rows() == [(None, "phone_is_a_number", None), (None, None, None), ("+4520123456", None, None)]
    assert read.schema == phones.SCHEMA
    assert phones.MESSAGES["phone_is_a_number"]


@pytest.mark.parametrize(
    "cell",
    ["40.47.75.00", "416.555.0000", "20123456 ext. 0", "0800.000000", "20.123.456", "2012 3FLY", "2012345E6", ""],
)
def test_points_and_letters_alone_make_no_amount(cell: str) -> None:
    """People write phones with them."""
    assert amounts.written(pl.Series([cell])) is None


@given(st.integers(10**6, 10**15 - 1), st.sampled_from([str, "{:.1f}".format, "{:.2f}".format, "{:e}".format]))
def test_amounts_are_told_as_programs_write_them(number: int, write: Callable[[float], str]) -> None:
    """Python, pandas, and all that format by `printf`."""
    cells = pl.Series([write(float(number)), str(number), f"+{number}", None])
    spoilt = amounts.written(cells)
    assert spoilt is not None
    assert spoilt.to_list() == [True, False, False, None]


TYPED = st.text(alphabet="0123456789" * 3 + " -()./+x#;,~*a[]_\t\u00a0\u2013\u0663\uff0b\u200e", max_size=24)


@given(st.lists(TYPED | st.none(), max_size=20))
def test_cells_that_are_no_amounts_are_read_as_libphonenumber_reads_them(cells: list[str | None]) -> None:
    """Whatever is typed, and whatever stands beside it."""
    numbers = pl.Series(cells, dtype=pl.String)
    read, meant = phones.read(numbers, "DE"), phones.normalise(numbers, "DE")
    others = ~read["reason"].eq_missing(pl.Series(["phone_is_a_number"]))
    assert read.filter(others).equals(meant.filter(others))
    assert read.filter(~others)["e164"].null_count() == read.height - others.sum()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TYPED, st.sampled_from([*REGIONS, "ZZ", "001"]) | st.none()), min_size=1, max_size=60))
def test_agrees_on_any_text(lines: list[tuple[str, str | None]]) -> None:
    """Whatever is typed, in whatever region."""
    assert_agreement(lines)


@st.composite
def dialled(draw: st.DrawFn) -> tuple[str, str]:
    """A number made of what the region's own rules look for: prefixes, carrier codes, calling code, valid ranges."""
    region = draw(st.sampled_from(REGIONS))
    found = PhoneMetadata.metadata_for_region(region)
    assert found is not None
    assert found.general_desc is not None
    digits = st.text(alphabet="0123456789", max_size=12)
    starts = [pattern for pattern in (found.international_prefix, found.national_prefix_for_parsing) if pattern]
    literal = st.sampled_from(["", "+", "00", "0", str(found.country_code), f"+{found.country_code}"])
    prefix = st.one_of(literal, *(st.from_regex(rf"\A(?:{start})", alphabet="0123456789") for start in starts))
    number = st.from_regex(found.general_desc.national_number_pattern or "", fullmatch=True, alphabet="0123456789")
    return draw(prefix) + draw(literal | prefix) + draw(number | digits), region


@settings(max_examples=80, deadline=None)
@given(st.lists(dialled(), min_size=1, max_size=40))
def test_agrees_on_numbers_made_from_the_rules(lines: list[tuple[str, str]]) -> None:
    """The seams of the rules: prefixes before prefixes, before numbers that fit or nearly fit."""
    assert_agreement(lines)


def assert_agreement(lines: list[tuple[str, str]] | list[tuple[str, str | None]]) -> None:
    """All lines both ways and by the definition; hypothesis refuses fixtures of a function, hence the patch."""
    sample = pl.DataFrame(lines, schema={"number": pl.String, "region": pl.String}, orient="row")
    for way in (ALL_FAST, ONE_AT_A_TIME):
        with pytest.MonkeyPatch.context() as patch:
            go(way, patch)
            assert bench.differences(sample).rows(named=True) == []
