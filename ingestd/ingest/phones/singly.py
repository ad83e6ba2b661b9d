"""Numbers one at a time, for columns too short for polars: what is plain and valid beyond doubt is seen at a glance.

A glance follows the same rules and the same metadata as `plain.py`, but says only yes (3 µs). Whatever takes more than
that, and every no, which needs its reason, goes to libphonenumber itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

import polars as pl
from phonenumbers import SUPPORTED_REGIONS

from ingestd.ingest.phones import metadata
from ingestd.ingest.phones.metadata import Numbering
from ingestd.ingest.phones.reference import Verdict, verdict

_TYPED = re.compile(r"\+?[0-9 ().\-/]{3,50}")
_SEPARATORS = str.maketrans("", "", "+ ().-/")
_NOTHING = Verdict(e164=None, reason=None, extension=None)
_MIN_NATIONAL = 2  # digits, `_MIN_LENGTH_FOR_NSN`


def decide(numbers: Iterable[str | None], regions: Iterable[str | None]) -> pl.DataFrame:
    """The verdict on each number, nothing for absent ones; each distinct number is looked at once."""
    known: dict[tuple[str, str | None], Verdict] = {}
    verdicts = []
    for number, region in zip(numbers, regions, strict=True):
        if not number:
            verdicts.append(_NOTHING)
            continue
        line = (number, region if region in SUPPORTED_REGIONS else None)
        if line not in known:
            e164 = glance(*line)
            known[line] = verdict(*line) if e164 is None else Verdict(e164=e164, reason=None, extension=None)
        verdicts.append(known[line])
    columns = zip(*verdicts, strict=True) if verdicts else [(), (), ()]
    names = zip(Verdict._fields, columns, strict=True)
    return pl.DataFrame([pl.Series(name, column, dtype=pl.String) for name, column in names])


def glance(number: str, region: str | None) -> str | None:
    """The E.164 form of a number that is valid beyond doubt; None says nothing about the number."""
    if _TYPED.fullmatch(number) is None:
        return None
    digits = number.translate(_SEPARATORS)
    if number[0] == "+":
        return _called(digits)
    if region is None:
        return None
    rules = metadata.home(region)
    if rules.abroad is not None and _start(rules.abroad).match(digits):
        # Of a prefix with carrier codes, or before a 0, it takes more to say where it ends.
        rest = digits.removeprefix(rules.abroad) if rules.abroad.isdigit() else "0"
        return None if rest.startswith("0") else _called(rest)
    # The calling code without a prefix may also be the beginning of the number.
    return None if digits.startswith(str(rules.code)) else _valid(digits, rules)


def _called(digits: str) -> str | None:
    """E.164 from the digits after a plus or an international prefix."""
    code = _code(digits[:3])
    return None if code is None else _valid(digits[len(str(code)) :], metadata.main(code))


def _valid(digits: str, rules: Numbering) -> str | None:
    """E.164 from the digits after the calling code, or as dialled within the region."""
    national = _national(digits, rules)
    if national is None or not _MIN_NATIONAL <= len(national) <= metadata.MAX_NATIONAL:
        return None
    for each in metadata.sharers(rules.code):
        known = each.leading is not None
        if known and not _start(str(each.leading)).match(national):
            continue
        kinds = _kinds(each)[len(national)]
        if kinds is not None and kinds.match(national) and _python(each.general).match(national):
            return f"+{rules.code}{national}"
        if known:  # a region known by its leading digits has the only word on the numbers that begin so
            return None
    return None


def _national(digits: str, rules: Numbering) -> str | None:
    """Without a trunk that is literal, such as 0, and no part of the number; None where that is not so clear."""
    if rules.trunk is None or not _start(rules.trunk).match(digits):
        return digits
    if not rules.trunk.isdigit() or rules.rule is not None or len(digits) < _MIN_NATIONAL:
        return None
    rest = digits.removeprefix(rules.trunk)
    if _python(rules.general).match(digits) or len(rest) not in rules.lengths or len(rest) in rules.local_lengths:
        return None
    return rest


@cache
def _code(start: str) -> int | None:
    """The calling code in which a number after a plus starts."""
    found: int | None = metadata.codes_by_start()[int(start)] if len(start) == 3 else None
    return found


@cache
def _kinds(rules: Numbering) -> tuple[re.Pattern[str] | None, ...]:
    """The valid numbers of each length, from none to `metadata.MAX_NATIONAL` digits."""
    return tuple(pattern and _python(pattern) for pattern in rules.valid_by_length.cast(pl.String))


@cache
def _start(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


@cache
def _python(pattern: str) -> re.Pattern[str]:
    """An expression of the metadata, which are written for Rust's engine there, in Python's own."""
    return re.compile(pattern.removeprefix("(?-u)").removesuffix(r"\z") + r"\Z")
