"""Edits: what they name, and `ETag` with `If-Match`, so that nobody overwrites what somebody else has changed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header, Response
from pydantic import BaseModel

IfMatch = Annotated[
    str | None, Header(description="the `ETag` that you have read; 412 when somebody has changed it since")
]

LONGEST_NUMBER = 18
"""digits; what counts in 63 bits comes no further, and Python takes no text of thousands for a number"""


def named(body: BaseModel, *clearable: str) -> dict[str, Any]:
    """What an edit names, as JSON has it; a null takes away what may be empty, and says nothing of the rest."""
    given = body.model_dump(mode="json", exclude_unset=True)
    return {name: value for name, value in given.items() if value is not None or name in clearable}


def seen(header: str | None) -> str | None:
    """The tag in an `If-Match`; None when any will do."""
    if header is None or header.strip() == "*":
        return None
    return header.strip().removeprefix("W/").strip('"')


def version(tag: str) -> int | None:
    """The number in a tag of what counts its versions; None when it is the tag of none, as one with more digits."""
    return int(tag) if tag.isdecimal() and len(tag) <= LONGEST_NUMBER else None


def mark(response: Response, tag: str) -> None:
    """Says which version the answer is."""
    response.headers["ETag"] = f'"{tag}"'
