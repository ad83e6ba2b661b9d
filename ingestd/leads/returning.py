"""Giving back what an agent took by a Private or VIP redial (LEADS.md): which leads return, and to whom."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, select

from ingestd.leads import agents
from ingestd.leads.lead import Lead
from ingestd.store import tables
from ingestd.store.lead_tables import lead_events

_BY_STATUS = ("status", "call")
"""The verbs under which history tells that a status made somebody the owner; Change Owner has its own."""


def receivers(connection: Connection, these: Sequence[Lead], taking: Collection[str]) -> dict[int, int]:
    """Lead → who gets it when it is given back: of those with a status of `taking`, or whose owner has them by one.

    So a lead that was closed with its agent, or went on to another open status, still returns; one that got its owner
    by Change Owner since does not.
    """
    others = [here for here in these if here.status not in taking and here.owner_id != here.original_owner_id]
    taken = _taken(connection, others) if others else set()
    back = {here.id: here.original_owner_id for here in these if here.status in taking or here.id in taken}
    instead = heirs(connection, set(back.values())) if back else {}
    return {number: instead.get(owner, owner) for number, owner in back.items()}


def _taken(connection: Connection, these: Sequence[Lead]) -> set[int]:
    """Those whose owner has them by a status."""
    event, owners = lead_events.c, {here.id: str(here.owner_id) for here in these}
    query = (
        select(event.lead_id, event.kind, event.after)
        .where(event.campaign_id.in_({here.campaign_id for here in these}), event.lead_id.in_(owners))
        .where(event.field == "owner")
        .order_by(event.lead_id, event.version)
    )
    last = {row.lead_id: row for row in connection.execute(query)}
    return {number for number, row in last.items() if row.kind in _BY_STATUS and row.after == owners[number]}


def heirs(connection: Connection, owners: Collection[int]) -> dict[int, int]:
    """Those of these owners who are not active any more → the nearest active team above.

    One without an active team above stays the owner.
    """
    user, team = tables.users.c, tables.teams.c
    gone: dict[int, int] = {}
    for query in (
        select(user.id, user.team_id).where(user.id.in_(owners), ~user.active),
        select(team.id, team.parent_id).where(team.id.in_(owners), ~team.active, team.parent_id.is_not(None)),
    ):
        gone |= {row[0]: row[1] for row in connection.execute(query)}
    found = {owner: _nearest(connection, start) for owner, start in gone.items()}
    return {owner: number for owner, number in found.items() if number is not None}


def _nearest(connection: Connection, team_id: int) -> int | None:
    way, team = agents.above(connection, team_id), tables.teams.c
    active = set(connection.scalars(select(team.id).where(team.id.in_(way), team.active)))
    return next((number for number in way if number in active), None)
