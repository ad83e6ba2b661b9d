"""The main function of the processes below the supervisor: the receiver with every door, the workers, the web role."""

from __future__ import annotations

from pathlib import Path

from ingestd import journal, metrics
from ingestd.house import open_house
from ingestd.pipes import Pipes, die_with_supervisor


def run(role: str, config: Path, home: Path, pipes: Pipes, *, name: str, node: int) -> None:
    """Runs one role until it is told to stop. Each loads only the libraries that it needs."""
    die_with_supervisor(pipes.lifeline)
    counted = metrics.of_role(name)
    journal.configure(name, count=counted.count_event)
    journal.log_crashes()
    house = open_house(config, home, process=name, node=node)
    if role == "worker":
        from ingestd.worker import work  # noqa: PLC0415 - polars and pandera, where rows are read

        work(house, pipes, counted)
    elif role == "results":
        from ingestd.worker import hand_back  # noqa: PLC0415 - polars, where logs are read

        hand_back(house, pipes, counted)
    elif role == "web":
        from ingestd.webserver import answer  # noqa: PLC0415 - FastAPI and uvicorn, where HTTP is answered

        answer(house, pipes, counted)
    else:
        from ingestd.receiver import receive  # noqa: PLC0415 - pyftpdlib and watchdog, where doors are

        receive(house, pipes, counted)
