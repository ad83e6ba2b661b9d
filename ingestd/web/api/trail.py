"""The audit: who changed what, when and why."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, Field

from ingestd.access.permissions import Permission
from ingestd.store import audit
from ingestd.store.engine import reading
from ingestd.web.api import paging
from ingestd.web.api.access import needs
from ingestd.web.api.desk import AtDesk
from ingestd.web.api.paging import Cursor, Limit
from ingestd.web.api.routes import Routes

routes = Routes("audit")


class EntryOut(BaseModel):
    """One change."""

    id: int
    at: datetime
    actor: str = Field(description="`user:<login>`, `key:<id>`, `command line` or `configuration`")
    action: str
    subject: str = Field(description="such as `team:berlin`")
    before: dict[str, Any] | None = Field(description="what differed before")
    after: dict[str, Any] | None
    why: str


class Trail(BaseModel):
    """A page of the audit, the newest first."""

    items: list[EntryOut]
    next: str | None = Field(description="the `cursor` of the next page; null after the last")


@routes.get("/audit", access=needs(Permission.MANAGE_ORGANISATION))
def list_audit(
    desk: AtDesk,
    subject: Annotated[str | None, Query(max_length=200, description="such as `team:berlin`")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Trail:
    """Changes of the organisation, of passwords and keys."""
    before = paging.number_of(cursor)
    with reading(desk.engine) as connection:
        found = audit.latest(connection, limit=limit + 1, before=before, subject=subject)
    items = [EntryOut(**vars(each)) for each in found[:limit]]
    return Trail(items=items, next=paging.following([each.id for each in found], limit))
