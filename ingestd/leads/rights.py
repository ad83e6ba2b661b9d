"""Who may change a lead (LEADS.md, "Permissions"): what may not be seen is not there, and the rest is denied by name.

Agents work with what they may call: their own leads, those of their team and of the teams above it. `lead_admin` opens
what a team leader sees, and with `extended_data` every lead. `extended_insights` is for reports and opens nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, case, false, or_, select, true

from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission
from ingestd.errors import Conflict, Denied, Missing
from ingestd.leads import access, agents, lead, selection, statuses
from ingestd.leads.access import Campaign
from ingestd.leads.agents import Agent
from ingestd.leads.lead import Lead
from ingestd.leads.statuses import StatusBook
from ingestd.store.tables import leads as table

NOBODYS = "there is no lead {}"


def changed_by(who: Agent, known: Iterable[Campaign], book: StatusBook) -> ColumnElement[bool]:
    """The leads that a user may change, as a condition on the table of leads."""
    if Permission.LEAD_ADMIN in who.permissions:
        return access.visible_to(changing(who))
    kept = table.c.status_id.in_(book.ids(kept_for_caller=True))
    return and_(
        table.c.campaign_id.in_([each.id for each in known if each.open_to(who)]),
        table.c.owner_id.in_(who.reach),
        table.c.deactivated_at.is_(None),
        or_(~kept, table.c.processed_by_id.is_(None), table.c.processed_by_id == who.id),
    )


def changing(who: Agent) -> Agent:
    """A user with `lead_admin` as one who changes leads: what is seen for reports alone is out of sight."""
    return replace(who, permissions=who.permissions - {Permission.EXTENDED_INSIGHTS})


def take(connection: Connection, who: Agent, lead_id: int) -> None:
    """Makes sure that the user may change a lead, which nobody else changes until this transaction ends.

    Raises Missing for one that is not there or that the user does not see, Denied for one that is not theirs.
    """
    fates = take_all(connection, who, [lead_id])
    if lead_id in fates:
        raise fates[lead_id]


def take_all(connection: Connection, who: Agent, numbers: Collection[int]) -> dict[int, Missing | Denied]:
    """The same for many: those that the user may not change, and why.

    By campaign and number, as Change Owner and the do-not-call lists take leads of several campaigns: two who take the
    same ones wait for each other, and not in a circle.
    """
    known = access.campaigns(connection)
    mine = changed_by(who, known.values(), statuses.read(connection))
    query = (
        select(table.c.id, access.visible_to(who).label("seen"), mine.label("mine"))
        .where(table.c.campaign_id.in_(list(known)), selection.among(connection, table.c.id, numbers))
        .order_by(table.c.campaign_id, table.c.id)
        .with_for_update()
    )
    found = {row.id: row for row in connection.execute(query)}
    fates: dict[int, Missing | Denied] = {}
    for number in numbers:
        if number not in found or not found[number].seen:
            fates[number] = Missing("lead_unknown", NOBODYS.format(number))
        elif not found[number].mine:
            fates[number] = _denied(who, number)
    return fates


def may_change(connection: Connection, who: Agent, lead_id: int) -> bool:
    """True when the user may change this lead."""
    return lead_id not in take_all(connection, who, [lead_id])


def theirs(connection: Connection, who: Agent, lead_id: int) -> bool:
    """The same, for whoever only looks: nobody waits, and it may be otherwise a moment later."""
    known = access.campaigns(connection)
    mine = changed_by(who, known.values(), statuses.read(connection))
    this = (table.c.campaign_id.in_(list(known)), table.c.id == lead_id, access.visible_to(who), mine)
    return connection.scalar(select(table.c.id).where(*this)) is not None


def see(connection: Connection, who: Agent, lead_id: int) -> Lead:
    """A lead as far as the user sees it; raises Missing."""
    found = selection.latest(
        connection, selection.Filter(further=and_(table.c.id == lead_id, access.visible_to(who))), limit=1
    )
    if not found:
        raise Missing("lead_unknown", NOBODYS.format(lead_id))
    return found[0]


def out_of_reach(connection: Connection, caller: Caller) -> ColumnElement[bool]:
    """The leads that somebody may not change, as a condition; for a key of the house, which stands in no team, all."""
    if Permission.EXTENDED_DATA in caller.permissions:
        return false()
    if caller.person is None:
        return true()
    who = replace(agents.agent(connection, caller.person.login), permissions=caller.permissions)
    mine = changed_by(who, access.campaigns(connection).values(), statuses.read(connection))
    return case((mine, false()), else_=true())  # also where it is neither true nor false, as for a lead nobody called


def check_reach(connection: Connection, these: ColumnElement[bool], beyond: ColumnElement[bool]) -> None:
    """Raises Denied when one of these leads is `out_of_reach`."""
    if connection.scalar(select(select(table.c.id).where(these, beyond).exists())):
        lacking = Permission.EXTENDED_DATA
        told = f"the pool has leads that are not yours to change; that needs the permission {lacking}"
        raise Denied("permission_missing", told, permission=lacking)


def seen_among(connection: Connection, who: Agent, numbers: Collection[int]) -> set[int]:
    """Those of these leads that the user sees."""
    these = (
        table.c.campaign_id.in_(list(access.campaigns(connection))),
        selection.among(connection, table.c.id, numbers),
    )
    return set(connection.scalars(select(table.c.id).where(*these, access.visible_to(who))))


def check_held(connection: Connection, who: Agent, lead_id: int) -> None:
    """Makes sure that the user has been given a lead and that nobody else has it by now; raises as `take`, or Conflict.

    A lease that is over still counts while nobody else has taken the lead.
    """
    take(connection, who, lead_id)
    known = access.campaigns(connection)
    this = (table.c.campaign_id.in_(list(known)), table.c.id == lead_id)
    if connection.scalar(select(table.c.locked_by_id).where(*this)) != who.id:
        told = f"you do not hold lead {lead_id}, or not any more; lock it, or ask for the next one"
        raise Conflict("lead_not_held", told)


def check_call(connection: Connection, who: Agent, lead_id: int, at: datetime) -> None:
    """Makes sure that a call of the user can have ended: the lead is in their hands, or they may call it.

    Raises Conflict with every rule that says no. What changes while a lead is held, such as its pool, undoes no call.
    """
    here = lead.find(connection, lead_id)
    if here.locked_by_id == who.id:
        return
    facts = access.facts_of(connection, here, who, at)
    against = [rule for rule in access.may_call(facts) if not rule.holds]
    if against:
        told = f"you may not call lead {lead_id}: {'; '.join(rule.fact for rule in against)}"
        raise Conflict("not_callable", told, rules=[rule.name for rule in against])


def _denied(who: Agent, lead_id: int) -> Denied:
    lacking = Permission.EXTENDED_DATA if Permission.LEAD_ADMIN in who.permissions else Permission.LEAD_ADMIN
    told = f"lead {lead_id} is not yours to change; that needs the permission {lacking}"
    return Denied("permission_missing", told, permission=lacking)
