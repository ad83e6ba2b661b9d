"""A 35 MB file of 262,000 rows, from its delivery to an active pool with its log, beside the bare loaders.

The peers are given the finished rows: no reading, no mapping, no checks, no owners, no screening, no log. Both fill the
same table with the same indexes. Every run has a fresh database; the runs take turns, so that a busy machine hits all.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import text

from bench import machine
from ingestd import samples
from ingestd.store.engine import open_engine, sqlite_url, writing
from ingestd.store.migrations import upgrade
from tests.conftest import Postgres, _binaries

ROWS = 262_000
STAGES = ("read", "map", "validate", "resolve", "screen", "load")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One measured load."""

    seconds: float
    """from the begin of the delivery to its commit; of a peer, the whole command"""
    stages: dict[str, float]
    peak_mib: float


def main(arguments: list[str]) -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.road", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    options = parser.parse_args(arguments)
    print(f"\n{options.rows:,} rows; {machine.described()}")
    with tempfile.TemporaryDirectory(prefix="ingestd-bench-") as folder:
        Path(folder).chmod(0o755)
        file = Path(folder) / "leads.csv"
        file.write_bytes(samples.clean(options.rows))
        print(f"{file.stat().st_size / 2**20:.1f} MiB; the median of {options.runs} runs\n")
        if options.only != "postgresql":
            _compare("SQLite", "sqlite3 .import", _sqlite(Path(folder), file), options.runs)
        if options.only != "sqlite":
            with postgres_server(Path(folder)) as server:
                _compare("PostgreSQL", "psql \\copy", _postgres(Path(folder), file, server), options.runs)


def _compare(name: str, peer: str, pairs: Iterator[tuple[Run, Run]], runs: int) -> None:
    ours, theirs = zip(*(next(pairs) for _ in range(runs)), strict=True)
    mine = statistics.median(run.seconds for run in ours)
    bare = statistics.median(run.seconds for run in theirs)
    print(f"{name:<11} ingestd {mine:5.2f} s   bare {peer} {bare:5.2f} s   ratio {mine / bare:4.2f} x")
    stages = {stage: statistics.median(run.stages[stage] for run in ours) for stage in STAGES}
    told = "   ".join(f"{stage} {seconds:.2f}" for stage, seconds in stages.items())
    print(f"{'':<11} {told}   peak memory {max(run.peak_mib for run in ours):.0f} MiB\n")


def _sqlite(folder: Path, file: Path) -> Iterator[tuple[Run, Run]]:
    while True:
        home = folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        run = _ingestd(home, file, {})
        finished = folder / "finished.csv"
        database = home / "ingestd.db"
        if not finished.exists():
            with finished.open("wb") as output:
                subprocess.run(["sqlite3", "-csv", str(database), "SELECT * FROM leads"], stdout=output, check=True)
        yield run, _sqlite_import(folder / "peer.db", finished)


def _sqlite_import(database: Path, finished: Path) -> Run:
    for path in database.parent.glob(f"{database.name}*"):
        path.unlink()
    engine = open_engine(f"sqlite:///{database}")
    upgrade(engine)
    engine.dispose()
    pragmas = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536;"
    command = ["sqlite3", "-csv", str(database), pragmas, f".import {finished} leads"]
    return _timed(command)


def _postgres(folder: Path, file: Path, server: Postgres) -> Iterator[tuple[Run, Run]]:
    while True:
        home = folder / "home-postgres"
        shutil.rmtree(home, ignore_errors=True)
        url = server.new_database()
        run = _ingestd(home, file, {"INGESTD_STORE__URL": url})
        finished = folder / "finished-postgres.csv"
        if not finished.exists():
            _psql(url, f"\\copy (select * from leads order by id) to '{finished}' csv")
        peer = server.new_database()
        engine = open_engine(peer)
        upgrade(engine)
        with writing(engine) as connection:
            connection.exec_driver_sql("CREATE TABLE leads_c1 PARTITION OF leads DEFAULT")
        engine.dispose()
        yield run, _timed(_psql_command(peer, f"\\copy leads from '{finished}' csv"))


def _psql_command(url: str, command: str) -> list[str]:
    return ["psql", "-q", "-d", url.replace("+psycopg", ""), "-c", command]


def _psql(url: str, command: str) -> None:
    subprocess.run(_psql_command(url, command), check=True)


def _ingestd(home: Path, file: Path, environment: dict[str, str]) -> Run:
    """One delivery in a process of its own; the time is what the ledger wrote down."""
    command = [sys.executable, "-m", "ingestd", "import", str(file), "--source", "nordlead", "--home", str(home)]
    peak = _peak(command, {**os.environ, **environment})
    engine = open_engine(environment.get("INGESTD_STORE__URL") or sqlite_url(home))
    with engine.connect() as connection:
        query = text("SELECT started_at, finished_at, timings, state FROM deliveries")
        started, finished, timings, state = connection.execute(query).one()
    engine.dispose()
    assert state == "completed", state
    seconds = (_moment(finished) - _moment(started)).total_seconds()
    stages = json.loads(timings)
    return Run(seconds=seconds, stages=stages, peak_mib=peak)


def _moment(value: str | datetime) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _peak(command: list[str], environment: dict[str, str]) -> float:
    """The peak of resident memory of a command, in MiB."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, process.returncode
    return usage.ru_maxrss / 1024


def _timed(command: list[str]) -> Run:
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return Run(seconds=time.perf_counter() - begun, stages={}, peak_mib=0)


@contextmanager
def postgres_server(folder: Path) -> Iterator[Postgres]:
    """A private server, for as long as the block lasts; as in the tests it does not fsync."""
    binaries = _binaries()
    assert binaries is not None, "PostgreSQL is not installed"
    place = folder / "postgres"
    place.mkdir()
    server = Postgres(binaries, place)
    server.start()
    try:
        yield server
    finally:
        server.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
