"""Where the rejected records of a delivery are uploaded when they are mended."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Connection

from ingestd.errors import Rejected
from ingestd.ingest import ownership
from ingestd.ingest.judging import campaign_code
from ingestd.model import UPLOAD, Delivery, State
from ingestd.settings import Source
from ingestd.store import orders, rules


def address(connection: Connection, delivery: Delivery) -> str:
    """Upload with campaign, owner and mapping chosen as the delivery had them, as far as they are still there.

    Empty when no record was rejected alone, as when the whole file was refused.
    """
    if delivery.state is not State.COMPLETED_WITH_REJECTS or not delivery.counts.rejected:
        return ""
    source = orders.source(connection, delivery)
    asked = {} if source is None else _asked(connection, source, delivery)
    return f"/upload?{urlencode(asked)}" if asked else "/upload"


def _asked(connection: Connection, source: Source, delivery: Delivery) -> dict[str, Any]:
    owners = rules.owners(connection)
    try:
        campaign = campaign_code(source, delivery.folder)
        policy = ownership.policy(source, owners)
        owner = ownership.of_file(source, delivery, owners, policy) or policy.default
    except Rejected:  # what counted for the file is gone since: the person chooses
        return {}
    like = {} if delivery.source == UPLOAD else {"like": delivery.source}
    return {"campaign": campaign, **({"owner": f"{owner.kind}:{owner.name}"} if owner else {}), **like}
