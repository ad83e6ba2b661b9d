"""The web role as those see it who ask: a real server on a real port, with a store that the test can take away."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingestd import samples
from ingestd.web import server
from tests.running import Daemon, until


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("web")) as running:
        running.send("nordlead", "one.csv", samples.clean(50))
        running.send("nordlead", "two.csv", b"\x89PNG\r\n\x1a\n")
        running.send("nordlead", "one.csv", samples.clean(50))
        until(lambda: len(running.house().ledger.unpublished()) == 0, "everything to end")
        yield running


def place(daemon: Daemon) -> tuple[str, int]:
    door = daemon.doors["http"]
    return door["host"], door["port"]


def ask(daemon: Daemon, path: str, method: str = "GET", **headers: str) -> Answer:
    with closing(http.client.HTTPConnection(*place(daemon), timeout=10)) as connection:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def series(daemon: Daemon) -> dict[tuple[str, ...], float]:
    """Every sample of /metrics, by its name and the values of its labels in the order of their names."""
    families = text_string_to_metric_families(ask(daemon, "/metrics").body.decode())
    return {
        (each.name, *dict(sorted(each.labels.items())).values()): each.value
        for family in families
        for each in family.samples
    }


def test_it_lives(daemon: Daemon) -> None:
    answer = ask(daemon, "/livez")
    assert (answer.status, answer.body) == (200, b"ok\n")


def test_it_is_ready_and_says_what_it_looked_at(daemon: Daemon) -> None:
    answer = ask(daemon, "/readyz")
    assert answer.status == 200
    told = answer.json()
    assert told["ready"] is True
    assert list(told["checks"]) == [
        "database", "storage", "disk", "doors", "supervisor", "receiver", "worker-1", "web", "queue",
    ]  # fmt: skip
    assert told["checks"]["doors"] == {"ok": True, "told": "folder, ftp, http, sftp"}


def test_what_the_doors_and_workers_did_is_counted(daemon: Daemon) -> None:
    def counted() -> dict[tuple[str, ...], float] | None:
        found = series(daemon)
        return found if found.get(("ingestd_deliveries_total", "nordlead", "duplicate")) else None

    found = until(counted, "the deliveries to be counted")
    size = len(samples.clean(50))
    assert found["ingestd_door_events_total", "ftp", "upload_landed"] == 3
    assert found["ingestd_received_bytes_total", "ftp"] == 2 * size + 8
    assert found["ingestd_deliveries_total", "nordlead", "completed"] == 1
    assert found["ingestd_deliveries_total", "nordlead", "refused"] == 1
    assert found["ingestd_rows_total", "inserted", "nordlead"] == 50
    assert found["ingestd_stage_seconds_count", "load"] == 1
    assert found["ingestd_delivery_seconds_count",] == 2
    (delivery,) = [each for each in daemon.house().ledger.latest(limit=9) if each.state == "completed"]
    assert delivery.finished_at is not None
    last = found["ingestd_last_success_timestamp_seconds", "nordlead"]
    assert last == pytest.approx(delivery.finished_at.timestamp())


def test_what_there_is_now_is_measured_when_asked(daemon: Daemon) -> None:
    found = series(daemon)
    assert found["ingestd_store_up",] == 1
    assert found["ingestd_queue_jobs", "ready"] == 0
    assert found["ingestd_queue_jobs", "running"] == 0
    assert found["ingestd_queue_oldest_seconds",] == 0
    assert found["ingestd_deliveries_waiting",] == 0
    assert found["ingestd_spool_free_bytes",] > 1e6
    assert {name: found["ingestd_role_up", name] for name in ("receiver", "worker-1", "web")} == {
        "receiver": 1, "worker-1": 1, "web": 1,
    }  # fmt: skip


def test_every_name_is_as_prometheus_wants_it(daemon: Daemon) -> None:
    for family in text_string_to_metric_families(ask(daemon, "/metrics").body.decode()):
        assert family.name.startswith("ingestd_")
        assert family.documentation
        if family.type == "counter":
            assert all(sample.name == f"{family.name}_total" for sample in family.samples)
        assert not {"user", "login", "pool", "peer"} & {key for sample in family.samples for key in sample.labels}


def test_openmetrics_for_who_asks_for_it(daemon: Daemon) -> None:
    answer = ask(daemon, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_head_is_answered_without_a_body(daemon: Daemon, path: str) -> None:
    answer = ask(daemon, path, "HEAD")
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    ("method", "path", "status", "title"),
    [
        ("GET", "/docs", 404, "Not Found"),
        ("GET", "/openapi.json", 404, "Not Found"),
        ("POST", "/livez", 405, "Method Not Allowed"),
    ],
)
def test_errors_are_problem_details(daemon: Daemon, method: str, path: str, status: int, title: str) -> None:
    answer = ask(daemon, path, method)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status, answer.json()) == (status, {"type": "about:blank", "title": title, "status": status})


@pytest.mark.parametrize("path", ["/livez", "/nowhere"])
def test_an_answer_says_nothing_of_the_server(daemon: Daemon, path: str) -> None:
    headers = ask(daemon, path).headers
    assert "server" not in headers
    assert headers["cache-control"] == "no-store"


def test_the_api_asks_who_one_is_and_the_log_says_that_somebody_asked(daemon: Daemon) -> None:
    answer = ask(daemon, "/api/v1/me?secret=1")
    assert (answer.status, answer.json()["code"]) == (401, "not_signed_in")
    told = until(lambda: daemon.events("api_request"), "the request in the log")[0]
    assert (told["method"], told["path"], told["status"], told["caller"]) == ("GET", "/api/v1/me", 401, "")


def test_what_is_no_http_is_answered_and_told_to_the_log_as_an_event(daemon: Daemon) -> None:
    with socket.create_connection(place(daemon), timeout=10) as client:
        client.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 400")
    assert until(lambda: daemon.events("web_complaint"), "the complaint")[0]["process"] == "web"


def test_a_fault_is_told_to_the_log_and_not_to_who_asked(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        (daemon.home / "run" / "metrics" / "counter_broken.db").write_bytes(b"\0")
        answer = ask(daemon, "/metrics")
        assert answer.status == 500
        assert answer.json() == {"type": "about:blank", "title": "Internal Server Error", "status": 500}
        (told,) = until(lambda: daemon.events("web_fault"), "the fault")
        assert "Traceback" in told["exception"]
        assert ask(daemon, "/livez").status == 200


def test_a_port_that_somebody_else_has_is_a_configuration_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        daemon = Daemon(tmp_path, INGESTD_HTTP__PORT=str(port))
        assert daemon.launch().wait(60) == 78
    (told,) = daemon.events("role_failed")
    assert f"http.port: 127.0.0.1:{port} cannot be opened" in told["error"]


IMPATIENT = """
import sys
from ingestd.web import server
from fastapi import FastAPI
server.REQUEST_SECONDS = 0.3
listening = server.listen("127.0.0.1", 0)
print(listening.getsockname()[1], flush=True)
server.serve(FastAPI(), listening, lambda: None)
"""


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nHost: x\r\n"])
def test_who_sends_no_whole_request_is_not_waited_for(sent: bytes) -> None:
    process = subprocess.Popen([sys.executable, "-c", IMPATIENT], stdout=subprocess.PIPE, env={**os.environ})
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(sent)
            assert client.recv(100) == b""
    finally:
        process.terminate()
        process.communicate()


def test_ipv6_takes_ipv4_too() -> None:
    with server.listen("::", 0) as listening:
        port = listening.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
