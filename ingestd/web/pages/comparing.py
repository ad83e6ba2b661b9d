"""A filter as it is built on a page: one comparison after the other, told as a sentence that stands in the address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ingestd.errors import Invalid
from ingestd.leads import filter_text, filters
from ingestd.leads.conditions import Terms
from ingestd.leads.filter_fields import ALONE, Field, Kind
from ingestd.leads.filters import Every, Filter, Some

OPERATORS: Mapping[str, str] = {
    "is": "is",
    "is_not": "is not",
    "in": "is one of",
    "contains": "contains",
    "starts_with": "starts with",
    "from": "from",
    "to": "up to",
    "between": "between",
    "below": "is in or below",
    "empty": "is empty",
    "filled": "is filled",
}
"""As people choose them; those that change with time alone are not for segments."""
_HINTS: Mapping[Kind, str] = {
    Kind.DAY: "A day, written YYYY-MM-DD.",
    Kind.MOMENT: "A day, written YYYY-MM-DD.",
    Kind.FLAG: "yes or no",
    Kind.NUMBER: "A whole number.",
    Kind.NUMBERED: "Its number, as the lists show it.",
    Kind.OWNER: "team: and its key, or user: and the login.",
    Kind.AGENT: "user: and the login: leads that this agent may call.",
}


def parts_of(tree: Filter) -> tuple[str, tuple[Filter, ...]]:
    """How the outermost parts are joined, `all` or `any`, and these parts. Pure."""
    if isinstance(tree, Every):
        return "all", tree.parts
    return ("any", tree.parts) if isinstance(tree, Some) else ("all", (tree,))


def joined(join: str, parts: tuple[Filter, ...]) -> Filter:
    """The parts as one filter; a single one stands for itself. Pure."""
    if len(parts) == 1:
        return parts[0]
    return Some(parts=parts) if join == "any" and parts else Every(parts=parts)


def sentence(tree: Filter) -> str:
    """The filter as it stands in an address; every lead is nothing at all."""
    join, parts = parts_of(tree)
    if not parts:
        return ""
    told = filter_text.told(tree)
    return told if join == "any" or len(parts) > 1 else filter_text.told(parts[0])


def compared(field: Field | None, op: str, typed: str) -> dict[str, Any]:
    """One comparison as JSON, of what somebody typed; raises Invalid when no field was chosen."""
    if field is None:
        raise Invalid("filter_unusable", "choose the field that is compared", field="field")
    chosen = op if op in field.operators else field.operators[0]
    wanted: dict[str, Any] = {"field": field.name, "op": chosen}
    if chosen in ALONE:
        return wanted
    if chosen == "in":
        values: Any = [_value(field, each.strip()) for each in typed.split(",") if each.strip()]
    elif chosen == "between":
        first, found, last = typed.partition(" to ")
        first, _, last = (first, found, last) if found else typed.partition(",")
        values = [_value(field, first.strip()), _value(field, last.strip())]
    else:
        values = _value(field, typed.strip())
    return {**wanted, "value": values}


def added(tree: Filter, join: str, comparison: Mapping[str, Any], fields: Mapping[str, Field]) -> Filter:
    """The filter with one comparison more; raises Invalid for one that makes no sense."""
    one = filters.parsed(comparison, fields)
    before, parts = parts_of(tree)
    wanted = join if join in ("all", "any") else before
    if len(parts) > 1 and wanted != before:
        return joined(wanted, (tree, one))
    return joined(wanted, (*parts, one))


def without(tree: Filter, place: int) -> Filter:
    """The filter without one of its outermost parts. Pure."""
    join, parts = parts_of(tree)
    return joined(join, parts[:place] + parts[place + 1 :])


def suggestions(field: Field | None, names: Terms) -> list[tuple[str, str]]:
    """Values that a field may be compared with, where they are known: value and title. Pure."""
    if field is None:
        return []
    if field.name == "status":
        found = [(each.code, each.name) for each in names.book.by_code.values()]
        return [("open", "every open status"), ("closed", "every closed status"), *found]
    if field.name in ("campaign", "project"):
        known = names.campaigns if field.name == "campaign" else names.projects
        return [(each, "") for each in sorted(known)]
    if field.kind in (Kind.OWNER, Kind.AGENT):
        users = field.kind == Kind.AGENT
        return [(each, "") for each in sorted(names.owners) if not users or each.startswith("user:")]
    return [("yes", ""), ("no", "")] if field.kind == Kind.FLAG else []


def hint(field: Field | None, op: str) -> str:
    """What to type. Pure."""
    if op == "in":
        return "Several values, with commas between them."
    if op == "between":
        return "Two values, such as 4000 to 5999; both belong to it."
    return _HINTS.get(field.kind, "") if field else ""


def _value(field: Field, text: str) -> Any:
    if field.kind == Kind.FLAG:
        return {"yes": True, "no": False}.get(text.lower(), text)
    whole = field.kind in (Kind.NUMBER, Kind.NUMBERED) and len(text) < 19 and text.lstrip("-").isdecimal()
    return int(text) if whole and text.isascii() else text
