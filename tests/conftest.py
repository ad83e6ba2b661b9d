"""Real databases for every test of the store: the same test over SQLite and PostgreSQL by one fixture."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine

from ingestd import garbage
from ingestd.settings import Configuration
from ingestd.store.engine import open_engine
from tests import databases
from tests.s3 import S3

MEMORY, ROOM = Path("/dev/shm"), 6 * 1024**3

# Times vary on a shared machine; a slow example is no failure.
settings.register_profile("ingestd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ingestd")


def pytest_configure() -> None:
    """Benchmarks, which import from here, are left as they are."""
    # Every start of the daemon would compile its modules anew, a second of processor each.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
        # Waiting for the disk takes most of a test's time, and shows nothing while the machine stays up.
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None


def pytest_collection_finish() -> None:
    """Thousands of tests and all modules stay until the end: the collector need not go through them again and again."""
    garbage.keep_what_is_there()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than processors: a part of the time is waiting."""
    return len(os.sched_getaffinity(0)) + 1


class Postgres:
    """A private PostgreSQL server in a temporary folder, gone with the test run."""

    def __init__(self, binaries: Path, folder: Path, *, fsync: bool = False) -> None:
        """Tests do without fsync, which takes most of their time and shows nothing while the machine stays up."""
        self.binaries, self.folder, self.fsync = binaries, folder, fsync
        # PostgreSQL refuses to run as root; Debian's package brings a user for it.
        self.user = "postgres" if os.geteuid() == 0 else None
        self.port = _free_port()
        self.databases = 0
        self.keeper: psycopg.Connection | None = None
        """makes and drops databases"""

    def start(self) -> None:
        if self.user:
            shutil.chown(self.folder, self.user)
        data = self.folder / "data"
        self._run("initdb", "-D", str(data), "-A", "trust", "-U", "ingestd", "-E", "UTF8", "--locale=C.UTF-8", "-N")
        self.resume()

    def resume(self) -> None:
        """Starts it on the data it has."""
        its = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -c max_connections=100"
        options = f"{its} -c fsync={'on' if self.fsync else 'off'}"
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        """At once, as if it had crashed."""
        if self.keeper is not None:
            self.keeper.close()
            self.keeper = None
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "stop")

    def new_database(self, template: str = "template1") -> str:
        """The URL of a fresh database."""
        self.databases += 1
        name = f"test_{self.databases}"
        # Copying its files takes half of the time in which its pages go through the log of a server that may crash.
        self._order(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        return self.url(name)

    def drop(self, url: str) -> None:
        """A database whose test is over: a thousand of them are ten gigabytes."""
        self._order(f'DROP DATABASE "{url.rsplit("/", 1)[1]}" WITH (FORCE)')

    def _order(self, statement: str) -> None:
        if self.keeper is None:
            address = {"host": "127.0.0.1", "port": self.port, "user": "ingestd", "dbname": "postgres"}
            self.keeper = psycopg.connect(**address, autocommit=True)
        self.keeper.execute(statement)

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://ingestd@127.0.0.1:{self.port}/{database}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.binaries / program), *arguments]
        done = subprocess.run(command, user=self.user, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


def _without_postgres(reason: str) -> None:
    if os.environ.get("INGESTD_REQUIRE_POSTGRES"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One private server for this process of the test run."""
    binaries = _binaries()
    if binaries is None:
        _without_postgres("PostgreSQL is not installed: apt-get install postgresql")
        return
    if os.geteuid() == 0 and "postgres" not in {entry.pw_name for entry in pwd.getpwall()}:
        _without_postgres("as root, the tests need a user postgres to run the server")
    # Not under pytest's own folder, which only its own user may enter.
    with tempfile.TemporaryDirectory(prefix="ingestd-postgres-") as folder:
        server = Postgres(binaries, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of another file system than the temporary folder's: of memory and disk, one is."""
    places = filter(Path.is_dir, (MEMORY, Path("/var/tmp")))
    others = [place for place in places if place.stat().st_dev != tmp_path.stat().st_dev]
    if not others:
        pytest.skip("there is no second file system")
    return others[0]


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    """One private S3 server for this process of the test run."""
    with tempfile.TemporaryDirectory(prefix="ingestd-s3-") as folder:
        server = S3(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def s3(s3_server: S3) -> S3:
    """The S3 server, running."""
    if s3_server.process is None:
        s3_server.start()
    return s3_server


@pytest.fixture(scope="session")
def migrated(postgres: Postgres) -> str:
    """The name of a database with every table, to copy from."""
    return _template(postgres, organised=False)


@pytest.fixture(scope="session")
def furnished_with_owners(postgres: Postgres) -> str:
    """The name of one with the example organisation, to copy from."""
    return _template(postgres, organised=True)


def _template(server: Postgres, *, organised: bool) -> str:
    url = server.new_database()
    engine = open_engine(url)
    databases.fill(engine, organised=organised)
    engine.dispose()
    return url.rsplit("/", 1)[1]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated database, empty unless the test asks for the one that is `organised`."""
    organised = "organised" in request.fixturenames
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.new_database(request.getfixturevalue("furnished_with_owners" if organised else "migrated"))
        yield url
        server.drop(url)
    else:
        yield databases.embedded(tmp_path, organised=organised)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A migrated database."""
    opened = open_engine(database_url)
    yield opened
    opened.dispose()


@pytest.fixture(scope="session")
def example() -> Configuration:
    """The example configuration that the project ships."""
    return databases.example()


@pytest.fixture
def organised(engine: Engine) -> Engine:
    """A database with the example organisation."""
    return engine
