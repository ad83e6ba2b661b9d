"""Whether every received file and every pool log that the store names is there, and still what was written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from ingestd.errors import Damaged
from ingestd.ingest.poollog import PoolLog
from ingestd.spool import Spool, place
from ingestd.storage import Storage
from ingestd.store import erasures, snapshots
from ingestd.store.engine import reading
from ingestd.store.ledger import Ledger
from ingestd.store.snapshots import Named

Onlooker = Callable[[int, int], None]
"""Is told how many files and logs were read, and how many there are."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A file or a log that is not what it was."""

    delivery: int
    key: str
    """where it is, in the home or in the storage: `spool/deliveries/…` or `logs/…`"""
    what: str


@dataclass(frozen=True, kw_only=True)
class Verifier:
    """Reads everything that a store names, whole. Raises OSError and Unavailable when the storage is away."""

    ledger: Ledger
    spool: Spool
    logs: Storage

    def faults(self, onlooker: Onlooker = lambda _done, _of: None) -> Iterator[Fault]:
        """What is missing or damaged: first the files, then the logs, those of the oldest deliveries first."""
        with reading(self.ledger.engine) as connection:
            files, logs = snapshots.files(connection), snapshots.logs(connection)
        looks = [*(partial(self._file, each) for each in files), *(partial(self._log, key) for key in logs)]
        for done, look in enumerate(looks):
            onlooker(done, len(looks))
            fault = look()
            if fault is not None:
                yield fault

    def _file(self, named: Named) -> Fault | None:
        what = self._wrong(named)
        while what and (now := self._named_now(named.delivery_id)) != named:
            if now is None:
                return None
            named, what = now, self._wrong(now)  # somebody was anonymised in it meanwhile
        place_of_it = f"spool/{place(named.spool_key)}"
        return Fault(delivery=named.delivery_id, key=place_of_it, what=what) if what else None

    def _wrong(self, named: Named) -> str:
        """How a file is not what the store says of it; empty when it is."""
        digest = hashlib.sha256()
        try:
            for piece in self.spool.pieces(named.spool_key):
                digest.update(piece)
        except FileNotFoundError:
            return "missing"
        its = digest.hexdigest()
        return "" if its == named.sha256 else f"damaged: its sha256 is {its}, and {named.sha256} was received"

    def _named_now(self, number: int) -> Named | None:
        delivery = self.ledger.get(number)
        if delivery is None or not delivery.spool_key:
            return None
        with reading(self.ledger.engine) as connection:
            now = erasures.kept(connection, delivery)
        return Named(delivery_id=number, spool_key=delivery.spool_key, size=now.size, sha256=now.sha256)

    def _log(self, key: str) -> Fault | None:
        number = int(key.partition("/")[0])
        try:
            PoolLog(storage=self.logs, key=key).check()
        except FileNotFoundError:
            delivery = self.ledger.get(number)
            if delivery is None or delivery.log_key != key:  # it has got another one meanwhile
                return None
            return Fault(delivery=number, key=f"logs/{key}", what="missing")
        except Damaged as problem:
            return Fault(delivery=number, key=f"logs/{key}", what=str(problem))
        return None
