"""The downloads of a delivery that travelled the whole road."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from ingestd import samples
from ingestd.errors import Rejected
from ingestd.ingest import poollog
from ingestd.model import State
from tests.ingest.conftest import Station

HEAD = b"Phone,Name,Owner code\r\n"
BAD = [b"x,Anna,DK\r\n", b'26000002,"B\xc3\xb6 ""B"", senior",DK-CHP\r\n', b"26000003,one,two,three\r\n"]
GOOD = [b"26000004,Dorte,DK\r\n", b"26000005,=1+1,dk-cph\r\n"]


def test_the_rejected_records_mended_and_sent_again_load(station: Station) -> None:
    station.change_source(limits={})
    first = station.deliver(HEAD + BAD[0] + GOOD[0] + BAD[1] + BAD[2] + GOOD[1])
    assert (first.counts.inserted, first.counts.rejected) == (2, 3)
    rejected = station.download(first, "rejected")
    assert rejected == HEAD + b"".join(BAD)
    mended = rejected.replace(b"x,Anna", b"26000001,Anna").replace(b"DK-CHP", b"DK-CPH").replace(b"two,three", b"DK")
    second = station.deliver(mended, name="leads.csv.rejected.csv")
    assert (second.state, second.counts.inserted) == (State.COMPLETED, 3)
    assert [lead["full_name"] for lead in station.leads(second)] == ["Anna", 'Bö "B", senior', "one"]


@pytest.mark.parametrize(
    ("encoding", "mark"), [("utf-16-le", b"\xff\xfe"), ("utf-8", b"\xef\xbb\xbf"), ("cp1252", b"")]
)
def test_a_rejected_file_of_any_encoding_can_be_sent_again(station: Station, encoding: str, mark: bytes) -> None:
    station.change_source(limits={})
    text = "Telefon;Navn\r\nx;Søren Åse\r\n26000001;Bo\r\ny;Käthe\r\n"
    first = station.deliver(mark + text.encode(encoding))
    rejected = station.download(first, "rejected")
    assert rejected == mark + text.replace("26000001;Bo\r\n", "").encode(encoding)
    mended = rejected.replace("x;".encode(encoding), "26000002;".encode(encoding))
    second = station.deliver(mended.replace("y;".encode(encoding), "26000003;".encode(encoding)), name="again.csv")
    assert second.state is State.COMPLETED
    assert [lead["full_name"] for lead in station.leads(second)] == ["Søren Åse", "Käthe"]


def test_the_rejected_rows_of_a_workbook_come_back_as_csv(station: Station) -> None:
    data = samples.workbook(3)
    station.change_source("fibreweb", same_content="load")
    station.deliver(data, source="fibreweb", name="first.xlsx")
    station.change_campaign("DK-FIBRE", on_duplicate="reject", region="SE")
    second = station.deliver(data, source="fibreweb", name="second.xlsx")
    rejected = station.download(second, "rejected").decode()
    assert rejected.startswith("\ufeffNavn,Mobil,E-mail,")
    assert rejected.count("\r\n") == 1 + second.counts.rejected


def test_a_log_disarms_formulas_and_the_rejected_file_does_not(station: Station) -> None:
    station.change_source(limits={})
    data = b"Phone,Name,Owner code\r\n=1+1,=cmd,DK\r\n26000001,=name,@DK\r\n26000002,x,DK\r\n"
    delivery = station.deliver(data)
    first, second, third = station.rows(delivery)
    assert first["phone_as_read"] == "'=1+1"
    assert second["ownership_code"] == "'@DK"
    assert (third["phone"], third["phone_as_read"]) == ("+4526000002", "26000002")
    assert b"\r\n=1+1,=cmd,DK\r\n26000001,=name,@DK\r\n" in station.download(delivery, "rejected")


def test_the_full_log_names_owner_and_phone_of_every_record_that_was_read(station: Station) -> None:
    station.change_source(limits={})
    delivery = station.deliver(HEAD + GOOD[0] + BAD[2] + BAD[0] + GOOD[1])
    rows = station.rows(delivery)
    assert [(row["owner_kind"], row["owner"], row["ownership_code"]) for row in rows] == [
        ("team", "denmark", "DK"),
        ("", "", ""),  # could not be read
        ("team", "denmark", "DK"),
        ("team", "copenhagen", "dk-cph"),
    ]
    assert [(row["phone_as_read"], row["phone"]) for row in rows] == [
        ("26000004", "+4526000004"),
        ("", ""),
        ("x", ""),
        ("26000005", "+4526000005"),
    ]


def test_the_summary_has_all_that_the_log_must_know(station: Station) -> None:
    data = HEAD + GOOD[0] + b"26000009 , Ejner,\r\n"
    earlier = station.deliver(HEAD + GOOD[1], name="leads.csv", folder="DK-ENERGY")
    delivery = station.deliver(data, name="leads.csv", folder="DK-ENERGY")
    summary = station.summary(delivery)
    told = {
        "delivery": delivery.id,
        "epoch": 1,
        "source": "nordlead",
        "login": "nordlead",
        "peer": "192.0.2.1",
        "protocol": "ftp",
        "name": "leads.csv",
        "folder": "DK-ENERGY",
        "size_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "completeness": "proven",
        "completeness_evidence": "told by the test",
        "previous_version": earlier.id,
        "campaign": "DK-ENERGY",
        "mapping": {"phone": "Phone", "full_name": "Name", "ownership_code": "Owner code"},
        "mapping_version": "",
        "ignored_columns": [],
        "trimmed_cells": {"Phone": 1, "Name": 1},
        "organisation_version": 1,
        "state": "completed",
        "pool": delivery.pool_id,
        "errors": [],
    }
    assert {name: summary[name] for name in told} == told
    text = {
        "encoding": "utf-8",
        "fallback": False,
        "delimiter": ",",
        "quote": '"',
        "newline": "\r\n",
        "header_line": 1,
        "preamble_lines": 0,
    }
    assert {name: summary["text"][name] for name in text} == text
    assert summary["counts"]["inserted"] == 2
    assert len(summary["schema_version"]) == 12
    times = [summary[name] for name in ("received_at", "queued_at", "started_at", "committed_at")]
    assert times == sorted(times)
    assert summary["stage_seconds"].keys() >= {"read", "map", "validate", "resolve", "screen"}


def test_the_mapping_of_the_source_has_its_version_in_the_summary(station: Station) -> None:
    delivery = station.deliver(samples.german(2), source="stadtwerk", name="Kunden.csv")
    summary = station.summary(delivery)
    assert len(summary["mapping_version"]) == 12
    assert summary["mapping"]["ownership_code"] == "Kürzel"
    assert (summary["text"]["encoding"], summary["text"]["delimiter"]) == ("cp1252", ";")


def test_the_original_is_what_came(station: Station) -> None:
    data = HEAD + b"".join(GOOD)
    assert station.download(station.deliver(data), "original") == data


def test_before_its_end_a_delivery_has_its_original_only(station: Station) -> None:
    data = HEAD + b"".join(GOOD)
    waiting = station.known(station.land(data))
    assert station.download(waiting, "original") == data
    for kind in set(poollog.KINDS) - {"original"}:
        with pytest.raises(Rejected, match="is queued; it has no log") as caught:
            station.download(waiting, kind)
        assert caught.value.suggestion == "wait until the delivery has ended"


def test_what_was_refused_at_the_door_tells_its_reason_in_place_of_a_log(station: Station) -> None:
    waiting = station.known(station.land(HEAD + b"".join(GOOD)))
    why = {"reason_code": "digest_mismatch", "reason": "it has another sha256", "suggestion": "send it again"}
    refused = dataclasses.replace(waiting, state=State.REFUSED, **why)
    with pytest.raises(Rejected, match="is refused: it has another sha256; it has no log") as caught:
        station.download(refused, "full")
    assert caught.value.suggestion == "send it again"


def test_a_duplicate_has_nothing_of_its_own_and_names_the_first(station: Station) -> None:
    data = HEAD + b"".join(GOOD)
    first, again = station.deliver(data), station.deliver(data)
    for kind in poollog.KINDS:
        with pytest.raises(Rejected, match="is duplicate") as caught:
            station.download(again, kind)
        assert caught.value.suggestion == f"take that of delivery {first.id}"
