"""Editing a lead, taking it out of use, and holding it for a while."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Connection

from ingestd import schemas
from ingestd.errors import Rejected, Unavailable
from ingestd.leads import checking, lead, placing
from ingestd.leads.history import Stamp
from ingestd.leads.lead import Lead
from ingestd.model import CampaignRules
from ingestd.store import loading, rules

LEASE = timedelta(minutes=15)
"""How long a lead is held when nobody says how long; who still works with it locks it again."""
LONGEST_LEASE = timedelta(hours=12)


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A wish to change fields of a lead."""

    values: Mapping[str, str | None]
    """fields as people write them; empty or None clears one"""
    by: int
    at: datetime
    why: str = ""
    version: int | None = None
    """the version that the editor saw; None: whatever it is"""


def edit(connection: Connection, schema_folder: Path, lead_id: int, wish: Edit) -> Lead:
    """Changes fields, judged as an import judges them; the lead as it is then.

    Raises Refused with every problem, or Rejected: unknown or changed meanwhile, held by somebody else, no such field.
    """
    here = lead.take(connection, lead_id, version=wish.version)
    lead.refuse_if_locked(connection, here, by=wish.by, at=wish.at)
    _refuse_owner(wish)
    campaign = rules.campaign_of(connection, here.campaign_id)  # not only an active one: a name may be corrected
    values, extra = _read(schemas.read(schema_folder, campaign.template), campaign, here, wish)
    if values.get("phone", here.fields["phone"]) != here.fields["phone"]:
        _screen(connection, campaign, here, values["phone"])
    if extra:
        values["extra"] = {**here.extra, **extra}
    if not _differs(here, values):
        return here
    lead.write(connection, here, values, Stamp(kind="edited", by=wish.by, at=wish.at, why=wish.why))
    placing.place(connection, here.campaign_id, [lead_id])
    return lead.find(connection, lead_id)


def _refuse_owner(wish: Edit) -> None:
    if "ownership_code" in wish.values:
        raise Rejected(
            "field_unknown",
            "the Lead Ownership Code says who owned the lead when it came",
            suggestion="use Change Owner",
        )


def _read(
    schema: schemas.Schema, campaign: CampaignRules, here: Lead, wish: Edit
) -> tuple[dict[str, Any], dict[str, Any]]:
    # Country and phone are judged together, so what was not typed is taken from the lead.
    beside = {name: str(here.fields[name]) for name in ("phone", "country") if here.fields[name] is not None}
    whole = {**beside, **wish.values}
    lenient = "phone" not in wish.values
    checked = checking.judge(schema, campaign, whole, wish.at.date(), lenient=lenient)
    refused = checking.errors(checking.problems_of(checked.problems, only=wish.values))
    if refused:
        raise checking.Refused(refused)
    return checking.typed(checked, wish.values)


def _differs(here: Lead, values: Mapping[str, Any]) -> bool:
    return any(value != (here.extra if name == "extra" else here.fields[name]) for name, value in values.items())


def _screen(connection: Connection, campaign: CampaignRules, here: Lead, phone: str) -> None:
    """A new number is no duplicate and on no list, as for an import; loads into the campaign wait meanwhile."""
    if not loading.pass_fence(connection, loading.fence(connection, campaign.id)):
        raise Unavailable("leads were loaded into the campaign at the same moment; try again")
    numbers = pl.Series([phone])
    if not loading.listed(connection, campaign.id, numbers).is_empty():
        raise checking.Refused((_wrong(phone, "do_not_call", "the number is on a do-not-call list"),))
    there = loading.existing(connection, campaign.id, numbers, ()).filter(pl.col("id") != here.id)
    if campaign.on_duplicate != "keep" and not there.is_empty():
        told = f"the campaign {campaign.code} has this number already, as lead {there['id'][0]}"
        raise checking.Refused((_wrong(phone, "duplicate_in_campaign", told),))


def _wrong(phone: str, code: str, message: str) -> checking.Problem:
    return checking.Problem(
        field="phone", code=code, severity="error", value=phone, message=message, suggestion="check the number"
    )


def deactivate(connection: Connection, lead_id: int, *, by: int, at: datetime, why: str = "") -> Lead:
    """Takes a lead out of use: nobody calls it, and only leaders see it. Twice changes nothing."""
    return _set_active(connection, lead_id, None, Stamp(kind="deactivated", by=by, at=at, why=why))


def activate(connection: Connection, lead_id: int, *, by: int, at: datetime, why: str = "") -> Lead:
    """Takes a lead into use again. Twice changes nothing."""
    return _set_active(connection, lead_id, at, Stamp(kind="activated", by=by, at=at, why=why))


def _set_active(connection: Connection, lead_id: int, since: datetime | None, stamp: Stamp) -> Lead:
    here = lead.take(connection, lead_id)
    lead.refuse_if_locked(connection, here, by=stamp.by, at=stamp.at)
    if (here.deactivated_at is None) == (since is not None):
        return here
    return lead.write(connection, here, {"deactivated_at": None if since else stamp.at}, stamp)


def lock(connection: Connection, lead_id: int, *, by: int, at: datetime, lease: timedelta = LEASE) -> Lead:
    """Holds a lead for a user until `at + lease`, or longer than before; raises Rejected while somebody else does."""
    if not timedelta(0) < lease <= LONGEST_LEASE:
        raise Rejected("lease_unusable", f"a lead is held for up to {LONGEST_LEASE}, not for {lease}")
    here = lead.take(connection, lead_id)
    lead.refuse_if_locked(connection, here, by=by, at=at)
    values = {"locked_by_id": by, "locked_until": at + lease}
    return lead.write(connection, here, values, Stamp(kind="locked", by=by, at=at))


def unlock(connection: Connection, lead_id: int, *, by: int, at: datetime, force: bool = False) -> Lead:
    """Gives a lead free; one that nobody holds stays as it is. `force`: also when somebody else holds it."""
    here = lead.take(connection, lead_id)
    if not force:
        lead.refuse_if_locked(connection, here, by=by, at=at)
    if here.locked_by_id is None:
        return here
    values = {"locked_by_id": None, "locked_until": None}
    return lead.write(connection, here, values, Stamp(kind="unlocked", by=by, at=at))
