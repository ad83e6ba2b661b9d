"""Change Owner of a million leads, as the worker does it in the background: `python -m bench.owner_changes`."""

from __future__ import annotations

import argparse
import sys
import time

from sqlalchemy import Engine, update

from bench import leads, machine
from bench.results import Result, show
from ingestd.access import callers, people
from ingestd.leads import agents, owner_changes
from ingestd.leads.owner_changes import Wish
from ingestd.store import tables
from ingestd.store.engine import reading, writing
from ingestd.store.ledger import now

LEADS = 1_000_000


def main(arguments: list[str]) -> list[Result]:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.owner_changes", description=__doc__)
    parser.add_argument("--leads", type=int, default=LEADS)
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    options = parser.parse_args(arguments)
    print(f"\nChange Owner of {options.leads:,} leads; {machine.described()}")
    results = []
    with leads.stores(options.only) as stores:
        for kind, url in stores.items():
            engine, pool = leads.filled(url, options.leads)
            results.append(_moved(kind, engine, pool, options.leads))
            engine.dispose()
    return results


def _moved(kind: str, engine: Engine, pool: int, count: int) -> Result:
    with writing(engine) as connection:
        held = {"locked_by_id": 1, "locked_until": now().replace(year=2099)}
        every_hundredth = tables.leads.c.id % 100 == 0
        connection.execute(update(tables.leads).where(every_hundredth).values(held))
    with reading(engine) as connection:
        who, person = agents.agent(connection, "admin"), people.known(connection, "admin")
    caller, begun = callers.of_person(person), time.perf_counter()
    owner_changes.begin(engine, caller, who, Wish(to="team:aarhus", leads={"pool": pool}), now())
    asked, slowest = time.perf_counter() - begun, 0.0
    while True:
        before = time.perf_counter()
        change = owner_changes.advance(engine, now())
        slowest = max(slowest, time.perf_counter() - before)
        assert change is not None
        if change.ended_at is not None:
            break
    seconds = time.perf_counter() - begun
    assert (change.moved, change.refused) == (count - count // 100, {"locked": count // 100})
    told = f"{seconds:.1f} s: {count / seconds:,.0f} leads/s, asked in {asked:.2f} s, slowest batch {slowest:.2f} s"
    print(f"  {kind}: {told}", flush=True)
    return Result(what=f"Change Owner of {count:,} leads, {kind}", goal="-", measured=told)


if __name__ == "__main__":
    show(main(sys.argv[1:]))
