"""What every part of the configuration is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Code = Annotated[str, Field(max_length=64)]
Share = Annotated[float, Field(ge=0, le=1)]


class Frozen(BaseModel):
    """A part of the configuration: unchangeable, and unknown keys are an error, because a misspelt key is one."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def unique(what: str, values: Iterable[str]) -> None:
    doubled = [value for value, count in Counter(values).items() if count > 1]
    if doubled:
        raise ValueError(f"{what} used twice: {', '.join(doubled)}")


def exist(what: str, values: Iterable[str], known: set[str]) -> None:
    for value in values:
        if value not in known:
            raise ValueError(f"{what}: {value!r} does not exist")
