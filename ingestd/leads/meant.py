"""The leads that a filter means, as numbers: for what is done to all leads that match."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select, true

from ingestd.errors import Invalid
from ingestd.leads import conditions
from ingestd.leads import scope as scopes
from ingestd.leads.agents import Agent
from ingestd.leads.filters import Filter
from ingestd.store.tables import leads as table


def numbers(connection: Connection, tree: Filter, who: Agent | None, at: datetime, *, most: int) -> list[int]:
    """The numbers of all leads of a filter that the user sees, campaign by campaign; `who` None: everybody's.

    Raises Invalid when they are more than `most`, and for a name that nothing has.
    """
    here = scopes.scope(connection, tree, conditions.terms(connection, at), who)
    found: list[int] = []
    for campaign_id in here.campaigns:
        mine = [table.c.campaign_id == campaign_id]
        mine += [] if here.where is None else [here.where]
        mine += [] if here.few is None else [here.few.get(campaign_id, true())]
        # In no order, which whoever needs one makes: so any index may find them, and none is walked for its order.
        found += connection.scalars(select(table.c.id).where(*mine).limit(most + 1 - len(found)))
        if len(found) > most:
            told = f"more than {most:,} leads match; this is done to {most:,} at once. Narrow the filter"
            raise Invalid("filter_unusable", told, field="filter")
    return found
