"""The same done to many leads at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, Field, StrictInt, model_validator

from ingestd.leads import bulk, editing
from ingestd.leads.bulk import Action
from ingestd.store.engine import reading
from ingestd.web.api.bodies import Given
from ingestd.web.api.deliveries import LARGEST
from ingestd.web.api.desk import AtDesk, ByCaller
from ingestd.web.api.lead_changes import LONGEST_SECONDS, WORKING
from ingestd.web.api.leads import agent_of
from ingestd.web.api.routes import Routes

routes = Routes("leads")

Id = Annotated[StrictInt, Field(ge=1, le=LARGEST)]


class Deed(Given):
    """What is done to which leads."""

    action: Action
    ids: list[Id] = Field(min_length=1, max_length=bulk.MOST, description="numbers of the leads")
    status: str | None = Field(None, max_length=64, description="with `status`: its code")
    retain_owner: bool = Field(False, description="with `status`: Private and VIP do not make you the owner")
    seconds: int = Field(
        int(editing.LEASE.total_seconds()), ge=1, le=LONGEST_SECONDS, description="with `lock`: for how long"
    )
    force: bool = Field(False, description="with `unlock`: also what somebody else holds; needs `lead_admin`")
    why: str = Field("", max_length=500, description="the reason, for the history of each lead")

    @model_validator(mode="after")
    def _status_with_status(self) -> Deed:
        if (self.action == Action.STATUS) != (self.status is not None):
            raise ValueError("`status` is named with the action `status`, and only then")
        return self


class KeptOut(BaseModel):
    """A lead that stays as it was."""

    lead: int
    code: str = Field(description="why, for programs: as the problem that the lead alone would be answered with")
    detail: str = Field(description="why, for people")


class DoneOut(BaseModel):
    """Both sides, by number."""

    done: list[int]
    refused: list[KeptOut]


@routes.post("/leads/actions", access=WORKING)
def act_on_leads(desk: AtDesk, caller: ByCaller, body: Deed) -> DoneOut:
    """Deactivates, activates, locks, unlocks, or gives a status to up to 10,000 leads, each by itself.

    One that is refused stops no other. `deactivate`, `activate` and `force` need the permission `lead_admin`.
    """
    with reading(desk.engine) as connection:
        who = agent_of(connection, caller)
    wish = bulk.Wish(
        action=body.action,
        by=who,
        at=desk.clock(),
        why=body.why,
        status=body.status or "",
        retain_owner=body.retain_owner,
        lease=timedelta(seconds=body.seconds),
        force=body.force and body.action == Action.UNLOCK,
    )
    done = bulk.do(desk.engine, wish, body.ids)
    return DoneOut(done=list(done.done), refused=[KeptOut(**vars(each)) for each in done.refused])
