"""A station: what a delivery goes through from the door to its end, with real spool, ledger, road and publisher."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, func, select, update

from ingestd import dispatch
from ingestd.handback import Publisher
from ingestd.ingest import downloads
from ingestd.ingest.road import Road
from ingestd.leads import ending
from ingestd.model import Arrival, CampaignRules, Completeness, Counts, Delivery, Outcome, State
from ingestd.receive.landing import Landing
from ingestd.settings import Source
from ingestd.spool import Spool
from ingestd.storage import Folder, Storage
from ingestd.store import rules, tables
from ingestd.store.engine import reading, writing
from ingestd.store.ledger import Ledger
from tests.databases import ROOT


@dataclasses.dataclass(frozen=True, kw_only=True)
class Station:
    """One home with its database."""

    home: Path
    storage: Storage
    road: Road
    landing: Landing
    publisher: Publisher

    @classmethod
    def at(cls, engine: Engine, home: Path, storage: Storage | None = None) -> Station:
        """Wired as ingestd.house and ingestd.roles do it."""
        ledger = Ledger(engine=engine, submit=dispatch.of(engine).submit)
        storage = storage or Folder(home)
        spool = Spool(home / "spool", storage=storage.below("spool"), reserve_bytes=0)
        logs = storage.below("logs")
        return cls(
            home=home,
            storage=storage,
            road=Road(
                engine=engine,
                ledger=ledger,
                spool=spool,
                logs=logs,
                schemas=ROOT / "schemas",
                close=ending.close_listed,
            ),
            landing=Landing(spool, ledger, ring=lambda: None),
            publisher=Publisher(
                ledger=ledger,
                spool=spool,
                logs=logs,
                keep=timedelta(days=30),
                homes=home / "homes",
                drop=home / "drop",
                after="done",
            ),
        )

    @property
    def engine(self) -> Engine:
        return self.road.engine

    def land(
        self, data: bytes, *, name: str = "leads.csv", source: str = "nordlead", folder: str = "", protocol: str = "ftp"
    ) -> int:
        """What a door does; the number of the delivery."""
        arrival = Arrival(
            source=source,
            login=source,
            peer="192.0.2.1",
            protocol=protocol,
            name=name,
            folder=folder,
            completeness=Completeness.PROVEN,
            evidence="told by the test",
        )
        with closing(self.landing.open(1 << 30)) as incoming:
            incoming.write(data)
            self.landing.accept(incoming, arrival)
        return self.road.ledger.latest(limit=1)[0].id

    def deliver(self, data: bytes, **arrival: str) -> Delivery:
        """Lands a file and brings it to its end."""
        number = self.land(data, **arrival)
        self.road.travel(number)
        return self.known(number)

    def known(self, number: int) -> Delivery:
        delivery = self.road.ledger.get(number)
        assert delivery is not None
        return delivery

    def change_campaign(self, code: str = "DK-ENERGY", **values: Any) -> None:
        with writing(self.engine) as connection:
            connection.execute(update(tables.campaigns).where(tables.campaigns.c.code == code).values(values))

    def change_source(self, name: str = "nordlead", **values: Any) -> None:
        table = tables.sources
        with writing(self.engine) as connection:
            old = connection.scalar(select(table.c.definition).where(table.c.name == name))
            assert old is not None
            new = Source.model_validate({**json.loads(old), **values}).model_dump_json()
            connection.execute(update(table).where(table.c.name == name).values(definition=new))

    def campaign(self, code: str = "DK-ENERGY") -> CampaignRules:
        with reading(self.engine) as connection:
            return rules.campaign(connection, code)

    def leads(self, delivery: Delivery | None = None) -> list[dict[str, Any]]:
        """The leads, or those of one delivery's pool, in the order of their file, with their status by code."""
        lead = tables.leads.c
        query = (
            select(tables.leads, tables.statuses.c.code.label("status"))
            .join(tables.statuses, tables.statuses.c.id == lead.status_id)
            .order_by(lead.pool_id, lead.row)
        )
        if delivery is not None:
            query = query.where(lead.pool_id == delivery.pool_id)
        with reading(self.engine) as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def count(self, table: str) -> int:
        with reading(self.engine) as connection:
            return connection.scalar(select(func.count()).select_from(tables.metadata.tables[table])) or 0

    def owner(self, name: str) -> int:
        """The number of `team:<key>` or `user:<login>`."""
        with reading(self.engine) as connection:
            return rules.owners(connection).by_name[name].id

    def download(self, delivery: Delivery, kind: str) -> bytes:
        return b"".join(downloads.pieces(delivery, kind, logs=self.road.logs, spool=self.road.spool))

    def rows(self, delivery: Delivery, kind: str = "full") -> list[dict[str, str]]:
        """A downloaded log, as a program of an operator reads it."""
        text = self.download(delivery, kind).decode()
        return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))

    def summary(self, delivery: Delivery) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.download(delivery, "summary"))
        return found

    def check_balance(self, delivery: Delivery) -> None:
        """Every record ended once: in the counts, in the log, in the leads and in the pool."""
        assert delivery.state.final
        counts = delivery.counts  # a Counts that does not add up cannot be made
        loaded = delivery.state in (State.COMPLETED, State.COMPLETED_WITH_REJECTS)
        assert self.count_receipts(delivery) == int(loaded)
        assert self.count_pools(delivery) == int(delivery.pool_id is not None) >= int(loaded)
        rows = self.rows(delivery)
        assert [int(row["row"]) for row in rows] == list(range(1, counts.records + 1))
        ended = pl.Series([row["outcome"] for row in rows], dtype=pl.String)
        assert counts == Counts(records=len(rows), **{str(end): int((ended == end).sum()) for end in Outcome})
        inserted = {row["lead_id"]: int(row["row"]) for row in rows if row["outcome"] == Outcome.INSERTED}
        mine = self.leads(delivery) if delivery.pool_id else []
        assert {str(lead["id"]): lead["row"] for lead in mine} == inserted
        for row in rows:
            assert (row["outcome"] in (Outcome.REJECTED, Outcome.DUPLICATE)) <= bool(row["errors"])
        if delivery.state is State.REFUSED:
            assert delivery.reason_code
            assert delivery.reason

    def count_receipts(self, delivery: Delivery) -> int:
        query = select(func.count()).where(tables.receipts.c.delivery_id == delivery.id)
        with reading(self.engine) as connection:
            return connection.scalar(query) or 0

    def count_pools(self, delivery: Delivery) -> int:
        query = select(func.count()).where(tables.pools.c.delivery_id == delivery.id)
        with reading(self.engine) as connection:
            return connection.scalar(query) or 0


@pytest.fixture
def station(organised: Engine, tmp_path: Path) -> Station:
    """A station with the example organisation, on each database."""
    return Station.at(organised, tmp_path)
