"""Anonymise: the person is gone from store, logs, files and results; everybody else is as before."""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from sqlalchemy import Engine, select

from ingestd.errors import Rejected
from ingestd.ingest import sealing
from ingestd.ingest.poollog import PoolLog
from ingestd.leads import agents, anonymise, editing, erasure, lead, segments, views
from ingestd.leads.anonymise import Anonymised, Places
from ingestd.leads.erasure import Unerasable
from ingestd.leads.lead import Lead
from ingestd.leads.views import Content
from ingestd.model import Delivery, State
from ingestd.store import audit, lead_tables, loading, snapshots, tables
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing
from tests.databases import ROOT
from tests.ingest.conftest import Station
from tests.leads.conftest import MINUTE, NOON
from tests.s3 import S3

ROWS = [
    ["Phone", "First name", "Last name", "E-mail", "Comments", "City"],
    ["26 14 15 16", "Anna", "Søholm", "anna.soholm@example.com", 'has; a "dog"', "Odense"],
    ["26 14 15 17", "Erik", "Dahl", "erik@example.com", "", "Esbjerg"],
    ["26141516", "Anna", "Søholm", "anna.soholm@example.com", "again", "Odense"],
    ["12", "Pia", "Lund", "pia@example.com", "", "Aalborg"],
]
PERSON = ("26141516", "26 14 15 16", "anna.soholm", "Søholm", "dog")
OTHERS = ("26 14 15 17", "erik@example.com", "pia@example.com", "Esbjerg")


def table(delimiter: str = ";", rows: Sequence[Sequence[str]] = ROWS) -> str:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if '"' in text or delimiter in text else text

    return "".join(delimiter.join(cell(text) for text in row) + "\r\n" for row in rows)


def zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("leads.csv", table().encode())
    return packed.getvalue()


def workbook(rows: Sequence[Sequence[str]] = ROWS) -> bytes:
    book, packed = openpyxl.Workbook(), io.BytesIO()
    for row in rows:
        book.active.append(row)
    book.save(packed)
    return packed.getvalue()


FILES = {
    "utf8.csv": table().encode(),
    "latin.csv": table(",").encode("cp1252"),
    "wide.csv": table("\t").encode("utf-16"),
    "leads.csv.gz": gzip.compress(table().encode()),
    "leads.zip": zipped(),
    "leads.xlsx": workbook(),
}


@pytest.fixture
def station(organised: Engine, tmp_path: Path) -> Station:
    return Station.at(organised, tmp_path)


def forget(station: Station, number: int, at: datetime = NOON) -> Anonymised:
    road = station.road
    places = Places(engine=road.engine, ledger=road.ledger, spool=road.spool, logs=road.logs, schemas=ROOT / "schemas")
    done = anonymise.anonymise(places, number, by=station.owner("user:admin"), at=at)
    for delivery in done.deliveries:
        station.publisher.publish_again(delivery)
    return done


def texts(station: Station) -> Iterator[tuple[str, str]]:
    """Everything that is kept, as text: the rows of the store, and every file of the home that can be unpacked."""
    with reading(station.engine) as connection:
        for name, each in tables.metadata.tables.items():
            yield name, "\n".join(str(row) for row in connection.execute(select(each)))
    for path in station.home.rglob("*"):
        if path.is_file() and not path.name.startswith("ingestd.db"):
            for data in unpacked(path.read_bytes()):
                yield str(path), data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1")
                yield str(path), data.decode("utf-8", "replace")
    for delivery in station.road.ledger.latest(limit=10):
        for kind in ("full", "errors", "rejected", "summary"):
            yield f"{kind} of {delivery.id}", station.download(delivery, kind).decode("utf-8", "replace")


def unpacked(data: bytes) -> list[bytes]:
    if data[:2] == b"\x1f\x8b":
        return [gzip.decompress(data)]
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [archive.read(name) for name in archive.namelist()]
    return [sealing.opened(data, expected=False)]


def found(station: Station, words: tuple[str, ...]) -> dict[str, set[str]]:
    """word → where it is."""
    places: dict[str, set[str]] = {}
    for place, text in texts(station):
        for word in words:
            if word in text:
                places.setdefault(word, set()).add(place)
    return places


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_person_is_gone_from_everywhere(station: Station, name: str) -> None:
    delivery = station.deliver(FILES[name], name=name)
    station.publisher.sweep()
    assert delivery.counts.records == 4
    assert set(found(station, PERSON)) == set(PERSON)
    anna = next(each for each in station.leads() if each["first_name"] == "Anna")
    before = station.leads()
    done = forget(station, anna["id"])
    assert [(each.delivery_id, each.rows) for each in done.erased] == [(delivery.id, (1, 3))]
    assert done.left == ()
    assert found(station, PERSON) == {}
    assert set(found(station, OTHERS)) == set(OTHERS)
    assert [each for each in station.leads() if each["id"] != anna["id"]] == [
        each for each in before if each["id"] != anna["id"]
    ]


def test_counts_and_places_stay(station: Station) -> None:
    delivery = station.deliver(FILES["utf8.csv"], name="utf8.csv")
    number = station.leads()[0]["id"]
    forget(station, number)
    station.check_balance(delivery)
    here = read(station, number)
    assert (here.status, here.pool_id, here.row, here.fields["city"]) == ("anonymised", delivery.pool_id, 1, "Odense")
    assert all(here.fields[name] is None for name in ("first_name", "last_name", "email", "comments"))
    original = station.download(delivery, "original")
    assert len(original) == len(FILES["utf8.csv"])
    assert original.splitlines()[0::2] == [*FILES["utf8.csv"].splitlines()[0:3:2], original.splitlines()[4]]
    assert original.splitlines()[4] == FILES["utf8.csv"].splitlines()[4]


def test_it_is_noted_with_the_new_hash(station: Station) -> None:
    delivery = station.deliver(FILES["utf8.csv"], name="utf8.csv")
    forget(station, station.leads()[0]["id"])
    digest = hashlib.sha256(station.download(delivery, "original")).hexdigest()
    note = station.summary(delivery)["anonymised"]
    assert note == [{"at": NOON.isoformat(), "rows": [1, 3], "sha256": digest}]
    with reading(station.engine) as connection:
        kept = connection.execute(select(lead_tables.erasures)).mappings().one()
    assert (kept["delivery_id"], kept["rows"], kept["sha256"]) == (delivery.id, "1,3", digest)
    again = station.land(FILES["utf8.csv"], name="utf8.csv")  # the same file is still known as such
    assert station.known(again).state is State.DUPLICATE


def test_what_was_typed_and_told_is_gone_too(station: Station) -> None:
    station.deliver(FILES["utf8.csv"], name="utf8.csv")
    number = station.leads()[0]["id"]
    change(station, number, phone="26141599", comments="speaks of Søholm")
    change(station, number, first_name="Annette")
    forget(station, number)
    assert found(station, (*PERSON, "26141599", "Annette")) == {}
    fields = {event for event in told(station, number) if event[1] is not None or event[2] is not None}
    assert fields == {("status", "unprocessed", "anonymised")}


def test_a_run_that_was_interrupted_is_repeated(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    station.deliver(FILES["utf8.csv"], name="utf8.csv")
    number = station.leads()[0]["id"]

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(anonymise, "_blank", fail)
        with pytest.raises(ZeroDivisionError):
            forget(station, number)
    assert read(station, number).fields["first_name"] == "Anna"
    forget(station, number)
    assert found(station, PERSON) == {}


def made(name: str, rows: Sequence[Sequence[str]]) -> bytes:
    """A file of these rows, of the kind that its name says."""
    if name.endswith(".xlsx"):
        return workbook(rows)
    return table("\t", rows).encode("utf-16") if name == "wide.csv" else table(rows=rows).encode()


KINDS = pytest.mark.parametrize("name", ["utf8.csv", "wide.csv", "leads.xlsx"])


@KINDS
def test_a_file_that_is_blank_throughout_is_gone_through_again(station: Station, name: str) -> None:
    delivery = station.deliver(made(name, [*ROWS[:2], ROWS[3]]), name=name)
    number = station.leads()[0]["id"]
    done = forget(station, number)
    assert (done.left, [each.rows for each in done.erased]) == ((), [(1, 2)])
    again = forget(station, number, NOON + MINUTE)  # by now only the lead's number tells which record was its own
    assert (again.left, [each.rows for each in again.erased]) == ((), [(1,)])
    assert found(station, PERSON) == {}
    assert station.download(delivery, "full").startswith(b"row,")


@KINDS
@pytest.mark.parametrize("alone", [True, False])
def test_a_run_that_came_to_the_file_and_not_to_its_log_is_repeated(
    station: Station, name: str, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a line that was rejected, and is found in the log by what the file says."""
    station.deliver(made("first.csv", [*ROWS[:2], ROWS[4]]), name="first.csv")
    number = station.leads()[0]["id"]
    with writing(station.engine) as connection:
        loading.add_do_not_call(connection, 0, ["+4526141516"], "asked")
    rejected = station.deliver(made(name, ROWS[:2] if alone else ROWS[:3]), name=name)
    header = station.download(rejected, "rejected").splitlines()[0]
    with monkeypatch.context() as patch:
        patch.setattr(erasure, "_erase_log", all_but(rejected, erasure._erase_log))
        with pytest.raises(ZeroDivisionError):
            forget(station, number)
    assert "26141516" in str(station.rows(rejected))
    done = forget(station, number, NOON + MINUTE)
    assert done.left == ()
    assert found(station, PERSON) == {"26141516": {"do_not_call"}}
    assert station.download(rejected, "rejected").splitlines()[0] == header


def all_but(delivery: Delivery, work: Callable[..., None]) -> Callable[..., None]:
    """The work, broken off at one delivery."""

    def done(log: PoolLog, *rest: Any) -> None:
        if log.key == delivery.log_key:
            raise ZeroDivisionError
        work(log, *rest)

    return done


def test_the_others_of_a_workbook_can_follow_the_last_one(station: Station) -> None:
    """Rows at the end in which nothing stands are none, for who reads a workbook."""
    station.deliver(FILES["leads.xlsx"], name="leads.xlsx")
    anna, erik = (each["id"] for each in station.leads())
    for number in (erik, anna, erik):
        assert forget(station, number, NOON + station.count("erasures") * MINUTE).left == ()
    assert found(station, (*PERSON, "erik@example.com")) == {}


def test_the_rejected_lines_of_a_workbook_are_found_when_another_separator_is_agreed_by_now(station: Station) -> None:
    """They were written with commas."""
    station.deliver(made("first.csv", [*ROWS[:2], ROWS[4]]), name="first.csv")
    with writing(station.engine) as connection:
        loading.add_do_not_call(connection, 0, ["+4526141516"], "asked")
    station.change_source(limits={})
    rejected = station.deliver(workbook(ROWS[:3]), name="leads.xlsx")
    assert b"," in station.download(rejected, "rejected")
    station.change_source(dialect={"delimiter": ";"})
    assert forget(station, station.leads()[0]["id"]).left == ()
    assert found(station, PERSON) == {"26141516": {"do_not_call"}}


def test_a_file_with_a_trailer_is_gone_through_again(station: Station) -> None:
    station.change_source(proof={"trailer": r"END (?P<rows>\d+)"})
    station.deliver(made("one.csv", ROWS[:2]) + b"END 1\r\n", name="one.csv")
    for moment in (NOON, NOON + MINUTE):
        assert forget(station, station.leads()[0]["id"], moment).left == ()
    assert found(station, PERSON) == {}


def test_a_file_that_is_read_in_another_way_by_now_is_not_taken_for_blank(station: Station) -> None:
    station.deliver(made("one.csv", ROWS[:2]), name="one.csv")
    station.change_source(proof={"trailer": r"(?P<rows>\d+)"})
    with pytest.raises(Unerasable, match="0 records now, and 1 in its log"):
        forget(station, station.leads()[0]["id"])
    assert set(found(station, PERSON)) == set(PERSON)


def test_another_lead_of_the_person_is_named(station: Station) -> None:
    station.deliver(FILES["utf8.csv"], name="utf8.csv")
    other = station.deliver(FILES["utf8.csv"], name="other.csv", folder="DK-FIBRE")
    mine, *_ = (each for each in station.leads() if each["pool_id"] != other.pool_id)
    numbers = [each["id"] for each in station.leads(other) if each["phone"] == mine["phone"]]
    assert forget(station, mine["id"]).left == tuple(f"lead {number} has the same number" for number in numbers)


def test_filters_that_name_the_person_are_told(station: Station) -> None:
    station.deliver(FILES["utf8.csv"], name="utf8.csv")
    deed, email = Deed(actor=COMMAND_LINE, at=NOON), {"field": "email", "op": "is", "value": "Anna.Soholm@example.com"}
    content = Content(name="Anna", filter=email, columns=("id",), sort="-id")
    with writing(station.engine) as connection:
        who = agents.agent(connection, "admin")
        view = views.save(connection, deed, who, content)
        views.save(
            connection, deed, who, replace(content, name="others", filter={**email, "value": "erik@example.com"})
        )
        its = segments.add_group(connection, deed, "ENERGY", "by hand")
        phone = {"field": "phone", "op": "is", "value": "+4526141516"}
        segment = segments.add(connection, deed, ROOT / "schemas", its.id, "one", phone)
        audit.note(connection, deed, "view_saved", "view:9", after={"filter": phone})  # as it was told before
        line = audit.latest(connection, limit=1)[0].id
    number = next(each["id"] for each in station.leads() if each["phone"] == "+4526141516")
    assert forget(station, number).left == (
        f"the filter of view {view.id}",
        f"the filter of segment {segment.id}",
        f"the audit's line {line}",
    )


def test_a_lead_that_somebody_holds_waits(station: Station) -> None:
    station.deliver(FILES["utf8.csv"], name="utf8.csv")
    number = station.leads()[0]["id"]
    with writing(station.engine) as connection:
        editing.lock(connection, number, by=station.owner("user:aarhus-1"), at=NOON, lease=MINUTE)
    with pytest.raises(Rejected, match="is locked by user:aarhus-1"):
        forget(station, number)
    assert set(found(station, PERSON)) == set(PERSON)


def read(station: Station, number: int) -> Lead:
    with reading(station.engine) as connection:
        return lead.find(connection, number)


def change(station: Station, number: int, **values: str) -> None:
    wish = editing.Edit(values=values, by=station.owner("user:admin"), at=NOON, why="Søholm rang")
    with writing(station.engine) as connection:
        editing.edit(connection, ROOT / "schemas", number, wish)


def told(station: Station, number: int) -> list[tuple[str, str | None, str | None]]:
    event = lead_tables.lead_events.c
    with reading(station.engine) as connection:
        rows = connection.execute(select(event.field, event.before, event.after).where(event.lead_id == number))
        return [(row[0], row[1], row[2]) for row in rows]


@pytest.fixture
def on_s3(s3: S3, organised: Engine, tmp_path: Path) -> Station:
    storage = s3.storage(s3.new_bucket())
    storage.claim("a-store")
    return Station.at(organised, tmp_path / "home", storage)


def test_a_person_is_gone_from_an_object_store(on_s3: Station) -> None:
    delivery = on_s3.deliver(FILES["leads.csv.gz"], name="leads.csv.gz")
    done = forget(on_s3, next(each["id"] for each in on_s3.leads() if each["first_name"] == "Anna"))
    assert (done.left, done.erased[0].rows) == ((), (1, 3))
    kept = [on_s3.storage.read(each.key) for folder in ("spool", "logs") for each in on_s3.storage.found(folder)]
    text = b"".join(each for whole in kept for each in unpacked(whole))
    assert not [word for word in PERSON if word.encode() in text]
    assert found(on_s3, PERSON) == {}
    assert on_s3.road.spool.read(delivery.spool_key, done.erased[0].sha256)


def test_a_refused_file_is_loaded_later_as_it_is_now(on_s3: Station) -> None:
    """Its bytes are other ones than came, which would be damage else."""
    on_s3.change_source(limits={"max_rejected_rows": 0})
    refused = on_s3.deliver(FILES["utf8.csv"], name="utf8.csv")
    assert refused.state is State.REFUSED
    loaded = on_s3.deliver(table().encode().splitlines(keepends=True)[0] + b"26141516;Anna;;;;\r\n", name="one.csv")
    done = forget(on_s3, on_s3.leads(loaded)[0]["id"])
    assert [each.delivery_id for each in done.erased] == [refused.id, loaded.id]
    on_s3.change_source(limits={})
    on_s3.road.ledger.retry(refused.id)
    on_s3.road.travel(refused.id)
    assert on_s3.known(refused.id).counts.inserted == 1
    assert found(on_s3, PERSON) == {}


def test_the_logs_of_earlier_attempts_go_and_that_of_one_under_way_stays(station: Station) -> None:
    check_earlier_logs(station)


def test_the_logs_of_earlier_attempts_go_from_an_object_store(on_s3: Station) -> None:
    check_earlier_logs(on_s3)


def check_earlier_logs(station: Station) -> None:
    """The log of a refused file has all of its rows, and stays when the file is tried again."""
    station.change_source(limits={"max_rejected_rows": 0})
    refused = station.deliver(FILES["utf8.csv"], name="utf8.csv")
    station.change_source(limits={})
    station.road.ledger.retry(refused.id)
    station.road.travel(refused.id)
    loaded = station.known(refused.id)
    assert (refused.log_key, loaded.log_key) == ("1/1", "1/2")
    with station.road.logs.new("1/3") as folder:
        folder.write("log.json", b"{}")
    assert attempts(station) == {"1/1", "1/2", "1/3"}
    forget(station, station.leads(loaded)[0]["id"])
    assert attempts(station) == {"1/2", "1/3"}


def attempts(station: Station) -> set[str]:
    """Those of which there are logs."""
    return {each.key.rpartition("/")[0] for each in station.road.logs.found("1")}


def test_what_a_file_is_now_is_what_a_backup_holds_it_against(station: Station) -> None:
    delivery = station.deliver(FILES["leads.xlsx"], name="leads.xlsx")
    forget(station, station.leads()[0]["id"])
    now = station.download(delivery, "original")
    with reading(station.engine) as connection:
        (named,) = snapshots.files(connection)
    assert (named.sha256, named.size) == (hashlib.sha256(now).hexdigest(), len(now))
