"""A home whose API takes imports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestd.access.permissions import Permission
from ingestd.house import House
from ingestd.webserver import desk_of
from tests.running import prepared
from tests.web.serving import Api, Client, serving_at


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    """A prepared home."""
    with prepared(tmp_path) as house:
        yield house


@pytest.fixture
def rung() -> list[str]:
    """What the doorbell was told."""
    return []


@pytest.fixture
def door(home: House, rung: list[str]) -> Iterator[Api]:
    """The API of the home."""
    with serving_at(desk_of(home, lambda: rung.append("!")), home.places.run) as running:
        yield running


@pytest.fixture
def program(door: Api) -> Client:
    """A program that imports."""
    return door.key(Permission.LEAD_POOLS)
