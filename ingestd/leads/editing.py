"""Editing a lead, taking it out of use, and holding it for a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from ingestd.store import fences, loading, rules

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
    if not fences.passed(connection, fences.seen(connection, campaign.id)):
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
    return _one(connection, lead_id, lambda here: deactivate_all(connection, here, by=by, at=at, why=why))


def deactivate_all(
    connection: Connection, these: Sequence[Lead], *, by: int, at: datetime, why: str = ""
) -> dict[int, Rejected]:
    """The same for leads that were taken: those that stay as they were, and why."""
    return _set_active(connection, these, at, Stamp(kind="deactivated", by=by, at=at, why=why))


def activate(connection: Connection, lead_id: int, *, by: int, at: datetime, why: str = "") -> Lead:
    """Takes a lead into use again. Twice changes nothing."""
    return _one(connection, lead_id, lambda here: activate_all(connection, here, by=by, at=at, why=why))


def activate_all(
    connection: Connection, these: Sequence[Lead], *, by: int, at: datetime, why: str = ""
) -> dict[int, Rejected]:
    """The same for leads that were taken: those that stay as they were, and why."""
    return _set_active(connection, these, None, Stamp(kind="activated", by=by, at=at, why=why))


def _set_active(
    connection: Connection, these: Sequence[Lead], since: datetime | None, stamp: Stamp
) -> dict[int, Rejected]:
    refused = lead.locks(connection, these, by=stamp.by, at=stamp.at)
    other = [here for here in these if here.id not in refused and (here.deactivated_at is None) != (since is None)]
    lead.write_all(connection, [(here, {"deactivated_at": since}) for here in other], stamp)
    return refused


def lock(connection: Connection, lead_id: int, *, by: int, at: datetime, lease: timedelta = LEASE) -> Lead:
    """Holds a lead for a user until `at + lease`, or longer than before; raises Rejected while somebody else does."""
    return _one(connection, lead_id, lambda here: lock_all(connection, here, by=by, at=at, lease=lease))


def lock_all(
    connection: Connection, these: Sequence[Lead], *, by: int, at: datetime, lease: timedelta = LEASE
) -> dict[int, Rejected]:
    """The same for leads that were taken: those that stay as they were, and why. Raises Rejected for the lease."""
    if not timedelta(0) < lease <= LONGEST_LEASE:
        raise Rejected("lease_unusable", f"a lead is held for up to {LONGEST_LEASE}, not for {lease}")
    refused = lead.locks(connection, these, by=by, at=at)
    values = {"locked_by_id": by, "locked_until": at + lease}
    free = [(here, values) for here in these if here.id not in refused]
    lead.write_all(connection, free, Stamp(kind="locked", by=by, at=at))
    return refused


def unlock(connection: Connection, lead_id: int, *, by: int, at: datetime, force: bool = False) -> Lead:
    """Gives a lead free; one that nobody holds stays as it is. `force`: also when somebody else holds it."""
    return _one(connection, lead_id, lambda here: unlock_all(connection, here, by=by, at=at, force=force))


def unlock_all(
    connection: Connection, these: Sequence[Lead], *, by: int, at: datetime, force: bool = False
) -> dict[int, Rejected]:
    """The same for leads that were taken: those that stay as they were, and why."""
    refused = {} if force else lead.locks(connection, these, by=by, at=at)
    values = {"locked_by_id": None, "locked_until": None}
    held = [(here, values) for here in these if here.id not in refused and here.locked_by_id is not None]
    lead.write_all(connection, held, Stamp(kind="unlocked", by=by, at=at))
    return refused


def _one(connection: Connection, lead_id: int, verb: Callable[[Sequence[Lead]], dict[int, Rejected]]) -> Lead:
    """What is done to many leads, done to one: the lead as it is then."""
    for refusal in verb([lead.take(connection, lead_id)]).values():
        raise refusal
    return lead.find(connection, lead_id)
