"""That this daemon is there, and what each of its processes does: told to the store, for `ingestd status` anywhere.

Each process tells by itself, in a thread of its own, so a database that is away or slow holds nothing up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib import metadata
from typing import Any

import structlog

from ingestd.dispatch.turns import Every
from ingestd.errors import Unavailable
from ingestd.house import House, home_id
from ingestd.node import BEAT_SECONDS, SILENT_SECONDS, Node, own_name
from ingestd.roster import now
from ingestd.store.nodes import NameTaken, Nodes

log = structlog.get_logger()

FORGET_SECONDS = 3600.0
"""Between two looks for nodes that have been gone for longer than results are kept."""
JOIN_SECONDS = 1.0
"""Between two looks whether another node of the name still beats."""
LEAVE_SECONDS = 2.0
"""How long a stop waits for the store to be told."""


@dataclass(kw_only=True)
class Presence:
    """Says again and again, in a thread, that something lives."""

    tell: Callable[[], None]
    """raises Unavailable while the store is away, which is told once"""
    leave: Callable[[], None] = lambda: None
    """what is said last"""
    seconds: float = BEAT_SECONDS
    away: bool = False
    ended: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    def start(self) -> None:
        """From now on, until `stop` or the end of the process."""
        self.thread = threading.Thread(target=self._run, name="presence", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Says farewell, if the store listens within LEAVE_SECONDS."""
        self.ended.set()
        if self.thread is not None:
            self.thread.join(LEAVE_SECONDS)

    def _run(self) -> None:
        while not self.ended.is_set():
            self.say(self.tell)
            self.ended.wait(self.seconds)
        self.say(self.leave)

    def say(self, what: Callable[[], None]) -> None:
        """Once; a store that is away is no reason to stop saying it."""
        try:
            what()
        except Unavailable as problem:
            if not self.away:
                log.warning("presence_not_told", error=str(problem))
            self.away = True
        else:
            if self.away:
                log.info("presence_told_again")
            self.away = False


@dataclass(kw_only=True)
class AtWork:
    """What a worker has in hand."""

    delivery: int | None = None
    stage: str = ""
    since: datetime | None = None

    def take(self, delivery: int) -> None:
        """It begins with a delivery."""
        self.delivery, self.stage, self.since = delivery, "begin", now()

    def put_down(self) -> None:
        """It is done with it."""
        self.delivery, self.stage, self.since = None, "", None

    def told(self) -> dict[str, Any]:
        """For the store; empty while it waits."""
        delivery, stage, since = self.delivery, self.stage, self.since
        return {"delivery": delivery, "stage": stage, "since": since} if delivery is not None else {}


def of_process(house: House, doing: Callable[[], Mapping[str, Any]]) -> None:
    """Has this process tell what it does from now on."""
    number, nodes = house.node, Nodes(engine=house.engine)
    assert number is not None, "only a process of a daemon is on a node"
    Presence(tell=lambda: nodes.tell(number, house.process, doing())).start()


@dataclass(kw_only=True)
class Beat:
    """The supervisor's word that the node lives; now and then it clears away nodes that are gone for good."""

    nodes: Nodes
    number: int
    node: Node
    forget: Callable[[], object]
    """has nodes forgotten that are gone for good, now and then"""
    mine: bool = True

    def __call__(self) -> None:
        """Raises Unavailable."""
        still = self.nodes.beat(self.number, self.node.home)
        if self.mine and not still:
            log.error("node_replaced", node=self.node.name)
        self.mine = still
        self.forget()

    def leave(self) -> None:
        """The daemon is being stopped; raises Unavailable."""
        self.nodes.leave(self.number, self.node.home)


def of_node(house: House, number: int, node: Node) -> Presence:
    """The supervisor's: that the node as a whole lives."""
    # After so long a node that is gone is forgotten, with the results that it was to hand back.
    keep, nodes = timedelta(days=house.configuration.daemon.results.keep_days), Nodes(engine=house.engine)
    forget = Every(seconds=FORGET_SECONDS, action=lambda: nodes.forget(keep))
    beat = Beat(nodes=nodes, number=number, node=node, forget=forget)
    return Presence(tell=beat, leave=beat.leave)


def node_of(house: House, roles: tuple[str, ...], host: str) -> Node:
    """What this daemon is called, and where it is."""
    return Node(
        name=own_name(house.configuration.daemon.node.name, host),
        home=home_id(house.places),
        place=f"{host}:{house.places.home}",
        version=metadata.version("ingestd"),
        roles=roles,
    )


def join(house: House, node: Node, pause: Callable[[float], None]) -> int:
    """Writes the node down and returns its number; raises NameTaken, at once when the other one is heard.

    One that died holds its name until it has been silent for long enough, which is waited for.
    """
    nodes = Nodes(engine=house.engine)
    catch_up = timedelta(days=house.configuration.daemon.results.keep_days) if house.shared else None
    heard: datetime | None = None
    waited = 0.0
    while True:
        silent = heard if waited >= SILENT_SECONDS else None
        try:
            return nodes.register(node, catch_up=catch_up, silent=silent)
        except NameTaken as taken:
            if heard is not None and taken.beat_at != heard:
                raise
            heard = taken.beat_at
        pause(JOIN_SECONDS)
        waited += JOIN_SECONDS
