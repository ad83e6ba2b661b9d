"""What the do-not-call lists say of single leads: one step down an index for each list, whatever their size."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, Text, literal_column, select

from ingestd.store import many
from ingestd.store.tables import do_not_call

GLOBAL = 0
"""The list that is for every campaign, where the others have the number of theirs."""


def places(connection: Connection, lists: Collection[int], phones: Collection[str]) -> set[tuple[int, str]]:
    """List and number, wherever one of these numbers is on one of these lists."""
    here = do_not_call.c
    few = len(phones) <= many.APART
    mine = here.phone.in_(phones) if few else many.one_of(connection.dialect.name, here.phone, phones, Text())
    query = select(here.campaign_id, here.phone).where(here.campaign_id.in_(lists), mine)
    return {(row[0], row[1]) for row in connection.execute(query)}


def on_a_list(lead: Any) -> ColumnElement[bool]:
    """Nobody may call the lead's number: it is on the global list or its campaign's. `lead` is columns of leads."""
    its = (do_not_call.c.campaign_id.in_((GLOBAL, lead.campaign_id)), do_not_call.c.phone == lead.phone)
    return select(literal_column("1")).select_from(do_not_call).where(*its).correlate_except(do_not_call).exists()
