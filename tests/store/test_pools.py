"""Lead pools: what an operator sees always equals the leads."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest
from sqlalchemy import Engine, update
from sqlalchemy.exc import IntegrityError

from ingestd import dispatch
from ingestd.ingest import load
from ingestd.model import Arrival, Delivery, PoolState
from ingestd.spool import Landed
from ingestd.store import loading, pools, rules, tables
from ingestd.store.engine import reading, writing
from ingestd.store.ledger import Ledger

MOMENT = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


def delivery(engine: Engine, name: str = "leads.csv") -> Delivery:
    ledger = Ledger(engine=engine, submit=dispatch.of(engine).submit, clock=lambda: MOMENT)
    arrival = Arrival(source="nordlead", login="night", peer="192.0.2.1", protocol="ftp", name=name)
    recorded = ledger.record(arrival, Landed(key=name, size=1, sha256=name))
    known = ledger.get(recorded.delivery_id)
    assert known is not None
    return known


def filled(
    engine: Engine,
    statuses: dict[str, int],
    *,
    code: str = "DK-ENERGY",
    state: PoolState = PoolState.ACTIVE,
    name: str = "a",
) -> int:
    """A pool with so many leads of each status, given by its number in the example; its number."""
    sent = delivery(engine, name)
    numbers = [number for number, count in statuses.items() for _ in range(count)]
    first = loading.reserve_numbers(engine, len(numbers))
    with writing(engine) as connection:
        campaign = rules.campaign(connection, code)
        pool = pools.create(connection, sent, campaign.id, state)
        owners = rules.owners(connection).by_name
        known = {**rules.statuses(connection), "success": 15, "busy": 12, "follow_up_redial": 6}
        frame = pl.DataFrame(
            {
                "row": range(len(numbers)),
                "phone": [f"+45{number}" for number in range(len(numbers))],
                "status": numbers,
                "owner_id": [
                    owners["team:denmark" if place % 3 else "user:aarhus-1"].id for place in range(len(numbers))
                ],
            },
            schema_overrides={"status": pl.String, "phone": pl.String, "owner_id": pl.Int64},
        )
        target = load.Target(campaign_id=campaign.id, pool_id=pool, statuses=known)
        if numbers:
            loading.insert_leads(connection, load.lead_frame(load.number(frame, first), target))
    return pool


def test_a_pool_is_shown_as_the_operator_needs_it(organised: Engine) -> None:
    number = filled(organised, {"unprocessed": 5, "invalid_phone_number": 2, "success": 1}, name="leads.csv")
    with reading(organised) as connection:
        (pool,) = pools.latest(connection, limit=5)
    assert pool == {
        "id": number,
        "name": "leads.csv",
        "project": "Energy contracts",
        "campaign": "DK-ENERGY",
        "state": PoolState.ACTIVE,
        "uploaded_at": MOMENT,
        "uploaded_by": "nordlead (night)",
        "delivery_id": pool["delivery_id"],
        "total": 8,
        "total_open": 5,
        "ready_to_dial": 5,
        "percent_closed": 37.5,
        "percent_used": 37.5,
    }


@pytest.mark.parametrize("state", [PoolState.INACTIVE, PoolState.UPLOAD_FAILED])
def test_in_a_pool_that_is_not_active_nothing_is_ready_to_dial(organised: Engine, state: PoolState) -> None:
    filled(organised, {"unprocessed": 3}, state=state)
    with reading(organised) as connection:
        (pool,) = pools.latest(connection, limit=5)
    assert (pool["total_open"], pool["ready_to_dial"]) == (3, 0)


def test_what_dialling_gives_to_nobody_is_not_ready_to_dial(organised: Engine) -> None:
    number = filled(organised, {"unprocessed": 3, "busy": 2, "follow_up_redial": 1})
    with writing(organised) as connection:
        pool = pools.one(connection, number)
        connection.execute(update(tables.campaigns).where(tables.campaigns.c.code == "DK-ENERGY").values(active=False))
        stopped = pools.one(connection, number)
    assert pool is not None
    assert stopped is not None
    assert (pool["total_open"], pool["ready_to_dial"]) == (6, 3)  # the others are called by hand only
    assert (stopped["total_open"], stopped["ready_to_dial"]) == (6, 0)


def test_an_empty_pool_has_no_shares(organised: Engine) -> None:
    filled(organised, {})
    with reading(organised) as connection:
        (pool,) = pools.latest(connection, limit=5)
    assert (pool["total"], pool["percent_closed"], pool["percent_used"]) == (0, 0.0, 0.0)


def test_the_newest_pools_come_first_and_can_be_those_of_a_campaign(organised: Engine) -> None:
    numbers = [
        filled(organised, {"unprocessed": place + 1}, code=code, name=str(place))
        for place, code in enumerate(("DK-ENERGY", "DK-FIBRE", "DK-ENERGY"))
    ]
    with reading(organised) as connection:
        assert [pool["id"] for pool in pools.latest(connection, limit=5)] == numbers[::-1]
        assert [pool["total"] for pool in pools.latest(connection, limit=5)] == [3, 2, 1]
        assert [pool["id"] for pool in pools.latest(connection, limit=1)] == numbers[2:]
        assert [pool["id"] for pool in pools.latest(connection, limit=5, campaign="DK-ENERGY")] == [
            numbers[2],
            numbers[0],
        ]
        assert pools.latest(connection, limit=5, campaign="nowhere") == []


def test_the_owners_of_a_pool_are_counted_the_most_first(organised: Engine) -> None:
    number = filled(organised, {"unprocessed": 6})
    filled(organised, {"unprocessed": 1}, name="another")
    with reading(organised) as connection:
        assert pools.owners(connection, number) == [
            {"kind": "team", "key": "denmark", "owner": "Denmark", "ownership_code": "DK", "leads": 4},
            {
                "kind": "user",
                "key": "aarhus-1",
                "owner": "Aarhus agent 1",
                "ownership_code": "AAR-101",
                "leads": 2,
            },
        ]
        assert pools.owners(connection, number + 99) == []


def test_a_delivery_becomes_one_pool_only(organised: Engine) -> None:
    sent = delivery(organised)
    with writing(organised) as connection:
        campaign = rules.campaign(connection, "DK-ENERGY").id
        pools.create(connection, sent, campaign, PoolState.ACTIVE)
    with pytest.raises(IntegrityError), writing(organised) as connection:
        pools.create(connection, sent, campaign, PoolState.ACTIVE)


def test_pools_are_read_page_by_page_and_by_source(organised: Engine) -> None:
    numbers = [filled(organised, {"unprocessed": 1}, name=name) for name in "abc"]
    with reading(organised) as connection:
        newest = pools.latest(connection, limit=2)
        rest = pools.latest(connection, limit=2, before=newest[-1]["id"])
        assert [each["id"] for each in (*newest, *rest)] == numbers[::-1]
        assert pools.one(connection, numbers[0], source="nordlead") == rest[0]
        assert pools.one(connection, numbers[0], source="stadtwerk") is None
        assert pools.one(connection, 999) is None
        assert pools.latest(connection, limit=9, source="stadtwerk") == []
