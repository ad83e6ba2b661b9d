"""What every body of a request is made of."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from ingestd.store import texts

DEEPEST = 32
"""Lists and objects inside of each other; the deepest that anybody means are filters of groups in groups."""


class Given(BaseModel):
    """A body; an unknown key is an error, because a misspelt key is one."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unkept(cls, given: Any) -> Any:
        """What no store keeps, wherever it stands."""
        _check(given, DEEPEST)
        return given


def _check(value: Any, deep: int) -> None:
    """Raises ValueError for a text that cannot be kept, and for what is nested deeper than so many times."""
    if isinstance(value, str):
        if not texts.kept(value):
            raise ValueError(texts.UNKEPT)
        return
    inside = (*value, *value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ()
    if inside and not deep:
        raise ValueError(f"it is nested deeper than {DEEPEST} lists and objects")
    for each in inside:
        _check(each, deep - 1)
