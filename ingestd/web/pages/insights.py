"""What is worked out from the log and the file of a delivery, kept for a while: nobody waits twice for the same."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from ingestd.errors import Unavailable
from ingestd.ingest import insight
from ingestd.ingest import reading as sheets
from ingestd.ingest.insight import Columns, Found, Group
from ingestd.ingest.poollog import PoolLog
from ingestd.ingest.reading import Sheet
from ingestd.leads import reruns
from ingestd.model import Delivery, DialectHints
from ingestd.store import erasures, organisation
from ingestd.store.engine import reading
from ingestd.web.api.desk import Desk
from ingestd.web.pages.columns import Beginning

KEPT = 64
"""answers; each is as large as what a page shows"""
PAGE = 20
"""records of a group that are shown at once"""

T = TypeVar("T")


@dataclass(kw_only=True)
class Insights:
    """One home's."""

    desk: Desk
    kept: OrderedDict[tuple[object, ...], object] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    reading: threading.Lock = field(default_factory=threading.Lock)
    """A file of 35 MB takes some 300 MB while it is read again, so they are read one at a time."""

    def log(self, delivery: Delivery) -> PoolLog | None:
        """The log of a delivery; None while it has none."""
        return PoolLog(storage=self.desk.logs, key=delivery.log_key) if delivery.log_key else None

    def summary(self, delivery: Delivery) -> Mapping[str, Any]:
        """The header of the log; empty while there is none. Raises Unavailable when it cannot be read."""
        log = self.log(delivery)
        return {} if log is None else self._once(delivery, "summary", lambda: log.summary)

    def groups(self, delivery: Delivery) -> list[Group]:
        """Problems by code and column; raises Unavailable when the log cannot be read."""
        log = self.log(delivery)
        return [] if log is None else self._once(delivery, "groups", lambda: insight.groups(log))

    def columns(self, delivery: Delivery) -> Columns | None:
        """What is in each column; None when the file cannot be read as it was."""
        log = self.log(delivery)
        if log is None or not delivery.spool_key:
            return None

        def made() -> Columns | None:
            sheet = self._read(delivery)
            return None if sheet is None else insight.columns(sheet, log)

        return self._once(delivery, "columns", made)

    def beginning(self, delivery: Delivery, hints: DialectHints) -> Beginning:
        """What its file's columns are known by; raises Rejected when the file is no table, or was not kept."""

        def made() -> Beginning:
            with self.reading:
                data = reruns.original(self.desk.spool, self.desk.engine, delivery)
                return Beginning.of(sheets.read(data, name=delivery.name, hints=hints))

        return self._once(delivery, ("beginning", hints), made)

    def records(self, delivery: Delivery, code: str, column: str | None, after: int) -> tuple[list[Found], int | None]:
        """A page of the records with a problem, with their original lines, and the row after which the next begins."""
        log = self.log(delivery)
        if log is None:
            return [], None

        def made() -> list[Found]:
            found = insight.records(log, code=code, column=column, after=after, limit=PAGE + 1)
            sheet = self._read(delivery) if found and delivery.spool_key else None
            return found if sheet is None else insight.with_originals(sheet, found)

        found = self._once(delivery, ("records", code, column, after), made)
        return found[:PAGE], found[PAGE - 1].row if len(found) > PAGE else None

    def _read(self, delivery: Delivery) -> Sheet | None:
        desk = self.desk
        with reading(desk.engine) as connection:
            source = organisation.source(connection, delivery.source)
            kept = erasures.kept(connection, delivery)
        hints = None if source is None else source.hints()
        with self.reading:
            data = desk.spool.read(delivery.spool_key, kept.sha256)
            return insight.read_again(data, delivery.name, hints)

    def _once(self, delivery: Delivery, what: object, make: Callable[[], T]) -> T:
        """Keyed by the attempt, and by what anonymising has changed since; raises Unavailable for what is missing."""
        with reading(self.desk.engine) as connection:
            now = erasures.latest(connection, delivery.id)
        key = (delivery.id, delivery.epoch, delivery.log_key, "" if now is None else now.sha256, what)
        with self.lock:
            if key in self.kept:
                self.kept.move_to_end(key)
                return cast("T", self.kept[key])
        try:
            made = make()
        except OSError as problem:
            raise Unavailable(f"the log or file of delivery {delivery.id} cannot be read: {problem}") from problem
        with self.lock:
            self.kept[key] = made
            while len(self.kept) > KEPT:
                self.kept.popitem(last=False)
        return made
