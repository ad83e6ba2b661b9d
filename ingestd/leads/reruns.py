"""What is done with a delivery after it has ended: run again, as a new one, or confirmed when it waits for that."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, Engine

from ingestd.errors import Conflict, Invalid, Missing, Rejected, Unavailable
from ingestd.ingest import reading as sheets
from ingestd.leads import undoing
from ingestd.leads.undoing import Prospect, Undone
from ingestd.model import Delivery, State
from ingestd.organisation import mappings
from ingestd.schemas import header_key
from ingestd.spool import Landed, Spool
from ingestd.store import audit, erasures, orders, organisation
from ingestd.store.audit import Deed
from ingestd.store.engine import reading, writing
from ingestd.store.ledger import DISPROVED, Ledger, hold_source

SUPERSEDED = Rejected("run_again", "run again with another mapping, as a new delivery, instead of being confirmed")
LOADED = (State.COMPLETED, State.COMPLETED_WITH_REJECTS)
_NOT_LOADED = (State.REFUSED, State.FAILED, State.CANCELLED, State.AWAITING_CONFIRMATION)
RERUNNABLE = (*LOADED, *_NOT_LOADED)
NOT_RETRIED = (undoing.UNDONE.code, SUPERSEDED.code, DISPROVED)
"""Why a delivery ended that is not queued once more as it is: it is run again, or its file is not the one meant."""


def rerunnable(delivery: Delivery) -> bool:
    """Whether its file may be run again, as far as the delivery itself tells. Pure."""
    return delivery.state in RERUNNABLE and bool(delivery.spool_key) and delivery.reason_code != DISPROVED


@dataclass(frozen=True, kw_only=True)
class Places:
    """What it is done with."""

    engine: Engine
    ledger: Ledger
    spool: Spool
    schemas: Path


@dataclass(frozen=True, kw_only=True)
class Wish:
    """How a delivery is to be read from now on."""

    mapping: Mapping[str, str] | None = None
    """header → field, laid over the source's mapping; None: as it was read before"""
    save: bool = False
    """whether that becomes the source's mapping, for later files too"""


@dataclass(frozen=True, kw_only=True)
class Rerun:
    """A file that is read once more."""

    delivery_id: int
    """the new delivery"""
    undone: Undone | None
    """what the former one had loaded and lost; None when it had loaded nothing"""


def rerun(places: Places, deed: Deed, number: int, wish: Wish, beyond: ColumnElement[bool]) -> Rerun:
    """Reads the bytes of a delivery once more, as a new one; what the former one loaded is undone before.

    All of it or nothing. Raises Missing, Invalid for the mapping, Conflict and Rejected with the reason why not, and
    Denied when leads that would be undone are `beyond` reach.
    """
    content = _content(places, number, wish)
    landed = _copied(places, number, content)
    try:
        with writing(places.engine) as connection:
            known = _known(connection, places, number)
            organisation.lock(connection)  # first, as who changes sources and campaigns does
            hold_source(connection, known.source)  # the same file may just be coming again
            own = _own(connection, places, deed, known, wish)
            former, undone = _made_way(connection, places, deed, number, beyond)
            again = places.ledger.run_again(connection, former, landed, own)
            after = {"delivery": again, "mapping": wish.mapping, "saved": wish.save}
            audit.note(connection, deed, "delivery_run_again", f"delivery:{number}", after=after)
    except BaseException:
        places.spool.discard(landed.key)
        raise
    return Rerun(delivery_id=again, undone=undone)


def look(
    connection: Connection, at: datetime, delivery: Delivery, ledger: Ledger, beyond: ColumnElement[bool]
) -> Prospect:
    """What would be taken back before a delivery is run again now, or why it cannot be. No mapping is looked at."""
    if delivery.state in LOADED and delivery.pool_id is not None:
        return undoing.look(connection, at, delivery.pool_id, ledger, beyond)
    try:
        _refuse_state(delivery)
    except Conflict as problem:
        return Prospect(leads=0, refusal=problem)
    return Prospect(leads=0, refusal=None)


def confirm(places: Places, deed: Deed, number: int, wish: Wish) -> None:
    """Lets a delivery go on that waits for its confirmation; columns that match no field are ignored.

    It goes to where its number stands in its source's line. Raises Missing, Invalid for the mapping, Conflict.
    """
    if wish.mapping:
        _content(places, number, wish)
    with writing(places.engine) as connection:
        _known(connection, places, number)
        delivery = places.ledger.taken(connection, number)
        if delivery.state is not State.AWAITING_CONFIRMATION:
            told = f"delivery {number} is {delivery.state}; it does not wait for a confirmation"
            raise Conflict("not_awaiting", told, state=delivery.state)
        own = _own(connection, places, deed, delivery, wish)
        places.ledger.confirm(connection, delivery, own)
        after = {"mapping": wish.mapping, "saved": wish.save}
        audit.note(connection, deed, "delivery_confirmed", f"delivery:{number}", after=after)


def original(spool: Spool, engine: Engine, delivery: Delivery) -> bytes:
    """The kept bytes of a delivery; raises Rejected when there are none, and Unavailable."""
    if not delivery.spool_key:
        told = f"delivery {delivery.id} is {delivery.state}; its file was not kept"
        first = f"take that of delivery {delivery.duplicate_of}" if delivery.duplicate_of else ""
        raise Rejected("no_original", told, suggestion=first)
    with reading(engine) as connection:
        kept = erasures.kept(connection, delivery)
    try:
        return spool.read(delivery.spool_key, kept.sha256)
    except FileNotFoundError as problem:
        raise Rejected("no_original", f"the file of delivery {delivery.id} is not there any more") from problem
    except OSError as problem:
        raise Unavailable(f"the file of delivery {delivery.id} cannot be read: {problem}") from problem


def _content(places: Places, number: int, wish: Wish) -> bytes:
    """The kept bytes; raises Missing, Rejected when there are none, and Invalid when they lack a column of the wish."""
    delivery = places.ledger.get(number)
    if delivery is None:
        raise Missing("delivery_unknown", f"there is no delivery {number}")
    content = original(places.spool, places.engine, delivery)
    header = _header(places, delivery, content) if wish.mapping else ()
    known = {header_key(name) for name in header}
    absent = [repr(name) for name in wish.mapping or () if header_key(name) not in known]
    if header and absent:
        told = f"the file has no column {', '.join(absent)}; its columns are: {', '.join(header)}"
        raise Invalid("mapping_unusable", told, field="body.mapping")
    return content


def _header(places: Places, delivery: Delivery, content: bytes) -> tuple[str, ...]:
    """The columns of a file; none of one that cannot be read, or not now: its new run says why."""
    with reading(places.engine) as connection:
        source = orders.source(connection, delivery)
    if source is None:
        return ()
    try:
        return sheets.read(content, name=delivery.name, hints=source.hints()).header
    except Rejected:
        return ()


def _copied(places: Places, number: int, content: bytes) -> Landed:
    """The bytes under a key of their own, durable: each delivery's file is anonymised by itself."""
    try:
        with closing(places.spool.open(limit=max(1, len(content)))) as incoming:
            incoming.write(content)
            return incoming.commit()
    except OSError as problem:
        raise Unavailable(f"the file of delivery {number} cannot be copied: {problem}") from problem


def _known(connection: Connection, places: Places, number: int) -> Delivery:
    """As it is now; another transaction may still change it, when it is not taken."""
    found = places.ledger.find(connection, number)
    if found is None:
        raise Missing("delivery_unknown", f"there is no delivery {number}")
    return found


def _own(connection: Connection, places: Places, deed: Deed, delivery: Delivery, wish: Wish) -> str | None:
    """The mapping that the delivery will have of its own, as JSON; None when its source's has everything."""
    if wish.mapping is None:
        return delivery.mapping
    source = orders.source(connection, delivery)
    if source is None:
        raise Conflict("source_inactive", f"the source {delivery.source!r} is not active any more")
    saved = organisation.source(connection, delivery.source)
    if wish.save and saved is not None:
        whole = {**saved.mapping, **wish.mapping}
        mappings.save(connection, deed, source.name, whole, folder=places.schemas)
        return None
    if wish.save:
        raise Conflict("source_inactive", "an upload came from no source, so there is none to save a mapping for")
    codes = (source.campaign, *source.campaigns)
    return mappings.checked(connection, wish.mapping, codes, folder=places.schemas, field="body.mapping")


def _made_way(
    connection: Connection, places: Places, deed: Deed, number: int, beyond: ColumnElement[bool]
) -> tuple[Delivery, Undone | None]:
    """The former delivery, which is not loaded, or loaded no more."""
    delivery = _known(connection, places, number)
    if delivery.state in LOADED and delivery.pool_id is not None:
        return delivery, undoing.undo(connection, deed, delivery.pool_id, places.ledger, beyond)
    taken = places.ledger.taken(connection, number)
    _refuse_state(taken)
    if taken.state is State.AWAITING_CONFIRMATION:
        places.ledger.call_off(connection, taken, SUPERSEDED)
    return taken, None


def _refuse_state(delivery: Delivery) -> None:
    if delivery.state not in _NOT_LOADED:
        told = f"delivery {delivery.id} is {delivery.state}; it can be run again when it has ended"
        raise Conflict("not_rerunnable", told, state=delivery.state)
