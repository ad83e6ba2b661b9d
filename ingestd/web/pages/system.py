"""How the system stands: nodes and what each does, the queue, the disk; and the audit."""

from __future__ import annotations

from datetime import datetime
from importlib import metadata
from typing import Annotated, Any

from fastapi import Query, Request, Response
from pydantic import BaseModel, Field

from ingestd import node
from ingestd.access.permissions import Permission
from ingestd.leads import days
from ingestd.node import Standing
from ingestd.store import audit
from ingestd.store.audit import Entry
from ingestd.store.engine import reading
from ingestd.store.nodes import Nodes
from ingestd.web.api import paging
from ingestd.web.api.access import needs
from ingestd.web.api.desk import AtDesk, Desk
from ingestd.web.pages.filled import Word
from ingestd.web.pages.rendering import show
from ingestd.web.pages.routes import Pages

pages = Pages()

LOOKING = needs(Permission.MANAGE_ORGANISATION)
SHOWN = 50
"""lines of the audit on one page"""


class Asked(BaseModel):
    """Which lines of the audit; whatever is empty says nothing."""

    who: Word = ""
    what: Word = ""
    since: Word = ""
    until: Word = ""
    cursor: Annotated[str, Field(max_length=400)] = ""

    def wanted(self) -> audit.Wanted:
        """Raises Invalid for a day that is none."""
        return audit.Wanted(
            who=self.who.strip(),
            what=self.what.strip(),
            since=days.begin(self.since, "query.since"),
            until=days.end(self.until, "query.until"),
        )


@pages.get("/system", access=LOOKING)
def show_system(request: Request, desk: AtDesk) -> Response:
    """Nodes, queue and disk, as they are now."""
    at, nodes = desk.clock(), Nodes(engine=desk.engine).all()
    return show(
        request,
        "system.html",
        fragment="now",
        at=at,
        nodes=[(each, each.state(at), each.age(at), _doing(desk, each, at)) for each in nodes],
        queue=desk.dispatcher.health(),
        waiting=desk.ledger.waiting(),
        disk=(desk.spool.free(), desk.spool.capacity(), desk.spool.has_room()),
        version=metadata.version("ingestd"),
    )


@pages.get("/system/audit", access=LOOKING)
def show_audit(request: Request, desk: AtDesk, asked: Annotated[Asked, Query()]) -> Response:
    """Who changed what, when and why, the newest first."""
    wanted, before = asked.wanted(), paging.number_of(asked.cursor or None)
    with reading(desk.engine) as connection:
        found = audit.latest(connection, limit=SHOWN + 1, before=before, wanted=wanted)
    return show(
        request,
        "audit.html",
        fragment="rows",
        asked=asked,
        filtered=wanted != audit.Wanted(),
        entries=[(entry, _changes(entry)) for entry in found[:SHOWN]],
        next=paging.following([each.id for each in found], SHOWN),
    )


def _doing(desk: Desk, one: Standing, at: datetime) -> list[str]:
    names = {number: found.name for number in node.at_work([one]) if (found := desk.ledger.get(number)) is not None}
    return [told for each in one.processes if (told := each.told(at, names))]


def _changes(entry: Entry) -> list[tuple[str, str, str]]:
    """What differs, as (name, before, after)."""
    before, after = entry.before or {}, entry.after or {}
    return [(name, _text(before.get(name)), _text(after.get(name))) for name in {**before, **after}]


def _text(value: Any) -> str:
    if value is None or value == []:
        return ""
    if isinstance(value, list):
        return ", ".join(_text(each) for each in value)
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_text(each) or 'none'}" for name, each in value.items())
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
