"""Backup and restore: what comes back is what was there, whoever wrote meanwhile; what is not whole is refused."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from rich.progress import Progress
from sqlalchemy import Engine, MetaData, func, select

from ingestd import backup, cli, manifest, restore, samples
from ingestd.errors import Misconfigured, Rejected, Unavailable
from ingestd.foreground import import_file
from ingestd.house import House, Lock, Places, open_house
from ingestd.model import Arrival, State
from ingestd.preparing import prepare_store
from ingestd.receive.landing import Landing
from ingestd.store import pgtools, snapshots, tables
from ingestd.store.engine import open_engine, reading, sqlite_url, writing
from ingestd.worker import publisher_of, road_of
from tests.conftest import Postgres
from tests.running import FEWER, Daemon, UntilDone, example_config, order_of, until

SILENT = Progress(disable=True)
RAW = "spool/deliveries"
LEADS = 362
"""that were loaded in a home that was lived in"""


@dataclass(kw_only=True)
class Site:
    """A place for homes with one configuration, on one kind of database."""

    folder: Path
    patch: pytest.MonkeyPatch
    new_database: Callable[[], str]
    engines: list[Engine] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.config = example_config(self.folder)

    def choose_store(self, url: str) -> None:
        self.patch.setenv("INGESTD_STORE__URL", url)

    def estate(self, home: str, url: str) -> backup.Estate:
        self.choose_store(url)
        estate = backup.Estate.of(self.config, self.folder / home)
        self.engines.append(estate.engine)
        return estate

    def house(self, home: str, url: str) -> House:
        self.choose_store(url)
        house = open_house(self.config, self.folder / home)
        self.engines.append(house.engine)
        prepare_store(house)
        return house

    def close(self) -> None:
        for engine in self.engines:
            engine.dispose()


@pytest.fixture
def on_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """SQLite's stores are in their homes."""
    with closing(Site(folder=tmp_path, patch=monkeypatch, new_database=lambda: "")) as site:
        yield site


@pytest.fixture
def on_postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: Postgres) -> Iterator[Site]:
    with closing(Site(folder=tmp_path, patch=monkeypatch, new_database=postgres.new_database)) as site:
        yield site


@pytest.fixture(params=["on_sqlite", "on_postgres"])
def site(request: pytest.FixtureRequest) -> Site:
    """On both databases."""
    found: Site = request.getfixturevalue(request.param)
    return found


def lived_in(site: Site, url: str) -> House:
    """A home in which a file was loaded, one refused, one came twice, one is queued, one running; one is parked."""
    house = site.house("home", url)
    for name, data in (
        ("good.csv", samples.clean(300)),
        ("mixed.csv", samples.dirty()),
        ("logo.csv", samples.picture()),
    ):
        file = site.folder / name
        file.write_bytes(data)
        import_file(house, order_of(file, "nordlead"), SILENT)
    import_file(house, order_of(site.folder / "good.csv", "nordlead"), SILENT)
    for number in (1, 2):
        landed(house, f"waits-{number}.csv", samples.clean(50, start=number * 1000))
    assert house.ledger.begin(6, max_attempts=5) is not None
    parked = house.places.homes / "nordlead" / "upload" / "half.csv.part"
    parked.parent.mkdir(parents=True, exist_ok=True)
    parked.write_bytes(b"Name,Phone\n")
    return house


def landed(house: House, name: str, data: bytes) -> int | None:
    """A delivery that is acknowledged and not loaded yet."""
    landing = Landing(house.spool, house.ledger, ring=lambda: None)
    with closing(landing.open(len(data))) as incoming:
        incoming.write(data)
        arrival = Arrival(source="nordlead", login="nordlead", peer="local", protocol="ftp", name=name)
        return landing.accept(incoming, arrival).delivery_id


def content(house: House) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    known = MetaData()
    with reading(house.engine) as connection:
        known.reflect(connection)
        return {
            name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for name, table in known.tables.items()
        }


def files(home: Path) -> dict[str, str]:
    """Every file of a home with its hash, but for the database and what holds only while a daemon runs."""
    found = (path for path in home.rglob("*") if path.is_file() and "run" not in path.parts)
    hashes = {str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
    return {name: value for name, value in hashes.items() if not name.startswith("ingestd.db")}


def finish(house: House) -> None:
    """What a daemon does at its start and then in its workers."""
    house.dispatcher.release()
    house.dispatcher.reconcile()
    road, publisher = road_of(house), publisher_of(house)

    house.dispatcher.run(road.travel, UntilDone(dispatcher=house.dispatcher))
    publisher.sweep()


def test_what_is_restored_is_what_was_there(site: Site) -> None:
    url, other = site.new_database(), site.new_database()
    before = lived_in(site, url)
    made = backup.take(site.estate("home", url), site.folder / "kept", SILENT)
    restore.put_back(site.estate("restored", other), site.folder / "kept", SILENT)
    after = site.house("restored", other)
    assert content(after) == content(before)
    assert files(after.places.home) == files(before.places.home)
    assert (made.store.tables["deliveries"], made.store.tables["leads"], made.faults) == (6, LEADS, ())
    assert "homes/nordlead/upload/half.csv.part" in files(after.places.home)


def test_files_in_a_storage_of_their_own_stay_there(site: Site) -> None:
    (site.folder / "storage").mkdir()
    site.patch.setenv("INGESTD_STORAGE__URL", (site.folder / "storage").as_uri())
    url, other = site.new_database(), site.new_database()
    before = lived_in(site, url)
    backup.take(site.estate("home", url), site.folder / "kept", SILENT)
    kept = files(site.folder / "kept")
    assert not [name for name in kept if name.startswith(("home/spool", "home/logs"))]
    restore.put_back(site.estate("restored", other), site.folder / "kept", SILENT)
    after = site.house("restored", other)
    assert content(after) == content(before)
    finish(after)
    assert [each.state for each in after.ledger.latest(limit=2)] == [State.COMPLETED] * 2


def test_what_was_queued_or_running_is_loaded_once_after_a_restore(site: Site) -> None:
    url, other = site.new_database(), site.new_database()
    lived_in(site, url)
    backup.take(site.estate("home", url), site.folder / "kept", SILENT)
    restore.put_back(site.estate("restored", other), site.folder / "kept", SILENT)
    after = site.house("restored", other)
    finish(after)
    finish(after)
    states = [each.state for each in reversed(after.ledger.latest(limit=9))]
    whole, rejects = State.COMPLETED, State.COMPLETED_WITH_REJECTS
    assert states == [whole, rejects, State.REFUSED, State.DUPLICATE, whole, whole]
    with reading(after.engine) as connection:
        assert connection.scalar(select(func.count()).select_from(tables.leads)) == LEADS + 2 * 50
        assert connection.scalar(select(func.count()).select_from(tables.receipts)) == 4
        assert connection.scalar(select(func.count()).select_from(tables.jobs)) == 0


class Sender(threading.Thread):
    """A partner that sends small files until it is told to stop."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(daemon=True)
        self.daemon_under_test, self.enough, self.answers = daemon, threading.Event(), 0

    def run(self) -> None:
        while not self.enough.is_set():
            name, data = f"live-{self.answers}.csv", samples.clean(20, start=10_000 + self.answers * 20)
            assert self.daemon_under_test.send("nordlead", name, data).startswith("226")
            self.answers += 1


def test_a_backup_of_a_busy_daemon_holds_a_moment_of_it(site: Site) -> None:
    """Each delivery of the snapshot has its file; what was loaded has its rows, and the rest is loaded afterwards."""
    url, other = site.new_database(), site.new_database()
    folder = site.folder / "live"
    with Daemon(folder, **FEWER, INGESTD_STORE__URL=url) as daemon:
        sender = Sender(daemon)
        sender.start()
        site.choose_store(url)
        for number in range(3):
            until(lambda least=10 * (number + 1): sender.answers >= least, "files to have been sent")
            acknowledged = sender.answers
            estate = backup.Estate.of(daemon.config, daemon.home)
            made = backup.take(estate, site.folder / f"kept-{number}", SILENT)
            estate.engine.dispose()
            assert made.faults == ()
            assert made.store.tables["deliveries"] >= acknowledged
        sender.enough.set()
        sender.join()
    restore.put_back(site.estate("restored", other), site.folder / "kept-2", SILENT)
    after = site.house("restored", other)
    finish(after)
    deliveries = after.ledger.latest(limit=9_999)
    assert {each.state for each in deliveries} == {State.COMPLETED}
    with reading(after.engine) as connection:
        leads = connection.execute(select(func.count(), func.count(tables.leads.c.phone.distinct()))).one()
    assert tuple(leads) == (20 * len(deliveries), 20 * len(deliveries))


# --- what is refused


@pytest.fixture
def kept(on_sqlite: Site) -> Site:
    """A backup in `kept`, on SQLite."""
    lived_in(on_sqlite, "")
    backup.take(on_sqlite.estate("home", ""), on_sqlite.folder / "kept", SILENT)
    return on_sqlite


def refused(site: Site, code: str, about: str) -> None:
    """A restore is refused, names what is wrong, and has touched nothing."""
    with pytest.raises(Rejected, match=about) as why:
        restore.put_back(site.estate("restored", ""), site.folder / "kept", SILENT)
    assert why.value.code == code
    assert not (site.folder / "restored").exists()


def some(site: Site, pattern: str) -> Path:
    return min((site.folder / "kept").glob(pattern))


@pytest.mark.parametrize(
    ("pattern", "harm"),
    [
        ("home/spool/deliveries/*/*/*/*", "one bit"),
        ("home/spool/deliveries/*/*/*/*", "cut"),
        ("home/spool/deliveries/*/*/*/*", "gone"),
        ("home/spool/deliveries/*/*/*/*", "a link"),
        ("home/logs/1/1/rows.arrows", "one bit"),
        ("store/ingestd.db", "cut"),
        ("home/store-id", "gone"),
    ],
)
def test_a_damaged_file_is_named_and_nothing_is_restored(kept: Site, pattern: str, harm: str) -> None:
    path = some(kept, pattern)
    data = bytearray(path.read_bytes())
    path.unlink()
    if harm == "one bit":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif harm == "cut":
        path.write_bytes(data[:-1])
    elif harm == "a link":
        (kept.folder / "elsewhere").write_bytes(data)
        path.symlink_to(kept.folder / "elsewhere")
    refused(kept, "backup_broken", path.name)


def test_a_backup_that_was_cut_has_no_manifest_and_is_refused(kept: Site) -> None:
    (kept.folder / "kept" / manifest.MANIFEST).unlink()
    refused(kept, "backup_broken", "manifest.json is missing")


def test_a_cut_manifest_is_refused(kept: Site) -> None:
    path = kept.folder / "kept" / manifest.MANIFEST
    path.write_bytes(path.read_bytes()[:-20])
    refused(kept, "backup_broken", "manifest.json cannot be read")


def test_a_list_of_hashes_that_was_shortened_is_refused(kept: Site) -> None:
    path = kept.folder / "kept" / manifest.SUMS
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))
    refused(kept, "backup_broken", "SHA256SUMS is not the list")


def changed(site: Site, **facts: Any) -> None:
    path = site.folder / "kept" / manifest.MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def test_what_is_no_backup_of_ours_is_refused(kept: Site) -> None:
    changed(kept, format="something else")
    refused(kept, "backup_foreign", "is no backup of ingestd")


def test_a_later_format_is_refused(kept: Site) -> None:
    changed(kept, version=2)
    refused(kept, "backup_foreign", "has the format 2")


def test_a_store_of_a_newer_version_is_refused(kept: Site) -> None:
    store = json.loads((kept.folder / "kept" / manifest.MANIFEST).read_text())["store"]
    changed(kept, store={**store, "revision": "9999"})
    refused(kept, "backup_foreign", "a newer version")


@pytest.mark.parametrize("place", ["../../evil", "home/../../evil", "/etc/evil", "elsewhere/evil"])
def test_a_list_that_leads_out_of_the_home_is_refused(kept: Site, place: str) -> None:
    folder = kept.folder / "kept"
    digest = manifest.written(folder, {place: "0" * 64})
    changed(kept, sums=digest)
    refused(kept, "backup_foreign", "a file that a backup cannot have")


def test_a_backup_of_the_other_database_is_refused(kept: Site, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("postgres").new_database()
    with pytest.raises(Rejected, match=r"is of a store on sqlite; store\.url names one on postgresql"):
        restore.put_back(kept.estate("restored", url), kept.folder / "kept", SILENT)


# --- what is not overwritten


def test_a_home_that_is_not_empty_is_left_alone_unless_it_is_told(site: Site) -> None:
    url, other = site.new_database(), site.new_database()
    before = lived_in(site, url)
    backup.take(site.estate("home", url), site.folder / "kept", SILENT)
    busy = site.house("busy", other)
    landed(busy, "mine.csv", samples.clean(5))
    mine = files(busy.places.home)
    busy.engine.dispose()
    with pytest.raises(Rejected, match="the home is not empty"):
        restore.put_back(site.estate("busy", other), site.folder / "kept", SILENT)
    assert files(busy.places.home) == mine
    restore.put_back(site.estate("busy", other), site.folder / "kept", SILENT, replace=True)
    assert content(site.house("busy", other)) == content(before)
    (aside,) = (site.folder / "busy").glob("replaced-*")
    assert files(aside) == mine


def test_a_database_that_is_not_empty_is_left_alone_unless_it_is_told(on_postgres: Site) -> None:
    """What it held is kept under another schema, and the next backup does not take it along."""
    site = on_postgres
    url, other = site.new_database(), site.new_database()
    before = lived_in(site, url)
    backup.take(site.estate("home", url), site.folder / "kept", SILENT)
    busy = content(site.house("busy", other))
    with pytest.raises(Rejected, match=r"database of store\.url is not empty"):
        restore.put_back(site.estate("restored", other), site.folder / "kept", SILENT)
    assert content(site.house("busy", other)) == busy
    restore.put_back(site.estate("restored", other), site.folder / "kept", SILENT, replace=True)
    restored = site.house("restored", other)
    assert content(restored) == content(before)
    with reading(restored.engine) as connection:
        aside = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'replaced-%'"
        assert connection.exec_driver_sql(aside.replace("%", "%%")).scalar_one() == 1
    again = backup.take(site.estate("restored", other), site.folder / "again", SILENT)
    restore.put_back(site.estate("third", site.new_database()), site.folder / "again", SILENT)
    assert again.store.tables["leads"] == LEADS


def test_a_database_is_as_it_was_when_its_restoring_fails(on_postgres: Site) -> None:
    site = on_postgres
    url, other = site.new_database(), site.new_database()
    lived_in(site, url)
    backup.take(site.estate("home", url), site.folder / "kept", SILENT)
    busy = content(site.house("busy", other))
    estate = site.estate("restored", other)
    site.patch.setattr(snapshots, "check_same", mock.Mock(side_effect=Unavailable("differs")))
    with pytest.raises(Unavailable, match="differs"):
        restore.put_back(estate, site.folder / "kept", SILENT, replace=True)
    assert content(site.house("busy", other)) == busy


def test_a_home_is_as_it_was_when_its_restoring_fails(kept: Site) -> None:
    """Without its store-id the next command would have made it a new, empty store."""
    busy = kept.house("busy", "")
    landed(busy, "mine.csv", samples.clean(5))
    mine, its = files(busy.places.home), content(busy)
    busy.engine.dispose()
    kept.patch.setattr(snapshots, "check_same", mock.Mock(side_effect=Unavailable("differs")))
    with pytest.raises(Unavailable, match="differs"):
        restore.put_back(kept.estate("busy", ""), kept.folder / "kept", SILENT, replace=True)
    assert files(busy.places.home) == mine
    assert content(kept.house("busy", "")) == its


def test_a_backup_in_the_home_that_it_would_replace_is_refused(kept: Site) -> None:
    """It would be put aside with the home before it is read."""
    inside = kept.folder / "home" / "backups" / "monday"
    inside.parent.mkdir()
    (kept.folder / "kept").rename(inside)
    before = files(kept.folder / "home")
    with pytest.raises(Rejected, match="lies in the home") as why:
        restore.put_back(kept.estate("home", ""), inside, SILENT, replace=True)
    assert why.value.code == "backup_in_home"
    assert files(kept.folder / "home") == before


def test_a_running_daemon_keeps_its_home(kept: Site) -> None:
    lock = Lock(Places(home=kept.folder / "busy"))
    assert lock.taken()
    with pytest.raises(Misconfigured, match="a daemon uses this home"):
        restore.put_back(kept.estate("busy", ""), kept.folder / "kept", SILENT)
    lock.release()


def test_a_backup_is_never_overwritten(kept: Site) -> None:
    with pytest.raises(Rejected, match="is there already"):
        backup.take(kept.estate("home", ""), kept.folder / "kept", SILENT)


# --- what can go wrong while it is made


def test_a_backup_that_fails_leaves_nothing(kept: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> tuple[str, int]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "copied", full)
    with pytest.raises(Unavailable, match="No space left"):
        backup.take(kept.estate("home", ""), kept.folder / "second", SILENT)
    assert not list(kept.folder.glob("second*"))


def test_a_file_that_the_store_has_lost_is_told(kept: Site) -> None:
    missing, damaged = sorted((kept.folder / "home" / RAW).glob("*/*/*/*"))[:2]
    missing.unlink()
    damaged.write_bytes(b"x")
    made = backup.take(kept.estate("home", ""), kept.folder / "second", SILENT)
    assert {fault.split(": ")[0].split(" is ")[1] for fault in made.faults} == {"missing", "damaged"}
    restore.put_back(kept.estate("restored", ""), kept.folder / "second", SILENT)


def test_a_file_that_was_discarded_meanwhile_is_no_fault(kept: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row was removed between the snapshot and the copying."""
    listed, house = snapshots.files, kept.house("home", "")

    def then_discarded(connection: Any) -> list[snapshots.Named]:
        found = listed(connection)
        with writing(house.engine) as other:
            other.execute(tables.jobs.delete())
            other.execute(tables.deliveries.delete().where(tables.deliveries.c.id == found[-1].delivery_id))
        house.spool.discard(found[-1].spool_key)
        return found

    monkeypatch.setattr(snapshots, "files", then_discarded)
    assert backup.take(kept.estate("home", ""), kept.folder / "second", SILENT).faults == ()


def test_a_partner_cannot_have_other_files_backed_up(kept: Site) -> None:
    secret = kept.folder / "secret"
    secret.write_text("x")
    (kept.folder / "home" / "homes" / "nordlead" / "upload" / "link.part").symlink_to(secret)
    (kept.folder / "home" / "homes" / "nordlead" / "upload" / "folder").symlink_to(kept.folder)
    os.mkfifo(kept.folder / "home" / "homes" / "nordlead" / "upload" / "fifo.part")
    backup.take(kept.estate("home", ""), kept.folder / "second", SILENT)
    uploads = kept.folder / "second" / "home" / "homes" / "nordlead" / "upload"
    assert [path.name for path in uploads.rglob("*")] == ["half.csv.part"]


def test_a_name_with_a_line_end_comes_back(kept: Site) -> None:
    odd = kept.folder / "home" / "homes" / "nordlead" / "upload" / "a\nb\\c.part"
    odd.write_bytes(b"1")
    backup.take(kept.estate("home", ""), kept.folder / "second", SILENT)
    restore.put_back(kept.estate("restored", ""), kept.folder / "second", SILENT)
    assert (kept.folder / "restored" / odd.relative_to(kept.folder / "home")).read_bytes() == b"1"


@pytest.mark.parametrize(("name", "told"), [("absent", "absent is not there"), ("a.zip", "a.zip is no folder")])
def test_a_backup_that_is_no_folder_is_not_called_damaged(kept: Site, name: str, told: str) -> None:
    (kept.folder / "a.zip").write_bytes(b"")
    with pytest.raises(Rejected, match=told) as raised:
        restore.put_back(kept.estate("restored", ""), kept.folder / name, SILENT)
    assert (raised.value.code, raised.value.suggestion) == (
        "backup_foreign",
        "name the folder that `ingestd backup` made",
    )


def test_a_home_with_the_store_of_another_is_not_backed_up(kept: Site) -> None:
    kept.house("other", "").engine.dispose()
    with pytest.raises(Misconfigured, match="do not belong together"):
        backup.take(kept.estate("home", sqlite_url(kept.folder / "other")), kept.folder / "second", SILENT)


def test_a_home_without_a_store_is_not_backed_up_and_none_is_made(kept: Site) -> None:
    with pytest.raises(Rejected, match="there is no store"):
        backup.take(kept.estate("nobody", ""), kept.folder / "second", SILENT)
    assert not (kept.folder / "nobody").exists()


def test_a_home_whose_restoring_was_cut_is_not_opened(kept: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(snapshots, "put_back", cut)
    with pytest.raises(KeyboardInterrupt):
        restore.put_back(kept.estate("restored", ""), kept.folder / "kept", SILENT)
    with pytest.raises(Misconfigured, match="do not belong together"):
        kept.house("restored", "")


# --- PostgreSQL's programs


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(pgtools, "DEBIAN", tmp_path)
    with pytest.raises(Unavailable, match=r"pg_dump was found neither on PATH nor in .*; install"):
        pgtools.program("pg_dump", 150_018)


def test_a_program_that_is_older_than_the_server_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for number in (9, 14):
        path = tmp_path / str(number) / "bin" / "pg_dump"
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {number}.2'\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "9" / "bin"))
    monkeypatch.setattr(pgtools, "DEBIAN", tmp_path)
    assert pgtools.program("pg_dump", 140_001) == tmp_path / "14" / "bin" / "pg_dump"
    with pytest.raises(Unavailable, match="the server is PostgreSQL 15, but pg_dump is 14; install the client of"):
        pgtools.program("pg_dump", 150_018)


def test_an_older_server_is_told_before_anything_is_restored(postgres: Any, tmp_path: Path) -> None:
    engine = open_engine(postgres.new_database())
    with pytest.raises(Unavailable, match="the backup is of PostgreSQL 99, this server is"):
        snapshots.put_back(engine, tmp_path / "none", 990_000)
    engine.dispose()


def test_a_password_is_neither_on_the_command_line_nor_in_what_is_told(tmp_path: Path) -> None:
    program = tmp_path / "pg_dump"
    program.write_text(
        '#!/bin/sh\necho "$@" >"${0%/*}/said"\necho "$PGPASSWORD" >"${0%/*}/given"\necho away >&2\nexit 1\n'
    )
    program.chmod(0o755)
    engine = open_engine("postgresql+psycopg://user:geheim@db.example:5433/leads?sslmode=require&connect_timeout=3")
    with pytest.raises(Unavailable) as why:
        pgtools.run(program, engine, "--format=custom")
    assert str(why.value) == "pg_dump failed: away"
    said = (tmp_path / "said").read_text()
    assert "geheim" not in said
    assert {"host=db.example", "port=5433", "sslmode=require"} <= set(said.replace("--dbname=", "").split())
    assert (tmp_path / "given").read_text() == "geheim\n"


# --- as an operator calls it


def test_nobody_else_may_read_a_backup(kept: Site) -> None:
    os.umask(0o022)
    command(kept, "backup", "second")
    for path in (kept.folder / "second", *(kept.folder / "second").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def command(site: Site, *words: str, code: int = 0) -> None:
    home = site.folder / ("home" if words[0] == "backup" else "back")
    arguments = [words[0], str(site.folder / words[1]), *words[2:], "--config", str(site.config), "--home", str(home)]
    with mock.patch("sys.argv", ["ingestd", *arguments]), pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code or 0) == code


def test_the_commands_tell_how_they_ended(kept: Site, capsys: pytest.CaptureFixture[str]) -> None:
    command(kept, "backup", "second", "--json")
    assert json.loads(capsys.readouterr().out)["store"]["tables"]["leads"] == LEADS
    command(kept, "restore", "second")
    assert f"{LEADS} leads" in capsys.readouterr().out
    command(kept, "restore", "second", code=4)
    assert "the home is not empty" in capsys.readouterr().err
    command(kept, "restore", "second", "--replace")
    next((kept.folder / "home" / RAW).glob("*/*/*/*")).unlink()
    capsys.readouterr()
    command(kept, "backup", "third", code=3)
    assert "is missing" in capsys.readouterr().err
