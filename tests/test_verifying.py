"""Whether everything that the store names is there and still what was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.progress import Progress
from sqlalchemy import Engine
from typer.testing import CliRunner

from ingestd import cli
from ingestd.foreground import import_file
from ingestd.house import open_house
from ingestd.ingest import poollog
from ingestd.leads import anonymise
from ingestd.leads.anonymise import Places
from ingestd.model import Delivery
from ingestd.preparing import prepare_store
from ingestd.store import snapshots
from ingestd.store.engine import reading
from ingestd.verifying import Fault, Verifier
from tests.databases import ROOT
from tests.ingest.conftest import Station
from tests.leads.conftest import NOON
from tests.running import order_of

FILE = b"Phone,Name\r\n26141516,Anna\r\nx,Bo\r\n26141517,Cilla\r\n"


@pytest.fixture
def station(organised: Engine, tmp_path: Path) -> Station:
    return Station.at(organised, tmp_path)


@pytest.fixture
def verifier(station: Station) -> Verifier:
    return Verifier(ledger=station.road.ledger, spool=station.road.spool, logs=station.road.logs)


def raw(station: Station, delivery: Delivery) -> Path:
    return station.home / "spool" / "deliveries" / delivery.spool_key


def turn_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_what_is_whole_has_no_faults(station: Station, verifier: Verifier) -> None:
    """Also a duplicate, whose file is not kept, a file that was refused, and one that waits."""
    for content in (FILE, FILE, b""):
        station.deliver(content)
    station.land(FILE, name="waits.csv")
    told: list[tuple[int, int]] = []
    assert list(verifier.faults(lambda done, of: told.append((done, of)))) == []
    assert told == [(done, 5) for done in range(5)]


def test_each_fault_is_told_with_its_delivery_and_its_place(station: Station, verifier: Verifier) -> None:
    deliveries = [station.deliver(FILE.replace(b"Bo", b"Bo %d" % each), name=f"{each}.csv") for each in range(6)]
    one, two, three, four, five, _ = deliveries
    turn_a_bit(raw(station, one))
    raw(station, two).unlink()
    logs = {each.id: station.home / "logs" / each.log_key for each in deliveries}
    turn_a_bit(logs[three.id] / poollog.ROWS)
    (logs[four.id] / poollog.LOG_HEADER).unlink()
    (logs[five.id] / poollog.REJECTED).unlink()
    found = list(verifier.faults())
    assert [(each.delivery, each.key) for each in found] == [
        *((each.id, f"spool/deliveries/{each.spool_key}") for each in (one, two)),
        *((each.id, f"logs/{each.log_key}") for each in (three, four, five)),
    ]
    what = [each.what for each in found]
    assert what[0].startswith("damaged: its sha256 is ")
    assert what[0].endswith(f"{one.sha256} was received")
    assert (what[1], what[3]) == ("missing", "missing")
    assert "rows.arrows: its bytes are not those that were written" in what[2]
    assert "rejected.bin: it is missing" in what[4]


def test_who_is_anonymised_meanwhile_is_no_fault(
    station: Station, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file was rewritten after the store was asked what it is."""
    delivery = station.deliver(FILE)
    with reading(station.engine) as connection:
        before = snapshots.files(connection)
    road = station.road
    places = Places(engine=road.engine, ledger=road.ledger, spool=road.spool, logs=road.logs, schemas=ROOT / "schemas")
    anonymise.anonymise(places, station.leads()[0]["id"], by=station.owner("user:admin"), at=NOON)
    assert list(verifier.faults()) == []
    monkeypatch.setattr(snapshots, "files", lambda _connection: before)
    assert list(verifier.faults()) == []
    turn_a_bit(raw(station, delivery))
    assert [each.what.startswith("damaged") for each in verifier.faults()] == [True]


def test_what_is_not_named_any_more_is_no_fault(
    station: Station, verifier: Verifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was tried again has another log than when the store was asked."""
    delivery = station.deliver(b"")
    with reading(station.engine) as connection:
        before = snapshots.logs(connection)
    (station.home / "logs" / delivery.log_key).rename(tmp_path / "taken away")
    monkeypatch.setattr(snapshots, "logs", lambda _connection: before)
    assert len(list(verifier.faults())) == 1
    station.road.ledger.retry(delivery.id)
    station.road.travel(delivery.id)
    assert list(verifier.faults()) == []


def test_the_command_lists_faults_and_ends_with_1(tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "leads.csv"
    file.write_bytes(FILE)
    house = open_house(ROOT / "config", home)
    prepare_store(house)
    import_file(house, order_of(file, "nordlead"), Progress(disable=True))
    asked = ["storage", "verify", "--config", str(ROOT / "config"), "--home", str(home)]
    well = CliRunner().invoke(cli.app, asked)
    assert (well.exit_code, well.stdout) == (0, "every file and every log is what was written\n")
    (home / "logs" / "1" / "1" / poollog.ROWS).unlink()
    told = CliRunner().invoke(cli.app, asked)
    assert told.exit_code == 1
    assert told.stdout == "delivery 1: logs/1/1: missing\n"
    assert told.stderr == "1 are missing or damaged: put them back from a backup or a copy\n"
    assert json.loads(CliRunner().invoke(cli.app, [*asked, "--json"]).stdout) == vars(
        Fault(delivery=1, key="logs/1/1", what="missing")
    )
