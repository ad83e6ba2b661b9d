"""Do-not-call lists and the leads that are there already: whoever is listed is not called from that moment on.

List and leads change in one transaction, so nobody finds one without the other. Numbers are E.164, as leads have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Engine, and_, select

from ingestd.ingest import donotcall
from ingestd.ingest.screening import LISTED, LISTED_GLOBALLY
from ingestd.leads import selection, statuses
from ingestd.leads.ending import end
from ingestd.leads.history import Stamp
from ingestd.leads.statuses import Status
from ingestd.schemas import Schema
from ingestd.store import audit, loading, rules, tables
from ingestd.store.audit import Deed
from ingestd.store.engine import writing
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


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What became of a file of numbers."""

    added: int
    known: int
    """numbers that were on the list already, or twice in the file"""
    closed: int = 0
    """open leads that got the status of the list"""
    unreadable: list[tuple[int, str]]
    """line and text of what is no phone number, or no record of the table"""


def import_list(
    engine: Engine, data: bytes, *, name: str, schema: Schema, campaign: str | None, region: str | None, deed: Deed
) -> Imported:
    """Adds every number of a file to the global list, or to a campaign's; one transaction.

    Without `region` a campaign's own counts; the global list then takes numbers with a country code only. Raises
    Rejected for what is no list, and for an unknown campaign.
    """
    found = donotcall.read_list(engine, data, name=name, schema=schema, campaign=campaign, region=region)
    with writing(engine) as connection:
        done = add(connection, found.phones, campaign, deed)
    known = found.read - done.added
    return Imported(added=done.added, known=known, closed=done.closed, unreadable=found.unreadable)


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
    query = select(table.c.id).where(table.c.campaign_id == campaign_id, some).order_by(table.c.id).with_for_update()
    numbers = connection.scalars(query).all()
    if not numbers:
        return 0
    these = and_(table.c.campaign_id == campaign_id, selection.among(connection, table.c.id, numbers))
    end(connection, these, to, Stamp(kind="status", by=deed.actor.user_id, at=deed.at, why=deed.why))
    return len(numbers)


def _subject(campaign: str | None) -> str:
    return f"do_not_call:{campaign or 'global'}"
