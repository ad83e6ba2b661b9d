"""The doors under load: large uploads beside vsftpd, a thousand sessions at once, a thousand small files to Active."""

from __future__ import annotations

import argparse
import sys

from bench import clients, machine, sessions, smallfiles, uploads
from bench.results import Result

PARTS = ("uploads", "sessions", "files")


def main(arguments: list[str]) -> list[Result]:
    """Measures and prints the tables; returns what DESIGN.md has goals for."""
    results: list[Result] = []
    parser = argparse.ArgumentParser(prog="python -m bench.doors", description=__doc__)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--rounds", type=int, default=3, help="of uploads and sessions")
    parser.add_argument("--clients", type=_numbers, default=[1, 4, 16, 64], help="such as 1,4: for the uploads")
    parser.add_argument("--sqlite", action="store_true", help="the small files on SQLite only")
    parser.add_argument(
        "--workers", type=_numbers, default=[1, 2], help="such as 1,2: loading processes, for the small files"
    )
    options = parser.parse_args(arguments)
    clients.raise_descriptor_limit()
    print(f"\n{machine.described()}")
    if options.only in (None, "uploads"):
        results += uploads.measure(options.clients, options.rounds)
    if options.only in (None, "sessions"):
        results += sessions.measure(options.rounds)
    if options.only in (None, "files"):
        results += smallfiles.measure([1, 8], options.workers, postgres=not options.sqlite)
    return results


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


if __name__ == "__main__":
    main(sys.argv[1:])
