"""Leads that a source pushes one by one: each is answered with its fate."""

from __future__ import annotations

import hashlib
import json
from http import HTTPStatus
from typing import Annotated

import structlog
from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission
from ingestd.errors import Invalid
from ingestd.leads import pushing
from ingestd.leads.pushing import Push, Pushed
from ingestd.model import Arrival, Outcome
from ingestd.organisation.uploads import Wish
from ingestd.store import pushes
from ingestd.store.engine import reading
from ingestd.store.idempotency import Answer
from ingestd.store.orders import PUSH
from ingestd.web.api import arrivals, tables
from ingestd.web.api.access import needs
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.gate import address
from ingestd.web.api.repeating import REPLAYED, IdempotencyKey, Turn, target
from ingestd.web.api.routes import PREFIX, Routes
from ingestd.web.api.tables import Record

log = structlog.get_logger()
routes = Routes("imports")

_STATUS = {Outcome.INSERTED: HTTPStatus.CREATED, Outcome.REJECTED: HTTPStatus.UNPROCESSABLE_ENTITY}


class RemarkOut(BaseModel):
    """Something that was found in a lead; with the severity `error` it is rejected."""

    field: str
    code: str
    severity: str
    value: str
    message: str
    suggestion: str


class PushedOut(BaseModel):
    """What became of a lead."""

    delivery: int = Field(description="the gathering of the source's hour")
    row: int = Field(description="its place there, as in the log")
    lead_pool: int
    outcome: Outcome
    lead: int | None = Field(description="the lead that it became or met")
    remarks: list[RemarkOut]


def _wish(
    source: str,
    campaign: Annotated[str, Query(max_length=64, description="one of the source's; empty: its own")] = "",
    owner: Annotated[str, Query(max_length=80, description="as in `/imports`: for this lead")] = "",
) -> Wish:
    return Wish(source=source, campaign=campaign, owner=owner)


@routes.post(
    "/sources/{source}/leads",
    access=needs(Permission.LEAD_POOLS, bound_keys=True),
    status_code=HTTPStatus.CREATED,
    problems=(400, 404, 408, 409, 413, 503),
    responses={200: {"model": PushedOut, "description": "The lead is there already: updated, unchanged or duplicate"}},
)
def push_lead(
    request: Request,
    response: Response,
    desk: AtDesk,
    caller: ByCaller,
    wish: Annotated[Wish, Depends(_wish)],
    body: Record,
    idempotency_key: IdempotencyKey = None,
) -> PushedOut:
    """Loads one lead at once, judged as those of the source's files, and answers with its fate.

    The leads of one hour gather in one delivery and pool. 201: it is a new lead; 200: it is there already; 422
    `lead_rejected`: it is none, and the log of the pool has it with the reasons.
    """
    text = json.dumps(body, sort_keys=True).encode()
    push = _push(request, desk, caller, wish, body)
    with Turn(desk=desk, caller=caller, key=idempotency_key, target=target(request)) as turn:
        content, before = hashlib.sha256(text).hexdigest(), turn.before()
        if before is not None:
            turn.check(before, content)
            response.headers[REPLAYED] = "true"
            return _answer(response, _again(desk, before))

        def keep(connection: Connection, pushed: Pushed) -> None:
            status = _STATUS.get(pushed.fate.outcome, HTTPStatus.OK)
            turn.keep(connection, pushed.delivery_id, content, status, pushed.row)

        pushed = pushing.push(desk.engine, desk.schemas, push, keep)
    known = {"source": wish.source, "login": push.arrival.login, "peer": push.arrival.peer}
    log.info("lead_pushed", **known, delivery=pushed.delivery_id, row=pushed.row, outcome=str(pushed.fate.outcome))
    return _answer(response, pushed)


def _push(request: Request, desk: Desk, caller: Caller, wish: Wish, body: Record) -> Push:
    values = tables.texts_of(body)
    if not any(text.strip() for text in values.values()):
        raise Invalid("value_unusable", "the lead has no value", field="body")
    wanted = arrivals.granted(desk, caller, wish)
    arrival = Arrival(
        source=wanted.source,
        login=caller.actor.name,
        peer=address(request),
        protocol=PUSH,
        name="",
        folder=wanted.folder,
        default_owner=wanted.default_owner,
    )
    size = len(json.dumps(body, ensure_ascii=False).encode())
    return Push(arrival=arrival, values=values, at=desk.clock(), size=size)


def _again(desk: Desk, before: Answer) -> Pushed:
    assert before.row is not None, "the target is in the digest, so it was a lead"
    with reading(desk.engine) as connection:
        row = pushes.one(connection, before.delivery_id, before.row)
    delivery = desk.ledger.get(before.delivery_id)
    assert delivery is not None
    assert delivery.pool_id is not None
    return Pushed(delivery_id=delivery.id, row=row.row, pool_id=delivery.pool_id, fate=row.fate)


def _answer(response: Response, pushed: Pushed) -> PushedOut:
    told = PushedOut(
        delivery=pushed.delivery_id,
        row=pushed.row,
        lead_pool=pushed.pool_id,
        outcome=pushed.fate.outcome,
        lead=pushed.fate.lead_id,
        remarks=[RemarkOut(**{name: each[name] for name in RemarkOut.model_fields}) for each in pushed.fate.problems],
    )
    if told.outcome is Outcome.REJECTED:
        reasons = "; ".join(each.message for each in told.remarks if each.severity == "error")
        raise Invalid("lead_rejected", reasons, **told.model_dump(mode="json"))
    response.status_code = _STATUS.get(told.outcome, HTTPStatus.OK)
    response.headers["Location"] = f"{PREFIX}/leads/{told.lead}"
    return told
