"""Who may call a lead, and who may see it (LEADS.md, "Who may call a lead"): every rule, with the fact behind it.

The rules stand here twice: as a pure function over facts, which explains, and as a condition in SQL, which counts,
lists and dials. A test holds the two against each other over random organisations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, and_, case, false, or_, select, true

from ingestd.access.permissions import Permission, Role
from ingestd.leads import agents, lead, statuses
from ingestd.leads.agents import Agent
from ingestd.leads.lead import Lead
from ingestd.leads.statuses import Status, StatusBook
from ingestd.model import PoolState
from ingestd.store import lead_tables, listed, tables
from ingestd.store.tables import leads as table


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule, whether it holds, and the fact that decides it."""

    name: str
    holds: bool
    fact: str


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """What calling needs to know of a campaign."""

    id: int
    code: str
    active: bool
    expires_on: date | None
    """its last day"""
    timezone: str
    max_attempts: int
    access: frozenset[int]
    """the teams and users who may call in it; empty: everybody"""

    def today(self, at: datetime) -> date:
        """The day by the campaign's own clock."""
        return at.astimezone(ZoneInfo(self.timezone)).date()

    def expired(self, at: datetime) -> bool:
        """True from the end of its last day on."""
        return self.expires_on is not None and self.today(at) > self.expires_on

    def running(self, at: datetime) -> bool:
        """True while anybody calls in it."""
        return self.active and not self.expired(at)

    def open_to(self, agent: Agent) -> bool:
        """True when the agent may call in it."""
        return not self.access or not self.access.isdisjoint(agent.reach)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that decides about one lead and one user."""

    lead: Lead
    agent: Agent
    status: Status
    campaign: Campaign
    pool_name: str
    pool_state: str
    owner_team: int
    """the owner itself, or the team of a user who owns the lead"""
    lists: frozenset[int]
    """the do-not-call lists that have its number: 0, or its campaign's own"""
    names: Mapping[int, str]
    """`team:<key>` and `user:<login>` of every number that is spoken of"""
    led: frozenset[int]
    """the agent's team and all teams below it, when the agent leads it; else empty"""
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The answer to: why can this user (not) call or see this lead?"""

    lead_id: int
    agent: str
    calling: tuple[Rule, ...]
    """all must hold"""
    seeing: tuple[Rule, ...]
    """all must hold"""

    @property
    def may_call(self) -> bool:
        """True when every rule of calling holds."""
        return all(rule.holds for rule in self.calling)

    @property
    def may_see(self) -> bool:
        """True when every rule of seeing holds."""
        return all(rule.holds for rule in self.seeing)


def explain(connection: Connection, lead_id: int, who: Agent, at: datetime) -> Explanation:
    """Each rule for one lead and one user, with yes or no and the fact behind it; raises Rejected for no such lead."""
    facts = facts_of(connection, lead.find(connection, lead_id), who, at)
    return Explanation(lead_id=lead_id, agent=who.login, calling=may_call(facts), seeing=may_see(facts))


def facts_of(connection: Connection, here: Lead, who: Agent, at: datetime) -> Facts:
    """What the store says about a lead and a user."""
    spoken = [here.owner_id, here.locked_by_id, here.processed_by_id, *who.teams]
    names = lead.owner_names(connection, [number for number in spoken if number])
    pool = tables.pools.c
    pool_name, pool_state = connection.execute(select(pool.name, pool.state).where(pool.id == here.pool_id)).one()
    user = tables.users.c
    team: int | None = connection.scalar(select(user.team_id).where(user.id == here.owner_id))
    return Facts(
        lead=here,
        agent=who,
        status=statuses.read(connection).by_code[here.status],
        campaign=campaigns(connection)[here.campaign_id],
        pool_name=pool_name,
        pool_state=pool_state,
        owner_team=here.owner_id if team is None else team,
        lists=frozenset(number for number, _ in listed.places(connection, here.lists, [here.phone])),
        names=names,
        led=agents.below(connection, who.teams[0]) if who.role == Role.TEAM_LEADER else frozenset(),
        at=at,
    )


def campaigns(connection: Connection) -> dict[int, Campaign]:
    """Every campaign by its number."""
    access: dict[int, set[int]] = {}
    for campaign_id, owner_id in connection.execute(select(lead_tables.campaign_access)):
        access.setdefault(campaign_id, set()).add(owner_id)
    names = [name for name in Campaign.__dataclass_fields__ if name != "access"]
    rows = connection.execute(select(*(tables.campaigns.c[name] for name in names))).mappings()
    return {row["id"]: Campaign(**row, access=frozenset(access.get(row["id"], ()))) for row in rows}


def may_call(facts: Facts) -> tuple[Rule, ...]:
    """The rules of calling, in the order in which they are told. Pure."""
    here, status, campaign, at = facts.lead, facts.status, facts.campaign, facts.at
    active = facts.pool_state == PoolState.ACTIVE
    due = here.scheduled_at is None or here.scheduled_at <= at
    kept = status.kept_for_caller and here.processed_by_id not in (None, facts.agent.id)
    rules = (
        ("agent_active", facts.agent.active, f"{facts.agent.login} is {_active(facts.agent.active)}"),
        ("may_dial", facts.agent.may_dial, _permission(facts.agent)),
        ("owner", here.owner_id in facts.agent.reach, _owner(facts)),
        ("campaign_access", campaign.open_to(facts.agent), _access(facts)),
        ("campaign_active", campaign.running(at), _campaign(campaign, at)),
        ("pool_active", active or status.outlives_pool, f"the pool {facts.pool_name} is {facts.pool_state}"),
        ("not_deactivated", here.deactivated_at is None, _deactivated(here)),
        ("not_listed", not facts.lists, _listed(facts)),
        ("not_locked", not here.locked(at, but_by=facts.agent.id), _lock(facts)),
        ("status_open", status.open, f"its status is {status.name}, which is {status.kind}"),
        ("not_kept", not kept, _kept(facts, kept=kept)),
        ("due", due, _due(here)),
        (
            "attempts_left",
            here.attempts < campaign.max_attempts,
            f"{here.attempts} of {campaign.max_attempts} attempts",
        ),
    )
    return tuple(Rule(name=name, holds=holds, fact=fact) for name, holds, fact in rules)


def may_see(facts: Facts) -> tuple[Rule, ...]:
    """The rules of seeing a lead. Pure."""
    here, who = facts.lead, facts.agent
    visible = here.deactivated_at is None or who.sees_deactivated
    why = [reason for reason, holds in _reasons_to_see(facts).items() if holds]
    fact = f"{_owner(facts)}; {', '.join(why) or 'that needs Extended Data Permissions'}"
    return (
        Rule(name="deactivated_visible", holds=visible, fact=_deactivated(here)),
        Rule(name="within_sight", holds=bool(why), fact=fact),
    )


def _reasons_to_see(facts: Facts) -> dict[str, bool]:
    here, who = facts.lead, facts.agent
    return {
        "it is within reach": here.owner_id in who.reach,
        "it is below the team that is led": facts.owner_team in facts.led,
        "the user called it last": here.processed_by_id == who.id,
        "the user typed it": here.created_by_id == who.id,
        "the user sees all teams": who.sees_everything,
    }


def _permission(who: Agent) -> str:
    return f"{who.login} {'has' if who.may_dial else 'lacks'} the permission {Permission.DIAL}"


def _owner(facts: Facts) -> str:
    owner, name = facts.lead.owner_id, facts.names.get(facts.lead.owner_id, f"owner {facts.lead.owner_id}")
    mine = facts.names.get(facts.agent.teams[0], "")
    if owner == facts.agent.id:
        return f"{name} owns it: the agent"
    if owner == facts.agent.teams[0]:
        return f"{name} owns it: the agent's own team"
    if owner in facts.agent.teams:
        return f"{name} owns it, which is above the agent's team {mine}"
    if name.startswith("user:"):
        return f"{name} owns it: another user"
    return f"{name} owns it, which is neither {mine} nor above it"


def _access(facts: Facts) -> str:
    if not facts.campaign.access:
        return f"everybody may call in {facts.campaign.code}"
    word = "is" if facts.campaign.open_to(facts.agent) else "is not"
    return f"{facts.agent.login} {word} among those who may call in {facts.campaign.code}"


def _campaign(campaign: Campaign, at: datetime) -> str:
    if campaign.expired(at):
        return f"{campaign.code} expired after {campaign.expires_on}"
    return f"{campaign.code} is {_active(campaign.active)}"


def _active(active: bool) -> str:
    return "active" if active else "deactivated"


def _deactivated(here: Lead) -> str:
    return "it is active" if here.deactivated_at is None else f"it was deactivated at {_moment(here.deactivated_at)}"


def _listed(facts: Facts) -> str:
    if not facts.lists:
        return "its number is on no do-not-call list"
    which = "global list" if listed.GLOBAL in facts.lists else f"list of {facts.campaign.code}"
    return f"its number is on the do-not-call {which}"


def _lock(facts: Facts) -> str:
    here = facts.lead
    if not here.locked(facts.at):
        return "nobody holds it"
    name = facts.names.get(here.locked_by_id or 0, f"user {here.locked_by_id}")
    return f"{name} holds it until {_moment(here.locked_until)}"


def _kept(facts: Facts, *, kept: bool) -> str:
    if not kept:
        return "it waits for no particular agent"
    return f"{facts.status.name} is kept for {facts.names.get(facts.lead.processed_by_id or 0)}, who called it"


def _due(here: Lead) -> str:
    return f"scheduled for {_moment(here.scheduled_at)}" if here.scheduled_at else "no time is set"


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def callable_by(who: Agent, known: Iterable[Campaign], book: StatusBook, at: datetime) -> ColumnElement[bool]:
    """The leads that the agent may call, as a condition on the table of leads.

    Campaigns are named by number, so PostgreSQL opens only their partitions.
    """
    limits = {each.id: each.max_attempts for each in known if each.running(at) and each.open_to(who)}
    if not who.active or not who.may_dial or not limits:
        return false()
    limit = case(limits, value=table.c.campaign_id)
    return and_(
        table.c.campaign_id.in_(limits),
        table.c.status_id.in_(book.ids(kind="open")),
        table.c.owner_id.in_(who.reach),
        table.c.deactivated_at.is_(None),
        table.c.attempts < limit,
        free_for(who, book, at),
        pool_open(book),
        ~listed.on_a_list(table.c),
    )


def free_for(who: Agent, book: StatusBook, at: datetime) -> ColumnElement[bool]:
    """Due, held by nobody else, and kept for nobody else."""
    kept = table.c.status_id.in_(book.ids(kept_for_caller=True))
    caller = or_(table.c.processed_by_id.is_(None), table.c.processed_by_id == who.id)
    return and_(due(at), or_(unlocked(at), table.c.locked_by_id == who.id), or_(~kept, caller))


def due(at: datetime) -> ColumnElement[bool]:
    """Its time has come, or none is set."""
    return or_(table.c.scheduled_at.is_(None), table.c.scheduled_at <= at)


def unlocked(at: datetime) -> ColumnElement[bool]:
    """Held by nobody: a lock whose time is over counts no more."""
    return or_(table.c.locked_by_id.is_(None), table.c.locked_until.is_(None), table.c.locked_until <= at)


def pool_open(book: StatusBook) -> ColumnElement[bool]:
    """Of an active pool, or with a status that stays callable without (Private and VIP)."""
    active = select(tables.pools.c.id).where(tables.pools.c.state == PoolState.ACTIVE)
    return or_(table.c.pool_id.in_(active), table.c.status_id.in_(book.ids(outlives_pool=True)))


def visible_to(who: Agent) -> ColumnElement[bool]:
    """The leads that a user sees, as a condition on the table of leads."""
    active = true() if who.sees_deactivated else table.c.deactivated_at.is_(None)
    if who.sees_everything:
        return active
    mine = [table.c.owner_id.in_(who.reach), table.c.processed_by_id == who.id, table.c.created_by_id == who.id]
    if who.role == Role.TEAM_LEADER:
        led = agents.teams_below(who.teams[0])
        below = select(tables.users.c.id).where(tables.users.c.team_id.in_(led))
        mine += [table.c.owner_id.in_(led), table.c.owner_id.in_(below)]
    return and_(active, or_(*mine))
