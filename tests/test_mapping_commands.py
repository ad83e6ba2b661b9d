"""`ingestd mapping …`, and `ingestd deliveries rerun` and `confirm` with a mapping, as a shell sees them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ingestd.house import open_house
from ingestd.worker import road_of
from tests.test_cli import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def travelled(shell: Shell, delivery: int) -> None:
    """What a running daemon would do."""
    house = open_house(shell.config, shell.home)
    road_of(house).travel(delivery)
    house.engine.dispose()


def test_a_mapping_is_shown_saved_in_versions_and_gone_back_to(shell: Shell) -> None:
    assert shell.json("mapping", "show", "stadtwerk")["version"] == 1
    before = shell.json("mapping", "show", "stadtwerk")["mapping"]
    saved = shell.run("mapping", "save", "stadtwerk", "Tel=privat=phone", "Sp1=", "--why", "new export").stdout
    assert saved.startswith("the mapping of stadtwerk has version 2\n")
    assert "  Tel=privat = phone\n  Sp1 is ignored\n" in saved
    assert shell.json("mapping", "save", "stadtwerk", "Sp1=")["version"] == 2, "the same again makes no version"
    assert shell.json("mapping", "show", "stadtwerk")["mapping"] == {**before, "Tel=privat": "phone", "Sp1": ""}
    assert "is ignored" in shell.run("mapping", "show", "stadtwerk").stdout
    stale = shell.run("mapping", "save", "stadtwerk", "--only", "Telefon=phone", "--version", "1", code=4)
    assert "was changed since you read it" in stale.stderr
    only = shell.json("mapping", "save", "stadtwerk", "--only", "Telefon=phone", "--version", "2")
    assert (only["version"], only["mapping"]) == (3, {"Telefon": "phone"})
    assert "new export" in shell.run("mapping", "versions", "stadtwerk").stdout
    assert [each["version"] for each in shell.json("mapping", "versions", "stadtwerk")] == [3, 2, 1]
    back = shell.json("mapping", "use", "stadtwerk", "1")
    assert (back["version"], back["mapping"]) == (4, before)


def test_what_cannot_be_saved_says_why(shell: Shell) -> None:
    for words, code, told in (
        (["show", "nobody"], 4, "nobody"),
        (["save", "stadtwerk"], 2, "name columns"),
        (["save", "stadtwerk", "phone"], 2, "is not written as HEADER=FIELD"),
        (["save", "stadtwerk", "Telefon=shoe"], 4, "shoe"),
        (["save", "stadtwerk", "--file", shell.file("wrong.json", "[1]")], 2, "write a JSON object"),
        (["save", "stadtwerk", "--file", shell.file("no.json", "{")], 2, "is no JSON"),
        (["use", "stadtwerk", "9"], 4, "has no version 9"),
        (["suggest", "nobody", shell.file("a.csv", "Phone")], 4, "there is no active source"),
        (["suggest", "stadtwerk", shell.file("a.pdf", "%PDF-1.7")], 4, ""),
    ):
        assert told in " ".join(shell.run("mapping", *words, code=code).stderr.replace("│", " ").split()), words
    for command in ("show", "suggest", "save", "versions", "use"):
        assert "Usage" in shell.run("mapping", command, "--help").stdout


def test_suggestions_can_be_saved_as_they_are(shell: Shell) -> None:
    file = shell.file("march.csv", "Mobil nr;Vornamen;Sp1", "0301234567;Anna;a@example.org", "0301234568;Otto;b@x.org")
    told = shell.run("mapping", "suggest", "stadtwerk", file).stdout
    assert "content" in told
    found = shell.json("mapping", "suggest", "stadtwerk", file)
    assert (found["mapping"]["Sp1"], found["text"]["delimiter"]) == ("email", ";")
    kept = shell.file("mapping.json", json.dumps(found))
    assert shell.json("mapping", "save", "stadtwerk", "--file", kept, "Vornamen=", "--only")["mapping"] == {
        **found["mapping"],
        "Vornamen": "",
    }
    bare = shell.run("mapping", "suggest", "stadtwerk", shell.file("bare.csv", "Stadt", "Kiel"))
    assert "required, and no column is it: phone" in bare.stderr


def test_a_file_is_read_once_more_with_another_mapping(shell: Shell) -> None:
    file = shell.file("two.csv", "Phone,Where", "26000001,Odense", "26000002,Aarhus")
    shell.run("import", file, "--source", "nordlead")
    denied = shell.run("deliveries", "rerun", "1", "Where=city", "--as", "copenhagen-1", code=4)
    assert "this needs the permission lead_pools" in denied.stderr
    assert "shoe" in shell.run("deliveries", "rerun", "1", "Where=shoe", "--as", "admin", code=4).stderr
    assert "there is no delivery 9" in shell.run("deliveries", "rerun", "9", "--as", "admin", code=4).stderr
    done = shell.json("deliveries", "rerun", "1", "Where=city", "--as", "admin", "--why", "a column was lost")
    assert done == {"delivery": 2, "rerun_of": 1, "deleted": 2}
    travelled(shell, 2)
    assert [row["city"] for row in shell.json("lead", "list", "--columns", "city", "--sort", "row")] == [
        "Odense",
        "Aarhus",
    ]
    assert "Where" not in shell.json("mapping", "show", "nordlead")["mapping"]
    told = shell.run("deliveries", "rerun", "2", "Where=city", "--save", "--as", "admin").stdout
    assert told == "delivery 2 is run again as delivery 3, which is queued\nleads taken back: 2\n"
    assert shell.json("mapping", "show", "nordlead")["mapping"]["Where"] == "city"
    assert "is queued; it can be run again when it has ended" in (
        shell.run("deliveries", "rerun", "3", "--as", "admin", code=4).stderr
    )
    assert "name something" in shell.run("deliveries", "rerun", "3", "--save", "--as", "admin", code=2).stderr


def test_a_pool_that_waits_is_confirmed(shell: Shell) -> None:
    sources = shell.config / "sources.toml"
    text = sources.read_text(encoding="utf-8").replace('dates = "dmy" ', 'on_unmapped = "ask"\ndates = "dmy" ', 1)
    sources.write_text(text, encoding="utf-8")
    for number in (1, 2):
        file = shell.file(f"{number}.csv", "Phone,Shoe", f"2600000{number},43")
        assert shell.json("import", file, "--source", "nordlead", code=4)["state"] == "awaiting_confirmation"
    first, second = sorted(each["id"] for each in shell.json("pools"))
    told = shell.run("pools", "confirm", str(first), "Shoe=city", "--as", "admin").stdout
    assert told == "delivery 1 is confirmed, and queued\n"
    assert shell.run("deliveries", "confirm", "2", "--as", "admin").stdout == "delivery 2 is confirmed, and queued\n"
    travelled(shell, 1)
    travelled(shell, 2)
    assert {each["city"] for each in shell.json("lead", "list", "--columns", "city")} == {"43", None}
    assert (
        "does not wait for a confirmation" in shell.run("pools", "confirm", str(second), "--as", "admin", code=4).stderr
    )
    assert "no delivery became the pool 9" in shell.run("pools", "confirm", "9", "--as", "admin", code=4).stderr
