"""Filters over leads as people and programs write them: comparisons, joined by `all`, `any` and `not`.

As JSON: `{"all": [{"field": "city", "op": "is", "value": "Copenhagen"}, {"field": "status", "op": "is", "value":
"open"}]}`. A filter is judged here as a whole, so what is kept or shared is known to make sense; what it means to the
store is in `conditions`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from ingestd.errors import Invalid
from ingestd.leads.filter_fields import ALONE, LISTS, Field, Kind
from ingestd.store import texts

DEEPEST = 8
"""groups inside of each other"""
MOST_PARTS = 200
"""comparisons of one filter"""
MOST_VALUES = 1000
"""values that a field is compared with by `in`"""
LONGEST = 500
"""characters of a value"""
MOST_DAYS = 36_500

Value = str | int | bool | date | datetime | tuple[Any, ...] | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One field against a value."""

    field: Field
    op: str
    value: Value = None
    """as the kind of the field has it; a tuple for `in` and `between`, None for `empty` and `filled`"""


@dataclass(frozen=True, kw_only=True)
class Every:
    """All parts hold; without any it always does."""

    parts: tuple[Filter, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Some:
    """One of the parts holds at least."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, kw_only=True)
class Not:
    """The part does not hold."""

    part: Filter


Filter = Comparison | Every | Some | Not
EVERYTHING = Every()


def parsed(written: Any, fields: Mapping[str, Field]) -> Filter:
    """A filter that was written as JSON; None or `{}` is every lead. Raises Invalid with the place of what is wrong."""
    found = EVERYTHING if written is None else _parsed(written, fields, "filter", 0)
    count = sum(1 for _ in comparisons(found))
    if count > MOST_PARTS:
        raise _invalid("filter", f"has {count} comparisons; {MOST_PARTS} are the most")
    return found


def comparisons(tree: Filter) -> Iterator[Comparison]:
    """Every comparison of a filter, in the order in which they are written."""
    if isinstance(tree, Comparison):
        yield tree
    elif isinstance(tree, Not):
        yield from comparisons(tree.part)
    else:
        for part in tree.parts:
            yield from comparisons(part)


def written(tree: Filter, *, personal: bool = True) -> dict[str, Any]:
    """The filter as JSON, in one form only: `parsed` of it is the same filter.

    Unless `personal` is False: then values of personal fields are left out, since what is kept about a deed outlives
    a person's data.
    """
    if isinstance(tree, Comparison):
        silent = tree.op in ALONE or (tree.field.personal and not personal)
        return {"field": tree.field.name, "op": tree.op, **({} if silent else {"value": _plain(tree.value)})}
    if isinstance(tree, Not):
        return {"not": written(tree.part, personal=personal)}
    parts = [written(part, personal=personal) for part in tree.parts]
    return {"all" if isinstance(tree, Every) else "any": parts}


def outline(written: Mapping[str, Any], kept: Container[str]) -> dict[str, Any]:
    """A filter that is JSON already, with the values of these fields alone: which others are personal is not asked."""
    if "field" in written:
        return {key: value for key, value in written.items() if key != "value" or written["field"] in kept}
    if "not" in written:
        return {"not": outline(written["not"], kept)}
    return {key: [outline(part, kept) for part in parts] for key, parts in written.items()}


def told(tree: Filter) -> str:
    """The filter as a sentence: `City is Copenhagen and Status is open`."""
    return _told(tree, inside=False) or "every lead"


def _parsed(node: Any, fields: Mapping[str, Field], place: str, depth: int) -> Filter:
    if not isinstance(node, Mapping):
        raise _invalid(place, "is neither a comparison nor a group")
    if depth > DEEPEST:
        raise _invalid(place, f"is nested deeper than {DEEPEST} groups")
    if "field" in node:
        return _comparison(node, fields, place)
    if not node:
        return EVERYTHING
    if len(node) > 1 or (key := next(iter(node))) not in ("all", "any", "not"):
        raise _invalid(place, "has `field`, `op` and `value`, or one of `all`, `any` and `not`")
    if key == "not":
        return Not(part=_parsed(node["not"], fields, f"{place}.not", depth + 1))
    if not isinstance(node[key], list) or (key == "any" and not node[key]):
        raise _invalid(f"{place}.{key}", "is a list of comparisons and groups")
    parts = tuple(_parsed(part, fields, f"{place}.{key}.{at}", depth + 1) for at, part in enumerate(node[key]))
    return Every(parts=parts) if key == "all" else Some(parts=parts)


def _comparison(node: Mapping[str, Any], fields: Mapping[str, Field], place: str) -> Comparison:
    if unknown := set(node) - {"field", "op", "value"}:
        raise _invalid(place, f"has {min(unknown)!r}, which no comparison has")
    field = fields.get(node["field"]) if isinstance(node["field"], str) else None
    if field is None:
        raise _invalid(f"{place}.field", f"names {node['field']!r}, which no lead has")
    op = node.get("op", "is")
    if op not in field.operators:
        raise _invalid(f"{place}.op", f"is {op!r}; {field.name} is asked by {', '.join(field.operators)}")
    return Comparison(field=field, op=op, value=_value(node.get("value"), field, op, f"{place}.value"))


def _value(value: Any, field: Field, op: str, place: str) -> Value:
    if op in ALONE:
        if value is not None:
            raise _invalid(place, f"is not needed by {op!r}")
        return None
    if op == "last_days":
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= MOST_DAYS:
            raise _invalid(place, f"is a number of days, 1 to {MOST_DAYS:,}")
        return value
    if op not in LISTS:
        return _single(value, field, place)
    most = 2 if op == "between" else MOST_VALUES
    if not isinstance(value, list) or not 0 < len(value) <= most or (op == "between" and len(value) != most):
        raise _invalid(place, "is a list of two values" if op == "between" else f"is a list of 1 to {most:,} values")
    return tuple(_single(each, field, f"{place}.{at}") for at, each in enumerate(value))


def _single(value: Any, field: Field, place: str) -> Value:
    if isinstance(value, str) and len(value) > LONGEST:
        raise _invalid(place, f"is longer than {LONGEST} characters")
    if isinstance(value, str) and not texts.kept(value):
        raise _invalid(place, "has a character that no text has")
    try:
        return _READ[field.kind](value)
    except (ValueError, OverflowError) as problem:
        raise _invalid(place, f"is {value!r}; {field.name} is {problem}") from problem


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("compared with text")
    return value.strip()


def _phone(value: Any) -> str:
    """As it is kept: `+` and digits. What people write between the digits does not count."""
    digits = "".join(char for char in _text(value) if char not in " ()-./\u00a0")
    return f"+{digits[2:]}" if digits.startswith("00") else digits


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
        raise ValueError("compared with a whole number")
    return value


def _day(value: Any) -> date:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError("compared with a day, written YYYY-MM-DD") from None


def _moment(value: Any) -> date | datetime:
    """A day, or a moment with its time zone: without one nobody knows which moment it is."""
    try:
        if len(value) <= len("YYYY-MM-DD"):
            return date.fromisoformat(value)
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError("compared with a day, YYYY-MM-DD, or a moment such as 2026-06-15T12:00:00Z")
    return moment


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("compared with true or false")  # noqa: TRY004 - one kind of problem for every value
    return value


_READ: Mapping[Kind, Callable[[Any], Value]] = {
    Kind.TEXT: _text,
    Kind.PHONE: _phone,
    Kind.NUMBER: _number,
    Kind.DAY: _day,
    Kind.MOMENT: _moment,
    Kind.FLAG: _flag,
    Kind.OWNER: _text,
    Kind.AGENT: _text,
    Kind.NAMED: _text,
    Kind.NUMBERED: _number,
    Kind.UPLOADER: _text,
}


def _plain(value: Value) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value.isoformat() if isinstance(value, date) else value


def _told(tree: Filter, *, inside: bool) -> str:
    if isinstance(tree, Comparison):
        return _sentence(tree)
    if isinstance(tree, Not):
        return f"not ({_told(tree.part, inside=False) or 'every lead'})"
    word = " and " if isinstance(tree, Every) else " or "
    text = word.join(_told(part, inside=True) or "every lead" for part in tree.parts)
    return f"({text})" if inside and len(tree.parts) > 1 else text


def _sentence(one: Comparison) -> str:
    value = one.value
    if one.op in ALONE:
        return f"{one.field.title} is {one.op}"
    if one.op == "between":
        assert isinstance(value, tuple)
        return f"{one.field.title} from {_shown(value[0])} to {_shown(value[1])}"
    if one.op == "in":
        assert isinstance(value, tuple)
        return f"{one.field.title} is one of {', '.join(_shown(each) for each in value)}"
    if one.op == "last_days":
        return f"{one.field.title} in the last {value} days"
    return f"{one.field.title} {one.op.replace('_', ' ')} {_shown(value)}"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value.isoformat() if isinstance(value, date) else str(value)


def _invalid(place: str, why: str) -> Invalid:
    return Invalid("filter_unusable", f"{place} {why}", field=place)
