"""The main function of the processes below the supervisor: the receiver with every door, and the workers that load."""

from __future__ import annotations

from pathlib import Path

from ingestd.house import open_house
from ingestd.pipes import Pipes, die_with_supervisor


def run(role: str, config: Path, home: Path, pipes: Pipes, *, name: str) -> None:
    """Runs one role until it is told to stop. Each loads only the libraries that it needs."""
    die_with_supervisor(pipes.lifeline)
    house = open_house(config, home, worker=name)
    if role == "worker":
        from ingestd.worker import work  # noqa: PLC0415 - polars and pandera, where rows are read

        work(house, pipes)
    else:
        from ingestd.receiver import receive  # noqa: PLC0415 - pyftpdlib and watchdog, where doors are

        receive(house, pipes)
