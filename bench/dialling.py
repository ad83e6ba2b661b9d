"""How many leads agents are given in a second, each by the functions of dialling: `python -m bench.dialling`.

Every agent is a thread of one of a few processes, as agents are served by the web roles of a few nodes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import threading
import time
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from typing import Any

from sqlalchemy import select

from bench import leads, machine
from bench.growth import CAMPAIGN
from bench.results import Result, show
from ingestd.leads.shifts import Shifts
from ingestd.store import tables
from ingestd.store.engine import open_engine, reading
from ingestd.store.ledger import now

LEADS, SECONDS, GOAL = 1_000_000, 10.0, 500.0
AGENTS = ("copenhagen-1", "copenhagen-2", "aarhus-1", "copenhagen-evening-1")


def main(arguments: list[str]) -> list[Result]:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.dialling", description=__doc__)
    parser.add_argument("--leads", type=int, default=LEADS)
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=4, help="agents of each process")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = parser.parse_args(arguments)
    print(f"\nNext leads out of {options.leads:,}; {machine.described()}")
    results = []
    with leads.stores(options.only) as stores:
        for kind, url in stores.items():
            engine, _ = leads.filled(url, options.leads)
            engine.dispose()
            results.append(_given(kind, url, options))
    return results


def _given(kind: str, url: str, options: argparse.Namespace) -> Result:
    context = multiprocessing.get_context("spawn")
    counts, start = context.Queue(), context.Barrier(options.processes + 1)
    wish = (url, options.threads, options.seconds, counts, start)
    processes = [context.Process(target=_dial, args=wish) for _ in range(options.processes)]
    for process in processes:
        process.start()
    start.wait()
    found = [counts.get() for _ in processes]
    for process in processes:
        process.join()
    _check(url, sum(count for count, _, _ in found))
    rate = sum(count for count, _, _ in found) / options.seconds
    waits = sorted(wait for _, some, _ in found for wait in some)
    used = sum(cpu for *_, cpu in found) / options.seconds
    p95 = waits[int(len(waits) * 0.95)] * 1000
    told = f"{rate:,.0f} next/s, p95 {p95:.0f} ms, {used:.2f} processors of ours"
    print(f"  {kind}: {told}", flush=True)
    met = rate >= GOAL if kind == "postgresql" else None
    return Result(
        what=f"next lead of {options.leads:,}, {kind}",
        goal=f">= {GOAL:.0f}/s" if kind == "postgresql" else "-",
        measured=told,
        ratio=f"{rate / GOAL:.2f}",
        met=met,
    )


def _dial(url: str, threads: int, seconds: float, counts: Queue[Any], start: Barrier) -> None:
    """One process: each thread is an agent who asks for one lead after the other."""
    engine = open_engine(url)
    shifts = Shifts(engine=engine)
    waits: list[list[float]] = [[] for _ in range(threads)]
    for login in AGENTS:  # the first one stages leads, which is no part of a usual second
        shifts.next_lead(login, CAMPAIGN, now())
    start.wait()
    until, used = time.perf_counter() + seconds, time.process_time()

    def work(number: int) -> None:
        while (begun := time.perf_counter()) < until:
            given = shifts.next_lead(AGENTS[number % len(AGENTS)], CAMPAIGN, now())
            assert given.lead is not None
            waits[number].append(time.perf_counter() - begun)

    agents = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for agent in agents:
        agent.start()
    for agent in agents:
        agent.join()
    every = [wait for some in waits for wait in some]
    counts.put((len(every), every, time.process_time() - used))
    engine.dispose()


def _check(url: str, given: int) -> None:
    """Each lead that was given is held, and none was given twice: as many are held as were given."""
    engine = open_engine(url)
    with reading(engine) as connection:
        held = connection.scalars(select(tables.leads.c.version).where(tables.leads.c.locked_by_id.is_not(None))).all()
    engine.dispose()
    assert set(held) == {1}
    assert len(held) >= given


if __name__ == "__main__":
    show(main(sys.argv[1:]))
