"""Import by HTTP: files in the body of a request, from the first byte to loaded leads."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ingestd import samples
from ingestd import settings as configuration
from ingestd.access import keys
from ingestd.access.permissions import Permission
from ingestd.house import House
from ingestd.store import organisation
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import open_engine, writing
from ingestd.store.ledger import now
from ingestd.worker import publisher_of, road_of
from tests.conftest import Postgres
from tests.databases import ROOT
from tests.running import Daemon, until
from tests.web.api.importing import left_files, sending
from tests.web.serving import Api, Client, serving

CLEAN = samples.clean(40)


def test_a_file_is_received_queued_and_loaded(home: House, program: Client, rung: list[str]) -> None:
    answer = program.ask("POST", "imports?source=nordlead&name=a.csv", CLEAN, Content_Type="text/csv")
    assert answer.status == 202, answer.body
    assert answer.headers["location"] == "/api/v1/deliveries/1"
    assert answer.headers["retry-after"] == "1"
    told = answer.json()
    assert (told["state"], told["protocol"], told["bytes"]) == ("queued", "http", len(CLEAN))
    assert (told["completeness"], told["completeness_evidence"]) == ("proven", "content-length")
    assert rung == ["!"]
    assert home.dispatcher.health()["ready"] == 1
    road_of(home).travel(1)
    loaded = program.get(answer.headers["location"])
    assert (loaded["state"], loaded["counts"]["inserted"]) == ("completed", 40)


def test_the_campaign_is_the_folder_of_the_delivery(program: Client) -> None:
    path = "imports?source=nordlead&name=a.csv"
    assert program.do("POST", f"{path}&campaign=DK-ENERGY", CLEAN)["folder"] == "DK-ENERGY"
    assert program.refused("POST", f"{path}&campaign=../x", CLEAN) == (422, "campaign_unknown")


def test_a_body_may_come_in_chunks(program: Client, door: Api) -> None:
    with sending(door, program, "Transfer-Encoding: chunked") as sender:
        sender.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(CLEAN), CLEAN))
        assert sender.recv(200).startswith(b"HTTP/1.1 202")
    assert program.get("deliveries/1")["completeness_evidence"] == "last chunk"


def test_the_same_file_again_is_a_duplicate_and_its_bytes_are_not_kept(home: House, program: Client) -> None:
    first, again = (program.do("POST", "imports?source=nordlead&name=a.csv", CLEAN) for _ in range(2))
    assert (again["state"], again["duplicate_of"]) == ("duplicate", first["id"])
    assert len(left_files(home)) == 1


def test_who_may_not_is_told_before_a_byte_is_read(door: Api) -> None:
    length = "Content-Length: 500000"
    bound = door.key(Permission.LEAD_POOLS, source="stadtwerk")
    for client, status in ((door.anybody(), b"401"), (door.user("berlin-1"), b"403"), (bound, b"403")):
        with sending(door, client, length) as sender:
            assert sender.recv(200).startswith(b"HTTP/1.1 " + status)


def test_a_bound_key_imports_into_its_source_and_no_other(door: Api) -> None:
    bound = door.key(Permission.LEAD_POOLS, source="nordlead")
    assert bound.do("POST", "imports?source=nordlead&name=a.csv", CLEAN)["source"] == "nordlead"
    assert bound.refused("POST", "imports?source=stadtwerk&name=a.csv", CLEAN) == (403, "key_bound")
    assert bound.refused("POST", "imports?source=nothing&name=a.csv", CLEAN) == (403, "key_bound")


def test_what_cannot_be_imported_is_refused_before_it_comes(home: House, program: Client) -> None:
    assert program.refused("POST", "imports?source=nothing&name=a.csv", CLEAN) == (404, "source_unknown")
    assert program.refused("POST", "imports?source=nordlead", CLEAN) == (422, "request_unusable")
    for name in ("a%2Fb.csv", "..", "a%0A.csv", "x" * 200, "a.csv.sha256"):
        assert program.refused("POST", f"imports?source=nordlead&name={name}", CLEAN) == (422, "name_unusable")
    assert left_files(home) == []


def test_a_file_that_is_too_large_is_refused_while_it_arrives(door: Api, home: House, program: Client) -> None:
    with sending(door, program, f"Content-Length: {2**40}") as sender:
        assert sender.recv(200).startswith(b"HTTP/1.1 413")
    piece = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    with sending(door, program, "Transfer-Encoding: chunked") as sender:  # of no told length, and without an end
        sender.sendall(piece * 36)
        assert sender.recv(200).startswith(b"HTTP/1.1 413")
    until(lambda: left_files(home) == [], "the partial file to be removed")


def test_a_sender_who_goes_away_leaves_nothing(door: Api, home: House, program: Client) -> None:
    with sending(door, program, "Content-Length: 3000000") as sender:
        sender.sendall(b"x" * 1_000_000)
        until(lambda: left_files(home) != [], "the file to be opened")
    until(lambda: left_files(home) == [], "the partial file to be removed")
    assert program.get("deliveries")["items"] == []


def test_a_full_disk_is_ours_and_tried_again(
    door: Api, home: House, program: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door.desk.spool, "_reserve", 2**62)
    answer = program.ask("POST", "imports?source=nordlead&name=a.csv", CLEAN)
    assert (answer.status, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "5"
    assert left_files(home) == []


def test_what_waits_can_be_cancelled_and_is_not_loaded(home: House, program: Client) -> None:
    program.do("POST", "imports?source=nordlead&name=a.csv", CLEAN)
    cancelled = program.do("POST", "deliveries/1/cancel")
    assert (cancelled["state"], cancelled["reason"]["code"]) == ("cancelled", "cancelled")
    road_of(home).travel(1)
    assert program.get("deliveries/1")["state"] == "cancelled"
    assert program.refused("POST", "deliveries/1/cancel") == (409, "not_cancellable")
    publisher_of(home).sweep()
    # The same file is no duplicate of one that will not be loaded.
    assert program.do("POST", "imports?source=nordlead&name=a.csv", CLEAN)["state"] == "queued"
    road_of(home).travel(2)
    assert program.refused("POST", "deliveries/2/cancel") == (409, "not_cancellable")
    assert program.refused("POST", "deliveries/1/retry") == (409, "loaded_since")


def test_a_cancelled_file_can_be_queued_again(home: House, program: Client) -> None:
    program.do("POST", "imports?source=nordlead&name=a.csv", CLEAN)
    program.do("POST", "deliveries/1/cancel")
    assert program.do("POST", "deliveries/1/retry")["state"] == "queued"
    road_of(home).travel(1)
    assert program.get("deliveries/1")["counts"]["inserted"] == 40


def test_a_partner_cancels_nothing_of_another_source(door: Api, program: Client) -> None:
    program.do("POST", "imports?source=nordlead&name=a.csv", CLEAN)
    bound = door.key(Permission.LEAD_POOLS, source="stadtwerk")
    assert bound.refused("POST", "deliveries/1/cancel") == (404, "delivery_unknown")


def test_a_daemon_loads_what_comes_by_http(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        with writing(daemon.house().engine) as connection:
            deed = Deed(actor=COMMAND_LINE, at=now())
            issued = keys.issue(connection, deed, "test", [Permission.LEAD_POOLS], source="nordlead")
        partner = Client(port=daemon.doors["http"]["port"], headers={"Authorization": f"Bearer {issued.secret}"})
        sent = partner.ask("POST", "imports?source=nordlead&name=a.csv", CLEAN)
        assert sent.status == 202, sent.body
        path = sent.headers["location"]
        until(lambda: partner.get(path)["state"] == "completed", "the file to be loaded")
        assert partner.get(path)["counts"]["inserted"] == 40
        assert daemon.events("http_landed")[0]["receipt"].startswith("delivery 1 received")


def test_a_job_that_was_left_by_a_cancelled_delivery_serves_its_retry(organised: Engine, tmp_path: Path) -> None:
    with serving(organised, tmp_path) as running:
        program = running.key(Permission.LEAD_POOLS)
        number = program.do("POST", "imports?source=nordlead&name=a.csv", CLEAN)["id"]
        program.do("POST", f"deliveries/{number}/cancel")
        assert program.do("POST", f"deliveries/{number}/retry")["state"] == "queued"
        assert program.get("queue")["ready"] == 1


def test_a_body_that_stalls_is_broken_off_and_leaves_nothing(door: Api, home: House, program: Client) -> None:
    door.desk.body_seconds = 0.3
    with sending(door, program, "Content-Length: 3000000") as sender:
        sender.sendall(b"x" * 1_000_000)
        answer = sender.recv(2000)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"body_stalled" in answer or b"body_stalled" in sender.recv(2000)
    until(lambda: left_files(home) == [], "the partial file to be removed")
    assert program.get("deliveries")["items"] == []


def test_json_that_stalls_is_broken_off_too(door: Api, program: Client) -> None:
    door.desk.body_seconds = 0.3
    head = ["POST /api/v1/imports/leads HTTP/1.1", "Host: x", "Content-Length: 99", "Content-Type: application/json"]
    head += [f"{name}: {value}" for name, value in program.headers.items()]
    with socket.create_connection(("127.0.0.1", door.port), timeout=10) as sender:
        sender.sendall("\r\n".join([*head, "", "{"]).encode())
        assert sender.recv(200).startswith(b"HTTP/1.1 408")


def test_cancelling_and_retrying_are_in_the_audit(home: House, door: Api, program: Client) -> None:
    program.do("POST", "imports?source=nordlead&name=a.csv", CLEAN)
    program.do("POST", "deliveries/1/cancel?why=wrong+list")
    program.do("POST", "deliveries/1/retry")
    retried, cancelled = door.user("admin").get("audit?subject=delivery:1")["items"]
    assert (cancelled["action"], cancelled["why"]) == ("delivery_cancelled", "wrong list")
    assert (cancelled["before"], cancelled["after"]) == ({"state": "queued"}, {"state": "cancelled"})
    assert (retried["action"], retried["after"]) == ("delivery_retried", {"state": "queued"})
    assert cancelled["actor"].startswith("key:")


def test_a_dead_letter_can_be_retried(home: House, program: Client) -> None:
    program.do("POST", "imports?source=nordlead&name=a.csv", CLEAN)
    for _ in range(2):
        home.ledger.begin(1, max_attempts=1)  # a worker that dies without a word, and the next one
    told = program.get("deliveries/1")
    assert (told["state"], told["reason"]["code"]) == ("failed", "gave_up")
    assert program.do("POST", "deliveries/1/retry")["state"] == "queued"
    road_of(home).travel(1)
    assert program.get("deliveries/1")["state"] == "completed"


def test_a_store_that_is_away_is_503_and_nothing_is_kept(postgres: Postgres, migrated: str, tmp_path: Path) -> None:
    engine = open_engine(postgres.new_database(migrated))
    with writing(engine) as connection:
        organisation.apply(connection, configuration.read(ROOT / "config"), now())
    with serving(engine, tmp_path) as api:
        program = api.key(Permission.LEAD_POOLS)
        path = "imports?source=nordlead&name=a.csv"
        with sending(api, program, f"Content-Length: {len(CLEAN)}") as sender:
            sender.sendall(CLEAN[:100])
            until(lambda: any((tmp_path / "spool" / "tmp").iterdir()), "the file to be opened")
            postgres.stop()
            try:
                sender.sendall(CLEAN[100:])
                answer = sender.recv(2000)
                assert answer.startswith(b"HTTP/1.1 503")
                assert b"retry-after: 5" in answer.lower()
                refused = program.ask("POST", path, CLEAN)
                assert (refused.status, refused.headers["retry-after"]) == (503, "5")
            finally:
                postgres.resume()
        again = until(lambda: (sent := program.ask("POST", path, CLEAN)).status == 202 and sent, "the store to be back")
        assert again.json()["id"] == 1
        assert len(program.get("deliveries")["items"]) == 1
    engine.dispose()
