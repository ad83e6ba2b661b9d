"""Rehearsals in a process of their own."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from ingestd import samples
from ingestd.errors import Unavailable
from ingestd.ingest import apart, rehearsal
from ingestd.ingest.apart import Errand
from ingestd.model import Arrival
from ingestd.store.ledger import now
from tests.databases import ROOT
from tests.ingest.conftest import Station


def errand(station: Station, file: Path) -> Errand:
    arrival = Arrival(
        source="nordlead", login="x", peer="", protocol="http", name=file.name, mapping='{"Comments": ""}'
    )
    return Errand(
        store=station.engine.url.render_as_string(hide_password=False),
        schemas=ROOT / "schemas",
        file=file,
        delivery=replace(rehearsal.provisional(arrival, now()), confirmed_at=now()),
        rows=2,
    )


def test_the_other_process_says_the_same(station: Station, tmp_path: Path) -> None:
    file = tmp_path / "dirty.csv"
    file.write_bytes(samples.dirty())
    here = apart.rehearsed(errand(station, file))
    there = asyncio.run(apart.run(errand(station, file)))
    assert there == json.loads(json.dumps(here))
    assert there["counts"]["rejected"] > 0
    assert "Comments" in there["ignored_columns"]


def test_a_process_that_fails_is_ours_and_says_why(station: Station, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="code 1: FileNotFoundError"):
        asyncio.run(apart.run(errand(station, tmp_path / "missing.csv")))
    away = replace(errand(station, tmp_path), store="postgresql+psycopg://nobody@127.0.0.1:9/none")
    with pytest.raises(Unavailable, match="code 75: "):
        asyncio.run(apart.run(away))
