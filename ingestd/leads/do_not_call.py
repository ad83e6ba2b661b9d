"""Do-not-call lists and the leads that are there already: whoever is listed is not called from that moment on.

List and leads change in one transaction, so nobody finds one without the other. Numbers are E.164, as leads have them.

A lead closes when its phone is listed. Its alternative number alone closes nothing, because the lead has another one to
be called at; but whoever is given the lead to call does not get a listed alternative number (`without_listed`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine, and_, select

from ingestd.errors import Invalid, Missing
from ingestd.ingest import donotcall, phones
from ingestd.ingest.screening import LISTED, LISTED_GLOBALLY
from ingestd.leads import ending, statuses
from ingestd.leads.history import Stamp
from ingestd.leads.lead import Lead
from ingestd.schemas import Schema
from ingestd.store import audit, listed, loading, rules, tables
from ingestd.store.audit import Deed
from ingestd.store.engine import writing
from ingestd.store.tables import do_not_call as lists
from ingestd.store.tables import leads as table

BATCH = 50_000
"""Numbers of a file that are added in one transaction: others who write wait for no more than a second or so."""

MOST_NAMED = 10
"""Numbers that are none and are named; more would fill a page."""
NOWHERE = "ZZ"
"""The country of numbers that are of none: only those with a country code can be read."""


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
    unreadable: list[tuple[int, str, str]]
    """line, text and fault of what is no phone number, or no record of the table"""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A number on a list."""

    phone: str
    campaign: str | None
    """None: the global list"""
    reason: str
    added_at: datetime


def import_list(
    engine: Engine, data: bytes, *, name: str, schema: Schema, campaign: str | None, region: str | None, deed: Deed
) -> Imported:
    """Adds every number of a file to the global list, or to a campaign's; a transaction for each BATCH.

    When it breaks off, the same file once more adds the rest. Without `region` a campaign's own counts; the global list
    then takes numbers with a country code only. Raises Rejected for what is no list, and for an unknown campaign.
    """
    found = donotcall.read_list(engine, data, name=name, schema=schema, campaign=campaign, region=region)
    added = closed = 0
    for start in range(0, len(found.phones), BATCH) or (0,):
        with writing(engine) as connection:
            done = add(connection, found.phones[start : start + BATCH], campaign, deed)
        added, closed = added + done.added, closed + done.closed
    return Imported(added=added, known=found.read - added, closed=closed, unreadable=found.unreadable)


def readable(connection: Connection, numbers: Sequence[str], campaign: str | None, region: str | None) -> list[str]:
    """Numbers as people write them as E.164; without `region` a campaign's own counts.

    Raises Invalid when some are none, because whoever adds them would take them for protected, and names them; and
    Rejected for an unknown campaign.
    """
    home = region or (rules.campaign(connection, campaign).region if campaign else NOWHERE)
    read = phones.read(pl.Series(numbers, dtype=pl.String).str.strip_chars(), home.upper())
    faults = {
        place: f"{number!r} {phones.MESSAGES.get(reason or '', 'is not a phone number')}"
        for place, (number, e164, reason) in enumerate(zip(numbers, read["e164"], read["reason"], strict=True))
        if e164 is None
    }
    if faults:
        raise Invalid("number_unusable", _all_of(faults.values(), home), field=f"numbers.{min(faults)}")
    return read["e164"].to_list()


def _all_of(faults: Collection[str], home: str) -> str:
    """The first faults, and what helps where numbers without a country code are of no country."""
    told = "; ".join(islice(faults, MOST_NAMED))
    if len(faults) > MOST_NAMED:
        told += f"; and {len(faults) - MOST_NAMED:,} more"
    return told + ("; write numbers with + and country code, or name their country" if home == NOWHERE else "")


def add(connection: Connection, numbers: Sequence[str], campaign: str | None, deed: Deed) -> Added:
    """Puts numbers on the global list, or on a campaign's, and closes their open leads; raises Rejected: no campaign.

    A lead that somebody holds is closed at once and its lock ends: a person who is listed must not be called. One that
    an agent had taken by a Private or VIP redial goes back to its original owner.
    """
    wanted = pl.Series(sorted(set(numbers)), dtype=pl.String)
    owner = rules.campaign(connection, campaign).id if campaign else 0
    touched = _held_campaigns(connection, owner)
    added = loading.add_do_not_call(connection, owner, wanted.to_list(), deed.why) if len(wanted) else 0
    to = statuses.read(connection).get(LISTED if owner else LISTED_GLOBALLY)
    stamp = Stamp(kind="status", by=deed.actor.user_id, at=deed.at, why=deed.why)
    there = {number: loading.with_phones(connection, number, wanted) for number in touched}
    closed = sum(ending.close(connection, number, those, to, stamp) for number, those in there.items() if those)
    done = Added(added=added, known=len(wanted) - added, closed=closed)
    after = {"numbers": len(wanted), "added": added, "closed": closed}
    audit.note(connection, deed, "do_not_call.add", _subject(campaign), after=after)
    return done


def remove(connection: Connection, phone: str, campaign: str | None, deed: Deed) -> bool:
    """Takes a number off a list; False when it is not on it. Leads that it closed stay closed.

    Raises Invalid without a reason: somebody may have asked not to be called, and the audit has to say why it ended.
    """
    if not deed.why.strip():
        raise Invalid("reason_missing", "say why the number may be called again", field="why")
    owner = rules.campaign(connection, campaign).id if campaign else 0
    if not loading.remove_do_not_call(connection, owner, phone):
        return False
    audit.note(connection, deed, "do_not_call.remove", _subject(campaign), before={"phone": phone})
    return True


def page(
    connection: Connection, campaign: str | None, *, limit: int, after: str = "", phone: str | None = None
) -> list[Listing]:
    """Numbers of the global list, or of a campaign's, in their order, from the one after `after` on.

    Raises Missing for an unknown campaign; one that is not active any more keeps its list.
    """
    here = lists.c.campaign_id == (_number_of(connection, campaign) if campaign else 0)
    query = _listings().where(here, lists.c.phone > after).order_by(lists.c.phone).limit(limit)
    if phone is not None:
        query = query.where(lists.c.phone == phone)
    return [Listing(**row) for row in connection.execute(query).mappings()]


def of_number(connection: Connection, phone: str) -> list[Listing]:
    """Every list that a number is on, the global one first."""
    # Each list by its key: the number alone is no beginning of an index.
    known = [0, *connection.scalars(select(tables.campaigns.c.id)).all()]
    query = _listings().where(lists.c.campaign_id.in_(known), lists.c.phone == phone).order_by(lists.c.campaign_id)
    return [Listing(**row) for row in connection.execute(query).mappings()]


def without_listed(connection: Connection, found: Sequence[Lead]) -> list[Lead]:
    """The leads as whoever may call them gets them: an alternative number on a list is left out, which is said."""
    withheld = listed_among(connection, ((here.campaign_id, here.fields[OTHER]) for here in found))
    return [_withheld(here) if (here.campaign_id, here.fields[OTHER]) in withheld else here for here in found]


def close(connection: Connection, here: Lead, at: datetime) -> None:
    """Closes an open lead, taken before, whose number is on a list: the rule does it, as the history tells."""
    lists_of_it = {number for number, _ in listed.places(connection, here.lists, [here.phone])}
    to = statuses.read(connection).get(LISTED_GLOBALLY if listed.GLOBAL in lists_of_it else LISTED)
    this = and_(table.c.campaign_id == here.campaign_id, table.c.id == here.id)
    ending.end(connection, this, to, Stamp(kind="rule", by=None, at=at, why="its number is on a do-not-call list"))


OTHER = "alternative_phone"


def listed_among(connection: Connection, asked: Iterable[tuple[int, Any]]) -> set[tuple[int, Any]]:
    """Of pairs of a campaign and a number, or None: those whose number is on the campaign's list or the global one."""
    pairs = {(campaign_id, number) for campaign_id, number in asked if number is not None}
    if not pairs:
        return set()
    mine = {listed.GLOBAL, *(campaign_id for campaign_id, _ in pairs)}
    found = listed.places(connection, mine, {number for _, number in pairs})
    return {pair for pair in pairs if pair in found or (listed.GLOBAL, pair[1]) in found}


def _withheld(here: Lead) -> Lead:
    return replace(here, fields={**here.fields, OTHER: None}, withheld=(OTHER,))


def _listings() -> Any:
    columns = (lists.c.phone, tables.campaigns.c.code.label("campaign"), lists.c.reason, lists.c.added_at)
    return select(*columns).outerjoin(tables.campaigns, tables.campaigns.c.id == lists.c.campaign_id)


def _number_of(connection: Connection, campaign: str) -> int:
    found: int | None = connection.scalar(select(tables.campaigns.c.id).where(tables.campaigns.c.code == campaign))
    if found is None:
        raise Missing("campaign_unknown", f"there is no campaign {campaign!r}")
    return found


def _held_campaigns(connection: Connection, owner: int) -> Sequence[int]:
    """The campaigns a list is for. A load holds its campaign until its commit, so its leads are there after this."""
    campaign = tables.campaigns.c.id
    query = select(campaign).order_by(campaign).with_for_update(key_share=True)
    return connection.scalars(query.where(campaign == owner) if owner else query).all()


def _subject(campaign: str | None) -> str:
    return f"do_not_call:{campaign or 'global'}"
