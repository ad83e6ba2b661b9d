"""Filters as sentences: `city is Copenhagen and (status is open or attempts from 3)`.

It is the form in which a filter is told (`filters.told`), with fields by name or by title and any capitals. A value
that has the words `and`, `or`, brackets, commas or quotes in it stands in double quotes; inside of them `""` is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ingestd.errors import Invalid
from ingestd.leads.filter_fields import Field, Kind
from ingestd.leads.filters import Comparison, Every, Filter, Not, parsed

_TOKEN = re.compile(r'\s*(?:(?P<mark>[(),])|"(?P<quoted>(?:[^"]|"")*)"|(?P<word>[^\s(),"]+))')
_PLAIN = re.compile(r"[^\s(),\"]+(?: [^\s(),\"]+)*")
_ENDS = frozenset({"and", "or"})

# The words of each operator; the longer ones are looked for first.
_WORDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("is", "one", "of"), "in"),
    (("is", "not", "empty"), "filled"),
    (("is", "not"), "is_not"),
    (("is", "empty"), "empty"),
    (("is", "filled"), "filled"),
    (("in", "the", "last"), "last_days"),
    (("starts", "with"), "starts_with"),
    (("contains",), "contains"),
    (("below",), "below"),
    (("from",), "from"),
    (("to",), "to"),
    (("is",), "is"),
)

DEEPEST = 32
"""Brackets inside of each other; each reads on by itself, and a filter has fewer groups (`filters.DEEPEST`)."""


@dataclass(frozen=True, kw_only=True)
class _Token:
    text: str
    quoted: bool = False
    at: int


def read(text: str, fields: Mapping[str, Field]) -> Filter:
    """The filter of a sentence; of an empty one, every lead. Raises Invalid with the place in the sentence."""
    reader = _Reader(tokens=list(_tokens(text)), fields=_named(fields))
    return parsed(reader.whole(), fields)


def told(tree: Filter) -> str:
    """The filter as a sentence that `read` takes: with the names of fields, and quotes where they are needed."""
    return _told(tree, inside=False)


def _named(fields: Mapping[str, Field]) -> dict[tuple[str, ...], Field]:
    """Fields by the words of their names and titles; a name wins over another one's title."""
    by_title = {tuple(field.title.lower().split()): field for field in fields.values()}
    return by_title | {(name.lower(),): field for name, field in fields.items()}


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if found is None:
            raise _invalid(text, at, "a quote that does not end")
        quoted = found["quoted"]
        word = found["mark"] or found["word"] if quoted is None else quoted.replace('""', '"')
        yield _Token(text=word, quoted=quoted is not None, at=found.start() + 1)
        at = found.end()


@dataclass(kw_only=True)
class _Reader:
    """Goes through the words of a sentence once."""

    tokens: list[_Token]
    fields: Mapping[tuple[str, ...], Field]
    at: int = 0
    deep: int = 0
    """brackets that are open"""

    def whole(self) -> dict[str, Any]:
        """All of it."""
        if not self.tokens or [token.text.lower() for token in self.tokens] == ["every", "lead"]:
            return {"all": []}
        found = self._either()
        if self.at < len(self.tokens):
            raise self._wrong("`and` or `or` is missing")
        return found

    def _either(self) -> dict[str, Any]:
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else {"any": parts}

    def _both(self) -> dict[str, Any]:
        parts = [self._one()]
        while self._take("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else {"all": parts}

    def _one(self) -> dict[str, Any]:
        if self._next_is("not") and self._word(1) == "(":
            self.at += 1
            return {"not": self._group()}
        return self._group() if self._next_is("(") else self._comparison()

    def _group(self) -> dict[str, Any]:
        self._expect("(")
        self.deep += 1
        if self.deep > DEEPEST:
            raise self._wrong(f"more than {DEEPEST} brackets are open")
        found = self._inside()
        self.deep -= 1
        return found

    def _inside(self) -> dict[str, Any]:
        if self._take("every"):
            self._expect("lead")
            self._expect(")")
            return {"all": []}
        found = self._either()
        self._expect(")")
        return found

    def _comparison(self) -> dict[str, Any]:
        field = self._field()
        for words, op in _WORDS:
            if all(self._word(place) == word for place, word in enumerate(words)):
                if op not in field.operators:
                    break
                self.at += len(words)
                return self._of(field, op)
        raise self._wrong(f"{field.name} is asked by {', '.join(map(_spelt, field.operators))}")

    def _of(self, field: Field, op: str) -> dict[str, Any]:
        wanted: dict[str, Any] = {"field": field.name, "op": op}
        if op in ("empty", "filled"):
            return wanted
        if op == "last_days":
            days = _number(self._value(("days",)))
            self._expect("days")
            return {**wanted, "value": days}
        if op == "in":
            values = [self._read(field)]
            while self._take(","):
                values.append(self._read(field))
            return {**wanted, "value": values}
        if op == "from" and "between" in field.operators:
            first = self._read(field, ("to",))
            if self._take("to"):
                return {**wanted, "op": "between", "value": [first, self._read(field)]}
            return {**wanted, "value": first}
        return {**wanted, "value": self._read(field)}

    def _field(self) -> Field:
        longest = max(len(words) for words in self.fields)
        for count in range(longest, 0, -1):
            some = self.tokens[self.at : self.at + count]
            found = self.fields.get(tuple(token.text.lower() for token in some if not token.quoted))
            if found is not None and len(some) == count:
                self.at += count
                return found
        raise self._wrong("no lead has this field")

    def _read(self, field: Field, ends: tuple[str, ...] = ()) -> Any:
        text = self._value(ends)
        if field.kind in (Kind.NUMBER, Kind.NUMBERED):
            return _number(text)
        if field.kind == Kind.FLAG:
            return {"yes": True, "true": True, "no": False, "false": False}.get(text.lower(), text)
        return text

    def _value(self, ends: tuple[str, ...]) -> str:
        """One quoted value, or the words up to the next one that goes on."""
        if self.at < len(self.tokens) and self.tokens[self.at].quoted:
            self.at += 1
            return self.tokens[self.at - 1].text
        words = []
        while (word := self._word(0)) is not None and word not in {*_ENDS, *ends, "(", ")", ","}:
            if self.tokens[self.at].quoted:
                raise self._wrong("a quote in the middle of a value")
            words.append(self.tokens[self.at].text)
            self.at += 1
        if not words:
            raise self._wrong("a value is missing")
        return " ".join(words)

    def _word(self, ahead: int) -> str | None:
        """The word there in small letters; a quoted one means nothing but itself."""
        place = self.at + ahead
        if place >= len(self.tokens):
            return None
        token = self.tokens[place]
        return f'"{token.text}' if token.quoted else token.text.lower()

    def _next_is(self, word: str) -> bool:
        return self._word(0) == word

    def _take(self, word: str) -> bool:
        there = self._next_is(word)
        self.at += there
        return there

    def _expect(self, word: str) -> None:
        if not self._take(word):
            raise self._wrong(f"{word!r} is missing")

    def _wrong(self, why: str) -> Invalid:
        before = " ".join(token.text for token in self.tokens[max(0, self.at - 4) : self.at])
        here = self.tokens[self.at].text if self.at < len(self.tokens) else "the end"
        place = f"after {before!r}, at {here!r}" if before else f"at {here!r}"
        return Invalid("filter_unusable", f"the filter cannot be read {place}: {why}", field="where")


def _number(text: str) -> Any:
    """A whole number; anything else is left for the filter to refuse."""
    return int(text) if re.fullmatch(r"-?\d{1,19}", text) else text


def _invalid(text: str, at: int, why: str) -> Invalid:
    return Invalid("filter_unusable", f"the filter cannot be read at {text[at : at + 20]!r}: {why}", field="where")


def _told(tree: Filter, *, inside: bool) -> str:
    if isinstance(tree, Comparison):
        return _sentence(tree)
    if isinstance(tree, Not):
        return f"not ({_told(tree.part, inside=False)})"
    if not tree.parts:
        return "(every lead)" if inside else "every lead"
    word = " and " if isinstance(tree, Every) else " or "
    text = word.join(_told(part, inside=True) for part in tree.parts)
    return f"({text})" if inside else text


_SAID: Mapping[str, str] = {op: " ".join(words) for words, op in reversed(_WORDS) if words != ("is", "not", "empty")}


def _spelt(op: str) -> str:
    """An operator as it is written in a sentence."""
    return "from … to" if op == "between" else _SAID[op]


def _sentence(one: Comparison) -> str:
    name, value = one.field.name, one.value
    if one.op in ("empty", "filled"):
        return f"{name} is {one.op}"
    if one.op == "between":
        assert isinstance(value, tuple)
        return f"{name} from {_shown(value[0])} to {_shown(value[1])}"
    if one.op == "in":
        assert isinstance(value, tuple)
        return f"{name} is one of {', '.join(_shown(each) for each in value)}"
    return f"{name} {_SAID[one.op]} {_shown(value)}{' days' if one.op == 'last_days' else ''}"


_SPOKEN = frozenset(word for words, _ in _WORDS for word in words) | _ENDS | {"to", "not", "days"}


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    plain = _PLAIN.fullmatch(text) and _SPOKEN.isdisjoint(text.lower().split())
    return text if plain else '"' + text.replace('"', '""') + '"'
