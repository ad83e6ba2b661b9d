"""Leads by API one by one: answered with their fate, and safe to send again."""

from __future__ import annotations

import json
from pathlib import Path

from sqlalchemy import Engine, func, select

from ingestd.access.permissions import Permission
from ingestd.leads import agents, anonymise
from ingestd.leads.anonymise import Places
from ingestd.store import tables
from ingestd.store.engine import reading
from ingestd.store.ledger import now
from tests.databases import ROOT
from tests.web.serving import Api, serving

PATH = "sources/nordlead/leads"


def test_a_lead_is_answered_with_its_fate(api: Api) -> None:
    program = api.key(Permission.LEAD_POOLS, source="nordlead")
    answer = program.ask("POST", PATH, {"phone": 4526123401, "first_name": "Ida"})
    told = answer.json()
    assert (answer.status, told["outcome"], told["row"]) == (201, "inserted", 1)
    assert answer.headers["location"] == f"/api/v1/leads/{told['lead']}"
    again = program.ask("POST", PATH, {"phone": "+4526123401"})
    assert (again.status, again.json()["outcome"], again.json()["lead"]) == (200, "duplicate", told["lead"])
    broken = program.ask("POST", PATH, {"phone": "12"})
    problem = broken.json()
    assert (broken.status, problem["code"]) == (422, "lead_rejected")
    assert (problem["facts"]["row"], problem["facts"]["remarks"][0]["code"]) == (3, "phone_too_short")
    (delivery,) = program.get("deliveries")["items"]
    assert (delivery["protocol"], delivery["counts"]["records"], delivery["lead_pool"]) == (
        "push",
        3,
        told["lead_pool"],
    )
    assert program.get(f"pools/{told['lead_pool']}")["total"] == 1
    figures = {each["kpi"]: each["value"] for each in program.get(f"pools/{told['lead_pool']}/kpis")}
    assert (figures["total"], round(figures["reject_rate"])) == (1, 33)
    log = program.ask("GET", f"pools/{told['lead_pool']}/log.csv")
    assert len(log.body.splitlines()) == 4
    program.ask("POST", PATH, {"phone": "13"})
    later = program.ask("GET", f"pools/{told['lead_pool']}/log.csv", If_None_Match=log.headers["etag"])
    assert (later.status, len(later.body.splitlines())) == (200, 5)
    assert program.refused("GET", "deliveries/1/original") == (409, "no_original")
    assert program.refused("POST", "deliveries/1/retry") == (409, "not_retryable")
    assert program.refused("POST", "deliveries/1/cancel") == (409, "not_cancellable")


def test_a_push_that_comes_again_with_its_key_is_answered_again(api: Api) -> None:
    program = api.key(Permission.LEAD_POOLS)
    lead = {"phone": "+4526123401", "first_name": "Ida"}
    first, again = (program.ask("POST", PATH, lead, Idempotency_Key="k-1") for _ in range(2))
    assert (first.status, first.body) == (again.status, again.body) == (201, first.body)
    assert again.headers["idempotent-replayed"] == "true"
    bad = {"phone": "12"}
    first, again = (program.ask("POST", PATH, bad, Idempotency_Key="k-2") for _ in range(2))
    assert (first.status, first.body) == (again.status, again.body) == (422, first.body)
    assert program.get("deliveries")["items"][0]["counts"]["records"] == 2
    assert program.refused("POST", PATH, bad, Idempotency_Key="k-1") == (422, "idempotency_key_reused")
    owned = f"{PATH}?owner=team:aarhus"
    assert program.refused("POST", owned, lead, Idempotency_Key="k-1") == (422, "idempotency_key_reused")


def test_who_may_not_and_what_is_none(api: Api) -> None:
    program = api.key(Permission.LEAD_POOLS)
    bound = api.key(Permission.LEAD_POOLS, source="stadtwerk")
    lead = {"phone": "+4526123401"}
    assert bound.refused("POST", PATH, lead) == (403, "key_bound")
    assert program.refused("POST", "sources/nobody/leads", lead) == (404, "source_unknown")
    assert program.refused("POST", "sources/upload/leads", lead) == (404, "source_unknown")
    assert program.refused("POST", f"{PATH}?campaign=DE-ENERGY", lead) == (422, "campaign_not_allowed")
    assert program.refused("POST", f"{PATH}?owner=team:arhus", lead) == (422, "owner_unknown")
    assert program.refused("POST", PATH, {}) == (422, "value_unusable")
    assert program.refused("POST", PATH, {"phone": " "}) == (422, "value_unusable")
    assert program.refused("POST", PATH, {"phone": "+4526123401", "first_name": "a\0b"}) == (422, "value_unusable")
    assert program.refused("POST", PATH, b'{"phone": "\\ud800"}')[0] == 422
    assert program.refused("POST", "sources/a%00b/leads", lead) == (422, "value_unusable")
    assert program.refused("POST", "imports?source=a%00b&name=a.csv", b"x") == (422, "value_unusable")
    assert program.refused("POST", f"{PATH}?owner=%00", lead) == (422, "value_unusable")
    assert program.refused("POST", PATH, {"phone": ["x"]}) == (422, "request_unusable")
    assert program.refused("POST", PATH, {"phone": "+4526123401", "Telefon": "1"}) == (422, "value_unusable")
    assert program.get("deliveries")["items"] == []


def test_an_anonymised_person_is_gone_from_answers_too(embedded: Engine, tmp_path: Path) -> None:
    with serving(embedded, tmp_path) as api:
        program = api.key(Permission.LEAD_POOLS)
        number = program.do("POST", PATH, {"phone": "+4526123401", "first_name": "Ida"})["lead"]
        program.ask("POST", PATH, {"phone": "+4526123401", "first_name": "Ida"}, Idempotency_Key="k-1")
        desk = api.desk
        with reading(desk.engine) as connection:
            by = agents.agent(connection, "admin").id
        places = Places(
            engine=desk.engine, ledger=desk.ledger, spool=desk.spool, logs=desk.logs, schemas=ROOT / "schemas"
        )
        done = anonymise.anonymise(places, number, by=by, at=now())
        assert done.left == ()
        log = program.ask("GET", "deliveries/1/log.csv").body + program.ask("GET", "deliveries/1/errors.csv").body
        assert b"3401" not in log
        again = program.ask("POST", PATH, {"phone": "+4526123401", "first_name": "Ida"}, Idempotency_Key="k-1")
        assert "3401" not in json.dumps(again.json())
        with reading(desk.engine) as connection:
            assert connection.scalar(select(func.count()).select_from(tables.leads)) == 1
