"""Where the files of a store are: one storage, remembered; and a whole daemon whose storage comes and goes."""

from __future__ import annotations

import contextlib
import ftplib
import json
import os
import shutil
import signal
import sqlite3
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncssh
import obstore
import pytest
from sqlalchemy import func, select
from structlog.testing import capture_logs

from ingestd import checks
from ingestd.commands import storage
from ingestd.errors import Misconfigured, Unavailable
from ingestd.house import House, open_house
from ingestd.ingest import downloads
from ingestd.model import Arrival, State
from ingestd.preparing import prepare_store
from ingestd.receive.landing import Landing
from ingestd.spool import Spool
from ingestd.store.tables import deliveries, leads
from ingestd.worker import road_of
from tests.running import ROOT, Daemon, until
from tests.s3 import S3, SECRET

CONFIG = ROOT / "config"
ROWS = b"phone,name\n+4526000001,Lund\n+4526000002,Holm\n"
SOURCE = "fibreweb"


@pytest.fixture
def bucket(s3: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh bucket, which is the configured storage."""
    name = s3.new_bucket()
    configure(monkeypatch, s3, name)
    return name


def configure(monkeypatch: pytest.MonkeyPatch, s3: S3, bucket: str, **values: Any) -> None:
    for key, value in s3.environment(bucket, **values).items():
        monkeypatch.setenv(key, value)


def opened(home: Path) -> House:
    house = open_house(CONFIG, home)
    prepare_store(house)
    house.whereabouts.verify()
    return house


def lines(path: Path) -> str:
    return path.read_text(encoding="utf-8")


# --- which storage it is


def test_the_first_start_claims_the_storage(bucket: str, s3: S3, tmp_path: Path) -> None:
    opened(tmp_path / "home")
    opened(tmp_path / "home")
    assert s3.objects(bucket) == ["ingestd/store-id"]
    name = bytes(obstore.get(s3.client(bucket), "ingestd/store-id").bytes())
    assert name == (tmp_path / "home/store-id").read_bytes()


def test_a_storage_of_another_store_is_not_used(bucket: str, tmp_path: Path) -> None:
    """Their logs would have the same keys."""
    opened(tmp_path / "one")
    with pytest.raises(Misconfigured, match="is the storage of another store"):
        opened(tmp_path / "two")


def test_a_storage_that_was_emptied_is_not_used(bucket: str, s3: S3, tmp_path: Path) -> None:
    opened(tmp_path / "home")
    obstore.delete(s3.client(bucket), "ingestd/store-id")
    with pytest.raises(Misconfigured, match="has no store-id"):
        opened(tmp_path / "home")


@pytest.mark.parametrize("url", ["", "s3://another/prefix"])
def test_another_storage_than_the_store_remembers_is_not_used(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """Its deliveries would be taken for lost."""
    opened(tmp_path / "home")
    monkeypatch.setenv("INGESTD_STORAGE__URL", url)
    with pytest.raises(Misconfigured, match=f"storage.url: the files of this store are in s3://{bucket}/ingestd"):
        opened(tmp_path / "home")


def test_the_first_start_waits_for_its_storage(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later ones open the doors all the same, and say "try again"."""
    configure(monkeypatch, s3, s3.new_bucket(), endpoint="http://127.0.0.1:1", retries=0)
    with pytest.raises(Unavailable, match="cannot be reached"):
        opened(tmp_path / "home")
    monkeypatch.setenv("INGESTD_STORAGE__ENDPOINT", s3.endpoint)
    opened(tmp_path / "home")
    monkeypatch.setenv("INGESTD_STORAGE__ENDPOINT", "http://127.0.0.1:1")
    opened(tmp_path / "home")


def test_files_that_were_copied_are_adopted(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them, or nothing changes."""
    home, bucket = tmp_path / "home", s3.new_bucket()
    loaded(opened(home))
    configure(monkeypatch, s3, bucket)
    with pytest.raises(Misconfigured, match="run `ingestd storage adopt`"):
        opened(home)
    with pytest.raises(Misconfigured, match="lacks the files of delivery 1"):
        storage.adopt(CONFIG, home)
    with pytest.raises(Misconfigured, match="run `ingestd storage adopt`"):
        opened(home)
    for path in (path for name in ("spool", "logs") for path in (home / name).rglob("*") if path.is_file()):
        obstore.put(s3.client(bucket), f"ingestd/{path.relative_to(home)}", path)
    storage.adopt(CONFIG, home)
    assert capsys.readouterr().out == f"s3://{bucket}/ingestd has the files of all 1 deliveries\n"
    shutil.rmtree(home / "spool")
    shutil.rmtree(home / "logs")
    house = opened(home)
    (delivery,) = house.ledger.latest(limit=2)
    assert b"".join(downloads.pieces(delivery, "original", logs=house.logs, spool=house.spool)) == ROWS
    assert b"+4526000002" in b"".join(downloads.pieces(delivery, "full", logs=house.logs, spool=house.spool))


def loaded(house: House) -> None:
    """A file of this home that has gone the whole road."""
    landing = Landing(house.spool, house.ledger, ring=lambda: None)
    incoming = landing.open(1000)
    incoming.write(ROWS)
    arrival = Arrival(source=SOURCE, login=SOURCE, peer="local", protocol="ftp", name="fibre_DK-AAR_1.csv")
    assert landing.accept(incoming, arrival).delivery_id == 1
    road_of(house).travel(1)


def test_a_check_looks_at_the_storage(bucket: str, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> str | None:
        told = dict(checks.run(CONFIG, tmp_path / "home"))
        return next(problem for name, problem in told.items() if name.startswith("storage s3://"))

    assert found() is None
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert "look at the credentials in the environment" in (found() or "")


# --- a daemon whose storage comes and goes


@pytest.fixture
def daemon(s3: S3, tmp_path: Path) -> Iterator[Daemon]:
    bucket = s3.new_bucket()
    settings = s3.environment(bucket, timeout_seconds=3, retries=1)
    with Daemon(tmp_path, **settings, INGESTD_WORKER__RETRY_SECONDS="0.2") as running:
        yield running
    told = lines(running.journal)
    assert SECRET not in told
    assert "AWS4-HMAC" not in told


def rows(daemon: Daemon, table: Any) -> int:
    with contextlib.closing(sqlite3.connect(daemon.home / "ingestd.db")) as store:
        return int(store.execute(str(select(func.count()).select_from(table))).fetchone()[0])


def ready(daemon: Daemon) -> dict[str, Any]:
    door = daemon.doors["http"]
    try:
        with urllib.request.urlopen(f"http://{door['host']}:{door['port']}/readyz", timeout=10) as answer:
            return {"status": answer.status, **json.load(answer)["checks"]}
    except urllib.error.HTTPError as refused:
        with refused:
            return {"status": refused.code, **json.load(refused)["checks"]}


def test_doors_take_nothing_while_the_storage_is_away(daemon: Daemon, s3: S3) -> None:
    assert daemon.send(SOURCE, "fibre_DK-AAR_1.csv", ROWS).startswith("226 delivery 1 received")
    # Results that cannot be handed back are tried again after a minute.
    until(lambda: rows(daemon, leads) == 2 and not daemon.house().ledger.unpublished(), "the first file has ended")
    assert ready(daemon)["status"] == 200
    dropped = daemon.home / "drop" / SOURCE / "fibre_DK-AAR_2.csv"
    with s3.away():
        with pytest.raises(ftplib.error_temp, match=r"^451 .*send the file again later"):
            daemon.send(SOURCE, "fibre_DK-AAR_3.csv", ROWS + b"\n")
        with daemon.sftp(SOURCE) as client, pytest.raises(asyncssh.SFTPFailure, match="again later"):
            client.send("upload/fibre_DK-AAR_4.csv", ROWS + b"\n\n")
        dropped.write_bytes(ROWS + b"\n\n\n")
        until(lambda: daemon.events("folder_store_away"), "the drop folder has tried")
        told = ready(daemon)
        assert (told["status"], told["storage"]["ok"], told["database"]["ok"]) == (503, False, True)
        held = [path for path in dropped.parent.rglob("*") if path.is_file()]
        assert [path.read_bytes() for path in held] == [ROWS + b"\n\n\n"], "where it was, or in .taking/"
        assert rows(daemon, deliveries) == 1
        assert list((daemon.home / "spool/tmp").iterdir()) == []
    until(lambda: ready(daemon)["status"] == 200, "it is ready again")
    until(lambda: rows(daemon, deliveries) == 2, "the dropped file is taken")
    assert daemon.send(SOURCE, "fibre_DK-AAR_3.csv", ROWS + b"\n").startswith("226 delivery 3 received")
    until(lambda: rows(daemon, leads) == 6 and not daemon.house().ledger.unpublished(), "all are loaded")


def test_a_receiver_that_dies_between_the_file_and_its_row(daemon: Daemon, s3: S3) -> None:
    """The partner sends again, and there is one delivery. What the dead one has put is an orphan and stays."""
    bucket = daemon.environment["INGESTD_STORAGE__URL"].split("/")[2]
    name = "fibre_DK-AAR_1.csv"
    with contextlib.closing(sqlite3.connect(daemon.home / "ingestd.db", isolation_level=None)) as store:
        store.execute("BEGIN IMMEDIATE")  # so the row cannot be written
        answers: list[str] = []
        partner = threading.Thread(target=lambda: answers.append(answer(daemon, name)))
        partner.start()
        until(lambda: any("deliveries" in key for key in s3.objects(bucket)), "the file is put")
        (receiver,) = daemon.children("receiver")
        os.kill(receiver, signal.SIGKILL)
        partner.join()
        store.execute("ROLLBACK")
    assert not answers[0].startswith("226")
    until(lambda: answer(daemon, name).startswith("226 delivery 1 received"), "the partner sends again")
    until(lambda: rows(daemon, leads) == 2, "it is loaded")
    assert daemon.house().ledger.latest(limit=9)[0].state is State.COMPLETED
    assert len([key for key in s3.objects(bucket) if "deliveries" in key]) == 2
    assert rows(daemon, deliveries) == 1


def answer(daemon: Daemon, name: str) -> str:
    try:
        return daemon.send(SOURCE, name, ROWS)
    except (ftplib.Error, EOFError, OSError) as problem:
        return str(problem)


def test_orphans_are_listed_and_put_aside(
    bucket: str, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    house = opened(tmp_path / "home")
    incoming = house.spool.open(limit=100)
    incoming.write(ROWS)
    key = incoming.commit().key
    incoming.close()

    def told(*, move: bool = False, as_json: bool = False) -> str:
        storage.orphans(move=move, config=CONFIG, home=tmp_path / "home", as_json=as_json)
        return capsys.readouterr().out

    assert told() == "", "it may be landing just now"
    monkeypatch.setattr(Spool.orphans, "__kwdefaults__", {"age": timedelta(days=-1)})
    assert told().startswith(f"{key}  {len(ROWS)} bytes, ")
    assert json.loads(told(as_json=True)) == {"key": key, "bytes": len(ROWS), "moved_to": None}
    aside = f"spool/orphans/{key.replace('/', '-')}"
    with capture_logs():
        assert told(move=True).endswith(f"-> s3://{bucket}/ingestd/{aside}\n")
    assert told() == ""
    assert s3.objects(bucket) == [f"ingestd/{aside}", "ingestd/store-id"]
