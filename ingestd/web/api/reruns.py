"""What is done with a delivery after it has ended: run again, or confirmed."""

from __future__ import annotations

from fastapi import Response
from pydantic import BaseModel, Field, StrictBool

from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission
from ingestd.leads import reruns, rights
from ingestd.leads.reruns import Places, Wish
from ingestd.store.engine import reading
from ingestd.web.api.access import needs
from ingestd.web.api.bodies import Given
from ingestd.web.api.deliveries import DeliveryOut, Number, known, out
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.routes import PREFIX, Routes
from ingestd.web.api.source_mappings import Mapping
from ingestd.web.api.teams import Why

routes = Routes("deliveries")

CHANGING = needs(Permission.LEAD_POOLS)


class Reading(Given):
    """How a delivery is to be read from now on."""

    mapping: Mapping | None = Field(
        None, description="laid over the source's mapping, for this delivery; null: as it was read before"
    )
    save: StrictBool = Field(
        False, description="also for later files of its source; this needs the permission `manage_sources`"
    )


class RerunOut(BaseModel):
    """A file that is read once more."""

    delivery: DeliveryOut = Field(description="the new delivery")
    rerun_of: int
    deleted: int = Field(description="leads of the former run that were taken back")


@routes.post("/deliveries/{number}/rerun", access=CHANGING, status_code=202, problems=(404, 409, 503))
def rerun_delivery(
    desk: AtDesk, caller: ByCaller, response: Response, number: Number, body: Reading, why: Why = ""
) -> RerunOut:
    """Reads the file of a delivery once more, as a new delivery; what the former run loaded is undone before.

    All of it or nothing: when the former run cannot be undone, 403 or 409 says why, as at `/pools/{number}/undo`.
    """
    known(desk, caller, number)
    with reading(desk.engine) as connection:
        beyond = rights.out_of_reach(connection, caller)
    done = reruns.rerun(places_of(desk), caller.deed(desk.clock(), why), number, _wish(caller, body), beyond)
    desk.ring()
    response.headers["Location"] = f"{PREFIX}/deliveries/{done.delivery_id}"
    deleted = done.undone.deleted if done.undone else 0
    return RerunOut(delivery=out(known(desk, caller, done.delivery_id)), rerun_of=number, deleted=deleted)


@routes.post("/deliveries/{number}/confirm", access=CHANGING, status_code=202, problems=(404, 409))
def confirm_delivery(desk: AtDesk, caller: ByCaller, number: Number, body: Reading, why: Why = "") -> DeliveryOut:
    """Lets a delivery go on that is `awaiting_confirmation`; what still matches no field is ignored.

    Other files of its source did not wait for it, and may be loaded already. 409 `not_awaiting`.
    """
    known(desk, caller, number)
    reruns.confirm(places_of(desk), caller.deed(desk.clock(), why), number, _wish(caller, body))
    desk.ring()
    return out(known(desk, caller, number))


def _wish(caller: Caller, body: Reading) -> Wish:
    if body.save:
        caller.require([Permission.MANAGE_SOURCES])
    return Wish(mapping=body.mapping, save=body.save)


def places_of(desk: Desk) -> Places:
    """With what of a desk deliveries are run again."""
    return Places(engine=desk.engine, ledger=desk.ledger, spool=desk.spool, schemas=desk.schemas)
