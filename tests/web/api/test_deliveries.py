"""Deliveries, pools and logs over the API, of a home that has loaded files."""

from __future__ import annotations

import csv
import hashlib
import http.client
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert

from ingestd import foreground, samples
from ingestd.access.permissions import Permission
from ingestd.house import House, open_house
from ingestd.model import State
from ingestd.preparing import prepare_store
from ingestd.printing import progress
from ingestd.store.engine import writing
from ingestd.store.lead_tables import erasures
from ingestd.web.api.logs import asked_range, cut_out
from ingestd.webserver import desk_of
from tests.running import example_config, order_of
from tests.web.serving import Api, Client, serving_at

CLEAN = samples.clean(40)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A home with a loaded file, one with rejects, a refused one, a duplicate, and one of another source."""
    folder = tmp_path_factory.mktemp("deliveries")
    house = open_house(example_config(folder), folder / "home")
    prepare_store(house)
    sent = [
        ("clean.csv", "nordlead", CLEAN),
        ("dirty.csv", "fibreweb", samples.dirty()),
        ("picture.csv", "nordlead", samples.picture()),
        ("clean.csv", "nordlead", CLEAN),
        ("german.csv", "stadtwerk", samples.german(5)),
    ]
    for name, source, content in sent:
        (folder / name).write_bytes(content)
        with progress() as shown:
            foreground.import_file(house, order_of(folder / name, source), shown)
    yield house
    house.engine.dispose()


@pytest.fixture(scope="module")
def api(home: House) -> Iterator[Api]:
    with serving_at(desk_of(home), home.places.run) as running:
        yield running


@pytest.fixture(scope="module")
def program(api: Api) -> Client:
    return api.key(Permission.LEAD_POOLS)


def test_deliveries_are_listed_newest_first_page_by_page(program: Client) -> None:
    first = program.get("deliveries?limit=3")
    second = program.get(f"deliveries?limit=3&cursor={first['next']}")
    assert [each["id"] for each in (*first["items"], *second["items"])] == [5, 4, 3, 2, 1]
    assert second["next"] is None
    assert first["items"][1]["state"] == "duplicate"
    assert first["items"][1]["duplicate_of"] == 1
    assert first["items"][2]["reason"]["code"]
    whole = second["items"][1]
    assert (whole["file"], whole["bytes"], whole["counts"]["inserted"]) == ("clean.csv", len(CLEAN), 40)
    assert whole == program.get("deliveries/1")


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("source=stadtwerk", [5]),
        ("state=refused&state=duplicate", [4, 3]),
        ("name=clean.csv&state=completed", [1]),
        ("source=nowhere", []),
    ],
)
def test_deliveries_are_filtered(program: Client, query: str, numbers: list[int]) -> None:
    assert [each["id"] for each in program.get(f"deliveries?{query}")["items"]] == numbers


@pytest.mark.parametrize("cursor", ["x", "!", "WyJhIl0", "W10", "WzEuNV0", "Wy0xXQ", "WzFlOTld"])
def test_a_cursor_that_was_never_given_is_refused(program: Client, cursor: str) -> None:
    assert program.refused("GET", f"deliveries?cursor={cursor}") == (422, "cursor_unusable")


def test_what_is_asked_wrongly_is_said(program: Client) -> None:
    assert program.refused("GET", "deliveries?limit=201") == (422, "request_unusable")
    assert program.refused("GET", "deliveries?state=nothing") == (422, "request_unusable")
    assert program.refused("GET", "deliveries/99") == (404, "delivery_unknown")
    assert program.refused("GET", f"deliveries/{2**63}") == (422, "request_unusable")
    assert program.refused("GET", "pools/99") == (404, "pool_unknown")


def test_pools_are_listed_with_their_totals(program: Client) -> None:
    found = program.get("pools")["items"]
    assert [(each["name"], each["campaign"]) for each in found] == [
        ("german.csv", "DE-ENERGY"), ("dirty.csv", "DK-FIBRE"), ("clean.csv", "DK-ENERGY"),
    ]  # fmt: skip
    pool = program.get(f"pools/{found[2]['id']}")
    assert (pool["total"], pool["ready_to_dial"], pool["state"]) == (40, 40, "Active")
    assert sum(owner["leads"] for owner in pool["owners"]) == 40
    assert [each["name"] for each in program.get("pools?campaign=DE-ENERGY")["items"]] == ["german.csv"]
    page = program.get("pools?limit=2")
    assert [each["name"] for each in program.get(f"pools?cursor={page['next']}")["items"]] == ["clean.csv"]


def test_a_partner_s_key_sees_what_is_of_its_source(api: Api) -> None:
    partner = api.key(Permission.LEAD_POOLS, source="stadtwerk")
    assert [each["id"] for each in partner.get("deliveries")["items"]] == [5]
    assert partner.get("deliveries?source=nordlead")["items"] == []
    assert [each["name"] for each in partner.get("pools")["items"]] == ["german.csv"]
    pool = partner.get("pools")["items"][0]["id"]
    assert partner.ask("GET", f"pools/{pool}/log.csv").status == 200
    for path in ("deliveries/1", "deliveries/1/log.csv", "pools/1", "pools/1/original"):
        assert partner.refused("GET", path)[0] == 404
    assert partner.refused("POST", "deliveries/3/retry") == (404, "delivery_unknown")


def test_logs_are_downloaded(program: Client) -> None:
    log = program.ask("GET", "deliveries/2/log.csv")
    assert log.headers["content-type"] == "text/csv; charset=utf-8"
    assert log.headers["content-disposition"] == 'attachment; filename="delivery-2-log.csv"'
    rows = list(csv.DictReader(io.StringIO(log.body.decode())))
    counts = program.get("deliveries/2")["counts"]
    assert len(rows) == counts["records"]
    assert sum(row["outcome"] == "rejected" for row in rows) == counts["rejected"] > 0
    errors = list(csv.DictReader(io.StringIO(program.ask("GET", "deliveries/2/errors.csv").body.decode())))
    assert {row["row"] for row in errors} >= {row["row"] for row in rows if row["outcome"] == "rejected"}
    rejected = program.ask("GET", "deliveries/2/rejected.csv").body.splitlines()
    assert len(rejected) > counts["rejected"]
    assert set(rejected) <= set(samples.dirty().splitlines())
    assert program.get("deliveries/2/summary")["counts"] == counts
    pool = program.get("deliveries/2")["lead_pool"]
    assert program.ask("GET", f"pools/{pool}/log.csv").body == log.body


def test_what_there_is_no_log_of_is_said(program: Client) -> None:
    assert program.refused("GET", "deliveries/4/log.csv") == (409, "no_log")
    assert program.refused("GET", "deliveries/4/original") == (409, "no_original")
    assert program.refused("GET", "deliveries/1/secrets") == (404, "")
    wrong = program.ask("GET", "deliveries/1/retry")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")


def test_what_one_has_already_is_not_sent_again(program: Client) -> None:
    for kind in ("log.csv", "original", "summary"):
        tag = program.ask("GET", f"deliveries/1/{kind}").headers["etag"]
        again = program.ask("GET", f"deliveries/1/{kind}", If_None_Match=f'"other", W/{tag}')
        assert (again.status, again.body) == (304, b"")
        assert program.ask("GET", f"deliveries/1/{kind}", If_None_Match="*").status == 304


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-9", 206, CLEAN[:10]),
        ("bytes=100-", 206, CLEAN[100:]),
        ("bytes=-7", 206, CLEAN[-7:]),
        ("bytes=5-99999999", 206, CLEAN[5:]),
        ("bytes=99999999-", 416, b""),
        ("bytes=-0", 416, b""),
        ("bytes=9-1", 200, CLEAN),
        ("bytes=0-1,5-6", 200, CLEAN),
        ("lines=1-2", 200, CLEAN),
    ],
)
def test_a_part_of_the_original(program: Client, asked: str, status: int, part: bytes) -> None:
    answer = program.ask("GET", "deliveries/1/original", Range=asked)
    assert (answer.status, answer.body) == (status, part)
    assert answer.headers["content-length"] == str(len(part))


def test_a_part_of_another_file_is_the_whole_of_this_one(program: Client) -> None:
    tag = program.ask("GET", "deliveries/1/original").headers["etag"]
    assert program.ask("GET", "deliveries/1/original", Range="bytes=0-1", If_Range=tag).status == 206
    assert program.ask("GET", "deliveries/1/original", Range="bytes=0-1", If_Range='"x"').body == CLEAN


def test_ranges_are_cut_out_of_pieces() -> None:
    assert b"".join(cut_out(iter([b"abc", b"def", b"ghi"]), 2, 7)) == b"cdefg"
    assert list(cut_out(iter([b"abc"]), 1, 2)) == [b"b"]
    assert asked_range("bytes=-", 9) is None


def test_a_long_log_comes_in_pieces(home: House, api: Api, program: Client, tmp_path: Path) -> None:
    """The first of them before the others are made."""
    file = tmp_path / "long.csv"
    file.write_bytes(samples.clean(12_000, start=5_000))
    with progress() as shown:
        delivery = foreground.import_file(home, order_of(file, "nordlead"), shown)
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=20)
    connection.request("GET", f"/api/v1/deliveries/{delivery.id}/log.csv", headers=program.headers)
    response = connection.getresponse()
    assert response.getheader("transfer-encoding") == "chunked"
    assert response.readline().startswith(b"row,line_start")
    assert len(response.read().splitlines()) == 12_000
    connection.close()


def test_a_damaged_log_is_no_200(home: House, program: Client) -> None:
    delivery = home.ledger.get(5)
    assert delivery is not None
    header = home.places.home / "logs" / delivery.log_key / "header.json"
    whole = header.read_text()
    header.write_text(json.dumps({**json.loads(whole), "rows": 999}))
    try:
        assert program.refused("GET", "deliveries/5/log.csv") == (503, "unavailable")
    finally:
        header.write_text(whole)


def test_the_queue_and_a_retry(home: House, program: Client) -> None:
    assert program.refused("POST", "deliveries/1/retry") == (409, "not_retryable")
    assert program.get("queue")["ready"] == 0
    again = program.ask("POST", "deliveries/3/retry")
    assert (again.status, again.json()["state"]) == (202, "queued")
    queue = program.get("queue")
    assert (queue["ready"], queue["running"], queue["waiting"]) == (1, 0, 0)
    known = home.ledger.get(3)
    assert known is not None
    assert known.state is State.QUEUED


def test_a_file_that_was_rewritten_is_another_one(home: House, program: Client) -> None:
    """As after anonymising: its size is that of now, and nobody has it already."""
    (delivery,) = [each for each in home.ledger.latest(limit=9) if each.source == "stadtwerk"]
    path = f"deliveries/{delivery.id}"
    before = {kind: program.ask("GET", f"{path}/{kind}").headers["etag"] for kind in ("original", "log.csv")}
    now = program.ask("GET", f"{path}/original").body[:-7]
    home.spool.rewrite(delivery.spool_key, now)
    noted = {"delivery_id": delivery.id, "lead_id": 1, "at": delivery.received_at, "by_id": 1, "rows": "1"}
    digest = hashlib.sha256(now).hexdigest()
    with writing(home.engine) as connection:
        connection.execute(insert(erasures).values(**noted, sha256=digest, size=len(now)))
    for kind, tag in before.items():
        answer = program.ask("GET", f"{path}/{kind}", If_None_Match=tag)
        assert (answer.status, answer.headers["etag"] == tag) == (200, False)
    assert program.ask("GET", f"{path}/original").body == now
    assert program.ask("GET", f"{path}/original", Range="bytes=-3").body == now[-3:]
