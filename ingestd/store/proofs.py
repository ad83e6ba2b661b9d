"""Proofs: what companions say about deliveries, and what follows for a delivery, each in one transaction.

A delivery that is only `received` waits. It is released into the queue, or refused; both also reach one that was queued
before its companion came, and a worker that has it in hand then is fenced off by the epoch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, delete, exists, func, insert, select, update
from sqlalchemy.sql import Select

from ingestd.errors import Rejected
from ingestd.model import Completeness, Delivery, State
from ingestd.store import forerunners
from ingestd.store.engine import reading, writing
from ingestd.store.ledger import Clock, Submit, delivery_of, give_up_pool, now, reasons
from ingestd.store.tables import companions, deliveries, sources

REVIVABLE = ("digest_mismatch", "proof_missing", "control_total_mismatch")
"""Refusals that a companion which comes later, and fits, takes back."""

AT_ONCE = 500
"""companions in one statement; databases take a limited number of values"""

_OPEN = (State.RECEIVED, State.QUEUED, State.RUNNING, State.AWAITING_CONFIRMATION)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Companion:
    """What one companion says."""

    id: int
    kind: str
    value: str
    """a digest in lower-case hexadecimal, a number of records, or empty for a marker"""
    file: str
    """the companion's own name"""
    source: str
    folder: str
    name: str
    """the file that it speaks of"""
    received_at: datetime
    delivery_id: int | None
    """the delivery that it was held against and fits, or came before; None while it waits for one"""


_UNUSED = companions.c.delivery_id.is_(None)
# No results of what waits were handed back, so the small index of the unpublished finds it.
_WAITS = (deliveries.c.published_at.is_(None), deliveries.c.state == State.RECEIVED)
_SAID = tuple(companions.c[each.name] for each in dataclasses.fields(Companion))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Proofs:
    """Companions and waiting deliveries of one store. `submit` is the dispatcher's, as in the ledger."""

    engine: Engine
    submit: Submit
    clock: Clock = now

    def keep(self, *, source: str, folder: str, name: str, kind: str, value: str, file: str) -> None:
        """Notes what a companion says about the file `name`; a new one takes the place of one that nothing used yet."""
        about = {"source": source, "folder": folder.lower(), "name": name, "kind": kind}
        with writing(self.engine) as connection:
            # The same lock as `Ledger.record` takes: either it sees this companion, or we see its delivery.
            connection.execute(select(sources.c.id).where(sources.c.name == source).with_for_update())
            same = [companions.c[column] == said for column, said in about.items()]
            connection.execute(delete(companions).where(*same, companions.c.delivery_id.is_(None)))
            values = {**about, "value": value, "file": file, "received_at": self.clock()}
            connection.execute(insert(companions).values(values))

    def concerned(self, *, source: str, folder: str, name: str) -> Delivery | None:
        """The delivery of the file that came last under a name, of which a companion speaks; None when none has come.

        When that was a duplicate, it is the delivery that it repeats.
        """
        table = deliveries.c
        its_own = func.coalesce(table.duplicate_of, table.id)
        return self._one(table.id == _last(source, folder, name).with_only_columns(its_own).scalar_subquery())

    def get(self, delivery_id: int) -> Delivery | None:
        """One delivery by its number."""
        return self._one(deliveries.c.id == delivery_id)

    def came_last(self, delivery: Delivery) -> datetime | None:
        """When the file of a delivery came, the last time; None when another one of its name has come since."""
        table, last = deliveries.c, _last(delivery.source, delivery.folder, delivery.name)
        its_own = func.coalesce(table.duplicate_of, table.id)
        with reading(self.engine) as connection:
            found = connection.execute(last.with_only_columns(its_own, table.received_at)).one()
        moment: datetime = found.received_at
        return moment if found[0] == delivery.id else None

    def _one(self, this: ColumnElement[bool]) -> Delivery | None:
        with reading(self.engine) as connection:
            row = connection.execute(select(deliveries).where(this)).mappings().one_or_none()
        return None if row is None else delivery_of(row)

    def of(self, delivery: Delivery) -> list[Companion]:
        """What was said about a delivery, first things first, and what waits for a file of its name."""
        table = companions.c
        about = (table.source == delivery.source, table.folder == delivery.folder.lower(), table.name == delivery.name)
        mine = table.delivery_id.is_(None) | (table.delivery_id == delivery.id)
        query = select(*_SAID).where(*about, mine).order_by(table.id)
        with reading(self.engine) as connection:
            found = [Companion(**row) for row in connection.execute(query).mappings()]
        waiting = {companion.kind: companion for companion in found if companion.delivery_id is None}
        return [*(companion for companion in found if companion.delivery_id is not None), *waiting.values()]

    def release(
        self,
        delivery: Delivery,
        said: Sequence[Companion],
        *,
        completeness: Completeness,
        evidence: str,
        expected_records: int | None,
    ) -> bool | None:
        """Lets a delivery into the queue, or takes its refusal back; True when it was queued by this.

        One that has ended otherwise only learns its evidence. None, and nothing done, when it has moved on since it
        was read.
        """
        known = {"completeness": completeness, "evidence": evidence, "expected_records": expected_records}
        with writing(self.engine) as connection:
            if not _unmoved(connection, delivery):
                return None
            queued = delivery.state in (State.RECEIVED, State.REFUSED) or _counted_too_late(delivery, expected_records)
            if queued:
                known |= self._again(delivery)
                self.submit(connection, delivery.id)
            _change(connection, delivery, known)
            _use(connection, delivery, said)
        return queued

    def _again(self, delivery: Delivery) -> dict[str, Any]:
        """A worker that has it in hand has read it without what is known now: the epoch fences it off."""
        fresh = {"reason": "", "reason_code": "", "suggestion": "", "finished_at": None, "published_at": None}
        moment = self.clock()
        return {**fresh, "state": State.QUEUED, "epoch": delivery.epoch + 1, "attempts": 0, "queued_at": moment}

    def refuse(self, delivery: Delivery, why: Rejected) -> bool:
        """Ends a delivery that is not proven; False when it has moved on since it was read, perhaps to its end.

        The companion is unused again: the file may be sent once more and then fit.
        """
        doubted = {"completeness": Completeness.ASSUMED, "evidence": f"{delivery.evidence}; but {why.message}"}
        ended = {
            "state": State.REFUSED,
            "stage": "",
            "epoch": delivery.epoch + 1,
            "finished_at": self.clock(),
            "published_at": None,
            **doubted,
        }
        with writing(self.engine) as connection:
            if delivery.state not in _OPEN or not _unmoved(connection, delivery):
                return False
            _change(connection, delivery, {**ended, **reasons(why)})
            if delivery.state is State.RECEIVED:  # they came before it, and it has used none of them
                forerunners.give_back(connection, delivery)
            give_up_pool(connection, delivery.id)
        return True

    def note(self, delivery: Delivery, evidence: str) -> None:
        """Writes down what a companion said about a delivery that had been loaded before."""
        with writing(self.engine) as connection:
            _change(connection, delivery, {"evidence": evidence})

    def waiting(self) -> list[Delivery]:
        """Every delivery that waits for its proof, oldest first."""
        query = select(deliveries).where(*_WAITS).order_by(deliveries.c.id)
        with reading(self.engine) as connection:
            return [delivery_of(row) for row in connection.execute(query).mappings()]

    def spoken_of(self) -> set[int]:
        """Those of them about which a companion may have to say something."""
        its, said = deliveries.c, companions.c
        about = (said.source == its.source, said.folder == func.lower(its.folder), said.name == its.name)
        unsettled = said.delivery_id.is_(None) | (said.delivery_id == its.id)
        query = select(its.id).where(*_WAITS, *about, unsettled)
        with reading(self.engine) as connection:
            return set(connection.scalars(query))

    def oldest_unused(self) -> dict[str, datetime]:
        """Source → when the oldest came of its companions whose file has not come."""
        oldest = select(companions.c.source, func.min(companions.c.received_at)).where(_UNUSED)
        with reading(self.engine) as connection:
            return dict(connection.execute(oldest.group_by(companions.c.source)).all())

    def late(self, source: str, before: datetime) -> list[Companion]:
        """Companions of a source that came before a moment, and their file has not; some of them."""
        late = (companions.c.source == source, _UNUSED, companions.c.received_at < before)
        query = select(*_SAID).where(*late).limit(AT_ONCE)
        with reading(self.engine) as connection:
            return [Companion(**row) for row in connection.execute(query).mappings()]

    def named(self, late: Sequence[Companion]) -> list[Companion]:
        """Those of them under whose file's name something has come at any time."""
        its, said = deliveries.c, companions.c
        about = (its.source == said.source, func.lower(its.folder) == said.folder, its.name == said.name)
        query = select(said.id).where(said.id.in_([companion.id for companion in late]), exists().where(*about))
        with reading(self.engine) as connection:
            found = set(connection.scalars(query))
        return [companion for companion in late if companion.id in found]

    def forget(self, late: Sequence[Companion]) -> int:
        """Removes `late` companions; returns how many. One that was used meanwhile stays."""
        table = companions.c
        with writing(self.engine) as connection:
            mine = table.id.in_([companion.id for companion in late])
            return connection.execute(delete(companions).where(mine, _UNUSED)).rowcount


def _last(source: str, folder: str, name: str) -> Select[Any]:
    """The row of what came last under a name, duplicate or not."""
    table = deliveries.c
    about = (table.source == source, func.lower(table.folder) == folder.lower(), table.name == name)
    return select(deliveries).where(*about).order_by(table.id.desc()).limit(1)


def _counted_too_late(delivery: Delivery, expected_records: int | None) -> bool:
    """A worker is at it that does not know how many records there must be."""
    return delivery.state is State.RUNNING and expected_records != delivery.expected_records


def _unmoved(connection: Connection, delivery: Delivery) -> bool:
    table = deliveries.c
    query = select(table.state, table.epoch).where(table.id == delivery.id).with_for_update()
    return tuple(connection.execute(query).one()) == (delivery.state, delivery.epoch)


def _change(connection: Connection, delivery: Delivery, values: dict[str, Any]) -> None:
    connection.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(values))


def _use(connection: Connection, delivery: Delivery, said: Sequence[Companion]) -> None:
    mine = update(companions).where(companions.c.id.in_([companion.id for companion in said]))
    connection.execute(mine.values(delivery_id=delivery.id))
