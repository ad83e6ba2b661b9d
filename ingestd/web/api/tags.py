"""`ETag` and `If-Match`: nobody overwrites what somebody else has changed meanwhile."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Response

IfMatch = Annotated[
    str | None, Header(description="the `ETag` that you have read; 412 when somebody has changed it since")
]


def seen(header: str | None) -> str | None:
    """The tag in an `If-Match`; None when any will do."""
    if header is None or header.strip() == "*":
        return None
    return header.strip().removeprefix("W/").strip('"')


def mark(response: Response, tag: str) -> None:
    """Says which version the answer is."""
    response.headers["ETag"] = f'"{tag}"'
