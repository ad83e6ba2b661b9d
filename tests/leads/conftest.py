"""A desk: leads that lie in the example organisation, and users who work with them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, insert, select, update

from ingestd.access.permissions import Permission
from ingestd.ingest import load
from ingestd.leads import agents, history, lead, statuses
from ingestd.leads.agents import Agent
from ingestd.leads.lead import Lead
from ingestd.leads.statuses import Change
from ingestd.model import PoolState
from ingestd.store import loading, rules, tables
from ingestd.store.engine import reading, writing

NOON = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Desk:
    """One store with the example organisation."""

    engine: Engine

    def owner(self, name: str) -> int:
        """The number of `team:<key>` or `user:<login>`."""
        with reading(self.engine) as connection:
            return rules.owners(connection).by_name[name].id

    def campaign(self, code: str = "DK-ENERGY") -> int:
        with reading(self.engine) as connection:
            return rules.campaign(connection, code).id

    def agent(self, login: str, *permissions: str) -> Agent:
        with reading(self.engine) as connection:
            who = agents.agent(connection, login)
        return dataclasses.replace(who, permissions=who.permissions | {Permission(each) for each in permissions})

    def status(self, code: str) -> int:
        with reading(self.engine) as connection:
            return statuses.read(connection).by_code[code].id

    def pool(self, campaign: str = "DK-ENERGY", state: str = PoolState.ACTIVE) -> int:
        values = {"name": "a pool", "state": state, "uploaded_by": "test", "uploaded_at": NOON}
        with writing(self.engine) as connection:
            statement = insert(tables.pools).values(campaign_id=self.campaign(campaign), **values)
            made = connection.execute(statement).inserted_primary_key
            assert made is not None
            return int(made[0])

    def leads(self, *rows: dict[str, Any], campaign: str = "DK-ENERGY", owner: str = "team:denmark") -> list[int]:
        """New leads of a pool of their own, as a load makes them; `rows` are further columns. Their numbers."""
        first = loading.reserve_numbers(self.engine, len(rows))
        numbers, pool_id = list(range(first, first + len(rows))), self.pool(campaign)
        frame = pl.DataFrame(
            {
                "row": pl.Series(range(1, len(rows) + 1), dtype=pl.UInt32),
                "id": numbers,
                "phone": [f"+4526{number:06d}" for number in numbers],
                "owner_id": [self.owner(owner)] * len(rows),
                "status": ["unprocessed"] * len(rows),
            }
        )
        target = load.Target(
            campaign_id=self.campaign(campaign), pool_id=pool_id, statuses={"unprocessed": self.status("unprocessed")}
        )
        with writing(self.engine) as connection:
            loading.insert_leads(connection, load.lead_frame(frame, target))
            for number, values in zip(numbers, rows, strict=True):
                if values:
                    connection.execute(update(tables.leads).where(tables.leads.c.id == number).values(values))
        return numbers

    def lead(self, number: int) -> Lead:
        with reading(self.engine) as connection:
            return lead.find(connection, number)

    def change(self, number: int, to: str, login: str | None = "copenhagen-1", **wish: Any) -> Lead:
        """Gives a lead another status."""
        by = self.owner(f"user:{login}") if login else None
        with writing(self.engine) as connection:
            return statuses.change_status(connection, number, Change(to=to, by=by, **{"at": NOON, **wish}))

    def told(self, number: int) -> list[tuple[str, str | None, str | None]]:
        """The history of a lead as field, before, after."""
        here = self.lead(number)
        with reading(self.engine) as connection:
            found = history.history(connection, here.campaign_id, number)
        return [(event.field, event.before, event.after) for event in found]

    def set(self, table: str, key: str, value: Any, **values: Any) -> None:
        target = tables.metadata.tables[table]
        with writing(self.engine) as connection:
            connection.execute(update(target).where(target.c[key] == value).values(values))

    def all_leads(self) -> list[dict[str, Any]]:
        with reading(self.engine) as connection:
            query = select(tables.leads).order_by(tables.leads.c.id)
            return [dict(row) for row in connection.execute(query).mappings()]


@pytest.fixture
def desk(organised: Engine) -> Desk:
    """A desk on each database."""
    return Desk(engine=organised)
