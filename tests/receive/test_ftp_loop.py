"""The loop in turns: what is urgent goes first, everything else gets its turn, and nothing is served after its end."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from ingestd.receive.ftp_loop import TURN_SECONDS, FairLoop


@dataclass
class Asking:
    """A connection that has something to be read, as the loop sees it."""

    loop: FairLoop
    served: list[Any]
    urgent: bool = False
    costs: float = 0.0
    """seconds"""
    broken: bool = False
    ends: list[socket.socket] = field(default_factory=lambda: list(socket.socketpair()))

    def __post_init__(self) -> None:
        self._fileno = self.ends[0].fileno()
        self.ends[1].send(b"!")
        self.loop.register(self._fileno, self, self.loop.READ)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        self.ends[0].recv(1)
        self.served.append(self)
        until = time.perf_counter() + self.costs
        while time.perf_counter() < until:
            pass
        if self.broken:
            raise ValueError("a bug")

    def handle_error(self) -> None:
        self.served.append("error")

    def handle_close(self) -> None:
        self.close()

    def close(self) -> None:
        for end in self.ends:
            end.close()


@pytest.fixture
def loop() -> Iterator[FairLoop]:
    made = FairLoop()
    yield made
    made.close()


def test_an_urgent_connection_does_not_wait_for_the_others(loop: FairLoop) -> None:
    """Each of the others takes a whole turn."""
    served: list[Any] = []
    for _ in range(20):
        Asking(loop, served, costs=TURN_SECONDS)
    urgent = Asking(loop, served, urgent=True)
    loop.poll(1.0)
    assert served[0] is urgent
    assert len(served) == 2
    late = Asking(loop, served, urgent=True)
    loop.poll(1.0)
    assert served[2] is late


def test_everybody_has_a_turn_in_the_order_of_coming(loop: FairLoop) -> None:
    served: list[Any] = []
    others = [Asking(loop, served, costs=TURN_SECONDS) for _ in range(5)]
    for _ in range(5):
        loop.poll(1.0)
    assert served == others


def test_cheap_ones_are_served_in_one_turn(loop: FairLoop) -> None:
    served: list[Any] = []
    for _ in range(50):
        Asking(loop, served)
    loop.poll(1.0)
    assert len(served) == 50


def test_calls_and_connections_take_turns(loop: FairLoop) -> None:
    """A thousand calls do not hold up what comes over the wire, nor the other way round."""
    served: list[Any] = []
    owner = Asking(loop, served, costs=TURN_SECONDS / 4)
    for number in range(1_000):
        loop.soon(owner, lambda number=number: served.append(number) or time.sleep(TURN_SECONDS / 4))  # type: ignore[misc]
    loop.poll(1.0)
    assert served[:2] == [0, owner]
    assert served[2:3] in ([], [1])  # a busy machine may have taken the rest of the turn
    assert len(served) < 10


def test_a_turn_does_not_wait_while_something_is_left(loop: FairLoop) -> None:
    """Waiting for an event would leave the calls lying."""
    called: list[int] = []
    for number in range(3):
        loop.soon(None, lambda number=number: called.append(number) or time.sleep(TURN_SECONDS))  # type: ignore[misc]
    for _ in range(3):
        loop.poll(60.0)
    assert called == [0, 1, 2]


def test_who_is_gone_is_not_served(loop: FairLoop) -> None:
    """Its number may be another one's by then."""
    served: list[Any] = []
    first, second = (Asking(loop, served, costs=TURN_SECONDS) for _ in range(2))
    loop.poll(1.0)
    loop.unregister(second._fileno)
    loop.poll(0.0)
    assert served == [first]
    second.close()


def test_a_bug_is_its_owners(loop: FairLoop) -> None:
    served: list[Any] = []
    broken = Asking(loop, served, broken=True)
    loop.poll(1.0)
    assert served == [broken, "error"]
    loop.soon(broken, lambda: 1 / 0)  # type: ignore[func-returns-value]
    loop.poll(0.0)
    assert served == [broken, "error", "error"]
