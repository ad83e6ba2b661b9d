"""What comes back to the partner: a receipt, the log and the rejected rows, in the `results/` of the source's home.

A file of the drop folder comes back there as well: with its results in `done/` or `rejected/`, or its results alone.

Done after the delivery has ended and noted in the ledger, so a crash between the two only means that it is done again.

A home that has its store to itself hands back where the delivery was loaded. When several homes share a store, whoever
loaded it only puts it on the list of every node that has doors; each of them works through its list.
"""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal

import polars as pl
import structlog

from ingestd.errors import Unavailable
from ingestd.ingest.poollog import PoolLog
from ingestd.model import UPLOAD, Delivery, State
from ingestd.receipts import receipt
from ingestd.receive import parked, results
from ingestd.spool import Spool
from ingestd.storage import Storage
from ingestd.store.ledger import Ledger, now
from ingestd.store.nodes import ResultsDue

log = structlog.get_logger()

PRUNE_SECONDS = 3600.0
AGAIN_SECONDS = 60.0
"""How long a delivery that could not be handed back lets others go first."""

_REJECTED = (State.REFUSED, State.FAILED, State.CANCELLED)


@dataclass(kw_only=True)
class Publisher:
    """Hands results back, to the FTP home and, for files of the drop folder, beside them."""

    ledger: Ledger
    spool: Spool
    logs: Storage
    homes: Path
    keep: timedelta
    drop: Path
    """The drop folder, one subfolder a source."""
    after: Literal["done", "results", "leave"]
    """What becomes of the files that are dropped there (config/ingestd.toml)."""
    clock: Callable[[], float] = time.monotonic
    later: dict[int, float] = field(default_factory=dict)
    """delivery → when to try again, by the clock"""
    onlooker: Callable[[Delivery], None] = lambda _delivery: None
    """Is told of each delivery whose results were handed back; every ended delivery passes here."""
    pruned_at: float = field(default=-PRUNE_SECONDS)
    due: ResultsDue | None = None
    """The lists of all nodes; None when this home has the store to itself."""
    node: int | None = None
    """The node of this home."""

    def sweep(self) -> None:
        """Publishes whatever ended without it, such as duplicates and dead letters; prunes now and then."""
        self.later = {each: due for each, due in self.later.items() if due > self.clock()}
        try:
            waiting = self.ledger.unpublished(but=self.later)
        except Unavailable as problem:
            waiting = []
            log.warning("results_not_published", error=str(problem))
        for delivery in waiting:
            self._try(delivery)
        if self.clock() - self.pruned_at >= PRUNE_SECONDS:
            self.pruned_at = self.clock()
            self._prune()

    def _prune(self) -> None:
        """Results that were kept long enough, and uploads that were never renamed to their final name."""
        for folder in self._all_folders():
            results.prune(folder, keep=self.keep, now=now())
        for home in self.homes.iterdir() if self.homes.is_dir() else ():
            parked.prune_parked(home, keep=parked.KEEP, now=now())

    def _try(self, delivery: Delivery) -> None:
        """One that cannot be handed back does not hold up the others."""
        try:
            self.publish(delivery)
        except Unavailable as problem:
            self._put_off(delivery, problem)

    def _put_off(self, delivery: Delivery, problem: Unavailable) -> None:
        self.later[delivery.id] = self.clock() + AGAIN_SECONDS
        log.warning("results_not_published", delivery=delivery.id, error=str(problem))

    def publish(self, delivery: Delivery) -> None:
        """Hands back the results of an ended delivery, or has every node do so, unless that was done.

        Raises Unavailable to be tried again.
        """
        if not delivery.state.final or delivery.published_at is not None:
            return
        if self.due is None:
            self._write(delivery)
            self.ledger.published(delivery)
            self.onlooker(delivery)
        elif self.ledger.published(delivery, self.due.announce):
            self.onlooker(delivery)

    def publish_again(self, delivery: Delivery) -> None:
        """Hands back results that have changed since, as after anonymising: here, or by the lists of every node.

        Raises Unavailable.
        """
        if not delivery.state.final:
            return
        if self.due is None:
            self._write(delivery)
        else:
            self.due.announce_again(delivery.id)

    def work_off(self, *, until: Callable[[], bool] = lambda: False) -> None:
        """Hands back what is on the list of this node; raises Unavailable while the store is away."""
        assert self.due is not None, "a home that has its store to itself has no list"
        assert self.node is not None, "only a daemon has a list"
        self.later = {each: due for each, due in self.later.items() if due > self.clock()}
        while not until() and (listed := self.due.of(self.node, but=self.later)):
            done = [entry for each, entries in listed.items() if self._handed_back(each) for entry in entries]
            self.due.done(done)

    def _handed_back(self, delivery_id: int) -> bool:
        """True when this entry of the list is done with: a delivery that was taken up again will be listed again."""
        delivery = self.ledger.get(delivery_id)
        if delivery is None or not delivery.state.final:
            return True
        try:
            self._write(delivery)
        except Unavailable as problem:
            self._put_off(delivery, problem)
            return False
        return True

    def _write(self, delivery: Delivery) -> None:
        if delivery.source == UPLOAD:
            return  # no partner waits for it in a folder
        try:
            parts = dict(self._parts(delivery))
            results.publish(self.homes / delivery.source / results.RESULTS, delivery.name, delivery.id, parts)
            if delivery.protocol == "folder" and self.after != "leave" and self._took(delivery):
                self._publish_beside(delivery, parts)
        except (OSError, pl.exceptions.PolarsError) as problem:
            raise Unavailable(f"the results of delivery {delivery.id} cannot be written: {problem}") from problem

    def _took(self, delivery: Delivery) -> bool:
        """Whether the file came from the drop folder of this home."""
        return self.due is None or delivery.node_id == self.node

    def _publish_beside(self, delivery: Delivery, parts: Mapping[str, bytes]) -> None:
        base = self.drop / delivery.source
        if not base.is_dir():  # a share that is not mounted: what was written below its mount point would be hidden
            raise FileNotFoundError(errno.ENOENT, f"the drop folder of {delivery.source} is not there")
        if self.after == "results":
            results.publish(base / results.RESULTS, delivery.name, delivery.id, parts)
            return
        mine, other = (
            (results.REJECTED, results.DONE) if delivery.state in _REJECTED else (results.DONE, results.REJECTED)
        )
        results.publish(base / mine, delivery.name, delivery.id, {**parts, **self._original(delivery)})
        results.withdraw(base / other, delivery.name, delivery.id)  # it was retried, and ended otherwise before

    def _original(self, delivery: Delivery) -> dict[str, Iterator[bytes]]:
        """The file as it came. A duplicate has the bytes of the delivery that it doubles."""
        first = self.ledger.get(delivery.duplicate_of) if delivery.duplicate_of is not None else delivery
        key = first.spool_key if first is not None else ""
        return {results.ORIGINAL: self.spool.pieces(key)} if key and self.spool.has(key) else {}

    def _all_folders(self) -> Iterator[Path]:
        yield from self.homes.glob(f"*/{results.RESULTS}")
        written = {"done": (results.DONE, results.REJECTED), "results": (results.RESULTS,), "leave": ()}
        for name in written[self.after]:
            yield from self.drop.glob(f"*/{name}")

    def _parts(self, delivery: Delivery) -> Iterator[tuple[str, bytes]]:
        yield "receipt.json", json.dumps(receipt(delivery), ensure_ascii=False, indent=1).encode() + b"\n"
        if not delivery.log_key:
            return
        written = PoolLog(storage=self.logs, key=delivery.log_key)
        yield "log.csv", b"".join(written.full())
        if delivery.state is State.COMPLETED:
            return  # nothing was rejected; asking an object store for it takes as long as a third of the rest
        rejected = b"".join(written.rejected())
        if rejected:
            yield "rejected.csv", rejected
