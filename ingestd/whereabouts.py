"""Where the files of a store are: one storage, which the store remembers, and which has the store's name.

Without that, a wrong `storage.url` would look like files that were lost, and their deliveries would fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection, Engine, Row, select, update

from ingestd.errors import Misconfigured, Unavailable
from ingestd.model import LOG_HEADER
from ingestd.spool import Spool
from ingestd.storage import Storage
from ingestd.store.engine import reading, writing
from ingestd.store.tables import deliveries, identity

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Whereabouts:
    """A store and the storage that is configured for it."""

    engine: Engine
    storage: Storage
    url: str
    """as configured; empty for the home"""

    def settle(self) -> None:
        """The first home of a store decides where its files are; raises Misconfigured when that is elsewhere.

        Asks the storage only the first time, and raises Unavailable when it is away then.
        """
        with reading(self.engine) as connection:
            decided = connection.scalar(select(identity.c.storage))
        if decided is None:
            self._claim()
            self._remember()
        elif decided != self.url:
            there = decided or "the home"
            told = f"the files of this store are in {there}; copy them from there, and then run `ingestd storage adopt`"
            raise _wrong(told)

    def verify(self) -> None:
        """Raise Misconfigured when the storage is not that of the store. One that is away is told; it may come back."""
        if not self.storage.shared:
            return
        try:
            found = self.storage.name()
        except Unavailable as problem:
            log.warning("storage_away", error=str(problem))
            return
        self._compare(found)

    def adopt(self, spool: Spool) -> int:
        """Make the configured storage that of the store, once it has all files; returns how many deliveries it has.

        Raises Misconfigured when some are missing: nothing is changed then. Raises Unavailable.
        """
        there, logs, known = set(spool.keys()), set(self._logs()), 0
        with reading(self.engine) as connection:
            for number, key, log_key in _named(connection):
                known += 1
                if (key and key not in there) or (log_key and log_key not in logs):
                    told = f"{self.storage} lacks the files of delivery {number}; copy spool/deliveries and logs there"
                    raise _wrong(told)
        self._claim()
        self._remember()
        return known

    def _logs(self) -> Iterator[str]:
        for each in self.storage.found("logs"):
            if each.key.endswith(f"/{LOG_HEADER}"):
                yield each.key.removeprefix("logs/").removesuffix(f"/{LOG_HEADER}")

    def _claim(self) -> None:
        if self.storage.shared:
            self._compare(self.storage.claim(self._name()))

    def _compare(self, found: str | None) -> None:
        if found is None:
            raise _wrong(f"{self.storage} has no store-id: it is another place, or was emptied")
        if found != self._name():
            raise _wrong(f"{self.storage} is the storage of another store; choose another prefix")

    def _name(self) -> str:
        with reading(self.engine) as connection:
            return str(connection.scalar(select(identity.c.value)))

    def _remember(self) -> None:
        with writing(self.engine) as connection:
            connection.execute(update(identity).values(storage=self.url))


def _named(connection: Connection) -> Iterable[Row[int, str, str]]:
    """Every delivery that has a file or a log, with their keys."""
    table = deliveries.c
    query = select(table.id, table.spool_key, table.log_key).where((table.spool_key != "") | (table.log_key != ""))
    return connection.execute(query.execution_options(yield_per=10_000))


def _wrong(told: str) -> Misconfigured:
    return Misconfigured("ingestd.toml", "storage.url", told)
