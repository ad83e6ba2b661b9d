"""`config/statuses.toml`: the lead statuses, and what each does to its lead (LEADS.md, "The 36 statuses")."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ingestd.settings.frozen import Frozen, Name, exist, unique

KINDS = ("open", "closed")


class Status(Frozen):
    """`[[status]]`: one of the 36 lead statuses."""

    code: Name = Field(description="unique code of the status")
    name: str = Field(description="the name people see")
    kind: Literal["open", "closed"] = Field(description="whether a lead with it may still be called")
    import_may_set: bool = Field(False, description="whether loading a file may give a lead this status")
    dial_order: int | None = Field(
        None, description="the smaller, the sooner its leads are dialled; without one they are only called by hand"
    )
    set_by: Literal["anyone", "system"] = Field(
        "anyone", description="who may give it to a lead: anyone, or only imports and the timed rules"
    )
    may_become: tuple[Name, ...] = Field(
        KINDS, description="the statuses that may follow: codes, or `open` and `closed` for all of a kind"
    )
    counts_attempt: bool = Field(False, description="whether a call that ends so counts as an attempt")
    takes_owner: bool = Field(False, description="whether whoever sets it becomes the lead's owner (Private, VIP)")
    gives_back: bool = Field(
        False, description="whether a lead that comes from one with `takes_owner` returns to its original owner"
    )
    outlives_pool: bool = Field(False, description="whether its leads may be called in a deactivated pool")
    kept_for_caller: bool = Field(False, description="whether only the agent who called may call again")
    after_days: int | None = Field(None, ge=1, description="days after which the lead becomes `then`")
    then: Name | None = Field(None, description="the closed status that follows `after_days`")


LOADED_STATUSES = ("unprocessed", "invalid_phone_number", "in_do_not_call_list", "in_global_do_not_call_list")
"""The statuses that loading gives to leads; they must be there, and import_may_set."""

RULED_STATUSES = ("expired", "max_call_attempts", "anonymised")
"""The statuses that rules give to leads; they must be there, and closed."""


class Statuses(Frozen):
    """`config/statuses.toml`."""

    status: tuple[Status, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Statuses:
        unique("status code", (s.code for s in self.status))
        exist("a load sets the status", LOADED_STATUSES, {s.code for s in self.status if s.import_may_set})
        closed = {s.code for s in self.status if s.kind == "closed"}
        exist("a rule sets the closed status", RULED_STATUSES, closed)
        exist("status.then", (s.then for s in self.status if s.then), closed)
        codes = {s.code for s in self.status}
        exist("status.may_become", (code for s in self.status for code in s.may_become), codes | set(KINDS))
        for status in self.status:
            _sensible(status)
        return self

    def followers(self, status: Status) -> tuple[str, ...]:
        """The codes of the statuses that may follow; a lead may always stay as it is, to be scheduled anew."""
        wanted = {status.code, *status.may_become}
        if not status.may_become:
            return ()
        return tuple(each.code for each in self.status if each.code in wanted or each.kind in wanted)


def _sensible(status: Status) -> None:
    """A closed lead is nobody's to call, so what concerns calling cannot be said of its status."""
    if (status.after_days is None) != (status.then is None):
        raise ValueError(f"status {status.code!r}: after_days and then go together")
    if status.takes_owner and status.gives_back:
        raise ValueError(f"status {status.code!r}: takes_owner and gives_back exclude each other")
    for key in ("dial_order", "takes_owner", "outlives_pool", "kept_for_caller", "after_days"):
        if status.kind == "closed" and getattr(status, key) not in (None, False):
            raise ValueError(f"status {status.code!r}: {key} is for open statuses only")
