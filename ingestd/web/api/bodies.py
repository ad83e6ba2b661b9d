"""What every body of a request is made of."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Given(BaseModel):
    """A body; an unknown key is an error, because a misspelt key is one."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_nul(cls, given: Any) -> Any:
        """PostgreSQL keeps no text with the character U+0000, and nobody means it."""
        if _has_nul(given):
            raise ValueError("a text holds the character U+0000, which cannot be kept")
        return given


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(each) for key, each in value.items())
    return isinstance(value, list) and any(_has_nul(each) for each in value)
