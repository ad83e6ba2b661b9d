"""Teams and users as owners of leads: their Lead Ownership Codes, and what a change of one means for leads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from ingestd.errors import Conflict, Missing
from ingestd.organisation import changes
from ingestd.organisation.changes import Record
from ingestd.store import consistency, facts
from ingestd.store.audit import Deed
from ingestd.store.facts import Kind
from ingestd.store.tables import leads

OWNERS: tuple[Kind, ...] = ("team", "user")


@dataclass(frozen=True, kw_only=True)
class Code:
    """One Lead Ownership Code that is in use."""

    code: str
    """as stored"""
    kind: Kind
    owner: str
    """key of the team, or login of the user"""
    name: str


def codes(connection: Connection) -> list[Code]:
    """Every Lead Ownership Code."""
    world = facts.world(connection)
    found = [
        Code(code=each["code"], kind=kind, owner=key, name=each["name"])
        for kind in OWNERS
        for key, each in world[kind].items()
        if each["code"]
    ]
    return sorted(found, key=lambda code: code.code.casefold())


def code(connection: Connection, wanted: str) -> Code:
    """Whose code this is, trimmed and whatever its capitals; raises Missing."""
    for each in codes(connection):
        if consistency.same_code(each.code, wanted):
            return each
    raise Missing("code_unknown", f"nobody has the Lead Ownership Code {wanted!r}")


def leads_of(connection: Connection, kind: Kind, key: str) -> int:
    """How many leads a team or user owns.

    Walks all leads: this is asked when an operator takes a code away, and an index by owner would slow every import.
    """
    owner = facts.number(connection, kind, key)
    return connection.scalar(select(func.count()).select_from(leads).where(leads.c.owner_id == owner)) or 0


def edit(
    connection: Connection,
    deed: Deed,
    kind: Kind,
    key: str,
    values: Mapping[str, Any],
    *,
    seen: str | None = None,
    confirmed: bool = False,
) -> Record:
    """Changes a team or user, as `changes.edit` does.

    Taking a code away, or the owner out, is a Conflict that says for how many leads, until it is `confirmed`.
    """
    before = changes.get(connection, kind, key)
    after = changes.edit(connection, deed, kind, key, values, seen=seen)
    if not confirmed:
        _ask_first(connection, before, after)
    return after


def _ask_first(connection: Connection, before: Record, after: Record) -> None:
    """Raised after the write, which the caller's transaction takes back: so all else was found right before."""
    lost = before.facts["code"] if before.facts["code"] and not _keeps_code(before, after) else None
    leaves = before.facts["active"] and not after.facts["active"]
    if lost is None and not leaves:
        return
    owned = leads_of(connection, before.kind, before.key)
    if owned == 0:
        return
    told = f"the {before.kind} {before.key} owns {owned:,} leads"
    if leaves:
        told += "; they stay its own, and nobody else of its place can call those of a user"
    if lost:
        told += f"; files that name {lost} will have those records rejected"
    raise Conflict("confirmation_needed", f"{told}. Confirm it, or move the leads first", leads=owned, code_lost=lost)


def _keeps_code(before: Record, after: Record) -> bool:
    code = after.facts["code"]
    return bool(code) and consistency.same_code(code, before.facts["code"])
