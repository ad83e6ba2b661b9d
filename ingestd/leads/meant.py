"""The leads that a filter means, as numbers: for what is done to all leads that match."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from ingestd.errors import Invalid
from ingestd.leads import columns, listing
from ingestd.leads.agents import Agent
from ingestd.leads.filters import Filter
from ingestd.leads.listing import Wish
from ingestd.leads.ordering import Sort

CHUNK = 5_000
"""leads that are read at once"""


def numbers(connection: Connection, tree: Filter, who: Agent, at: datetime, *, most: int) -> list[int]:
    """The numbers of all leads of a filter that the user sees, the newest first.

    Raises Invalid when they are more than `most`, and for a name that nothing has.
    """
    wish = Wish(tree=tree, sort=Sort(column=columns.NUMBER, descending=True), limit=1, who=who, at=at)
    found: list[int] = []
    for places in listing.every(connection, wish, size=CHUNK):
        found += [place.id for place in places]
        if len(found) > most:
            told = f"more than {most:,} leads match; this is done to {most:,} at once. Narrow the filter"
            raise Invalid("filter_unusable", told, field="filter")
    return found
