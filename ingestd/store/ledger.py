"""The ledger: every delivery from the door to its end, and the fence that makes loading exactly once.

A worker *begins* a delivery and is given an epoch. Whatever it does afterwards only counts when the delivery still has
that epoch at its end; a worker that was stopped and comes back late finds another epoch and is rolled back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, RowMapping, bindparam, func, insert, select, update
from sqlalchemy.sql import Select

from ingestd.errors import Rejected, Unavailable
from ingestd.model import UPLOAD, Arrival, Completeness, Counts, Delivery, Outcome, PoolState, State
from ingestd.receipts import receipt
from ingestd.spool import Kept, Landed, Recorded
from ingestd.store import audit, forerunners, outbox
from ingestd.store.audit import Deed
from ingestd.store.engine import reading, take_turn, writing
from ingestd.store.tables import deliveries, pools, receipts, sources

Clock = Callable[[], datetime]
Submit = Callable[[Connection, int], None]

_COUNTED = ("records", *Outcome)
_TAKEN = ("epoch", "attempts", "state", "started_at")
_LOADED_OR_WILL_BE = [
    state for state in State if state not in (State.REFUSED, State.FAILED, State.CANCELLED, State.DUPLICATE)
]
"""A duplicate is not loaded: what it repeats is, unless that was taken back since."""


# Built once: of what a small delivery costs in the store, building its statements anew was a third.
_IT = deliveries.c.id == bindparam("delivery")
_GET = select(deliveries).where(_IT)
_GET_LOCKED = _GET.with_for_update()
_TAKE = update(deliveries).where(_IT).values({name: bindparam(f"its_{name}") for name in _TAKEN})


DISPROVED = "digest_mismatch"
"""Why a file was refused that is not what its companion says."""


class Fenced(Unavailable):
    """Another worker has taken the delivery over; what this one did is rolled back."""


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ledger:
    """The deliveries of one store. `submit` is the dispatcher's: it adds the job in the same transaction."""

    engine: Engine
    submit: Submit
    clock: Clock = now
    node: int | None = None
    """the node that records what it receives"""

    def record(
        self,
        arrival: Arrival,
        landed: Landed,
        *,
        hold: bool = False,
        heed: bool = False,
        also: Submit = lambda _connection, _delivery: None,
    ) -> Recorded:
        """One transaction {delivery, job} for a file that is durable in the spool; raises Unavailable.

        The same name with the same bytes is a duplicate of the delivery that was or will be loaded, and gets no job.
        With `hold` it gets none either until it is proven whole; so with `heed`, when its companion came before it.
        `also` is written in the same transaction, and what it raises takes all of it back.
        """
        with writing(self.engine) as connection:
            recorded = self._record(connection, arrival, landed, hold=hold, heed=heed)
            also(connection, recorded.delivery_id)
        return recorded

    def _record(self, connection: Connection, arrival: Arrival, landed: Landed, *, hold: bool, heed: bool) -> Recorded:
        hold_source(connection, arrival.source)
        duplicate_of = loaded_as(connection, arrival, landed.sha256)
        heed = heed and forerunners.there(connection, arrival)
        if duplicate_of is not None:
            return self._record_again(connection, arrival, landed, duplicate_of, heed=heed)
        recorded = self._record_new(connection, arrival, landed, hold=hold or heed)
        if heed:
            forerunners.give(connection, arrival, recorded.delivery_id)
        return recorded

    def _record_new(self, connection: Connection, arrival: Arrival, landed: Landed, *, hold: bool) -> Recorded:
        previous = _earlier_version(connection, arrival)
        moment = self.clock()
        state = {"state": State.RECEIVED} if hold else {"state": State.QUEUED, "queued_at": moment}
        facts = {"received_at": moment, "previous_version": previous, "node_id": self.node, **state}
        delivery_id = _insert(connection, arrival, landed, **facts)
        if not hold:
            self.submit(connection, delivery_id)
        return Recorded(delivery_id=delivery_id, previous_version=previous, held=hold)

    def _record_again(
        self, connection: Connection, arrival: Arrival, landed: Landed, first: int, *, heed: bool
    ) -> Recorded:
        """A duplicate ends as it comes, and its bytes are not kept; but it may prove the first one."""
        moment = self.clock()
        ended = {"state": State.DUPLICATE, "finished_at": moment, "duplicate_of": first, "spool_key": ""}
        delivery_id = _insert(connection, arrival, landed, received_at=moment, node_id=self.node, **ended)
        self._announce(connection, delivery_id, State.DUPLICATE)
        proved = self._prove(connection, first, arrival)
        waits = _waits(connection, first)
        if heed and waits:
            forerunners.give(connection, arrival, first)
        held = not proved and (waits or heed)
        return Recorded(delivery_id=delivery_id, duplicate_of=first, proved=proved, held=held)

    def _prove(self, connection: Connection, delivery_id: int, again: Arrival) -> bool:
        """The same file has come again in a way that proves it: what waited for a proof is let into the queue."""
        if again.completeness is not Completeness.PROVEN:
            return False
        waiting = update(deliveries).where(deliveries.c.id == delivery_id, deliveries.c.state == State.RECEIVED)
        evidence = f"{again.evidence}, when it came again by {again.protocol}"
        known = {"completeness": Completeness.PROVEN, "evidence": evidence}
        queued = {"state": State.QUEUED, "queued_at": self.clock()}
        if connection.execute(waiting.values({**known, **queued})).rowcount == 0:
            return False
        self.submit(connection, delivery_id)
        return True

    def known_spool_key(self, key: str) -> bool:
        """Whether a delivery names this file of the spool."""
        with reading(self.engine) as connection:
            return connection.scalar(select(deliveries.c.id).where(deliveries.c.spool_key == key)) is not None

    def begin(self, delivery_id: int, *, max_attempts: int) -> Delivery | None:
        """Takes a delivery up under a new epoch; None when there is nothing to do.

        That is so when it has ended already, and when it was attempted too often: then it ends here, as a dead letter.
        """
        with writing(self.engine) as connection:
            delivery = _one(connection, delivery_id)
            if delivery.state.final:
                return None
            if delivery.attempts >= max_attempts:
                self._bury(connection, delivery)
                return None
            taken = {
                "epoch": delivery.epoch + 1,
                "attempts": delivery.attempts + 1,
                "state": State.RUNNING,
                "started_at": self.clock(),
            }
            its = {f"its_{name}": value for name, value in taken.items()}
            connection.execute(_TAKE, {"delivery": delivery_id, **its})
        return dataclasses.replace(delivery, **taken)  # type: ignore[arg-type]

    def _bury(self, connection: Connection, delivery: Delivery) -> None:
        last = delivery.reason or "the worker died without a word; it may have run out of memory"
        values = {
            "state": State.FAILED,
            "stage": "",
            "finished_at": self.clock(),
            "reason_code": "gave_up",
            "reason": f"given up after {delivery.attempts} attempts; the last error: {last}",
            "suggestion": "an operator must look at the daemon's log; the file is kept and can be retried",
        }
        connection.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(values))
        self._announce(connection, delivery.id, State.FAILED)

    def _announce(self, connection: Connection, delivery_id: int, state: State) -> None:
        """Tells webhooks how a delivery has ended, in the transaction in which it does."""

        def facts() -> dict[str, Any]:
            ended = delivery_of(connection.execute(_GET, {"delivery": delivery_id}).mappings().one())
            return {"source": ended.source, **receipt(ended)}

        outbox.announce(connection, f"delivery.{state}", self.clock(), facts)

    def note(self, delivery: Delivery, *, stage: str | None = None, error: str | None = None) -> None:
        """Tells onlookers what a running delivery is doing, or why an attempt ended; says nothing once fenced."""
        told = {name: value for name, value in (("stage", stage), ("reason", error)) if value is not None}
        with writing(self.engine) as connection:
            connection.execute(update(deliveries).where(*_mine(delivery)).values(told))

    def postpone(self, delivery: Delivery, why: str) -> None:
        """Puts a delivery back because something of ours is away; that attempt does not count against the file."""
        again = {"state": State.QUEUED, "stage": "", "attempts": delivery.attempts - 1, "reason": why}
        with writing(self.engine) as connection:
            connection.execute(update(deliveries).where(*_mine(delivery)).values(again))

    def finish(self, connection: Connection, delivery: Delivery, state: State, **facts: Any) -> None:
        """Ends a delivery, last in the transaction that loaded it; raises Fenced when it is no longer this worker's."""
        values = {"stage": "", "reason": "", **facts, "state": state, "finished_at": self.clock()}
        ended = connection.execute(update(deliveries).where(*_mine(delivery)).values(values))
        if ended.rowcount != 1:
            raise Fenced(f"delivery {delivery.id} was taken over; epoch {delivery.epoch} is past")
        self._announce(connection, delivery.id, state)

    def receipt(self, connection: Connection, delivery: Delivery) -> None:
        """Says in the loading transaction that the delivery is loaded; a second receipt violates the primary key."""
        values = {"delivery_id": delivery.id, "epoch": delivery.epoch, "committed_at": self.clock()}
        connection.execute(insert(receipts).values(values))

    def refuse(self, delivery: Delivery, why: Rejected, *, log_key: str, state: State = State.REFUSED) -> None:
        """Ends a delivery whose file cannot be loaded, with the reason a partner understands."""
        with writing(self.engine) as connection:
            self.finish(connection, delivery, state, **reasons(why), log_key=log_key)

    def get(self, delivery_id: int) -> Delivery | None:
        """One delivery by its number."""
        with reading(self.engine) as connection:
            return self.find(connection, delivery_id)

    def find(self, connection: Connection, delivery_id: int) -> Delivery | None:
        """The same as a transaction sees it, which does not hold it."""
        found = connection.execute(_GET, {"delivery": delivery_id}).mappings().one_or_none()
        return None if found is None else delivery_of(found)

    def of_pool(self, pool_id: int) -> Delivery | None:
        """The delivery that became a pool."""
        its_own = select(pools.c.delivery_id).where(pools.c.id == pool_id).scalar_subquery()
        return self._find(deliveries.c.id == its_own)

    def latest(
        self,
        *,
        limit: int,
        before: int | None = None,
        source: str | None = None,
        states: Collection[State] = (),
        name: str | None = None,
    ) -> list[Delivery]:
        """The newest deliveries first, from the one before the number `before` on."""
        query = select(deliveries).order_by(deliveries.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(deliveries.c.id < before)
        if source is not None:
            query = query.where(deliveries.c.source == source)
        if states:
            query = query.where(deliveries.c.state.in_(states))
        if name is not None:
            query = query.where(deliveries.c.name == name)
        return self._all(query)

    def unpublished(self, *, limit: int = 100, but: Collection[int] = ()) -> list[Delivery]:
        """Ended deliveries whose results have not been handed back to the partner yet, oldest first; without `but`."""
        ended = [state for state in State if state.final]
        query = select(deliveries).where(deliveries.c.state.in_(ended), deliveries.c.published_at.is_(None))
        return self._all(query.where(deliveries.c.id.not_in(but)).order_by(deliveries.c.id).limit(limit))

    def waiting(self) -> int:
        """How many deliveries wait for proof that they are whole."""
        # No results of theirs were handed back, so the small index of the unpublished finds them.
        waiting = (deliveries.c.published_at.is_(None), deliveries.c.state == State.RECEIVED)
        with reading(self.engine) as connection:
            return connection.scalar(select(func.count()).select_from(deliveries).where(*waiting)) or 0

    def last_success(self) -> dict[str, datetime]:
        """When each source last had a delivery loaded, all rows or some; walks the whole ledger."""
        loaded = deliveries.c.state.in_([State.COMPLETED, State.COMPLETED_WITH_REJECTS])
        latest = select(deliveries.c.source, func.max(deliveries.c.finished_at)).where(loaded)
        with reading(self.engine) as connection:
            found = connection.execute(latest.group_by(deliveries.c.source)).all()
        return {source: moment for source, moment in found if moment is not None}

    def published(self, delivery: Delivery, then: Submit | None = None) -> bool:
        """Notes that the results lie where the partner finds them, unless the delivery was taken up again meanwhile.

        `then` is done in the same transaction. False when there was nothing to note, and then it is not done.
        """
        table = deliveries.c
        this = (table.id == delivery.id, table.epoch == delivery.epoch, table.state == delivery.state)
        note = update(deliveries).where(*this, table.published_at.is_(None)).values(published_at=self.clock())
        with writing(self.engine, forgettable=True) as connection:  # handing results back once more changes nothing
            noted = connection.execute(note).rowcount == 1
            if noted and then is not None:
                then(connection, delivery.id)
        return noted

    def retry(self, delivery_id: int, deed: Deed | None = None) -> Delivery:
        """Queues a refused, failed or cancelled delivery once more; raises Rejected when it ended in any other way.

        `deed` is for the audit; None: nobody asked for it.
        """
        with writing(self.engine) as connection:
            delivery = _one(connection, delivery_id)
            if delivery.state not in (State.REFUSED, State.FAILED, State.CANCELLED):
                raise Rejected("not_retryable", f"delivery {delivery_id} is {delivery.state}; nothing to retry")
            if _loaded_once(connection, delivery_id):
                message = f"delivery {delivery_id} was loaded and undone; its log says what it was"
                raise Rejected("not_retryable", message, suggestion="run it again: that makes a new delivery")
            _refuse_another(connection, delivery)
            fresh = {"state": State.QUEUED, "attempts": 0, "reason": "", "reason_code": "", "suggestion": ""}
            again = {**fresh, "published_at": None, "finished_at": None, "queued_at": self.clock()}
            connection.execute(update(deliveries).where(deliveries.c.id == delivery_id).values(again))
            self.submit(connection, delivery_id)
            _note(connection, deed, "delivery_retried", delivery, State.QUEUED)
        return dataclasses.replace(delivery, state=State.QUEUED, attempts=0)

    def cancel(self, delivery_id: int, deed: Deed | None = None) -> None:
        """Ends a delivery that no worker has begun; raises Rejected for any other. Its job finds it ended.

        The bytes stay, so it can be queued again; the same file may also come once more, and is no duplicate of it.
        """
        with writing(self.engine) as connection:
            delivery = _one(connection, delivery_id)
            if delivery.state not in (State.RECEIVED, State.QUEUED, State.AWAITING_CONFIRMATION):
                raise Rejected("not_cancellable", f"delivery {delivery_id} is {delivery.state}; nothing to cancel")
            why = Rejected("cancelled", "cancelled before it was loaded", suggestion="send the file again")
            self.call_off(connection, delivery, why)
            _note(connection, deed, "delivery_cancelled", delivery, State.CANCELLED)

    def call_off(self, connection: Connection, delivery: Delivery, why: Rejected) -> None:
        """Ends a delivery that is not to be loaded, or is loaded no more; results of it are handed back anew."""
        ended = {"state": State.CANCELLED, "finished_at": self.clock(), "published_at": None}
        this = update(deliveries).where(deliveries.c.id == delivery.id)
        connection.execute(this.values({**ended, **reasons(why)}))
        give_up_pool(connection, delivery.id)
        self._announce(connection, delivery.id, State.CANCELLED)

    def confirm(self, connection: Connection, delivery: Delivery, mapping: str | None) -> None:
        """Queues a delivery that waits for its confirmation; columns that match no field are ignored from now on.

        `mapping` is the delivery's own from now on, as JSON.
        """
        again = {"state": State.QUEUED, "attempts": 0, **reasons(Rejected("", "")), "confirmed_at": self.clock()}
        fresh = {"published_at": None, "finished_at": None, "queued_at": self.clock(), "mapping": mapping}
        connection.execute(update(deliveries).where(deliveries.c.id == delivery.id).values({**again, **fresh}))
        self.submit(connection, delivery.id)

    def run_again(self, connection: Connection, delivery: Delivery, landed: Landed, mapping: str | None) -> int:
        """A new delivery of the bytes of an older one, which is not loaded or loaded no more; its number.

        `mapping` is its own, as JSON. Raises Rejected when the same file came again since, and was or will be loaded,
        or when its digest has shown that it is another file than was meant.
        """
        _refuse_another(connection, delivery)
        same = {each.name: getattr(delivery, each.name) for each in dataclasses.fields(Arrival)}
        moment = self.clock()
        facts = {"received_at": moment, "queued_at": moment, "state": State.QUEUED, "node_id": delivery.node_id}
        known = {"previous_version": delivery.id, "rerun_of": delivery.id, "confirmed_at": moment}
        asked = {"mapping": mapping, "expected_records": delivery.expected_records}
        number = _insert(connection, Arrival(**same), landed, **facts, **known, **asked)
        self.submit(connection, number)
        return number

    def taken(self, connection: Connection, delivery_id: int) -> Delivery:
        """A delivery that nobody else changes before this transaction ends."""
        return _one(connection, delivery_id)

    def latest_named(self, source: str, folder: str, name: str) -> Kept | None:
        """What a source has sent last under a name; a duplicate's bytes are those of the delivery that it repeats."""
        table = deliveries.c
        this = (table.source == source, table.folder == folder, table.name == name)
        latest = select(deliveries).where(*this).order_by(table.id.desc()).limit(1)
        with reading(self.engine) as connection:
            found = connection.execute(latest).mappings().one_or_none()
            if found is None:
                return None
            its_own = found["duplicate_of"] or found["id"]
            key = connection.scalar(select(table.spool_key).where(table.id == its_own)) or ""
        return Kept(
            delivery_id=its_own,
            size=found["size"],
            sha256=found["sha256"],
            received_at=found["received_at"],
            spool_key=key,
        )

    def _find(self, this: ColumnElement[bool]) -> Delivery | None:
        found = self._all(select(deliveries).where(this))
        return found[0] if found else None

    def _all(self, query: Select[Any]) -> list[Delivery]:
        with reading(self.engine) as connection:
            rows: Sequence[RowMapping] = connection.execute(query).mappings().all()
        return [delivery_of(row) for row in rows]


def hold_source(connection: Connection, name: str) -> None:
    """Until the transaction ends: two receivers that hold the same file look one after the other."""
    connection.execute(select(sources.c.id).where(sources.c.name == name).with_for_update())
    if name == UPLOAD:  # which is no row
        take_turn(connection, name)


def _note(connection: Connection, deed: Deed | None, action: str, delivery: Delivery, state: State) -> None:
    if deed is not None:
        states = {"before": {"state": delivery.state}, "after": {"state": state}}
        audit.note(connection, deed, action, f"delivery:{delivery.id}", **states)


def give_up_pool(connection: Connection, delivery_id: int) -> None:
    """The pool of a delivery that waited for its confirmation, and is not to be loaded."""
    waiting = (pools.c.delivery_id == delivery_id, pools.c.state == PoolState.AWAITING_CONFIRMATION)
    connection.execute(update(pools).where(*waiting).values(state=PoolState.UPLOAD_FAILED))


def put_back(connection: Connection, delivery_id: int, why: str) -> None:
    """Puts a delivery back whose worker could not say so itself, since the database was away; as `Ledger.postpone`.

    Only for who knows that nobody else has begun it.
    """
    attempts = deliveries.c.attempts - 1
    again = {"state": State.QUEUED, "stage": "", "attempts": attempts, "reason": why}
    running = (deliveries.c.id == delivery_id, deliveries.c.state == State.RUNNING)
    connection.execute(update(deliveries).where(*running).values(again))


def _loaded_once(connection: Connection, delivery_id: int) -> bool:
    """Whether a delivery has its receipt: then it is not loaded a second time."""
    mine = select(receipts.c.delivery_id).where(receipts.c.delivery_id == delivery_id)
    return connection.scalar(mine) is not None


def _refuse_another(connection: Connection, delivery: Delivery) -> None:
    """Nobody looks at the digest again, so a file that was cut would be loaded as if it were whole."""
    if delivery.reason_code == DISPROVED:
        message = f"delivery {delivery.id} is not the file that was meant: {delivery.reason}"
        raise Rejected("not_retryable", message, suggestion="ask for the right file, or for its right companion")
    since = loaded_as(connection, delivery, delivery.sha256)
    if since is not None:
        message = f"the same file came again and is delivery {since}; loading it twice would double its leads"
        raise Rejected("loaded_since", message)


def reasons(why: Rejected) -> dict[str, str]:
    """A refusal as the ledger keeps it."""
    return {"reason_code": why.code, "reason": why.message, "suggestion": why.suggestion}


def _mine(delivery: Delivery) -> tuple[Any, ...]:
    """The fence: the delivery is running under this worker's epoch."""
    table = deliveries.c
    return table.id == delivery.id, table.epoch == delivery.epoch, table.state == State.RUNNING


def _same_name(place: Arrival | Delivery) -> tuple[Any, ...]:
    """The folder counts, not its capitals: it names the campaign, and one file may be meant for two campaigns."""
    table = deliveries.c
    return table.source == place.source, func.lower(table.folder) == place.folder.lower(), table.name == place.name


def loaded_as(connection: Connection, place: Arrival | Delivery, sha256: str) -> int | None:
    """The delivery of this name and content that was loaded or will be; a refused or failed one is none.

    The same file again is its duplicate.
    """
    table = deliveries.c
    same = (*_same_name(place), table.sha256 == sha256)
    alive = table.state.in_(_LOADED_OR_WILL_BE)
    return connection.scalar(select(table.id).where(*same, alive).order_by(table.id).limit(1))


def _insert(connection: Connection, arrival: Arrival, landed: Landed, **facts: Any) -> int:
    kept = {"size": landed.size, "sha256": landed.sha256, "spool_key": landed.key}
    values = {**dataclasses.asdict(arrival), **kept, **facts}
    inserted = connection.execute(insert(deliveries).values(values)).inserted_primary_key
    assert inserted is not None
    delivery_id: int = inserted[0]
    return delivery_id


def _waits(connection: Connection, delivery_id: int) -> bool:
    """Whether a delivery is not queued yet."""
    return connection.scalar(select(deliveries.c.state).where(deliveries.c.id == delivery_id)) == State.RECEIVED


def _earlier_version(connection: Connection, arrival: Arrival) -> int | None:
    table = deliveries.c
    earlier = (*_same_name(arrival), table.state != State.DUPLICATE)
    return connection.scalar(select(table.id).where(*earlier).order_by(table.id.desc()).limit(1))


def _one(connection: Connection, delivery_id: int) -> Delivery:
    """A delivery that nobody else changes before this transaction ends."""
    return delivery_of(connection.execute(_GET_LOCKED, {"delivery": delivery_id}).mappings().one())


def delivery_of(row: RowMapping) -> Delivery:
    """A row of the table of deliveries."""
    values = {name: value for name, value in row.items() if name not in _COUNTED}
    values["state"] = State(values["state"])
    values["completeness"] = Completeness(values["completeness"])
    return Delivery(**values, counts=Counts(**{str(name): row[name] for name in _COUNTED}))
