"""Ending many leads at once, by a rule of time or a do-not-call list: nobody holds them any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Text, and_, case, cast, func, literal, null, select, update

from ingestd.ingest import updates
from ingestd.ingest.updates import Closing
from ingestd.leads import history, returning, selection, statuses
from ingestd.leads.history import Stamp
from ingestd.leads.statuses import Status
from ingestd.store import tables
from ingestd.store.tables import leads as table


def close(connection: Connection, campaign_id: int, these: Sequence[int], to: Status, stamp: Stamp) -> int:
    """Closes those of these leads that are open, whoever holds them; how many that were."""
    opened = table.c.status_id.in_(statuses.read(connection).ids(kind="open"))
    mine = and_(table.c.campaign_id == campaign_id, selection.among(connection, table.c.id, these))
    # Closed ones too: somebody may be about to open one, and has not seen the number on the list.
    connection.execute(select(table.c.id).where(mine).order_by(table.c.id).with_for_update())
    numbers = connection.scalars(select(table.c.id).where(mine, opened)).all()
    if numbers:
        still = and_(table.c.campaign_id == campaign_id, selection.among(connection, table.c.id, numbers))
        end(connection, still, to, stamp)
    return len(numbers)


def close_listed(connection: Connection, closing: Closing) -> None:
    """The same for leads that a delivery names, and whose number is listed by now."""
    to = statuses.read(connection).by_id[closing.status_id]
    stamp = Stamp(kind=updates.KIND, by=None, at=closing.at, why=closing.why)
    close(connection, closing.campaign_id, closing.numbers, to, stamp)


def end(connection: Connection, these: ColumnElement[bool], to: Status | None, stamp: Stamp) -> None:
    """Ends the locks of these leads and gives them a closed status; None: only the locks end.

    What an agent had taken by a status goes back to its original owner, when the new status says so. History first,
    because it tells what was there before.
    """
    held = these & table.c.locked_by_id.is_not(None)
    history.record_all(connection, held, "lock", (cast(table.c.locked_by_id, Text), null()), stamp)
    values: dict[str, Any] = {"locked_by_id": None, "locked_until": None, "version": table.c.version + 1}
    if to is not None:
        code = select(tables.statuses.c.code).where(tables.statuses.c.id == table.c.status_id).scalar_subquery()
        history.record_all(connection, these, "status", (code, literal(to.code)), stamp)
        values |= {"status_id": to.id, "status_at": stamp.at, "scheduled_at": None, "dial_key": None}
        values["result_id"] = func.coalesce(table.c.result_id, table.c.status_id)
        values |= {"modified_by_id": stamp.by, "modified_at": stamp.at}
        if to.gives_back:
            values["owner_id"] = _given_back(connection, these, stamp)
    connection.execute(update(table).where(these).values(values))


def _given_back(connection: Connection, these: ColumnElement[bool], stamp: Stamp) -> ColumnElement[int]:
    """Who owns each of these leads then; the same as `returning.receivers` says for one with such a status."""
    taking = table.c.status_id.in_(statuses.read(connection).ids(takes_owner=True))
    owner: ColumnElement[int] = func.coalesce(table.c.original_owner_id, table.c.owner_id)
    owners = connection.scalars(select(owner).where(these, taking).distinct()).all()
    instead = returning.heirs(connection, owners) if owners else {}
    owner = case(instead, value=owner, else_=owner) if instead else owner
    moving = these & taking & (owner != table.c.owner_id)
    history.record_all(connection, moving, "owner", (cast(table.c.owner_id, Text), cast(owner, Text)), stamp)
    return case((taking, owner), else_=table.c.owner_id)
