"""How many leads agents are given in a second, each by the functions of dialling: `python -m bench.dialling`.

Every agent is a thread of one of a few processes, as agents are served by the web roles of a few nodes. Whoever is
given a lead ends it before the next one, else it would be the same: by one plain statement, whose time counts as ours.
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

from sqlalchemy import Engine, bindparam, select, update

from bench import leads, machine
from bench.growth import CAMPAIGN
from bench.results import Result, show
from ingestd.leads.lead import Lead
from ingestd.leads.shifts import Shifts
from ingestd.organisation import users
from ingestd.store import tables
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import open_engine, reading, writing
from ingestd.store.ledger import now

LEADS, SECONDS, GOAL = 1_000_000, 10.0, 500.0


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
    logins = _hired(url, options.processes * options.threads)
    crews = [logins[start :: options.processes] for start in range(options.processes)]
    processes = [context.Process(target=_dial, args=(url, crew, options.seconds, counts, start)) for crew in crews]
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


def _hired(url: str, count: int) -> list[str]:
    """The logins of new agents."""
    engine, logins = open_engine(url), [f"dialler-{number}" for number in range(count)]
    with writing(engine) as connection:
        for login in logins:
            users.create(connection, Deed(actor=COMMAND_LINE, at=now()), login, {"name": login, "team": "copenhagen"})
    engine.dispose()
    return logins


def _dial(url: str, logins: list[str], seconds: float, counts: Queue[Any], start: Barrier) -> None:
    """One process: each thread is an agent who asks for one lead after the other."""
    engine = open_engine(url)
    shifts = Shifts(engine=engine)
    waits: list[list[float]] = [[] for _ in logins]
    for login in logins:  # the first one stages leads, which is no part of a usual second
        _end(engine, shifts.next_lead(login, CAMPAIGN, now()).lead)
    start.wait()
    until, used = time.perf_counter() + seconds, time.process_time()

    def work(number: int) -> None:
        while (begun := time.perf_counter()) < until:
            given = shifts.next_lead(logins[number], CAMPAIGN, now())
            waits[number].append(time.perf_counter() - begun)
            _end(engine, given.lead)

    agents = [threading.Thread(target=work, args=(number,)) for number in range(len(logins))]
    for agent in agents:
        agent.start()
    for agent in agents:
        agent.join()
    every = [wait for some in waits for wait in some]
    counts.put((len(every), every, time.process_time() - used))
    engine.dispose()


def _end(engine: Engine, given: Lead | None) -> None:
    """The lead is closed, and free."""
    assert given is not None
    with writing(engine) as connection:
        connection.execute(_ENDED, {"campaign": given.campaign_id, "number": given.id})


_TABLE = tables.leads
_SUCCESS = select(tables.statuses.c.id).where(tables.statuses.c.code == "success").scalar_subquery()
_ENDED = (
    update(_TABLE)
    .where(_TABLE.c.campaign_id == bindparam("campaign"), _TABLE.c.id == bindparam("number"))
    .values(locked_by_id=None, locked_until=None, dial_key=None, status_id=_SUCCESS, attempts=_TABLE.c.attempts + 1)
)


def _check(url: str, given: int) -> None:
    """None was given twice: as many have ended as were given, each once."""
    engine = open_engine(url)
    with reading(engine) as connection:
        ended = connection.scalars(select(_TABLE.c.attempts).where(_TABLE.c.attempts > 0)).all()
    engine.dispose()
    assert set(ended) == {1}
    assert len(ended) >= given


if __name__ == "__main__":
    show(main(sys.argv[1:]))
