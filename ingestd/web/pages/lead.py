"""One lead: its fields, who owns it, what happened to it, and who may call it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Form, Query, Request, Response
from sqlalchemy import Connection

from ingestd import schemas
from ingestd.access.permissions import Permission
from ingestd.errors import Invalid
from ingestd.leads import access, agents, pool_facts, rights, statuses, telling
from ingestd.leads.access import Campaign, Explanation
from ingestd.leads.agents import Agent
from ingestd.leads.lead import Lead
from ingestd.leads.statuses import Status, StatusBook
from ingestd.schemas import Schema
from ingestd.store import organisation, rules
from ingestd.store.engine import reading
from ingestd.web.api import lead_changes as api
from ingestd.web.api.access import needs
from ingestd.web.api.deliveries import Number
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.lead_changes import NewStatus, Unlock
from ingestd.web.api.leads import LOOKING, LeadOut, agent_of, told
from ingestd.web.pages.rendering import onward, show
from ingestd.web.pages.routes import Pages
from ingestd.web.pages.typed import moment

pages = Pages()

LEADING = needs(Permission.LEAD_ADMIN)
ANONYMISING = needs(Permission.EXTENDED_DATA)

RULES: Mapping[str, str] = {
    "agent_active": "The agent is active",
    "may_dial": "The agent has the permission to call leads",
    "owner": "The agent, the agent's team or a team above it owns the lead",
    "campaign_access": "The agent may call in the campaign",
    "campaign_active": "The campaign is active and has not expired",
    "pool_active": "The lead pool is active",
    "not_deactivated": "The lead is not deactivated",
    "not_listed": "Its number is on no do-not-call list",
    "not_locked": "Nobody else holds the lead",
    "status_open": "The status is open",
    "not_kept": "It is not kept for another agent",
    "due": "Its time has come",
    "attempts_left": "There are call attempts left",
    "deactivated_visible": "It is active, or the user sees deactivated leads",
    "within_sight": "It is within the user's sight",
}
"""Every rule of calling and seeing, as a sentence that holds or not."""

Why = Annotated[str, Form(max_length=500, pattern=r"^[^\x00]*$")]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A lead with what explains it."""

    lead: Lead
    out: LeadOut
    schema: Schema
    campaign: Campaign
    book: StatusBook
    mine: bool
    """True when the person may change it"""

    @property
    def status(self) -> Status:
        """Its status."""
        return self.book.by_code[self.lead.status]

    @property
    def values(self) -> Sequence[tuple[str, str, Any]]:
        """Name, title and value of every field of its campaign, in the order of the schema."""
        whole = {**self.out.fields, **self.out.extra}
        return [(field.name, field.title, whole.get(field.name)) for field in self.schema.fields]

    @property
    def following(self) -> list[Status]:
        """The statuses that people may give it now."""
        found = [self.book.by_code[code] for code in self.status.may_become]
        return sorted((each for each in found if each.set_by != "system"), key=lambda each: (not each.open, each.name))


@pages.get("/leads/{number}", access=LOOKING)
def show_lead(
    request: Request, desk: AtDesk, caller: ByCaller, number: Number, agent: Annotated[str, Query(max_length=64)] = ""
) -> Response:
    """All of it; `agent` is for whom it is explained."""
    at = desk.clock()
    with reading(desk.engine) as connection:
        who = agent_of(connection, caller)
        seen = see(desk, connection, who, number)
        history = telling.history_of(connection, seen.lead)
        pool = pool_facts.of_pools(connection, [seen.lead.pool_id])[seen.lead.pool_id]
        explained, problem = _explained(connection, who, number, agent.strip().removeprefix("user:"), at)
        leading = Permission.LEAD_ADMIN in caller.permissions
        users = _users(connection) if leading else []
    return show(
        request,
        "lead.html",
        fragment="explained",
        at=at,
        seen=seen,
        pool=pool,
        history=history[::-1],
        explained=explained,
        problem=problem,
        agent=agent or who.login,
        rules=RULES,
        users=users,
        leading=leading,
        held=seen.lead.locked(at),
        held_by_other=seen.lead.locked(at, but_by=who.id),
    )


@pages.post("/leads/{number}/status", access=LOOKING)
def set_status(  # noqa: PLR0913, PLR0917 - each is a part of the request
    desk: AtDesk,
    caller: ByCaller,
    number: Number,
    status: Annotated[str, Form(max_length=64)],
    version: Annotated[int, Form()],
    call: Annotated[bool, Form()] = False,
    retain: Annotated[bool, Form()] = False,
    when: Annotated[str, Form(max_length=40)] = "",
    why: Why = "",
) -> Response:
    """Gives it another status, with what that does to its owner."""
    with reading(desk.engine) as connection:
        who = agent_of(connection, caller)
        seen = see(desk, connection, who, number)
        scheduled_at = moment(when, seen.campaign.timezone, "when")
        seen.book.get(status)
    wish = NewStatus(status=status, call=call, retain_owner=retain, scheduled_at=scheduled_at)
    after = api.set_status(desk, caller, Response(), number, wish, why, str(version))
    owner = f" It belongs to {after.owner} now." if after.owner != seen.out.owner else ""
    return onward(f"/leads/{number}", f"Lead {number} is {seen.book.by_code[after.status].name} now.{owner}")


@pages.post("/leads/{number}/lock", access=LOOKING)
def lock(desk: AtDesk, caller: ByCaller, number: Number) -> Response:
    """Holds it for a quarter of an hour."""
    api.lock_lead(desk, caller, Response(), number)
    return onward(f"/leads/{number}", f"You hold lead {number} for 15 minutes.")


@pages.post("/leads/{number}/unlock", access=LOOKING)
def unlock(
    desk: AtDesk,
    caller: ByCaller,
    number: Number,
    force: Annotated[bool, Form()] = False,
) -> Response:
    """Gives it free; what somebody else holds by force, which needs `lead_admin`."""
    api.unlock_lead(desk, caller, Response(), number, Unlock(force=force))
    return onward(f"/leads/{number}", f"Nobody holds lead {number} any more.")


@pages.post("/leads/{number}/deactivate", access=LEADING)
def deactivate(desk: AtDesk, caller: ByCaller, number: Number, why: Why = "") -> Response:
    """Takes it out of use."""
    api.deactivate_lead(desk, caller, Response(), number, why)
    return onward(f"/leads/{number}", f"Lead {number} is deactivated: nobody calls it.")


@pages.post("/leads/{number}/activate", access=LEADING)
def activate(desk: AtDesk, caller: ByCaller, number: Number, why: Why = "") -> Response:
    """Takes it into use again."""
    api.activate_lead(desk, caller, Response(), number, why)
    return onward(f"/leads/{number}", f"Lead {number} is in use again.")


@pages.get("/leads/{number}/anonymise", access=ANONYMISING)
def ask_to_anonymise(request: Request, desk: AtDesk, caller: ByCaller, number: Number) -> Response:
    """Says what is lost for good, and asks."""
    with reading(desk.engine) as connection:
        seen = see(desk, connection, agent_of(connection, caller), number)
    return show(request, "lead_anonymise.html", seen=seen)


@pages.post("/leads/{number}/anonymise", access=ANONYMISING)
def anonymise(
    desk: AtDesk,
    caller: ByCaller,
    number: Number,
    sure: Annotated[bool, Form()] = False,
) -> Response:
    """Blanks a person for good."""
    if not sure:
        raise Invalid("request_unusable", "nothing was changed: tick that the person is to be blanked", field="sure")
    done = api.anonymise_lead(desk, caller, number)
    blanked = f"Its records were blanked in {len(done.erased)} deliveries." if done.erased else ""
    left = f" Still found in: {', '.join(done.left)}." if done.left else ""
    return onward(f"/leads/{number}", f"Lead {number} is anonymised. {blanked}{left}")


def see(desk: Desk, connection: Connection, who: Agent, number: int) -> Seen:
    """A lead as far as the person sees it; raises Missing."""
    here = rights.see(connection, who, number)
    template = rules.campaign_of(connection, here.campaign_id).template
    return Seen(
        lead=here,
        out=told(connection, [here])[0],
        schema=schemas.read(desk.schemas, template),
        campaign=access.campaigns(connection)[here.campaign_id],
        book=statuses.read(connection),
        mine=rights.theirs(connection, who, number),
    )


def _explained(
    connection: Connection, who: Agent, number: int, login: str, at: datetime
) -> tuple[Explanation | None, str]:
    """For the person, or for somebody else when the person may ask that; or why not."""
    if login and login != who.login:
        if Permission.LEAD_ADMIN not in who.permissions:
            return None, "Leads are explained for others by those who have the permission lead_admin."
        if "\0" in login or login not in {user for user, _ in _users(connection)}:
            return None, f"There is no user {login}."
        who = agents.agent(connection, login)
    return access.explain(connection, number, who, at), ""


def _users(connection: Connection) -> list[tuple[str, str]]:
    teams = organisation.tree(connection)
    return [(user["login"], f"{user['name']}, {team['name']}") for team in teams for user in team["users"]]
