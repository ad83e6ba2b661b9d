"""The nodes of a store: who is there, since when, and what each process of theirs is doing.

Moments are those of the machine that writes them; the clocks of all machines have to agree within a few seconds.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, delete, exists, insert, literal, select, update

from ingestd.errors import Misconfigured
from ingestd.node import Node, Process, Standing
from ingestd.store.engine import reading, take_turn, writing
from ingestd.store.ledger import Clock, now
from ingestd.store.tables import deliveries, node_processes, nodes, results_due


class NameTaken(Misconfigured):
    """Another daemon that runs has the name, or is a copy of the home."""

    def __init__(self, node: Node, other: Standing) -> None:
        where = f"it runs in {other.node.place}"
        if other.node.home == node.home:
            told = f"this home is a copy of that of node {other.node.name!r}; {where}; give each node a home of its own"
        else:
            told = f"another node is called {node.name!r}; {where}; give each node a name of its own"
        super().__init__("ingestd.toml", "node.name", told)
        self.beat_at = other.beat_at


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nodes:
    """The nodes of one store. Everything raises Unavailable when it is away."""

    engine: Engine
    clock: Clock = now

    def register(self, node: Node, *, catch_up: timedelta | None = None, silent: datetime | None = None) -> int:
        """Writes down that a node starts, and returns its number; raises NameTaken.

        With `catch_up` a node that is new at handing results back is due to do so for what ended since, because
        partners may fetch it there from now on. `silent` is a beat that was the last one for long enough, whatever
        the clocks say.
        """
        with writing(self.engine) as connection:
            take_turn(connection, "nodes")
            before = self._predecessor(connection, node, silent)
            moment = self.clock()
            facts = {**_facts(node), "since": moment, "beat_at": moment, "ended_at": None}
            number = _inserted(connection, facts) if before is None else _replaced(connection, before.id, facts)
            knows = before is not None and before.node.results and before.node.home == node.home
            if catch_up is not None and node.results and not knows:
                _all_due(connection, number, moment - catch_up)
        return number

    def _predecessor(self, connection: Connection, node: Node, silent: datetime | None) -> Standing | None:
        """The row that the node takes over: its home's, else its name's."""
        mine = (nodes.c.home == node.home) | (nodes.c.name == node.name)
        found = [_standing(row) for row in connection.execute(select(nodes).where(mine)).mappings()]
        for other in found:
            if other.beat_at != silent and not other.gives_way(node, self.clock()):
                raise NameTaken(node, other)
        found.sort(key=lambda other: other.node.home != node.home)
        _forget(connection, [other.id for other in found[1:]])  # the home had another name; the name's home is gone
        return found[0] if found else None

    def beat(self, number: int, home: str) -> bool:
        """A node lives; False when its name was given to another home meanwhile."""
        mine = update(nodes).where(nodes.c.id == number, nodes.c.home == home)
        with writing(self.engine, forgettable=True) as connection:
            return connection.execute(mine.values(beat_at=self.clock())).rowcount == 1

    def leave(self, number: int, home: str) -> None:
        """A node is being stopped."""
        with writing(self.engine, forgettable=True) as connection:
            mine = update(nodes).where(nodes.c.id == number, nodes.c.home == home)
            if connection.execute(mine.values(ended_at=self.clock(), beat_at=self.clock())).rowcount == 1:
                connection.execute(delete(node_processes).where(node_processes.c.node_id == number))

    def tell(self, number: int, process: str, doing: Mapping[str, Any]) -> None:
        """What a process of a node is doing; says nothing once the node was forgotten."""
        table, moment = node_processes.c, self.clock()
        told = {"beat_at": moment, "doing": json.dumps(doing, default=str)}
        with writing(self.engine, forgettable=True) as connection:
            known = update(node_processes).where(table.node_id == number, table.name == process).values(told)
            if connection.execute(known).rowcount == 0:
                columns = ("node_id", "name", "since", "beat_at", "doing")
                values = (nodes.c.id, literal(process), literal(moment, table.since.type),
                          literal(moment, table.since.type), literal(told["doing"]))  # fmt: skip
                fresh = select(*values).where(nodes.c.id == number)
                connection.execute(insert(node_processes).from_select(columns, fresh))

    def all(self) -> list[Standing]:
        """Every node with its processes, by name."""
        with reading(self.engine) as connection:
            rows = connection.execute(select(nodes).order_by(nodes.c.name)).mappings().all()
            told = connection.execute(select(node_processes).order_by(node_processes.c.name)).mappings().all()
        return [
            dataclasses.replace(
                _standing(row), processes=tuple(_process(each) for each in told if each["node_id"] == row["id"])
            )
            for row in rows
        ]

    def forget(self, after: timedelta) -> int:
        """Removes nodes that have been silent or stopped for so long, with what they had to hand back; how many."""
        with writing(self.engine) as connection:
            take_turn(connection, "nodes")
            gone = connection.scalars(select(nodes.c.id).where(nodes.c.beat_at < self.clock() - after)).all()
            _forget(connection, list(gone))
        return len(gone)


def _inserted(connection: Connection, facts: Mapping[str, Any]) -> int:
    inserted = connection.execute(insert(nodes).values(facts)).inserted_primary_key
    assert inserted is not None
    number: int = inserted[0]
    return number


def _replaced(connection: Connection, number: int, facts: Mapping[str, Any]) -> int:
    connection.execute(update(nodes).where(nodes.c.id == number).values(facts))
    connection.execute(delete(node_processes).where(node_processes.c.node_id == number))
    return number


def _forget(connection: Connection, numbers: list[int]) -> None:
    for table in (node_processes, results_due):
        connection.execute(delete(table).where(table.c.node_id.in_(numbers)))
    connection.execute(delete(nodes).where(nodes.c.id.in_(numbers)))


def _all_due(connection: Connection, number: int, since: datetime) -> None:
    """Everything whose results others have handed back already; what has not been will be announced to all."""
    connection.execute(delete(results_due).where(results_due.c.node_id == number))
    ended = (deliveries.c.published_at.is_not(None), deliveries.c.finished_at >= since)
    every = select(literal(number), deliveries.c.id).where(*ended).order_by(deliveries.c.id)
    connection.execute(insert(results_due).from_select(("node_id", "delivery_id"), every))


def _facts(node: Node) -> dict[str, Any]:
    return {**dataclasses.asdict(node), "roles": ",".join(node.roles), "results": node.results}


def _standing(row: RowMapping) -> Standing:
    its = {name: row[name] for name in ("name", "home", "place", "version")}
    node = Node(roles=tuple(row["roles"].split(",")), **its)
    return Standing(id=row["id"], node=node, since=row["since"], beat_at=row["beat_at"], ended_at=row["ended_at"])


def _process(row: RowMapping) -> Process:
    return Process(name=row["name"], since=row["since"], beat_at=row["beat_at"], doing=json.loads(row["doing"]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResultsDue:
    """Which results each node still has to hand back, when several homes share the store."""

    engine: Engine

    def announce(self, connection: Connection, delivery_id: int) -> None:
        """Puts an ended delivery on the list of every node that has doors, in the caller's transaction.

        The file of a drop folder also goes back at the node that took it, which may have no other door.
        """
        take_turn(connection, "nodes", beside=True)  # a node that is just being written down sees it, or is seen
        took_it = exists().where(
            deliveries.c.id == delivery_id, deliveries.c.node_id == nodes.c.id, deliveries.c.protocol == "folder"
        )
        its = select(nodes.c.id, literal(delivery_id)).where(nodes.c.results | took_it)
        connection.execute(insert(results_due).from_select(("node_id", "delivery_id"), its))

    def announce_again(self, delivery_id: int) -> None:
        """The same for results that have changed since they were handed back."""
        with writing(self.engine) as connection:
            self.announce(connection, delivery_id)

    def of(self, number: int, *, limit: int = 100, but: Mapping[int, float] | None = None) -> dict[int, list[int]]:
        """Delivery → entries of a node's list, oldest first; without the deliveries in `but`."""
        mine = (results_due.c.node_id == number, results_due.c.delivery_id.not_in(but or ()))
        query = select(results_due.c.delivery_id, results_due.c.id).where(*mine).order_by(results_due.c.id)
        found: dict[int, list[int]] = {}
        with reading(self.engine) as connection:
            for delivery_id, entry in connection.execute(query.limit(limit)):
                found.setdefault(delivery_id, []).append(entry)
        return found

    def done(self, entries: list[int]) -> None:
        """These were handed back; what was announced since stays on the list."""
        with writing(self.engine, forgettable=True) as connection:  # handing back once more changes nothing
            connection.execute(delete(results_due).where(results_due.c.id.in_(entries)))
