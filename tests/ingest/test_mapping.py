"""Mapping: which column is which field, and that no cell is changed but for the white space around it."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd import schemas
from ingestd.errors import Rejected
from ingestd.ingest import mapping, problems
from ingestd.ingest.reading import RECORDS, Sheet, read
from ingestd.schemas import LeadField, Schema, header_key
from tests.databases import ROOT

SCHEMA = schemas.read(ROOT / "schemas", "energy")


def assigned(*header: str, saved: dict[str, str] | None = None) -> dict[str, str]:
    return mapping.assign(header, SCHEMA, saved or {})


def sheet_of(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Sheet:
    """A sheet of good records whose cells are exactly these."""
    numbers = range(1, len(rows) + 1)
    records = pl.DataFrame(
        [(number, number + 1, number + 1, number - 1, 1) for number in numbers], schema=RECORDS, orient="row"
    )
    facts = read(b"phone,a\n+4526000001,b\n", name="x").facts
    return Sheet(
        header=header,
        header_bytes=b"",
        cells=pl.DataFrame(rows, schema=dict.fromkeys(header, pl.String), orient="row"),
        rows=pl.Series("row", numbers, dtype=pl.UInt32),
        records=records,
        problems=problems.empty(),
        discarded=pl.Series("row", [], dtype=pl.UInt32),
        original=b"x" * len(rows),
        facts=facts,
    )


def refusal(*header: str, saved: dict[str, str] | None = None) -> Rejected:
    with pytest.raises(Rejected) as caught:
        mapping.apply(sheet_of(header, [("x",) * len(header)]), SCHEMA, saved or {})
    return caught.value


@pytest.mark.parametrize("field", SCHEMA.fields, ids=lambda field: field.name)
def test_every_name_and_alias_of_a_field_means_it(field: LeadField) -> None:
    for name in field.names:
        assert assigned(name) == {field.name: name}


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ("  E-MAIL ", "email"),
        ("e mail", "email"),
        ("Tlf. Nr.:", "phone"),
        ("TÉLÉPHONE", "phone"),
        ("telephone", "phone"),
        ("Födelsedatum", "date_of_birth"),
        ("fodselsdato", "date_of_birth"),
        ("STRASSE", "address"),
        ("Straße", "address"),
        ("first_name", "first_name"),
        ("First-Name*", "first_name"),
    ],
)
def test_case_space_punctuation_and_accents_do_not_matter(header: str, field: str) -> None:
    assert assigned(header) == {field: header}


def test_the_saved_mapping_wins_over_alias_and_name() -> None:
    assert assigned("Phone", "City", saved={"phone": "alternative_phone"}) == {
        "alternative_phone": "Phone",
        "city": "City",
    }
    assert assigned("first_name", saved={"First Name": "last_name"}) == {"last_name": "first_name"}


def test_the_saved_mapping_is_as_tolerant_as_the_aliases() -> None:
    assert assigned("KD NR", saved={"Kd-Nr.": "external_id"}) == {"external_id": "KD NR"}


def test_a_column_named_by_the_saved_mapping_keeps_others_from_its_field() -> None:
    header = ("Phone", "Best number")
    assert assigned(*header, saved={"Best number": "phone"}) == {"phone": "Best number"}
    mapped = mapping.apply(sheet_of(header, [("1", "2")]), SCHEMA, {"Best number": "phone"})
    assert mapped.ignored == ("Phone",)
    assert mapped.frame["phone"].to_list() == ["2"]


def test_an_empty_mapping_ignores_the_column() -> None:
    mapped = mapping.apply(sheet_of(("Phone", "Tel"), [("1", "2")]), SCHEMA, {"Tel": ""})
    assert (mapped.columns, mapped.ignored) == ({"phone": "Phone"}, ("Tel",))


def test_two_columns_for_one_field_are_refused_by_name() -> None:
    problem = refusal("Phone", "Name", "Mobile")
    assert problem.code == "two_columns_one_field"
    assert "'Phone'" in problem.message
    assert "'Mobile'" in problem.message
    assert refusal("A", "B", saved={"A": "phone", "B": "phone"}).code == "two_columns_one_field"


def test_a_missing_required_column_is_refused_with_what_may_be_meant() -> None:
    problem = refusal("Name", "Telefonnumer", "City")
    assert problem.code == "required_column_missing"
    assert "Name, Telefonnumer, City" in problem.message
    assert "is the column 'Telefonnumer' meant?" in problem.suggestion


def test_a_missing_required_column_without_a_near_one_suggests_none() -> None:
    problem = refusal("Name", "Zzz")
    assert "meant" not in problem.suggestion
    assert "'Phone'" in problem.suggestion


def test_a_required_column_that_the_operator_ignores_is_missing() -> None:
    assert refusal("Phone", saved={"Phone": ""}).code == "required_column_missing"


def test_names_without_a_letter_are_different_names() -> None:
    saved = {"%": "city", "***": ""}
    mapped = mapping.apply(sheet_of(("phone", "#", " % "), [("1", "7", "Ulm")]), SCHEMA, saved)
    assert (mapped.columns, mapped.ignored) == ({"phone": "phone", "city": " % "}, ("#",))
    assert mapping.apply(sheet_of(("phone", "#"), [("1", "7")]), SCHEMA, saved).ignored == ("#",)
    assert mapping.unmatched(("phone", "#", "***"), SCHEMA, saved) == ("#",)


def test_what_matches_nothing_is_named_in_file_order() -> None:
    mapped = mapping.apply(sheet_of(("Zebra", "phone", "***", "Ape"), [("a", "b", "c", "d")]), SCHEMA, {})
    assert mapped.ignored == ("Zebra", "***", "Ape")
    assert mapped.frame.columns == ["row", "phone"]


def test_trimmed_cells_are_counted_by_column() -> None:
    rows = [(" 1", "a b"), ("2\u00a0", "\tc"), ("3", ""), ("4", "  ")]
    mapped = mapping.apply(sheet_of(("Phone", "City"), rows), SCHEMA, {})
    assert mapped.trimmed == {"Phone": 2, "City": 2}
    assert mapped.frame.rows() == [(1, "1", "a b"), (2, "2", "c"), (3, "3", None), (4, "4", None)]


@pytest.mark.parametrize("header", ["^phone$", "Phone*", "phone|.*", "[phone]", "$phone^"])
def test_a_header_is_never_taken_for_a_pattern(header: str) -> None:
    mapped = mapping.apply(sheet_of((header, "^.*$", "*"), [("1", "2", "3")]), SCHEMA, {})
    assert mapped.columns == {"phone": header}
    assert mapped.frame.rows() == [(1, "1")]


def test_a_sheet_without_good_records_is_mapped_too() -> None:
    mapped = mapping.apply(sheet_of(("phone", "x"), []), SCHEMA, {})
    assert mapped.frame.schema == pl.Schema({"row": pl.UInt32, "phone": pl.String})
    assert mapped.trimmed == {}


CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
HEADERS = st.permutations(["Phone", "E-mail", "Fornavn", "By", "Note", "Unknown", "Kd-Nr."])


@given(HEADERS, st.lists(st.lists(CELLS, min_size=7, max_size=7), max_size=6), st.sampled_from([{}, {"Note": ""}]))
def test_no_cell_changes_but_for_the_white_space_around_it(
    header: list[str], rows: list[list[str]], saved: dict[str, str]
) -> None:
    sheet = sheet_of(tuple(header), [tuple(row) for row in rows])
    mapped = mapping.apply(sheet, SCHEMA, saved)
    assert set(mapped.ignored) | set(mapped.columns.values()) == set(header)
    assert mapped.frame.height == len(rows)
    for field, name in mapped.columns.items():
        before = [row[header.index(name)] for row in rows]
        changed = 0
        for cell, value in zip(before, mapped.frame[field], strict=True):
            text = value or ""
            assert value != ""
            assert text in cell
            around = cell.replace(text, "", 1) if text else cell
            assert not around.strip()
            changed += text != cell
        assert mapped.trimmed.get(name, 0) == changed


@given(
    st.lists(
        st.one_of(st.text(max_size=6), st.sampled_from(["Phone", "tel", "TLF.", "By", "E-Mail", "mail"])), unique=True
    )
)
def test_any_header_is_assigned_or_refused(header: list[str]) -> None:
    schema = Schema(fields=SCHEMA.fields, countries={}, version="x")
    fields = [schema.by_header[key].name for key in map(header_key, header) if key in schema.by_header]
    if len(fields) == len(set(fields)):
        assert list(mapping.assign(tuple(header), schema, {})) == fields
    else:
        with pytest.raises(Rejected, match="both mean"):
            mapping.assign(tuple(header), schema, {})
