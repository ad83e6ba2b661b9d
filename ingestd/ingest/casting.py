"""Casting: from the text of a cell to a value, one column at a time. What cannot be read becomes null, never a guess.

Two-digit years are not read, because nobody can say which century is meant; `03/04/2026` is read the way the source
says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import polars as pl

from ingestd.ingest.lookup import repeated
from ingestd.schemas import header_key

_DATES = {
    "ymd": (
        (r"^\d{4}-\d{1,2}-\d{1,2}$", "%Y-%m-%d"),
        (r"^\d{4}/\d{1,2}/\d{1,2}$", "%Y/%m/%d"),
        (r"^\d{8}$", "%Y%m%d"),
        (r"^\d{4}-\d{2}-\d{2}[ T]00:00(:00)?$", "%Y-%m-%d"),  # a date as spreadsheets write it
    ),
    "dmy": (
        (r"^\d{1,2}\.\d{1,2}\.\d{4}$", "%d.%m.%Y"),
        (r"^\d{1,2}-\d{1,2}-\d{4}$", "%d-%m-%Y"),
        (r"^\d{1,2}/\d{1,2}/\d{4}$", "%d/%m/%Y"),
    ),
    "mdy": (
        (r"^\d{1,2}/\d{1,2}/\d{4}$", "%m/%d/%Y"),
        (r"^\d{1,2}-\d{1,2}-\d{4}$", "%m-%d-%Y"),
        (r"^\d{1,2}\.\d{1,2}\.\d{4}$", "%d.%m.%Y"),  # dots are never used for the American order
    ),
}
_TIMES = (
    (r"[ T]\d{1,2}:\d{2}$", "%H:%M"),
    (r"[ T]\d{1,2}:\d{2}:[0-5]\d$", "%H:%M:%S"),  # the parser would take 14:30:60 for 14:31
    (r"[ T]\d{1,2}:\d{2}:[0-5]\d\.\d{1,6}0*$", "%H:%M:%S%.f"),  # databases keep microseconds, no less
)
_OFFSET = r"(?:Z|[+-]\d{2}:?\d{2})$"
_YEARS = (1, 9999)
"""What Python and both databases hold; moments keep a year away from both ends, because a time zone moves them."""


def integers(text: pl.Series) -> pl.Series:
    """Whole numbers in ASCII digits; no thousands separators, because they are decimal points elsewhere.

    So `1.000` is not read: it may be one or a thousand.
    """
    # One, two, or four zeros and more, so written that each 0 can mean one thing only: it takes half the time.
    return text.str.extract(r"^([+-]?[0-9]{1,18})(?:\.0(?:0(?:000*)?)?)?$").cast(pl.Int64, strict=False)


def dates(text: pl.Series, order: str) -> pl.Series:
    """Dates as ISO 8601 or with four-digit years in the source's order, `dmy` or `mdy`."""
    result: pl.Series | None = None
    for gate, form in _likely_first((*_DATES["ymd"], *_DATES[order]), text):
        if result is not None and _all_read(text, result):
            break
        # The gate stands before the parser, which would take "12-11-10" for a day of the year 12.
        through = text.str.contains(gate)
        if through.any():  # most files write all their dates in one way
            days = _day(_where(text, through), gate, form)
            result = days if result is None else _either(result, days)
    if result is None:
        return repeated(None, len(text), pl.Date)
    return _where(result, result.dt.year().is_between(*_YEARS))


def _likely_first(forms: tuple[tuple[str, str], ...], text: pl.Series) -> list[tuple[str, str]]:
    """First the form of the first value: nearly always that of all. No value has two forms, so their order is free."""
    at = text.is_not_null().arg_max()
    first = "" if at is None else text[at] or ""
    return sorted(forms, key=lambda form: re.search(form[0], first) is None)


def _day(gated: pl.Series, gate: str, form: str) -> pl.Series:
    return gated.str.slice(0, 10 if "00:00" in gate else None).str.to_date(form, strict=False)


def instants(text: pl.Series, order: str, timezone: str) -> pl.Series:
    """Moments in UTC: with an offset as written, without one as the wall clock of `timezone`.

    A time that the clock skips in spring is not read; one that it shows twice in autumn is taken as the earlier.
    """
    zoned = text.str.contains(_OFFSET)
    result = _zoned(_where(text, zoned))
    local = _where(text, ~zoned)
    for gate, form in (*_DATES["ymd"][:2], *_DATES[order]):
        for time_gate, time_form in _TIMES:
            if _all_read(text, result):
                break
            through = local.str.contains(gate.rstrip("$") + time_gate)
            if not through.any():
                continue
            gated = _where(local, through).str.replace("T", " ", literal=True)
            naive = gated.str.to_datetime(f"{form} {time_form}", time_unit="us", strict=False)
            wall = naive.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
            result = _either(result, wall.dt.convert_time_zone("UTC"))
    return _where(result, result.dt.year().is_between(_YEARS[0] + 1, _YEARS[1] - 1))


def countries(text: pl.Series, codes: Mapping[str, str]) -> pl.Series:
    """ISO 3166-1 alpha-2 codes; `codes` has them by header key."""
    known = {name: codes.get(header_key(name)) for name in text.unique() if name is not None}
    if all(name == code for name, code in known.items()):
        return text
    return text.replace_strict(known, default=None, return_dtype=pl.String)


def _zoned(text: pl.Series) -> pl.Series:
    plain = text.str.replace("T", " ", literal=True).str.replace(r"Z$", "+0000")
    plain = plain.str.replace(r":(\d{2})$", "$1").str.replace(r" ([+-]\d{4})$", "$1")
    plain = plain.str.replace(r"^(\S+ \d{2}:\d{2})([+-]\d{4})$", "${1}:00$2")
    gated = _where(plain, plain.str.contains(r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:[0-5]\d(\.\d{1,6}0*)?[+-]\d{4}$"))
    return gated.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%z", time_unit="us", time_zone="UTC", strict=False)


def _all_read(text: pl.Series, result: pl.Series) -> bool:
    return text.null_count() == result.null_count()


def _where(values: pl.Series, mask: pl.Series) -> pl.Series:
    if mask.all(ignore_nulls=False):
        return values
    return values.zip_with(mask.fill_null(value=False), pl.Series([None], dtype=values.dtype))


def _either(first: pl.Series, second: pl.Series) -> pl.Series:
    if first.null_count() == first.len():
        return second
    return first.zip_with(first.is_not_null(), second)
