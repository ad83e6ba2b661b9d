"""Ending many leads at once, by a rule of time or a do-not-call list: nobody holds them any more."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Text, cast, literal, null, select, update

from ingestd.leads import history
from ingestd.leads.history import Stamp
from ingestd.leads.statuses import Status
from ingestd.store import tables
from ingestd.store.tables import leads as table


def end(connection: Connection, these: ColumnElement[bool], to: Status | None, stamp: Stamp) -> None:
    """Ends the locks of these leads and gives them a closed status; None: only the locks end.

    History first, because it tells what was there before.
    """
    held = these & table.c.locked_by_id.is_not(None)
    history.record_all(connection, held, "lock", (cast(table.c.locked_by_id, Text), null()), stamp)
    values: dict[str, Any] = {"locked_by_id": None, "locked_until": None, "version": table.c.version + 1}
    if to is not None:
        code = select(tables.statuses.c.code).where(tables.statuses.c.id == table.c.status_id).scalar_subquery()
        history.record_all(connection, these, "status", (code, literal(to.code)), stamp)
        values |= {"status_id": to.id, "status_at": stamp.at, "scheduled_at": None, "dial_key": None}
    signed = {"modified_by_id": stamp.by, "modified_at": stamp.at}
    connection.execute(update(table).where(these).values({**values, **signed}))
