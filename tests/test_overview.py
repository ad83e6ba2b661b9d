"""What `ingestd status` shows of the nodes, from one look."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingestd import node, overview
from ingestd.node import Node, Process, Standing
from ingestd.overview import Overview

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def standing(name: str, *, ago: float, ended: bool = False, **doing: dict[str, Any]) -> Standing:
    beat = NOON - timedelta(seconds=ago)
    node = Node(name=name, home=name, place=f"host:/{name}", version="1.0", roles=("ftp", "worker"))
    processes = tuple(
        Process(name=process.replace("_", "-"), since=NOON, beat_at=beat, doing=its) for process, its in doing.items()
    )
    return Standing(id=1, node=node, since=NOON, beat_at=beat, ended_at=beat if ended else None, processes=processes)


def seen(*nodes: Standing) -> Overview:
    return Overview(
        at=NOON,
        running=True,
        known=None,
        doors={"ftp": {"host": "::", "port": 21}},
        nodes=nodes,
        queue={"ready": 3, "running": 1, "oldest_seconds": 4.25},
        waiting=2,
        names={7: "leads.csv"},
    )


def cells(look: Overview) -> list[list[str]]:
    columns = overview.table(look).columns
    return [list(row) for row in zip(*(list(column.cells) for column in columns), strict=True)]


def test_the_queue_and_what_waits_are_those_of_all_nodes() -> None:
    assert list(overview.lines(seen())) == [
        "running",
        "  ftp: host ::, port 21",
        "  queue: 3 ready, 1 running, oldest 4.2 s",
        "  waiting for proof: 2",
    ]


def test_each_node_tells_what_its_processes_do() -> None:
    working = {"delivery": 7, "stage": "load", "since": (NOON - timedelta(seconds=3)).isoformat()}
    doors = {"ftp": {"sessions": 2, "uploads": 1}, "folder": {"files": 0}}
    alpha = standing("alpha", ago=0.5, receiver=doors, worker_1=working, worker_2={}, web={})
    ((name, roles, version, since, beat, doing),) = cells(seen(alpha))
    assert (name, roles, version, since, beat) == ("alpha", "ftp worker", "1.0", "2026-01-01 12:00:00", "0.5 s ago")
    assert doing.splitlines() == [
        "receiver: ftp 2 sessions, 1 upload",
        "worker-1: delivery 7 leads.csv, load, for 3 s",
    ]


def test_who_is_silent_or_stopped_is_told_with_how_long() -> None:
    nodes = [standing("a", ago=41, worker_1={}), standing("b", ago=7_000), standing("c", ago=100_000, ended=True)]
    assert [row[4] for row in cells(seen(*nodes))] == [
        "silent for 41 s",
        "silent for 117 min",
        "stopped for 1 day, 3:46",
    ]
    assert cells(seen(nodes[0]))[0][5] == "worker-1: silent for 41 s"


def test_programs_get_the_same() -> None:
    working = {"delivery": 7, "stage": "load", "since": NOON.isoformat()}
    told = overview.as_json(seen(standing("alpha", ago=11, worker_1=working, web={})))
    (node,) = told["nodes"]
    assert (node["name"], node["state"], node["beat_age_seconds"], node["roles"]) == (
        "alpha", "silent", 11.0, ("ftp", "worker")
    )  # fmt: skip
    assert node["processes"][0]["doing"] == {**working, "file": "leads.csv"}
    assert node["processes"][1]["doing"] == {}
    assert (told["waiting"], told["queue"]["ready"]) == (2, 3)


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7_199, "120 min"), (7_200, "2:00")]
)
def test_lengths_of_time_are_told_as_people_say_them(seconds: float, told: str) -> None:
    assert node.lasting(seconds) == told
