"""libphonenumber's metadata, put into the shape in which polars can apply it: regular expressions and lengths.

Source of every rule: `phonenumbers/phonenumberutil.py` and `phonenumbers/data/`, 9.0.43; the functions are named where
they are followed. The metadata's expressions use no look-around and no back-references, so Rust's engine reads them;
inputs are ASCII digits, hence `(?-u)`, which compiles in half the time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import polars as pl
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata
from phonenumbers.phonemetadata import PhoneNumberDesc

MIN_VIABLE = 3
"""digits of a number, `_VALID_PHONE_NUMBER`; two digits alone are viable, too, but rare"""
MIN_NATIONAL = 2
"""digits of a national number, `_MIN_LENGTH_FOR_NSN`"""
MAX_NATIONAL = 17
"""digits of a national number, `_MAX_LENGTH_FOR_NSN`; `parse` refuses longer ones"""

_NEVER = "x"
"""matches no digits: a description without a pattern describes nothing"""

_KINDS = (
    "premium_rate",
    "toll_free",
    "shared_cost",
    "voip",
    "personal_number",
    "pager",
    "uan",
    "voicemail",
    "fixed_line",
    "mobile",
)
"""The descriptions that `_number_type_helper` tries; a number that fits none of them is of unknown type: invalid."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Numbering:
    """How numbers are dialled and recognised in one region, or under one calling code that is no country's."""

    region: str
    """ISO alpha-2, or `001` for a calling code that is no country's"""
    code: int
    """calling code"""
    abroad: str | None
    """the international prefix (00, 011 …) at the start of a number; None when there is none"""
    trunk: str | None
    """the national prefix at the start of a number, maybe with a carrier code; None when there is none"""
    rule: str | None
    """what replaces the trunk when its last group took part; None: it is dropped"""
    groups: int
    """capturing groups in `trunk`"""
    general: str
    """every national number of the region"""
    lengths: tuple[int, ...]
    """possible lengths of a national number, ascending, in digits"""
    local_lengths: tuple[int, ...]
    """lengths of numbers that can be dialled only within their area, in digits"""
    valid_by_length: pl.Series
    """for lengths of 0 to `MAX_NATIONAL` digits: the valid numbers of that length; null when there are none"""
    leading: str | None
    """the start of this region's numbers among those that share the calling code; None: not told by its start"""


@cache
def numbering(code: int, region: str) -> Numbering:
    """The rules of one region; `region` is `001` for calling codes such as 800, which `code` then tells apart."""
    found = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    assert found is not None, f"libphonenumber has no metadata for {region} (+{code})"
    general = _general(found)
    trunk = found.national_prefix_for_parsing or None
    rule = found.national_prefix_transform_rule or None
    return Numbering(
        region=region,
        code=code,
        abroad=found.international_prefix,
        trunk=trunk,
        rule=re.sub(r"\\(\d)", r"${\1}", rule) if rule else None,
        groups=re.compile(trunk or "").groups,
        general=_whole([general.national_number_pattern or _NEVER]),
        lengths=tuple(general.possible_length),
        local_lengths=tuple(general.possible_length_local_only),
        valid_by_length=_valid_by_length(found),
        leading=found.leading_digits,
    )


def main(code: int) -> Numbering:
    """The rules by which a number after this calling code is parsed: those of the first of its regions."""
    return numbering(code, COUNTRY_CODE_TO_REGION_CODE[code][0])


def home(region: str) -> Numbering:
    """The rules by which a number dialled within this region is parsed."""
    found = PhoneMetadata.metadata_for_region(region, None)
    assert found is not None, f"libphonenumber has no metadata for {region}"
    return numbering(found.country_code, region)


def sharers(code: int) -> tuple[Numbering, ...]:
    """All regions of a calling code, in the order in which `region_code_for_number` asks them."""
    return tuple(numbering(code, region) for region in COUNTRY_CODE_TO_REGION_CODE[code])


@cache
def codes_by_start() -> pl.Series:
    """The calling code in which the three digits 000 to 999 start, null for none; no code starts another."""
    starts = (str(start).zfill(3) for start in range(1000))
    fits = ([int(start[:size]) for size in (1, 2, 3) if start[0] != "0"] for start in starts)
    codes = [next((code for code in fit if code in COUNTRY_CODE_TO_REGION_CODE), None) for fit in fits]
    return pl.Series("code", codes, pl.UInt16)


def _valid_by_length(found: PhoneMetadata) -> pl.Series:
    """A kind's pattern counts only at the kind's own lengths; lengths with the same kinds share one expression."""
    kinds = [kind for name in _KINDS if (kind := getattr(found, name)) is not None]
    if found.same_mobile_and_fixed_line_pattern:
        kinds = [kind for kind in kinds if kind is not found.mobile]
    patterns: list[str | None] = [None] * (MAX_NATIONAL + 1)
    for length in _general(found).possible_length:
        fitting = dict.fromkeys(kind.national_number_pattern or _NEVER for kind in kinds if _fits(length, kind))
        patterns[length] = _whole(fitting) if fitting else None
    return pl.Series("valid", patterns, pl.Enum(list(dict.fromkeys(filter(None, patterns)))))


def _general(found: PhoneMetadata) -> PhoneNumberDesc:
    assert found.general_desc is not None, f"libphonenumber does not describe the numbers of {found.id}"
    return found.general_desc


def _fits(length: int, kind: PhoneNumberDesc) -> bool:
    return not kind.possible_length or length in kind.possible_length


def _whole(patterns: Iterable[str]) -> str:
    return rf"(?-u)\A(?:{'|'.join(patterns)})\z"
