"""Campaigns: changed with a word of confirmation when leads would fall silent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from ingestd import schemas
from ingestd.errors import Conflict, Invalid, Misconfigured
from ingestd.organisation import changes
from ingestd.organisation.changes import Record
from ingestd.store import facts
from ingestd.store.audit import Deed
from ingestd.store.tables import leads


def create(connection: Connection, deed: Deed, code: str, values: Mapping[str, Any], *, folder: Path) -> Record:
    """A new campaign; `folder` holds the schemas. Raises Invalid for a template that has none."""
    _check_template(folder, values.get("template"))
    return changes.create(connection, deed, "campaign", code, values)


def edit(
    connection: Connection,
    deed: Deed,
    code: str,
    values: Mapping[str, Any],
    *,
    folder: Path,
    seen: str | None = None,
    confirmed: bool = False,
) -> Record:
    """Changes a campaign; deactivating one with leads is a Conflict that says with how many, until it is confirmed."""
    _check_template(folder, values.get("template"))
    before = changes.get(connection, "campaign", code)
    after = changes.edit(connection, deed, "campaign", code, values, seen=seen)
    if before.facts["active"] and not after.facts["active"] and not confirmed and (owned := leads_in(connection, code)):
        told = f"the campaign {code} has {owned:,} leads, which nobody could call any more. Confirm it"
        raise Conflict("confirmation_needed", told, leads=owned)
    return after


def leads_in(connection: Connection, code: str) -> int:
    """How many leads a campaign has; its primary key begins with the campaign."""
    number = facts.number(connection, "campaign", code)
    return connection.scalar(select(func.count()).select_from(leads).where(leads.c.campaign_id == number)) or 0


def _check_template(folder: Path, template: str | None) -> None:
    if template is None:
        return
    try:
        schemas.read(folder, template)
    except Misconfigured as problem:
        told = f"there is no template {template!r}, or its file in schemas/ has a fault that `ingestd check` names"
        raise Invalid("template_unknown", told, field="template") from problem
