"""How the command line shows leads and their history."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import typer

from ingestd import printing

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ingestd.leads.history import Event
    from ingestd.leads.lead import Lead


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


_OWNED = ("owner", "lock", "processed_by")


def owners_in(event: Event) -> tuple[str | None, ...]:
    """The numbers of teams and users that an event speaks of."""
    return (event.before, event.after) if event.field in _OWNED else ()


def event_line(event: Event, names: dict[int, str]) -> dict[str, Any]:
    """An event with names instead of numbers."""

    def named(text: str | None) -> str | None:
        return names.get(int(text), text) if text and event.field in _OWNED else text

    return {
        "version": event.version,
        "at": f"{event.at:%Y-%m-%d %H:%M:%S}",
        "by": names.get(event.by, str(event.by)) if event.by else "a rule of time",
        "kind": event.kind,
        "field": event.field,
        "before": named(event.before),
        "after": named(event.after),
        "why": event.why,
    }
