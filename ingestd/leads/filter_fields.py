"""What of a lead can be asked for: every field that filters, columns and segments may name, with its operators."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ingestd.schemas import SYSTEM_FIELDS, LeadField, Schema


class Kind(StrEnum):
    """How the values of a field are written and compared."""

    TEXT = "text"
    """without regard to upper and lower case"""
    PHONE = "phone"
    NUMBER = "number"
    DAY = "day"
    MOMENT = "moment"
    FLAG = "flag"
    OWNER = "owner"
    """`team:<key>` or `user:<login>`"""
    NAMED = "named"
    """a code, such as that of a campaign"""
    NUMBERED = "numbered"
    """a number that names something, such as a pool"""
    AGENT = "agent"
    """`user:<login>`, for whom something can be reached"""
    UPLOADER = "uploader"
    """`user:<login>` for what somebody typed or uploaded, `source:<name>` for what a source sent"""


ALONE = frozenset({"empty", "filled"})
"""Operators without a value."""
LISTS = frozenset({"in", "between"})
"""Operators with a list of values."""

_EQUAL = ("is", "is_not", "in")
_RANGE = ("from", "to", "between")
_THERE = ("empty", "filled")

OPERATORS: dict[Kind, tuple[str, ...]] = {
    Kind.TEXT: (*_EQUAL, "contains", "starts_with", *_RANGE, *_THERE),
    Kind.PHONE: (*_EQUAL, "contains", "starts_with", *_THERE),
    Kind.NUMBER: (*_EQUAL, *_RANGE, *_THERE),
    Kind.DAY: ("is", "is_not", *_RANGE, "last_days", *_THERE),
    Kind.MOMENT: (*_RANGE, "last_days", *_THERE),
    Kind.FLAG: ("is",),
    Kind.OWNER: (*_EQUAL, "below", *_THERE),
    Kind.NAMED: _EQUAL,
    Kind.NUMBERED: (*_EQUAL, *_THERE),
    Kind.AGENT: _EQUAL,
    Kind.UPLOADER: _EQUAL,
}
"""`below` asks for a team with everything below it: teams and their users."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field that can be asked for."""

    name: str
    """`extra.<name>` for a field of a campaign's template"""
    title: str
    kind: Kind
    lasting: bool = True
    """False when the answer changes with time alone, so a segment cannot rest on it"""
    personal: bool = False
    """True for what anonymising blanks"""

    @property
    def operators(self) -> tuple[str, ...]:
        """How it may be asked, the usual one first."""
        return OPERATORS[self.kind]


_OF_TYPES = {
    "phone": Kind.PHONE,
    "integer": Kind.NUMBER,
    "date": Kind.DAY,
    "datetime": Kind.MOMENT,
}
"""Kinds of the types of `schemas/*.toml`; all others are text."""

_OF_THE_LEAD = (
    ("id", "Lead", Kind.NUMBERED),
    ("project", "Project", Kind.NAMED),
    ("campaign", "Campaign", Kind.NAMED),
    ("pool", "Lead pool", Kind.NUMBERED),
    ("segment", "Segment", Kind.NUMBERED),
    ("status", "Status", Kind.NAMED),
    ("owner", "Lead owner", Kind.OWNER),
    ("callable_by", "Owner in reach of", Kind.AGENT),
    ("original_owner", "Original lead owner", Kind.OWNER),
    ("uploaded_by", "Uploaded by", Kind.UPLOADER),
    ("processed_by", "User processed by", Kind.OWNER),
    ("modified_by", "Last modified by", Kind.OWNER),
    ("uploaded_at", "Uploaded at", Kind.MOMENT),
    ("modified_at", "Modified at", Kind.MOMENT),
    ("status_at", "In this status since", Kind.MOMENT),
    ("called_at", "Called at", Kind.MOMENT),
    ("attempts", "Call attempts", Kind.NUMBER),
    ("row", "Row", Kind.NUMBER),
    ("deactivated", "Deactivated", Kind.FLAG),
    ("locked", "Locked", Kind.FLAG),
)

IMPERSONAL = frozenset(name for name, *_ in _OF_THE_LEAD)
"""Fields that are ingestd's own, so that none of them tells who somebody is."""


def known(schemas: Iterable[Schema]) -> dict[str, Field]:
    """Every field by name: those of each lead, those of `schemas/lead.toml`, and those of the templates given.

    A name that two templates give different types is compared as text.
    """
    found = {name: Field(name=name, title=title, kind=kind) for name, title, kind in _OF_THE_LEAD}
    found["locked"] = Field(name="locked", title="Locked", kind=Kind.FLAG, lasting=False)
    for schema in schemas:
        for field in schema.fields:
            own = _field(field)
            other = found.get(own.name)
            if other is not None and other.kind != own.kind:
                personal = own.personal or other.personal
                own = Field(name=own.name, title=other.title, kind=Kind.TEXT, personal=personal)
            found[own.name] = own
    return found


def _field(field: LeadField) -> Field:
    system = field.name in SYSTEM_FIELDS
    name = field.name if system else f"extra.{field.name}"
    return Field(name=name, title=field.title, kind=_OF_TYPES.get(field.type, Kind.TEXT), personal=field.personal)
