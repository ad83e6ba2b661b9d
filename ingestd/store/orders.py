"""A delivery's source as it counts for this delivery: with the owner and the mapping that its sender asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from ingestd.model import UPLOAD, Arrival, Delivery
from ingestd.settings import Source
from ingestd.settings.sources import DialectSettings, Proof
from ingestd.store import organisation

BATCH, PUSH = "batch", "push"
"""The protocols of leads that came as JSON: many at once, which we write as a file; and one by one."""

_OWN_DIALECT = {"dialect": DialectSettings(encoding="utf-8", delimiter=",", quote='"'), "proof": Proof()}


def source(connection: Connection, delivery: Arrival | Delivery) -> Source | None:
    """The source with what was asked for; None when it does not exist or is no longer active.

    An upload without a source has the rules that a source has by itself, and the campaign that its folder names.
    """
    here = upload(delivery.folder) if delivery.source == UPLOAD else organisation.source(connection, delivery.source)
    if here is None:
        return None
    changes: dict[str, Any] = _OWN_DIALECT if delivery.protocol in (BATCH, PUSH) else {}
    if delivery.default_owner is not None:
        changes = {**changes, "default_owner": delivery.default_owner}
    if delivery.mapping is not None:
        changes = {**changes, "mapping": {**here.mapping, **mapping(delivery.mapping)}}
    return here.model_copy(update=changes) if changes else here


def upload(campaign: str) -> Source:
    """What counts for a file that an operator uploads into a campaign."""
    return Source(name=UPLOAD, title="uploads of operators", campaign=campaign)


def mapping(text: str) -> Mapping[str, str]:
    """Header → field, as a delivery keeps it."""
    kept: dict[str, str] = json.loads(text)
    return kept
