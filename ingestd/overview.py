"""What `ingestd status` shows: the daemon of this home, every node on the store, and the queue."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ingestd import node, printing, roster
from ingestd.house import House, running
from ingestd.node import Process, Standing, lasting
from ingestd.roster import Roster
from ingestd.store.nodes import Nodes


@dataclass(frozen=True, kw_only=True)
class Overview:
    """One look."""

    at: datetime
    running: bool
    """the daemon of this home"""
    known: Roster | None
    """its processes; None when it does not run"""
    doors: Mapping[str, Mapping[str, Any]]
    nodes: Sequence[Standing]
    queue: Mapping[str, Any]
    waiting: int
    """deliveries that wait for proof that they are whole"""
    names: Mapping[int, str]
    """of the files that are being loaded, by delivery"""


def look(house: House) -> Overview:
    """Everything as it is now; raises Unavailable."""
    alive, nodes = running(house.places), Nodes(engine=house.engine).all()
    endpoints = house.places.endpoints
    return Overview(
        at=roster.now(),
        running=alive,
        known=roster.read(house.places.roster) if alive else None,
        doors=json.loads(endpoints.read_text()) if alive and endpoints.exists() else {},
        nodes=nodes,
        queue=house.dispatcher.health(),
        waiting=house.ledger.waiting(),
        names=_names(house, nodes),
    )


def _names(house: House, nodes: Sequence[Standing]) -> dict[int, str]:
    found = (house.ledger.get(number) for number in node.at_work(nodes))
    return {delivery.id: delivery.name for delivery in found if delivery is not None}


def as_json(seen: Overview) -> dict[str, Any]:
    """For programs."""
    return {
        "running": seen.running,
        "roles": printing.roles(seen.known),
        "doors": seen.doors,
        "nodes": [_node(seen, node) for node in seen.nodes],
        "queue": seen.queue,
        "waiting": seen.waiting,
    }


def _node(seen: Overview, standing: Standing) -> dict[str, Any]:
    node = standing.node
    told = {"name": node.name, "state": standing.state(seen.at), "place": node.place, "version": node.version}
    moments = {"since": standing.since, "beat_at": standing.beat_at, "beat_age_seconds": standing.age(seen.at)}
    processes = [asdict(each) | {"doing": {**each.doing, **_file(seen, each.doing)}} for each in standing.processes]
    return {**told, "roles": node.roles, **moments, "processes": processes}


def _file(seen: Overview, doing: Mapping[str, Any]) -> dict[str, str]:
    return {"file": seen.names[doing["delivery"]]} if doing.get("delivery") in seen.names else {}


def lines(seen: Overview) -> Iterator[str]:
    """For people: this home, and the queue of all."""
    yield "running" if seen.running else "not running"
    for role in seen.known.roles if seen.known else ():
        yield f"  {printing.role_line(role, seen.at)}"
    for name, place in seen.doors.items():
        yield f"  {name}: {', '.join(f'{key} {value}' for key, value in place.items())}"
    queue = seen.queue
    yield f"  queue: {queue['ready']} ready, {queue['running']} running, oldest {queue['oldest_seconds']:.1f} s"
    if seen.waiting:
        yield f"  waiting for proof: {seen.waiting}"


def table(seen: Overview) -> Any:
    """For people: every node."""
    made = printing.table_of("node", "roles", "version", "since (UTC)", "beat", "doing")
    for standing in seen.nodes:
        node = standing.node
        doing = "\n".join(line for each in standing.processes if (line := _line(seen, each)))
        since = f"{standing.since:%Y-%m-%d %H:%M:%S}"
        made.add_row(node.name, " ".join(node.roles), node.version, since, _beat(seen.at, standing), doing)
    return made


def _beat(at: datetime, standing: Standing) -> str:
    state, age = standing.state(at), standing.age(at)
    return f"{age:.1f} s ago" if state == "running" else f"{state} for {lasting(age)}"


def _line(seen: Overview, process: Process) -> str:
    return process.told(seen.at, seen.names)
