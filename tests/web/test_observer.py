"""Looking at a home whose store is there, away, or hangs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingestd.house import House, open_house
from ingestd.preparing import prepare_store
from ingestd.web import exposition, health
from ingestd.web.observer import Observation, Observer
from tests.running import example_config


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    opened = open_house(example_config(tmp_path), tmp_path / "home")
    yield opened
    opened.engine.dispose()


@pytest.fixture
def observer(house: House, tmp_path: Path) -> Iterator[Observer]:
    (tmp_path / "run").mkdir()
    made = Observer(
        ledger=house.ledger, dispatcher=house.dispatcher, spool=house.spool, storage=house.storage, run=tmp_path / "run"
    )
    yield made
    made.thread.shutdown()


def look(observer: Observer) -> Observation:
    return asyncio.run(observer.look())


def measured(seen: Observation, folder: Path) -> dict[str, float]:
    page, _ = exposition.render(seen, folder, "")
    return {each.name: each.value for f in text_string_to_metric_families(page.decode()) for each in f.samples}


def test_a_store_that_is_there_is_measured(house: House, observer: Observer, tmp_path: Path) -> None:
    prepare_store(house)
    seen = look(observer)
    assert seen.store_problem == ""
    assert seen.queue == {"ready": 0, "running": 0, "oldest_seconds": 0.0}
    found = measured(seen, tmp_path)
    assert (found["ingestd_store_up"], found["ingestd_deliveries_waiting"]) == (1, 0)


def test_without_the_database_its_numbers_are_left_out_and_the_others_are_there(
    house: House, observer: Observer, tmp_path: Path
) -> None:
    (house.places.home / "ingestd.db").mkdir()
    seen = look(observer)
    assert seen.store_problem == "the database does not answer"  # no more: its address is nobody's business
    assert {check.name for check in health.checks(seen) if not check.ok} >= {"database", "queue"}
    found = measured(seen, tmp_path)
    assert found["ingestd_store_up"] == 0
    assert found["ingestd_spool_free_bytes"] > 0
    assert "ingestd_queue_oldest_seconds" not in found


def test_a_database_that_hangs_does_not_hang_who_asks_however_many_ask(
    observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[None] = []
    goes_on = threading.Event()

    def hangs(_dispatcher: object) -> dict[str, Any]:
        asked.append(None)
        goes_on.wait(10)
        return {"ready": 0, "running": 0, "oldest_seconds": 0.0}

    monkeypatch.setattr(type(observer.dispatcher), "health", hangs)
    observer.seconds = 0.05

    async def many() -> list[Observation]:
        seen = await asyncio.gather(*(observer.look() for _ in range(5)))
        goes_on.set()
        return seen

    assert {seen.store_problem for seen in asyncio.run(many())} == {"no answer within 0.05 s"}
    assert len(asked) == 1
