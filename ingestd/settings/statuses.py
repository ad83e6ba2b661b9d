"""`config/statuses.toml`: the lead statuses."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ingestd.settings.frozen import Frozen, Name, exist, unique


class Status(Frozen):
    """`[[status]]`: one of the 36 lead statuses. Loading gives leads those that `import_may_set`."""

    code: Name = Field(description="unique code of the status")
    name: str = Field(description="the name people see")
    kind: Literal["open", "closed"] = Field(description="whether a lead with it may still be called")
    import_may_set: bool = Field(False, description="whether loading a file may give a lead this status")
    dial_order: int | None = Field(None, description="the smaller, the sooner; kept, nothing dials yet")


LOADED_STATUSES = ("unprocessed", "invalid_phone_number", "in_do_not_call_list", "in_global_do_not_call_list")
"""The statuses that loading gives to leads; they must be there, and import_may_set."""


class Statuses(Frozen):
    """`config/statuses.toml`."""

    status: tuple[Status, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Statuses:
        unique("status code", (s.code for s in self.status))
        exist("a load sets the status", LOADED_STATUSES, {s.code for s in self.status if s.import_may_set})
        return self
