"""`python -m bench`: every benchmark with its tables, and at the end one table of the numbers to reach.

Growth and soak take long and are commands of their own.
"""

from __future__ import annotations

from bench import doors, logs, phones, road
from bench.results import not_here, show


def main() -> None:
    results = [*road.main([]), *phones.main([]), *doors.main([]), *logs.main()]
    results += [
        not_here("262k rows into 10 M leads", "<= 2 x empty (SQLite), 1.5 x (PostgreSQL)", "python -m bench.growth"),
        not_here("Lead Admin page over 10 M leads", "p95 <= 100 ms", "python -m bench.lead_admin [--postgres]"),
        not_here("a page over 100,000 deliveries", "<= 300 ms", "python -m bench.pages"),
        not_here("random kill -9, 1,000 times", "0 lost, 0 doubled", "python -m bench.soak --minutes 30"),
        not_here("Pollock files", "0 silently changed cells", "python -m tests.corpora_report"),
    ]
    show(results)


main()
