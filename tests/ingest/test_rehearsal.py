"""Rehearsals: what would become of a file is what becomes of it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from ingestd import samples, schemas
from ingestd.ingest import rehearsal
from ingestd.ingest.judging import Judge
from ingestd.ingest.rehearsal import Rehearsal
from ingestd.leads import do_not_call
from ingestd.model import Arrival, Delivery, Outcome, State
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import open_engine, writing
from ingestd.store.ledger import now
from tests import databases
from tests.databases import ROOT
from tests.ingest.conftest import Station

GOOD = b"Phone,First name,Owner code\r\n26000001,Anna,DK-CPH\r\n26000002,Bo,CPH-101\r\n"

TABLES = ("deliveries", "leads", "pools", "receipts", "jobs", "lead_numbers", "audit")


def rehearse(station: Station, data: bytes, arrival: Mapping[str, Any] = {}, *, rows: int = 0) -> Rehearsal:
    usual = {"source": "nordlead", "login": "x", "peer": "", "protocol": "http", "name": "leads.csv"}
    delivery = rehearsal.provisional(Arrival(**{**usual, **arrival}), now())
    judge = Judge(engine=station.engine, schemas=ROOT / "schemas", delivery=delivery)
    return rehearsal.rehearse(judge, lambda: data, rows=rows)


def contents(station: Station) -> dict[str, int]:
    return {name: station.count(name) for name in TABLES}


def check_same(station: Station, said: Rehearsal, delivery: Delivery) -> None:
    """The rehearsal's every word is the import's."""
    assert (said.state, said.counts) == (delivery.state, delivery.counts)
    if said.refused is not None:
        assert said.refused["code"] == delivery.reason_code
        assert said.refused["message"] == delivery.reason
    elif delivery.reason_code:
        raise AssertionError(delivery.reason)
    if delivery.pool_id is None:
        return
    summary = station.summary(delivery)
    assert said.text == summary["text"]
    assert said.columns == summary["mapping"]
    assert list(said.ignored_columns) == summary["ignored_columns"]
    left_out = {"not_loaded"}  # the word to each record of a refused file
    theirs = Counter(
        (row["code"], row["severity"], row["column"])
        for row in station.rows(delivery, "errors")
        if row["code"] not in left_out
    )
    assert Counter({(each.code, each.severity, each.column): each.count for each in said.problems}) == theirs
    leads = station.leads(delivery)
    for each in said.owners:
        mine = station.owner(f"{each.kind}:{each.owner}")
        assert each.leads == sum(lead["owner_id"] == mine for lead in leads)
    assert sum(each.leads for each in said.owners) == len(leads)


SAMPLES: tuple[tuple[str, bytes, dict[str, str]], ...] = (
    ("clean", samples.clean(60), {}),
    ("clean again, more of it", samples.clean(90), {}),
    ("dirty", samples.dirty(), {"name": "dirty.csv"}),
    ("german", samples.german(40), {"source": "stadtwerk", "name": "Kundenliste.csv"}),
    ("workbook", samples.workbook(30), {"source": "fibreweb", "name": "fibre_DK-AAR_2026-11.xlsx"}),
    ("no phone", b"First name,Last name\r\nAnna,B\r\n", {"name": "x.csv"}),
    ("empty", b"", {"name": "empty.csv"}),
    ("another campaign", GOOD, {"folder": "DK-FIBRE"}),
    ("no campaign of theirs", GOOD, {"folder": "DE-ENERGY"}),
    ("most are rejected", b"Phone\r\n1\r\n2\r\n26000077\r\n", {"name": "short.csv"}),
)


def test_every_sample_ends_as_its_rehearsal_says(station: Station) -> None:
    with writing(station.engine) as connection:
        connection.exec_driver_sql("UPDATE campaigns SET on_duplicate = 'update' WHERE code = 'DK-FIBRE'")
    schema = schemas.read(ROOT / "schemas")
    deed = Deed(actor=COMMAND_LINE, at=now(), why="asked")
    do_not_call.import_list(
        station.engine, b"26000001\n", name="x", schema=schema, campaign=None, region="DK", deed=deed
    )
    for name, data, arrival in SAMPLES:
        before = contents(station)
        said = rehearse(station, data, arrival)
        assert contents(station) == before, f"{name}: a rehearsal writes nothing"
        check_same(station, said, station.deliver(data, **arrival))


cells = st.sampled_from(["26000001", "26000002", "+45 26 00 00 03", "x", "", "112", "DK-CPH", "nobody", "2026-13-01"])
records = st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Station:
    folder: Path = tmp_path_factory.mktemp("rehearsal")
    engine: Engine = open_engine(databases.embedded(folder, organised=True))
    return Station.at(engine, folder)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records, st.sampled_from(["reject", "update", "keep"]), st.integers(0, 10**9))
def test_any_file_ends_as_its_rehearsal_says(
    quick: Station, rows: list[tuple[str, str, str]], rule: str, number: int
) -> None:
    quick.change_campaign(on_duplicate=rule)
    data = "\r\n".join(["Phone,Owner,Date of birth", *map(",".join, rows), ""]).encode()
    arrival = {"name": f"{number}-{len(rows)}.csv"}
    said = rehearse(quick, data, arrival)
    check_same(quick, said, quick.deliver(data, **arrival))


def test_the_first_records_are_shown_as_they_would_load(station: Station) -> None:
    data = (
        b"Phone,First name,Birth,Owner code,kwh\r\n"
        b"26000001, Anna ,1.2.1990,DK-CPH,3000\r\n26 00 00 02,Bo,never,nobody,x\r\nbroken,line\r\n"
    )
    said = rehearse(station, data, {"mapping": '{"Birth": "date_of_birth"}'}, rows=2)
    first, second = said.rows
    assert first.outcome == Outcome.INSERTED
    assert first.owner == "team:copenhagen"
    assert dict(first.values) == {
        "phone": "+4526000001", "first_name": "Anna", "date_of_birth": "1990-02-01", "ownership_code": "DK-CPH",
        "consumption_kwh": 3000,
    }  # fmt: skip
    assert (second.row, second.outcome, second.owner) == (2, Outcome.REJECTED, None)
    assert {(each.column, each.code) for each in second.problems} >= {
        ("Birth", "date_unreadable"), ("Owner code", "ownership_code_unknown"),
    }  # fmt: skip
    (third,) = rehearse(station, data, rows=50).rows[2:]
    assert (third.outcome, third.values) == ("rejected", {})


def test_a_source_that_asks_would_hold_the_file_and_the_rest_is_told_all_the_same(station: Station) -> None:
    station.change_source(on_unmapped="ask")
    data = b"Phone,Shoe size\r\n26000001,45\r\n"
    said = rehearse(station, data)
    assert (said.state, said.unmatched_columns, said.counts.inserted) == (
        State.AWAITING_CONFIRMATION, ("Shoe size",), 1,
    )  # fmt: skip
    assert rehearse(station, data, {"mapping": '{"Shoe size": ""}'}).state is State.COMPLETED
    fon = rehearse(station, b"Fon-Nummer?\r\n26000001\r\n")
    assert fon.refused is not None
    assert (fon.state, fon.refused["code"]) == (State.AWAITING_CONFIRMATION, "required_column_missing")


def test_it_is_json(station: Station) -> None:
    told: dict[str, Any] = rehearsal.as_json(rehearse(station, samples.dirty(), rows=50))
    assert told["counts"] == dataclasses.asdict(rehearse(station, samples.dirty()).counts)
