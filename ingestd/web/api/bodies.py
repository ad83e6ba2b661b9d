"""What every body of a request is made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Given(BaseModel):
    """A body; an unknown key is an error, because a misspelt key is one."""

    model_config = ConfigDict(extra="forbid")
