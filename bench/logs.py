"""The full log of 300,000 rows: how long until its first byte, and how fast the rest follows."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import machine
from bench.results import Result, show
from bench.road import delivered
from ingestd import samples
from ingestd.house import open_house
from ingestd.ingest import downloads

ROWS = 300_000
FIRST_MS, MEGABYTES = 50, 200
DOWNLOADS = 9
READ = "import sys; from bench import logs; logs.read(sys.argv[1])"


def main() -> list[Result]:
    """Measures and prints: the median of several downloads of a process, and the first one, which warms it up."""
    print(f"\nThe full log of {ROWS:,} rows as CSV; {machine.described()}")
    with tempfile.TemporaryDirectory(prefix="ingestd-bench-") as made:
        home, file = Path(made) / "home", Path(made) / "leads.csv"
        file.write_bytes(samples.clean(ROWS))
        delivered(home, file, "")
        command = [sys.executable, "-c", READ, str(home)]
        told = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True).stdout
    every = [tuple(map(float, line.split())) for line in told.splitlines()]
    first, rate = (statistics.median(each[place] for each in every) for place in (0, 1))
    measured = f"{first:.0f} ms, {rate:.0f} MB/s (the first of a process {every[0][0]:.0f} ms, {every[0][1]:.0f} MB/s)"
    print(f"first byte after {measured}", flush=True)
    return [
        Result(
            what="full log of 300k rows",
            goal=f"first byte <= {FIRST_MS} ms, >= {MEGABYTES} MB/s",
            measured=measured,
            ratio=f"{rate / MEGABYTES:.2f} x",
            met=first <= FIRST_MS and rate >= MEGABYTES,
        )
    ]


def read(home: str) -> None:
    """Prints milliseconds to the first byte, and MB/s of the whole, of each download."""
    house = open_house(Path(__file__).parents[1] / "config", Path(home))
    delivery = house.ledger.get(1)
    assert delivery is not None
    for _ in range(DOWNLOADS):
        begun = time.perf_counter()
        pieces = downloads.pieces(delivery, "full", logs=house.logs, spool=house.spool)
        size = len(next(pieces))
        first = time.perf_counter() - begun
        size += sum(len(piece) for piece in pieces)
        print(first * 1000, size / (time.perf_counter() - begun) / 1e6)


if __name__ == "__main__":
    show(main())
