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

import numpy as np
import polars as pl

from ingestd.ingest.parallel import MANY, in_parallel
from ingestd.ingest.phones import metadata
from ingestd.ingest.phones.metadata import Numbering
from ingestd.ingest.phones.reference import INVALID, INVALID_COUNTRY_CODE, TOO_LONG, TOO_SHORT, UNPARSEABLE
from ingestd.ingest.phones.written import sort, split
from ingestd.places import places

WORTHWHILE = 100
"""numbers: fewer under one rule are left to libphonenumber, which is faster than compiling the expressions (3 ms)."""

_DECIDED = pl.Schema({"row": pl.UInt32, "e164": pl.String, "reason": pl.String})


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """What has been decided so far (`row, e164, reason`), and the rows that libphonenumber must be asked for."""

    at_home: frozenset[int]
    """the calling codes of all regions at hand"""
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


def decide(typed: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Splits what `lines` gives into the decided and the unsure; absent ones are in neither.

    The decided have `row, e164, reason`, and `extension` where there are any.
    """
    written, regions = sort(typed), typed["region"].unique().drop_nulls()
    answers = _Answers(at_home=frozenset(metadata.home(str(region)).code for region in regions))
    answers.refuse(written.none, UNPARSEABLE)
    after_plus, others = split(written.dialled, written.dialled["digits"].str.starts_with("+"))
    after_plus = after_plus.with_columns(pl.col("digits").str.slice(1))
    abroad, local = _international(others, answers)
    coded = (_by_code(after_plus, answers, plus=True), _by_code(abroad, answers, plus=False))
    called = chain(*coded, _again(answers))
    homes = (_at_home(each, answers) for each in local)
    of_rules = list(_by_rules(chain(called, *homes), answers))
    in_parallel(lambda some: _judge(*some, answers), of_rules, worth_it=typed.height > MANY)
    decided = pl.concat([pl.DataFrame(schema=_DECIDED), *answers.decided])
    unsure = [pl.Series("row", [], pl.UInt32), *written.unsure, *answers.unsure]
    if written.extended.height:
        decided, doubtful = _extended(decided, written.extended, typed.height)
        unsure.append(doubtful)
    return decided, typed[pl.concat(unsure)]  # `row` is the position in `typed`


def _extended(decided: pl.DataFrame, extended: pl.DataFrame, count: int) -> tuple[pl.DataFrame, pl.Series]:
    """The decided with their extensions, without invalid ones: of these libphonenumber says why."""
    at = places(decided["row"], count).gather(extended["row"])
    there = at < decided.height  # the others are unsure
    at = at.filter(there)
    cut = decided[at].with_columns(extended["extension"].filter(there))
    valid, invalid = split(cut, cut["e164"].is_not_null())
    others = np.ones(decided.height, np.bool_)
    others[at] = False
    return pl.concat([decided.filter(pl.Series(others)), valid], how="diagonal"), invalid["row"]


def _international(dialled: pl.DataFrame, answers: _Answers) -> tuple[pl.DataFrame, list[_Local]]:
    """`_maybe_extract_country_code`, first half: the numbers dialled with an international prefix, now without it.

    The others are given by region.
    """
    homeless, homed = split(dialled, dialled["region"].is_null())
    answers.refuse(homeless, INVALID_COUNTRY_CODE)
    called = [dialled.clear()]
    local: list[_Local] = []
    for region, numbers in _parts(homed, "region"):
        rules = metadata.home(str(region))
        if numbers.height < WORTHWHILE and not (rules.abroad or "0").isdigit():
            answers.unsure.append(numbers["row"])
            continue
        abroad, here = _abroad(numbers, rules)
        called.append(abroad)
        local.append(_Local(rules=rules, numbers=here.select("row", "digits")))
    return pl.concat(called), local


def _abroad(numbers: pl.DataFrame, rules: Numbering) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`_parse_prefix_as_idd`: numbers that begin with the international prefix, without it; and the others."""
    if rules.abroad is None:
        return numbers.clear(), numbers
    prefixed, others = split(numbers, _begins(numbers["digits"], rules.abroad))
    cut = prefixed.with_columns(rest=_cut(prefixed["digits"], rules.abroad))
    # No calling code begins with 0, so a 0 after the prefix says that it was none.
    here, abroad = split(cut, cut["rest"].str.starts_with("0"))
    return abroad.select("row", "region", digits="rest"), pl.concat([others, here.drop("rest")])


def _by_code(called: pl.DataFrame, answers: _Answers, *, plus: bool) -> Iterator[tuple[Numbering, pl.DataFrame]]:
    """`_extract_country_code`: the numbers (`row, digits`) after each calling code, with the rules that hold there."""
    short, long = split(called, called["digits"].str.len_bytes() <= metadata.MIN_NATIONAL)
    answers.refuse(short, TOO_SHORT)
    starts = long["digits"].str.slice(0, 3).cast(pl.UInt16)
    coded = long.with_columns(code=metadata.codes_by_start().gather(starts))
    unknown, known = split(coded, coded["code"].is_null())
    few, known = split(known, known["code"].is_in(_few(known["code"], answers.at_home).implode()))
    answers.unsure.append(few["row"])
    again, lost = split(unknown, unknown["region"].is_not_null() & pl.Series([plus]))
    answers.again.append(again.drop("code"))
    answers.refuse(lost, INVALID_COUNTRY_CODE)
    for code, numbers in _parts(known, "code"):
        after = pl.col("digits").str.slice(len(str(code)))
        yield metadata.main(int(str(code))), numbers.select("row", after)


def _few(codes: pl.Series, at_home: frozenset[int]) -> pl.Series:
    """Calling codes that only few numbers have; those of the regions at hand come in other ways, too."""
    counted = codes.value_counts()
    return counted.filter((pl.col("count") < WORTHWHILE) & ~pl.col(codes.name).is_in(at_home))[codes.name]


def _at_home(local: _Local, answers: _Answers) -> Iterator[tuple[Numbering, pl.DataFrame]]:
    """Both kinds of numbers dialled within a region, with the rules that hold for them."""
    with_code, without = _own_code(local, answers)
    yield metadata.main(local.rules.code), with_code
    yield local.rules, without


def _own_code(local: _Local, answers: _Answers) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`_maybe_extract_country_code`, second half: the region's own calling code may stand first, without any prefix.

    Gives the numbers behind it, and those without.
    """
    rules, code = local.rules, str(local.rules.code)
    prefixed, others = split(local.numbers, local.numbers["digits"].str.starts_with(code))
    if local.numbers.height < WORTHWHILE:  # the others need no expression
        answers.unsure.append(prefixed["row"])
        return prefixed.clear(), others
    rest = _without_trunk(prefixed["digits"].str.slice(len(code)), rules)
    better = ~prefixed["digits"].str.contains(rules.general) & rest.str.contains(rules.general)
    with_code, here = split(prefixed.with_columns(rest=rest), better | _too_long(prefixed["digits"], rules))
    return with_code.select("row", digits="rest"), pl.concat([others, here.drop("rest")])


def _again(answers: _Answers) -> Iterator[tuple[Numbering, pl.DataFrame]]:
    """After a plus and no known code `parse` reads the number once more, as dialled in its region: but with a code."""
    abroad, local = _international(pl.concat(answers.again), answers)
    yield from _by_code(abroad, answers, plus=False)
    for numbers in local:
        with_code, without = _own_code(numbers, answers)
        answers.refuse(without, INVALID_COUNTRY_CODE)
        yield metadata.main(numbers.rules.code), with_code


def _by_rules(
    numbers: Iterable[tuple[Numbering, pl.DataFrame]], answers: _Answers
) -> Iterator[tuple[Numbering, pl.DataFrame]]:
    """The numbers (`row, digits`) brought together by the rules that hold for them; too few go to libphonenumber."""
    together: dict[Numbering, list[pl.DataFrame]] = defaultdict(list)
    for rules, part in numbers:
        together[rules].append(part)
    for rules, parts in together.items():
        whole = pl.concat(parts, rechunk=True)
        if whole.height < WORTHWHILE:
            answers.unsure.append(whole["row"])
        else:
            yield rules, whole


def _judge(rules: Numbering, numbers: pl.DataFrame, answers: _Answers) -> None:
    """From the digits after the calling code to E.164 or a reason."""
    short, long = split(numbers, numbers["digits"].str.len_bytes() < metadata.MIN_NATIONAL)
    answers.refuse(short, TOO_SHORT)
    national = _national(long, rules)
    longer, possible = split(national, national["digits"].str.len_bytes() > metadata.MAX_NATIONAL)
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
    trunked, others = split(numbers, _begins(numbers["digits"], rules.trunk))
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
            own, numbers = split(numbers, _begins(numbers["digits"], rules.leading))
            yield _fitting(own, rules)
        if not numbers.height:
            return
    yield numbers.clear(), numbers


def _fitting(numbers: pl.DataFrame, rules: Numbering) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`_number_type_helper`: the numbers of a known kind, and the others."""
    regular, strange = split(numbers, numbers["digits"].str.contains(rules.general))
    sized = regular.with_columns(valid=rules.valid_by_length.gather(regular["digits"].str.len_bytes()))
    valid, invalid = [numbers.clear()], [strange]
    for pattern, part in _parts(sized, "valid"):
        digits = part["digits"]
        fits, others = split(part.drop("valid"), digits.str.contains(str(pattern)) if pattern else digits.is_null())
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
