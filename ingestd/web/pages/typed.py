"""What people type: forms whose fields no signature can name, such as those of a lead, short texts, and moments."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

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


def moment(text: str, timezone: str, field: str) -> datetime | None:
    """What a field for a moment says, by the clock of a campaign unless it says itself; None: nothing.

    Raises Invalid for what is no moment, such as one in the hour that the clocks skip in spring.
    """
    if not text:
        return None
    with suppress(ValueError, OverflowError):
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return found
        zone = ZoneInfo(timezone)
        local = found.replace(tzinfo=zone)
        if local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == found:
            return local
        told = f"the clocks of {timezone} skip {found:%H:%M} on {found:%Y-%m-%d}; choose another time"
        raise Invalid("value_unusable", told, field=field)
    raise Invalid("value_unusable", f"{text!r} is no moment", field=field)
