"""What both dispatchers hold, with real workers in processes of their own: each delivery once, in order, and in turn.

On SQLite one process tree holds the home, and its supervisor knows who is gone: there the test says so in its place. On
PostgreSQL nobody says so; the workers find out by themselves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from ingestd.errors import Rejected, Unavailable
from ingestd.house import House, open_house
from ingestd.model import Arrival, Completeness, State
from ingestd.preparing import prepare_store
from ingestd.receive.landing import Landing
from ingestd.store.engine import reading, writing
from ingestd.store.ledger import now
from ingestd.store.tables import deliveries, leads
from tests.conftest import Postgres
from tests.dispatch.labour import Worker
from tests.dispatch.serving import Shop, end, named, served
from tests.running import example_config, until

ROWS = 25
SOURCE = "fibreweb"  # its campaign keeps duplicates, so a file that is loaded twice shows as leads too many


@dataclasses.dataclass(frozen=True, kw_only=True)
class Depot:
    """A shop with a home, whose deliveries are files that travel the road."""

    shop: Shop
    house: House

    def land(self, number: int = 1) -> int:
        """A file, durable in the spool and recorded, as a door leaves it."""
        phones = (f"+4526{number * ROWS + row:06}" for row in range(ROWS))
        data = ("phone,name\n" + "".join(f"{phone},Lund\n" for phone in phones)).encode()
        arrival = Arrival(
            source=SOURCE,
            login=SOURCE,
            peer="192.0.2.1",
            protocol="ftp",
            name=f"fibre_DK-AAR_{number:03}.csv",
            completeness=Completeness.PROVEN,
            evidence="told by the test",
        )
        landing = Landing(self.house.spool, self.house.ledger, ring=lambda: None)
        with contextlib.closing(landing.open(1 << 20)) as incoming:
            incoming.write(data)
            landed = landing.accept(incoming, arrival)
        assert landed.delivery_id is not None
        return landed.delivery_id

    def worker(self, name: str) -> Worker:
        return self.shop.worker(name, home=str(self.house.places.home), config=str(self.house.config))

    def check_loaded_once(self, delivery_id: int) -> None:
        assert self.shop.known(delivery_id).state is State.COMPLETED
        with reading(self.shop.engine) as connection:
            assert connection.scalar(select(func.count()).select_from(leads)) == ROWS
        assert self.shop.count_receipts() == 1


@pytest.fixture
def depot(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Depot:
    monkeypatch.setenv("INGESTD_STORE__URL", shop.url)
    house = open_house(example_config(tmp_path / "depot"), tmp_path / "home")
    shop.stack.callback(house.engine.dispose)
    prepare_store(house)
    return Depot(shop=shop, house=house)


# --- whatever dies


def test_a_delivery_whose_worker_is_killed_in_the_middle_is_taken_over_and_loaded_once(depot: Depot) -> None:
    hold, delivery_id = depot.shop.hold(), depot.land()
    first = depot.worker("one")
    first.until_told("middle", delivery_id)
    second = depot.worker("two")
    first.kill()
    killed = time.time()
    depot.shop.gone(first)
    hold.unlink()
    until(depot.shop.all_ended, "the delivery to end")
    assert second.end() == 0
    depot.check_loaded_once(delivery_id)
    ((_, _, begun),) = [note for note in second.told() if note[0] == "begun"]
    assert begun - killed < 30


def test_a_worker_that_comes_back_late_is_fenced_and_doubles_nothing(depot: Depot) -> None:
    hold, delivery_id = depot.shop.hold(), depot.land()
    first, second = depot.worker("one"), depot.worker("two")
    until(lambda: "middle" in str(first.told() + second.told()), "one of them to be in the middle")
    late, other = (first, second) if first.deliveries("middle") else (second, first)
    late.signal(signal.SIGSTOP)
    depot.shop.gone(late)
    other.until_told("middle", delivery_id)
    hold.unlink()
    other.until_told("ended", delivery_id)
    late.signal(signal.SIGCONT)
    late.until_told("postponed", delivery_id)
    until(depot.shop.all_ended, "nothing to be left")
    assert other.end() == 0  # or it might take the next one too
    following = depot.shop.deliver()  # a late worker is as good as any other one
    until(lambda: depot.shop.known(following).state.final, "the next delivery to end")
    assert late.end() == 0
    assert late.deliveries("begun") == [delivery_id, following]
    depot.check_loaded_once(delivery_id)


def test_a_store_that_goes_away_in_the_middle_costs_no_attempt(
    depot: Depot, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    hold, delivery_id = depot.shop.hold(), depot.land()
    worker = depot.worker("one")
    worker.until_told("middle", delivery_id)
    depot.shop.engine.dispose()
    depot.house.engine.dispose()
    bring_back = away(depot.shop, tmp_path, request)
    hold.unlink()
    try:
        worker.until_told("postponed", delivery_id)
    finally:
        bring_back()
    until(depot.shop.all_ended, "the delivery to end")
    assert worker.end() == 0
    delivery = depot.shop.known(delivery_id)
    assert (delivery.epoch, delivery.attempts) == (2, 1)
    depot.check_loaded_once(delivery_id)


def away(shop: Shop, folder: Path, request: pytest.FixtureRequest) -> Callable[[], None]:
    """Takes the store away; returns what brings it back."""
    if shop.many_machines:
        server: Postgres = request.getfixturevalue("postgres")
        server.stop()
        return server.resume
    (folder / "away").mkdir()
    for path in folder.glob("ingestd.db*"):
        path.rename(folder / "away" / path.name)

    def bring_back() -> None:
        for path in (folder / "away").iterdir():
            path.replace(folder / path.name)

    return bring_back


def test_what_kills_its_worker_each_time_is_a_dead_letter_and_holds_nobody_up(shop: Shop) -> None:
    deadly, behind, other = shop.deliver(), shop.deliver(), shop.deliver("t")
    for life in range(3):
        worker = shop.worker(f"worker-{life}", dies=(deadly,), max_attempts=3, dead_seconds=1.0)
        assert worker.process.wait(60) == -signal.SIGKILL
        shop.gone(worker)
    assert shop.known(other).state is State.COMPLETED
    worker = shop.worker("last", dies=(deadly,), max_attempts=3, dead_seconds=1.0)
    until(shop.all_ended, "everything to end")
    assert worker.end() == 0
    assert (shop.known(deadly).state, shop.known(deadly).reason_code) == (State.FAILED, "gave_up")
    assert shop.known(behind).state is State.COMPLETED


# --- each once, in order, in turn


def pile_up(shop: Shop, number: int, sources: Sequence[str]) -> None:
    """Many deliveries at once, for which the dispatcher makes the places in its line afterwards."""
    common = dict.fromkeys(("login", "peer", "protocol", "folder", "evidence", "spool_key"), "")
    common |= {"completeness": Completeness.ASSUMED, "state": State.QUEUED}
    moments = {"received_at": now(), "queued_at": now()}
    own = [{"source": sources[each % len(sources)], "name": f"{each}", "sha256": f"{each}"} for each in range(number)]
    with writing(shop.engine) as connection:
        connection.execute(deliveries.insert(), [{**common, **moments, "size": 1, **each} for each in own])
    assert shop.dispatcher.reconcile() == len(sources)
    assert shop.dispatcher.reconcile() == 0


def test_four_workers_load_hundreds_of_deliveries_once_each(shop: Shop) -> None:
    workers = [shop.worker(f"worker-{number}") for number in range(4)]
    pile_up(shop, 400, [f"s{each}" for each in range(8)])
    until(lambda: sum(len(each.deliveries("ended")) for each in workers) == 400, "everything to end", seconds=180)
    assert [worker.end() for worker in workers] == [0] * 4
    begun = [each for worker in workers for each in worker.deliveries("begun")]
    assert (len(begun), len(set(begun)), shop.count_receipts()) == (400, 400, 400)
    assert sum(bool(worker.deliveries("ended")) for worker in workers) > 1


def test_the_order_of_a_source_is_kept_by_two_workers_also_when_its_first_file_must_wait(shop: Shop) -> None:
    wanted = {source: [shop.deliver(source) for _ in range(6)] for source in ("s", "t")}
    told = {"puts_off": (wanted["s"][0], wanted["t"][3])}
    workers = [shop.worker(name, **told) for name in ("one", "two")]
    until(shop.all_ended, "everything to end")
    assert [worker.end() for worker in workers] == [0, 0]
    notes = sorted((at, what, number) for worker in workers for what, number, at in worker.told())
    for numbers in wanted.values():
        road = [(what, number) for _, what, number in notes if number in numbers and what != "middle"]
        again = [("begun", numbers[0]), ("postponed", numbers[0])] if road[1][0] == "postponed" else []
        late = [("begun", numbers[3]), ("postponed", numbers[3])] if not again else []
        plain = [(what, number) for number in numbers for what in ("begun", "ended")]
        assert road == [*again, *plain[:6], *late, *plain[6:]]
        assert [shop.known(number).attempts for number in numbers] == [1] * 6


def test_one_file_does_not_wait_for_all_those_of_another_source(shop: Shop) -> None:
    pile_up(shop, 400, ["many"])
    worker = shop.worker("one")
    until(lambda: len(worker.deliveries("ended")) > 5, "the first ones to end")
    single = shop.deliver("single")
    worker.until_told("begun", single)
    submitted = shop.known(single).received_at.timestamp()
    between = [at for what, _, at in worker.told() if what == "begun" and at > submitted]
    others = between.index(max(at for _, number, at in worker.told() if number == single and at in between))
    assert others < 50  # two by the line; the rest began before the worker's next look, by clocks of two processes
    assert len(worker.deliveries("ended")) < 400
    assert worker.end() == 0


SOURCES = st.sampled_from("abc")


@given(first=st.lists(SOURCES, min_size=1, max_size=6), later=st.lists(st.lists(SOURCES, max_size=3), max_size=6))
@settings(max_examples=15)
def check_turns(shop: Shop, first: list[str], later: list[list[str]]) -> None:
    """The rule in full: sources go one after the other, each with its oldest file, and whoever comes stands behind."""
    line: list[str] = []
    waiting: dict[str, list[int]] = {source: [] for source in "abc"}
    expected: list[int] = []
    arriving = iter(later)

    def arrive(source: str) -> None:
        if source not in line:
            line.append(source)
        waiting[source].append(shop.deliver(source))

    def handle(delivery_id: int) -> None:
        source = line[0]
        expected.append(waiting[source].pop(0))
        for each in next(arriving, []):
            arrive(each)
        end(shop, delivery_id)
        line.pop(0)
        if waiting[source]:
            line.append(source)

    for source in first:
        arrive(source)
    assert served(named(shop, "one"), handle) == expected
    assert not line


def test_sources_take_turns_and_each_keeps_its_order(shop: Shop) -> None:
    check_turns(shop)


# --- what is submitted, given back and known


def test_a_delivery_that_is_submitted_twice_is_handed_out_once(shop: Shop) -> None:
    delivery_id = shop.deliver()
    for _ in range(2):
        with writing(shop.engine) as connection:
            shop.dispatcher.submit(connection, delivery_id)
            shop.dispatcher.submit(connection, delivery_id)
    assert served(named(shop, "one"), lambda each: end(shop, each)) == [delivery_id]
    assert served(named(shop, "one"), lambda each: end(shop, each)) == []


def test_what_is_submitted_in_a_transaction_that_fails_is_not_handed_out(shop: Shop) -> None:
    delivery_id = shop.deliver()
    end(shop, delivery_id)
    shop.dispatcher.done(delivery_id)

    def fails() -> None:
        with writing(shop.engine) as connection:
            shop.dispatcher.submit(connection, delivery_id)
            raise RuntimeError("rolled back")

    with pytest.raises(RuntimeError):
        fails()
    assert served(named(shop, "one"), lambda each: end(shop, each)) == []


def test_a_delivery_that_is_queued_again_while_its_job_ends_is_not_lost(shop: Shop) -> None:
    delivery_id = shop.deliver()
    runs: list[int] = []

    def handle(each: int) -> None:
        delivery = shop.ledger.begin(each, max_attempts=5)
        assert delivery is not None
        shop.ledger.refuse(delivery, Rejected("empty_file", "empty"), log_key="")
        runs.append(each)
        if len(runs) == 1:
            shop.ledger.retry(each)

    assert served(named(shop, "one"), handle) == [delivery_id, delivery_id]


def test_two_workers_never_hold_the_same_source(shop: Shop) -> None:
    wanted = [shop.deliver(source) for source in "sstu"]
    seen: list[int] = []

    def handle(delivery_id: int) -> None:
        if delivery_id == wanted[0]:
            seen.extend(served(named(shop, "two"), lambda each: end(shop, each)))
        end(shop, delivery_id)

    assert served(named(shop, "one"), handle) == wanted[:2]
    assert seen == wanted[2:]


def test_an_unavailable_store_postpones_the_source_and_no_other(shop: Shop) -> None:
    first, _second, other = shop.deliver(), shop.deliver(), shop.deliver("t")

    def handle(delivery_id: int) -> None:
        if delivery_id == first:
            raise Unavailable("the disk is away")
        end(shop, delivery_id)

    assert served(named(shop, "one"), handle) == [first, other]
    assert served(named(shop, "one"), handle) == []
    assert shop.dispatcher.health()["ready"] == 2


def test_results_that_cannot_be_handed_back_hold_up_no_later_file(shop: Shop) -> None:
    wanted = [shop.deliver(), shop.deliver()]

    def handle(delivery_id: int) -> None:
        end(shop, delivery_id)
        raise Unavailable("the results cannot be written")

    assert served(named(shop, "one"), handle) == wanted


def test_the_job_of_a_worker_that_is_gone_is_given_back_by_its_name(shop: Shop) -> None:
    delivery_id = shop.deliver()

    def look_from_outside(_: int) -> None:
        assert shop.dispatcher.health() == {"ready": 0, "running": 1, "oldest_seconds": 0.0}
        assert shop.dispatcher.release("two") == 0
        assert shop.dispatcher.release("one") == 1
        assert shop.dispatcher.health()["ready"] == 1
        assert served(named(shop, "two"), lambda each: end(shop, each)) == [delivery_id]

    assert served(named(shop, "one"), look_from_outside) == [delivery_id]
    assert shop.dispatcher.health() == {"ready": 0, "running": 0, "oldest_seconds": 0.0}


def test_a_start_gives_back_all_that_an_earlier_life_had_in_hand(shop: Shop) -> None:
    delivery_id = shop.deliver()
    given_back: list[int] = []

    def look_from_outside(each: int) -> None:
        if not given_back:
            given_back.append(shop.dispatcher.release())
        end(shop, each)

    assert served(named(shop, "one"), look_from_outside) == [delivery_id, delivery_id]
    assert given_back == [1]


def test_a_source_without_a_place_in_the_line_gets_one(shop: Shop) -> None:
    delivery_id = shop.deliver()
    with writing(shop.engine) as connection:
        connection.exec_driver_sql("DELETE FROM procrastinate_jobs" if shop.many_machines else "DELETE FROM jobs")
    assert served(named(shop, "one"), lambda each: end(shop, each)) in ([], [delivery_id])
    shop.dispatcher.reconcile()
    served(named(shop, "one"), lambda each: end(shop, each))
    assert shop.known(delivery_id).state is State.COMPLETED


def test_what_was_brought_to_its_end_elsewhere_leaves_the_line(shop: Shop) -> None:
    first, second = shop.deliver(), shop.deliver()
    end(shop, first)
    shop.dispatcher.done(first)
    shop.dispatcher.done(first)
    assert served(named(shop, "one"), lambda each: end(shop, each)) == [second]
    third = shop.deliver()
    end(shop, third)
    shop.dispatcher.done(third)
    assert served(named(shop, "one"), lambda each: end(shop, each)) == []


def test_health_says_how_long_the_oldest_has_been_queued(shop: Shop) -> None:
    first, _ = shop.deliver(), shop.deliver()
    past = now() - timedelta(seconds=90)
    with writing(shop.engine) as connection:
        connection.execute(update(deliveries).where(deliveries.c.id == first).values(queued_at=past))
    health = shop.dispatcher.health()
    assert health["ready"] == 2
    assert 90 <= health["oldest_seconds"] < 120
