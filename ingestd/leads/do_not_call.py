"""Do-not-call lists and the leads that are there already: whoever is listed is not called from that moment on.

List and leads change in one transaction, so nobody finds one without the other. Numbers are E.164, as leads have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Text, and_, cast, literal, null, select, update

from ingestd.ingest.screening import LISTED, LISTED_GLOBALLY
from ingestd.leads import history, selection, statuses
from ingestd.leads.history import Stamp
from ingestd.leads.statuses import Status
from ingestd.store import audit, loading, rules, tables
from ingestd.store.audit import Deed
from ingestd.store.tables import leads as table

BATCH = 2_000
"""Numbers whose leads are looked for at once."""


@dataclass(frozen=True, kw_only=True)
class Added:
    """What became of numbers that were put on a list."""

    added: int
    known: int
    """numbers that were on the list already; their open leads are closed too"""
    closed: int
    """open leads that got the status of the list"""


def add(connection: Connection, phones: Sequence[str], campaign: str | None, deed: Deed) -> Added:
    """Puts numbers on the global list, or on a campaign's, and closes their open leads; raises Rejected: no campaign.

    A lead that somebody holds is closed at once and its lock ends: a person who is listed must not be called.
    Only the first phone of a lead counts, as when it is loaded.
    """
    wanted = sorted(set(phones))
    owner = rules.campaign(connection, campaign).id if campaign else 0
    touched = _held_campaigns(connection, owner)
    added = loading.add_do_not_call(connection, owner, wanted, deed.why) if wanted else 0
    book = statuses.read(connection)
    to = book.get(LISTED if owner else LISTED_GLOBALLY)
    opened = book.ids(kind="open")
    closed = 0
    for number in touched:
        for start in range(0, len(wanted), BATCH):
            some = and_(table.c.status_id.in_(opened), table.c.phone.in_(wanted[start : start + BATCH]))
            closed += _close(connection, number, some, to, deed)
    done = Added(added=added, known=len(wanted) - added, closed=closed)
    after = {"numbers": len(wanted), "added": added, "closed": closed}
    audit.note(connection, deed, "do_not_call.add", _subject(campaign), after=after)
    return done


def remove(connection: Connection, phone: str, campaign: str | None, deed: Deed) -> bool:
    """Takes a number off a list; False when it is not on it. Leads that it closed stay closed."""
    owner = rules.campaign(connection, campaign).id if campaign else 0
    if not loading.remove_do_not_call(connection, owner, phone):
        return False
    audit.note(connection, deed, "do_not_call.remove", _subject(campaign), before={"phone": phone})
    return True


def _held_campaigns(connection: Connection, owner: int) -> Sequence[int]:
    """The campaigns a list is for. A load holds its campaign until its commit, so its leads are there after this."""
    campaign = tables.campaigns.c.id
    query = select(campaign).order_by(campaign).with_for_update(key_share=True)
    return connection.scalars(query.where(campaign == owner) if owner else query).all()


def _close(connection: Connection, campaign_id: int, some: ColumnElement[bool], to: Status, deed: Deed) -> int:
    """History first, because it tells what was there before."""
    query = select(table.c.id).where(table.c.campaign_id == campaign_id, some).order_by(table.c.id).with_for_update()
    numbers = connection.scalars(query).all()
    if not numbers:
        return 0
    these = and_(table.c.campaign_id == campaign_id, selection.among(connection, table.c.id, numbers))
    stamp = Stamp(kind="status", by=deed.actor.user_id, at=deed.at, why=deed.why)
    held = and_(these, table.c.locked_by_id.is_not(None))
    history.record_all(connection, held, "lock", (cast(table.c.locked_by_id, Text), null()), stamp)
    code = select(tables.statuses.c.code).where(tables.statuses.c.id == table.c.status_id).scalar_subquery()
    history.record_all(connection, these, "status", (code, literal(to.code)), stamp)
    free = {"locked_by_id": None, "locked_until": None, "scheduled_at": None, "dial_key": None}
    signed = {"modified_by_id": stamp.by, "modified_at": stamp.at, "version": table.c.version + 1}
    connection.execute(update(table).where(these).values({"status_id": to.id, "status_at": stamp.at, **free, **signed}))
    return len(numbers)


def _subject(campaign: str | None) -> str:
    return f"do_not_call:{campaign or 'global'}"
