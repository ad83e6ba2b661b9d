"""The figures of a lead pool."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from ingestd.errors import Invalid, Missing
from ingestd.leads import do_not_call, kpis
from ingestd.store import tables
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing
from tests.leads.conftest import NOON, Desk


def figures(desk: Desk, pool: int, *names: str, **facts: Any) -> dict[str, Any]:
    with reading(desk.engine) as connection:
        found = kpis.measured(connection, pool, names, NOON + timedelta(days=3, hours=12), **facts)
    return {kpi.name: figure for kpi, figure in found}


def delivered(desk: Desk, pool: int, **facts: Any) -> None:
    """The delivery that a pool came from."""
    words = ("login", "peer", "protocol", "name", "folder", "sha256", "completeness", "evidence", "spool_key")
    values: dict[str, Any] = {**dict.fromkeys(words, ""), "size": 1, "state": "completed", "received_at": NOON}
    with writing(desk.engine) as connection:
        statement = insert(tables.deliveries).values({**values, "source": "nordlead", **facts})
        made = connection.execute(statement).inserted_primary_key
    assert made is not None
    desk.set("pools", "id", pool, delivery_id=made[0])


def test_figures_are_counted_from_leads_and_delivery(desk: Desk) -> None:
    codes = ["unprocessed", "unprocessed", "success", "not_interested", "no_answer", "success"]
    attempts = [0, 0, 1, 2, 6, 0]  # the last one was closed without a call
    rows = [{"status_id": desk.status(code), "attempts": count} for code, count in zip(codes, attempts, strict=True)]
    (first, *_) = desk.leads(*rows)
    desk.leads({}, {})  # of another pool
    pool = desk.lead(first).pool_id
    delivered(desk, pool, records=40, inserted=6, updated=10, unchanged=4, rejected=5, duplicate=15)
    assert figures(desk, pool) == {
        "total": 6, "open": 3, "closed": 3,
        "accept_rate": 50.0, "update_rate": 25.0, "reject_rate": 12.5,
        "contact_rate": 66.7, "success_rate": 33.3, "average_attempts": 3.0, "age": 3.5,
    }  # fmt: skip
    wanted = ("share:success", "count:unprocessed", "age", "count:busy")
    assert list(figures(desk, pool, *wanted).items()) == list(zip(wanted, (33.3, 2, 3.5, 0), strict=True))
    assert figures(desk, pool, "total", source="nordlead") == {"total": 6}
    with pytest.raises(Missing):
        figures(desk, pool, "total", source="fibreweb")


def rates(desk: Desk, pool: int) -> tuple[Any, ...]:
    return tuple(figures(desk, pool, "contact_rate", "success_rate").values())


def test_what_a_rule_or_a_list_does_leaves_what_became_of_the_calls(desk: Desk) -> None:
    sold, spoken, missed, never = desk.leads({}, {}, {}, {})
    pool = desk.lead(sold).pool_id
    desk.change(sold, "success", call=True)
    desk.change(spoken, "manual_redial_common", call=True)
    desk.change(missed, "no_answer", call=True)
    assert rates(desk, pool) == (66.7, 33.3)
    for number in (spoken, never):
        desk.change(number, "expired", None)
    with writing(desk.engine) as connection:
        phone = desk.lead(missed).phone
        do_not_call.add(connection, [phone], None, Deed(actor=COMMAND_LINE, at=NOON))
    assert rates(desk, pool) == (66.7, 33.3)
    desk.change(spoken, "automatic_redial")  # by somebody: it is what the lead came to now
    assert rates(desk, pool) == (33.3, 33.3)


def test_anonymising_keeps_the_counts(desk: Desk) -> None:
    sold, refused, opened = desk.leads({}, {}, {})
    pool = desk.lead(sold).pool_id
    desk.change(sold, "success", call=True)
    desk.change(refused, "not_interested", call=True)
    wanted = ("total", "contact_rate", "success_rate", "count:success", "share:success", "average_attempts")
    before = figures(desk, pool, *wanted)
    assert before["count:success"] == 1
    for number in (sold, opened):
        desk.change(number, "anonymised", None)
    assert figures(desk, pool, *wanted) == before
    assert figures(desk, pool, "count:anonymised", "count:unprocessed", "open") == {
        "count:anonymised": 2, "count:unprocessed": 0, "open": 0,
    }  # fmt: skip


def test_a_call_that_counts_no_attempt_is_a_call(desk: Desk) -> None:
    (number,) = desk.leads({})
    desk.change(number, "pending_validation", call=True)
    assert rates(desk, desk.lead(number).pool_id) == (100.0, 0.0)


def test_leads_that_ever_came_into_a_status_are_counted_once(desk: Desk) -> None:
    first, second, third = desk.leads({}, {}, {})
    for status in ("busy", "no_answer", "busy", "success"):
        desk.change(first, status)
    desk.change(second, "busy")
    pool = desk.lead(first).pool_id
    wanted = ("count:busy", *(f"first:{code}" for code in ("busy", "unprocessed", "success", "fax_machine")))
    assert figures(desk, pool, *wanted) == {
        "count:busy": 1, "first:busy": 2, "first:unprocessed": 3, "first:success": 1, "first:fax_machine": 0,
    }  # fmt: skip
    assert desk.lead(third).status == "unprocessed"


def test_figures_of_many_pools_at_once(desk: Desk) -> None:
    (first,) = desk.leads({})
    (second, _) = desk.leads({}, {})
    desk.change(second, "success")
    pools = [desk.lead(number).pool_id for number in (first, second)]
    with reading(desk.engine) as connection:
        found = kpis.measured_all(connection, [*pools, 999], ["total", "share:success"], NOON)
        names = [kpi.name for kpi in kpis.known(connection)]
    assert [[figure for _, figure in found[pool]] for pool in pools] == [[1, 0.0], [2, 50.0]]
    assert set(found) == set(pools)
    assert len(names) == len(set(names)) == len(kpis.KPIS) + 3 * 36


def test_what_cannot_be_counted_yet_is_nothing_and_not_zero(desk: Desk) -> None:
    found = figures(desk, desk.pool(), "total", "share:success", "reject_rate", "contact_rate", "average_attempts")
    assert list(found.values()) == [0, None, None, None, None]


@pytest.mark.parametrize("name", ["", "x", "count:", "count:x", "share", "total:success"])
def test_a_figure_that_is_none_is_refused(desk: Desk, name: str) -> None:
    with pytest.raises(Invalid, match="is no figure; use one of total, open"):
        figures(desk, desk.pool(), name)
    with pytest.raises(Missing):
        figures(desk, 99)


def test_every_status_that_counts_as_reached_is_there(desk: Desk) -> None:
    assert all(desk.status(code) for code in kpis.REACHED)
