"""How the command line shows leads and their history."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import typer

from ingestd import printing

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ingestd.leads.lead import Lead
    from ingestd.leads.telling import Told


def told(connection: Connection, here: Lead) -> dict[str, Any]:
    """A lead for people and programs, with names instead of numbers."""
    from ingestd.leads import access, lead

    plain = {name: value for name, value in dataclasses.asdict(here).items() if name not in ("fields", "extra")}
    people = ("owner_id", "original_owner_id", "processed_by_id", "created_by_id", "modified_by_id", "locked_by_id")
    names = lead.owner_names(connection, [plain[name] for name in people if plain[name]])
    named = {name.removesuffix("_id"): names.get(plain.pop(name)) for name in people}
    campaign = access.campaigns(connection)[plain.pop("campaign_id")].code
    return {"id": here.id, "campaign": campaign, **named, **plain, **here.fields, "extra": dict(here.extra)}


def show(lead: dict[str, Any], *, as_json: bool) -> None:
    """One lead for people or for programs; people are not told what is empty."""
    if as_json:
        printing.print_json(lead)
        return
    for name, value in lead.items():
        if value not in (None, {}):
            typer.echo(f"{name:<20} {value}")


def name_of(told: dict[str, Any]) -> str:
    """What people call the lead."""
    whole = " ".join(told[name] for name in ("first_name", "last_name") if told[name])
    return told["full_name"] or whole or told["company"] or ""


def state_of(told: dict[str, Any]) -> str:
    """Whether the lead is in use."""
    return "deactivated" if told["deactivated_at"] else "locked" if told["locked_by"] else "active"


def event_line(event: Told) -> dict[str, Any]:
    """One line of a history."""
    return {
        "version": event.version,
        "at": f"{event.at:%Y-%m-%d %H:%M:%S}",
        "by": event.by or ("a delivery" if event.kind == "imported" else "a rule of time"),
        "kind": event.kind,
        "field": event.field,
        "before": event.before,
        "after": event.after,
        "why": event.why,
    }
