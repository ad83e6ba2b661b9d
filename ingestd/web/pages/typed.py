"""What people type: forms whose fields no signature can name, such as those of a lead, and short texts."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Form, Request

Typed = dict[str, str]


async def _typed(request: Request) -> Typed:
    async with request.form(max_files=0, max_fields=1000) as form:
        return {name: value.replace("\0", "").strip() for name, value in form.multi_items() if isinstance(value, str)}


ByForm = Annotated[Typed, Depends(_typed)]
"""Name and value of every field, without blanks around it; of a name that comes twice, the last."""

Word = Annotated[str, Form(max_length=500, pattern=r"^[^\x00]*$")]
"""A short text of a form; no store keeps the character U+0000."""
