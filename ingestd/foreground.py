"""`ingestd import`: one delivery in the foreground, by a running daemon if there is one, else here."""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from rich.progress import Progress

from ingestd.errors import Invalid, Missing, Rejected, Unavailable
from ingestd.house import House, Lock
from ingestd.ingest import rehearsal
from ingestd.ingest.judging import Judge
from ingestd.ingest.rehearsal import Rehearsal
from ingestd.model import UPLOAD, Arrival, Completeness, Delivery
from ingestd.organisation import uploads
from ingestd.organisation.uploads import Granted, Wish
from ingestd.receive import names
from ingestd.receive.landing import Landing
from ingestd.store import organisation
from ingestd.store.engine import reading
from ingestd.store.ledger import loaded_as, now
from ingestd.worker import publisher_of, road_of

POLL_SECONDS = 0.2
QUEUE_SECONDS = 10.0
"""After so long it is worth saying how many deliveries come before this one."""
PIECE = 1024 * 1024
OWNERLESS = "owner_missing"
"""The problem of a record that names no owner, of a file for which nobody else is named."""
STAGES = ("read", "map", "validate", "resolve", "screen", "load")


@dataclass(frozen=True, kw_only=True)
class Order:
    """A file that somebody brings."""

    file: Path
    wish: Wish
    login: str
    """who brings it"""


def import_file(house: House, order: Order, progress: Progress) -> Delivery:
    """Lands a file as a delivery and follows it to its end; raises Rejected for what cannot be had."""
    granted = _granted(house, order.wish)
    house.whereabouts.verify()
    delivery_id = _land(house, order, granted, progress)
    lock = Lock(house.places)
    try:
        _bring_to_end(house, delivery_id, progress, lock)
    finally:
        lock.release()
    return _known(house, delivery_id)


def rehearse_file(house: House, order: Order) -> Rehearsal:
    """Says what `import_file` would make of a file, and does nothing of it."""
    arrival = _arrival(order, _granted(house, order.wish))
    house.whereabouts.verify()
    content = order.file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    with reading(house.engine) as connection:
        doubled = loaded_as(connection, arrival, digest)
    if doubled is not None:
        return rehearsal.duplicate(doubled)
    delivery = replace(rehearsal.provisional(arrival, now()), size=len(content), sha256=digest)
    judge = Judge(engine=house.engine, schemas=house.schemas, delivery=delivery)
    return rehearsal.rehearse(judge, lambda: content)


def without_owner(house: House, order: Order) -> int:
    """How many records of a file name no owner; nobody would get them when the order names none either."""
    return sum(group.count for group in rehearse_file(house, order).problems if group.code == OWNERLESS)


def _granted(house: House, wish: Wish) -> Granted:
    """What the file may have, as the API grants it; raises Rejected."""
    try:
        with reading(house.engine) as connection:
            return uploads.grant(connection, wish, folder=house.schemas)
    except Missing as problem:
        with reading(house.engine) as connection:
            known = [each.name for each in organisation.all_sources(connection)]
        raise Rejected(problem.code, problem.message, suggestion=f"known are: {', '.join(known)}") from problem
    except Invalid as problem:
        raise Rejected(problem.code, problem.message) from problem


def _arrival(order: Order, granted: Granted) -> Arrival:
    """As it will be recorded; raises Rejected for a name that no delivery may have, and for a file too large."""
    name = names.label(order.file.name)
    if reason := names.problem(name):
        raise Rejected("name_unusable", f"the name {name!r} {reason}", suggestion="rename the file")
    size = order.file.stat().st_size
    if size > granted.limit:
        whose = "an upload" if granted.source == UPLOAD else "this source"
        raise Rejected("too_large", f"{order.file} has {size:,} bytes; {whose} takes at most {granted.limit:,}")
    return Arrival(
        source=granted.source,
        login=order.login,
        peer="local",
        protocol="import",
        name=name,
        folder=granted.folder,
        completeness=Completeness.PROVEN,
        evidence="read to its end by ingestd import",
        default_owner=granted.default_owner,
        mapping=granted.mapping,
    )


def _bring_to_end(house: House, delivery_id: int, progress: Progress, lock: Lock) -> None:
    """While a daemon holds the lock the work is its own; should it end meanwhile, the work is ours."""
    task = progress.add_task("wait for the daemon", total=len(STAGES))
    pause = threading.Event()
    begun = time.monotonic()
    while not (delivery := _known(house, delivery_id)).state.final:
        if lock.taken():
            progress.remove_task(task)
            return _load(house, delivery_id, progress)
        if delivery.stage in STAGES:
            progress.update(task, description=delivery.stage, completed=STAGES.index(delivery.stage))
        elif time.monotonic() - begun > QUEUE_SECONDS:
            progress.update(task, description=f"{delivery.state}; {house.dispatcher.health()['ready']} before it")
        pause.wait(POLL_SECONDS)
    return None


def _known(house: House, delivery_id: int) -> Delivery:
    delivery = house.ledger.get(delivery_id)
    assert delivery is not None
    return delivery


def _land(house: House, order: Order, granted: Granted, progress: Progress) -> int:
    arrival = _arrival(order, granted)
    landing = Landing(house.spool, house.ledger, ring=lambda: None)
    task = progress.add_task("receive", total=order.file.stat().st_size or 1)
    try:
        with closing(landing.open(granted.limit)) as incoming, order.file.open("rb") as source_file:
            while piece := source_file.read(PIECE):
                incoming.write(piece)
                progress.update(task, advance=len(piece))
            receipt = landing.accept(incoming, arrival)
            assert receipt.delivery_id is not None, "without a prover every file is a delivery"
            return receipt.delivery_id
    except OSError as problem:
        raise Unavailable(f"{order.file} could not be kept: {problem}") from problem


def _load(house: House, delivery_id: int, progress: Progress) -> None:
    """Travels the road here; the home's lock is held, so no daemon does the same."""
    task = progress.add_task("load", total=len(STAGES))

    def onlooker(stage: str) -> None:
        progress.update(task, description=stage, completed=STAGES.index(stage))

    road_of(house).travel(delivery_id, onlooker)
    house.dispatcher.done(delivery_id)
    publisher_of(house).sweep()
