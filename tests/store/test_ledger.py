"""The ledger: durable deliveries, epochs that fence, receipts that make loading exactly once."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, select, update
from sqlalchemy.exc import IntegrityError

from ingestd import dispatch
from ingestd.errors import Rejected
from ingestd.model import Arrival, Counts, Delivery, State
from ingestd.spool import Kept, Landed, Recorded
from ingestd.store import tables
from ingestd.store.engine import reading, writing
from ingestd.store.ledger import Fenced, Ledger

ARRIVAL = Arrival(source="nordlead", login="nordlead", peer="127.0.0.1", protocol="ftp", name="leads.csv")


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    return Ledger(engine=engine, submit=dispatch.of(engine).submit)


def landed(content: str = "a") -> Landed:
    return Landed(key=f"2026/01/01/{content}", size=10, sha256=content * 64)


def begun(ledger: Ledger, content: str = "a") -> Delivery:
    recorded = ledger.record(ARRIVAL, landed(content))
    delivery = ledger.begin(recorded.delivery_id, max_attempts=5)
    assert delivery is not None
    return delivery


def end(ledger: Ledger, delivery: Delivery, state: State = State.COMPLETED) -> None:
    with writing(ledger.engine) as connection:
        ledger.receipt(connection, delivery)
        ledger.finish(connection, delivery, state, records=3, inserted=2, rejected=1)


def queued(ledger: Ledger) -> int:
    """How many deliveries wait for a worker; none of them was forgotten by the dispatcher."""
    dispatcher = dispatch.of(ledger.engine)
    assert dispatcher.reconcile() == 0
    ready: int = dispatcher.health()["ready"]
    return ready


def test_a_delivery_and_its_job_are_one_transaction(ledger: Ledger) -> None:
    ledger.record(ARRIVAL, landed())
    assert queued(ledger) == 1

    def broken(*_: object) -> None:
        raise RuntimeError("no job")

    with pytest.raises(RuntimeError):
        dataclasses.replace(ledger, submit=broken).record(ARRIVAL, landed("b"))
    assert [each.sha256 for each in ledger.latest(limit=9)] == ["a" * 64]


def test_same_name_and_bytes_are_a_duplicate_without_a_job(ledger: Ledger) -> None:
    first = ledger.record(ARRIVAL, landed())
    again = ledger.record(ARRIVAL, landed())
    assert again == Recorded(delivery_id=again.delivery_id, duplicate_of=first.delivery_id)
    assert queued(ledger) == 1
    assert ledger.latest(limit=1)[0].state is State.DUPLICATE
    # A third time it is a duplicate of the first, not of the duplicate.
    assert ledger.record(ARRIVAL, landed()).duplicate_of == first.delivery_id


def test_the_folder_names_the_campaign_so_one_file_may_go_to_two(ledger: Ledger) -> None:
    ledger.record(ARRIVAL, landed())
    elsewhere = dataclasses.replace(ARRIVAL, folder="DK-FIBRE")
    second = ledger.record(elsewhere, landed())
    assert (second.duplicate_of, second.previous_version) == (None, None)
    assert ledger.record(elsewhere, landed()).duplicate_of == second.delivery_id


def test_an_attempt_that_failed_by_our_fault_does_not_count(ledger: Ledger) -> None:
    recorded = ledger.record(ARRIVAL, landed())
    for _ in range(3):
        delivery = ledger.begin(recorded.delivery_id, max_attempts=1)
        assert delivery is not None
        ledger.postpone(delivery, "the disk is away")
    waiting = ledger.get(recorded.delivery_id)
    assert waiting is not None
    assert (waiting.state, waiting.attempts, waiting.reason) == (State.QUEUED, 0, "the disk is away")


def test_same_name_with_other_bytes_is_a_new_version(ledger: Ledger) -> None:
    first = ledger.record(ARRIVAL, landed())
    second = ledger.record(ARRIVAL, landed("b"))
    assert (second.duplicate_of, second.previous_version) == (None, first.delivery_id)


def test_a_refused_file_may_come_again(ledger: Ledger) -> None:
    delivery = begun(ledger)
    ledger.refuse(delivery, Rejected("no_header", "no header"), log_key="")
    assert ledger.record(ARRIVAL, landed()).duplicate_of is None


def test_an_ended_delivery_is_not_begun_again(ledger: Ledger) -> None:
    delivery = begun(ledger)
    end(ledger, delivery)
    assert ledger.begin(delivery.id, max_attempts=5) is None
    known = ledger.get(delivery.id)
    assert known is not None
    assert known.counts == Counts(records=3, inserted=2, rejected=1)


def test_a_late_worker_is_fenced_and_rolled_back(ledger: Ledger) -> None:
    late = begun(ledger)
    current = ledger.begin(late.id, max_attempts=5)
    assert current is not None
    assert current.epoch == late.epoch + 1
    with pytest.raises(Fenced):
        end(ledger, late)
    end(ledger, current)
    with reading(ledger.engine) as connection:
        assert list(connection.execute(select(tables.receipts.c.epoch))) == [(current.epoch,)]


def test_a_second_receipt_is_impossible(ledger: Ledger) -> None:
    delivery = begun(ledger)
    end(ledger, delivery)
    with pytest.raises(IntegrityError), writing(ledger.engine) as connection:
        ledger.receipt(connection, delivery)


def test_too_many_attempts_end_in_a_dead_letter_that_says_why(ledger: Ledger) -> None:
    recorded = ledger.record(ARRIVAL, landed())
    for _ in range(2):
        delivery = ledger.begin(recorded.delivery_id, max_attempts=2)
        assert delivery is not None
        ledger.note(delivery, error="MemoryError: too big")
    assert ledger.begin(recorded.delivery_id, max_attempts=2) is None
    dead = ledger.get(recorded.delivery_id)
    assert dead is not None
    assert (dead.state, dead.reason_code) == (State.FAILED, "gave_up")
    assert dead.reason == "given up after 2 attempts; the last error: MemoryError: too big"
    again = ledger.retry(dead.id)
    assert again.state is State.QUEUED
    assert ledger.begin(dead.id, max_attempts=2) is not None


def test_what_completed_is_not_retried(ledger: Ledger) -> None:
    delivery = begun(ledger)
    end(ledger, delivery)
    with pytest.raises(Rejected, match="completed"):
        ledger.retry(delivery.id)


def test_what_a_worker_has_begun_is_not_cancelled(ledger: Ledger) -> None:
    delivery = begun(ledger)
    with pytest.raises(Rejected, match="running"):
        ledger.cancel(delivery.id)


def test_a_cancelled_delivery_is_not_begun_and_the_file_may_come_again(ledger: Ledger) -> None:
    for hold in (False, True):
        recorded = ledger.record(ARRIVAL, landed(), hold=hold)
        assert recorded.duplicate_of is None
        ledger.cancel(recorded.delivery_id)
        assert ledger.begin(recorded.delivery_id, max_attempts=5) is None
        with pytest.raises(Rejected, match="cancelled"):
            ledger.cancel(recorded.delivery_id)


def test_notes_of_a_fenced_worker_are_not_heard(ledger: Ledger) -> None:
    late = begun(ledger)
    ledger.begin(late.id, max_attempts=5)
    ledger.note(late, stage="load")
    known = ledger.get(late.id)
    assert known is not None
    assert known.stage == ""


def test_ended_deliveries_are_published_once(ledger: Ledger) -> None:
    delivery = begun(ledger)
    assert ledger.unpublished() == []
    end(ledger, delivery)
    assert [each.id for each in ledger.unpublished()] == [delivery.id]
    ledger.published(delivery)  # as it was when it ran: a late word about an earlier attempt
    (ended,) = ledger.unpublished()
    ledger.published(ended)
    assert ledger.unpublished() == []


def test_a_file_that_came_again_since_is_not_retried(ledger: Ledger) -> None:
    delivery = begun(ledger)
    ledger.refuse(delivery, Rejected("no_header", "no header"), log_key="")
    again = ledger.record(ARRIVAL, landed())
    with pytest.raises(Rejected, match=f"is delivery {again.delivery_id}"):
        ledger.retry(delivery.id)


def test_a_file_that_is_another_than_its_digest_is_neither_retried_nor_run_again(ledger: Ledger) -> None:
    """Nobody would look at the digest again, and the half of a file would be loaded as all of it."""
    delivery = begun(ledger)
    ledger.refuse(delivery, Rejected("digest_mismatch", "x.csv has another sha256"), log_key="")
    with pytest.raises(Rejected, match=r"not the file that was meant: x\.csv has another sha256") as why:
        ledger.retry(delivery.id)
    assert why.value.code == "not_retryable"
    known = ledger.get(delivery.id)
    assert known is not None
    with pytest.raises(Rejected, match="not the file that was meant"), writing(ledger.engine) as connection:
        ledger.run_again(connection, known, landed(), None)
    assert ledger.record(ARRIVAL, landed()).duplicate_of is None


def test_moments_come_back_in_utc(ledger: Ledger) -> None:
    moment = datetime(2026, 7, 1, 12, 30, 15, 123456, tzinfo=UTC)
    elsewhere = dataclasses.replace(ledger, clock=lambda: moment.astimezone(tz=None))
    recorded = elsewhere.record(ARRIVAL, landed())
    known = ledger.get(recorded.delivery_id)
    assert known is not None
    assert known.received_at == moment
    assert known.received_at.utcoffset() == timedelta(0)


def test_counts_that_do_not_add_up_are_a_bug() -> None:
    with pytest.raises(AssertionError, match="3 records, but 2 outcomes"):
        Counts(records=3, inserted=2)


def test_the_last_success_of_a_source_is_its_newest_completed_delivery(ledger: Ledger) -> None:
    assert ledger.last_success() == {}
    moments = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
    for moment, content, state in zip(
        moments, "abc", (State.COMPLETED, State.COMPLETED_WITH_REJECTS, State.REFUSED), strict=True
    ):
        at = dataclasses.replace(ledger, clock=lambda moment=moment: moment)
        end(at, begun(at, content), state)
    assert ledger.last_success() == {"nordlead": moments[1]}


def test_deliveries_that_wait_for_proof_are_counted(ledger: Ledger) -> None:
    waiting = [ledger.record(ARRIVAL, landed(content)).delivery_id for content in "abc"][:2]
    assert ledger.waiting() == 0
    with writing(ledger.engine) as connection:
        table = tables.deliveries
        connection.execute(update(table).where(table.c.id.in_(waiting)).values(state=State.RECEIVED))
    assert ledger.waiting() == 2


def test_the_last_file_of_a_name_is_found(ledger: Ledger) -> None:
    """A duplicate has the bytes of the delivery that it repeats; the folder and the source belong to the name."""
    moment = datetime(2026, 7, 1, 12, 30, 15, tzinfo=UTC)
    ledger = dataclasses.replace(ledger, clock=lambda: moment)
    first = ledger.record(ARRIVAL, landed())
    ledger.record(ARRIVAL, dataclasses.replace(landed("b"), size=20))
    kept = ledger.latest_named("nordlead", "", "leads.csv")
    assert kept is not None
    assert (kept.sha256, kept.size, kept.spool_key) == ("b" * 64, 20, "2026/01/01/b")
    ledger.record(ARRIVAL, landed())
    assert ledger.latest_named("nordlead", "", "leads.csv") == Kept(
        delivery_id=first.delivery_id, size=10, sha256="a" * 64, received_at=moment, spool_key="2026/01/01/a"
    )
    for source, folder, name in (("stadtwerk", "", "leads.csv"), ("nordlead", "C", "leads.csv"), ("nordlead", "", "x")):
        assert ledger.latest_named(source, folder, name) is None


def test_a_page_goes_on_where_the_last_one_ended(ledger: Ledger) -> None:
    for content in "abcd":
        delivery = begun(ledger, content)
        end(ledger, delivery, State.COMPLETED if content < "c" else State.COMPLETED_WITH_REJECTS)
    newest = ledger.latest(limit=3)
    rest = ledger.latest(limit=3, before=newest[-1].id)
    assert [each.id for each in (*newest, *rest)] == [4, 3, 2, 1]
    source, name = newest[0].source, newest[0].name
    assert len(ledger.latest(limit=9, source=source, name=name, states=[State.COMPLETED])) == 2
    assert ledger.latest(limit=9, source="nowhere") == ledger.latest(limit=9, name="nothing") == []
