"""What people type: forms whose fields no signature can name, such as those of a lead, short texts, and days."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import Depends, Form, Request

from ingestd.errors import Invalid

Typed = dict[str, str]


async def _typed(request: Request) -> Typed:
    async with request.form(max_files=0, max_fields=1000) as form:
        return {name: value.replace("\0", "").strip() for name, value in form.multi_items() if isinstance(value, str)}


ByForm = Annotated[Typed, Depends(_typed)]
"""Name and value of every field, without blanks around it; of a name that comes twice, the last."""

Word = Annotated[str, Form(max_length=500, pattern=r"^[^\x00]*$")]
"""A short text of a form; no store keeps the character U+0000."""


def day(text: str, name: str) -> datetime | None:
    """The beginning of a day in UTC, as the browser's own field sends it; None for nothing. Raises Invalid."""
    if not text:
        return None
    try:
        found = date.fromisoformat(text)
    except ValueError:
        raise Invalid("value_unusable", f"{text!r} is no day; write it as 2026-11-30", field=f"query.{name}") from None
    return datetime(found.year, found.month, found.day, tzinfo=UTC)
