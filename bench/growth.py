"""The file of 262,000 rows into campaigns that hold 0, 1 and 10 million leads already, on both databases.

The leads that are there have random phones, so the index by phone is as mixed as in real life, and are filled in by
the database itself. A campaign that is large already is screened against, and its indexes are deeper and no longer fit
into caches: the exponent of growth is the slope between the two largest, logarithm of time by logarithm of leads.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, insert, select

from bench import machine
from bench.results import Result, not_here, show
from bench.road import ROWS, STAGES, Run, delivered, postgres_server
from ingestd import samples
from ingestd.store import partitions
from ingestd.store.engine import open_engine, sqlite_url, writing
from ingestd.store.snapshots import database_file
from ingestd.store.tables import campaigns, lead_numbers

EXISTING = (0, 1_000_000, 10_000_000)
GOALS = {"sqlite": 2.0, "postgresql": 1.5}
"""times the empty campaign, into 10 million leads"""
CAMPAIGN = "DK-ENERGY"
BATCH = 100_000
"""leads that are filled in at once, in the order of their phones, as a load does it"""

# The phones lie between those of the file: of ten digits where the file's have nine, they are never the same. 7,368,787
# is prime to ten million, so each number below it comes once, in no order.
_PLACE = "((n * 7368787) % 10000000)"
_PHONE = f"'+45' || CAST(26000000 + {_PLACE} * 3 / 10 AS TEXT) || CAST({_PLACE} % 10 AS TEXT)"
_FILL = f"""
INSERT INTO leads (campaign_id, id, pool_id, row, owner_id, status_id, phone, first_name, last_name, email, address,
                   postcode, city, country, priority, extra)
SELECT {{campaign}}, {{first}} + row_number() OVER (ORDER BY phone) - 1, {{pool}}, n - {{first}} + 1, {{owner}},
       {{status}}, phone, 'Anna',
       'Andersen', 'anna.' || n || '@example.com', 'Vestergade ' || (n % 150), '8000', 'Aarhus C', 'DK', n % 100,
       '{{{{"supplier": "Havvind", "consumption_kwh": 4200}}}}'
FROM (SELECT n, {_PHONE} AS phone FROM ({{numbers}}) AS counted) AS made ORDER BY phone
"""
_NUMBERS = {
    "sqlite": "WITH RECURSIVE c(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM c WHERE n < {last}) SELECT n FROM c",
    "postgresql": "SELECT n FROM generate_series(CAST({first} AS bigint), {last}) AS n",
}


@dataclass(frozen=True, kw_only=True)
class Point:
    """One campaign size."""

    existing: int
    run: Run
    filled: float
    """seconds that filling took"""
    size_mib: float
    """of the store before the file"""


def main(arguments: list[str]) -> list[Result]:
    """Measures and prints the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--existing", type=_numbers, default=list(EXISTING), help="such as 0,1000000")
    parser.add_argument("--only", choices=tuple(GOALS))
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--runs", type=int, default=3, help="deliveries into each campaign; the median counts")
    options = parser.parse_args(arguments)
    print(f"\n{options.rows:,} rows into campaigns with leads; {machine.described()}; {options.runs} runs, the median")
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="ingestd-growth-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        files = _files(folder, options.rows, options.runs)
        if options.only != "postgresql":
            results += _show("sqlite", [_point(folder, files, lambda: "", count) for count in options.existing])
        if options.only != "sqlite":
            with postgres_server(folder, fsync=True) as server:
                points = [_point(folder, files, server.new_database, count) for count in options.existing]
                results += _show("postgresql", points)
    return results


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def _files(folder: Path, rows: int, runs: int) -> list[Path]:
    """Files with other phones each, so that none is a duplicate of another."""
    paths = [folder / f"leads-{number}.csv" for number in range(runs)]
    for number, path in enumerate(paths):
        path.write_bytes(samples.clean(rows, start=number * rows))
    return paths


def _point(folder: Path, files: list[Path], new_store: Callable[[], str], existing: int) -> Point:
    """The median of what the files take. An empty campaign is a new one each time; a large one grows by its files."""
    runs, filled, size = [], 0.0, 0.0
    home, url = folder / "home", ""
    for number, file in enumerate(files):
        if number == 0 or not existing:
            shutil.rmtree(home, ignore_errors=True)
            url = new_store()
            organised(home, url)
            filled, size = fill(url or sqlite_url(home), existing)
        runs.append(delivered(home, file, url))
    middle = sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]
    print(f"  {existing:>12,} leads: {middle.seconds:.2f} s (filled in {filled:.0f} s)", flush=True)
    return Point(existing=existing, run=middle, filled=filled, size_mib=size)


def organised(home: Path, url: str = "") -> None:
    """Makes home and store with the example organisation."""
    environment = {**os.environ, "INGESTD_STORE__URL": url}
    command = [sys.executable, "-m", "ingestd", "org", "import", "--home", str(home)]
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)


def fill(url: str, existing: int, *, pool: int = 0, owner: int = 1, status: int = 1) -> tuple[float, float]:
    """Seconds that it took, and the size of the store in MiB afterwards. The leads have these columns."""
    begun, engine = time.perf_counter(), open_engine(url)
    kind = engine.dialect.name
    for first in range(1, existing + 1, BATCH):
        last = min(first + BATCH - 1, existing)
        with writing(engine, forgettable=True) as connection:
            campaign = connection.scalars(select(campaigns.c.id).where(campaigns.c.code == CAMPAIGN)).one()
            numbers = _NUMBERS[kind].format(first=first, last=last)
            theirs = {"pool": pool, "owner": owner, "status": status}
            statement = _FILL.format(campaign=campaign, first=first, numbers=numbers, **theirs)
            if kind == "postgresql" and not partitions.there(connection, campaign):
                with partitions.made(connection, campaign):
                    pass  # leads are put into it once it is a part of the table, as by any later load
            connection.exec_driver_sql(statement.replace("%", _PERCENT[kind]))
    if existing:
        with writing(engine) as connection:
            connection.execute(insert(lead_numbers).values(id=1, next=existing + 1))
    size = _settled(engine)
    engine.dispose()
    return time.perf_counter() - begun, size


_PERCENT = {"sqlite": "%", "postgresql": "%%"}
"""as the drivers want it written"""


def _settled(engine: Engine) -> float:
    """Has the database do now what it would do during the measurement; its size in MiB."""
    if engine.dialect.name == "sqlite":
        engine.dispose()  # the last connection to close brings the log into the database
        return database_file(engine).stat().st_size / 2**20
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
        connection.exec_driver_sql("CHECKPOINT")
        size = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
        return float(size) / 2**20


def exponent(points: list[Point]) -> float | None:
    """The slope between the two largest campaigns, logarithm of seconds by logarithm of leads."""
    sized = [point for point in points if point.existing]
    if len(sized) < 2:
        return None
    one, other = sized[-2:]
    return math.log(other.run.seconds / one.run.seconds) / math.log(other.existing / one.existing)


def _show(kind: str, points: list[Point]) -> list[Result]:
    empty = points[0]
    print(
        f"\n{kind:<12} {'leads':>12} {'store':>11} {'seconds':>8} {'ratio':>7} {'processor':>10} {'written':>9}", end=""
    )
    print("".join(f"{stage:>10}" for stage in STAGES) + "    commit")
    for point in points:
        run, stages = point.run, point.run.stages
        told = f"{'':<12} {point.existing:>12,} {point.size_mib:>7.0f} MiB {run.seconds:>8.2f}"
        told += f" {run.seconds / empty.run.seconds:>5.2f} x {run.processor:>8.2f} s {run.written_mib:>5.0f} MiB"
        print(
            told
            + "".join(f"{stages[stage]:>10.2f}" for stage in STAGES)
            + f"{run.seconds - sum(stages.values()):>10.2f}"
        )
    slope = exponent(points)
    if slope is not None:
        print(f"{'':<12} exponent {slope:.2f}: ten times the leads take {10**slope:.2f} times as long")
    print(f"{'':<12} {_bound(points)}", flush=True)
    return _results(kind, points)


def _bound(points: list[Point]) -> str:
    """Which stage grows most, and whether the processor of the loading process is what it waits for."""
    first, last = points[0].run, points[-1].run
    grown = {stage: last.stages[stage] - first.stages[stage] for stage in STAGES}
    most = max(grown, key=lambda stage: grown[stage])
    waited = (last.seconds - last.processor) - (first.seconds - first.processor)
    told = f"of {last.seconds - first.seconds:.2f} s more, {grown[most]:.2f} s are in the stage {most!r}"
    return f"{told}; {waited:.2f} s are waiting (for disk or server), the rest is this process's processor"


def _results(kind: str, points: list[Point]) -> list[Result]:
    what, goal = f"262k rows into 10 M leads, {kind}", f"<= {GOALS[kind]} x empty"
    empty, largest = points[0], points[-1]
    if empty.existing or largest.existing < EXISTING[-1]:
        return [not_here(what, goal, "python -m bench.growth")]
    ratio = largest.run.seconds / empty.run.seconds
    measured = f"{largest.run.seconds:.2f} s to {empty.run.seconds:.2f} s"
    return [Result(what=what, goal=goal, measured=measured, ratio=f"{ratio:.2f} x", met=ratio <= GOALS[kind])]


if __name__ == "__main__":
    show(main(sys.argv[1:]))
