"""Suggestions: which field each column of a file probably is, for whoever makes a mapping.

What the road itself would do comes first: the saved mapping, then names and aliases. Only what it would leave unmapped
is guessed at: by headers that are spelt alike, and by cells that look like what a field holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rapidfuzz import fuzz

from ingestd.ingest import phones
from ingestd.schemas import FieldType, LeadField, Schema, header_key
from ingestd.settings import code_key

Why = Literal["mapping", "name", "alias", "similar", "content", "ignored", ""]

SURE = 100.0
SIMILAR = 72.0
"""From which likeness on two headers are taken to mean the same; below it are mostly accidents."""
CONTENT: Mapping[str, float] = {"email": 65.0, "phone": 60.0, "ownership_code": 60.0, "country": 55.0,
                                "alternative_phone": 50.0, "date_of_birth": 45.0}  # fmt: skip
"""What cells alone say about these fields, and how much that is worth: always less than a header."""
FITTING = 0.8
"""The share of a column's cells that must look like it; real columns have a few that do not."""
SHORT, SURELY_SIMILAR = 5, 88.0
"""Headers of fewer letters are spelt alike by accident, unless they are nearly the same."""
CONTRADICTED = 0.4
"""What a likeness is still worth when the cells do not look like the field."""
LEAST = 40.0
"""Below it a guess is only told as an alternative."""
ALTERNATIVES = 3
SAMPLES = 5

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_DATE = re.compile(r"(\d{1,2}[./-]\d{1,2}[./-](19|20)\d{2}|(19|20)\d{2}[./-]\d{1,2}[./-]\d{1,2})")
_SAY_NOTHING = frozenset(("customer", "client", "contact", "lead", "kunde", "kunden"))
"""Words that stand before any field; a header that shares no other with a field is not like it."""
_WORDS = re.compile(r"[^\W_]+")


@dataclass(frozen=True, kw_only=True)
class Guess:
    """One field that a column may be."""

    field: str
    score: float
    """0 to 100"""
    why: Why


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """What a column probably is."""

    header: str
    field: str | None
    """None: nothing fits, or the saved mapping ignores the column"""
    score: float
    why: Why
    alternatives: tuple[Guess, ...]
    """what else it may be, the likeliest first; also fields that another column is likelier to be"""
    samples: tuple[str, ...]
    """the first different values of the column"""


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """What suggestions are made from."""

    schema: Schema
    saved: Mapping[str, str] = field(default_factory=dict)
    """the source's mapping: header → field"""
    region: str = ""
    """where numbers without a country belong, ISO 3166-1 alpha-2; empty: only numbers with + are known"""
    codes: frozenset[str] = frozenset()
    """Lead Ownership Codes, as they are compared"""


def suggest(header: Sequence[str], columns: Sequence[Sequence[str]], knowledge: Knowledge) -> tuple[Suggestion, ...]:
    """One suggestion a header, in file order; a field is suggested to one header only. Pure.

    `columns` are values of each header's column, and may be fewer than there are headers.
    """
    cells = [_samples(columns[at]) if at < len(columns) else () for at in range(len(header))]
    guesses = [_guesses(name, values, knowledge) for name, values in zip(header, cells, strict=True)]
    given = _given(header, guesses, knowledge)
    return tuple(
        _suggestion(name, guesses[at], given.get(at), cells[at], ignored=_ignored(name, knowledge))
        for at, name in enumerate(header)
    )


def _samples(values: Sequence[str]) -> tuple[str, ...]:
    different = dict.fromkeys(value.strip() for value in values if value and value.strip())
    return tuple(different)[:SAMPLES]


def _given(header: Sequence[str], guesses: Sequence[tuple[Guess, ...]], knowledge: Knowledge) -> dict[int, Guess]:
    """Column → its field: the likeliest pairs first; of equals the saved mapping, then the first column."""
    pairs = [
        (guess, at)
        for at, some in enumerate(guesses)
        if not _ignored(header[at], knowledge)
        for guess in some
        if guess.score >= LEAST
    ]
    given: dict[int, Guess] = {}
    taken: set[str] = set()
    for guess, at in sorted(pairs, key=lambda pair: (-pair[0].score, pair[0].why != "mapping", pair[1])):
        if at not in given and guess.field not in taken:
            given[at] = guess
            taken.add(guess.field)
    return given


def _suggestion(
    name: str, guesses: tuple[Guess, ...], mine: Guess | None, samples: tuple[str, ...], *, ignored: bool
) -> Suggestion:
    others = tuple(guess for guess in guesses if mine is None or guess.field != mine.field)[:ALTERNATIVES]
    if mine is None:
        why: Why = "ignored" if ignored else ""
        return Suggestion(
            header=name, field=None, score=SURE if ignored else 0.0, why=why, alternatives=others, samples=samples
        )
    return Suggestion(
        header=name, field=mine.field, score=mine.score, why=mine.why, alternatives=others, samples=samples
    )


def _ignored(name: str, knowledge: Knowledge) -> bool:
    return any(field == "" and header_key(name) == header_key(column) for column, field in knowledge.saved.items())


def _guesses(name: str, samples: tuple[str, ...], knowledge: Knowledge) -> tuple[Guess, ...]:
    """What a column may be, the likeliest first; each field once, by what speaks most for it."""
    best: dict[str, Guess] = {}
    for guess in (*_exact(name, knowledge), *_similar(name, samples, knowledge), *_by_content(samples, knowledge)):
        if guess.field not in best or best[guess.field].score < guess.score:
            best[guess.field] = guess
    return tuple(sorted(best.values(), key=lambda guess: (-guess.score, guess.why != "mapping")))


def _exact(name: str, knowledge: Knowledge) -> Iterator[Guess]:
    """What the road takes the column for, in the order in which it looks."""
    key, schema = header_key(name), knowledge.schema
    for column, saved in knowledge.saved.items():
        if header_key(column) == key and saved in schema.by_name:
            yield Guess(field=saved, score=SURE, why="mapping")
    known = schema.by_header.get(key)
    if known is not None:
        exact = key in (header_key(known.name), header_key(known.title))
        yield Guess(field=known.name, score=SURE, why="name" if exact else "alias")


def _similar(name: str, samples: tuple[str, ...], knowledge: Knowledge) -> Iterator[Guess]:
    """Headers that are spelt alike, or have the same words among others; cells that contradict take most of it away."""
    for each in knowledge.schema.fields:
        likeness = max(_likeness(name, other) for other in each.names)
        if likeness >= SIMILAR:
            believed = likeness if _may_hold(each, samples, knowledge) else likeness * CONTRADICTED
            yield Guess(field=each.name, score=round(min(believed, SURE - 1), 1), why="similar")


def _likeness(name: str, other: str) -> float:
    """Of two headers, 0 to 100: by their letters, and by their words in any order, of which one may have more."""
    mine, its = _words(name), _words(other)
    if not mine or not its:
        return 0.0
    whole = fuzz.ratio("".join(mine), "".join(its))
    if min(len("".join(mine)), len("".join(its))) < SHORT and whole < SURELY_SIMILAR:
        whole = 0.0
    common = sum(len(word) for word in set(mine) & set(its) - _SAY_NOTHING if len(word) > 2)  # "nr", "id"
    shared = (common / len("".join(mine)) + common / len("".join(its))) / 2
    return max(whole, 60.0 + 39.0 * min(shared, 1.0) if common else 0.0)


def _words(text: str) -> list[str]:
    split = re.sub(r"(?<=[a-zà-ÿ])(?=[A-ZÀ-Þ])", " ", text)  # mobilePhone
    return [key for word in _WORDS.findall(split) if (key := header_key(word))]


def _may_hold(each: LeadField, samples: tuple[str, ...], knowledge: Knowledge) -> bool:
    """False when the cells cannot be values of a field, as far as that can be told from their looks."""
    unknown = not samples or (each.type == "code" and not knowledge.codes)
    return unknown or _fits(each.type, samples, knowledge, least=0.5)


def _by_content(samples: tuple[str, ...], knowledge: Knowledge) -> Iterator[Guess]:
    if not samples:
        return
    for name, worth in CONTENT.items():
        each = knowledge.schema.by_name[name]
        if _fits(each.type, samples, knowledge, least=FITTING):
            yield Guess(field=name, score=worth, why="content")


def _fits(kind: FieldType, samples: tuple[str, ...], knowledge: Knowledge, *, least: float) -> bool:
    looks = sum(_looks_like(kind, value, knowledge) for value in samples)
    return looks >= least * len(samples)


def _looks_like(kind: FieldType, value: str, knowledge: Knowledge) -> bool:
    looks: Mapping[str, Callable[[], bool]] = {
        "email": lambda: _EMAIL.fullmatch(value) is not None,
        "phone": lambda: not _DATE.match(value) and _is_number(value, knowledge.region),
        "date": lambda: _DATE.match(value) is not None,
        "datetime": lambda: _DATE.match(value) is not None,
        "country": lambda: header_key(value) in knowledge.schema.country_codes,
        "integer": lambda: value.removeprefix("-").isdecimal(),
        "postcode": lambda: len(value) <= 10 and any(char.isdecimal() for char in value),
        "code": lambda: code_key(value) in knowledge.codes,
    }
    return looks[kind]() if kind in looks else True


def _is_number(value: str, region: str) -> bool:
    return phones.reference.verdict(value, region or None).e164 is not None
