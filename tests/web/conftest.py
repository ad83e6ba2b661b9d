"""The API over the example organisation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ingestd.store.engine import open_engine
from tests import databases
from tests.web.serving import Api, serving


@pytest.fixture
def api(organised: Engine, tmp_path: Path) -> Iterator[Api]:
    """A running API, on both databases."""
    with serving(organised, tmp_path) as running:
        yield running


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Engine]:
    """The example organisation on SQLite, for what asks nothing special of a database."""
    engine = open_engine(databases.embedded(tmp_path, organised=True))
    yield engine
    engine.dispose()
