"""Forms that change the organisation: what was typed stays in them as long as it cannot be done."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from fastapi import Request, Response
from pydantic import BaseModel, Field

from ingestd.errors import Invalid, Refused
from ingestd.web import problems
from ingestd.web.pages.rendering import Here, show

Word = Annotated[str, Field(max_length=200)]
Line = Annotated[str, Field(max_length=2_000)]
Text = Annotated[str, Field(max_length=50_000)]
Why = Annotated[str, Field(max_length=500)]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAME_HINT = "Letters, digits, dots, dashes and underscores, at most 64. It stays for good."
LONGEST_TITLE = 200


class Filled(BaseModel):
    """What every form that changes a record has."""

    tag: Word = ""
    """of the record as the person has read it"""
    why: Why = ""
    confirm: Literal["", "yes"] = ""

    @property
    def seen(self) -> str | None:
        """For the verbs that change a record; None: whatever it is now."""
        return self.tag or None

    @property
    def confirmed(self) -> bool:
        """True after the person has read what it means."""
        return self.confirm == "yes"


class Said(BaseModel):
    """A button that only asks why."""

    reason: Why = ""
    confirm: Literal["", "yes"] = ""


def again(request: Request, name: str, problem: Refused | None, at: str, **facts: Any) -> Response:
    """The page of a form, with why it could not be done when there is a problem; `at` is the page's own address."""
    status = 200 if problem is None else problems.status_of(problem)
    return show(request, name, status=status, here=Here(path=at), problem=problem, **facts)


def title_of(text: str, field: str = "name") -> str:
    """A name that people see; raises Invalid for none."""
    if not text.strip() or len(text) > LONGEST_TITLE:
        raise Invalid("value_unusable", f"a name of 1 to {LONGEST_TITLE} characters is needed", field=field)
    return text.strip()


def key_of(text: str, field: str) -> str:
    """What the rest of the configuration calls it; raises Invalid."""
    if not _NAME.fullmatch(text.strip()):
        told = f"the {field} has letters, digits, dots, dashes and underscores, at most 64, and begins with no sign"
        raise Invalid("value_unusable", told, field=field)
    return text.strip()


def whole(text: str, field: str) -> int | None:
    """A whole number, or none; raises Invalid."""
    if not text.strip():
        return None
    try:
        return int(text.replace(",", "").strip())
    except ValueError:
        raise Invalid(
            "value_unusable", f"{field.replace('_', ' ')}: {text!r} is no whole number", field=field
        ) from None


def decimal(text: str, field: str) -> float | None:
    """A number, or none; raises Invalid."""
    if not text.strip():
        return None
    try:
        number = float(text.strip())
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise Invalid("value_unusable", f"{field.replace('_', ' ')}: {text!r} is no number", field=field)
    return number


def words(text: str) -> list[str]:
    """Names that are apart by commas, spaces or lines."""
    return [word for word in re.split(r"[\s,;]+", text) if word]


def text_of(value: object) -> str:
    """A value as a field shows it."""
    return "" if value is None else str(value)


def joined(values: Iterable[str]) -> str:
    """Names as a field shows them."""
    return ", ".join(values)
