"""Proofs in the store, on both databases: who comes first does not matter, and a fenced worker loads nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from ingestd import dispatch
from ingestd.dispatch.dispatcher import Dispatcher
from ingestd.errors import Rejected
from ingestd.model import Arrival, Completeness, Delivery, State
from ingestd.spool import Landed
from ingestd.store.engine import writing
from ingestd.store.ledger import Fenced, Ledger
from ingestd.store.proofs import Proofs

ARRIVAL = Arrival(source="nordlead", login="nordlead", peer="192.0.2.1", protocol="ftp", name="x.csv", evidence="fin")
ABOUT = {"source": "nordlead", "folder": "", "name": "x.csv"}
LATER = datetime.now(UTC) + timedelta(days=1)
WHY = Rejected("digest_mismatch", "x.csv has another digest", suggestion="send it again")


@pytest.fixture
def dispatcher(organised: Engine) -> Dispatcher:
    return dispatch.of(organised)


@pytest.fixture
def ledger(organised: Engine, dispatcher: Dispatcher) -> Ledger:
    return Ledger(engine=organised, submit=dispatcher.submit)


@pytest.fixture
def proofs(organised: Engine, dispatcher: Dispatcher) -> Proofs:
    return Proofs(engine=organised, submit=dispatcher.submit)


def landed(content: str = "a") -> Landed:
    return Landed(key=content, size=1, sha256=content * 64)


def say(proofs: Proofs, value: str = "a" * 64, kind: str = "sha256") -> None:
    proofs.keep(**ABOUT, kind=kind, value=value, file=f"x.csv.{kind}")


def concerned(proofs: Proofs) -> Delivery:
    found = proofs.concerned(**ABOUT)
    assert found is not None
    return found


def release(proofs: Proofs, delivery: Delivery, records: int | None = None) -> bool | None:
    proven = {"completeness": Completeness.PROVEN, "evidence": "sha256 in x.csv.sha256"}
    return proofs.release(delivery, proofs.of(delivery), **proven, expected_records=records)


def test_a_file_that_a_companion_speaks_of_waits(ledger: Ledger, proofs: Proofs, dispatcher: Dispatcher) -> None:
    """No job before it is released; then one, and the companion is used up."""
    say(proofs)
    assert ledger.record(ARRIVAL, landed(), heed=True).held
    delivery = concerned(proofs)
    assert (delivery.state, delivery.queued_at) == (State.RECEIVED, None)
    assert dispatcher.health()["ready"] == dispatcher.reconcile() == 0
    assert release(proofs, delivery) is True
    delivery = concerned(proofs)
    assert (delivery.state, delivery.completeness) == (State.QUEUED, Completeness.PROVEN)
    assert dispatcher.health()["ready"] == 1
    assert [companion.value for companion in proofs.of(delivery)] == ["a" * 64]
    assert not ledger.record(ARRIVAL, landed("b"), heed=True).held


def test_a_held_file_waits_without_any_companion(ledger: Ledger, proofs: Proofs) -> None:
    assert ledger.record(ARRIVAL, landed(), hold=True).held
    assert [delivery.name for delivery in proofs.waiting()] == ["x.csv"]


def test_a_duplicate_does_not_wait(ledger: Ledger, proofs: Proofs) -> None:
    first = ledger.record(ARRIVAL, landed())
    say(proofs)
    again = ledger.record(ARRIVAL, landed())
    assert (again.held, again.duplicate_of) == (False, first.delivery_id)
    assert concerned(proofs).id == first.delivery_id


def test_companions_of_other_places_do_not_count(ledger: Ledger, proofs: Proofs) -> None:
    for other in ({"source": "stadtwerk"}, {"folder": "DK-FIBRE"}, {"name": "y.csv"}):
        proofs.keep(**{**ABOUT, **other}, kind="sha256", value="b" * 64, file="y")
    assert not ledger.record(ARRIVAL, landed(), heed=True).held
    assert proofs.of(concerned(proofs)) == []


def test_the_last_companion_of_a_kind_counts(ledger: Ledger, proofs: Proofs) -> None:
    ledger.record(ARRIVAL, landed(), hold=True)
    for value in ("b" * 64, "c" * 64):
        say(proofs, value)
    say(proofs, "12", "count")
    said = proofs.of(concerned(proofs))
    assert sorted((companion.kind, companion.value) for companion in said) == [("count", "12"), ("sha256", "c" * 64)]


def test_a_refused_file_is_not_loaded(ledger: Ledger, proofs: Proofs) -> None:
    """Also when a worker has it in hand already: the epoch fences it off."""
    recorded = ledger.record(ARRIVAL, landed())
    in_hand = ledger.begin(recorded.delivery_id, max_attempts=5)
    assert in_hand is not None
    assert proofs.refuse(concerned(proofs), WHY) is True
    with pytest.raises(Fenced), writing(ledger.engine) as connection:
        ledger.finish(connection, in_hand, State.COMPLETED)
    refused = concerned(proofs)
    assert (refused.state, refused.reason_code, refused.suggestion) == (State.REFUSED, WHY.code, WHY.suggestion)
    assert ledger.begin(recorded.delivery_id, max_attempts=5) is None


def test_a_refusal_is_taken_back_by_a_proof(ledger: Ledger, proofs: Proofs, dispatcher: Dispatcher) -> None:
    ledger.record(ARRIVAL, landed(), hold=True)
    proofs.refuse(concerned(proofs), WHY)
    ledger.published(concerned(proofs))
    assert release(proofs, concerned(proofs)) is True
    again = concerned(proofs)
    assert (again.state, again.reason, again.published_at) == (State.QUEUED, "", None)
    assert dispatcher.health()["ready"] == 1


def test_what_has_moved_on_is_left_alone(ledger: Ledger, proofs: Proofs) -> None:
    recorded = ledger.record(ARRIVAL, landed())
    before = concerned(proofs)
    ledger.begin(recorded.delivery_id, max_attempts=5)
    assert proofs.refuse(before, WHY) is False
    assert release(proofs, before) is None
    assert concerned(proofs).state is State.RUNNING


def test_a_worker_that_does_not_know_the_count_starts_again(ledger: Ledger, proofs: Proofs) -> None:
    recorded = ledger.record(ARRIVAL, landed())
    in_hand = ledger.begin(recorded.delivery_id, max_attempts=5)
    assert in_hand is not None
    assert release(proofs, concerned(proofs), records=12) is True
    with pytest.raises(Fenced), writing(ledger.engine) as connection:
        ledger.finish(connection, in_hand, State.COMPLETED)
    again = ledger.begin(recorded.delivery_id, max_attempts=5)
    assert again is not None
    assert again.expected_records == 12


def test_a_loaded_file_only_learns_its_proof(ledger: Ledger, proofs: Proofs, dispatcher: Dispatcher) -> None:
    recorded = ledger.record(ARRIVAL, landed())
    in_hand = ledger.begin(recorded.delivery_id, max_attempts=5)
    assert in_hand is not None
    with writing(ledger.engine) as connection:
        ledger.finish(connection, in_hand, State.COMPLETED)
    dispatcher.done(recorded.delivery_id)
    assert release(proofs, concerned(proofs)) is False
    assert (concerned(proofs).state, concerned(proofs).completeness) == (State.COMPLETED, Completeness.PROVEN)
    assert dispatcher.health()["ready"] == 0


def test_a_companion_that_was_used_meanwhile_is_not_forgotten(ledger: Ledger, proofs: Proofs) -> None:
    say(proofs)
    late = proofs.late("nordlead", LATER)
    ledger.record(ARRIVAL, landed(), heed=True)
    release(proofs, concerned(proofs))
    assert proofs.forget(late) == 0


def test_companions_whose_file_never_came_are_forgotten(ledger: Ledger, proofs: Proofs) -> None:
    say(proofs)
    (late,) = proofs.late("nordlead", LATER)
    assert proofs.forget([late]) == 1
    assert proofs.late("nordlead", LATER) == []
    assert not ledger.record(ARRIVAL, landed(), heed=True).held
