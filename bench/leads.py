"""Leads of one campaign, one pool and one team, for what works with many leads."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, insert

from bench import growth
from bench.growth import CAMPAIGN
from bench.road import postgres_server
from ingestd.leads import statuses
from ingestd.model import PoolState
from ingestd.store import rules, tables
from ingestd.store.engine import open_engine, reading, sqlite_url, writing

OWNER = "team:denmark"


@contextmanager
def stores(only: str | None) -> Iterator[dict[str, str]]:
    """The URLs of an empty store on each database."""
    with tempfile.TemporaryDirectory(prefix="ingestd-leads-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        found = {} if only == "postgresql" else {"sqlite": sqlite_url(folder)}
        if only == "sqlite":
            yield found
            return
        with postgres_server(folder, fsync=True) as server:
            yield {**found, "postgresql": server.new_database()}


def filled(url: str, count: int) -> tuple[Engine, int]:
    """A store with the example organisation and so many leads of Denmark, ready to be called; and their pool."""
    with tempfile.TemporaryDirectory(prefix="ingestd-home-") as home:
        growth.organised(Path(home), url)
    engine = open_engine(url)
    with writing(engine) as connection:
        campaign, owner = rules.campaign(connection, CAMPAIGN).id, rules.owners(connection).by_name[OWNER].id
        values = {"campaign_id": campaign, "name": "a pool", "state": PoolState.ACTIVE, "uploaded_by": "bench"}
        at = {"uploaded_at": datetime.now(UTC)}
        key = connection.execute(insert(tables.pools).values({**values, **at})).inserted_primary_key
        assert key is not None
    with reading(engine) as connection:
        status = statuses.read(connection).get("unprocessed").id
    engine.dispose()
    growth.fill(url, count, pool=key[0], owner=owner, status=status)
    return open_engine(url), key[0]
