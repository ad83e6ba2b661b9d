"""`Idempotency-Key`: whatever comes again, at the same time or later, is done once."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from ingestd import samples
from ingestd.access.permissions import Permission
from ingestd.errors import Unavailable
from ingestd.house import House
from ingestd.store import idempotency
from ingestd.store.engine import reading, writing
from ingestd.store.import_tables import idempotency_keys
from ingestd.store.ledger import now
from ingestd.worker import Clockwork, road_of
from tests.web.api.importing import left_files, sending
from tests.web.serving import Answer, Api, Client, serving

CLEAN = samples.clean(20)
PATH = "imports?source=nordlead&name=a.csv"


def post(client: Client, key: str = "k-1", path: str = PATH, body: Any = CLEAN) -> Answer:
    return client.ask("POST", path, body, Idempotency_Key=key)


def test_the_same_request_again_gets_the_same_answer(home: House, program: Client) -> None:
    first = post(program)
    road_of(home).travel(1)
    again = post(program)
    assert (first.status, again.status) == (202, 202)
    assert first.headers["location"] == again.headers["location"] == "/api/v1/deliveries/1"
    assert again.json()["state"] == "completed"  # the delivery as it is by now
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert len(program.get("deliveries")["items"]) == 1
    assert len(left_files(home)) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PATH, CLEAN + b"\n"),
        ("imports?source=nordlead&name=b.csv", CLEAN),
        ("imports?source=stadtwerk&name=a.csv", CLEAN),
        (f"{PATH}&owner=team:aarhus", CLEAN),
    ],
)
def test_another_request_with_the_key_is_refused(home: House, program: Client, path: str, body: bytes) -> None:
    post(program)
    assert program.refused("POST", path, body, Idempotency_Key="k-1") == (422, "idempotency_key_reused")
    assert len(program.get("deliveries")["items"]) == 1
    assert len(left_files(home)) == 1


def test_the_order_of_the_query_is_no_other_request(program: Client) -> None:
    post(program)
    assert post(program, path="imports?name=a.csv&source=nordlead").json()["id"] == 1


def test_keys_are_each_callers_own(door: Api, program: Client) -> None:
    other = door.key(Permission.LEAD_POOLS)
    assert post(program).json()["id"] == 1
    assert post(other, body=samples.clean(21)).json()["id"] == 2
    assert post(door.user("admin"), path="imports?source=nordlead&name=c.csv").json()["id"] == 3


def test_what_was_refused_may_be_sent_again_with_the_key(program: Client) -> None:
    assert post(program, path="imports?source=nordlead&name=a.csv&owner=team:nobody").status == 422
    assert post(program).status == 202


def test_an_unusable_key_is_refused(program: Client) -> None:
    assert program.refused("POST", PATH, CLEAN, Idempotency_Key="x" * 256) == (422, "request_unusable")
    assert program.refused("POST", PATH, CLEAN, Idempotency_Key="a b") == (422, "request_unusable")


def test_while_a_request_is_in_flight_the_same_one_is_told_to_wait(door: Api, program: Client) -> None:
    named = Client(port=program.port, headers={**program.headers, "Idempotency-Key": "k-1"})
    with sending(door, named, f"Content-Length: {len(CLEAN)}") as sender:
        sender.sendall(CLEAN[:100])
        while not door.desk.in_flight:
            pass
        answer = post(program)
        assert (answer.status, answer.json()["code"]) == (409, "idempotency_key_in_flight")
        assert answer.headers["retry-after"] == "1"
        sender.sendall(CLEAN[100:])
        assert sender.recv(200).startswith(b"HTTP/1.1 202")
    assert post(program).json()["id"] == 1


def test_twenty_at_once_make_one_delivery(organised: Engine, tmp_path: Path) -> None:
    with serving(organised, tmp_path) as api:
        program = api.key(Permission.LEAD_POOLS)
        answers: list[Answer] = []
        threads = [threading.Thread(target=lambda: answers.append(post(program))) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {answer.status for answer in answers} <= {202, 409}
        assert {answer.json()["id"] for answer in answers if answer.status == 202} == {1}
        assert {answer.json()["code"] for answer in answers if answer.status == 409} <= {"idempotency_key_in_flight"}
        assert len(program.get("deliveries")["items"]) == 1


def test_two_nodes_that_deal_with_the_same_request_make_one_delivery(
    organised: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither process knows of the other's request: the store tells the slower one."""
    with serving(organised, tmp_path / "a") as one, serving(organised, tmp_path / "b") as other:
        program = one.key(Permission.LEAD_POOLS)
        elsewhere = Client(port=other.port, headers=program.headers)
        original = other.desk.landing.accept

        def late(*given: Any) -> Any:
            post(program)
            return original(*given)

        monkeypatch.setattr(other.desk.landing, "accept", late)
        answer = post(elsewhere)
        assert (answer.status, answer.json()["code"]) == (409, "idempotency_key_in_flight")
        assert post(elsewhere).json()["id"] == 1
        assert len(program.get("deliveries")["items"]) == 1
        assert left_files_below(tmp_path / "b" / "spool") == []


def left_files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_lost_answer_leaves_one_delivery_and_a_lost_commit_none(
    door: Api, program: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = door.desk.landing._ledger.record

    def lost(*given: Any, **facts: Any) -> Any:
        record(*given, **facts)
        raise Unavailable("the connection broke after COMMIT was sent")

    with monkeypatch.context() as broken:
        broken.setattr(type(door.desk.ledger), "record", lambda _self, *given, **facts: lost(*given, **facts))
        assert post(program).status == 503
    assert post(program).json()["id"] == 1

    def fails(*_: Any, **__: Any) -> None:
        raise Unavailable("away")

    with monkeypatch.context() as broken:
        broken.setattr(idempotency, "keep", fails)
        assert post(program, key="k-2", path="imports?source=nordlead&name=b.csv").status == 503
    assert len(program.get("deliveries")["items"]) == 1
    assert door.desk.in_flight == {}


def test_a_key_is_kept_for_a_day_and_then_forgotten(door: Api, program: Client, home: House) -> None:
    post(program)
    soon, later = now() + timedelta(hours=23), now() + timedelta(hours=25)
    with writing(home.engine) as connection:
        assert idempotency.sweep(connection, soon) == 0
    door.desk.clock = lambda: later
    again = post(program, body=samples.clean(22))
    assert (again.status, again.json()["id"]) == (202, 2)
    with writing(home.engine) as connection:
        assert idempotency.sweep(connection, later + timedelta(hours=25)) == 1


def test_the_worker_forgets_keys(home: House, program: Client, door: Api) -> None:
    door.desk.answers_last = timedelta(0)
    post(program)
    Clockwork(engine=home.engine).sweep()
    with reading(home.engine) as connection:
        assert connection.scalar(select(func.count()).select_from(idempotency_keys)) == 0


def test_forms_and_batches_have_keys_too(program: Client) -> None:
    batch = {"source": "nordlead", "leads": [{"phone": "+4526123456"}]}
    first, again = (post(program, path="imports/leads", body=batch) for _ in range(2))
    assert first.json()["id"] == again.json()["id"] == 1
    assert again.headers["idempotent-replayed"] == "true"
    other = {**batch, "owner": "team:aarhus"}
    assert program.refused("POST", "imports/leads", other, Idempotency_Key="k-1") == (422, "idempotency_key_reused")
