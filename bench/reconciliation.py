"""Every file that partners sent held against ledger, spool, leads and logs; what does not fit is told in words."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from sqlalchemy import func, select

from bench.partners import Kind, Sent
from ingestd.house import House
from ingestd.ingest.poollog import PoolLog
from ingestd.model import Delivery, State
from ingestd.receive.results import RESULTS
from ingestd.store import tables
from ingestd.store.engine import reading

_LOADED = (State.COMPLETED, State.COMPLETED_WITH_REJECTS)
_ENDS = {
    Kind.GOOD: (State.COMPLETED,),
    Kind.LARGE: (State.COMPLETED,),
    Kind.DAMAGED: (State.COMPLETED_WITH_REJECTS,),
    Kind.PICTURE: (State.REFUSED,),
    Kind.PROVEN: (State.COMPLETED,),
    Kind.LATE: (State.COMPLETED,),
    # Who is cut off from the answer sends it again, after its companion was used: then nothing speaks against it.
    Kind.DISPROVED: (State.REFUSED, State.COMPLETED),
}


def mismatches(house: House, sent: Sequence[Sent]) -> list[str]:
    """Everything that is not as it must be; empty when every byte and every row is accounted for."""
    deliveries = house.ledger.latest(limit=10_000_000)
    by_name: dict[str, list[Delivery]] = defaultdict(list)
    for delivery in deliveries:
        by_name[delivery.name].append(delivery)
    found = [problem for file in sent for problem in _file(file, by_name[file.name])]
    known = {file.name for file in sent}
    found += [f"{name}: nobody sent it, but the ledger has it" for name in by_name if name not in known]
    found += _leads(house, sent, by_name)
    found += _receipts(house, deliveries)
    found += _spool(house, deliveries, {file.sha256 for file in sent})
    for delivery in deliveries:
        found += _log(house, delivery)
    return found


def _file(file: Sent, its: list[Delivery]) -> Iterator[str]:
    """An acknowledged file is one delivery, and its duplicates."""
    if file.kind is Kind.CUT:
        yield from (f"{file.name}: cut off, but delivery {each.id}" for each in its)
        return
    first = [each for each in its if each.state is not State.DUPLICATE]
    wanted = _ENDS[file.kind]
    if not first:
        yield f"{file.name}: acknowledged, but there is no delivery"
    loaded = sum(each.state in _LOADED for each in first)
    again = file.kind in (Kind.PICTURE, Kind.DISPROVED) and file.attempts > 1  # a refused file may be sent anew
    if loaded > 1 or (len(first) > 1 and not again):
        yield f"{file.name}: {len(first)} deliveries, {loaded} of them loaded"
    # A file of the drop folder that was kept and not removed when its receiver died is taken again, as a duplicate.
    most = len(its) if file.door == "folder" else file.times + file.attempts - 1
    if not file.times <= len(its) <= most:
        yield f"{file.name}: {len(its)} deliveries of {file.times} acknowledged and {file.attempts} attempts"
    for each in its:
        if each.state not in (*wanted, State.DUPLICATE):
            yield f"{file.name}: delivery {each.id} is {each.state} ({each.reason_code}), not {' or '.join(wanted)}"
        if (each.size, each.sha256) != (file.size, file.sha256):
            yield f"{file.name}: delivery {each.id} has other bytes than were sent"
        counts = each.counts
        if each.state in _LOADED and (counts.inserted, counts.rejected) != (len(file.good), file.bad):
            told = f"{counts.inserted} inserted of {len(file.good)}, {counts.rejected} rejected of {file.bad}"
            yield f"{file.name}: {told}"


def _leads(house: House, sent: Sequence[Sent], by_name: dict[str, list[Delivery]]) -> Iterator[str]:
    """Each good record of each loaded file is one lead of the pool of its delivery, and there are no others."""
    leads, pools = tables.leads.c, tables.pools.c
    query = select(leads.external_id, pools.delivery_id).join(tables.pools, pools.id == leads.pool_id)
    with reading(house.engine) as connection:
        has = Counter((row.external_id, row.delivery_id) for row in connection.execute(query))
        count = connection.scalar(select(func.count()).select_from(tables.leads))
    if count != has.total():
        yield f"{count} leads, but {has.total()} in pools of deliveries"
    wanted: Counter[tuple[str, int]] = Counter()
    for file in sent:
        for delivery in by_name[file.name]:
            if delivery.state in _LOADED:
                wanted.update((f"{file.number}-{row}", delivery.id) for row in file.good)
    for word, difference in (("missing", wanted - has), ("too many", has - wanted)):
        if difference:
            some = ", ".join(f"{name} of delivery {delivery}" for name, delivery in list(difference)[:5])
            yield f"{difference.total()} leads {word}: {some}"


def _receipts(house: House, deliveries: Sequence[Delivery]) -> Iterator[str]:
    """A receipt for each load, a pool for each receipt, and no job left."""
    with reading(house.engine) as connection:
        receipts = set(connection.scalars(select(tables.receipts.c.delivery_id)))
    loaded = {each.id for each in deliveries if each.state in _LOADED}
    if receipts != loaded:
        yield f"receipts of {sorted(receipts - loaded)[:5]} too many, of {sorted(loaded - receipts)[:5]} missing"
    health = house.dispatcher.health()
    if jobs := health["ready"] + health["running"]:
        yield f"{jobs} jobs are left"
    for each in deliveries:
        if not each.state.final or each.published_at is None:
            yield f"delivery {each.id} ({each.name}) is {each.state}, handed back: {each.published_at}"
        elif not (house.places.homes / each.source / RESULTS / f"{each.name}.receipt.json").exists():
            yield f"delivery {each.id} ({each.name}) has no receipt in results/"


def _spool(house: House, deliveries: Sequence[Delivery], sent: set[str]) -> Iterator[str]:
    """The spool has the bytes of each delivery and no others; what was put aside are attempts without an answer."""
    root = house.places.home / "spool"
    kept = {path.relative_to(root / "deliveries").as_posix(): path for path in (root / "deliveries").glob("*/*/*/*")}
    for each in deliveries:
        path = kept.pop(each.spool_key, None) if each.spool_key else None
        if each.spool_key and path is None:
            yield f"delivery {each.id} ({each.name}): its file is not in the spool"
        elif path is not None and _digest(path.read_bytes()) != each.sha256:
            yield f"delivery {each.id} ({each.name}): its file in the spool has other bytes"
        elif not each.spool_key and each.state is not State.DUPLICATE:
            yield f"delivery {each.id} ({each.name}) names no file of the spool"
    yield from (f"the spool has {key}, which no delivery names" for key in kept)
    for path in (root / "orphans").glob("*"):
        if _digest(path.read_bytes()) not in sent:
            yield f"{path.name} was put aside, and nobody has sent such bytes"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _log(house: House, delivery: Delivery) -> Iterator[str]:
    """The log tells of each row once, as often in each way as the ledger counted."""
    if not delivery.log_key:
        if delivery.state is not State.DUPLICATE and delivery.reason_code != "digest_mismatch":
            yield f"delivery {delivery.id} ({delivery.name}) has no log"
        return
    if not house.logs.has(f"{delivery.log_key}/header.json"):
        yield f"delivery {delivery.id} ({delivery.name}): its log is not there"
        return
    if delivery.state not in _LOADED:
        return
    rows = PoolLog(storage=house.logs, key=delivery.log_key).rows()
    if rows["row"].n_unique() != rows.height or rows.height != delivery.counts.records:
        yield f"delivery {delivery.id} ({delivery.name}): {rows.height} rows in its log of {delivery.counts.records}"
    ends = Counter(rows["outcome"].to_list())
    for outcome, count in ends.items():
        if getattr(delivery.counts, outcome) != count:
            yield f"delivery {delivery.id} ({delivery.name}): the log has {count} {outcome}, the ledger another number"
