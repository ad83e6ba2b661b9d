"""The filter of Lead Admin in the address: read, told, narrowed by a comparison at a time, widened again. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ingestd.errors import Invalid
from ingestd.leads import filter_text, filters
from ingestd.leads.filter_fields import ALONE, LISTS, Field, Kind
from ingestd.leads.filters import EVERYTHING, Comparison, Every, Filter

LONGEST = 20_000
"""characters of a filter in an address"""

QUICK: Mapping[str, tuple[str, str]] = {
    "campaign": ("campaign", "is"),
    "pool": ("pool", "is"),
    "status": ("status", "is"),
    "phone": ("phone", "is"),
    "uploaded_from": ("uploaded_at", "from"),
    "uploaded_to": ("uploaded_at", "to"),
    "owner": ("owner", "is"),
    "original_owner": ("original_owner", "is"),
    "uploaded_by": ("uploaded_by", "is"),
    "processed_by": ("processed_by", "is"),
    "modified_by": ("modified_by", "is"),
}
"""What is asked for most often: the parameter of the form, and the comparison that it means."""

OPERATORS: Mapping[str, str] = {
    "is": "is",
    "is_not": "is not",
    "in": "is one of",
    "contains": "contains",
    "starts_with": "starts with",
    "from": "from",
    "to": "to",
    "between": "between",
    "last_days": "in the last … days",
    "below": "is, or is below",
    "empty": "is empty",
    "filled": "is filled",
}
"""How each operator is told to people."""

_HINTS: Mapping[Kind, str] = {
    Kind.DAY: "a day, YYYY-MM-DD",
    Kind.MOMENT: "a day, YYYY-MM-DD, or a moment such as 2026-06-15T12:00:00Z",
    Kind.FLAG: "yes or no",
    Kind.NUMBER: "a whole number",
    Kind.NUMBERED: "a number",
    Kind.OWNER: "team:key or user:login",
    Kind.AGENT: "user:login",
    Kind.UPLOADER: "user:login or source:name",
    Kind.NAMED: "a code",
    Kind.PHONE: "a phone number with its country, such as +4526000000",
}


@dataclass(frozen=True, kw_only=True)
class Chip:
    """One part of the filter, as it is shown."""

    told: str
    without: str
    """the filter without it, as it stands in the address"""


def read(text: str, fields: Mapping[str, Field]) -> Filter:
    """A filter as JSON or as a sentence; of nothing, every lead. Raises Invalid."""
    if not text.strip().startswith("{"):
        return filter_text.read(text, fields)
    try:
        written = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise Invalid("filter_unusable", "the filter is no JSON", field="filter") from problem
    return filters.parsed(written, fields)


def told(tree: Filter) -> str:
    """As it stands in the address: a sentence that `read` takes, and nothing for every lead."""
    return "" if tree == EVERYTHING else filter_text.told(tree)


def chips(tree: Filter) -> list[Chip]:
    """Every part of the filter, each with what is left without it."""
    every = parts(tree)
    rest = (joined([*every[:at], *every[at + 1 :]]) for at in range(len(every)))
    return [Chip(told=filters.told(part), without=told(left)) for part, left in zip(every, rest, strict=True)]


def parts(tree: Filter) -> tuple[Filter, ...]:
    """What has to hold all together."""
    return tree.parts if isinstance(tree, Every) else (tree,)


def joined(every: Sequence[Filter]) -> Filter:
    """All of these."""
    return every[0] if len(every) == 1 else Every(parts=tuple(every))


def quick(tree: Filter) -> dict[str, str]:
    """The values of the form of what is asked for most often."""
    plain = {(each.field.name, each.op): each.value for each in parts(tree) if isinstance(each, Comparison)}
    found = {name: plain.get(meant) for name, meant in QUICK.items()}
    return {name: "" if value is None else str(value) for name, value in found.items()}


def narrowed(tree: Filter, given: Mapping[str, str], fields: Mapping[str, Field]) -> Filter:
    """The filter with the values of that form in the place of those before; one that is empty is not asked for."""
    kept = list(parts(tree))
    for name, (field, op) in QUICK.items():
        if name not in given:
            continue
        same = [each for each in kept if isinstance(each, Comparison) and (each.field.name, each.op) == (field, op)]
        text = given[name].strip()
        new = [compared(fields[field], op, text, fields)] if text else []
        place = kept.index(same[0]) if same else len(kept)
        kept = [each for each in kept if each not in same]
        kept[place:place] = new
    return joined(kept)


def compared(field: Field, op: str, text: str, fields: Mapping[str, Field]) -> Filter:
    """One comparison as a form has it: several values are separated by commas. Raises Invalid."""
    wanted: dict[str, Any] = {"field": field.name, "op": op}
    if op in LISTS:
        wanted["value"] = [_value(each.strip(), field) for each in text.split(",") if each.strip()]
    elif op == "last_days":
        wanted["value"] = _whole(text)
    elif op not in ALONE:
        wanted["value"] = _value(text.strip(), field)
    return filters.parsed(wanted, fields)


def operators_of(field: Field) -> list[tuple[str, str]]:
    """How the field is asked for: operator, and its words."""
    return [(op, OPERATORS[op]) for op in field.operators]


def hint(field: Field) -> str:
    """How a value of the field is written."""
    lists = "; several, or both ends of a range, with commas between" if LISTS.intersection(field.operators) else ""
    return f"{_HINTS.get(field.kind, 'any text, in capitals or not')}{lists}"


def _value(text: str, field: Field) -> Any:
    if field.kind in (Kind.NUMBER, Kind.NUMBERED):
        return _whole(text)
    if field.kind == Kind.FLAG:
        return {"yes": True, "no": False}.get(text.lower(), text)
    return text


def _whole(text: str) -> Any:
    """A whole number; anything else is left for the filter to refuse."""
    plain = text.strip().replace(" ", "")
    return int(plain) if re.fullmatch(r"-?\d{1,18}", plain) else text
