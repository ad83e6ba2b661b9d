"""The server: who waits for whom, and who takes whose place."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ingestd.access.permissions import Permission
from ingestd.web import server
from ingestd.web.api import routes
from ingestd.web.server import Full, Lobby
from tests.running import at_once, until
from tests.web.serving import Api, serving


@pytest.fixture
def api(embedded: Engine, tmp_path: Path) -> Iterator[Api]:
    with serving(embedded, tmp_path, strangers=3) as running:
        yield running


def connected(api: Api) -> socket.socket:
    return socket.create_connection(("127.0.0.1", api.port), timeout=10)


def asked(api: Api, connection: socket.socket, path: str, headers: dict[str, str]) -> bytes:
    """The first line of an answer; the connection stays."""
    told = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "x", **headers}.items())
    connection.sendall(f"GET {path} HTTP/1.1\r\n{told}\r\n".encode())
    return connection.recv(4096).partition(b"\r\n")[0]


def test_an_address_has_few_connections_of_strangers_and_room_for_others(api: Api) -> None:
    program = api.key(Permission.LEAD_POOLS)
    with ExitStack() as held:
        known = [held.enter_context(connected(api)) for _ in range(3)]
        for connection in known:
            assert asked(api, connection, "/api/v1/me", program.headers) == b"HTTP/1.1 200 OK"
        strangers = [held.enter_context(connected(api)) for _ in range(3)]
        until(lambda: asked(api, strangers[0], "/livez", {}) == b"HTTP/1.1 200 OK", "the strangers to be let in")
        one_more = held.enter_context(connected(api))
        one_more.settimeout(0.3)
        with pytest.raises(TimeoutError):
            asked(api, one_more, "/livez", {})
        strangers[1].close()
        one_more.settimeout(10)
        assert one_more.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_many_who_say_who_they_are_come_in_at_once(api: Api) -> None:
    program = api.key(Permission.LEAD_POOLS)
    told: list[int] = []
    at_once(*[lambda: told.append(program.ask("GET", "me").status)] * 30)
    assert told == [200] * 30


def test_a_proxy_that_is_believed_brings_everybody(embedded: Engine, tmp_path: Path) -> None:
    with serving(embedded, tmp_path, strangers=2, proxies=["127.0.0.1"]) as api, ExitStack() as held:
        for _ in range(5):
            assert asked(api, held.enter_context(connected(api)), "/livez", {}) == b"HTTP/1.1 200 OK"


def test_an_address_is_counted_as_the_throttle_counts_it() -> None:
    heard: list[str] = []
    lobby, turns = Lobby(most=1, proxies=["192.0.2.9"]), {}
    for each in ("2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.9", "192.0.2.9"):
        turns[each] = partial(heard.append, each)
        lobby.enter(each, turns[each])
    assert (heard, lobby.in_line) == (["2001:db8::1", "192.0.2.1", "192.0.2.9", "192.0.2.9"], 2)
    lobby.give_up("2001:db8::2", turns["2001:db8::2"])
    lobby.leave("2001:db8::1")
    assert (heard[4:], lobby.in_line) == (["2001:db8::3"], 0)


def test_a_line_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 2)
    lobby = Lobby(most=1)
    for _ in range(3):
        lobby.enter("192.0.2.1", lambda: None)
    with pytest.raises(Full):
        lobby.enter("192.0.2.1", lambda: None)
    lobby.enter("192.0.2.2", lambda: None)


def test_a_probe_is_answered_when_there_are_too_many(
    embedded: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 2)
    with serving(embedded, tmp_path) as api, ExitStack() as held:
        for _ in range(2):
            assert asked(api, held.enter_context(connected(api)), "/livez", {}) == b"HTTP/1.1 200 OK"
        assert api.anybody().ask("GET", "/livez").status == 200
        assert api.anybody().ask("GET", "me").status == 503


def test_a_body_that_comes_in_drops_is_broken_off(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "GRACE_SECONDS", 0.5)
    head = b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n"
    with connected(api) as client:
        client.sendall(head)
        client.settimeout(0.05)
        answer, until_then = b"", time.monotonic() + 10
        while not answer and time.monotonic() < until_then:
            client.sendall(b" ")
            try:
                answer = client.recv(4096)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408")


def test_strangers_say_little(api: Api) -> None:
    long = {"login": "admin", "password": "x" * 20_000}
    assert api.anybody().refused("POST", "session", long) == (413, "too_large")


def test_a_request_of_two_lengths_ends_its_connection(api: Api) -> None:
    head = b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connected(api) as client:
        client.sendall(head + b"0\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while piece := client.recv(4096):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.lower().count(b"connection: close") == 1
    assert b"200 OK" not in answer
