"""What a sender may ask for one delivery: campaign, owner and mapping, with a source or without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest
from sqlalchemy import Engine, select

from ingestd.access.permissions import Permission
from ingestd.errors import Misconfigured
from ingestd.house import House
from ingestd.settings import Configuration, Source
from ingestd.store import organisation, rules, tables
from ingestd.store.engine import reading, writing
from ingestd.store.ledger import now
from ingestd.worker import publisher_of, road_of
from tests.web.api.importing import left_files, sending
from tests.web.serving import Api, Client, serving

ROWS = [("+4526123401", ""), ("+4526123402", "DK-CPH"), ("+4526123403", "")]
CSV = b"phone,ownership code\n" + b"".join(f"{phone},{code}\n".encode() for phone, code in ROWS)
UPLOAD = "imports?campaign=DK-ENERGY&owner=team:aarhus&name=a.csv"


def owners_of_leads(house: House) -> list[str]:
    """The owner of each lead, in file order."""
    with reading(house.engine) as connection:
        names = {owner.id: name for name, owner in rules.owners(connection).by_name.items()}
        query = select(tables.leads.c.owner_id).order_by(tables.leads.c.pool_id, tables.leads.c.row)
        return [names[each] for each in connection.scalars(query)]


def loaded(house: House, program: Client, path: str, body: bytes = CSV) -> dict[str, Any]:
    """The delivery of a file after its road."""
    sent = program.do("POST", path, body)
    road_of(house).travel(sent["id"])
    found: dict[str, Any] = program.get(f"deliveries/{sent['id']}")
    return found


def test_an_upload_without_a_source_has_its_own_default_owner(home: House, program: Client) -> None:
    told = loaded(home, program, UPLOAD)
    assert (told["source"], told["folder"], told["owner"]) == ("upload", "DK-ENERGY", "team:aarhus")
    assert (told["state"], told["counts"]["inserted"]) == ("completed", 3)
    assert owners_of_leads(home) == ["team:aarhus", "team:copenhagen", "team:aarhus"]
    pool = program.get(f"pools/{told['lead_pool']}")
    assert (pool["campaign"], pool["total"]) == ("DK-ENERGY", 3)
    assert program.get(f"pools/{told['lead_pool']}/summary")["default_owner"] == "team:aarhus"
    publisher_of(home).sweep()
    assert not (home.places.homes / "upload").exists()  # no partner waits for results there


@pytest.mark.parametrize(
    ("owner", "is_"),
    [("code:dk-aar", "team:aarhus"), ("user:berlin-1", "user:berlin-1"), ("code:CPH-101", "user:copenhagen-1")],
)
def test_an_owner_is_named_as_team_user_or_code(home: House, program: Client, owner: str, is_: str) -> None:
    told = loaded(home, program, f"imports?campaign=dk-energy&owner={owner}&name=a.csv")
    assert (told["owner"], told["folder"]) == (is_, "DK-ENERGY")
    assert owners_of_leads(home) == [is_, "team:copenhagen", is_]


def test_without_an_owner_rows_without_a_code_are_rejected(home: House, program: Client) -> None:
    told = loaded(home, program, "imports?campaign=DK-ENERGY&name=a.csv")
    assert (told["counts"]["inserted"], told["counts"]["rejected"]) == (1, 2)


def test_an_owner_takes_the_place_of_the_sources_for_this_delivery_alone(home: House, program: Client) -> None:
    loaded(home, program, "imports?source=nordlead&name=a.csv&owner=team:aarhus", b"phone\n+4526123411\n")
    loaded(home, program, "imports?source=nordlead&name=b.csv", b"phone\n+4526123412\n")
    assert owners_of_leads(home) == ["team:aarhus", "team:denmark"]


def test_a_code_in_the_files_name_goes_before_the_owner(home: House, program: Client) -> None:
    path = "imports?source=fibreweb&name=fibre_DK-AAR_x.csv&owner=team:germany"
    assert loaded(home, program, path, b"phone\n+4526123421\n")["state"] == "completed"
    assert owners_of_leads(home) == ["team:aarhus"]


def test_a_mapping_counts_for_this_delivery_alone(home: House, program: Client) -> None:
    mapping = {"Rufnummer A": "phone", "phone": ""}
    path = f"{UPLOAD}&mapping={quote(json.dumps(mapping))}"
    told = loaded(home, program, path, b"Rufnummer A,phone\n+4526123431,x\n")
    assert (told["mapping"], told["counts"]["inserted"]) == (mapping, 1)
    again = loaded(home, program, UPLOAD.replace("a.csv", "b.csv"), b"Rufnummer A,name\n+4526123432,x\n")
    assert (again["state"], again["reason"]["code"], again["mapping"]) == ("refused", "required_column_missing", None)


def test_a_saved_mapping_is_that_of_a_source_at_this_moment(home: House, program: Client) -> None:
    path = "imports?campaign=DE-ENERGY&owner=team:berlin&name=a.csv&mapping=source:stadtwerk"
    told = loaded(home, program, path, "phone;Kd-Nr.;Kürzel\n+493012345678;7;DE-HAM\n".encode())
    assert told["mapping"] == {"Kd-Nr.": "external_id", "Geb.-Datum": "date_of_birth", "Kürzel": "ownership_code"}
    assert owners_of_leads(home) == ["team:hamburg"]


@pytest.mark.parametrize(
    ("query", "code", "hint"),
    [
        ("campaign=DK-ENERGI", "campaign_unknown", "is 'DK-ENERGY' meant?"),
        ("source=nordlead&campaign=DE-ENERGY", "campaign_not_allowed", "DK-ENERGY, DK-FIBRE"),
        ("campaign=DK-ENERGY&owner=team:arhus", "owner_unknown", "is 'team:aarhus' meant?"),
        ("campaign=DK-ENERGY&owner=code:DE-BEE", "owner_unknown", "is 'code:DE-BER' meant?"),
        ("source=nordlead&owner=berlin", "owner_unknown", "write team:<key>"),
        ("owner=team:berlin", "value_unusable", "name a source"),
        ("campaign=DK-ENERGY&mapping=x", "mapping_unusable", "JSON object"),
        ('campaign=DK-ENERGY&mapping={"a":"fone"}', "mapping_unusable", "is 'phone' meant?"),
        ("campaign=DK-ENERGY&mapping=source:nobody", "mapping_unusable", "no source 'nobody'"),
    ],
)
def test_what_is_unknown_is_told_before_the_file_comes(
    door: Api, home: House, program: Client, query: str, code: str, hint: str
) -> None:
    answer = program.ask("POST", f"imports?{query}&name=a.csv", CSV)
    assert (answer.status, answer.json()["code"]) == (422, code)
    assert hint in answer.json()["detail"]
    with sending(door, program, "Content-Length: 500000", f"{quote(query, safe='=&')}&name=a.csv") as sender:
        assert sender.recv(200).startswith(b"HTTP/1.1 422")
    assert left_files(home) == []


def test_a_bound_key_uploads_for_its_source_alone(door: Api) -> None:
    bound = door.key(Permission.LEAD_POOLS, source="nordlead")
    assert bound.refused("POST", UPLOAD, CSV) == (403, "key_bound")
    assert bound.refused("POST", "imports?source=upload&name=a.csv", CSV) == (403, "key_bound")
    saved = "imports?source=nordlead&name=a.csv&mapping=source:stadtwerk"
    assert bound.refused("POST", saved, CSV) == (403, "key_bound")
    assert bound.do("POST", "imports?source=nordlead&owner=team:aarhus&name=a.csv", CSV)["owner"] == "team:aarhus"


def test_an_owner_who_left_before_the_file_was_loaded_is_not_guessed(home: House, program: Client) -> None:
    sent = program.do("POST", UPLOAD, CSV)
    with writing(home.engine) as connection:
        connection.execute(tables.teams.update().where(tables.teams.c.key == "aarhus").values(active=False))
    road_of(home).travel(sent["id"])
    told = program.get(f"deliveries/{sent['id']}")
    assert (told["state"], told["reason"]["code"]) == ("refused", "owner_unknown")


def test_the_same_upload_again_is_a_duplicate_and_for_another_campaign_is_not(program: Client) -> None:
    assert program.do("POST", UPLOAD, CSV)["state"] == "queued"
    assert program.do("POST", UPLOAD, CSV)["state"] == "duplicate"
    assert program.do("POST", UPLOAD.replace("DK-ENERGY", "DK-FIBRE"), CSV)["state"] == "queued"


def test_what_was_asked_for_survives_on_both_databases(organised: Engine, tmp_path: Path) -> None:
    with serving(organised, tmp_path) as api:
        program = api.key(Permission.LEAD_POOLS)
        mapping = quote('{"Tlf": "phone"}')
        number = program.do("POST", f"{UPLOAD}&mapping={mapping}", CSV)["id"]
        delivery = api.desk.ledger.get(number)
        assert delivery is not None
        assert (delivery.default_owner, delivery.mapping) == ("team:aarhus", '{"Tlf": "phone"}')
        assert program.get("queue")["ready"] == 1


def test_no_source_is_called_upload(engine: Engine, example: Configuration) -> None:
    mine = Source(name="upload", title="", campaign="DK-ENERGY")
    sources = example.sources.model_copy(update={"source": (*example.sources.source, mine)})
    with pytest.raises(Misconfigured, match="no source may be called upload"), writing(engine) as connection:
        organisation.apply(connection, example.model_copy(update={"sources": sources}), now())


def test_leads_come_as_json_and_become_a_file(home: House, program: Client) -> None:
    leads = [
        {"phone": "+4526123441", "First name": 'Åse "x", y', "priority": 3},
        {"phone": 4526123442, "comments": "two\nlines"},
        {"phone": "nonsense"},
        {"First name": None},
    ]
    sent = program.do("POST", "imports/leads", {"source": "nordlead", "leads": leads})
    assert (sent["protocol"], sent["state"]) == ("batch", "queued")
    road_of(home).travel(1)
    assert program.do("POST", "imports/leads", {"source": "nordlead", "leads": leads})["state"] == "duplicate"
    told = program.get("deliveries/1")
    assert told["state"] == "completed_with_rejects"
    assert [told["counts"][name] for name in ("records", "inserted", "rejected", "discarded")] == [4, 2, 1, 1]
    raw = program.ask("GET", "deliveries/1/original").body
    frame = pl.read_csv(raw, infer_schema=False)
    assert frame.columns == ["phone", "First name", "priority", "comments"]
    assert frame.row(0)[1:3] == ('Åse "x", y', "3")
    assert program.ask("GET", "deliveries/1/rejected.csv").body.count(b"nonsense") == 1


def test_leads_as_json_are_read_alike_whatever_their_sources_files_look_like(home: House, program: Client) -> None:
    """stadtwerk's files are Windows-1252 with semicolons; its mapping counts all the same."""
    leads = [{"phone": "+493012345678", "Kd-Nr.": "7", "Kürzel": "DE-HAM", "first_name": "Jürgen; Jörg"}]
    program.do("POST", "imports/leads", {"source": "stadtwerk", "leads": leads})
    road_of(home).travel(1)
    with reading(home.engine) as connection:
        row = connection.execute(select(tables.leads)).mappings().one()
    assert (row["external_id"], row["first_name"]) == ("7", "Jürgen; Jörg")
    assert owners_of_leads(home) == ["team:hamburg"]


def test_leads_as_json_for_a_campaign(home: House, program: Client) -> None:
    body = {"campaign": "DK-ENERGY", "owner": "code:DK-AAR", "mapping": {"Nr": "phone"}, "leads": [{"Nr": "26123451"}]}
    told = program.do("POST", "imports/leads", body)
    assert (told["source"], told["owner"], told["mapping"]) == ("upload", "team:aarhus", {"Nr": "phone"})
    road_of(home).travel(1)
    assert owners_of_leads(home) == ["team:aarhus"]


def test_what_is_no_batch_is_refused(door: Api, program: Client) -> None:
    def refused(**body: Any) -> tuple[int, str]:
        return program.refused("POST", "imports/leads", body)

    assert refused(source="nordlead", leads=[]) == (422, "request_unusable")
    assert refused(source="nordlead", leads=[{}]) == (422, "value_unusable")
    assert refused(source="nordlead", leads=[{" ": "x"}]) == (422, "value_unusable")
    assert refused(source="nordlead", leads=[{"phone": ["+45"]}]) == (422, "request_unusable")
    assert refused(source="nordlead", leads=[{f"c{n}": "x" for n in range(501)}]) == (422, "value_unusable")
    assert refused(source="nothing", leads=[{"phone": "1"}]) == (404, "source_unknown")
    assert refused(source="nordlead", owner="team:x", leads=[{"phone": "1"}]) == (422, "owner_unknown")
    assert refused(source="nordlead", lead=[{"phone": "1"}]) == (422, "request_unusable")
    half = b'{"source": "nordlead", "leads": [{"phone": "\\ud800"}]}'
    assert program.refused("POST", "imports/leads", half)[0] == 422
    assert program.refused("POST", "imports/leads", b" " * 1_100_000) == (413, "too_large")
    bound = door.key(Permission.LEAD_POOLS, source="stadtwerk")
    assert bound.refused("POST", "imports/leads", {"source": "nordlead", "leads": [{"phone": "1"}]}) == (
        403,
        "key_bound",
    )
