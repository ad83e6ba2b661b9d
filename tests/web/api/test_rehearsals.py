"""Dry runs over the API: a whole file is judged, nothing is loaded, and nobody else waits for it."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest

from ingestd import samples
from ingestd.access.permissions import Permission
from ingestd.house import House
from ingestd.worker import road_of
from tests.running import until
from tests.web.api.test_imports import left_files
from tests.web.serving import Api, Client

CLEAN = samples.clean(40)


@pytest.fixture
def api(door: Api) -> Api:
    return door


def test_a_dry_run_says_what_the_import_then_does(home: House, program: Client) -> None:
    said = program.do("POST", "imports/dry-run?source=nordlead", samples.dirty())
    assert program.get("deliveries")["items"] == []
    assert left_files(home) == []
    program.do("POST", "imports?source=nordlead&name=dirty.csv", samples.dirty())
    road_of(home).travel(1)
    delivery = program.get("deliveries/1")
    assert said["counts"] == delivery["counts"]
    assert said["state"] == delivery["state"]
    grouped = {(each["code"], each["column"]): each["count"] for each in program.get("deliveries/1/summary")["errors"]}
    assert {(each["code"], each["column"]): each["count"] for each in said["problems"]} == grouped
    assert all(1 <= len(each["examples"]) <= 3 for each in said["problems"])
    assert sum(each["leads"] for each in said["owners"]) == delivery["counts"]["inserted"]


def test_the_same_file_again_would_be_a_duplicate(home: House, program: Client) -> None:
    program.do("POST", "imports?source=nordlead&name=a.csv", CLEAN)
    road_of(home).travel(1)
    again = program.do("POST", "imports/dry-run?source=nordlead&name=a.csv", CLEAN)
    assert (again["state"], again["duplicate_of"]) == ("duplicate", 1)
    other = program.do("POST", "imports/dry-run?source=nordlead&name=b.csv", CLEAN)
    assert (other["state"], other["refused"]["code"]) == ("refused", "same_content")


def test_a_received_file_is_judged_once_more(home: House, program: Client) -> None:
    program.do("POST", "imports?source=nordlead&name=a.csv", b"Fon\r\n26000001\r\n")
    road_of(home).travel(1)
    before = program.get("deliveries/1")
    assert before["reason"]["code"] == "required_column_missing"
    mended = program.do("POST", 'deliveries/1/dry-run?mapping={"Fon":"phone"}')
    assert (mended["state"], mended["counts"]["inserted"]) == ("completed", 1)
    assert program.get("deliveries/1") == before
    assert program.refused("POST", "deliveries/7/dry-run") == (404, "delivery_unknown")


def test_what_is_too_large_or_of_another_source_is_refused(api: Api, home: House, program: Client) -> None:
    head = f"POST /api/v1/imports/dry-run?source=nordlead HTTP/1.1\r\nHost: x\r\nContent-Length: {2**40}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in program.headers.items())
    with closing(socket.create_connection(("127.0.0.1", api.port), timeout=10)) as sender:
        sender.sendall(f"{head}\r\n".encode())
        assert sender.recv(200).startswith(b"HTTP/1.1 413")
    bound = api.key(Permission.LEAD_POOLS, source="stadtwerk")
    assert bound.refused("POST", "imports/dry-run?source=nordlead", CLEAN) == (403, "key_bound")
    assert program.refused("POST", "imports/dry-run?source=nothing", CLEAN) == (404, "source_unknown")
    until(lambda: left_files(home) == [], "the file to be removed")


def test_a_large_file_is_judged_in_a_process_of_its_own(home: House, program: Client) -> None:
    data = samples.clean(9_000)
    assert len(data) > 1024 * 1024
    waits: list[float] = []
    done = threading.Event()

    def asking() -> None:
        while not done.is_set():
            begun = time.monotonic()
            assert program.ask("GET", "/livez").status == 200
            waits.append(time.monotonic() - begun)
            time.sleep(0.05)

    asker = threading.Thread(target=asking)
    asker.start()
    try:
        said = replace(program, patience=120).do("POST", "imports/dry-run?source=nordlead", data)
    finally:
        done.set()
        asker.join()
    assert said["counts"]["records"] == said["counts"]["inserted"] == 9_000
    assert left_files(home) == []
    assert len(waits) > 3, "others are answered meanwhile"
