"""What a lead may hold: the system fields of `schemas/lead.toml`, a campaign's template, and how countries write.

The form is our own and close to Table Schema, because pandera cannot read its own YAML without pandas (READING.md).
"""

from __future__ import annotations

import difflib
import hashlib
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator
from datetime import date
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import AfterValidator, Field, ValidationError, model_validator

from ingestd.errors import Misconfigured
from ingestd.settings import Configuration, Frozen, Source, misconfigured

FieldType = Literal["text", "phone", "email", "date", "datetime", "integer", "country", "postcode", "code"]

SYSTEM_FIELDS = (
    "external_id", "phone", "alternative_phone", "title", "first_name", "last_name", "full_name", "company", "email",
    "address", "postcode", "city", "state", "country", "date_of_birth", "language", "priority", "scheduled_at",
    "comments", "ownership_code",
)  # fmt: skip
"""The fields that have a column of their own in the table of leads; `schemas/lead.toml` describes exactly these."""


RESERVED = frozenset(
    ("row", "id", "campaign_id", "pool_id", "owner_id", "status_id", "status", "extra", "invalid_phone", "global_list")
)
"""Columns that the road and the table of leads have beside the fields; a field of that name would be taken for them."""


def _known_pattern(value: str) -> str:
    """Patterns are matched by polars, whose expressions have no look-around and no back-references."""
    try:
        pl.Series([""]).str.contains(f"^(?:{value})$")
    except pl.exceptions.ComputeError as problem:
        raise ValueError(f"is no regular expression of the kind used here: {problem}") from problem
    return value


def _is_bound(kind: str, bound: int | str) -> bool:
    if kind == "integer":
        return isinstance(bound, int)
    if kind != "date" or isinstance(bound, int):
        return False
    try:
        return bound == "today" or bool(date.fromisoformat(bound))
    except ValueError:
        return False


class LeadField(Frozen):
    """One field of a lead: its name in the store, its title for people, and what its values must be."""

    name: Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")] = Field(description="the name in the store; unique")
    title: str = Field(description="the name people see; also a header that means the field")
    type: FieldType = Field(description="how the text of a cell is read; see below")
    required: bool = Field(False, description="every file needs the column and every record a value")
    personal: bool = Field(False, description="tells who somebody is; blanked when a lead is anonymised")
    aliases: tuple[str, ...] = Field((), description="other headers that mean the field")
    max_length: int | None = Field(None, ge=1, description="characters a value may have")
    pattern: Annotated[str, AfterValidator(_known_pattern)] | None = Field(
        None, description="regular expression that the whole value must match"
    )
    choices: tuple[str, ...] = Field((), description="the only values allowed, when there are any")
    min: int | str | None = Field(None, description="smallest number, or first day as YYYY-MM-DD or `today`")
    max: int | str | None = Field(None, description="largest number, or last day as YYYY-MM-DD or `today`")

    @model_validator(mode="after")
    def _bounded(self) -> LeadField:
        for bound in (self.min, self.max):
            if bound is not None and not _is_bound(self.type, bound):
                raise ValueError(f"min and max of type {self.type!r} cannot be {bound!r}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Every spelling of a header that means this field."""
        return (self.name, self.title, *self.aliases)


class Country(Frozen):
    """How a country and its postcodes are written."""

    names: tuple[str, ...] = Field((), description="spellings besides the code, compared as headers are")
    postcode: Annotated[str, AfterValidator(_known_pattern)] | None = Field(
        None, description="regular expression of its postcodes; without one they are not checked"
    )


class Schema(Frozen):
    """The system fields and one campaign template, with the countries; `version` names their content."""

    fields: tuple[LeadField, ...]
    countries: dict[str, Country]
    version: str

    @model_validator(mode="after")
    def _unambiguous(self) -> Schema:
        doubled = [name for name, count in Counter(field.name for field in self.fields).items() if count > 1]
        if doubled:
            raise ValueError(f"described twice: {', '.join(doubled)}")
        reserved = [field.name for field in self.fields if field.name in RESERVED or field.name.endswith("_there")]
        if reserved:
            raise ValueError(f"the names {', '.join(reserved)} are used by ingestd itself; choose others")
        owners: dict[str, str] = {}
        for field in self.fields:
            for name in field.names:
                other = owners.setdefault(header_key(name), field.name)
                if other != field.name:
                    raise ValueError(f"the alias {name!r} means both {other!r} and {field.name!r}")
        return self

    @cached_property
    def by_name(self) -> dict[str, LeadField]:
        """The fields by their name in the store."""
        return {field.name: field for field in self.fields}

    @cached_property
    def by_header(self) -> dict[str, LeadField]:
        """The fields by every key of a header that means them."""
        return {header_key(name): field for field in self.fields for name in field.names}

    @cached_property
    def country_codes(self) -> dict[str, str]:
        """ISO 3166-1 alpha-2 by every key under which a country is written."""
        codes = {header_key(name): code for code, country in self.countries.items() for name in country.names}
        return codes | {header_key(code): code for code in self.countries}

    @property
    def extra(self) -> tuple[LeadField, ...]:
        """The fields of the campaign's template; they are kept in the lead's `extra`."""
        return tuple(field for field in self.fields if field.name not in SYSTEM_FIELDS)


def header_key(text: str) -> str:
    """The form in which headers are compared: without case, accents, spaces and punctuation, if anything else is left.

    >>> header_key("  Tlf. Nr:") == header_key("tlf-nr")
    True
    >>> header_key("%") == header_key("#")
    False
    """
    letters = text.casefold().replace("ß", "ss").replace("ø", "o").replace("æ", "ae").replace("đ", "d")
    plain = unicodedata.normalize("NFKD", letters)
    return "".join(char for char in plain if char.isalnum()) or "".join(plain.split())


def read(folder: Path, template: str | None = None) -> Schema:
    """The schema of a campaign with `template`; raises Misconfigured naming file, key and value.

    The files are read each time, so a change counts from the next delivery on; the same content is not parsed again.
    """
    names = ["lead.toml", "countries.toml", *([f"{template}.toml"] if template else [])]
    return _parsed(folder, tuple((name, _text(folder / name)) for name in names))


@lru_cache(maxsize=32)
def _parsed(folder: Path, texts: tuple[tuple[str, str], ...]) -> Schema:
    """`texts` are lead.toml, countries.toml and the template, if there is one: name and content."""
    names = [name for name, _ in texts]
    version = hashlib.sha256("\0".join(text for _, text in texts).encode()).hexdigest()[:12]
    values = {name: _toml(folder / name, text) for name, text in texts}
    fields = [field for name in names if name != "countries.toml" for field in _fields(folder / name, values[name])]
    countries = dict(_countries(folder / "countries.toml", values["countries.toml"]))
    try:
        schema = Schema(fields=tuple(fields), countries=countries, version=version)
    except ValidationError as problem:
        raise misconfigured(folder / (names[2] if len(names) > 2 else names[0]), problem, Schema) from problem
    _check_system_fields(folder / "lead.toml", schema)
    return schema


def _fields(path: Path, values: dict[str, Any]) -> Iterator[LeadField]:
    _only(path, values, "field")
    for number, field in enumerate(values.get("field", ())):
        try:
            yield LeadField.model_validate(field)
        except ValidationError as problem:
            raise misconfigured(path, problem, LeadField, "field", str(field.get("name", number))) from problem


def _countries(path: Path, values: dict[str, Any]) -> Iterator[tuple[str, Country]]:
    _only(path, values, "country")
    for code, country in values.get("country", {}).items():
        try:
            yield code, Country.model_validate(country)
        except ValidationError as problem:
            raise misconfigured(path, problem, Country, "country", code) from problem


def _only(path: Path, values: dict[str, Any], table: str) -> None:
    if unknown := sorted(set(values) - {table}):
        raise Misconfigured(str(path), unknown[0], f"is not known; this file holds [{table}] tables only")


def check_mappings(folder: Path, configuration: Configuration) -> None:
    """Raises Misconfigured when a source's saved mapping names a field that none of its campaigns has."""
    templates = {campaign.code: campaign.template for campaign in configuration.organisation.campaign}
    for template in set(templates.values()):
        read(folder, template)
    for source in configuration.sources.source:
        check_mapping(folder, source, {templates[code] for code in (source.campaign, *source.campaigns)})


def check_mapping(folder: Path, source: Source, templates: Collection[str | None]) -> None:
    """The same for one source, whose campaigns have these templates."""
    fields = {"", *(field for template in templates for field in read(folder, template).by_name)}
    for column, field in source.mapping.items():
        if field not in fields:
            key = f"source {source.name}.mapping.{column}"
            near = difflib.get_close_matches(field, fields, n=1)
            hint = f"; is {near[0]!r} meant?" if near else ""
            raise Misconfigured("sources.toml", key, f"no field {field!r} exists{hint}")


def _check_system_fields(path: Path, schema: Schema) -> None:
    missing = sorted(set(SYSTEM_FIELDS) - set(schema.by_name))
    if missing:
        raise Misconfigured(str(path), "field", f"the system fields {', '.join(missing)} are not described")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise Misconfigured(str(path), "file", f"cannot be read: {problem}") from problem


def _toml(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise Misconfigured(str(path), "syntax", str(problem)) from problem
