"""A 35 MB file of 262,000 rows, from its delivery to an active pool with its log, beside loaders of the finished rows.

The peers are given the finished rows: no reading, no mapping, no checks, no owners, no screening, no log. Those that
can fill the same table with the same indexes; dlt makes a table of its own. Every run has a fresh database; ingestd and
the bare loader take turns, so that a busy machine hits both; the others have one run. PostgreSQL's private server runs
with fsync, as SQLite does. ingestd's time is that of a process that has loaded nothing before, until after its commit;
a peer's is that of its whole command.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import machine, peers
from bench.peers import Peer
from bench.results import Result, show
from ingestd import samples
from ingestd.store.engine import open_engine, writing
from ingestd.store.migrations import upgrade
from tests.conftest import Postgres, _binaries

ROWS = 262_000
STAGES = ("read", "map", "validate", "resolve", "screen", "load")
MOST_MIB = 500
CSV_OF_LEADS = "SELECT * FROM leads"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One measured delivery."""

    seconds: float
    """from its beginning until after its commit"""
    stages: dict[str, float]
    peak_mib: float
    processor: float
    """seconds of processor that this process took; not those of a PostgreSQL server"""
    written_mib: float
    """by this process, to its disk"""


def main(arguments: list[str]) -> list[Result]:
    """Measures and prints the tables; returns what DESIGN.md has goals for."""
    parser = argparse.ArgumentParser(prog="python -m bench.road", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--runs", type=int, default=3, help="of ingestd and of the bare loaders")
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    parser.add_argument("--bare", action="store_true", help="leave out the peers that are slow, or to be installed")
    options = parser.parse_args(arguments)
    print(f"\n{options.rows:,} rows; {machine.described()}")
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="ingestd-bench-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        file = folder / "leads.csv"
        file.write_bytes(samples.clean(options.rows))
        print(
            f"{file.stat().st_size / 2**20:.1f} MiB; the median of {options.runs} runs, of peers but the first one run"
        )
        if options.only != "postgresql":
            results += _compare(Sqlite(folder=folder), file, options.runs, bare=options.bare)
        if options.only != "sqlite":
            with postgres_server(folder, fsync=True) as server:
                results += _compare(OnPostgres(folder=folder, server=server), file, options.runs, bare=options.bare)
    return results


@dataclass(frozen=True, kw_only=True)
class Sqlite:
    """Where both sides load to."""

    folder: Path
    name = "SQLite"

    def peers(self) -> list[Peer]:
        """Loaders beside ingestd."""
        return peers.on_sqlite()

    def fresh(self) -> str:
        """An empty store for a delivery, as `store.url`."""
        return ""

    def empty(self) -> str:
        """An empty store for a peer, as the peer names it."""
        for path in self.folder.glob("peer.db*"):
            path.unlink()
        _migrated(f"sqlite:///{self.folder / 'peer.db'}")
        return str(self.folder / "peer.db")

    def finished(self, url: str, home: Path, file: Path) -> None:
        """Writes the loaded rows with a header."""
        database = url or str(home / "ingestd.db")
        with file.open("wb") as output:
            subprocess.run(["sqlite3", "-csv", "-header", database, CSV_OF_LEADS], stdout=output, check=True)


@dataclass(frozen=True, kw_only=True)
class OnPostgres:
    """As `Sqlite`, on a private server."""

    folder: Path
    server: Postgres
    name = "PostgreSQL"

    def peers(self) -> list[Peer]:
        """Loaders beside ingestd."""
        return peers.on_postgres()

    def fresh(self) -> str:
        """An empty database."""
        return self.server.new_database()

    def empty(self) -> str:
        """An empty database with the tables."""
        url = self.server.new_database()
        _migrated(url)
        return url

    def finished(self, url: str, home: Path, file: Path) -> None:  # noqa: ARG002 - SQLite's store is in its home
        """Writes the loaded rows with a header."""
        subprocess.run(peers.psql(url, f"\\copy ({CSV_OF_LEADS}) to '{file}' csv header"), check=True)


def _migrated(url: str) -> None:
    """The tables as ingestd has them, with the one partition that a campaign's leads would be in."""
    engine = open_engine(url)
    upgrade(engine)
    if engine.dialect.name == "postgresql":
        with writing(engine) as connection:
            connection.exec_driver_sql("CREATE TABLE leads_of_peer PARTITION OF leads DEFAULT")
    engine.dispose()


def _compare(store: Sqlite | OnPostgres, file: Path, runs: int, *, bare: bool) -> list[Result]:
    first, *others = store.peers()
    finished = store.folder / f"finished-{store.name}.csv"
    ours: list[Run] = []
    theirs: list[float] = []
    for _ in range(runs):
        url, home = store.fresh(), store.folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        ours.append(delivered(home, file, url))
        if not finished.exists():
            store.finished(url, home, finished)
        seconds = peers.timed(first, store.empty(), finished)
        assert isinstance(seconds, float), seconds
        theirs.append(seconds)
    rest = {} if bare else {peer: peers.timed(peer, store.empty(), finished) for peer in others}
    return _show(store.name, ours, {first: statistics.median(theirs), **rest})


def _show(name: str, ours: list[Run], theirs: dict[Peer, float | str]) -> list[Result]:
    mine, (bare, least) = statistics.median(run.seconds for run in ours), next(iter(theirs.items()))
    assert isinstance(least, float)
    print(f"\n{name:<22} {'seconds':>8} {'ratio':>9}")
    print(f"{'ingestd':<22} {mine:>8.2f} {mine / least:>7.2f} x   everything: 226 to active pool with log")
    for peer, seconds in theirs.items():
        told = f"{seconds:>8.2f} {seconds / least:>7.2f} x   {peer.into}" if isinstance(seconds, float) else seconds
        print(f"{peer.name:<22} {told}")
    stages = {stage: statistics.median(run.stages[stage] for run in ours) for stage in STAGES}
    peak = max(run.peak_mib for run in ours)
    told = "   ".join(f"{stage} {seconds:.2f}" for stage, seconds in stages.items())
    print(f"{'stages of ingestd':<22} {told}   commit and the rest {mine - sum(stages.values()):.2f}")
    print(f"{'peak memory':<22} {peak:.0f} MiB", flush=True)
    return [
        Result(
            what=f"262k rows to Active, {name}",
            goal=f"<= 1.0 x {bare.name}",
            measured=f"{mine:.2f} s to {least:.2f} s",
            ratio=f"{mine / least:.2f} x",
            met=mine <= least,
        ),
        Result(
            what=f"peak memory of it, {name}",
            goal=f"<= {MOST_MIB} MiB",
            measured=f"{peak:.0f} MiB",
            ratio=f"{peak / MOST_MIB:.2f} x",
            met=peak <= MOST_MIB,
        ),
    ]


def delivered(home: Path, file: Path, url: str) -> Run:
    """One delivery in a process of its own."""
    command = [sys.executable, "-m", "bench.travel", str(home), str(file)]
    environment = {**os.environ, "INGESTD_STORE__URL": url}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return Run(**json.loads(done.stdout))


@contextmanager
def postgres_server(folder: Path, *, fsync: bool = False) -> Iterator[Postgres]:
    """A private server, for as long as the block lasts."""
    binaries = _binaries()
    assert binaries is not None, "PostgreSQL is not installed"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the server ends with us
    place = folder / "postgres"
    place.mkdir()
    server = Postgres(binaries, place, fsync=fsync)
    server.start()
    try:
        yield server
    finally:
        server.stop()


if __name__ == "__main__":
    show(main(sys.argv[1:]))
