"""The dispatcher of many machines: what is its own, beside the contract."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from ingestd import dispatch
from ingestd.dispatch.postgres import SWEEP, PostgresDispatcher
from ingestd.store.engine import reading, take_turn, writing
from tests.dispatch.labour import Stop
from tests.dispatch.serving import Shop, end, named, served
from tests.running import until

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def do(shop: Shop, statement: str) -> None:
    with writing(shop.engine) as connection:
        connection.execute(text(statement))


def sweeper(shop: Shop) -> PostgresDispatcher:
    made = named(shop, "", node="there")
    assert isinstance(made, PostgresDispatcher)
    return made


def test_a_start_gives_back_nothing_of_another_node(shop: Shop) -> None:
    shop.deliver()
    found: list[int] = []

    def look(delivery_id: int) -> None:
        if not found:
            found.extend(named(shop, "", node=node).release() for node in ("there", "her", "here"))
        end(shop, delivery_id)

    served(named(shop, "one"), look)
    assert found == [0, 0, 1]


def test_the_job_of_a_silent_worker_is_given_back_by_one_node_at_a_time(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery_id = shop.deliver()
    found: list[int] = []
    looks: list[PostgresDispatcher] = []
    sweep = PostgresDispatcher.sweep

    def seen(dispatcher: PostgresDispatcher) -> int:
        given = sweep(dispatcher)
        looks.append(dispatcher)
        return given

    def fall_silent(each: int) -> None:
        if found:
            return end(shop, each)
        until(lambda: looks, "the worker's first beat and look, of which the next are minutes away")
        found.append(sweeper(shop).sweep())
        do(shop, "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
        with writing(shop.engine) as connection:
            take_turn(connection, SWEEP)
            found.append(sweeper(shop).sweep())
        found.append(sweeper(shop).sweep())
        do(shop, "UPDATE procrastinate_workers SET last_heartbeat = now()")
        return None

    monkeypatch.setattr(PostgresDispatcher, "sweep", seen)
    patient = dispatch.of(shop.engine, node="here", worker="one", dead=timedelta(seconds=1000))
    with capture_logs() as logs:
        served(patient, fall_silent)
    assert found == [0, 0, 1]
    assert {"event": "worker_lost", "worker": "here/one", "delivery": delivery_id, "log_level": "warning"} in logs


def test_a_worker_that_was_silent_takes_nothing_before_it_is_heard_again(shop: Shop) -> None:
    first = shop.deliver()
    shop.deliver("t")

    def fall_silent(each: int) -> None:
        do(shop, "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '600 seconds'")
        end(shop, each)

    patient = dispatch.of(shop.engine, node="here", worker="one", dead=timedelta(seconds=1000))
    assert served(patient, fall_silent) == [first]


def test_a_worker_that_was_forgotten_is_known_again(shop: Shop) -> None:
    first, second = shop.deliver(), shop.deliver("t")
    forgotten: list[int] = []

    def be_forgotten(each: int) -> None:
        if not forgotten:
            forgotten.append(each)
            do(shop, "DELETE FROM procrastinate_workers")
            until(lambda: shop.dispatcher.health()["running"] == 0, "its job to be given back")
            until(lambda: count(shop, "procrastinate_workers"), "the worker to register again")
        end(shop, each)

    assert served(named(shop, "one"), be_forgotten) == [first, second, first]
    assert forgotten == [first]


def count(shop: Shop, table: str) -> int:
    with reading(shop.engine) as connection:
        return connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0


LISTENERS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query ~ '^(LISTEN|UPDATE proc)'"


def listeners(shop: Shop) -> set[int]:
    with reading(shop.engine) as connection:
        return set(connection.scalars(text(LISTENERS)))


def test_a_job_whose_end_was_lost_with_the_connection_is_given_back(shop: Shop) -> None:
    """The server has crashed after a commit that it had not flushed: what was done is not done."""
    first, second = shop.deliver(), shop.deliver("t")

    def lose(each: int) -> None:
        if each == first:
            its_own = "(SELECT worker_id FROM procrastinate_jobs WHERE status = 'doing')"
            do(shop, f"UPDATE procrastinate_jobs SET status = 'doing', worker_id = {its_own} WHERE lock = 't'")
            before = until(lambda: listeners(shop), "the heart to listen")
            do(shop, f"SELECT pg_terminate_backend(pid) FROM ({LISTENERS}) AS listeners")
            until(lambda: listeners(shop) - before, "the heart to listen again")
        end(shop, each)

    patient = dispatch.of(shop.engine, node="here", worker="one", dead=timedelta(seconds=1000))
    assert served(patient, lose) == [first, second]


def test_a_worker_hears_of_a_delivery_that_was_queued_on_another_machine(shop: Shop) -> None:
    class Asleep(Stop):
        def wait(self) -> None:
            self.rung.wait(60)
            self.rung.clear()

    stop, seen = Asleep(), threading.Event()

    def handle(each: int) -> None:
        end(shop, each)
        seen.set()

    worker = threading.Thread(target=named(shop, "one").run, args=(handle, stop))
    worker.start()
    until(lambda: listeners(shop), "the heart to listen")
    shop.deliver()
    heard = seen.wait(30)
    stop.stopped.set()
    stop.ring()
    worker.join()
    assert heard


def test_a_worker_that_ends_is_not_known_any_more_and_leaves_nothing_in_the_queue(shop: Shop) -> None:
    shop.deliver()
    served(named(shop, "one"), lambda each: end(shop, each))
    assert [count(shop, f"procrastinate_{table}") for table in ("workers", "jobs", "events")] == [0, 0, 0]
