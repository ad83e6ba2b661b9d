"""The local dispatcher: at least once, oldest first, nothing lost when a worker dies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from ingestd.dispatch.local import LocalDispatcher
from ingestd.errors import Rejected, Unavailable
from ingestd.model import Arrival
from ingestd.spool import Landed
from ingestd.store.engine import writing
from ingestd.store.ledger import Ledger
from ingestd.store.tables import jobs

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Stop:
    """Stops when there is nothing left to do."""

    def __init__(self) -> None:
        self.stopped = False

    def is_set(self) -> bool:
        return self.stopped

    def wait(self) -> None:
        self.stopped = True


@dataclasses.dataclass
class Clock:
    moment: datetime = NOON

    def __call__(self) -> datetime:
        return self.moment


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def dispatcher(engine: Engine, clock: Clock) -> LocalDispatcher:
    return LocalDispatcher(engine=engine, worker="one", clock=clock)


def deliver(dispatcher: LocalDispatcher, name: str) -> int:
    ledger = Ledger(engine=dispatcher.engine, submit=dispatcher.submit)
    arrival = Arrival(source="s", login="l", peer="p", protocol="ftp", name=name)
    return ledger.record(arrival, Landed(key=name, size=1, sha256=name)).delivery_id


def drained(dispatcher: LocalDispatcher, handler: Callable[[int], None] | None = None) -> list[int]:
    seen: list[int] = []

    def handle(delivery_id: int) -> None:
        seen.append(delivery_id)
        if handler is not None:
            handler(delivery_id)

    dispatcher.run(handle, Stop())
    return seen


def ended(dispatcher: LocalDispatcher, delivery_id: int) -> None:
    ledger = Ledger(engine=dispatcher.engine, submit=dispatcher.submit)
    delivery = ledger.begin(delivery_id, max_attempts=5)
    assert delivery is not None
    ledger.refuse(delivery, Rejected("empty_file", "empty"), log_key="")


def test_jobs_come_oldest_first_and_only_once_when_done(dispatcher: LocalDispatcher) -> None:
    wanted = [deliver(dispatcher, name) for name in "abc"]
    assert drained(dispatcher, lambda delivery_id: ended(dispatcher, delivery_id)) == wanted
    assert drained(dispatcher) == []
    assert dispatcher.health() == {"ready": 0, "running": 0, "oldest_seconds": 0.0}


def test_an_unavailable_store_postpones_with_growing_pauses(dispatcher: LocalDispatcher, clock: Clock) -> None:
    deliver(dispatcher, "a")

    def away(_: int) -> None:
        raise Unavailable("the disk is away")

    assert len(drained(dispatcher, away)) == 1
    assert drained(dispatcher) == []
    clock.moment += timedelta(seconds=2)
    assert len(drained(dispatcher, lambda delivery_id: ended(dispatcher, delivery_id))) == 1


def test_the_jobs_of_a_dead_worker_are_taken_up_by_another(dispatcher: LocalDispatcher) -> None:
    delivery_id = deliver(dispatcher, "a")

    def dies(_: int) -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        drained(dispatcher, dies)
    other = dataclasses.replace(dispatcher, worker="two")
    assert drained(other) == []
    assert dispatcher.health()["running"] == 1
    assert other.release("two") == 0
    assert other.release("one") == 1
    assert drained(other, lambda each: ended(other, each)) == [delivery_id]


def test_two_workers_never_hold_the_same_job(dispatcher: LocalDispatcher) -> None:
    wanted = [deliver(dispatcher, name) for name in "abcd"]
    other = dataclasses.replace(dispatcher, worker="two")
    seen: list[int] = []

    def handle(delivery_id: int) -> None:
        if delivery_id == wanted[0]:
            seen.extend(drained(other, lambda each: ended(other, each)))
        ended(dispatcher, delivery_id)

    drained(dispatcher, handle)
    assert seen == wanted[1:]


def test_a_delivery_that_is_retried_while_its_job_ends_is_not_lost(dispatcher: LocalDispatcher) -> None:
    delivery_id = deliver(dispatcher, "a")
    ledger = Ledger(engine=dispatcher.engine, submit=dispatcher.submit)
    runs: list[int] = []

    def handle(each: int) -> None:
        ended(dispatcher, each)
        runs.append(each)
        if len(runs) == 1:
            ledger.retry(each)

    drained(dispatcher, handle)
    assert runs == [delivery_id, delivery_id]


def test_a_delivery_without_a_job_gets_one(dispatcher: LocalDispatcher) -> None:
    delivery_id = deliver(dispatcher, "a")
    with writing(dispatcher.engine) as connection:
        connection.execute(jobs.delete())
    assert dispatcher.reconcile() == 1
    assert dispatcher.reconcile() == 0
    assert drained(dispatcher, lambda each: ended(dispatcher, each)) == [delivery_id]


def test_health_says_how_long_the_oldest_waits(dispatcher: LocalDispatcher, clock: Clock) -> None:
    deliver(dispatcher, "a")
    clock.moment += timedelta(seconds=90)
    assert dispatcher.health() == {"ready": 1, "running": 0, "oldest_seconds": 90.0}
