"""Validation: every cell gets its type, then pandera judges the typed frame by the rules of `schemas/`.

All problems of a record are found, not only the first. A value that cannot be read as its type is a problem of the
stage `type`; one that can be read and breaks a rule is a problem of the stage `rule`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import pandera.polars as pa
import polars as pl
from pandera.api.polars.types import PolarsData
from pandera.errors import SchemaErrors

from ingestd.ingest import casting, phones, problems
from ingestd.ingest.parallel import MANY, in_parallel, select
from ingestd.model import Severity, Stage
from ingestd.schemas import LeadField, Schema

_EMAIL = r"^[^\s@<>(),;:\"\[\]\\]+@(?:[\p{L}\p{N}]+(?:-+[\p{L}\p{N}]+)*\.)+\p{L}{2,}$"
"""The addresses that people have: RFC 5321's dot-string and a registered domain, also in other alphabets.

Without counted repetitions, which made it thirty times slower; the length is a rule of its own."""

_POLARS_TYPES: Mapping[str, Any] = {
    "integer": pl.Int64,
    "date": pl.Date,
    "datetime": pl.Datetime("us", "UTC"),
}

_WANTED = {
    "integer": "a whole number in digits",
    "date": "a date such as 2026-01-31, or with a four-digit year in the source's order",
    "datetime": "a date and time such as 2026-01-31 14:30",
    "country": "a country's name or two-letter code",
}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a delivery's cells are checked against."""

    schema: Schema
    region: str
    """Default phone region and country of the campaign, ISO 3166-1 alpha-2."""
    timezone: str
    dates: str
    """The order of day and month where it is not clear, `dmy` or `mdy`."""
    today: date
    invalid_phone_closes: bool = False
    """Load a lead with an invalid phone as closed, instead of rejecting its record."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What validation found."""

    frame: pl.DataFrame
    """`row`, one typed column a mapped field, and `invalid_phone` (bool); same height as it came in."""
    problems: pl.DataFrame


def check(frame: pl.DataFrame, columns: Mapping[str, str], rules: Rules) -> Checked:
    """Types and checks the mapped text; `columns` names the header of each field, for the messages."""
    fields = [rules.schema.by_name[name] for name in columns]
    read: dict[str, pl.Series] = {}
    found: list[pl.DataFrame] = []
    # Countries first: they decide how the phones and postcodes of their records are read.
    for some in ([field for field in fields if (field.type == "country") == first] for first in (True, False)):
        typing = partial(_typed, frame=frame, countries=read.get("country"), rules=rules, columns=columns)
        for field, (values, wrong) in zip(some, in_parallel(typing, some, worth_it=frame.height > MANY), strict=True):
            read[field.name] = values
            found += wrong
    invalid = _invalid_phone(frame["phone"], read["phone"], rules)
    typed = pl.DataFrame([frame["row"], *(read[name].alias(name) for name in columns), invalid])
    if rules.invalid_phone_closes:
        typed = typed.with_columns(pl.when("invalid_phone").then(frame["phone"]).otherwise("phone").alias("phone"))
    found.append(_judge(frame, typed, fields, columns, rules))
    return Checked(frame=typed, problems=problems.gather(found))


def _invalid_phone(text: pl.Series, read: pl.Series, rules: Rules) -> pl.Series:
    closes = pl.Series([rules.invalid_phone_closes])
    return (text.is_not_null() & read.is_null() & closes).alias("invalid_phone")


def _typed(
    field: LeadField, frame: pl.DataFrame, countries: pl.Series | None, rules: Rules, columns: Mapping[str, str]
) -> tuple[pl.Series, list[pl.DataFrame]]:
    """The values of one field, null where unreadable, and the problems of the unreadable ones."""
    text, column = frame[field.name], columns[field.name]
    if field.type == "phone":
        return _phones(field, frame, countries, rules, column)
    if field.type not in _WANTED:
        return text, []
    values = _cast(field.type, text, rules)
    if values.null_count() == text.null_count():
        return values, []
    unread = frame.filter(text.is_not_null() & values.is_null())
    problem = problems.found(
        unread,
        stage=Stage.TYPE,
        code=f"{field.type}_unreadable",
        column=column,
        field=field.name,
        value=pl.col(field.name),
        message=pl.format("{} is not {}", pl.col(field.name), pl.lit(_WANTED[field.type])),
        suggestion=f"write {_WANTED[field.type]}",
    )
    return values, [problem]


def _cast(kind: str, text: pl.Series, rules: Rules) -> pl.Series:
    if kind == "integer":
        return casting.integers(text)
    if kind == "date":
        return casting.dates(text, rules.dates)
    if kind == "datetime":
        return casting.instants(text, rules.dates, rules.timezone)
    return casting.countries(text, rules.schema.country_codes)


def _phones(
    field: LeadField, frame: pl.DataFrame, countries: pl.Series | None, rules: Rules, column: str
) -> tuple[pl.Series, list[pl.DataFrame]]:
    regions = rules.region if countries is None else countries.fill_null(rules.region)
    read = phones.read(frame[field.name], regions)
    if read["reason"].null_count() == read["extension"].null_count() == read.height:
        return read["e164"], []
    judged = frame.select("row", pl.col(field.name).alias("text")).with_columns(read)
    lenient = field.name == "phone" and rules.invalid_phone_closes
    found = [
        problems.found(
            wrong,
            stage=Stage.TYPE,
            code=str(reason),
            severity=Severity.WARNING if lenient else Severity.ERROR,
            column=column,
            field=field.name,
            value=pl.col("text"),
            message=pl.format("{} {}", pl.col("text"), pl.lit(_PHONE_MESSAGES[str(reason)])),
            suggestion=_phone_suggestion(str(reason), rules.region),
        )
        for (reason,), wrong in judged.drop_nulls("reason").group_by("reason", maintain_order=True)
    ]
    extended = judged.drop_nulls("extension")
    if not extended.is_empty():
        found.append(_extensions(extended, field, column))
    return read["e164"], found


def _phone_suggestion(reason: str, region: str) -> str:
    if reason == phones.amounts.IS_AN_AMOUNT:
        return "have the column as text in the program that writes it, and write it anew"
    return f"write it as +45…, or as it is dialled inside {region}"


def _extensions(extended: pl.DataFrame, field: LeadField, column: str) -> pl.DataFrame:
    return problems.found(
        extended,
        stage=Stage.TYPE,
        code="phone_extension",
        severity=Severity.WARNING,
        column=column,
        field=field.name,
        value=pl.col("text"),
        message=pl.format("the extension {} is not part of the number that is dialled", pl.col("extension")),
        suggestion="keep extensions in the comments",
    )


_PHONE_MESSAGES = phones.MESSAGES


def _judge(
    frame: pl.DataFrame, typed: pl.DataFrame, fields: list[LeadField], columns: Mapping[str, str], rules: Rules
) -> pl.DataFrame:
    """The rules of the schema, judged by pandera over the whole frame at once.

    Most files break none, so all rules together are asked first, in one pass; pandera tells which was broken where, and
    for a small file that takes longer than anything else on the road.
    """
    if _spotless(typed, fields, rules):
        return problems.empty()
    try:
        _pandera(typed, fields, rules).validate(typed, lazy=True)
    except SchemaErrors as failed:
        cases = failed.failure_cases
    else:
        raise AssertionError("a rule is broken, but pandera finds none")
    unexpected = cases.filter(pl.col("index").is_null())
    assert unexpected.is_empty(), f"the typed frame has another form than its schema: {unexpected}"
    found = []
    for (column, check), case in cases.group_by("column", "check", maintain_order=True):
        # A missing value is pandera's own check, which names the column; ours carry field and rule in their name.
        name, rule = (column, "required") if check == "not_nullable" else str(check).split(":")
        rows = frame[case["index"].cast(pl.UInt32)]
        if rule == "required":  # an unreadable value is null too, and has its problem already
            rows = rows.filter(pl.col(str(name)).is_null())
        found.append(_broken(rows, rules.schema.by_name[str(name)], rule, columns[str(name)], rules))
    return problems.gather(found)


def _code(field: LeadField, rule: str) -> str:
    return f"{field.name}:{rule}"


def _rules(field: LeadField) -> list[str]:
    """The names of the rules that a field has."""
    rules = ["required"] if field.required else []
    rules += ["too_long"] if field.max_length else []
    rules += ["pattern"] if field.pattern else []
    rules += ["choice"] if field.choices else []
    rules += ["range"] if field.min is not None or field.max is not None else []
    rules += ["email"] if field.type == "email" else []
    rules += ["postcode"] if field.type == "postcode" else []
    return rules


def _spotless(typed: pl.DataFrame, fields: list[LeadField], rules: Rules) -> bool:
    """True when every field has its type and every record keeps every rule."""
    if any(typed.schema[field.name] != _type(field) for field in fields):
        return False
    country = _country(typed, rules)
    kept = [_keeps(field, rule, rules, country).all() for field in fields for rule in _rules(field)]
    return not kept or all(select(typed, *(rule.alias(f"{place}") for place, rule in enumerate(kept))).row(0))


def _pandera(typed: pl.DataFrame, fields: list[LeadField], rules: Rules) -> Any:
    country = _country(typed, rules)
    columns = {
        field.name: pa.Column(
            _type(field),
            [_check(field, rule, rules, country) for rule in _rules(field) if rule not in ("required", "postcode")],
            nullable=not field.required,
        )
        for field in fields
    }
    # A postcode is judged by its record's country, so it is a rule of the whole frame.
    whole = [_check(field, "postcode", rules, country) for field in fields if field.type == "postcode"]
    return pa.DataFrameSchema(columns, checks=whole, strict=False)


def _type(field: LeadField) -> Any:
    return _POLARS_TYPES.get(field.type, pl.String)


@dataclass(frozen=True, kw_only=True)
class _Country:
    """The country of each record."""

    value: pl.Expr
    present: frozenset[str]
    """Every country that a record of the frame has: the postcodes of the others need no rule."""


def _country(typed: pl.DataFrame, rules: Rules) -> _Country:
    """Without a country of its own a record counts to the campaign's."""
    if "country" not in typed.columns:
        return _Country(value=pl.lit(rules.region), present=frozenset([rules.region]))
    given = typed["country"].fill_null(rules.region)
    return _Country(value=pl.col("country").fill_null(rules.region), present=frozenset(given.unique()))


def _check(field: LeadField, rule: str, rules: Rules, country: _Country) -> Any:
    return pa.Check(partial(_kept, rule=_keeps(field, rule, rules, country)), error=_code(field, rule))


def _kept(data: PolarsData, rule: pl.Expr) -> pl.LazyFrame:
    return data.lazyframe.select(rule)


def _keeps(field: LeadField, rule: str, rules: Rules, country: _Country) -> pl.Expr:
    """True where a record keeps a rule of a field; an absent value keeps all but `required`."""
    value = pl.col(field.name)
    if rule == "required":
        return value.is_not_null()
    if rule == "too_long":
        kept = value.str.len_chars() <= field.max_length
    elif rule == "choice":
        kept = value.is_in(field.choices)
    elif rule == "range":
        kept = value.is_between(*_bounds(field, rules))
    elif rule == "postcode":
        kept = _postcode(value, country, rules)
    else:  # in the regular expressions of polars, which know every alphabet
        kept = value.str.contains(_EMAIL if rule == "email" else f"^(?:{field.pattern})$")
    return kept.fill_null(value=True)


def _bounds(field: LeadField, rules: Rules) -> tuple[Any, Any]:
    if field.type == "integer":
        low = -(2**63) if field.min is None else field.min
        return low, 2**63 - 1 if field.max is None else field.max
    return _day(field.min, date.min, rules), _day(field.max, date.max, rules)


def _day(text: int | str | None, absent: date, rules: Rules) -> date:
    if text is None:
        return absent
    return rules.today if text == "today" else date.fromisoformat(str(text))


def _postcode(value: pl.Expr, country: _Country, rules: Rules) -> pl.Expr:
    """True where a postcode has its country's form."""
    good = pl.lit(value=True)
    for code, entry in rules.schema.countries.items():
        if entry.postcode is not None and code in country.present:
            good = pl.when(country.value == code).then(value.str.contains(f"^(?:{entry.postcode})$")).otherwise(good)
    return good


def _broken(rows: pl.DataFrame, field: LeadField, rule: str, column: str, rules: Rules) -> pl.DataFrame:
    value = pl.col(field.name)
    messages: dict[str, tuple[str | pl.Expr, str]] = {
        "required": (f"{field.title} is empty", f"give every record a {field.title}"),
        "too_long": (
            pl.format("{} characters; at most {}", value.str.len_chars(), pl.lit(field.max_length)),
            "shorten it",
        ),
        "pattern": (pl.format("{} does not have the form {}", value, pl.lit(field.pattern)), "correct the value"),
        "choice": (pl.format("{} is none of {}", value, pl.lit(", ".join(field.choices))), "use one of these"),
        "range": (pl.format("{} is not between {}", value, pl.lit(_range(field, rules))), "correct the value"),
        "email": (pl.format("{} is not an e-mail address", value), "write one address such as name@example.com"),
        "postcode": (pl.format("{} is not a postcode of its country", value), "check postcode and country"),
    }
    message, suggestion = messages[rule]
    return problems.found(
        rows,
        stage=Stage.RULE,
        code=_RULE_CODES[rule],
        column=column,
        field=field.name,
        value=value,
        message=message,
        suggestion=suggestion,
    )


_RULE_CODES = {
    "required": "required_missing",
    "too_long": "too_long",
    "pattern": "pattern_mismatch",
    "choice": "not_a_choice",
    "range": "out_of_range",
    "email": "email_invalid",
    "postcode": "postcode_invalid",
}


def _range(field: LeadField, rules: Rules) -> str:
    low, high = _bounds(field, rules)
    return f"{low} and {high}"
