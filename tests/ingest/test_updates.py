"""Files that update leads: what people change while a file is on its way stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import false

from ingestd.errors import Conflict
from ingestd.ingest import screening
from ingestd.leads import anonymise, do_not_call, editing, history, lead, statuses, undoing
from ingestd.leads.anonymise import Places
from ingestd.leads.editing import Edit
from ingestd.leads.history import Event
from ingestd.leads.statuses import Change
from ingestd.model import Delivery
from ingestd.store import tables
from ingestd.store.audit import Actor, Deed
from ingestd.store.engine import reading, writing
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


def events(station: Station, number: int) -> list[Event]:
    with reading(station.engine) as connection:
        return history.history(connection, lead.find(connection, number).campaign_id, number)


def change(station: Station, number: int, to: str) -> None:
    wish = Change(to=to, by=station.owner("user:copenhagen-1"), at=now(), call=True)
    with writing(station.engine) as connection:
        statuses.change_status(connection, number, wish)


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
    done = overtaken(updating, monkeypatch, second, lambda number: edit(updating, number, city="Odense"), anna)
    assert (done.counts.updated, done.counts.unchanged) == (2, 1)
    found = [(lead["first_name"], lead["city"], lead["version"]) for lead in updating.leads()]
    assert found == [("Berta", "Odense", 2), ("Bob", "Malmo", 1), ("Carl", "Lund", 0)]


def test_what_the_file_changes_is_changed_all_the_same(updating: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    updating.deliver(lines(f"{ANNA},Anna,Lund"))
    anna = updating.leads()[0]["id"]
    second = lines(f"{ANNA},Anna,Malmo")
    overtaken(
        updating, monkeypatch, second, lambda number: edit(updating, number, city="Odense", first_name="Eva"), anna
    )
    (lead,) = updating.leads()
    assert (lead["first_name"], lead["city"]) == ("Eva", "Malmo")


def test_who_edits_the_same_meanwhile_is_not_written_again(updating: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    updating.deliver(lines(f"{ANNA},Anna,Lund"))
    anna = updating.leads()[0]["id"]
    overtaken(
        updating, monkeypatch, lines(f"{ANNA},Anna,Malmo"), lambda number: edit(updating, number, city="Malmo"), anna
    )
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
    overtaken(updating, monkeypatch, second, lambda number: edit(updating, number, supplier="Vindstrom"), lead["id"])
    extra = json.loads(updating.leads()[0]["extra"])
    assert (extra["supplier"], extra["consumption_kwh"]) == ("Vindstrom", 5000)


def test_the_result_of_a_call_meanwhile_stays(updating: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    updating.deliver(lines(f"{ANNA},Anna,Lund"))
    anna = updating.leads()[0]["id"]
    second = lines(f"{ANNA},Anna,Malmo")
    overtaken(updating, monkeypatch, second, lambda number: change(updating, number, "success"), anna)
    (lead,) = updating.leads()
    assert (lead["status"], lead["attempts"], lead["city"]) == ("success", 1, "Malmo")


def test_who_is_anonymised_meanwhile_gets_no_new_values(updating: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    updating.deliver(lines(f"{ANNA},Anna,Lund"))
    anna = updating.leads()[0]["id"]
    road = updating.road
    places = Places(
        engine=updating.engine, ledger=road.ledger, spool=road.spool, logs=road.logs, schemas=ROOT / "schemas"
    )

    def blank(number: int) -> None:
        anonymise.anonymise(places, number, by=updating.owner("user:admin"), at=now())

    overtaken(updating, monkeypatch, lines(f"{ANNA},Berta,Malmo"), blank, anna)
    gone, new = updating.leads()
    assert (gone["status"], gone["first_name"], gone["city"]) == ("anonymised", None, "Lund")
    assert (new["first_name"], new["city"]) == ("Berta", "Malmo")


def test_what_a_file_changes_is_in_the_history(updating: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    head = "Phone,First name,Priority,Date of birth,Call at,Current supplier,Consumption"
    updating.deliver(lines(f"{ANNA},Anna,,1980-01-02,2026-07-01 10:00,A,4000", f"{BO},Bo,,,,,", head=head))
    anna, bo = (each["id"] for each in updating.leads())
    second = lines(f"{ANNA},Berta,7,1980-01-03,2026-07-02 10:00,,5000", f"{BO},Bo,,,,,1", head=head)
    done = overtaken(updating, monkeypatch, second, lambda number: edit(updating, number, city="Odense"), anna)
    told = [(each.field, each.before, each.after) for each in events(updating, anna)]
    assert told == [
        ("city", None, "Odense"),
        ("consumption_kwh", "4000", "5000"),
        ("date_of_birth", "1980-01-02", "1980-01-03"),
        ("first_name", "Anna", "Berta"),
        ("priority", None, "7"),
        ("scheduled_at", "2026-07-01T08:00:00+00:00", "2026-07-02T08:00:00+00:00"),
    ]
    assert [(each.field, each.before, each.after) for each in events(updating, bo)] == [("consumption_kwh", None, "1")]
    by_file = events(updating, anna)[1:]
    assert {(each.version, each.kind, each.by, each.why) for each in by_file} == {
        (2, "imported", None, f"delivery {done.id}")
    }
    for each in updating.leads():
        assert each["modified_at"] == events(updating, each["id"])[-1].at
        assert each["modified_by_id"] is None


def test_a_listed_number_ends_its_lead_as_the_list_does(updating: Station) -> None:
    updating.change_campaign(on_do_not_call="close")
    updating.deliver(lines(f"{ANNA},Anna,Lund", f"{BO},Bo,Lund"))
    anna, bo = (each["id"] for each in updating.leads())
    change(updating, anna, "not_interested")
    change(updating, bo, "success")
    deed = Deed(actor=Actor(name="user:admin", user_id=updating.owner("user:admin")), at=now())
    with writing(updating.engine) as connection:
        do_not_call.add(connection, [f"+45{number}" for number in (ANNA, BO)], None, deed)
    with reading(updating.engine) as connection:
        reopened = {"status_id": statuses.read(connection).get("manual_redial_private").id, "status_at": None}
    owned = {"owner_id": updating.owner("user:copenhagen-1"), "original_owner_id": updating.owner("team:copenhagen")}
    held = {"locked_by_id": updating.owner("user:copenhagen-2"), "locked_until": now() + timedelta(hours=1)}
    with writing(updating.engine) as connection:
        connection.execute(tables.leads.update().where(tables.leads.c.id == anna).values({**reopened, **owned, **held}))
    updating.deliver(lines(f"{ANNA},Anna,Lund", f"{BO},Bob,Lund"), name="second.csv")
    first, second = updating.leads()
    assert (first["status"], first["owner_id"]) == ("in_global_do_not_call_list", updating.owner("team:copenhagen"))
    assert first["status_at"] is not None
    assert (first["locked_by_id"], first["scheduled_at"]) == (None, None)
    told = [(each.field, each.after) for each in events(updating, anna) if each.kind == "imported"]
    assert told == [
        ("lock", None),
        ("owner", str(updating.owner("team:copenhagen"))),
        ("status", "in_global_do_not_call_list"),
    ]
    assert (second["status"], second["first_name"]) == ("success", "Bob")


def test_a_pool_whose_lead_a_later_file_changed_is_not_undone(updating: Station) -> None:
    first = updating.deliver(lines(f"{ANNA},Anna,Lund"))
    updating.deliver(lines(f"{ANNA},Anna,Malmo"), name="second.csv")
    deed = Deed(actor=Actor(name="user:admin", user_id=updating.owner("user:admin")), at=now())
    with (
        pytest.raises(Conflict, match="were changed by somebody, or by a later file"),
        writing(updating.engine) as connection,
    ):
        undoing.undo(connection, deed, first.pool_id or 0, updating.road.ledger, false())
