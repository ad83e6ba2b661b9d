"""The sources as the receiver has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from ingestd.feeds import Feeds
from ingestd.settings import Configuration, Source
from ingestd.store import organisation
from ingestd.store.engine import open_engine, writing
from ingestd.store.ledger import now
from tests import databases


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return open_engine(databases.embedded(tmp_path, organised=True))


def apply(engine: Engine, configuration: Configuration) -> None:
    with writing(engine) as connection:
        organisation.apply(connection, configuration, now())


def without(configuration: Configuration, name: str) -> Configuration:
    kept = tuple(source for source in configuration.sources.source if source.name != name)
    sources = configuration.sources.model_copy(update={"source": kept})
    return configuration.model_copy(update={"sources": sources})


def test_listeners_hear_of_a_change_once(engine: Engine, example: Configuration) -> None:
    heard: list[Sequence[Source]] = []
    feeds = Feeds.read(engine)
    feeds.on_change(heard.append)
    assert not feeds.look()
    apply(engine, without(example, "stadtwerk"))
    with capture_logs() as told:
        assert feeds.look()
        assert not feeds.look()
    assert [[source.name for source in sources] for sources in heard] == [["fibreweb", "nordlead"]]
    assert [(event["event"], event["logins_removed"]) for event in told] == [("sources_reloaded", 1)]


def test_the_same_configuration_again_is_no_change(engine: Engine, example: Configuration) -> None:
    feeds = Feeds.read(engine)
    apply(engine, example)
    assert not feeds.look()


def test_a_store_that_is_away_is_told_of_once_and_looked_at_again(
    engine: Engine, example: Configuration, tmp_path: Path
) -> None:
    feeds = Feeds.read(engine)
    engine.dispose()  # an open connection would keep the file that it had
    (tmp_path / "ingestd.db").rename(tmp_path / "elsewhere")
    (tmp_path / "ingestd.db").mkdir()
    with capture_logs() as told:
        assert not feeds.look()
        assert not feeds.look()
    assert [event["event"] for event in told] == ["sources_not_read"]
    (tmp_path / "ingestd.db").rmdir()
    (tmp_path / "elsewhere").rename(tmp_path / "ingestd.db")
    apply(engine, without(example, "stadtwerk"))
    assert feeds.look()
