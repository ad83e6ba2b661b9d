"""A shop on each database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from ingestd import dispatch
from ingestd.store.engine import open_engine
from tests.dispatch.labour import DEAD_SECONDS
from tests.dispatch.serving import Shop


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A store with its dispatcher; the workers that a test starts are gone after it."""
    engine = open_engine(database_url)
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        patience = timedelta(seconds=DEAD_SECONDS)
        dispatcher = dispatch.of(engine, node="here", retry=timedelta(seconds=0.2), dead=patience)
        yield Shop(url=database_url, folder=tmp_path, stack=stack, engine=engine, dispatcher=dispatcher)
