"""Leads that a source pushes one by one: one pool an hour, nothing lost, nothing doubled, each with its fate."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, false, select

from ingestd.errors import Invalid, Unavailable
from ingestd.ingest import pushlog
from ingestd.leads import pushing, undoing
from ingestd.leads.pushing import Push, Pushed
from ingestd.model import Arrival, Delivery, Outcome, PoolState, State
from ingestd.organisation import changes
from ingestd.store import loading, pools, pushes, tables
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing
from ingestd.store.ledger import Ledger, delivery_of
from ingestd.store.orders import PUSH
from tests.databases import ROOT
from tests.leads.conftest import NOON, Desk

Pusher = Callable[..., Pushed]


def nothing(_connection: Connection, _pushed: Pushed) -> None:
    pass


@pytest.fixture
def push(desk: Desk) -> Pusher:
    """Pushes a lead of nordlead; `phone` is its last four digits."""

    def pushed(phone: str, at: datetime = NOON, also: pushing.Also = nothing, **facts: Any) -> Pushed:
        source, folder, owner = (facts.pop(name, None) for name in ("source", "folder", "owner"))
        arrival = Arrival(source=source or "nordlead", login="key:1", peer="local", protocol=PUSH, name="")
        arrival = replace(arrival, folder=folder or "", default_owner=owner)
        values = {"phone": f"+452612{phone}", **facts}
        return pushing.push(desk.engine, ROOT / "schemas", Push(arrival=arrival, values=values, at=at, size=20), also)

    return pushed


def deliveries(desk: Desk) -> list[Delivery]:
    with reading(desk.engine) as connection:
        found = connection.execute(select(tables.deliveries).order_by(tables.deliveries.c.id)).mappings().all()
    return [delivery_of(row) for row in found]


def states(desk: Desk) -> dict[int, str]:
    """That of every pool."""
    with reading(desk.engine) as connection:
        return {row[0]: row[1] for row in connection.execute(select(tables.pools.c.id, tables.pools.c.state))}


def change_source(desk: Desk, **values: Any) -> None:
    with writing(desk.engine) as connection:
        changes.edit(connection, Deed(actor=COMMAND_LINE, at=NOON), "source", "nordlead", values)


def download(desk: Desk, delivery: Delivery, kind: str) -> str:
    with reading(desk.engine) as connection:
        rows = pushes.rows(connection, delivery.id)
    return b"".join(pushlog.pieces(delivery, rows, kind, as_json=False)).decode()


def test_a_lead_is_loaded_at_once_with_its_owner(desk: Desk, push: Pusher) -> None:
    first = push("3401", first_name=" Ida ", postcode="2100")
    push("3402", ownership_code="dk-cph")
    push("3403", owner="team:aarhus")
    assert (first.row, first.fate.outcome, first.fate.owner) == (1, Outcome.INSERTED, "team:denmark")
    leads = desk.all_leads()
    assert [lead["row"] for lead in leads] == [1, 2, 3]
    assert [lead["owner_id"] for lead in leads] == [
        desk.owner(name) for name in ("team:denmark", "team:copenhagen", "team:aarhus")
    ]
    assert (leads[0]["id"], leads[0]["first_name"], leads[0]["phone"]) == (first.fate.lead_id, "Ida", "+4526123401")


def test_the_leads_of_an_hour_share_a_pool(desk: Desk, push: Pusher) -> None:
    half, next_hour = NOON + timedelta(minutes=30), NOON + timedelta(hours=1)
    first, second, third = push("3401"), push("3402", at=half), push("3403", at=next_hour)
    assert first.pool_id == second.pool_id != third.pool_id
    names = [each.name for each in deliveries(desk)]
    assert names == ["pushed 2026-06-15 12-13 UTC", "pushed 2026-06-15 13-14 UTC"]


def test_each_source_and_campaign_has_its_own(desk: Desk, push: Pusher) -> None:
    found = {push("3401").pool_id, push("3402", folder="DK-FIBRE").pool_id, push("3403", source="fibreweb").pool_id}
    assert len(found) == 3


def test_a_pool_that_was_undone_is_followed_by_another_one(desk: Desk, push: Pusher) -> None:
    first = push("3401")
    with writing(desk.engine) as connection:
        ledger = Ledger(engine=desk.engine, submit=lambda _connection, _delivery: None)
        undoing.undo(connection, Deed(actor=COMMAND_LINE, at=NOON), first.pool_id, ledger, false())
    undone = deliveries(desk)[0]
    second, broken, again = push("3402"), push("34"), push("3401")
    assert first.pool_id != second.pool_id == broken.pool_id == again.pool_id
    assert [each.row for each in (second, broken, again)] == [1, 2, 3]
    old, new = deliveries(desk)
    assert (old, new.name, new.counts.inserted) == (undone, "pushed 2026-06-15 12-13 UTC (2)", 2)
    assert states(desk) == {first.pool_id: PoolState.UNDONE, second.pool_id: PoolState.ACTIVE}


def test_a_pool_that_was_deactivated_stays_so_for_the_leads_of_its_hour(desk: Desk, push: Pusher) -> None:
    first = push("3401")
    desk.set("pools", "id", first.pool_id, state=PoolState.INACTIVE)
    assert push("3402").pool_id == first.pool_id
    assert states(desk) == {first.pool_id: PoolState.INACTIVE}


def test_when_a_source_changes_its_campaign_the_leads_go_to_a_pool_of_that(desk: Desk, push: Pusher) -> None:
    first = push("3401")
    change_source(desk, campaign="DK-FIBRE", campaigns=[])
    second = push("3402")
    change_source(desk, campaign="DK-ENERGY")
    third = push("3403")
    assert first.pool_id == third.pool_id != second.pool_id
    with reading(desk.engine) as connection:
        pool, lead = tables.pools.c, tables.leads.c
        joined = select(lead.campaign_id, pool.campaign_id).join(tables.pools, pool.id == lead.pool_id)
        found = connection.execute(joined.order_by(lead.id)).all()
    energy, fibre = desk.campaign(), desk.campaign("DK-FIBRE")
    assert [tuple(row) for row in found] == [(energy, energy), (fibre, fibre), (energy, energy)]


def test_every_fate_is_told_counted_and_in_the_log(desk: Desk, push: Pusher) -> None:
    first = push("3401")
    again = push("3401", first_name="Bo")
    broken = push("34", first_name="=1+1")
    code = push("3402", ownership_code="DK-CPX")
    with writing(desk.engine) as connection:
        loading.add_do_not_call(connection, 0, ["+4526123403"], "asked")
    listed = push("3403")
    fates = [each.fate for each in (first, again, broken, code, listed)]
    assert [fate.outcome for fate in fates] == ["inserted", "duplicate", "rejected", "rejected", "rejected"]
    assert again.fate.lead_id == first.fate.lead_id
    told = [[problem["code"] for problem in fate.problems] for fate in fates]
    assert told == [[], ["duplicate_in_campaign"], ["phone_too_short"], ["ownership_code_unknown"], ["do_not_call"]]
    assert "'DK-CPH' meant?" in code.fate.problems[0]["suggestion"]
    (delivery,) = deliveries(desk)
    assert delivery.state is State.COMPLETED_WITH_REJECTS
    counts = delivery.counts
    assert (counts.records, counts.inserted, counts.duplicate, counts.rejected) == (5, 1, 1, 3)
    with reading(desk.engine) as connection:
        pool = pools.one(connection, first.pool_id, source="nordlead")
    assert pool is not None
    assert (pool["total"], pool["state"], pool["uploaded_by"]) == (1, PoolState.ACTIVE, "nordlead (key:1)")
    lines = download(desk, delivery, "full").splitlines()
    assert [line.split(",")[3] for line in lines[1:]] == [str(fate.outcome) for fate in fates]
    assert "duplicate_in_campaign" in download(desk, delivery, "errors")
    assert download(desk, delivery, "rejected").splitlines()[0] == "phone,first_name,ownership_code"
    assert len(download(desk, delivery, "rejected").splitlines()) == 4
    summary = json.loads(download(desk, delivery, "summary"))
    assert (summary["rows"], summary["counts"]["rejected"], summary["errors"][0]["count"]) == (5, 3, 1)


def test_a_campaign_that_updates_takes_what_is_new(desk: Desk, push: Pusher) -> None:
    facts = {"source": "stadtwerk", "Kd-Nr.": "7"}
    first = push("3401", **facts)
    same, other = push("3401", **facts), push("3401", source="stadtwerk", first_name="Jo")
    assert [same.fate.outcome, other.fate.outcome] == ["unchanged", "updated"]
    (lead,) = desk.all_leads()
    assert (lead["id"], lead["external_id"], lead["first_name"]) == (first.fate.lead_id, "7", "Jo")


def test_a_pool_of_nothing_but_rejects_is_a_failed_upload_until_a_lead_comes(desk: Desk, push: Pusher) -> None:
    def state() -> str:
        with reading(desk.engine) as connection:
            return str(connection.scalar(select(tables.pools.c.state)))

    push("34")
    assert state() == PoolState.UPLOAD_FAILED
    push("3401")
    assert state() == PoolState.ACTIVE


def test_a_lead_without_a_phone_is_rejected_and_one_with_two_is_none(desk: Desk, push: Pusher) -> None:
    arrival = Arrival(source="nordlead", login="key:1", peer="local", protocol=PUSH, name="")
    nameless = Push(arrival=arrival, values={"first_name": "Ida", "shoe size": "38"}, at=NOON, size=1)
    told = pushing.push(desk.engine, ROOT / "schemas", nameless, nothing)
    assert (told.fate.outcome, told.fate.problems[0]["code"]) == ("rejected", "required_missing")
    with pytest.raises(Invalid, match="both mean"):
        push("3401", Telefon="+4526123409")
    assert deliveries(desk)[0].counts.records == 1


def test_what_is_raised_in_the_transaction_takes_the_lead_back(desk: Desk, push: Pusher) -> None:
    def fails(_connection: Connection, _pushed: Pushed) -> None:
        raise Unavailable("away")

    with pytest.raises(Unavailable):
        push("3401", also=fails)
    assert (desk.all_leads(), deliveries(desk)) == ([], [])
    assert push("3401").row == 1


def test_leads_that_are_pushed_at_once_are_all_there_once(desk: Desk, push: Pusher) -> None:
    """Half of them name the same number as another one."""
    pushed: list[Pushed] = []
    phones = [f"34{number % 10:02}" for number in range(20)]
    threads = [threading.Thread(target=lambda phone=phone: pushed.append(push(phone))) for phone in phones]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outcomes = [each.fate.outcome for each in pushed]
    assert (outcomes.count(Outcome.INSERTED), outcomes.count(Outcome.DUPLICATE)) == (10, 10)
    assert sorted(each.row for each in pushed) == list(range(1, 21))
    assert len({each.pool_id for each in pushed}) == 1
    assert len(desk.all_leads()) == 10
    (delivery,) = deliveries(desk)
    assert (delivery.counts.records, delivery.counts.inserted) == (20, 10)


def test_an_anonymised_person_is_gone_from_the_log(desk: Desk, push: Pusher) -> None:
    first, again, other = push("3401", first_name="Ida"), push("3401", first_name="Ida"), push("3402")
    with writing(desk.engine) as connection:
        told = {"value": "", "message": "gone", "suggestion": ""}
        assert pushes.blank(connection, first.fate.lead_id or 0, ["+4526123401"], told) == 2
    (delivery,) = deliveries(desk)
    whole = "".join(download(desk, delivery, kind) for kind in ("full", "errors", "rejected", "summary"))
    assert "3401" not in whole
    assert "Ida" not in whole
    assert "+4526123402" in whole
    assert again.row == 2
    assert other.row == 3
