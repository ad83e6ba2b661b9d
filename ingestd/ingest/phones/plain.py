"""Plain numbers decided in bulk: libphonenumber's `parse` and `is_valid_number` over whole columns.

A number is plain when nothing but its digits, its leading `+` and the region can matter to `parse`: no extension, no
other `+`, and letters only where they stand for digits or are dropped. What follows is `parse`, step by step:
international prefix, calling code, national prefix, lengths, and then the number ranges of all regions of the code.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

import polars as pl
from phonenumbers import SUPPORTED_REGIONS

from ingestd.ingest.phones import metadata
from ingestd.ingest.phones.metadata import Numbering
from ingestd.ingest.phones.reference import INVALID, INVALID_COUNTRY_CODE, TOO_LONG, TOO_SHORT, UNPARSEABLE

WORTHWHILE = 100
"""numbers: fewer under one rule are left to libphonenumber, which is faster than compiling the expressions (3 ms)."""

_JUNK = r"\x{a0}\x{ad}\x{2000}-\x{206f}\x{feff}"  # no digits, no letters; direction marks come with copied numbers
BEFORE = rf"[\t-\r -*,-/:<-~{_JUNK}]*"  # `_extract_possible_number` drops all before the first digit or plus
_PUNCTUATION = r" ().\-/\[\]\x{a0}\x{ad}\x{200b}\x{2010}-\x{2015}\x{2060}\x{2212}\x{3000}"  # `_VALID_PUNCTUATION`
WITHIN = rf"[0-9{_PUNCTUATION}]*"
_AFTER = rf"[\t-\r !\"$-*,-/:<-@\[-`{{-~{_JUNK}]*"  # `_UNWANTED_END_CHARS`; `;` and `+` stay out, they can mean more
_PLAIN = rf"\A{BEFORE}\+{{0,2}}{WITHIN}{_AFTER}\z"
_WITHOUT_NUMBER = rf"\A[\t-\x{{24f}}{_JUNK}--0-9]*[0-9]?[\t-\x{{24f}}{_JUNK}--0-9]*\z"
_HARMLESS = rf"\t-\r -:<-WY-wy-~{_JUNK}"  # all but `;` and `x`, behind which a number may be cut off
# A plus behind the first digit is in no number (`_VALID_PHONE_NUMBER`), unless nothing but signs comes after it.
_BROKEN = rf"\A{BEFORE}\+*[0-9][{_HARMLESS}]*\+[{_HARMLESS}]*[0-9A-WYZa-wyz][{_HARMLESS}]*\z"
# At least three digits, then letters, too. Those of an extension are left out, `x` here and `int` below.
_WITH_LETTERS = rf"\A{BEFORE}\+{{0,2}}(?:[{_PUNCTUATION}]*[0-9]){{3}}[A-WYZa-wyz0-9{_PUNCTUATION}]*{_AFTER}\z"
_KEYS = ("abc", "def", "ghi", "jkl", "mno", "pqrs", "tuv", "wxyz")  # E.161
_DROPPED = {"++": "+"} | {
    chr(point): ""
    for point in (*range(0x09, 0x7F), 0xA0, 0xAD, *range(0x2000, 0x2070), 0x2212, 0x3000, 0xFEFF)
    if chr(point) not in "+0123456789"
}
MAX_TYPED = 250  # characters, `_MAX_INPUT_STRING_LENGTH`; counted in bytes here, so long non-ASCII is not plain
_SPELLED = _DROPPED | {key: str(place) for place, keys in enumerate(_KEYS, 2) for key in keys + keys.upper()}
_MIN_SPELLED = 3  # letters, `_VALID_ALPHA_PHONE_PATTERN`: fewer are typing errors, and dropped
_MIN_NATIONAL = 2  # digits, `_MIN_LENGTH_FOR_NSN`
_MIN_VIABLE = 3  # digits, `_VALID_PHONE_NUMBER`; two digits alone are viable, too, but rare
_REGIONS = pl.Enum(sorted(SUPPORTED_REGIONS))
_DECIDED = pl.Schema({"row": pl.UInt32, "e164": pl.String, "reason": pl.String})


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """What has been decided so far (`row, e164, reason`), and the rows that libphonenumber must be asked for."""

    decided: list[pl.DataFrame] = field(default_factory=list)
    unsure: list[pl.Series] = field(default_factory=list)
    again: list[pl.DataFrame] = field(default_factory=list)
    """numbers (`row, region, digits`) after a plus and no known calling code"""

    def refuse(self, numbers: pl.DataFrame, reason: str | pl.Series) -> None:
        why = pl.lit(reason) if isinstance(reason, str) else reason
        self.decided.append(numbers.select("row", e164=pl.lit(None, pl.String), reason=why))


@dataclass(frozen=True, kw_only=True)
class _Local:
    """Numbers (`row, digits`) dialled without international prefix under one region's rules."""

    rules: Numbering
    numbers: pl.DataFrame


def lines(numbers: pl.Series, regions: pl.Series | str) -> pl.DataFrame:
    """`row, number, region`: `row` counts from 0, `region` is null unless libphonenumber knows it."""
    given = regions.cast(pl.String) if isinstance(regions, pl.Series) else pl.lit(regions, pl.String)
    frame = pl.DataFrame({"number": numbers.cast(pl.String)}).with_row_index("row")
    return frame.with_columns(region=given.cast(_REGIONS, strict=False))


def decide(typed: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Splits what `lines` gives into the decided (`row, e164, reason`) and the unsure; absent ones are in neither."""
    answers = _Answers()
    after_plus, others = _dialled(typed, answers)
    abroad, local = _international(others, answers)
    coded = (_by_code(after_plus, answers, plus=True), _by_code(abroad, answers, plus=False))
    called = chain(*coded, _again(answers))
    for rules, numbers in _by_rules(chain(called, *map(_at_home, local)), answers):
        _judge(numbers, rules, answers)
    decided = pl.concat([pl.DataFrame(schema=_DECIDED), *answers.decided])
    rows = pl.concat([pl.Series("row", [], pl.UInt32), *answers.unsure])
    return decided, typed[rows]  # `row` is the position in `typed`


def _dialled(typed: pl.DataFrame, answers: _Answers) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The plain numbers of three digits and more (`row, region, digits`): those after a plus; the others."""
    number = pl.col("number")
    short = number.str.len_bytes() <= MAX_TYPED
    read = typed.select(
        "row", "region", plain=short & number.str.contains(_PLAIN), digits=number.str.replace_many(_DROPPED)
    )
    plus = read["digits"].str.starts_with("+")
    plain = read["plain"] & (read["digits"].str.len_bytes() >= _MIN_VIABLE + plus.cast(pl.UInt32))
    dialled, _ = _split(read.drop("plain"), plain)
    if dialled.height < read.height:
        odd = typed.filter(~plain & (typed["number"] != ""))
        rest, long = _split(odd, odd["number"].str.len_bytes() <= MAX_TYPED)
        answers.unsure.append(long["row"])
        dialled = pl.concat([dialled, _lettered(rest, answers)])
    after_plus, others = _split(dialled, dialled["digits"].str.starts_with("+"))
    return after_plus.with_columns(pl.col("digits").str.slice(1)), others


def _lettered(odd: pl.DataFrame, answers: _Answers) -> pl.DataFrame:
    """Of numbers that are not plain, those that would be without their letters (`row, region, digits`)."""
    number = pl.col("number")
    none = number.str.contains(_WITHOUT_NUMBER) | number.str.contains(_BROKEN)
    refused, rest = _split(odd, odd.select(none).to_series())
    answers.refuse(refused, UNPARSEABLE)
    with_letters = number.str.contains(_WITH_LETTERS) & ~number.str.contains("(?i)int")
    lettered, unsure = _split(rest, rest.select(with_letters).to_series())
    answers.unsure.append(unsure["row"])
    text = number.str.replace(rf"\A{BEFORE}", "")
    spelled = text.str.count_matches("[A-Za-z]") >= _MIN_SPELLED
    digits = pl.when(spelled).then(text.str.replace_many(_SPELLED)).otherwise(text.str.replace_many(_DROPPED))
    return lettered.select("row", "region", digits=digits)


def _split(numbers: pl.DataFrame, mask: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The numbers where `mask` holds, and the others; mostly it holds for all or for none, which costs nothing."""
    chosen = mask.sum()
    if chosen == numbers.height:
        return numbers, numbers.clear()
    if chosen == 0:
        return numbers.clear(), numbers
    return numbers.filter(mask), numbers.filter(~mask)


def _international(dialled: pl.DataFrame, answers: _Answers) -> tuple[pl.DataFrame, list[_Local]]:
    """`_maybe_extract_country_code`, first half: the numbers dialled with an international prefix, now without it.

    The others are given by region.
    """
    homeless, homed = _split(dialled, dialled["region"].is_null())
    answers.refuse(homeless, INVALID_COUNTRY_CODE)
    called = [dialled.clear()]
    local: list[_Local] = []
    for region, numbers in _parts(homed, "region"):
        if numbers.height < WORTHWHILE:
            answers.unsure.append(numbers["row"])
            continue
        rules = metadata.home(str(region))
        abroad, here = _abroad(numbers, rules)
        called.append(abroad)
        local.append(_Local(rules=rules, numbers=here.select("row", "digits")))
    return pl.concat(called), local


def _abroad(numbers: pl.DataFrame, rules: Numbering) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`_parse_prefix_as_idd`: numbers that begin with the international prefix, without it; and the others."""
    if rules.abroad is None:
        return numbers.clear(), numbers
    prefixed, others = _split(numbers, _begins(numbers["digits"], rules.abroad))
    cut = prefixed.with_columns(rest=_cut(prefixed["digits"], rules.abroad))
    # No calling code begins with 0, so a 0 after the prefix says that it was none.
    here, abroad = _split(cut, cut["rest"].str.starts_with("0"))
    return abroad.select("row", "region", digits="rest"), pl.concat([others, here.drop("rest")])


def _by_code(called: pl.DataFrame, answers: _Answers, *, plus: bool) -> Iterator[tuple[Numbering, pl.DataFrame]]:
    """`_extract_country_code`: the numbers (`row, digits`) after each calling code, with the rules that hold there."""
    short, long = _split(called, called["digits"].str.len_bytes() <= _MIN_NATIONAL)
    answers.refuse(short, TOO_SHORT)
    starts = long["digits"].str.slice(0, 3).cast(pl.UInt16)
    coded = long.with_columns(code=metadata.codes_by_start().gather(starts))
    unknown, known = _split(coded, coded["code"].is_null())
    again, lost = _split(unknown, unknown["region"].is_not_null() & pl.Series([plus]))
    answers.again.append(again.drop("code"))
    answers.refuse(lost, INVALID_COUNTRY_CODE)
    for code, numbers in _parts(known, "code"):
        after = pl.col("digits").str.slice(len(str(code)))
        yield metadata.main(int(str(code))), numbers.select("row", after)


def _at_home(local: _Local) -> Iterator[tuple[Numbering, pl.DataFrame]]:
    """`_maybe_extract_country_code`, second half: the region's own calling code may stand first, without any prefix."""
    rules, code = local.rules, str(local.rules.code)
    prefixed, others = _split(local.numbers, local.numbers["digits"].str.starts_with(code))
    rest = _without_trunk(prefixed["digits"].str.slice(len(code)), rules)
    better = ~prefixed["digits"].str.contains(rules.general) & rest.str.contains(rules.general)
    with_code, here = _split(prefixed.with_columns(rest=rest), better | _too_long(prefixed["digits"], rules))
    yield metadata.main(rules.code), with_code.select("row", digits="rest")
    yield rules, here.drop("rest")
    yield rules, others


def _again(answers: _Answers) -> Iterator[tuple[Numbering, pl.DataFrame]]:
    """After a plus and no known code `parse` reads the number once more, as dialled in its region: but with a code."""
    abroad, local = _international(pl.concat(answers.again), answers)
    yield from _by_code(abroad, answers, plus=False)
    for numbers in local:
        with_code, *others = _at_home(numbers)
        yield with_code
        for _, without in others:
            answers.refuse(without, INVALID_COUNTRY_CODE)


def _by_rules(
    numbers: Iterable[tuple[Numbering, pl.DataFrame]], answers: _Answers
) -> Iterator[tuple[Numbering, pl.DataFrame]]:
    """The numbers (`row, digits`) brought together by the rules that hold for them; too few go to libphonenumber."""
    together: dict[Numbering, list[pl.DataFrame]] = defaultdict(list)
    for rules, part in numbers:
        together[rules].append(part)
    for rules, parts in together.items():
        whole = pl.concat(parts)
        if whole.height < WORTHWHILE:
            answers.unsure.append(whole["row"])
        else:
            yield rules, whole


def _judge(numbers: pl.DataFrame, rules: Numbering, answers: _Answers) -> None:
    """From the digits after the calling code to E.164 or a reason."""
    short, long = _split(numbers, numbers["digits"].str.len_bytes() < _MIN_NATIONAL)
    answers.refuse(short, TOO_SHORT)
    national = _national(long, rules)
    longer, possible = _split(national, national["digits"].str.len_bytes() > metadata.MAX_NATIONAL)
    answers.refuse(longer, TOO_LONG)
    for valid, invalid in _recognised(possible, metadata.sharers(rules.code)):
        e164 = pl.lit(f"+{rules.code}") + pl.col("digits")
        answers.decided.append(valid.select("row", e164=e164, reason=pl.lit(None, pl.String)))
        if invalid.height:
            answers.refuse(invalid, _why(invalid["digits"], metadata.main(rules.code)))


def _national(numbers: pl.DataFrame, rules: Numbering) -> pl.DataFrame:
    """The last steps of `parse`: the trunk is dropped only when a possible or too long number remains."""
    if rules.trunk is None:
        return numbers
    trunked, others = _split(numbers, _begins(numbers["digits"], rules.trunk))
    rest = _without_trunk(trunked["digits"], rules)
    length = rest.str.len_bytes()
    possible = ~length.is_in(rules.local_lengths) & length.is_in(rules.lengths)
    digits = rest.zip_with(possible | _too_long(rest, rules), trunked["digits"])
    return pl.concat([trunked.with_columns(digits=digits), others])


def _without_trunk(digits: pl.Series, rules: Numbering) -> pl.Series:
    """`_maybe_strip_national_prefix_carrier_code`: a viable number is never made unviable."""
    if rules.trunk is None:
        return digits
    rest = _cut(digits, rules.trunk)
    if rules.rule is not None:
        last = digits.str.extract(_start(rules.trunk), rules.groups)
        rest = rest.zip_with(last.is_null(), digits.str.replace(_start(rules.trunk), rules.rule))
    viable = digits.str.contains(rules.general)
    if not viable.any():
        return rest
    return rest.zip_with(~viable | rest.str.contains(rules.general), digits)


def _begins(digits: pl.Series, prefix: str) -> pl.Series:
    """Whether the numbers begin with a prefix, mostly a literal such as 0, else a regular expression."""
    return digits.str.starts_with(prefix) if prefix.isdigit() else digits.str.contains(_start(prefix))


def _cut(digits: pl.Series, prefix: str) -> pl.Series:
    """The numbers without the prefix with which they may begin."""
    return digits.str.strip_prefix(prefix) if prefix.isdigit() else digits.str.replace(_start(prefix), "")


def _start(pattern: str) -> str:
    return rf"(?-u)\A(?:{pattern})"


def _recognised(numbers: pl.DataFrame, regions: tuple[Numbering, ...]) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """`is_valid_number`: the valid and the invalid of the numbers of one calling code, in parts.

    A region known by its leading digits has the only word on the numbers that begin so, valid or not.
    """
    for rules in regions:
        if rules.leading is None:
            valid, numbers = _fitting(numbers, rules)
            yield valid, valid.clear()
        else:
            own, numbers = _split(numbers, _begins(numbers["digits"], rules.leading))
            yield _fitting(own, rules)
        if not numbers.height:
            return
    yield numbers.clear(), numbers


def _fitting(numbers: pl.DataFrame, rules: Numbering) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`_number_type_helper`: the numbers of a known kind, and the others."""
    regular, strange = _split(numbers, numbers["digits"].str.contains(rules.general))
    sized = regular.with_columns(valid=rules.valid_by_length.gather(regular["digits"].str.len_bytes()))
    valid, invalid = [numbers.clear()], [strange]
    for pattern, part in _parts(sized, "valid"):
        digits = part["digits"]
        fits, others = _split(part.drop("valid"), digits.str.contains(str(pattern)) if pattern else digits.is_null())
        valid.append(fits)
        invalid.append(others)
    return pl.concat(valid), pl.concat(invalid)


def _why(digits: pl.Series, rules: Numbering) -> pl.Series:
    """`is_possible_number_with_reason`, by the main region of the calling code."""
    length = digits.str.len_bytes()
    short = length.is_in(rules.local_lengths) | (length < rules.lengths[0])
    reasons = pl.select(pl.when(_too_long(digits, rules)).then(pl.lit(TOO_LONG)).otherwise(pl.lit(INVALID)))
    return pl.select(pl.when(short).then(pl.lit(TOO_SHORT)).otherwise(reasons.to_series())).to_series()


def _too_long(digits: pl.Series, rules: Numbering) -> pl.Series:
    length = digits.str.len_bytes()
    return (length > rules.lengths[-1]) & ~length.is_in(rules.local_lengths)


def _parts(numbers: pl.DataFrame, key: str) -> Iterator[tuple[object, pl.DataFrame]]:
    """The numbers by the values of one column, in any order."""
    for (value,), part in numbers.partition_by(key, as_dict=True, maintain_order=False).items():
        yield value, part
