"""Pages over a ledger of 100,000 deliveries and over millions of leads: how long the server takes for each.

`python -m bench.pages [--deliveries 100000] [--leads 10000000] [--postgres]`; without `--leads` only the deliveries.
"""

from __future__ import annotations

import argparse
import logging
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import Engine, insert

from bench import lead_admin
from bench.road import postgres_server
from ingestd.house import House
from ingestd.model import State
from ingestd.store import tables
from ingestd.store.engine import writing
from ingestd.store.ledger import now
from ingestd.webserver import desk_of
from tests.running import prepared
from tests.web.serving import Client, serving_at

GOAL_SECONDS = 0.3
REPEATS = 9
STEP = 10_000
SOURCES = ("nordlead", "stadtwerk", "fibreweb")
PATHS = (
    "/deliveries",
    "/deliveries?view=progress",
    "/deliveries?view=all",
    "/deliveries?view=all&source=fibreweb&period=week",
    "/deliveries?view=all&q=leads-777",
    "/deliveries?view=all&q=nothing-is-called-so",
    "/deliveries?view=all&state=failed",
    "/deliveries/{middle}",
)
LEAD_PATHS = (
    "/leads",
    "/leads?sort=-called_at",
    "/leads?filter=campaign+is+DK-ENERGY+and+status+is+open",
    "/leads?filter=city+is+Odense+and+last_name+starts+with+ber",
    "/leads?filter=city+is+Nowhere",
    "/leads?filter=phone+starts+with+%2B4523&sort=city",
    "/leads?filter=owner+below+team:company",
    "/leads?filter=pool+is+{pool}",
    "/leads/{lead}",
    "/pools",
    "/pools?kpi=success_rate&kpi=count:busy&sort=name",
    "/pools/{pool}",
    "/reports?by=campaign",
    "/segments",
    "/dial",
)


def fill(engine: Engine, count: int) -> None:
    """A ledger of `count` deliveries of the last month: one in fifty refused, one in ten with rejects."""
    first = now() - timedelta(days=30)
    for start in range(0, count, STEP):
        rows = [_row(number, first, count) for number in range(start, min(count, start + STEP))]
        with writing(engine) as connection:
            connection.execute(insert(tables.deliveries), rows)


def _row(number: int, first: Any, count: int) -> dict[str, Any]:
    state = State.REFUSED if number % 50 == 7 else State.COMPLETED_WITH_REJECTS if number % 10 == 3 else State.COMPLETED
    if number > count - 20:
        state = State.QUEUED
    at = first + timedelta(days=30) * (number / count)
    ended = {"finished_at": at, "published_at": at} if state.final else {"finished_at": None, "published_at": None}
    rejected = 7 if state is State.COMPLETED_WITH_REJECTS else 0
    source = SOURCES[number % 3]
    return {
        "source": source, "login": source, "peer": "192.0.2.1", "protocol": "ftps", "name": f"leads-{number}.csv",
        "folder": "", "size": 123_456, "sha256": f"{number:064x}", "completeness": "proven",
        "evidence": "tls close_notify", "spool_key": "", "state": state, "received_at": at, "queued_at": at,
        "started_at": at, "records": 1000, "inserted": 1000 - rejected, "rejected": rejected,
        "previous_version": number - 2 if number % 40 == 9 else None, **ended,
    }  # fmt: skip


def measure(client: Client, path: str) -> tuple[float, float, float]:
    """Seconds until the whole answer is there, median and worst; and seconds of the processor, the client's too."""
    taken, spent = [], []
    for _ in range(REPEATS):
        begun, worked = time.perf_counter(), time.process_time()
        answer = client.ask("GET", path, Accept="text/html")
        taken.append(time.perf_counter() - begun)
        spent.append(time.process_time() - worked)
        assert answer.status == 200, (path, answer.status)
    return statistics.median(taken), max(taken), statistics.median(spent)


@contextmanager
def home(folder: Path, *, postgres: bool) -> Iterator[House]:
    """A fresh home, on SQLite or on a private PostgreSQL."""
    if not postgres:
        with prepared(folder) as house:
            yield house
        return
    folder.chmod(0o755)
    with postgres_server(folder, fsync=False) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("INGESTD_STORE__URL", server.new_database())
        with prepared(folder) as house:
            yield house


def run(count: int, leads: int, *, postgres: bool) -> int:
    """Prints a table; the exit code says whether every page reaches the goal."""
    slow = 0
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory() as place, home(Path(place), postgres=postgres) as house:
        fill(house.engine, count)
        if leads:
            lead_admin.filled(house.engine, leads)
        with serving_at(desk_of(house), house.places.run) as api:
            client = api.user("admin")
            told = f"{count:,} deliveries and {leads:,} leads on {house.engine.dialect.name}"
            print(f"{told}; goal {GOAL_SECONDS * 1000:.0f} ms")
            for path in (*PATHS, *(LEAD_PATHS if leads else ())):
                median, worst, spent = measure(client, path.format(middle=count // 2, lead=leads // 2, pool=3))
                slow += median > GOAL_SECONDS
                print(f"{median * 1000:7.0f} ms  (worst {worst * 1000:.0f}, processor {spent * 1000:.0f})  {path}")
    return 1 if slow else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=re.split(r"\n\n", __doc__ or "")[0])
    parser.add_argument("--deliveries", type=int, default=100_000)
    parser.add_argument("--leads", type=int, default=0)
    parser.add_argument("--postgres", action="store_true")
    chosen = parser.parse_args(arguments)
    return run(chosen.deliveries, chosen.leads, postgres=chosen.postgres)


if __name__ == "__main__":
    raise SystemExit(main())
