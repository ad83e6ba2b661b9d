"""One landing for every door: durable bytes, then one transaction, then the door's ok."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection

from ingestd.errors import Unavailable
from ingestd.model import Arrival
from ingestd.receive.companions import LARGEST, Kind, kind_of, parse
from ingestd.receive.prover import Prover
from ingestd.spool import Incoming, Kept, Landed, Recorded, Spool

Also = Callable[[Connection, int], None]
"""What is written in the transaction of a delivery, whose number it is told; raises to have all of it taken back."""


def _nothing(_connection: Connection, _delivery_id: int) -> None:
    """Nothing else belongs to the delivery."""


class Ledger(Protocol):
    """What the doors need from the store."""

    def record(
        self, arrival: Arrival, landed: Landed, *, hold: bool = False, heed: bool = False, also: Also = ...
    ) -> Recorded:
        """One transaction {delivery row, job, `also`}; no job with `hold`, or for a heeded companion.

        Raises Unavailable.
        """

    def known_spool_key(self, key: str) -> bool:
        """True when a delivery that needs its bytes names this key. Raises Unavailable."""

    def latest_named(self, source: str, folder: str, name: str) -> Kept | None:
        """What came last under this name. Raises Unavailable."""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The promise to the sender: these bytes are kept, under this number."""

    delivery_id: int | None
    """None for a companion, which is no delivery."""
    size: int
    """bytes"""
    sha256: str
    duplicate_of: int | None = None
    """Set when the same file had come before; then it is not loaded again."""
    told: str = ""
    """What companions have to do with it."""

    def __str__(self) -> str:
        kept, told = f"{self.size} bytes, sha256 {self.sha256}", f"; {self.told}" if self.told else ""
        if self.delivery_id is None:
            return f"companion received: {self.told}"
        if self.duplicate_of is not None:
            return f"duplicate of delivery {self.duplicate_of}: {kept}{told}"
        return f"delivery {self.delivery_id} received: {kept}{told}"


DOUBT_SECONDS = 60.0
"""After a connection broke, the database needs no longer to end what it was told on it."""


class Landing:
    """Takes files from the doors. Safe to use from several threads when the ledger is."""

    def __init__(
        self,
        spool: Spool,
        ledger: Ledger,
        ring: Callable[[], None],
        *,
        prover: Prover | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ring` is the doorbell to the workers. It must not raise: the delivery is safe by then.

        Without a prover every file is a delivery, and its own proof.
        """
        self._clock = clock
        self._doubtful: deque[tuple[float, str]] = deque()
        self._spool = spool
        self._ledger = ledger
        self._ring = ring
        self._prover = prover

    def open(self, limit: int) -> Incoming:
        """A file to write what arrives into."""
        return self._spool.open(limit=limit)

    def adopt(self, source: Path, limit: int) -> Incoming:
        """A file with the content of one that lies in a folder; see `Spool.adopt`."""
        return self._spool.adopt(source, limit=limit)

    def check_room(self, size: int) -> None:
        """Raise ENOSPC when so many bytes would not fit."""
        self._spool.check_room(size)

    def accept(self, incoming: Incoming, arrival: Arrival, also: Also = _nothing, *, ahead: bool = False) -> Receipt:
        """Keep the file. When this returns it survives a power cut; when it raises, nothing was kept.

        But for Rejected: then the file was kept and refused, because it is not what its companion says. Companions
        themselves (`leads.csv.sha256`) are held against their file and are no deliveries. With `ahead` that file is the
        one which is accepted next under its name, whatever came before.
        """
        companion = kind_of(arrival.name) if self._prover else None
        if companion is not None:
            return self._accept_companion(incoming, arrival, *companion, ahead=ahead)
        try:
            landed = incoming.commit()
            recorded = self._record(arrival, landed, also)
        finally:
            incoming.close()
        if recorded.duplicate_of is not None:
            self._spool.discard(landed.key)
        if recorded.proved or (recorded.duplicate_of is None and not recorded.held):
            self._ring()
        return Receipt(
            delivery_id=recorded.delivery_id,
            size=landed.size,
            sha256=landed.sha256,
            duplicate_of=recorded.duplicate_of,
            told=self._told(arrival, recorded),
        )

    def _accept_companion(
        self, incoming: Incoming, arrival: Arrival, about: str, kind: Kind, *, ahead: bool
    ) -> Receipt:
        assert self._prover is not None
        try:
            incoming.check_whole()
            with Path(incoming.name).open("rb") as file:
                value = parse(kind, file.read(LARGEST + 1), about)
            told = self._prover.companion(arrival, about, kind, value, ahead=ahead)
            return Receipt(delivery_id=None, size=incoming.size, sha256=incoming.digest(), told=told)
        finally:
            incoming.close()

    def _told(self, arrival: Arrival, recorded: Recorded) -> str:
        if recorded.proved:
            return f"that proves it: {arrival.evidence}"
        return self._settled(recorded.duplicate_of or recorded.delivery_id) if recorded.held else ""

    def _settled(self, delivery_id: int) -> str:
        """What companions say about a file that was held; it is recorded, so the sweep can settle it as well."""
        assert self._prover is not None
        try:
            return self._prover.settle(delivery_id)
        except Unavailable:
            return "its companions are looked at later"

    def _record(self, arrival: Arrival, landed: Landed, also: Also) -> Recorded:
        try:
            if self._prover is None:
                return self._ledger.record(arrival, landed, also=also)
            return self._ledger.record(arrival, landed, hold=self._prover.holds(arrival), heed=True, also=also)
        except BaseException:
            self._take_back(landed.key)
            raise

    def _take_back(self, key: str) -> None:
        """Remove the bytes, unless their row was committed after all: a connection can break after COMMIT was sent.

        The sender is told to try again and gets `duplicate of` then. If the ledger cannot be asked either, the bytes
        stay until it can.
        """
        try:
            if not self._ledger.known_spool_key(key):
                self._spool.discard(key)
        except Unavailable:
            self._doubtful.append((self._clock(), key))

    def settle_doubts(self) -> int:
        """Removes files of refused uploads whose row was not written after all; returns how many were looked at.

        Else partners who keep trying while the database is away would fill the disk. Raises Unavailable while it is.
        """
        settled = 0
        while self._doubtful and self._clock() - self._doubtful[0][0] >= DOUBT_SECONDS:
            key = self._doubtful[0][1]
            if not self._ledger.known_spool_key(key):
                self._spool.discard(key)
            self._doubtful.popleft()
            settled += 1
        return settled

    def latest_named(self, source: str, folder: str, name: str) -> Kept | None:
        """What came last under this name; slow, so not on a loop. Raises Unavailable."""
        return self._ledger.latest_named(source, folder, name)

    def pieces(self, kept: Kept) -> Iterator[bytes]:
        """The bytes of a file that has landed; slow. Raises OSError and Unavailable."""
        return self._spool.pieces(kept.spool_key)
