"""The road when files and logs are kept on S3 or on a share: the same ends, and nothing lost when it is away."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from sqlalchemy import Engine

from ingestd.errors import Unavailable
from ingestd.ingest import poollog
from ingestd.model import State
from ingestd.storage import Folder, Storage
from tests.ingest.conftest import Station
from tests.s3 import S3

DATA = b"Phone,Name\r\n26000001,Anna\r\nx,Bo\r\n26000002,Cilla\r\n"


@pytest.fixture
def bucket(s3: S3) -> str:
    return s3.new_bucket()


@pytest.fixture
def on_s3(s3: S3, bucket: str, organised: Engine, tmp_path: Path) -> Station:
    return Station.at(organised, tmp_path / "home", claimed(s3.storage(bucket, timeout_seconds=1, retries=1)))


@pytest.fixture(params=["s3", "share"])
def station(request: pytest.FixtureRequest, organised: Engine, tmp_path: Path) -> Station:
    """A station whose files are not in its home, on each database."""
    if request.param == "s3":
        return request.getfixturevalue("on_s3")
    share = tmp_path / "share"
    share.mkdir()
    return Station.at(organised, tmp_path / "home", claimed(Folder(share, mount=share)))


def claimed(storage: Storage) -> Storage:
    storage.claim("a-store")
    return storage


def temporary(station: Station) -> list[Path]:
    return list((station.home / "spool" / "tmp").iterdir())


def test_a_file_travels_the_whole_road(station: Station, tmp_path: Path) -> None:
    """And its home has nothing but what goes back to the partner."""
    delivery = station.deliver(DATA)
    assert (delivery.state, delivery.counts.inserted) == (State.COMPLETED_WITH_REJECTS, 2)
    station.check_balance(delivery)
    local = Station.at(station.engine, tmp_path / "local")
    local.change_source(same_content="load")
    local.change_campaign(on_duplicate="keep")
    beside = local.deliver(DATA, name="other.csv")
    for kind in ("errors", "rejected", "original"):
        assert station.download(delivery, kind) == local.download(beside, kind)
    assert {row["outcome"] for row in station.rows(delivery)} == {"inserted", "rejected"}
    assert temporary(station) == []
    assert not (station.home / "logs").exists()
    assert [path.name for path in (station.home / "spool").iterdir()] == ["tmp"]


def test_results_and_the_file_itself_come_back(station: Station) -> None:
    drop = station.home / "drop" / "nordlead" / "done"
    drop.parent.mkdir(parents=True)
    delivery = station.deliver(DATA, protocol="folder")
    station.publisher.publish(delivery)
    assert (drop / "leads.csv").read_bytes() == DATA
    assert (drop / "leads.csv.log.csv").read_bytes() == station.download(delivery, "full")
    assert (drop / "leads.csv.rejected.csv").read_bytes() == b"Phone,Name\r\nx,Bo\r\n"


def test_a_duplicate_keeps_no_bytes(station: Station) -> None:
    station.deliver(DATA)
    assert station.deliver(DATA).state is State.DUPLICATE
    assert len(list(station.road.spool.keys())) == 1


def test_one_home_receives_and_another_loads(station: Station) -> None:
    number = station.land(DATA)
    other = Station.at(station.engine, station.home.parent / "other", station.storage)
    other.road.travel(number)
    delivery = station.known(number)
    assert delivery.state is State.COMPLETED_WITH_REJECTS
    assert other.download(delivery, "full") == station.download(delivery, "full")
    assert other.download(delivery, "original") == DATA
    station.check_balance(delivery)


def test_a_file_that_is_gone_is_our_failure(station: Station) -> None:
    number = station.land(DATA)
    station.road.spool.discard(station.known(number).spool_key)
    station.road.travel(number)
    assert (station.known(number).state, station.known(number).reason_code) == (State.FAILED, "original_missing")


def test_a_log_of_a_dead_attempt_is_never_overwritten(station: Station) -> None:
    """It cannot be under the same epoch; if it is all the same, the next attempt has its own."""
    number = station.land(DATA)
    with station.road.logs.new(f"{number}/1") as folder:
        folder.write(poollog.ROWS, b"another worker's")
    with pytest.raises(Unavailable):
        station.road.travel(number)
    assert station.count("leads") == 0
    assert station.road.logs.read(f"{number}/1/{poollog.ROWS}") == b"another worker's"
    station.road.travel(number)
    delivery = station.known(number)
    assert delivery.log_key == f"{number}/2"
    station.check_balance(delivery)


def test_what_a_lost_attempt_wrote_is_taken_away(station: Station) -> None:
    """It names people, and no delivery refers to it: who is anonymised later would stay in it."""
    number = station.land(DATA)
    with station.road.logs.new(f"{number}/1") as folder:
        folder.write(poollog.ROWS, b"of a worker that was killed before its commit")
    delivery = station.road.ledger.begin(number, max_attempts=5)
    assert delivery is not None
    station.road.travel(number)
    assert {each.key.rsplit("/", 1)[0] for each in station.road.logs.found(f"{number}")} == {f"{number}/2"}
    station.check_balance(station.known(number))


def test_the_log_of_a_refusal_stays_when_the_file_is_tried_again(station: Station) -> None:
    """Whoever has looked at the delivery just before goes on reading it."""
    station.change_source(limits={"max_rejected_rows": 0})
    number = station.land(DATA + b"no number,Bo\n")
    station.road.travel(number)
    refused = station.known(number)
    assert refused.state is State.REFUSED
    station.change_source(limits={"max_rejected_rows": None})
    station.road.ledger.retry(number)
    station.road.travel(number)
    assert station.known(number).log_key == f"{number}/2"
    assert station.download(refused, "full")
    station.check_balance(station.known(number))


# --- away


@contextlib.contextmanager
def unmounted(share: Path) -> Iterator[None]:
    """What is left of a mount point whose share is gone."""
    share.rename(share.with_name("share.away"))
    share.mkdir()
    try:
        yield
    finally:
        assert list(share.iterdir()) == [], "written below the mount point"
        share.rmdir()
        share.with_name("share.away").rename(share)


@pytest.fixture
def away(station: Station, request: pytest.FixtureRequest) -> contextlib.AbstractContextManager[None]:
    """Takes the storage of the station away for a while."""
    if isinstance(station.storage, Folder):
        return unmounted(station.storage.root)
    return request.getfixturevalue("s3").away()


def test_what_cannot_be_kept_is_not_accepted(station: Station, away: contextlib.AbstractContextManager[None]) -> None:
    with away, pytest.raises(Unavailable):
        station.land(DATA)
    assert (station.count("deliveries"), temporary(station)) == (0, [])
    until_back(station)
    assert list(station.road.spool.keys()) == []
    assert station.deliver(DATA).counts.inserted == 2


def test_a_delivery_whose_file_is_away_waits(station: Station, away: contextlib.AbstractContextManager[None]) -> None:
    """No attempt is used up, and the file is not called missing."""
    number = station.land(DATA)
    with away, pytest.raises(Unavailable):
        station.road.travel(number)
    waiting = station.known(number)
    assert (waiting.state, waiting.attempts) == (State.QUEUED, 0)
    until_back(station)
    station.road.travel(number)
    assert station.known(number).counts.inserted == 2
    station.check_balance(station.known(number))


@pytest.mark.parametrize("stage", ["screen", "load"])
def test_a_load_whose_log_cannot_be_written_is_rolled_back(
    station: Station, away: contextlib.AbstractContextManager[None], stage: str
) -> None:
    number = station.land(DATA)
    with contextlib.ExitStack() as stack:

        def onlooker(begun: str) -> None:
            if begun == stage:
                stack.enter_context(away)

        with pytest.raises(Unavailable):
            station.road.travel(number, onlooker)
    assert (station.count("leads"), station.count("pools"), station.count("receipts")) == (0, 0, 0)
    assert (station.known(number).state, station.known(number).attempts) == (State.QUEUED, 0)
    until_back(station)
    station.road.travel(number)
    assert station.count("leads") == 2
    station.check_balance(station.known(number))


def until_back(station: Station) -> None:
    """Whoever has just seen it away does not ask at once."""
    if not isinstance(station.storage, Folder):
        station.storage.patience._until = 0.0


def test_a_put_that_was_not_answered_is_no_delivery(on_s3: Station, s3: S3) -> None:
    """The server has the whole file, and stops before it says so: the sender sends again."""
    assert s3.process is not None
    os.kill(s3.process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable, match="has not answered within 1 s"):
            on_s3.land(DATA)
    finally:
        os.kill(s3.process.pid, signal.SIGCONT)
    assert (on_s3.count("deliveries"), temporary(on_s3)) == (0, [])
    until_back(on_s3)
    delivery = on_s3.deliver(DATA)
    assert delivery.counts.inserted == 2
    assert delivery.spool_key in set(on_s3.road.spool.keys())


def test_the_receipt_names_the_bytes_in_the_bucket(on_s3: Station, s3: S3, bucket: str) -> None:
    delivery = on_s3.known(on_s3.land(DATA))
    (key,) = [key for key in s3.objects(bucket) if "deliveries" in key]
    assert key == f"ingestd/spool/deliveries/{delivery.spool_key}"
    kept = obstore.get(s3.client(bucket), key)
    assert kept.attributes["sha256"] == delivery.sha256
    assert bytes(kept.bytes()) == DATA
