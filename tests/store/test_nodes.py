"""The nodes of a store, what they do, and what each still has to hand back."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, update

from ingestd.model import Arrival
from ingestd.node import SILENT_SECONDS, Node
from ingestd.spool import Landed
from ingestd.store.engine import writing
from ingestd.store.ledger import Ledger
from ingestd.store.nodes import NameTaken, Nodes, ResultsDue
from ingestd.store.tables import deliveries

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MONTH = timedelta(days=30)


@dataclasses.dataclass
class Clock:
    moment: datetime = NOON

    def __call__(self) -> datetime:
        return self.moment


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def nodes(engine: Engine, clock: Clock) -> Nodes:
    return Nodes(engine=engine, clock=clock)


def node(name: str, roles: str = "ftp,worker", home: str = "") -> Node:
    home = home or f"home of {name}"
    return Node(name=name, home=home, place=f"host:/{home}", version="1.0", roles=tuple(roles.split(",")))


def delivered(engine: Engine, name: str, *, by: int | None = None, protocol: str = "ftp", ended: bool = True) -> int:
    """The number of a delivery whose results were handed back."""
    ledger = Ledger(engine=engine, submit=lambda *_: None, node=by)
    arrival = Arrival(source="s", login="l", peer="p", protocol=protocol, name=name)
    number = ledger.record(arrival, Landed(key=name, size=1, sha256=name)).delivery_id
    if ended:
        with writing(engine) as connection:
            values = {"state": "completed", "finished_at": NOON, "published_at": NOON}
            connection.execute(update(deliveries).where(deliveries.c.id == number).values(values))
    return number


def announced(engine: Engine, number: int) -> None:
    with writing(engine) as connection:
        ResultsDue(engine=engine).announce(connection, number)


def due(engine: Engine, number: int) -> list[int]:
    return list(ResultsDue(engine=engine).of(number))


# --- who is there


def test_a_node_is_known_with_what_its_processes_do(nodes: Nodes, clock: Clock) -> None:
    number = nodes.register(node("alpha"))
    clock.moment += timedelta(seconds=2)
    assert nodes.beat(number, "home of alpha")
    nodes.tell(number, "worker-1", {"delivery": 7, "stage": "read"})
    clock.moment += timedelta(seconds=2)
    nodes.tell(number, "worker-1", {"delivery": 7, "stage": "load"})
    nodes.tell(number, "receiver", {})
    (alpha,) = nodes.all()
    assert (alpha.id, alpha.node, alpha.since, alpha.age(clock())) == (number, node("alpha"), NOON, 2.0)
    told = {each.name: (each.since, each.beat_at, each.doing) for each in alpha.processes}
    assert told == {
        "receiver": (clock(), clock(), {}),
        "worker-1": (NOON + timedelta(seconds=2), clock(), {"delivery": 7, "stage": "load"}),
    }


def test_a_name_that_is_in_use_is_refused_until_its_node_is_silent(nodes: Nodes, clock: Clock) -> None:
    first = nodes.register(node("alpha"))
    with pytest.raises(NameTaken, match=r"node\.name: another node is called 'alpha'; it runs in host:/home of alpha"):
        nodes.register(node("alpha", home="other"))
    clock.moment += timedelta(seconds=SILENT_SECONDS + 1)
    assert nodes.register(node("alpha", home="other")) == first
    assert not nodes.beat(first, "home of alpha"), "the one that was silent is told that its name is gone"
    nodes.leave(first, "home of alpha")
    assert [each.state(clock()) for each in nodes.all()] == ["running"]


def test_a_beat_that_was_the_last_for_long_enough_counts_whatever_the_clocks_say(nodes: Nodes) -> None:
    first = nodes.register(node("alpha"))
    assert nodes.register(node("alpha", home="other"), silent=NOON) == first


def test_a_home_that_died_has_its_name_back_at_once(nodes: Nodes) -> None:
    first = nodes.register(node("alpha"))
    nodes.tell(first, "worker-7", {})
    assert nodes.register(node("alpha", "worker")) == first
    (alpha,) = nodes.all()
    assert (alpha.node.roles, alpha.processes) == (("worker",), ())


def test_a_copy_of_a_home_that_runs_is_refused(nodes: Nodes) -> None:
    nodes.register(node("alpha"))
    copy = dataclasses.replace(node("beta"), home="home of alpha")
    with pytest.raises(NameTaken, match="this home is a copy of that of node 'alpha'"):
        nodes.register(copy)


def test_a_stopped_node_frees_its_name_and_a_renamed_home_keeps_its_number(nodes: Nodes, clock: Clock) -> None:
    alpha, beta = nodes.register(node("alpha")), nodes.register(node("beta"))
    nodes.tell(beta, "worker-1", {})
    nodes.leave(beta, "home of beta")
    assert [(each.node.name, each.state(clock())) for each in nodes.all()] == [
        ("alpha", "running"),
        ("beta", "stopped"),
    ]
    assert nodes.register(dataclasses.replace(node("beta"), home="home of alpha", place="host:/home of alpha")) == alpha
    assert [(each.id, each.node.name) for each in nodes.all()] == [(alpha, "beta")]


def test_nodes_that_are_gone_for_long_are_forgotten_with_their_lists(
    nodes: Nodes, engine: Engine, clock: Clock
) -> None:
    gone = nodes.register(node("gone"))
    nodes.tell(gone, "worker-1", {})
    announced(engine, delivered(engine, "a"))
    clock.moment += MONTH + timedelta(seconds=1)
    here = nodes.register(node("here"))
    assert nodes.forget(MONTH) == 1
    assert [each.id for each in nodes.all()] == [here]
    assert due(engine, gone) == []
    nodes.tell(gone, "worker-1", {})  # it comes back: nothing is said until it is registered again
    assert [each.processes for each in nodes.all()] == [()]


# --- what each has to hand back


def test_an_ended_delivery_is_due_at_every_node_where_partners_fetch(nodes: Nodes, engine: Engine) -> None:
    ftp, sftp = nodes.register(node("a", "ftp")), nodes.register(node("b", "sftp"))
    folder, worker = nodes.register(node("c", "folder")), nodes.register(node("d", "worker"))
    by_ftp = delivered(engine, "x", by=ftp)
    by_folder = delivered(engine, "y", by=folder, protocol="folder")
    announced(engine, by_ftp)
    announced(engine, by_folder)
    assert due(engine, ftp) == due(engine, sftp) == [by_ftp, by_folder]
    assert due(engine, folder) == [by_folder], "only there can the file be moved to where it belongs"
    assert due(engine, worker) == []


def test_what_is_announced_again_meanwhile_stays_on_the_list(nodes: Nodes, engine: Engine) -> None:
    number, lists = nodes.register(node("a")), ResultsDue(engine=engine)
    delivery = delivered(engine, "x")
    announced(engine, delivery)
    announced(engine, delivery)
    (entries,) = lists.of(number).values()
    assert len(entries) == 2
    announced(engine, delivery)  # it was retried, and ended otherwise
    lists.done(entries)
    assert due(engine, number) == [delivery]
    assert lists.of(number, but={delivery: 0.0}) == {}


def test_a_node_that_is_new_is_due_for_what_partners_may_still_fetch(
    nodes: Nodes, engine: Engine, clock: Clock
) -> None:
    old, waits = delivered(engine, "old"), delivered(engine, "waits", ended=False)
    clock.moment += timedelta(days=31)
    recent = delivered(engine, "recent")
    with writing(engine) as connection:
        connection.execute(update(deliveries).where(deliveries.c.id == recent).values(finished_at=clock()))
    worker = nodes.register(node("worker", "worker"), catch_up=MONTH)
    number = nodes.register(node("a"), catch_up=MONTH)
    assert due(engine, worker) == []
    assert due(engine, number) == [recent]
    assert old < waits < recent
    ResultsDue(engine=engine).done([entry for each in ResultsDue(engine=engine).of(number).values() for entry in each])
    nodes.register(node("a"), catch_up=MONTH)
    assert due(engine, number) == [], "a node that was there has them"
    nodes.register(node("worker", "ftp"), catch_up=MONTH)
    assert due(engine, worker) == [recent], "it had no doors before"
