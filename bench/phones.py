"""Speed of `ingestd.ingest.phones` against plain `phonenumbers`, and their agreement on generated numbers.

python -m bench.phones                    the speed table
python -m bench.phones --agree 2000000    that many numbers of every region through both; ends with 1 on a difference
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from functools import cache

import phonenumbers
import polars as pl
from phonenumbers import NumberParseException, PhoneMetadata, PhoneNumberFormat, PhoneNumberType, ValidationResult

from bench.results import Result
from ingestd.ingest import phones
from ingestd.ingest.phones import plain, singly, written

Answer = tuple[str | None, str | None, str | None]
"""e164, reason, extension"""

GOAL = 50
"""times the speed of phonenumbers"""

_BATCH = 100_000  # numbers compared at once
_SEPARATORS = [" ", "-", ".", "/", " / ", "(", ")", "  ", "\u00a0", "\u2013", "\u2011", "\u00ad", "\u3000", "[", "]"]
_ODDITIES = [
    *(
        "+",
        "++",
        "x",
        "x12",
        " ext. 5",
        "#",
        "#12",
        ";ext=77",
        ",",
        ",,3",
        ";",
        "~",
        "*",
        "_",
        "a",
        "abc",
        "tel:",
        "\t",
        "\n",
    ),
    *(
        "\u0663",
        "\uff11",
        "\uff0b",
        "\u200e",
        "\u202a",
        "\u202f",
        "\ufeff",
        "\u2060",
        "'",
        '"',
        "&",
        "=",
        ":",
        "\u00b2",
    ),
    *(";phone-context=+45", ";isub=1", "\\ x", "/x", " (0) ", "(0)", "(0", "\u00e6", "\x00", "\u030a", "\U0001f4de"),
]
_PREFIXES = [
    *(
        "0",
        "00",
        "000",
        "001",
        "009",
        "010",
        "011",
        "0011",
        "0015",
        "00153",
        "00420",
        "0014",
        "119",
        "810",
        "8",
        "8~10",
    ),
    *("80", "9", "90", "99", "06", "15", "015", "0115", "0 15 ", "180020", "1831", "183", "1001", "10", "1088", "041"),
    *("021", "014", "0033", "00370", "003768", "000569", "15001", "1900", "17911", "2", "3", "4", "5", "6", "7", "1"),
    *("14111", "140066", "0011", "19124", "1910", "0161", "052", "0052", "1401", "16", "95", "0800", "1800", "+", "+0"),
]


def definition(number: str | None, region: str | None) -> Answer:
    """What `normalise` must answer, written from libphonenumber's public functions alone."""
    if not number:
        return None, None, None
    try:
        parsed = phonenumbers.parse(number, region)
    except NumberParseException as refused:
        return None, _refusal(refused.error_type), None
    extension = parsed.extension or None
    if phonenumbers.is_valid_number(parsed):
        return phonenumbers.format_number(parsed, PhoneNumberFormat.E164), None, extension
    possible = phonenumbers.is_possible_number_with_reason(parsed)
    if possible in (ValidationResult.TOO_SHORT, ValidationResult.IS_POSSIBLE_LOCAL_ONLY):
        return None, "phone_too_short", extension
    return None, "phone_too_long" if possible == ValidationResult.TOO_LONG else "phone_invalid", extension


def _refusal(error: int) -> str:
    if error == NumberParseException.INVALID_COUNTRY_CODE:
        return "phone_invalid_country_code"
    if error in (NumberParseException.TOO_SHORT_AFTER_IDD, NumberParseException.TOO_SHORT_NSN):
        return "phone_too_short"
    return "phone_too_long" if error == NumberParseException.TOO_LONG else "phone_unparseable"


@cache
def examples() -> list[tuple[str, str | None]]:
    """Each region's example numbers of each type, in many ways, with the region; None: no country's."""
    found: list[tuple[str, str | None]] = []
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        kinds = (phonenumbers.example_number_for_type(region, kind) for kind in PhoneNumberType.values())
        for number in (*kinds, phonenumbers.invalid_example_number(region)):
            found += ((text, region) for text in _written(number, region))
    for code in sorted(phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS):
        number = phonenumbers.example_number_for_non_geo_entity(code)
        found += ((text, None) for text in _written(number, "US"))
    return found


def _written(number: phonenumbers.PhoneNumber | None, region: str) -> list[str]:
    if number is None:
        return []
    styles = ("E164", "INTERNATIONAL", "NATIONAL", "RFC3966")
    formatted = [phonenumbers.format_number(number, getattr(PhoneNumberFormat, style)) for style in styles]
    abroad = [
        phonenumbers.format_out_of_country_calling_number(number, other) for other in ("DK", "US", "AU", "BR", "RU")
    ]
    home = phonenumbers.format_number_for_mobile_dialing(number, region, with_formatting=False)
    bare = phonenumbers.national_significant_number(number)
    metadata = PhoneMetadata.metadata_for_region(region)
    general = metadata.general_desc if metadata else None
    short = general.possible_length_local_only if general else ()
    local = [bare[-size:] for size in short if size < len(bare)]
    trunk = (metadata.national_prefix if metadata else None) or "0"
    texts = [*formatted, *abroad, home, bare, trunk + bare, f"{number.country_code}{bare}", *local]
    return [text for text in texts if text]


def generate(count: int, seed: int) -> pl.DataFrame:
    """`number, region`: numbers near the edge of every region's rules, many of them in a region not their own."""
    dice = random.Random(seed)
    numbers, regions = [], []
    for _ in range(count):
        number, region = dice.choice(examples())
        for _ in range(dice.choice((0, 1, 1, 1, 2, 3))):
            number = _mutated(number, dice)
        numbers.append(number)
        regions.append(region if dice.random() < 0.6 else _anywhere(dice))
    made = pl.DataFrame({"number": numbers, "region": regions}, schema={"number": pl.String, "region": pl.String})
    # By region, because `phonenumbers` compiles again what the 512 places of `re`'s cache do not hold.
    return made.sort("region", maintain_order=True)


@cache
def _regions() -> list[str]:
    return sorted(phonenumbers.SUPPORTED_REGIONS)


def _anywhere(dice: random.Random) -> str | None:
    return dice.choice(_regions()) if dice.random() < 0.9 else dice.choice((None, "ZZ", "001", "dk", ""))


def _mutated(number: str, dice: random.Random) -> str:
    """One change: digits replaced, dropped or added, separators, prefixes, and now and then something odd."""
    at = dice.randrange(len(number) + 1)
    digit = str(dice.randrange(10))
    way = dice.random()
    if way < 0.10:
        tail = dice.randrange(1, 8)
        changed = number[:-tail] + "".join(dice.choices("0123456789", k=tail))
    elif way < 0.20:
        changed = dice.choice(_PREFIXES) + number.lstrip("+" if digit < "5" else "")
    elif way < 0.30:
        changed = "".join(each for each in number if each.isdigit() or each == "+")
    else:
        separator, oddity = dice.choice(_SEPARATORS), dice.choice(_ODDITIES)
        new = dice.choices((digit, "", separator, oddity), (43, 15, 8, 4))[0]
        changed = number[:at] + new + number[at + dice.choice((0, 1)) :]
    return changed


def differences(sample: pl.DataFrame, few: int | None = None) -> pl.DataFrame:
    """The lines of `sample` where `normalise` and the definition do not agree, with both answers.

    `few` takes the place of `phones.FEW`: 0 for polars, more than the sample has for one number at a time.
    """
    phones.FEW = phones.FEW if few is None else few
    given = phones.normalise(sample["number"], sample["region"])
    known = phonenumbers.SUPPORTED_REGIONS
    answers = [definition(number, region if region in known else None) for number, region in sample.iter_rows()]
    wanted = pl.DataFrame(answers, schema={f"wanted_{name}": pl.String for name in given.columns}, orient="row")
    both = sample.hstack(given).hstack(wanted)
    same = (pl.col(name).eq_missing(pl.col(f"wanted_{name}")) for name in given.columns)
    return both.filter(~pl.all_horizontal(*same))


def agree(count: int, seed: int) -> int:
    """Compares `count` generated numbers, both ways; returns how many differ. Small regions, too, go the fast way."""
    plain.WORTHWHILE = 1
    different, done, unsure = 0, 0, 0
    while done < count:
        make = generate if done // _BATCH % 2 == 0 else real_shaped
        sample = make(min(_BATCH, count - done), seed + done)
        found = pl.concat([differences(sample, few) for few in (0, _BATCH + 1)])
        different += found.height
        done += sample.height
        unsure += slow_share(sample["number"], sample["region"])[0]
        if found.height:
            print(found.head(20).rows(named=True))
        print(f"{done:>10} compared, {different} differ, {unsure / done:.1%} asked of phonenumbers", flush=True)
    return different


def slow_share(numbers: pl.Series, regions: pl.Series) -> tuple[int, int]:
    """How many numbers, and how many distinct ones, the fast way leaves to `phonenumbers`."""
    unsure = plain.decide(written.lines(numbers, regions))[1].select("number", "region")
    asked = [line for line in unsure.iter_rows() if singly.glance(*line) is None]
    return len(asked), len(set(asked))


_AREAS = {
    "DK": (("20", "22", "26", "28", "30", "31", "40", "42", "50", "60", "33", "44", "75", "86"), (6,)),
    "DE": (("151", "152", "157", "160", "170", "171", "175", "176", "30", "40", "89", "221", "69"), (7, 8)),
    "SE": (("70", "72", "73", "76", "8", "31", "40", "46"), (6, 7)),
}


def clean(count: int, seed: int) -> pl.DataFrame:
    """`number, region`: valid numbers of DK, DE and SE in the formats that people and systems use."""
    dice = random.Random(seed)
    lines: list[tuple[str, str]] = []
    while len(lines) < count:
        region = dice.choice(tuple(_AREAS))
        areas, sizes = _AREAS[region]
        national = dice.choice(areas) + "".join(dice.choices("0123456789", k=dice.choice(sizes)))
        number = phonenumbers.parse(national, region)
        if phonenumbers.is_valid_number(number):
            lines.append((_typed(number, dice), region))
    return pl.DataFrame(lines, schema=["number", "region"], orient="row")


def _typed(number: phonenumbers.PhoneNumber, dice: random.Random) -> str:
    style = dice.choice(("E164", "INTERNATIONAL", "NATIONAL", "NATIONAL", "digits", "00", "dashes", "dots", "spaced"))
    if style == "00":
        return f"00{number.country_code}{number.national_number}"
    if style in ("E164", "INTERNATIONAL", "NATIONAL"):
        return phonenumbers.format_number(number, getattr(PhoneNumberFormat, style))
    national = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    mark = {"digits": "", "dashes": "-", "dots": ".", "spaced": "  "}[style]
    return mark.join("".join(each if each.isdigit() else " " for each in national).split())


def dirty(count: int, seed: int, share: float = 0.05) -> pl.DataFrame:
    """Clean data of which `share` is garbage: words, cut, doubled and mistyped numbers, extensions, two in a cell."""
    dice = random.Random(seed)
    lines = [
        (_garbage(number, dice) if dice.random() < share else number, region)
        for number, region in clean(count, seed).iter_rows()
    ]
    return pl.DataFrame(lines, schema={"number": pl.String, "region": pl.String}, orient="row")


def real_shaped(count: int, seed: int, share: float = 0.1) -> pl.DataFrame:
    """`number, region`: numbers of every region as people type them, in turn, `share` of them garbage.

    Each is an example of libphonenumber with other last digits, so most are valid and some just miss it.
    """
    dice, numbers, regions = random.Random(seed), [], []
    known = _examples_by_region()
    for place in range(count):
        region, choice = known[place % len(known)]
        example = dice.choice(choice)
        text = _typed(_other_tail(example, dice), dice)
        numbers.append(_garbage(text, dice) if dice.random() < share else text)
        regions.append(region)
    made = pl.DataFrame({"number": numbers, "region": regions}, schema={"number": pl.String, "region": pl.String})
    return made.sort("region", maintain_order=True)  # as in `generate`


@cache
def _examples_by_region() -> list[tuple[str | None, list[phonenumbers.PhoneNumber]]]:
    """Every region with an example of each type that it has, and None with those of no country's codes."""
    kinds = list(PhoneNumberType.values())
    codes = sorted(phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS)
    made = {None: [phonenumbers.example_number_for_non_geo_entity(code) for code in codes]} | {
        region: [phonenumbers.example_number_for_type(region, kind) for kind in kinds] for region in _regions()
    }
    return [(region, [each for each in numbers if each is not None]) for region, numbers in made.items()]


def _other_tail(example: phonenumbers.PhoneNumber, dice: random.Random) -> phonenumbers.PhoneNumber:
    """The number with up to five other last digits."""
    size = dice.randrange(6)
    made = phonenumbers.PhoneNumber()
    made.merge_from(example)
    made.national_number = example.national_number // 10**size * 10**size + dice.randrange(10**size)
    return made


def _garbage(number: str, dice: random.Random) -> str | None:
    ways: tuple[str | None, ...] = (
        *(None, "", " ", "-", "n/a", "unknown", "ukendt", "0", "00000000", "12345678", "#N/A", "nej tak", "a@b.dk"),
        *(number[: len(number) // 2], number + number, number[:-1], number + "1", "0" + number, "+" + number),
        *(f"{number} / {number}", f"{number}, {number[::-1]}", f"{number} x{dice.randrange(999)}", f"Tel: {number}"),
        *(
            f"{number} (mobil)",
            number.replace("1", "l"),
            number.replace("0", "O"),
            f"{number} ext. {dice.randrange(99)}",
        ),
        *(f"'{number}", f"\u202a{number}\u202c", f"{float(dice.randrange(10**8)):.3e}", f"{dice.randrange(10**8)}.0"),
    )
    return dice.choice(ways)


def _seconds(sample: pl.DataFrame, times: int = 7) -> float:
    """The best of some runs: other work on the machine only ever adds time."""
    best = float("inf")
    for _ in range(times):
        started = time.perf_counter()
        phones.normalise(sample["number"], sample["region"])
        best = min(best, time.perf_counter() - started)
    return best


def _peer_seconds(sample: pl.DataFrame) -> float:
    """Parse, check and format, one number after the other: what a plain loop costs."""
    started = time.perf_counter()
    for number, region in sample.iter_rows():
        definition(number, region)
    return time.perf_counter() - started


def speed(count: int) -> list[Result]:
    """Prints the table: the same numbers through both, in the same run."""
    results = []
    print("data                     numbers  first s  best s  phonenumbers s  ratio  left to it  distinct")
    for name, sample in (("clean DK/DE/SE", clean(count, 1)), ("the same, 5 % garbage", dirty(count, 1))):
        first, best, peer = _seconds(sample, 1), _seconds(sample), _peer_seconds(sample)
        left, distinct = slow_share(sample["number"], sample["region"])
        times = f"{name:<22}{count:>10}{first:>9.3f}{best:>8.3f}{peer:>16.2f}{peer / best:>7.0f}"
        print(f"{times}{left / count:>12.2%}{distinct:>10}", flush=True)
        results.append(
            Result(
                what=f"phones, {name}",
                goal=f">= {GOAL} x phonenumbers",
                measured=f"{count / best / 1e6:.2f} M/s to {count / peer / 1e6:.3f} M/s",
                ratio=f"{peer / best:.0f} x",
                met=peer / best >= GOAL,
            )
        )
    return results


def main(arguments: list[str]) -> list[Result]:
    """The command; ends the program with 1 when numbers were to be compared and some differ."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--agree", type=int, metavar="COUNT", help="compare so many numbers instead of timing")
    options.add_argument("--count", type=int, default=262_000, help="numbers to time")
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args(arguments)
    if chosen.agree:
        sys.exit(int(agree(chosen.agree, chosen.seed) > 0))
    return speed(chosen.count)


if __name__ == "__main__":
    main(sys.argv[1:])
