"""The road: whole deliveries through real spool, ledger, rooms and databases."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from ingestd import samples, schemas
from ingestd.errors import Rejected, Unavailable
from ingestd.ingest import phones, poollog, reading, screening
from ingestd.leads import do_not_call
from ingestd.model import Completeness, Counts, Delivery, PoolState, State
from ingestd.storage import Folder
from ingestd.store import loading, pools, tables
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import open_engine, writing
from ingestd.store.engine import reading as viewing
from ingestd.store.ledger import Fenced, Ledger, now
from tests import databases
from tests.databases import ROOT
from tests.ingest.conftest import Station

GOOD = b"Phone,First name,Owner code\r\n26000001,Anna,DK-CPH\r\n26000002,Bo,CPH-101\r\n"


def table(data: bytes, encoding: str = "utf-8", delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(encoding), newline=""), delimiter=delimiter))


def e164(text: str, region: str) -> str | None:
    return phones.reference.verdict(text, region).e164


def codes(station: Station, delivery: Delivery, severity: str = "error") -> Counter[str]:
    return Counter(row["code"] for row in station.rows(delivery, "errors") if row["severity"] == severity)


class TestSamples:
    """The files that the demo sends."""

    def test_every_cell_of_a_clean_file_is_in_its_lead(self, station: Station) -> None:
        data = samples.clean(200)
        delivery = station.deliver(data)
        assert delivery.state is State.COMPLETED
        assert delivery.counts == Counts(records=200, inserted=200)
        station.check_balance(delivery)
        owners = {"dk-cph": "team:copenhagen", "dk-aar": "team:aarhus", "cph-101": "user:copenhagen-1"}
        for row, lead in zip(table(data), station.leads(delivery), strict=True):
            assert lead["phone"] == e164(row["Phone"], "DK")
            for header, field in (
                ("Lead ID", "external_id"),
                ("First name", "first_name"),
                ("Last name", "last_name"),
                ("E-mail", "email"),
                ("Address", "address"),
                ("Postcode", "postcode"),
                ("City", "city"),
                ("Country", "country"),
            ):
                assert lead[field] == row[header]
            assert lead["comments"] == (row["Comments"] or None)
            assert lead["date_of_birth"] == date(*map(int, reversed(row["Date of birth"].split("-"))))
            assert lead["priority"] == int(row["Priority"])
            assert lead["ownership_code"] == row["Owner code"].strip()
            assert f'"consumption_kwh":{row["Yearly consumption, kWh"]}' in lead["extra"]
            assert row["Current supplier"] in lead["extra"]
            assert lead["status"] == "unprocessed"
            key = row["Owner code"].strip().lower()
            if key in owners:
                assert lead["owner_id"] == station.owner(owners[key])
        summary = station.summary(delivery)
        assert summary["ignored_columns"] == ["Campaign tag"]
        assert summary["trimmed_cells"] == {"Owner code": sum(row["Owner code"] == " DK " for row in table(data))}

    def test_a_packed_file_is_loaded_as_if_it_were_not(self, station: Station) -> None:
        delivery = station.deliver(gzip.compress(samples.clean(30, start=2_000_000), mtime=0), name="extra.csv.gz")
        assert (delivery.state, delivery.counts.inserted) == (State.COMPLETED, 30)
        assert station.summary(delivery)["text"]["container"] == "gzip"
        station.check_balance(delivery)

    def test_a_german_file_is_read_with_its_saved_mapping(self, station: Station) -> None:
        data = samples.german(100)
        delivery = station.deliver(data, source="stadtwerk", name="Kundenliste.csv")
        assert (delivery.state, delivery.counts) == (State.COMPLETED, Counts(records=100, inserted=100))
        station.check_balance(delivery)
        for row, lead in zip(table(data, "cp1252", ";"), station.leads(delivery), strict=True):
            assert lead["phone"] == e164(row["Telefon"], "DE")
            assert (lead["external_id"], lead["last_name"]) == (row["Kd-Nr."], row["Nachname"])
            assert (lead["address"], lead["city"]) == (row["Straße"], row["Ort"])
            assert lead["date_of_birth"] == date(*map(int, reversed(row["Geb.-Datum"].split("."))))
            assert lead["comments"] == (row["Bemerkung"] or None)
            assert lead["ownership_code"] == row["Kürzel"]
        assert station.summary(delivery)["text"]["encoding"] == "cp1252"

    def test_a_workbook_belongs_to_the_code_in_its_name(self, station: Station) -> None:
        delivery = station.deliver(samples.workbook(60), source="fibreweb", name="fibre_DK-AAR_2026-11.xlsx")
        assert (delivery.state, delivery.counts) == (State.COMPLETED, Counts(records=60, inserted=60))
        station.check_balance(delivery)
        leads = station.leads(delivery)
        assert {lead["owner_id"] for lead in leads} == {station.owner("team:aarhus")}
        first = leads[0]
        assert first["scheduled_at"].isoformat() == "2026-12-01T09:30:00+00:00"
        assert first["full_name"]
        assert '"dwelling":' in first["extra"]

    def test_the_dirty_file_is_rejected_for_exactly_these_reasons(self, station: Station) -> None:
        station.deliver(samples.clean(10), name="first.csv")
        schema = schemas.read(ROOT / "schemas")
        listed: dict[str, Any] = {
            "name": "list.csv",
            "schema": schema,
            "campaign": None,
            "region": "DK",
            "deed": Deed(actor=COMMAND_LINE, at=now(), why="asked"),
        }
        do_not_call.import_list(station.engine, samples.do_not_call(), **listed)
        delivery = station.deliver(samples.dirty(), name="nordlead-corrections.csv")
        assert delivery.state is State.COMPLETED_WITH_REJECTS
        station.check_balance(delivery)
        assert codes(station, delivery) == {
            "phone_unparseable": 1,
            "phone_too_short": 1,
            "phone_too_long": 1,
            "phone_invalid_country_code": 1,
            "required_missing": 1,
            "email_invalid": 2,
            "date_unreadable": 1,
            "out_of_range": 3,
            "postcode_invalid": 1,
            "country_unreadable": 1,
            "integer_unreadable": 1,
            "too_long": 1,
            "ownership_code_unknown": 2,
            "do_not_call": 1,
            "duplicate_in_file": 1,
            "duplicate_in_campaign": 1,
            "too_few_fields": 1,
            "too_many_fields": 1,
            "stray_quote": 2,
            "nul_byte": 1,
            "bytes_not_text": 1,
            "header_repeated": 1,
        }
        assert codes(station, delivery, "warning") == {"blank_record": 1}
        assert (delivery.counts.inserted, delivery.counts.duplicate, delivery.counts.discarded) == (61, 2, 1)
        suggestions = {row["suggestion"] for row in station.rows(delivery, "errors")}
        assert "is 'DK-CPH' meant?" in suggestions

    @pytest.mark.parametrize(
        ("name", "data", "code"),
        [
            ("logo.csv", samples.picture(), "not_a_table"),
            ("no-phones.csv", b"Name,City\nLund,Odense\n", "required_column_missing"),
            ("nothing.csv", b"", "empty_file"),
            ("header.csv", b"Phone,Name\r\n", "header_only"),
            ("numbers.csv", b"26000001,Anna\r\n26000002,Bo\r\n", "no_header"),
            ("two.csv", b"Phone,Mobile\r\n26000001,26000002\r\n", "two_columns_one_field"),
            ("broken.gz", gzip.compress(b"x" * 1000, mtime=0)[:-9], "gzip_truncated"),
        ],
    )
    def test_what_is_no_list_of_leads_is_refused_with_a_log(
        self, station: Station, name: str, data: bytes, code: str
    ) -> None:
        delivery = station.deliver(data, name=name)
        assert (delivery.state, delivery.reason_code) == (State.REFUSED, code)
        assert delivery.reason
        assert (station.count("leads"), station.count("pools"), station.count("receipts")) == (0, 0, 0)
        station.check_balance(delivery)
        refused = station.summary(delivery)["refused"]
        assert (refused["code"], refused["message"]) == (code, delivery.reason)
        assert station.download(delivery, "original") == data
        assert station.download(delivery, "rejected") == b""


class TestExactlyOnce:
    """Whatever fails in between, a file is loaded once or not at all."""

    def test_an_ended_delivery_does_not_travel_again(self, station: Station) -> None:
        delivery = station.deliver(GOOD)
        station.road.travel(delivery.id)
        assert station.known(delivery.id) == delivery
        assert station.count("leads") == 2

    def test_the_same_file_again_is_a_duplicate_and_loads_nothing(self, station: Station) -> None:
        first = station.deliver(GOOD)
        again = station.deliver(GOOD)
        assert (again.state, again.duplicate_of, again.pool_id) == (State.DUPLICATE, first.id, None)
        assert (station.count("leads"), station.count("pools"), station.count("receipts")) == (2, 1, 1)

    @pytest.mark.parametrize(
        ("where", "what"),
        [
            (poollog, "write"),
            (pools, "create"),
            (loading, "insert_leads"),
            (Ledger, "receipt"),
            (Ledger, "finish"),
        ],
        ids=["log", "pool", "leads", "receipt", "finish"],
    )
    def test_a_failure_inside_the_load_leaves_nothing_and_the_next_attempt_succeeds(
        self, station: Station, monkeypatch: pytest.MonkeyPatch, where: Any, what: str
    ) -> None:
        number = station.land(GOOD)
        meant = getattr(where, what)

        def after_the_work(*arguments: Any, **named: Any) -> None:
            meant(*arguments, **named)
            raise MemoryError("just then")

        with monkeypatch.context() as broken:
            broken.setattr(where, what, after_the_work)
            with pytest.raises(MemoryError):
                station.road.travel(number)
        assert (station.count("leads"), station.count("pools"), station.count("receipts")) == (0, 0, 0)
        between = station.known(number)
        assert (between.state, between.reason) == (State.RUNNING, "MemoryError: just then")
        station.road.travel(number)
        delivery = station.known(number)
        assert (delivery.state, delivery.counts.inserted, delivery.epoch) == (State.COMPLETED, 2, 2)
        assert (delivery.reason, delivery.log_key) == ("", f"{number}/2")
        station.check_balance(delivery)

    def test_a_late_worker_is_rolled_back(self, station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
        number = station.land(GOOD)
        meant = screening.screen

        def taken_over(*arguments: Any, **options: Any) -> screening.Screened:
            monkeypatch.setattr(screening, "screen", meant)
            station.road.travel(number)  # another worker, while this one was stopped
            return meant(*arguments, **options)

        monkeypatch.setattr(screening, "screen", taken_over)
        with pytest.raises(Fenced):
            station.road.travel(number)
        delivery = station.known(number)
        assert (delivery.state, delivery.epoch) == (State.COMPLETED, 2)
        assert (station.count("leads"), station.count("pools")) == (2, 1)
        logs = {each.key.rsplit("/", 1)[0] for each in station.road.logs.found(f"{number}")}
        assert logs == {f"{number}/2"}, "the late worker leaves no log behind"
        station.check_balance(delivery)

    def test_too_many_attempts_are_a_dead_letter_that_can_be_retried(
        self, station: Station, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        number = station.land(GOOD)

        def fails(*_: Any, **__: Any) -> None:
            raise ZeroDivisionError("a bug")

        with monkeypatch.context() as broken:
            broken.setattr(reading, "read", fails)
            for _ in range(station.road.max_attempts):
                with pytest.raises(ZeroDivisionError):
                    station.road.travel(number)
        station.road.travel(number)
        dead = station.known(number)
        assert (dead.state, dead.reason_code) == (State.FAILED, "gave_up")
        assert dead.reason == "given up after 5 attempts; the last error: ZeroDivisionError: a bug"
        with pytest.raises(Rejected, match="it has no log"):
            station.download(dead, "full")
        assert station.download(dead, "original") == GOOD
        station.road.ledger.retry(number)
        station.road.travel(number)
        assert station.known(number).state is State.COMPLETED
        station.check_balance(station.known(number))

    def test_a_file_that_cannot_be_read_just_now_is_tried_again(self, station: Station) -> None:
        number = station.land(GOOD)
        path = station.home / "spool/deliveries" / station.known(number).spool_key
        away = path.rename(path.with_suffix(".away"))
        path.mkdir()  # what cannot be read is there, as on a disk with a fault
        with pytest.raises(Unavailable):
            station.road.travel(number)
        path.rmdir()
        away.rename(path)
        station.road.travel(number)
        assert station.known(number).state is State.COMPLETED

    def test_a_file_that_is_gone_from_the_spool_is_our_failure_and_said_at_once(self, station: Station) -> None:
        number = station.land(GOOD)
        station.road.spool.discard(station.known(number).spool_key)
        station.road.travel(number)
        lost = station.known(number)
        assert (lost.state, lost.reason_code) == (State.FAILED, "original_missing")

    @pytest.mark.parametrize("name", ["leads.csv", "leads.csv.gz"])
    def test_a_file_that_is_not_what_came_is_our_failure_and_nothing_of_it_is_loaded(
        self, station: Station, name: str
    ) -> None:
        """Whatever else is wrong in it, like a gzip file that cannot be unpacked, would be told as the partner's."""
        number = station.land(gzip.compress(GOOD) if name.endswith(".gz") else GOOD, name=name)
        path = station.home / "spool/deliveries" / station.known(number).spool_key
        whole = path.read_bytes()
        path.write_bytes(whole[:20] + bytes([whole[20] ^ 1]) + whole[21:])
        station.road.travel(number)
        spoilt = station.known(number)
        assert (spoilt.state, spoilt.reason_code) == (State.FAILED, "original_damaged")
        assert spoilt.sha256 in spoilt.reason
        assert (station.count("leads"), station.count("pools")) == (0, 0)
        path.write_bytes(whole)
        station.road.ledger.retry(number)
        station.road.travel(number)
        assert station.known(number).state is State.COMPLETED
        station.check_balance(station.known(number))

    def test_a_file_that_came_wrong_from_the_disk_once_is_read_again(
        self, station: Station, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        number, read = station.land(GOOD), Folder.read
        answers = [GOOD.replace(b"Anna", b"Anne")]
        monkeypatch.setattr(Folder, "read", lambda self, key: answers.pop() if answers else read(self, key))
        with pytest.raises(Unavailable, match="changed on its way"):
            station.road.travel(number)
        station.road.travel(number)
        assert station.known(number).state is State.COMPLETED

    def test_a_log_that_cannot_be_written_just_now_is_tried_again(self, station: Station) -> None:
        number, refused = station.land(GOOD), station.land(b"", name="empty.csv")
        (station.home / "logs").write_text("a file where the folder should be")
        for each in (number, refused):
            with pytest.raises(Unavailable):
                station.road.travel(each)
        assert (station.count("leads"), station.count("pools")) == (0, 0)
        (station.home / "logs").unlink()
        for each in (number, refused):
            station.road.travel(each)
        assert station.known(number).state is State.COMPLETED
        assert station.known(refused).state is State.REFUSED

    def test_a_load_that_came_between_is_noticed_and_screened_again(
        self, station: Station, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        station.change_source(same_content="load")
        other, number = station.land(GOOD, name="other.csv"), station.land(GOOD, name="mine.csv")
        screenings = _overtaken(monkeypatch, lambda: station.road.travel(other))
        station.road.travel(number)
        assert len(screenings) == 3  # mine, the other's, mine again
        mine = station.known(number)
        assert mine.counts == Counts(records=2, duplicate=2)
        assert station.count("leads") == 2
        station.check_balance(mine)

    def test_a_do_not_call_list_that_came_between_is_noticed(
        self, station: Station, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def listed() -> None:
            with writing(station.engine) as connection:
                loading.add_do_not_call(connection, 0, ["+4526000001"], "asked")

        screenings = _overtaken(monkeypatch, listed)
        delivery = station.deliver(GOOD)
        assert len(screenings) == 2
        assert delivery.counts == Counts(records=2, inserted=1, rejected=1)
        station.check_balance(delivery)


TRAILER = {"trailer": "^TRAILER;(?P<rows>[0-9]+)$"}


class TestControlTotals:
    """A number of records that the sender announces proves the file, or refuses it with both numbers."""

    def test_a_right_trailer_proves_the_file_and_is_no_record(self, station: Station) -> None:
        station.change_source(proof=TRAILER)
        delivery = station.deliver(GOOD + b"TRAILER;2\r\n", name="x.csv")
        assert (delivery.state, delivery.counts.records) == (State.COMPLETED, 2)
        assert delivery.completeness is Completeness.PROVEN
        assert delivery.evidence.endswith("2 records, as its last line says")
        assert json.loads(station.download(delivery, "summary"))["text"]["announced"] == 2
        station.check_balance(delivery)

    def test_a_wrong_trailer_refuses_the_file_with_both_numbers(self, station: Station) -> None:
        station.change_source(proof=TRAILER)
        delivery = station.deliver(GOOD + b"TRAILER;3\r\n")
        assert (delivery.state, delivery.reason_code) == (State.REFUSED, "control_total_mismatch")
        assert "has 2 records, but its last line says 3" in delivery.reason
        assert station.count("leads") == 0

    def test_a_file_without_its_trailer_was_cut(self, station: Station) -> None:
        station.change_source(proof=TRAILER)
        delivery = station.deliver(GOOD)
        assert (delivery.state, delivery.reason_code) == (State.REFUSED, "trailer_missing")
        assert station.count("leads") == 0

    def test_rejected_and_blank_records(self, station: Station) -> None:
        """A rejected record was sent and counts; a blank line does not. Sent again it needs a trailer of its own."""
        station.change_source(proof=TRAILER, limits={})
        delivery = station.deliver(GOOD + b"x,y,\r\n,,\r\nTRAILER;3\r\n")
        assert (delivery.counts.records, delivery.counts.discarded, delivery.counts.rejected) == (4, 1, 1)
        assert delivery.completeness is Completeness.PROVEN
        assert station.download(delivery, "rejected").endswith(b"x,y,\r\nTRAILER;1\r\n")

    def test_a_companion_s_number(self, station: Station) -> None:
        for said, state in ((2, State.COMPLETED), (3, State.REFUSED)):
            number = station.land(GOOD.replace(b"2600000", b"260000%d" % said), name=f"{said}.csv")
            with writing(station.engine) as connection:
                mine = update(tables.deliveries).where(tables.deliveries.c.id == number)
                connection.execute(mine.values(expected_records=said))
            station.road.travel(number)
            assert station.known(number).state is state, station.known(number).reason


class TestSameContent:
    """The same bytes under another name are loaded only where the source allows it (RECEIVING.md, point 3)."""

    def test_they_are_refused_by_default(self, station: Station) -> None:
        station.deliver(GOOD)
        again = station.deliver(GOOD, name="again.csv")
        assert (again.state, again.reason_code) == (State.REFUSED, "same_content")
        assert "delivery 1" in again.reason
        assert station.count("leads") == 2

    def test_other_campaigns_and_files_that_were_not_loaded_do_not_count(self, station: Station) -> None:
        station.change_source(limits={"max_rejected_rows": 0})
        broken = GOOD + b"26,Carl,DK-CPH\r\n"
        assert station.deliver(broken).state is State.REFUSED
        station.change_source(limits={})
        assert station.deliver(broken, name="again.csv").counts.loaded == 2
        assert station.deliver(broken, folder="DK-FIBRE").counts.loaded == 2


def _overtaken(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None]) -> list[int]:
    """Lets something happen right after the first screening; returns a list that grows with each screening."""
    meant, seen = screening.screen, list[int]()

    def screen(*arguments: Any, **options: Any) -> screening.Screened:
        result = meant(*arguments, **options)
        seen.append(len(seen))
        if len(seen) == 1:
            meanwhile()
        return result

    monkeypatch.setattr(screening, "screen", screen)
    return seen


class TestLimitsAndPlaces:
    """What a source may send, and where to."""

    BAD = b"Phone,First name\r\n26000001,Anna\r\nx,Bo\r\ny,Carl\r\n26000004,Dorte\r\n"

    @pytest.mark.parametrize(
        ("limits", "refused"),
        [
            ({"max_rejected_rows": 1}, True),
            ({"max_rejected_rows": 2}, False),
            ({"max_rejected_rows": 0}, True),
            ({"max_rejected_share": 0.49}, True),
            ({"max_rejected_share": 0.5}, False),
            ({"max_rejected_rows": 2, "max_rejected_share": 0.1}, True),
            ({}, False),
        ],
    )
    def test_too_many_rejects_refuse_the_whole_delivery_with_a_log(
        self, station: Station, limits: dict[str, float], refused: bool
    ) -> None:
        station.change_source(limits=limits)
        delivery = station.deliver(self.BAD)
        assert delivery.state is (State.REFUSED if refused else State.COMPLETED_WITH_REJECTS)
        assert station.count("leads") == (0 if refused else 2)
        if refused:
            assert delivery.reason_code == "too_many_rejects"
            assert delivery.reason.startswith("2 of 4 records are rejected")
            assert station.summary(delivery)["refused"]["code"] == "too_many_rejects"
            outcomes = [row["outcome"] for row in station.rows(delivery)]
            assert outcomes == ["discarded", "rejected", "rejected", "discarded"]
            assert station.download(delivery, "rejected").count(b"\r\n") == 3
            with viewing(station.engine) as connection:
                (pool,) = pools.latest(connection, limit=5)
            assert (pool["state"], pool["total"]) == (PoolState.UPLOAD_FAILED, 0)

    def test_a_refused_upload_that_is_retried_becomes_the_same_pool(self, station: Station) -> None:
        station.change_source(limits={"max_rejected_rows": 0})
        delivery = station.deliver(self.BAD)
        station.change_source(limits={})
        station.road.ledger.retry(delivery.id)
        station.road.travel(delivery.id)
        again = station.known(delivery.id)
        assert (again.state, again.pool_id) == (State.COMPLETED_WITH_REJECTS, delivery.pool_id)
        station.check_balance(again)

    def test_numbers_nobody_may_call_count_as_rejects(self, station: Station) -> None:
        station.change_source(limits={"max_rejected_rows": 1})
        with writing(station.engine) as connection:
            loading.add_do_not_call(connection, 0, ["+4526000001", "+4526000002"], "asked")
        assert station.deliver(GOOD).reason_code == "too_many_rejects"

    def test_duplicates_are_no_rejects_of_a_limit(self, station: Station) -> None:
        station.change_source(limits={"max_rejected_rows": 0}, same_content="load")
        station.deliver(GOOD)
        assert station.deliver(GOOD, name="again.csv").counts.duplicate == 2

    def test_a_file_without_a_useful_record_is_a_failed_upload_with_a_log(self, station: Station) -> None:
        station.change_source(limits={})
        delivery = station.deliver(b"Phone,Name\r\nx,Anna\r\n")
        assert delivery.state is State.COMPLETED_WITH_REJECTS
        with viewing(station.engine) as connection:
            (pool,) = pools.latest(connection, limit=5)
        assert (pool["state"], pool["total"]) == (PoolState.UPLOAD_FAILED, 0)
        station.check_balance(delivery)

    @pytest.mark.parametrize(
        ("folder", "campaign"), [("", "DK-ENERGY"), ("DK-FIBRE", "DK-FIBRE"), ("dk-fibre", "DK-FIBRE")]
    )
    def test_a_folder_names_the_campaign(self, station: Station, folder: str, campaign: str) -> None:
        delivery = station.deliver(GOOD, folder=folder)
        assert {lead["campaign_id"] for lead in station.leads(delivery)} == {station.campaign(campaign).id}
        assert station.summary(delivery)["campaign"] == campaign

    @pytest.mark.parametrize("folder", ["DE-ENERGY", "nowhere", "DK-FIBRE/x"])
    def test_a_folder_of_another_campaign_is_refused(self, station: Station, folder: str) -> None:
        delivery = station.deliver(GOOD, folder=folder)
        assert (delivery.state, delivery.reason_code) == (State.REFUSED, "campaign_not_allowed")
        assert "DK-ENERGY, DK-FIBRE" in delivery.suggestion

    def test_what_was_switched_off_meanwhile_is_refused(self, station: Station) -> None:
        no_source, no_campaign = station.land(GOOD), station.land(samples.german(2), source="stadtwerk")
        with writing(station.engine) as connection:
            connection.execute(update(tables.sources).where(tables.sources.c.name == "nordlead").values(active=False))
        station.change_campaign("DE-ENERGY", active=False)
        for number, code in ((no_source, "source_unknown"), (no_campaign, "campaign_unknown")):
            station.road.travel(number)
            assert (station.known(number).state, station.known(number).reason_code) == (State.REFUSED, code)

    def test_unknown_codes_go_to_the_default_owner_where_the_source_says_so(self, station: Station) -> None:
        station.change_source(unknown_code="default_owner")
        delivery = station.deliver(b"Phone,Owner code\r\n26000001,DK-CHP\r\n")
        assert delivery.state is State.COMPLETED
        assert station.leads()[0]["owner_id"] == station.owner("team:denmark")
        assert codes(station, delivery, "warning") == {"ownership_code_unknown": 1}

    def test_without_any_owner_a_record_is_rejected(self, station: Station) -> None:
        station.change_source(default_owner=None, limits={})
        delivery = station.deliver(b"Phone,Owner code\r\n26000001,\r\n26000002,dk\r\n")
        assert delivery.counts == Counts(records=2, inserted=1, rejected=1)
        assert codes(station, delivery) == {"owner_missing": 1}

    def test_an_unknown_code_in_the_name_refuses_the_file(self, station: Station) -> None:
        delivery = station.deliver(samples.workbook(2), source="fibreweb", name="fibre_DK-ARR_1.xlsx")
        assert (delivery.state, delivery.reason_code) == (State.REFUSED, "ownership_code_unknown")
        assert "DK-AAR" in delivery.suggestion

    def test_leads_with_an_invalid_phone_are_closed_where_the_campaign_says_so(self, station: Station) -> None:
        station.change_campaign(on_invalid_phone="close")
        delivery = station.deliver(b"Phone,Name\r\n12,Anna\r\n26000002,Bo\r\n")
        assert delivery.state is State.COMPLETED
        assert [(lead["phone"], lead["status"]) for lead in station.leads()] == [
            ("12", "invalid_phone_number"),
            ("+4526000002", "unprocessed"),
        ]
        station.check_balance(delivery)

    def test_an_update_changes_the_lead_and_counts_as_such(self, station: Station) -> None:
        station.change_campaign(on_duplicate="update")
        first = station.deliver(b"Phone,Name,Comments,Leverand\xc3\xb8r\r\n26000001,Anna,old,A\r\n26000002,Bo,,\r\n")
        second = station.deliver(
            b"Phone,Name,Comments,Forbrug,Owner code\r\n26000001,,new,5,DK-AAR\r\n26000002,Bo,,,\r\n26000003,C,,,\r\n",
            name="second.csv",
        )
        assert (second.state, second.counts) == (
            State.COMPLETED,
            Counts(records=3, inserted=1, updated=1, unchanged=1),
        )
        station.check_balance(second)
        anna, bo = station.leads(first)
        assert (anna["full_name"], anna["comments"], anna["extra"]) == (
            "Anna",
            "new",
            '{"supplier":"A","consumption_kwh":5}',
        )
        assert anna["owner_id"] == station.owner("team:denmark")  # an update moves no lead
        assert (bo["full_name"], bo["pool_id"]) == ("Bo", first.pool_id)
        assert [row["lead_id"] for row in station.rows(second)][:2] == [str(anna["id"]), str(bo["id"])]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """One SQLite station for thousands of files."""
    home = tmp_path_factory.mktemp("quick")
    engine = open_engine(databases.embedded(home, organised=True))
    yield Station.at(engine, home)
    engine.dispose()


def _travelled(station: Station, data: bytes, number: list[int], **arrival: str) -> Delivery:
    number[0] += 1
    delivery = station.deliver(data, name=f"{number[0]}.csv", **arrival)
    station.check_balance(delivery)
    assert "\0" not in delivery.reason + delivery.suggestion  # PostgreSQL takes none
    for lead in station.leads(delivery) if delivery.pool_id else []:
        assert "\0" not in "".join(value for value in lead.values() if isinstance(value, str))
    rejected = station.download(delivery, "rejected")
    assert bool(rejected) == bool(delivery.counts.rejected)
    return delivery


COUNTER = [0]
QUICKLY = settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@QUICKLY
@given(st.binary(max_size=300))
def test_any_bytes_come_to_an_end(quick: Station, data: bytes) -> None:
    _travelled(quick, data, COUNTER)


PHONES = st.one_of(
    st.integers(26_000_000, 26_000_040).map(str),
    st.integers(26_000_000, 26_999_999).map("+45{}".format),
    st.text(max_size=9),
)
CELLS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [
            "",
            '"',
            '""',
            "a\nb",
            '"x',
            "DK-CPH",
            "dk-cph ",
            "=1+1",
            "2026-01-31",
            "0000-01-01 10:00",
            "\0",
            "5",
            "DK",
            "\ufeff",
        ]
    ),
)
HEADERS = (
    "Phone",
    "Name",
    "Owner code",
    "Scheduled time",
    "Date of birth",
    "Priority",
    "Country",
    "Supplier",
    "kWh",
    "^x$",
)


@st.composite
def nearly_tables(draw: st.DrawFn) -> bytes:
    """A valid header, and below it records that are mostly whole, joined by whatever a program might write."""
    header = ["Phone", *draw(st.lists(st.sampled_from(HEADERS[1:]), max_size=4, unique=True))]
    lines = [header]
    for _ in range(draw(st.integers(1, 6))):
        width = len(header) + draw(st.sampled_from([0, 0, 0, 0, 0, -1, 1]))
        lines.append([draw(PHONES), *(draw(CELLS) for _ in range(width - 1))])
    separator = draw(st.sampled_from([",", ",", ";", "\t", "|"]))
    quoted = draw(st.booleans())

    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if quoted and draw(st.integers(0, 9)) else text

    newline = draw(st.sampled_from(["\r\n", "\n", "\r"]))
    text = newline.join(separator.join(map(cell, line)) for line in lines) + draw(st.sampled_from([newline, ""]))
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252"]))
    return text.encode(encoding, "replace")


@settings(QUICKLY, max_examples=120)
@given(
    nearly_tables(),
    st.sampled_from(["nordlead", "stadtwerk", "fibreweb"]),
    st.sampled_from(["reject", "update", "keep"]),
    st.booleans(),
)
def test_any_near_table_comes_to_an_end(quick: Station, data: bytes, source: str, rule: str, closes: bool) -> None:
    ends = "close" if closes else "reject"
    for code in ("DK-ENERGY", "DE-ENERGY", "DK-FIBRE"):
        quick.change_campaign(code, on_duplicate=rule, on_invalid_phone=ends, on_do_not_call=ends)
    quick.change_source(limits={})
    _travelled(quick, data, COUNTER, source=source)


@settings(QUICKLY, max_examples=40)
@given(st.binary(max_size=40), st.integers(0, 400), st.integers(0, 3))
def test_a_sample_with_a_few_bytes_gone_wrong_comes_to_an_end(quick: Station, junk: bytes, at: int, cut: int) -> None:
    data = samples.clean(4)
    place = at * len(data) // 400
    _travelled(quick, data[:place] + junk + data[place + cut :], COUNTER)
