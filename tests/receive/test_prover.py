"""Proofs at the landing, on real stores: whichever of file and companion comes second, the end is the same."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert
from structlog.testing import capture_logs

from ingestd import dispatch
from ingestd.errors import Rejected, Unavailable
from ingestd.model import Arrival, Completeness, Counts, Delivery, State
from ingestd.receive import prover
from ingestd.receive.companions import Kind
from ingestd.receive.landing import Landing, Receipt
from ingestd.receive.prover import ProofRules, Proven, Prover, judge
from ingestd.spool import Spool
from ingestd.store.engine import open_engine, writing
from ingestd.store.ledger import Ledger
from ingestd.store.proofs import Companion, Proofs
from ingestd.store.tables import companions
from tests import databases
from tests.receive.receiving import Rings

CONTENT = b"name,phone\nAda,+4533330000\n"
SHA256, MD5 = hashlib.sha256(CONTENT).hexdigest(), hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
WRONG = "0" * 64
LIMIT = 1_000_000
LONGER = CONTENT + b"Bo,+4533330001\n"


class Office:
    """A landing with a prover, a store, and a clock that the test turns."""

    def __init__(self, engine: Engine, folder: Path, **rules: object) -> None:
        submit = dispatch.of(engine).submit
        self.rules = ProofRules(**rules)  # type: ignore[arg-type]
        self.rings, self.late = Rings(), timedelta()
        self.ledger = Ledger(engine=engine, submit=submit, clock=self.now)
        self.proofs = Proofs(engine=engine, submit=submit, clock=self.now)
        self.spool = Spool(folder / "spool", reserve_bytes=0)
        self.prover = Prover(self.spool, self.proofs, lambda _source: self.rules, self.rings, clock=self.now)
        self.landing = Landing(self.spool, self.ledger, self.rings, prover=self.prover)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.late

    def send(self, name: str, content: bytes = CONTENT, *, proven: bool = False, folder: str = "") -> Receipt:
        completeness = Completeness.PROVEN if proven else Completeness.ASSUMED
        arrival = Arrival(
            source="nordlead", login="nordlead", peer="192.0.2.1", protocol="ftp", name=name, folder=folder,
            completeness=completeness, evidence="told by the test",
        )  # fmt: skip
        with closing(self.landing.open(LIMIT)) as incoming:
            incoming.write(content)
            return self.landing.accept(incoming, arrival)

    def refused(self, name: str, content: bytes = CONTENT) -> Rejected:
        with pytest.raises(Rejected) as caught:
            self.send(name, content)
        return caught.value

    def known(self, name: str = "x.csv") -> Delivery:
        found = self.proofs.concerned(source="nordlead", folder="", name=name)
        assert found is not None
        return found

    def states(self) -> list[State]:
        """Of all deliveries, in the order in which they came."""
        return [each.state for each in reversed(self.ledger.latest(limit=99))]

    def unused(self) -> list[Companion]:
        """Companions whose file has not come."""
        return self.proofs.late("nordlead", self.now() + timedelta(days=1))

    def load(self, name: str = "x.csv", records: int = 1) -> None:
        """What a worker does, without the work."""
        delivery = self.ledger.begin(self.known(name).id, max_attempts=5)
        assert delivery is not None
        counts = {"records": records, "inserted": records}
        with writing(self.ledger.engine) as connection:
            self.ledger.finish(connection, delivery, State.COMPLETED, **counts)


@pytest.fixture
def office(organised: Engine, tmp_path: Path) -> Office:
    return Office(organised, tmp_path)


@pytest.fixture
def strict(organised: Engine, tmp_path: Path) -> Office:
    return Office(organised, tmp_path, demand=True)


def test_without_companions_a_file_is_queued_as_it_is(office: Office) -> None:
    assert str(office.send("x.csv")) == f"delivery 1 received: {len(CONTENT)} bytes, sha256 {SHA256}"
    assert (office.known().state, office.known().completeness) == (State.QUEUED, Completeness.ASSUMED)
    assert office.rings.count == 1


@pytest.mark.parametrize("companion", [("x.csv.sha256", SHA256), ("x.csv.MD5", MD5.upper()), ("x.csv.done", "")])
@pytest.mark.parametrize("first", ["file", "companion"])
def test_a_companion_proves_its_file(office: Office, companion: tuple[str, str], first: str) -> None:
    """Before the file or after it; the one who comes second is told."""
    name, value = companion
    if first == "companion":
        assert str(office.send(name, value.encode())) == "companion received: kept for x.csv"
        told = str(office.send("x.csv"))
    else:
        office.send("x.csv")
        told = str(office.send(name, value.encode()))
    assert "delivery 1: proven, " in told
    assert name in office.known().evidence
    assert (office.known().state, office.known().completeness) == (State.QUEUED, Completeness.PROVEN)
    assert office.rings.count == 1
    assert len(office.ledger.latest(limit=9)) == 1


def test_a_file_that_is_not_what_its_companion_says_is_refused_with_both_values(office: Office) -> None:
    """At the door, and the refusal is a delivery that operators and the partner see."""
    office.send("x.csv.sha256", WRONG.encode())
    why = office.refused("x.csv")
    assert why.code == "digest_mismatch"
    assert SHA256 in why.message
    assert WRONG in why.message
    assert (office.known().state, office.known().reason_code) == (State.REFUSED, "digest_mismatch")
    assert office.known().reason == why.message
    assert office.known().completeness is Completeness.ASSUMED
    assert office.known().evidence == f"told by the test; but {why.message}"


def test_a_companion_that_does_not_fit_refuses_the_file_that_came_before(office: Office) -> None:
    office.send("x.csv")
    assert MD5 in office.refused("x.csv.md5", WRONG[:32].encode()).message
    assert office.known().state is State.REFUSED


def test_the_right_file_after_the_wrong_one_is_loaded(office: Office) -> None:
    """The companion was right all the time."""
    office.send("x.csv.sha256", SHA256.encode())
    office.refused("x.csv", CONTENT[:-9])
    assert "proven" in str(office.send("x.csv"))
    assert [each.state for each in office.ledger.latest(limit=9)] == [State.QUEUED, State.REFUSED]


def test_the_right_companion_after_a_wrong_one_takes_the_refusal_back(office: Office) -> None:
    office.send("x.csv.sha256", WRONG.encode())
    office.refused("x.csv")
    assert "delivery 1: proven" in str(office.send("x.csv.sha256", SHA256.encode()))
    assert office.known().state is State.QUEUED


def test_a_mismatch_after_loading_is_told_and_waits_for_the_next_file(office: Office) -> None:
    """It may be the forerunner of another version; when none comes, it spoke of the one that was loaded: an alarm."""
    office.send("x.csv")
    office.load()
    assert str(office.send("x.csv.sha256", WRONG.encode())).endswith("next x.csv; delivery 1 is another file")
    office.prover.sweep()
    assert WRONG not in office.known().evidence
    office.late = timedelta(hours=25)
    office.prover.sweep()
    assert f"x.csv.sha256 says {WRONG}" in office.known().evidence
    assert office.known().state is State.COMPLETED
    assert office.unused() == []


@pytest.mark.parametrize(("loaded", "proof"), [(True, True), (True, False), (False, True)])
def test_a_companion_before_the_second_version_is_for_the_second_version(
    office: Office, loaded: bool, proof: bool
) -> None:
    """The first one has its own companion, or was loaded without."""
    if proof:
        office.send("x.csv.sha256", SHA256.encode())
    office.send("x.csv")
    if loaded:
        office.load()
    second = CONTENT + b"Bo,+4533330001\n"
    digest = hashlib.sha256(second).hexdigest()
    assert "next x.csv" in str(office.send("x.csv.sha256", digest.encode()))
    assert office.known().state is (State.COMPLETED if loaded else State.QUEUED)
    assert "delivery 2: proven" in str(office.send("x.csv", second))
    assert office.known().state is State.QUEUED


def test_a_second_companion_that_says_the_same_changes_nothing(office: Office) -> None:
    for _ in range(2):
        office.send("x.csv.sha256", SHA256.encode())
        office.send("x.csv")
    office.send("x.csv.done", b"")
    office.send("x.csv.done", b"")
    assert office.known().state is State.QUEUED
    assert office.unused() == []


def test_a_proof_after_loading_is_kept(office: Office) -> None:
    office.send("x.csv")
    office.load()
    assert "proven" in str(office.send("x.csv.sha256", SHA256.encode()))
    assert (office.known().state, office.known().completeness) == (State.COMPLETED, Completeness.PROVEN)


@pytest.mark.parametrize(("kind", "value"), [("count", "1"), ("sha256", SHA256), ("md5", MD5), ("done", "")])
@pytest.mark.parametrize("loaded", [True, False])
def test_the_companion_of_today_is_not_of_the_file_of_yesterday(
    office: Office, kind: str, value: str, loaded: bool
) -> None:
    """It says the same as the one before, which came before its file as well; so that a cut file is not loaded."""
    for _ in range(2):
        assert str(office.send(f"x.csv.{kind}", value.encode())).endswith("x.csv")
        office.send("x.csv")
        if loaded and office.known().state is State.QUEUED:
            office.load()
    assert office.unused() == []
    office.send(f"x.csv.{kind}", value.encode())
    if kind in ("sha256", "md5"):
        assert office.refused("x.csv", CONTENT[:-9]).code == "digest_mismatch"
    else:
        office.send("x.csv", CONTENT[:-9])
        assert (office.known().id, office.known().state) == (3, State.QUEUED)
        assert office.known().expected_records == (1 if kind == "count" else None)


def test_a_companion_that_comes_once_more_after_its_file_is_not_of_the_next_one(office: Office) -> None:
    """Its sender did not hear the answer; or the file came again as well."""
    for again in (False, True):
        office.send("x.csv")
        if not again:
            office.load()
        for _ in range(2):
            office.send("x.csv.done", b"")
            office.send("x.csv.sha256", SHA256.encode())
    assert office.unused() == []
    office.send("x.csv", LONGER)
    assert (office.known().state, office.known().completeness) == (State.QUEUED, Completeness.ASSUMED)


@pytest.mark.parametrize(("hours", "other"), [(0, False), (0, True), (20, True)])
def test_a_count_is_of_the_file_that_came_just_before(office: Office, hours: int, other: bool) -> None:
    """Later it is of the next one, which may have as many records; when none comes, it was right of the first."""
    office.send("x.csv")
    office.load()
    office.late = timedelta(hours=hours)
    told = str(office.send("x.csv.count", b"1"))
    assert told.endswith("kept for the next x.csv") == bool(hours)
    if other:
        office.send("x.csv", CONTENT[:-9])
        assert office.known().expected_records == (1 if hours else None)


def test_a_count_that_was_right_after_all_is_no_alarm(office: Office) -> None:
    office.send("x.csv")
    office.load()
    office.late = timedelta(hours=20)
    office.send("x.csv.count", b"1")
    office.late = timedelta(hours=45)
    office.prover.sweep()
    assert office.known().evidence == "told by the test"
    assert office.unused() == []


def test_the_same_md5_again_needs_no_second_look_at_the_file(office: Office) -> None:
    """Somebody was anonymised in it meanwhile, so that the kept file is not what the companion says any more."""
    office.send("x.csv.md5", MD5.encode())
    office.send("x.csv")
    office.load()
    office.spool.rewrite(office.known().spool_key, b" " * len(CONTENT))
    office.send("x.csv.md5", MD5.encode())
    assert str(office.send("x.csv")).startswith("duplicate of delivery 1")
    assert (office.known().state, office.known().completeness) == (State.COMPLETED, Completeness.PROVEN)


def test_a_delivery_that_changes_whenever_it_is_looked_at_holds_nobody_up(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.send("x.csv")
    monkeypatch.setattr(Proofs, "refuse", lambda *_: False)
    with pytest.raises(Unavailable, match="could not be settled"):
        office.send("x.csv.sha256", WRONG.encode())


def test_a_count_is_checked_when_the_records_are_known(office: Office) -> None:
    """Before loading it goes with the delivery, afterwards it is compared."""
    office.send("x.csv.count", b"2")
    office.send("x.csv")
    assert (office.known().expected_records, office.known().state) == (2, State.QUEUED)
    office.load(records=2)
    assert "next x.csv" in str(office.send("x.csv.count", b"3 records"))
    assert office.refused("x.csv.count", b"no number").code == "companion_unreadable"


def test_a_demanded_proof_is_waited_for(strict: Office) -> None:
    """By a file that came without one; the answer says what it waits for."""
    assert "waits for x.csv.sha256" in str(strict.send("x.csv"))
    assert (strict.known().state, strict.rings.count) == (State.RECEIVED, 0)
    assert "proven" in str(strict.send("x.csv.ok", b""))
    assert (strict.known().state, strict.rings.count) == (State.QUEUED, 1)


def test_a_file_that_its_door_has_proven_does_not_wait(strict: Office) -> None:
    strict.send("x.csv", proven=True)
    assert strict.known().state is State.QUEUED


def test_a_trailer_or_a_count_lets_a_file_through_to_be_counted(strict: Office) -> None:
    strict.send("y.csv.count", b"1")
    strict.send("y.csv")
    assert strict.known("y.csv").state is State.QUEUED
    strict.rules = ProofRules(demand=True, trailer=True)
    strict.send("x.csv")
    assert strict.known().state is State.QUEUED


def test_a_proof_that_never_comes_refuses_the_file_in_the_end(strict: Office) -> None:
    """And a companion that comes after that takes it back."""
    strict.send("x.csv")
    strict.prover.sweep()
    assert strict.known().state is State.RECEIVED
    strict.late = timedelta(hours=25)
    strict.prover.sweep()
    assert (strict.known().state, strict.known().reason_code) == (State.REFUSED, "proof_missing")
    strict.send("x.csv.done", b"")
    assert strict.known().state is State.QUEUED


def test_a_sweep_settles_what_a_failing_store_left(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the record and the settling: the file is there, the companion too, nobody has compared them."""
    office.send("x.csv.sha256", SHA256.encode())
    office.send("y.csv.sha256", WRONG.encode())
    with monkeypatch.context() as away:
        away.setattr(Proofs, "get", _away)
        for name in ("x.csv", "y.csv"):
            assert "its companions are looked at later" in str(office.send(name))
    assert office.known().state is State.RECEIVED
    office.prover.sweep()
    assert (office.known().state, office.known("y.csv").state) == (State.QUEUED, State.REFUSED)


def test_two_versions_that_wait_both_come_to_an_end(strict: Office) -> None:
    """The marker is of the one that came last; the first one is refused when its own has not come in time."""
    strict.send("x.csv")
    strict.send("x.csv", LONGER)
    strict.send("x.csv.done", b"")
    assert strict.states() == [State.RECEIVED, State.QUEUED]
    strict.load()
    strict.late = timedelta(hours=25)
    strict.prover.sweep()
    first = strict.ledger.get(1)
    assert first is not None
    assert (first.state, first.reason_code) == (State.REFUSED, "proof_missing")
    assert strict.known().state is State.COMPLETED


@pytest.mark.parametrize("loaded", [True, False])
def test_an_older_version_is_known_by_its_digest_alone(strict: Office, loaded: bool) -> None:
    strict.send("x.csv")
    strict.send("x.csv", LONGER, proven=True)
    if loaded:
        strict.load()
    strict.send("x.csv.count", b"7")
    if loaded:
        strict.send("x.csv.sha256", SHA256.encode())
    else:
        strict.refused("x.csv.sha256", SHA256.encode())
    strict.prover.sweep()
    first = strict.ledger.get(1)
    assert first is not None
    assert (first.state, first.completeness, first.expected_records) == (State.QUEUED, Completeness.PROVEN, None)


def test_an_older_version_that_comes_again_is_the_last_one(strict: Office) -> None:
    """What comes after it, and what comes before it, speaks of it."""
    strict.send("x.csv")
    strict.send("x.csv", LONGER, proven=True)
    assert str(strict.send("x.csv")).startswith("duplicate of delivery 1")
    strict.send("x.csv.done", b"")
    assert strict.states() == [State.QUEUED, State.QUEUED, State.DUPLICATE]


def test_a_companion_is_of_the_file_that_it_came_before(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the next version comes while the store was away between the two steps of the first one."""
    office.send("x.csv.sha256", SHA256.encode())
    with monkeypatch.context() as away:
        away.setattr(Proofs, "get", _away)
        office.send("x.csv")
    assert str(office.send("x.csv", LONGER)).startswith("delivery 2 received")
    office.prover.sweep()
    assert office.states() == [State.QUEUED, State.QUEUED]
    first = office.ledger.get(1)
    assert first is not None
    assert first.completeness is Completeness.PROVEN


def test_a_companion_of_the_next_file_does_not_keep_the_first_one_waiting(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first was not judged yet when it came."""
    office.send("x.csv.sha256", SHA256.encode())
    with monkeypatch.context() as away:
        away.setattr(Proofs, "get", _away)
        office.send("x.csv")
    office.send("x.csv.sha256", hashlib.sha256(LONGER).hexdigest().encode())
    assert office.states() == [State.QUEUED]
    assert "delivery 2: proven" in str(office.send("x.csv", LONGER))


def _away(*_: object, **__: object) -> Delivery:
    raise Unavailable("the store is away")


def test_a_landing_without_prover_heeds_no_companions(office: Office) -> None:
    """`ingestd import`: the operator says that the file is whole."""
    office.send("x.csv.sha256", WRONG.encode())
    office.landing = Landing(office.spool, office.ledger, office.rings)
    office.send("x.csv")
    assert office.known().state is State.QUEUED


def test_the_same_file_by_a_door_that_proves_it_is_not_only_a_duplicate(strict: Office) -> None:
    """What waited is let into the queue; what waits on is told."""
    strict.send("x.csv")
    assert "duplicate of delivery 1" in str(again := strict.send("x.csv"))
    assert "it waits for" in str(again)
    rings = strict.rings.count
    assert str(strict.send("x.csv", proven=True)).endswith("that proves it: told by the test")
    assert (strict.known().state, strict.known().completeness) == (State.QUEUED, Completeness.PROVEN)
    assert "came again by ftp" in strict.known().evidence
    assert strict.rings.count == rings + 1
    assert str(strict.send("x.csv", proven=True)).startswith("duplicate of delivery 1")
    assert strict.rings.count == rings + 1


@pytest.mark.parametrize("count", ["1" * 10, "9" * 30, "20261124103000", "1" * 5_000])
def test_a_count_that_no_file_has_is_refused_and_hurts_nobody(strict: Office, count: str) -> None:
    assert strict.refused("x.csv.count", count.encode()).code == "companion_unreadable"
    strict.send("x.csv")
    strict.prover.sweep()
    assert strict.known().state is State.RECEIVED


def test_one_delivery_that_meets_a_fault_does_not_hold_up_the_others(
    strict: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes cannot be read, or something else that nobody foresaw; it is told once."""
    strict.send("a.csv")
    strict.send("b.csv")
    strict.late = timedelta(hours=25)
    settle = strict.prover.settle

    def faulty(delivery_id: int) -> str:
        if delivery_id == strict.known("a.csv").id:
            raise OverflowError("nobody foresaw it")
        return settle(delivery_id)

    monkeypatch.setattr(strict.prover, "settle", faulty)
    with capture_logs() as lines:
        strict.prover.sweep()
        strict.prover.sweep()
    assert strict.known("b.csv").state is State.REFUSED
    assert strict.known("a.csv").state is State.RECEIVED
    assert [line["event"] for line in lines] == ["proof_fault"]


def test_a_file_waits_no_longer_when_nothing_is_demanded_any_more(strict: Office) -> None:
    strict.send("x.csv")
    strict.rules = ProofRules()
    strict.prover.sweep()
    assert strict.known().state is State.QUEUED


def test_capitals_of_a_campaigns_folder_do_not_count(office: Office) -> None:
    office.send("x.csv.sha256", SHA256.encode(), folder="DK-Fibre")
    assert "proven" in str(office.send("x.csv", folder="dk-fibre"))
    assert str(office.send("x.csv", folder="DK-FIBRE")).startswith("duplicate of delivery 1")


def test_companions_are_forgotten_when_their_file_never_comes(office: Office) -> None:
    office.send("x.csv.sha256", WRONG.encode())
    office.late = timedelta(hours=25)
    office.prover.sweep()
    office.send("x.csv")
    assert office.known().state is State.QUEUED


def test_many_companions_whose_file_never_comes_are_forgotten_in_chunks(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database takes so many values in a statement, and whoever looks after the doors wants to hear of the sweep."""
    office.send("7.csv")
    office.load("7.csv")
    said = [
        {"source": source, "folder": "", "name": f"{number}.csv", "kind": "md5", "value": WRONG[:32],
         "file": f"{number}.csv.md5", "received_at": office.now() - timedelta(hours=25)}
        for source in ("nordlead", "one that is gone") for number in range(700)
    ]  # fmt: skip
    with writing(office.ledger.engine) as connection:
        connection.execute(insert(companions), said)
    monkeypatch.setattr(prover, "MOST_CHUNKS", 3)
    beats = Rings()
    office.prover.sweep(beats)
    assert beats.count == 3
    assert "7.csv.md5 says 000" in office.known("7.csv").evidence
    assert sum(len(office.proofs.late(each["source"], office.now())) for each in (said[0], said[-1])) == 200
    office.prover.sweep(beats)
    assert (beats.count, office.proofs.oldest_unused()) == (4, {})


def delivery(**values: object) -> Delivery:
    known = {
        "id": 1, "source": "s", "login": "s", "peer": "p", "protocol": "ftp", "name": "x.csv", "folder": "", "size": 1,
        "sha256": SHA256, "received_at": datetime.now(UTC), "state": State.RECEIVED, "epoch": 0, "attempts": 0,
        "completeness": Completeness.ASSUMED, "evidence": "fin", "spool_key": "k", "counts": Counts(),
    }  # fmt: skip
    return Delivery(**{**known, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize("demand", [True, False])
def test_the_md5_is_only_computed_when_a_companion_gives_one(demand: bool) -> None:
    """It means reading the file once more."""
    said = Companion(
        id=1, kind=Kind.SHA256, value=SHA256, file="x.csv.sha256", source="s", folder="", name="x.csv",
        received_at=datetime.now(UTC), delivery_id=None,
    )  # fmt: skip
    judged = judge(delivery(), [said], ProofRules(demand=demand), lambda: pytest.fail("was read"))
    assert isinstance(judged, Proven)


PIECES = {
    "x": CONTENT, "x.sha256": SHA256.encode(), "x.md5": MD5.encode(), "x.done": b"", "x.count": b"1",
    "bad x.sha256": WRONG.encode(), "bad x.md5": WRONG[:32].encode(),
}  # fmt: skip
SENT = st.lists(st.sampled_from(sorted(PIECES)), unique_by=lambda piece: piece.removeprefix("bad "), max_size=5)


@pytest.fixture(scope="module")
def one_store(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return open_engine(databases.embedded(tmp_path_factory.mktemp("orders")))


_numbers = itertools.count()


@settings(max_examples=60)
@given(pieces=SENT, demand=st.booleans())
def test_in_any_order_the_end_is_the_same(
    one_store: Engine, tmp_path_factory: pytest.TempPathFactory, pieces: Sequence[str], demand: bool
) -> None:
    """Of each kind there is one; whether it came before the file or after it makes no difference."""
    office = Office(one_store, tmp_path_factory.mktemp("spool"), demand=demand)
    name = f"{next(_numbers)}.csv"
    for piece in ("x", *pieces) if "x" not in pieces else pieces:
        try:
            content = CONTENT + name.encode() if piece == "x" else _own(piece, name)
            office.send(piece.removeprefix("bad ").replace("x", name, 1), content)
        except Rejected as why:
            assert why.code == "digest_mismatch"  # noqa: PT017 - any other refusal is a fault
    said = {piece.removeprefix("bad "): piece.startswith("bad") for piece in pieces if piece != "x"}
    office.prover.sweep()
    assert office.known(name).state is _expected(said, demand)


def _own(piece: str, name: str) -> bytes:
    content = CONTENT + name.encode()
    right = {
        "x.sha256": hashlib.sha256(content).hexdigest(),
        "x.md5": hashlib.md5(content, usedforsecurity=False).hexdigest(),
    }
    return right[piece].encode() if piece in right else PIECES[piece]


def _expected(said: dict[str, bool], demand: bool) -> State:
    if any(said.values()):
        return State.REFUSED
    return State.RECEIVED if demand and not said else State.QUEUED


def test_a_file_that_waits_for_its_confirmation_is_held_against_its_companions_all_the_same(office: Office) -> None:
    for name, companion in (("x.csv", WRONG), ("y.csv", SHA256)):
        office.send(name)
        delivery = office.ledger.begin(office.known(name).id, max_attempts=5)
        assert delivery is not None
        with writing(office.ledger.engine) as connection:
            office.ledger.finish(connection, delivery, State.AWAITING_CONFIRMATION)
        if companion == WRONG:
            assert office.refused(f"{name}.sha256", companion.encode()).code == "digest_mismatch"
        else:
            office.send(f"{name}.sha256", companion.encode())
    assert (office.known("x.csv").state, office.known("x.csv").published_at) == (State.REFUSED, None)
    assert (office.known("y.csv").state, office.known("y.csv").completeness) == (
        State.AWAITING_CONFIRMATION, Completeness.PROVEN,
    )  # fmt: skip
