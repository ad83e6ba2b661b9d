"""Anonymise (GDPR): a person's fields are blanked for good, in the store, in the logs and in the files that came.

Counts stay: the lead is still there, closed, in its pool and campaign, with its attempts and its place in the file.
A do-not-call list keeps its number, because it is what protects the person. Files come first, so that a run that fails
can be repeated: only the store knows what to look for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, insert, literal, select, update

from ingestd import schemas
from ingestd.ingest.poollog import PoolLog
from ingestd.leads import erasure, history, lead, statuses
from ingestd.leads.erasure import Erased, Original
from ingestd.leads.history import Stamp
from ingestd.leads.lead import Lead
from ingestd.leads.statuses import ANONYMISED
from ingestd.leads.undoing import UNDONE
from ingestd.model import Delivery, DialectHints
from ingestd.schemas import SYSTEM_FIELDS, Schema
from ingestd.spool import Spool
from ingestd.storage import Storage
from ingestd.store import access_tables, fences, lead_tables, orders, pushes, segment_tables, tables, view_tables
from ingestd.store.engine import reading, settle, writing
from ingestd.store.ledger import Ledger

SHORTEST = 6
"""Characters from which a text is looked for: shorter ones are in every file."""

TELL_FILTERS = (
    *("view_saved", "view_edited", "view_removed", "segment_added", "segment_changed", "segment_removed"),
    *("lead_export_begun", "leads_exported"),
)
"""Deeds whose lines in the audit have a filter."""

UNSETTLED = "the database's log, until its next readers are done"


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a person may be."""

    engine: Engine
    ledger: Ledger
    spool: Spool
    logs: Storage
    schemas: Path


@dataclass(frozen=True, kw_only=True)
class Anonymised:
    """What was done, and what is left."""

    lead_id: int
    erased: tuple[Erased, ...]
    deliveries: tuple[Delivery, ...]
    """those whose results are to be handed back anew"""
    left: tuple[str, ...]
    """places where a number or an address of the person is still found, such as other leads with it"""


def anonymise(places: Places, lead_id: int, *, by: int, at: datetime) -> Anonymised:
    """Blanks a person for good.

    Raises Rejected when the lead is unknown or held, Unerasable for a file that is not read as it was loaded.
    """
    with reading(places.engine) as connection:
        here = lead.find(connection, lead_id)
        lead.refuse_if_locked(connection, here, by=by, at=at)
        schema = schemas.read(places.schemas, _template(connection, here.campaign_id))
        phones, needles = _known_as(connection, here)
    deliveries = _deliveries(places, here.campaign_id)
    erased = []
    for delivery in deliveries:
        log = PoolLog(storage=places.logs, key=delivery.log_key)
        found = erasure.find(log, lead_id, phones, undone=delivery.reason_code == UNDONE.code)
        if not found.is_empty():
            needles |= set(found["phone_as_read"].drop_nulls())
            erased.append(erasure.erase(log, _original(places, delivery), found, moment=at.isoformat()))
        erasure.remove_earlier(log)
    with writing(places.engine) as connection:
        fences.overtake(connection, here.campaign_id)  # before the lead, as a load takes them
        _blank(connection, schema, lead_id, Stamp(kind="anonymised", by=by, at=at))
        pushes.blank(connection, lead_id, phones, erasure.TOLD)
        for each in erased:
            connection.execute(insert(lead_tables.erasures).values(_noted(each, lead_id, by, at)))
    emptied = settle(places.engine)
    touched = {each.delivery_id for each in erased}
    wanted = sorted(needle for needle in needles if len(needle) >= SHORTEST)
    return Anonymised(
        lead_id=lead_id,
        erased=tuple(erased),
        deliveries=tuple(delivery for delivery in deliveries if delivery.id in touched),
        left=(*_left(places, deliveries, phones, wanted), *(() if emptied else (UNSETTLED,))),
    )


def _template(connection: Connection, campaign_id: int) -> str | None:
    found: str | None = connection.scalar(
        select(tables.campaigns.c.template).where(tables.campaigns.c.id == campaign_id)
    )
    return found


def _known_as(connection: Connection, here: Lead) -> tuple[list[str], set[str]]:
    """Every number of the person, also earlier ones; and every text that names nobody else."""
    texts = {str(here.fields[name]) for name in ("phone", "alternative_phone", "email") if here.fields[name]}
    phones = {str(here.fields["phone"])}
    for event in history.history(connection, here.campaign_id, here.id):
        if event.field in ("phone", "alternative_phone", "email"):
            texts |= {text for text in (event.before, event.after) if text}
        if event.field == "phone":
            phones |= {text for text in (event.before, event.after) if text}
    return sorted(phones - {""}), texts


def _deliveries(places: Places, campaign_id: int) -> list[Delivery]:
    """Whatever became a pool of the campaign, loaded or not."""
    pool = tables.pools.c
    with reading(places.engine) as connection:
        numbers = connection.scalars(select(pool.delivery_id).where(pool.campaign_id == campaign_id)).all()
    known = (places.ledger.get(number) for number in numbers if number is not None)
    return [delivery for delivery in known if delivery is not None and delivery.log_key]


def _original(places: Places, delivery: Delivery) -> Original:
    hints = _hints(places, delivery)
    return Original(
        spool=places.spool, delivery_id=delivery.id, key=delivery.spool_key, name=delivery.name, hints=hints
    )


def _hints(places: Places, delivery: Delivery) -> DialectHints:
    with reading(places.engine) as connection:
        source = orders.source(connection, delivery)
    return source.hints() if source is not None else DialectHints()


def _blank(connection: Connection, schema: Schema, lead_id: int, stamp: Stamp) -> None:
    here = lead.take(connection, lead_id)
    lead.refuse_if_locked(connection, here, by=stamp.by, at=stamp.at)
    book = statuses.read(connection)
    closed = {"status_id": book.get(ANONYMISED).id, "result_id": statuses.result_of(here), "status_at": stamp.at}
    gone = {"scheduled_at": None, "segment_id": None, "locked_by_id": None, "locked_until": None}
    lead.write(connection, here, {**closed, **gone}, stamp)
    personal = {field.name for field in schema.fields if field.personal}
    this = (tables.leads.c.campaign_id == here.campaign_id, tables.leads.c.id == lead_id)
    values: dict[str, Any] = {name: None for name in SYSTEM_FIELDS if name in personal}
    extra = {name: value for name, value in here.extra.items() if name not in personal}
    # A lead has a number; that of nobody is empty, and no number that is looked for is.
    connection.execute(update(tables.leads).where(*this).values({**values, "phone": "", "extra": lead.packed(extra)}))
    event = lead_tables.lead_events.c
    mine = (event.campaign_id == here.campaign_id, event.lead_id == lead_id)
    connection.execute(update(lead_tables.lead_events).where(*mine).values(why=""))
    nothing = {"before": None, "after": None}
    connection.execute(update(lead_tables.lead_events).where(*mine, event.field.in_(personal)).values(nothing))


def _noted(each: Erased, lead_id: int, by: int, at: datetime) -> Mapping[str, Any]:
    rows = ",".join(str(row) for row in each.rows)
    return {
        "delivery_id": each.delivery_id,
        "lead_id": lead_id,
        "at": at,
        "by_id": by,
        "rows": rows,
        "sha256": each.sha256,
        "size": each.size,
    }


def _left(places: Places, deliveries: list[Delivery], phones: list[str], needles: list[str]) -> Iterator[str]:
    """Searches everything again."""
    with reading(places.engine) as connection:
        known = connection.scalars(select(tables.campaigns.c.id)).all()
        others = (tables.leads.c.campaign_id.in_(known), tables.leads.c.phone.in_(phones))
        for number in connection.scalars(select(tables.leads.c.id).where(*others)):
            yield f"lead {number} has the same number"
        yield from _filters_left(connection, needles)
    for delivery in deliveries:
        if erasure.contains(_original(places, delivery), needles):
            yield f"the file of delivery {delivery.id}"
        log = PoolLog(storage=places.logs, key=delivery.log_key)
        parts = (b"".join(log.full()), b"".join(log.errors()), b"".join(log.rejected()))
        if any(erasure.speaks_of(part, needles) for part in parts):
            yield f"the log of delivery {delivery.id}"


def _filters_left(connection: Connection, needles: list[str]) -> Iterator[str]:
    """Filters that somebody keeps, and those of the audit, whose earlier lines may have values of personal fields."""
    view, segment, line = view_tables.saved_views.c, segment_tables.segments.c, access_tables.audit.c
    places = {
        "the filter of view": select(view.id, view.filter, literal("")),
        "the filter of segment": select(segment.id, segment.filter, literal("")),
        "the audit's line": select(line.id, line.before, line.after).where(line.action.in_(TELL_FILTERS)),
    }
    wanted = [needle.lower() for needle in needles]
    for place, query in places.items():
        for number, *texts in connection.execute(query.order_by("id")):
            if erasure.speaks_of(" ".join(text or "" for text in texts).lower().encode(), wanted):
                yield f"{place} {number}"
