"""Webhooks: who is told of what, the log of what was sent, and sending it once more."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Path, Query, Response
from pydantic import BaseModel, Field, StrictBool

from ingestd.access.permissions import Permission
from ingestd.store.engine import reading, writing
from ingestd.store.outbox import EVENTS
from ingestd.web.api import paging, tags
from ingestd.web.api.access import needs
from ingestd.web.api.bodies import Given
from ingestd.web.api.deliveries import Number
from ingestd.web.api.desk import AtDesk, ByCaller
from ingestd.web.api.paging import Cursor, Limit
from ingestd.web.api.routes import Routes
from ingestd.web.api.tags import IfMatch
from ingestd.webhooks import endpoints, messages
from ingestd.webhooks.endpoints import LONGEST_URL, Endpoint

routes = Routes("webhooks")

MANAGING = needs(Permission.MANAGE_SOURCES, Permission.MANAGE_ORGANISATION)

Why = Annotated[str, Query(max_length=500, description="the reason, for the audit")]
Url = Annotated[str, Field(min_length=1, max_length=LONGEST_URL, description="http or https; public addresses only")]
Events = Annotated[list[str], Field(max_length=50, description=f"empty: all of {', '.join(EVENTS)}")]
Description = Annotated[str, Field(max_length=500, description="whose it is, for people")]
MessageNumber = Annotated[int, Path(ge=1, lt=2**63, description="number of the message in the log")]


class WebhookOut(BaseModel):
    """An endpoint, without its secret."""

    id: int
    url: str
    events: list[str] = Field(description="empty: all of them")
    description: str
    active: bool = Field(description="false: what happens is not queued for it, and what waits is not sent")
    disabled_why: str = Field(description="why it was switched off by itself; empty: it was not")
    created_at: datetime
    created_by: str


class WebhookIssued(WebhookOut):
    """A new endpoint: the only time that its secret is shown."""

    secret: str = Field(description="`whsec_…`; checks the signature of what comes (Standard Webhooks)")


class WebhookNew(Given):
    """An endpoint to be made."""

    url: Url
    events: Events = Field([])
    description: Description = ""


class WebhookEdit(Given):
    """What is to be changed of an endpoint."""

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    active: StrictBool | None = None


class AttemptOut(BaseModel):
    """One attempt to send a message."""

    at: datetime
    milliseconds: int
    status: int | None = Field(description="null: nobody answered, and `error` says why")
    error: str
    answer: str = Field(description="the beginning of what came back")


class MessageOut(BaseModel):
    """An event on its way to an endpoint."""

    id: int
    message: str = Field(description="its `webhook-id`, the same in every attempt")
    event: str
    at: datetime = Field(description="when it happened")
    state: str = Field(description="`pending`, `delivered` or `failed`")
    attempts: int
    next_at: datetime | None = Field(description="when it is sent next; null: not any more")


class MessageDetails(MessageOut):
    """A message with its body and every attempt."""

    body: str
    log: list[AttemptOut]


class Messages(BaseModel):
    """A page of the log of an endpoint, the newest first."""

    items: list[MessageOut]
    next: str | None = Field(description="the `cursor` of the next page; null after the last")


@routes.get("/webhooks", access=MANAGING)
def list_webhooks(desk: AtDesk) -> list[WebhookOut]:
    """Every endpoint."""
    with reading(desk.engine) as connection:
        return [_out(each) for each in endpoints.every(connection)]


@routes.post("/webhooks", access=MANAGING, status_code=201)
def add_webhook(desk: AtDesk, caller: ByCaller, response: Response, body: WebhookNew, why: Why = "") -> WebhookIssued:
    """Makes an endpoint. 422 `url_unusable`, `event_unknown`."""
    with writing(desk.engine) as connection:
        deed = caller.deed(desk.clock(), why)
        made, secret = endpoints.add(connection, deed, body.url, body.events, body.description)
    tags.mark(response, str(made.version))
    return WebhookIssued(**_out(made).model_dump(), secret=secret)


@routes.get("/webhooks/{number}", access=MANAGING, problems=(404,))
def get_webhook(desk: AtDesk, response: Response, number: Number) -> WebhookOut:
    """One endpoint."""
    with reading(desk.engine) as connection:
        found = endpoints.known(connection, number)
    tags.mark(response, str(found.version))
    return _out(found)


@routes.patch("/webhooks/{number}", access=MANAGING, problems=(404, 412))
def edit_webhook(
    desk: AtDesk,
    caller: ByCaller,
    response: Response,
    number: Number,
    body: WebhookEdit,
    why: Why = "",
    if_match: IfMatch = None,
) -> WebhookOut:
    """Changes an endpoint, or switches it off and on."""
    with writing(desk.engine) as connection:
        deed, seen = caller.deed(desk.clock(), why), tags.seen(if_match)
        after = endpoints.change(connection, deed, number, tags.named(body), seen=seen)
    tags.mark(response, str(after.version))
    return _out(after)


@routes.delete("/webhooks/{number}", access=MANAGING, status_code=204, problems=(404,))
def remove_webhook(desk: AtDesk, caller: ByCaller, number: Number, why: Why = "") -> None:
    """Removes an endpoint, with all that waits for it and its log."""
    with writing(desk.engine) as connection:
        endpoints.remove(connection, caller.deed(desk.clock(), why), number)


@routes.post("/webhooks/{number}/test", access=MANAGING, status_code=202, problems=(404, 409))
def test_webhook(desk: AtDesk, number: Number) -> MessageOut:
    """Queues the event `webhook.test`, which tells nothing. 409 `webhook_inactive`."""
    with writing(desk.engine) as connection:
        return _message(messages.test(connection, number, desk.clock()))


@routes.get("/webhooks/{number}/deliveries", access=MANAGING, problems=(404,))
def list_webhook_deliveries(desk: AtDesk, number: Number, limit: Limit = 50, cursor: Cursor = None) -> Messages:
    """What was sent to an endpoint or waits for it, the newest first; kept for `webhooks.keep_days`."""
    before = paging.number_of(cursor)
    with reading(desk.engine) as connection:
        endpoints.known(connection, number)
        found = messages.latest(connection, number, limit=limit + 1, before=before)
    items = [_message(each) for each in found[:limit]]
    return Messages(items=items, next=paging.following([each.id for each in found], limit))


@routes.get("/webhooks/{number}/deliveries/{message}", access=MANAGING, problems=(404,))
def get_webhook_delivery(desk: AtDesk, number: Number, message: MessageNumber) -> MessageDetails:
    """One message with its body and every attempt."""
    with reading(desk.engine) as connection:
        found = messages.known(connection, number, message)
        log = messages.attempts(connection, message)
    told = [AttemptOut(**{name: getattr(each, name) for name in AttemptOut.model_fields}) for each in log]
    return MessageDetails(**_message(found).model_dump(), body=found.body, log=told)


@routes.post("/webhooks/{number}/deliveries/{message}/replay", access=MANAGING, status_code=202, problems=(404, 409))
def replay_webhook_delivery(desk: AtDesk, number: Number, message: MessageNumber) -> MessageOut:
    """Sends a message once more, under its old name. 409 `message_pending`, `webhook_inactive`."""
    with writing(desk.engine) as connection:
        return _message(messages.replay(connection, number, message, desk.clock()))


def _out(endpoint: Endpoint) -> WebhookOut:
    return WebhookOut(**{**vars(endpoint), "events": list(endpoint.events)})


def _message(found: messages.Message) -> MessageOut:
    return MessageOut(**vars(found))
