"""The fields of a lead: described completely, without two fields that claim one header."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ingestd import schemas
from ingestd.errors import Misconfigured
from ingestd.schemas import SYSTEM_FIELDS, LeadField, Schema, header_key
from ingestd.store.tables import leads

SCHEMAS = Path(__file__).parents[1] / "schemas"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example, to break."""
    return Path(shutil.copytree(SCHEMAS, tmp_path / "schemas"))


def field(name: str, *aliases: str, title: str = "") -> LeadField:
    return LeadField(name=name, title=title or name, type="text", aliases=aliases)


@pytest.mark.parametrize("template", [None, "energy", "fibre"])
def test_the_shipped_schemas_are_read(template: str | None) -> None:
    schema = schemas.read(SCHEMAS, template)
    assert set(SYSTEM_FIELDS) <= set(schema.by_name)
    assert [each.name for each in schema.fields if each.required] == ["phone"]
    assert bool(schema.extra) is (template is not None)


def test_every_system_field_has_a_column_of_its_own() -> None:
    assert set(SYSTEM_FIELDS) <= set(leads.columns.keys())


def test_a_country_is_known_by_every_spelling_and_by_its_code() -> None:
    schema = schemas.read(SCHEMAS)
    for code, country in schema.countries.items():
        for spelling in (code, code.lower(), *country.names):
            assert schema.country_codes[header_key(spelling)] == code, spelling


def test_two_fields_may_not_claim_one_header() -> None:
    with pytest.raises(ValidationError, match="the alias 'Mo-bile' means both 'phone' and 'handy'"):
        Schema(fields=(field("phone", "mobile"), field("handy", "Mo-bile")), countries={}, version="1")


def test_a_name_conflicts_with_another_ones_title() -> None:
    with pytest.raises(ValidationError, match="means both"):
        Schema(fields=(field("city", title="Town"), field("town")), countries={}, version="1")


def test_one_field_may_be_spelled_alike_twice() -> None:
    schema = Schema(fields=(field("postcode", "post code", "Post-Code"),), countries={}, version="1")
    assert set(schema.by_header) == {"postcode"}


def test_a_template_that_claims_a_system_fields_header_is_refused(folder: Path) -> None:
    with (folder / "energy.toml").open("a", encoding="utf-8") as file:
        file.write('[[field]]\nname = "mobile_plan"\ntitle = "Mobile"\ntype = "text"\n')
    with pytest.raises(Misconfigured, match="'Mobile' means both 'phone' and 'mobile_plan'"):
        schemas.read(folder, "energy")
    assert schemas.read(folder, "fibre")


@pytest.mark.parametrize(
    ("old", "new", "key", "told"),
    [
        ('type = "phone"', 'type = "fone"', "field.phone.type", "found 'fone'"),
        ("max_length = 64", "max_length = 0", "field.external_id.max_length", "found 0"),
        ('name = "external_id"', 'name = "External Id"', "field.External Id.name", "found 'External Id'"),
        ("required = true", "requierd = true", "field.phone.requierd", "is 'required' meant?"),
        ('min = "1900-01-01"', 'min = "1900"', "field.date_of_birth", "cannot be '1900'"),
        ("min = 0", 'min = "none"', "field.priority", "cannot be 'none'"),
        ("[[field]]", "[[fields]]", "fields", "is not known"),
        ("[[field]]", "[[field", "syntax", "line 5"),
        ('name = "city"', 'name = "town_name"', "field", "the system fields city are not described"),
    ],
)
def test_an_error_names_file_and_key(folder: Path, old: str, new: str, key: str, told: str) -> None:
    path = folder / "lead.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(Misconfigured) as raised:
        schemas.read(folder)
    assert raised.value.where == str(path)
    assert raised.value.key == key
    assert told in raised.value.message


def test_an_error_of_the_system_fields_is_not_blamed_on_the_template(folder: Path) -> None:
    path = folder / "lead.toml"
    path.write_text(path.read_text(encoding="utf-8").replace('type = "phone"', 'type = "fone"', 1), encoding="utf-8")
    with pytest.raises(Misconfigured) as raised:
        schemas.read(folder, "energy")
    assert raised.value.where == str(path)


def test_a_template_cannot_describe_a_system_field_anew(folder: Path) -> None:
    with (folder / "energy.toml").open("a", encoding="utf-8") as file:
        file.write('[[field]]\nname = "phone"\ntitle = "Phone"\ntype = "text"\n')
    with pytest.raises(Misconfigured, match="described twice: phone"):
        schemas.read(folder, "energy")


def test_an_unknown_key_of_a_country_is_named(folder: Path) -> None:
    with (folder / "countries.toml").open("a", encoding="utf-8") as file:
        file.write("typo = 3\n")
    with pytest.raises(Misconfigured, match=r"countries\.toml: country\.US\.typo: .*found 3"):
        schemas.read(folder)


def test_a_pattern_must_be_one() -> None:
    with pytest.raises(ValidationError, match="is no regular expression"):
        LeadField(name="a", title="A", type="text", pattern="(")


def test_a_template_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(Misconfigured, match=r"gas\.toml: file: cannot be read"):
        schemas.read(folder, "gas")


def test_the_version_names_the_content(folder: Path) -> None:
    before, energy = schemas.read(folder).version, schemas.read(folder, "energy").version
    assert before != energy
    (folder / "fibre.toml").write_text("", encoding="utf-8")
    assert schemas.read(folder).version == before
    with (folder / "countries.toml").open("a", encoding="utf-8") as file:
        file.write("# a word more\n")
    assert schemas.read(folder).version != before


@given(st.text())
def test_a_key_has_no_case_no_spaces_and_no_punctuation(text: str) -> None:
    key = header_key(text)
    letters = "".join(char for char in key if char.isalnum())
    assert key == (letters or "".join(key.split()))
    assert header_key(f" {text}\t") == key
    assert header_key(key) == header_key(header_key(key)), "a key of a key changes nothing more"


@given(st.text(st.characters(codec="latin-1")))
def test_case_does_not_count_in_western_headers(text: str) -> None:
    assert header_key(text.casefold()) == header_key(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("  Tlf. Nr:", "tlf-nr"),
        ("Téléphone", "TELEPHONE"),
        ("Straße", "STRASSE"),
        ("Ländercode", "LÄNDERCODE"),
        ("Fødselsdato", "fødselsdato"),
        ("E-mail", "email"),
        ("Phone 2", "phone2"),
    ],
)
def test_headers_that_mean_the_same(one: str, other: str) -> None:
    assert header_key(one) == header_key(other)


def test_digits_count() -> None:
    assert header_key("Phone 1") != header_key("Phone 2")


def test_signs_count_where_there_is_nothing_else() -> None:
    assert header_key(" % ") == header_key("%") != header_key("#")
    assert header_key("phone %") == header_key("phone #")
    assert header_key(" \t") == ""
