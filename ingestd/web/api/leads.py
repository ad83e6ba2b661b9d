"""Leads, as far as the caller may see them: what may not be seen is answered like what is not there."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection, and_

from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission
from ingestd.errors import Denied
from ingestd.leads import access, agents, do_not_call, lead, rights, selection, telling
from ingestd.leads.agents import Agent
from ingestd.leads.lead import Lead
from ingestd.leads.selection import Filter
from ingestd.store.engine import reading
from ingestd.store.tables import leads as table
from ingestd.web.api import paging, tags
from ingestd.web.api.access import needs
from ingestd.web.api.deliveries import Number
from ingestd.web.api.desk import AtDesk, ByCaller
from ingestd.web.api.paging import Cursor, Limit
from ingestd.web.api.routes import Routes

routes = Routes("leads")

LOOKING = needs(Permission.LEAD_ADMIN, Permission.DIAL)

Code = Annotated[str | None, Query(max_length=64, description="code of the campaign")]
Pool = Annotated[int | None, Query(ge=1, lt=2**63, description="number of the pool")]
Owner = Annotated[str | None, Query(max_length=200, description="`team:<key>` or `user:<login>`")]
Status = Annotated[str | None, Query(max_length=64, description="code of the status, or `open` or `closed`")]
Phone = Annotated[str | None, Query(max_length=64, description="the whole number, as it is kept")]
Login = Annotated[str | None, Query(max_length=200, description="login of the user; without: whoever asks")]


class LeadOut(BaseModel):
    """A lead."""

    id: int
    campaign: str
    pool_id: int
    row: int = Field(description="the record's number in its file")
    owner: str = Field(description="`team:<key>` or `user:<login>`")
    original_owner: str = Field(description="who owned it when it was uploaded")
    status: str
    fields: dict[str, Any]
    extra: dict[str, Any] = Field(description="the fields of the campaign's template")
    withheld: list[str] = Field(
        description="fields that are null here because their number is on a do-not-call list: `alternative_phone`"
    )
    attempts: int
    processed_by: str | None = Field(description="`user:<login>`: who called last")
    created_by: str | None = Field(description="who typed it; null for what came in a file")
    modified_by: str | None
    modified_at: datetime | None
    status_at: datetime | None = Field(description="since when it has its status; null: since its upload")
    called_at: datetime | None
    locked_by: str | None = Field(description="who holds it, also when the lease is over and nobody else has taken it")
    locked_until: datetime | None
    deactivated_at: datetime | None
    version: int = Field(description="grows with every change; the `ETag`")


class Leads(BaseModel):
    """A page of leads, the newest first."""

    items: list[LeadOut]
    next: str | None = Field(description="the `cursor` of the next page; null after the last")


class EventOut(BaseModel):
    """One field that a change touched."""

    version: int = Field(description="the lead's own after the change; several fields may share one")
    at: datetime
    by: str | None = Field(description="`user:<login>`; null: a rule of time, or a delivery (`imported`)")
    kind: str = Field(
        description="the verb, such as `created`, `edited`, `call`, `status`, `owner`, `locked`, `imported`"
    )
    field: str
    before: str | None
    after: str | None
    why: str


class History(BaseModel):
    """What happened to a lead, the oldest first."""

    items: list[EventOut]


class RuleOut(BaseModel):
    """One rule, whether it holds, and the fact that decides it."""

    name: str
    holds: bool
    fact: str


class ExplanationOut(BaseModel):
    """Why a user may, or may not, call and see a lead."""

    lead_id: int
    agent: str
    may_call: bool
    may_see: bool
    calling: list[RuleOut]
    seeing: list[RuleOut]


@routes.get("/leads", access=LOOKING)
def list_leads(  # noqa: PLR0913, PLR0917 - each is a part of the request
    desk: AtDesk,
    caller: ByCaller,
    campaign: Code = None,
    pool: Pool = None,
    owner: Owner = None,
    status: Status = None,
    phone: Phone = None,
    deactivated: bool | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Leads:
    """Leads that the caller may see, the newest first."""
    before = paging.number_of(cursor)
    with reading(desk.engine) as connection:
        seen = access.visible_to(agent_of(connection, caller))
        wanted = Filter(
            campaign_id=None if campaign is None else selection.campaign_named(connection, campaign),
            pool_id=pool,
            owner_id=None if owner is None else selection.owner_named(connection, owner),
            status=status,
            phone=phone,
            deactivated=deactivated,
            further=seen if before is None else and_(seen, table.c.id < before),
        )
        found = selection.latest(connection, wanted, limit=limit + 1)
        items = told(connection, found[:limit])
    return Leads(items=items, next=paging.following([each.id for each in found], limit))


@routes.get("/leads/{number}", access=LOOKING, problems=(404,))
def get_lead(desk: AtDesk, caller: ByCaller, response: Response, number: Number) -> LeadOut:
    """One lead."""
    with reading(desk.engine) as connection:
        here = rights.see(connection, agent_of(connection, caller), number)
        tags.mark(response, str(here.version))
        return told(connection, [here])[0]


@routes.get("/leads/{number}/history", access=LOOKING, problems=(404,))
def get_history(desk: AtDesk, caller: ByCaller, number: Number) -> History:
    """Everything that happened to a lead: who, when, from, to, why."""
    with reading(desk.engine) as connection:
        here = rights.see(connection, agent_of(connection, caller), number)
        return History(items=[EventOut(**vars(each)) for each in telling.history_of(connection, here)])


@routes.get("/leads/{number}/explain", access=LOOKING, problems=(404,))
def explain_lead(desk: AtDesk, caller: ByCaller, number: Number, agent: Login = None) -> ExplanationOut:
    """Each rule of calling and seeing, with its fact. Other users than oneself need the permission `lead_admin`."""
    with reading(desk.engine) as connection:
        who = agent_of(connection, caller)
        rights.see(connection, who, number)
        if agent is not None and agent != who.login:
            caller.require((Permission.LEAD_ADMIN,))
            who = agents.agent(connection, agent)
        found = access.explain(connection, number, who, desk.clock())
    return ExplanationOut(
        lead_id=found.lead_id,
        agent=found.agent,
        may_call=found.may_call,
        may_see=found.may_see,
        calling=[RuleOut(**vars(rule)) for rule in found.calling],
        seeing=[RuleOut(**vars(rule)) for rule in found.seeing],
    )


def agent_of(connection: Connection, caller: Caller) -> Agent:
    """The user who asks, with no more than the key may; a key of the house stands in no team and sees no lead."""
    if caller.person is None:
        raise Denied("key_without_user", "leads are seen by users: use a key of a user")
    who = agents.agent(connection, caller.person.login)
    return replace(who, permissions=caller.permissions)


def told(connection: Connection, found: list[Lead]) -> list[LeadOut]:
    """Leads with names in place of numbers, and without alternative numbers that nobody may call."""
    found = do_not_call.without_listed(connection, found)
    numbers = {number for each in found for name in _PEOPLE if (number := getattr(each, name)) is not None}
    names = lead.owner_names(connection, sorted(numbers))
    codes = {each.id: each.code for each in access.campaigns(connection).values()}
    return [
        LeadOut(
            campaign=codes[each.campaign_id],
            **{name.removesuffix("_id"): names.get(getattr(each, name)) for name in _PEOPLE},
            **{name: value for name, value in vars(each).items() if name in LeadOut.model_fields},
        )
        for each in found
    ]


_PEOPLE = ("owner_id", "original_owner_id", "processed_by_id", "created_by_id", "modified_by_id", "locked_by_id")
