"""A thousand files of 100 rows by FTP, through a whole daemon, until each is an active pool."""

from __future__ import annotations

import itertools
import json
import shutil
import statistics
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import func, select

from bench import clients
from bench.results import Result
from bench.road import postgres_server
from bench.servers import PASSWORD, Place
from ingestd import samples
from ingestd.model import PoolState, State
from ingestd.store.engine import reading
from ingestd.store.tables import deliveries, leads, pools
from tests.running import Daemon, add_sources, until

FILES, ROWS = 1_000, 100
ALONE = 250
"""files of a single client, who sends one after the other"""
GOAL_RATE, GOAL_SECONDS = 50, 1.0
PACED = 4
"""sessions that send as fast as the goal says"""
PARTNERS = {"partner-1": "DK-ENERGY", "partner-2": "DK-FIBRE", "partner-3": "DK-ENERGY", "partner-4": "DK-FIBRE"}
"""source → its campaign; files of one are loaded one after the other, so several workers need several partners"""


@dataclass(frozen=True, kw_only=True)
class Through:
    """One run."""

    sent: float
    """seconds from the first STOR until the last 226"""
    active: float
    """seconds from the first STOR until the last pool is active"""
    ledger: list[float]
    """of each file, seconds between the two moments that the ledger wrote down: received and ended"""
    client: list[float]
    """of each file, seconds from the 226 that its client read until it had ended"""
    stages: dict[str, float]
    """stage of the road → median seconds"""
    workers: int
    """loading processes"""
    paced: float
    """files a second that the clients sent at most; 0: as fast as they were answered, so the files queue up"""

    @property
    def missed(self) -> list[str]:
        """Which part of the goal: the rate when files queue up, the wait when they come as fast as the goal says."""
        rate, late = len(self.ledger) / self.active, _share(self.ledger, 95)
        slow = not self.paced and rate < GOAL_RATE
        return [f"under {GOAL_RATE} files/s"] * slow + [f"p95 over {GOAL_SECONDS:.0f} s"] * (
            bool(self.paced) and late > GOAL_SECONDS
        )


def measure(crowds: list[int], workers: list[int], *, postgres: bool) -> list[Result]:
    """Prints the table, by so many clients and loading processes; a row is one run."""
    every = {f"small-{number:04}.csv": samples.clean(ROWS, start=number * ROWS) for number in range(FILES)}
    told = f"by FTP with ALLO, from {len(PARTNERS)} partners, to active pools."
    print(f"\n{FILES:,} files ({ALONE} of one client) of {ROWS} rows {told}")
    print("Waits are from `received` to `ended` in the ledger; in brackets from the client's own 226.")
    print(f"Sent as fast as they are answered the files queue up. In the last row {GOAL_RATE} come a second.\n")
    results = []
    heads = f"{'':<11} {'workers':>7} {'clients':>7} {'to 226':>12} {'to Active':>14}"
    print(heads + f" {'p50':>8} {'p95':>8} {'p99':>8}")
    with tempfile.TemporaryDirectory(prefix="ingestd-bench-") as made, ExitStack() as stack:
        folder = Path(made)
        folder.chmod(0o755)
        server = stack.enter_context(postgres_server(folder)) if postgres else None
        for name in ("SQLite", "PostgreSQL") if server else ("SQLite",):
            ways = [(crowd, 0) for crowd in (crowds if name == "SQLite" else crowds[-1:])] + [(PACED, GOAL_RATE)]
            for count, (crowd, paced) in itertools.product(workers, ways):
                files = every if crowd > 1 else dict(list(every.items())[:ALONE])
                url = "" if server is None or name == "SQLite" else server.new_database()
                home = folder / f"{name}-{crowd}-{count}-{paced}"
                environment = {"INGESTD_STORE__URL": url, "INGESTD_WORKER__PROCESSES": str(count)}
                run = _run(home, files, (crowd, paced), environment)
                _show(name, crowd, run)
                shutil.rmtree(home)
                if crowd > 1:  # one client alone is not the goal
                    results.append(_result(name, run))
    return results


def _result(name: str, run: Through) -> Result:
    rate, late = len(run.ledger) / run.active, _share(run.ledger, 95)
    return Result(
        what=f"{FILES:,} files of {ROWS} rows, {name}, {_told(run)}",
        goal=f">= {GOAL_RATE} files/s to Active, p95 <= {GOAL_SECONDS:.0f} s",
        measured=f"{rate:.0f} files/s, p95 {late:.2f} s",
        ratio=f"{rate / GOAL_RATE:.2f} x",
        met=not run.missed,
    )


def _told(run: Through) -> str:
    workers = f"{run.workers} worker" + "s" * (run.workers > 1)
    return f"{workers}, {run.paced:.0f} a second" if run.paced else workers


def _show(name: str, crowd: int, run: Through) -> None:
    count = len(run.ledger)
    told = f"{name:<11} {run.workers:>7} {crowd:>7} {count / run.sent:>4.0f} files/s {count / run.active:>6.0f} files/s"
    told += "".join(f" {_share(run.ledger, percent):>6.2f} s" for percent in (50, 95, 99))
    told += f"   ({_share(run.client, 95):.2f} s at p95)"
    missed = run.missed if crowd > 1 else []  # one client alone is not the goal
    print(told + (f"   goal missed: {', '.join(missed)}" if missed else ""), flush=True)
    stages = "   ".join(f"{stage} {seconds * 1000:.1f}" for stage, seconds in run.stages.items())
    print(f"{'':<27} ms a file: {stages}", flush=True)


def _share(values: list[float], percent: int) -> float:
    return sorted(values)[max(0, len(values) * percent // 100 - 1)]


def _run(folder: Path, files: dict[str, bytes], way: tuple[int, int], environment: dict[str, str]) -> Through:
    folder.mkdir()
    daemon = Daemon(folder, INGESTD_FOLDER__ENABLED="false", **environment)
    add_sources(daemon.config, PARTNERS)
    with daemon:
        door = daemon.doors["ftp"]
        places = [Place(host=door["host"], port=door["port"], login=each, password=PASSWORD) for each in PARTNERS]
        answered, begun = _send(places, files, *way)
        sent = max(answered.values()) - begun
        until(lambda: _ended(daemon) == len(files), "every file has ended", seconds=180)
        return _through(daemon, answered, begun, sent, way[1])


def _send(places: list[Place], files: dict[str, bytes], crowd: int, paced: int) -> tuple[dict[str, float], float]:
    """Sends the files over so many sessions; when each was answered, and when all began, by the clock of the wall."""
    answered: dict[str, float] = {}

    def one(place: Place, names: list[str]) -> None:
        with clients.Client(place) as client:
            start.wait()
            for name in names:
                if paced:
                    time.sleep(max(0.0, begun + order[name] / paced - time.time()))
                client.ask(f"ALLO {len(files[name])}", "2")
                client.send(name, files[name])
                answered[name] = time.time()

    start = threading.Barrier(crowd + 1)
    names = list(files)
    order = {name: number for number, name in enumerate(names)}
    turns = [(places[number % len(places)], names[number::crowd]) for number in range(crowd)]
    threads = [threading.Thread(target=one, args=turn) for turn in turns]
    for thread in threads:
        thread.start()
    begun = time.time()
    start.wait()
    for thread in threads:
        thread.join()
    assert len(answered) == len(files), f"{len(answered)} of {len(files)} files were answered"
    return answered, begun


def _ended(daemon: Daemon) -> int:
    time.sleep(0.1)  # looking takes from the worker
    with reading(daemon.house().engine) as connection:
        query = select(func.count()).where(deliveries.c.state == State.COMPLETED)
        return connection.scalar(query) or 0


def _through(daemon: Daemon, answered: dict[str, float], begun: float, sent: float, paced: float) -> Through:
    table = deliveries.c
    with reading(daemon.house().engine) as connection:
        query = select(table.name, table.received_at, table.finished_at, table.timings)
        found = connection.execute(query).all()
        active = connection.scalar(select(func.count()).where(pools.c.state == PoolState.ACTIVE))
        loaded = connection.scalar(select(func.count()).select_from(leads))
    assert active == len(answered), f"{active} pools are active"
    assert loaded == len(answered) * ROWS, f"{loaded} leads"
    ended: dict[str, datetime] = {row.name: row.finished_at for row in found}
    timings = [json.loads(row.timings) for row in found]
    return Through(
        sent=sent,
        active=max(ended.values()).timestamp() - begun,
        ledger=[(row.finished_at - row.received_at).total_seconds() for row in found],
        client=[ended[name].timestamp() - moment for name, moment in answered.items()],
        workers=len(daemon.children("worker")),
        paced=paced,
        stages={stage: statistics.median(each[stage] for each in timings) for stage in timings[0]},
    )
