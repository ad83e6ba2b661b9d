"""That a daemon is there: told to the store again and again, and never in the way of anything."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from ingestd import presence
from ingestd.errors import Unavailable
from ingestd.house import House, open_house
from ingestd.node import SILENT_SECONDS
from ingestd.presence import AtWork, Beat, Presence
from ingestd.store.nodes import NameTaken, Nodes
from tests.databases import ROOT
from tests.running import until

ROLES = ("ftp", "worker")


@pytest.fixture
def house(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setenv("INGESTD_STORE__URL", database_url)
    monkeypatch.setenv("INGESTD_NODE__NAME", "alpha")
    opened = open_house(ROOT / "config", tmp_path / "home")
    yield opened
    opened.engine.dispose()


def test_it_is_told_until_the_end_and_then_farewell() -> None:
    said: list[str] = []
    told = Presence(tell=lambda: said.append("here"), leave=lambda: said.append("gone"), seconds=0.01)
    told.start()
    until(lambda: len(said) > 2, "it to be told again")
    told.stop()
    assert said[-1] == "gone"
    assert set(said[:-1]) == {"here"}


def test_a_store_that_is_away_is_told_once_and_spoken_to_again() -> None:
    answers = iter([Unavailable("away"), Unavailable("away"), None, Unavailable("away")])

    def tell() -> None:
        if problem := next(answers):
            raise problem

    told = Presence(tell=tell)
    with structlog.testing.capture_logs() as journal:
        for _ in range(4):
            told.say(told.tell)
    assert [line["event"] for line in journal] == ["presence_not_told", "presence_told_again", "presence_not_told"]


def test_a_store_that_does_not_answer_holds_up_no_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "LEAVE_SECONDS", 0.05)
    stuck = threading.Event()
    told = Presence(tell=lambda: None, leave=lambda: stuck.wait(60) and None)
    told.start()
    told.stop()  # returns
    stuck.set()


def test_a_worker_tells_what_it_has_in_hand() -> None:
    hands = AtWork()
    assert hands.told() == {}
    hands.take(7)
    hands.stage = "load"
    assert (hands.told()["delivery"], hands.told()["stage"]) == (7, "load")
    hands.put_down()
    assert hands.told() == {}


def test_a_node_that_is_restarted_takes_its_name_at_once(house: House) -> None:
    node = presence.node_of(house, ROLES, "host")
    waits: list[float] = []
    assert presence.join(house, node, waits.append) == presence.join(house, node, waits.append)
    assert waits == []
    assert (node.name, node.roles, node.place) == ("alpha", ROLES, f"host:{house.places.home}")


def test_another_home_is_refused_as_soon_as_the_first_is_heard(house: House) -> None:
    node = presence.node_of(house, ROLES, "host")
    number = presence.join(house, node, lambda _: None)
    other = dataclasses.replace(node, home="other", place="other")
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            Nodes(engine=house.engine).beat(number, node.home)

    with pytest.raises(NameTaken, match="another node is called 'alpha'"):
        presence.join(house, other, pause)
    assert len(waits) == 2


def test_the_name_of_a_dead_node_is_waited_for_though_its_clock_was_ahead(house: House) -> None:
    node = presence.node_of(house, ROLES, "host")
    ahead = Nodes(engine=house.engine, clock=lambda: datetime.now(UTC) + timedelta(hours=1))
    number = ahead.register(node)
    waits: list[float] = []
    other = dataclasses.replace(node, home="other", place="other")
    assert presence.join(house, other, waits.append) == number
    assert sum(waits) == SILENT_SECONDS


def test_a_node_whose_name_was_given_away_says_so_once(house: House) -> None:
    node = presence.node_of(house, ROLES, "host")
    nodes = Nodes(engine=house.engine)
    number = nodes.register(node)
    beat = Beat(nodes=nodes, number=number, node=node, forget=lambda: None)
    with structlog.testing.capture_logs() as journal:
        beat()
        beat.leave()
        nodes.register(dataclasses.replace(node, home="other", place="other"))
        beat()
        beat()
    assert [line["event"] for line in journal] == ["node_replaced"]
