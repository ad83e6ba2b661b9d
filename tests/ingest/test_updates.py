"""Files that update leads: what people change while a file is on its way stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ingestd.ingest import screening
from ingestd.leads import anonymise, editing, statuses
from ingestd.leads.anonymise import Places
from ingestd.leads.editing import Edit
from ingestd.leads.statuses import Change
from ingestd.model import Delivery
from ingestd.store.engine import writing
from ingestd.store.ledger import now
from tests.databases import ROOT
from tests.ingest.conftest import Station

ANNA, BO, CARL = "26141516", "26141517", "26141518"


@pytest.fixture
def updating(station: Station) -> Station:
    station.change_campaign(on_duplicate="update")
    return station


def lines(*rows: str, head: str = "Phone,First name,City") -> bytes:
    return "\n".join((head, *rows, "")).encode()


def meanwhile(monkeypatch: pytest.MonkeyPatch, what: Callable[[], Any]) -> None:
    """Does something once, between the next screening and its load."""
    meant = screening.screen

    def screened(*given: Any, **facts: Any) -> Any:
        found = meant(*given, **facts)
        monkeypatch.setattr(screening, "screen", meant)
        what()
        return found

    monkeypatch.setattr(screening, "screen", screened)


def edit(station: Station, number: int, **values: str) -> None:
    wish = Edit(values=values, by=station.owner("user:copenhagen-1"), at=now())
    with writing(station.engine) as connection:
        editing.edit(connection, ROOT / "schemas", number, wish)


def overtaken(
    station: Station, monkeypatch: pytest.MonkeyPatch, data: bytes, what: Callable[[int], Any], number: int
) -> Delivery:
    """Delivers a second file while somebody does something with a lead."""
    meanwhile(monkeypatch, lambda: what(number))
    return station.deliver(data, name="second.csv")


def test_what_somebody_edits_meanwhile_stays_where_the_file_says_nothing_new(
    updating: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    updating.deliver(lines(f"{ANNA},Anna,Lund", f"{BO},Bo,Lund", f"{CARL},Carl,Lund"))
    anna = updating.leads()[0]["id"]
    second = lines(f"{ANNA},Berta,", f"{BO},Bob,Malmo", f"{CARL},Carl,Lund")
    done = overtaken(updating, monkeypatch, second, lambda lead: edit(updating, lead, city="Odense"), anna)
    assert (done.counts.updated, done.counts.unchanged) == (2, 1)
    found = [(lead["first_name"], lead["city"], lead["version"]) for lead in updating.leads()]
    assert found == [("Berta", "Odense", 2), ("Bob", "Malmo", 1), ("Carl", "Lund", 0)]


def test_what_the_file_changes_is_changed_all_the_same(updating: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    updating.deliver(lines(f"{ANNA},Anna,Lund"))
    anna = updating.leads()[0]["id"]
    second = lines(f"{ANNA},Anna,Malmo")
    overtaken(updating, monkeypatch, second, lambda lead: edit(updating, lead, city="Odense", first_name="Eva"), anna)
    (lead,) = updating.leads()
    assert (lead["first_name"], lead["city"]) == ("Eva", "Malmo")


def test_who_edits_the_same_meanwhile_is_not_written_again(updating: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    updating.deliver(lines(f"{ANNA},Anna,Lund"))
    anna = updating.leads()[0]["id"]
    overtaken(updating, monkeypatch, lines(f"{ANNA},Anna,Malmo"), lambda lead: edit(updating, lead, city="Malmo"), anna)
    (lead,) = updating.leads()
    assert (lead["city"], lead["version"]) == ("Malmo", 1)


def test_the_templates_fields_are_merged_with_what_they_are_then(
    updating: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = "Phone,Current supplier,Consumption"
    updating.deliver(lines(f"{ANNA},Nordkraft,4000", head=head))
    (lead,) = updating.leads()
    assert json.loads(lead["extra"])["consumption_kwh"] == 4000
    second = lines(f"{ANNA},,5000", head=head)
    overtaken(updating, monkeypatch, second, lambda lead: edit(updating, lead, supplier="Vindstrom"), lead["id"])
    extra = json.loads(updating.leads()[0]["extra"])
    assert (extra["supplier"], extra["consumption_kwh"]) == ("Vindstrom", 5000)


def test_the_result_of_a_call_meanwhile_stays(updating: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    updating.deliver(lines(f"{ANNA},Anna,Lund"))
    anna = updating.leads()[0]["id"]
    wish = Change(to="success", by=updating.owner("user:copenhagen-1"), at=now(), call=True)

    def call(lead: int) -> None:
        with writing(updating.engine) as connection:
            statuses.change_status(connection, lead, wish)

    overtaken(updating, monkeypatch, lines(f"{ANNA},Anna,Malmo"), call, anna)
    (lead,) = updating.leads()
    assert (lead["status"], lead["attempts"], lead["city"]) == ("success", 1, "Malmo")


def test_who_is_anonymised_meanwhile_gets_no_new_values(updating: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    updating.deliver(lines(f"{ANNA},Anna,Lund"))
    anna = updating.leads()[0]["id"]
    road = updating.road
    places = Places(
        engine=updating.engine, ledger=road.ledger, spool=road.spool, logs=road.logs, schemas=ROOT / "schemas"
    )

    def blank(lead: int) -> None:
        anonymise.anonymise(places, lead, by=updating.owner("user:admin"), at=now())

    overtaken(updating, monkeypatch, lines(f"{ANNA},Berta,Malmo"), blank, anna)
    gone, new = updating.leads()
    assert (gone["status"], gone["first_name"], gone["city"]) == ("anonymised", None, "Lund")
    assert (new["first_name"], new["city"]) == ("Berta", "Malmo")
