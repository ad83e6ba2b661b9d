"""Numbers as they are written: which digits `parse` would take from a cell, over whole columns.

Plain cells have digits, separators and a plus in front. Of the others the usual ones are told apart here: cells without
a number in them, letters, an extension behind the number, two numbers in one cell. The steps are libphonenumber's
`_extract_possible_number`, `_is_viable_phone_number` and `_maybe_strip_extension`; what none of the expressions fits is
left to libphonenumber itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from phonenumbers import SUPPORTED_REGIONS

from ingestd.ingest.phones import metadata

_MAX_TYPED = 250
"""characters, `_MAX_INPUT_STRING_LENGTH`; counted in bytes here, so long non-ASCII is left to libphonenumber"""

_REGIONS = pl.Enum(sorted(SUPPORTED_REGIONS))
_MIN_SPELLED = 3  # letters, `_VALID_ALPHA_PHONE_PATTERN`: fewer are typing errors, and dropped

_JUNK = r"\x{a0}\x{ad}\x{2000}-\x{206f}\x{feff}"  # no digits, no letters; direction marks come with copied numbers
_BEFORE = rf"[\t-\r -*,-/:<-~{_JUNK}]*"  # `_extract_possible_number` drops all before the first digit or plus
_PUNCTUATION = r" ().\-/\[\]\x{a0}\x{ad}\x{200b}\x{2010}-\x{2015}\x{2060}\x{2212}\x{3000}"  # `_VALID_PUNCTUATION`
_WITHIN = rf"[0-9{_PUNCTUATION}]*"
_AFTER = rf"[\t-\r !\"$-*,-/:<-@\[-`{{-~{_JUNK}]*"  # `_UNWANTED_END_CHARS`; `;` and `+` stay out, they can mean more
_LETTERS = "A-WYZa-wyz"  # without `x`, the sign of an extension
_PLAIN = rf"\A{_BEFORE}\+{{0,2}}{_WITHIN}{_AFTER}\z"
# At least three digits, then letters, too. Those of an extension are left out, also `int` below.
_WITH_LETTERS = rf"\A{_BEFORE}\+{{0,2}}(?:[{_PUNCTUATION}]*[0-9]){{3}}[{_LETTERS}0-9{_PUNCTUATION}]*{_AFTER}\z"
# Nine digits at most: what `x` and a comma may have, and enough; `ext` may have twenty.
_EXTENDED = rf"(?i)\A({_BEFORE}\+?{_WITHIN}[0-9)])[ \t]*(?:,|(?:e?xtn?|x)[:.]?)[ \t]*([0-9]{{1,9}})\z"

# No number at all, by `_VALID_PHONE_NUMBER` with its extensions, whatever else stands in the cell.
_HARMLESS = rf"\t-\r -:<-WY-wy-~{_JUNK}"  # all but `;` and `x`, behind which a number may be cut off
_FEW_DIGITS = rf"\A[\t-\x{{24f}}{_JUNK}--0-9]*[0-9]?[\t-\x{{24f}}{_JUNK}--0-9]*\z"
# A plus behind the first digit, unless nothing but signs comes after it.
_BROKEN = rf"\A{_BEFORE}\+*[0-9][{_HARMLESS}]*\+[{_HARMLESS}]*[0-9{_LETTERS}][{_HARMLESS}]*\z"
# A letter before the third digit.
_MISTYPED = rf"\A{_BEFORE}\+*(?:[0-9][{_PUNCTUATION}]*){{1,2}}[{_LETTERS}][{_HARMLESS}]*\z"
# Behind a comma only an extension may stand, which is digits without a break, and nine at most behind one comma alone.
_TWO = rf"\A{_BEFORE}\+*[0-9][{_HARMLESS}]*,[ \t]*(?:[0-9]+[ ().\-/]+[0-9]|[0-9]{{16}})[{_HARMLESS}]*\z"
_TWO_LONG = rf"\A{_BEFORE}\+*[0-9]{_WITHIN},[ \t]*[0-9]{{10,15}}\+*\z"
_NO_NUMBER = (_FEW_DIGITS, _BROKEN, _MISTYPED, _TWO, _TWO_LONG)

_KEYS = ("abc", "def", "ghi", "jkl", "mno", "pqrs", "tuv", "wxyz")  # E.161
_DROPPED = {"++": "+"} | {
    chr(point): ""
    for point in (*range(0x09, 0x7F), 0xA0, 0xAD, *range(0x2000, 0x2070), 0x2212, 0x3000, 0xFEFF)
    if chr(point) not in "+0123456789"
}
_SPELLED = _DROPPED | {key: str(place) for place, keys in enumerate(_KEYS, 2) for key in keys + keys.upper()}


_NOT_EXTENDED = pl.DataFrame(schema={"row": pl.UInt32, "extension": pl.String})


@dataclass(frozen=True, kw_only=True)
class Written:
    """Every cell that is not empty is in one of these."""

    dialled: pl.DataFrame
    """`row, region, digits`: three digits and more, behind a plus where the number has one"""
    extended: pl.DataFrame
    """`row, extension` of those `dialled` behind which one stands: it is one if they are valid, else who knows"""
    none: pl.DataFrame
    """`row` of cells that hold no number"""
    unsure: list[pl.Series]
    """rows that libphonenumber must be asked for"""


def lines(numbers: pl.Series, regions: pl.Series | str) -> pl.DataFrame:
    """`row, number, region`: `row` counts from 0, `region` is null unless libphonenumber knows it."""
    given = regions.cast(pl.String) if isinstance(regions, pl.Series) else pl.lit(regions, pl.String)
    frame = pl.DataFrame({"number": numbers.cast(pl.String)}).with_row_index("row")
    return frame.with_columns(region=given.cast(_REGIONS, strict=False))


def split(numbers: pl.DataFrame, mask: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The numbers where `mask` holds, and the others; mostly it holds for all or for none, which costs nothing."""
    chosen = mask.sum()
    if chosen == numbers.height:
        return numbers, numbers.clear()
    if chosen == 0:
        return numbers.clear(), numbers
    return numbers.filter(mask), numbers.filter(~mask)


def sort(typed: pl.DataFrame) -> Written:
    """Sorts what `lines` gives by how it is written; empty cells are left out."""
    number = pl.col("number")
    short = number.str.len_bytes() <= _MAX_TYPED
    read = typed.select(
        "row", "region", plain=short & number.str.contains(_PLAIN), digits=number.str.replace_many(_DROPPED)
    )
    plus = read["digits"].str.starts_with("+")
    plain = read["plain"] & (read["digits"].str.len_bytes() >= metadata.MIN_VIABLE + plus.cast(pl.UInt32))
    if plain.sum() == read.height:
        return Written(dialled=read.drop("plain"), extended=_NOT_EXTENDED, none=typed.select("row").clear(), unsure=[])
    dialled, odd = read.drop("plain").filter(plain), _odd(typed.filter(~plain & (typed["number"] != "")))
    return Written(dialled=pl.concat([dialled, odd.dialled]), extended=odd.extended, none=odd.none, unsure=odd.unsure)


def _odd(cells: pl.DataFrame) -> Written:
    """Those that are not plain."""
    short, long = split(cells, cells["number"].str.len_bytes() <= _MAX_TYPED)
    number = pl.col("number")
    none, some = split(short, short.select(pl.any_horizontal(map(number.str.contains, _NO_NUMBER))).to_series())
    groups = some["number"].str.extract_groups(_EXTENDED)
    cut = some.with_columns(before=groups.struct[0], extension=groups.struct[1])
    extended, others = split(cut, cut["before"].is_not_null())
    with_letters = number.str.contains(_WITH_LETTERS) & ~number.str.contains("(?i)int")
    lettered, unsure = split(others, others.select(with_letters).to_series())
    digits = pl.col("before").str.replace_many(_DROPPED)
    return Written(
        dialled=pl.concat([_spelled(lettered), extended.select("row", "region", digits=digits)]),
        extended=extended.select("row", "extension"),
        none=none.select("row"),
        unsure=[long["row"], unsure["row"]],
    )


def _spelled(lettered: pl.DataFrame) -> pl.DataFrame:
    """`row, region, digits` of numbers with letters: enough of them stand for digits, as on the keys of a telephone."""
    text = pl.col("number").str.replace(rf"\A{_BEFORE}", "")
    spelled = text.str.count_matches("[A-Za-z]") >= _MIN_SPELLED
    digits = pl.when(spelled).then(text.str.replace_many(_SPELLED)).otherwise(text.str.replace_many(_DROPPED))
    return lettered.select("row", "region", digits=digits)
