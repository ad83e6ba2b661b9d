"""The number that somebody looks for, as people say it: without its country."""

from __future__ import annotations

import polars as pl
from sqlalchemy import Connection, func, select

from ingestd.ingest import phones
from ingestd.store.tables import campaigns, leads


def as_kept(connection: Connection, text: str, campaign: str = "") -> str:
    """The number in E.164, read in the region of the campaign; without one, of the campaigns that there are.

    Of several that it may be, the one that a lead has, else that of the region with most campaigns. A text that is a
    number in none of them is returned as it is.
    """
    if text.startswith(("+", "00")):
        return text
    home = campaigns.c.code == campaign if campaign else campaigns.c.active
    usual = select(campaigns.c.region).where(home).group_by(campaigns.c.region)
    regions = connection.scalars(usual.order_by(func.count().desc(), campaigns.c.region)).all()
    read = (phones.normalise(pl.Series([text]), region)["e164"].item() for region in regions)
    found = [number for number in dict.fromkeys(read) if number]
    has_a_lead = select(func.min(leads.c.phone)).where(leads.c.phone.in_(found))
    known = connection.scalar(has_a_lead) if len(found) > 1 else None
    return known or (found[0] if found else text)
