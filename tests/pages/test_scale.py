"""Pages over very many deliveries ask the store no more than over few; bench/pages.py measures how long that takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from bench.pages import PATHS, fill
from ingestd.webserver import desk_of
from tests.running import prepared
from tests.web.serving import serving_at

MANY, MORE = 1_000, 4_000


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """Every statement that is sent to the database meanwhile."""
    sent: list[str] = []

    def note(*arguments: Any) -> None:
        sent.append(arguments[2])

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


@pytest.mark.parametrize("path", PATHS)
def test_the_ledger_may_grow(path: str, tmp_path: Path) -> None:
    asked = []
    with prepared(tmp_path) as house, serving_at(desk_of(house), house.places.run) as api:
        client = api.user("admin")
        for count in (MANY, MORE - MANY):
            fill(house.engine, count)
            with statements(house.engine) as sent:
                answer = client.ask("GET", path.format(middle=MANY // 2), Accept="text/html")
            assert answer.status == 200
            assert answer.body.count(b'id="open-') <= 50
            asked.append(len(sent))
    few, many = asked
    assert many <= few + 12, "a look by number for each doubling, three times at most"
    assert many < 70
