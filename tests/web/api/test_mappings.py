"""Making a mapping over the API: suggestions, preview, saved versions."""

from __future__ import annotations

import gzip
import json
from urllib.parse import quote

import pytest

from ingestd import samples
from ingestd.access.permissions import Permission
from ingestd.house import House, apply_organisation
from ingestd.ingest.head import whole_lines
from ingestd.store import organisation
from ingestd.store.engine import reading, writing
from ingestd.store.ledger import now
from ingestd.worker import road_of
from tests.web.serving import Api, Client


@pytest.fixture
def api(door: Api) -> Api:
    return door


def test_a_header_is_suggested_for(program: Client) -> None:
    question = {"source": "stadtwerk", "header": ["Telefon", "Kd-Nr.", "Vornamen", "Sp1", "Leer"],
                "samples": [["0301234567", "7", "Anna", "a@example.org", ""]]}  # fmt: skip
    told = program.do("POST", "mappings/suggest", question)
    found = [(each["field"], each["why"]) for each in told["columns"]]
    assert found == [
        ("phone", "alias"), ("external_id", "mapping"), ("first_name", "similar"), ("email", "content"), (None, ""),
    ]  # fmt: skip
    assert told["mapping"]["Sp1"] == "email"
    assert told["mapping"]["Leer"] == ""
    assert (told["missing_fields"], told["text"]) == ([], None)
    bare = program.do("POST", "mappings/suggest", {"campaign": "DK-ENERGY", "header": ["x"]})
    assert bare["missing_fields"] == ["phone"]


def test_the_first_bytes_of_a_file_are_suggested_for(program: Client) -> None:
    data = samples.german(3_000)[:50_000]
    told = program.do("POST", "mappings/suggest?source=stadtwerk", data, Content_Type="application/octet-stream")
    assert {each["field"]: each["why"] for each in told["columns"]}["external_id"] == "mapping"
    assert told["text"]["encoding"] == "cp1252"
    assert all(each["samples"] for each in told["columns"] if each["field"] == "phone")
    packed = gzip.compress(samples.clean(30))
    found = program.do("POST", "mappings/suggest?campaign=DK-ENERGY", packed, Content_Type="text/csv")
    assert "consumption_kwh" in {each["field"] for each in found["columns"]}


def test_what_cannot_be_suggested_for_is_refused(api: Api, program: Client) -> None:
    ask = {"header": ["x"]}
    assert program.refused("POST", "mappings/suggest", ask) == (422, "value_unusable")
    assert program.refused("POST", "mappings/suggest", {**ask, "source": "?"}) == (404, "source_unknown")
    assert program.refused("POST", "mappings/suggest", {**ask, "campaign": "?"}) == (422, "campaign_unknown")
    assert program.refused("POST", "mappings/suggest", {"source": "nordlead", "header": []}) == (422, "value_unusable")
    picture = samples.picture()
    answer = program.refused("POST", "mappings/suggest?source=nordlead", picture, Content_Type="text/csv")
    assert answer == (409, "not_a_table")
    large = b"x" * (1024 * 1024 + 1)
    assert program.refused("POST", "mappings/suggest?source=nordlead", large) == (413, "too_large")
    bound = api.key(Permission.LEAD_POOLS, source="nordlead")
    assert bound.do("POST", "mappings/suggest", ask)["mapping"] == {"x": ""}
    assert bound.refused("POST", "mappings/suggest", {**ask, "source": "stadtwerk"}) == (403, "key_bound")


def test_the_first_records_are_shown_as_they_would_load(home: House, program: Client) -> None:
    data = "Fon,Født,Owner code\r\n26 00 00 01,1.2.1990,DK-CPH\r\n26 00 00 0".encode()
    mapping = quote(json.dumps({"Fon": "phone", "Født": "date_of_birth"}))
    path = f"mappings/preview?source=nordlead&mapping={mapping}"
    told = program.do("POST", f"{path}&part=true", data, Content_Type="text/csv")
    (row,) = told["rows"]
    assert (row["outcome"], row["owner"], row["problems"]) == ("inserted", "team:copenhagen", [])
    assert row["values"] == {"phone": "+4526000001", "date_of_birth": "1990-02-01", "ownership_code": "DK-CPH"}
    whole = program.do("POST", path, data, Content_Type="text/csv")
    assert [each["outcome"] for each in whole["rows"]] == ["inserted", "rejected"]
    assert len(program.do("POST", "mappings/preview?source=nordlead&rows=3", samples.clean(9))["rows"]) == 3
    assert program.refused("POST", "mappings/preview?source=nordlead&mapping=x", data) == (422, "mapping_unusable")
    unknown = quote(json.dumps({"Fon": "fone"}))
    assert program.refused("POST", f"mappings/preview?source=nordlead&mapping={unknown}", data) == (
        422, "mapping_unusable",
    )  # fmt: skip
    assert program.get("deliveries")["items"] == []
    assert [path for path in (home.places.home / "spool").rglob("*") if path.is_file()] == []


def test_leads_that_were_pushed_are_no_earlier_file(program: Client) -> None:
    program.do("POST", "sources/nordlead/leads", {"phone": "26000001"})
    told = program.do("POST", "mappings/preview?source=nordlead", samples.clean(3))
    assert (told["refused"], len(told["rows"])) == (None, 3)


def test_a_mapping_is_saved_in_versions_and_the_next_file_is_read_with_it(
    api: Api, home: House, program: Client
) -> None:
    admin = api.user("admin")
    first = admin.ask("GET", "sources/nordlead/mapping")
    assert (first.json()["version"], first.json()["mapping"]) == (1, {})
    path = "sources/nordlead/mapping"
    saved = admin.do("PUT", f"{path}?why=asked", {"mapping": {"Fon": "phone"}}, If_Match=first.headers["etag"])
    assert (saved["version"], saved["saved_by"], saved["why"]) == (2, "user:admin", "asked")
    assert admin.refused("PUT", path, {"mapping": {}}, If_Match=first.headers["etag"]) == (412, "changed_since")
    assert admin.do("PUT", path, {"mapping": {"Fon": "phone"}})["version"] == 2
    assert admin.refused("PUT", path, {"mapping": {"Fon": "fone"}}) == (422, "mapping_unusable")
    program.do("POST", "imports?source=nordlead&name=a.csv", b"Fon\r\n26000001\r\n")
    road_of(home).travel(1)
    delivery, summary = program.get("deliveries/1"), program.get("deliveries/1/summary")
    assert (delivery["state"], delivery["mapping_version"]) == ("completed", 2)
    assert (summary["mapping_version"], summary["mapping_number"]) == (saved["digest"], 2)
    back = admin.do("POST", f"{path}/versions/1/restore?why=wrong")
    assert (back["version"], back["mapping"]) == (3, {})
    assert admin.refused("POST", f"{path}/versions/9/restore") == (404, "mapping_version_unknown")
    told = [(each["version"], each["mapping"], each["why"]) for each in program.get(f"{path}/versions")]
    assert told == [(3, {}, "wrong"), (2, {"Fon": "phone"}, "asked"), (1, {}, "")]
    assert admin.get("audit?subject=source:nordlead")["items"][0]["before"] == {"mapping": {"Fon": "phone"}}
    assert program.refused("GET", "sources/nothing/mapping") == (404, "source_unknown")
    assert api.key(Permission.LEAD_POOLS, source="stadtwerk").refused("GET", path) == (403, "key_bound")


def test_a_mapping_of_the_files_and_a_saved_one_meet_as_every_field_does(api: Api, home: House) -> None:
    """The file's own mapping is a version as well; what was saved stays until the file says something else."""
    admin, path = api.user("admin"), "sources/stadtwerk/mapping"
    of_the_file = admin.get(path)["mapping"]
    admin.do("PUT", path, {"mapping": {**of_the_file, "Fon": "phone"}})
    assert "source stadtwerk.mapping" in apply_organisation(home).kept
    assert admin.get(path)["version"] == 2
    changed = home.configuration.sources.model_copy(update={
        "source": tuple(
            each.model_copy(update={"mapping": {"Mobil": "phone"}} if each.name == "stadtwerk" else {})
            for each in home.configuration.sources.source
        )
    })  # fmt: skip
    with writing(home.engine) as connection:
        done = organisation.apply(connection, home.configuration.model_copy(update={"sources": changed}), now())
    assert "source stadtwerk.mapping" in done.overruled
    newest = admin.get(path)
    assert (newest["version"], newest["mapping"], newest["saved_by"]) == (3, {"Mobil": "phone"}, "configuration")
    with reading(home.engine) as connection:
        source = organisation.source(connection, "stadtwerk")
    assert source is not None
    assert source.mapping == {"Mobil": "phone"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_the_last_line_of_a_head_is_left_out(encoding: str) -> None:
    kept = "\ufeffa,b\r\nĊ,ഊ\r\n".encode(encoding)
    assert whole_lines(kept + "3,4".encode(encoding)) == kept
    assert whole_lines(b"a\r1") == b"a\r"
    assert whole_lines(b"a") == b"a"
