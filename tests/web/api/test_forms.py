"""Imports by a page's form: fields first, then the file, which goes to the disk while it comes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ingestd import samples
from ingestd.access.permissions import Permission
from ingestd.house import House
from tests.running import until
from tests.web.api.importing import left_files
from tests.web.serving import Answer, Api, Client

CLEAN = samples.clean(20)
KIND = "multipart/form-data; boundary=xyz"
PLAIN = {"source": "nordlead"}


def form(fields: dict[str, str], content: bytes | None = CLEAN, filename: str = "a.csv", end: bytes = b"--") -> bytes:
    """As browsers write it."""
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    if content is not None:
        head = f'Content-Disposition: form-data; name="file"; filename="{filename}"\r\nContent-Type: text/csv\r\n\r\n'
        parts.append(head.encode() + content)
    return b"".join(b"--xyz\r\n" + part + b"\r\n" for part in parts) + b"--xyz" + end + b"\r\n"


def send(client: Client, body: bytes, **headers: str) -> Answer:
    return client.ask("POST", "imports/form", body, **{"Content_Type": KIND, **headers})


def refused(client: Client, body: bytes, kind: str = KIND) -> tuple[int, str]:
    return client.refused("POST", "imports/form", body, Content_Type=kind)


@contextmanager
def posting(door: Api, client: Client, length: int) -> Iterator[socket.socket]:
    """A form whose head has been sent."""
    head = ["POST /api/v1/imports/form HTTP/1.1", "Host: x", f"Content-Length: {length}", f"Content-Type: {KIND}"]
    head += [f"{name}: {value}" for name, value in client.headers.items()]
    with socket.create_connection(("127.0.0.1", door.port), timeout=10) as sender:
        sender.sendall("\r\n".join([*head, "", ""]).encode())
        yield sender


def test_a_form_is_a_delivery_of_the_files_own_bytes(home: House, program: Client, door: Api) -> None:
    answer = send(door.user("admin"), form(PLAIN))
    assert answer.status == 202, answer.body
    assert answer.headers["location"] == "/api/v1/deliveries/1"
    told = answer.json()
    assert (told["file"], told["bytes"], told["source"], told["state"]) == ("a.csv", len(CLEAN), "nordlead", "queued")
    assert program.ask("GET", "deliveries/1/original").body == CLEAN
    assert len(left_files(home)) == 1


def test_fields_are_those_of_the_query(program: Client) -> None:
    fields = {"campaign": "DK-ENERGY", "owner": "code:DK-AAR", "mapping": '{"Nr": "phone"}', "name": "my.csv"}
    told = send(program, form(fields)).json()
    assert (told["source"], told["folder"], told["owner"]) == ("upload", "DK-ENERGY", "team:aarhus")
    assert (told["mapping"], told["file"]) == ({"Nr": "phone"}, "my.csv")


@pytest.mark.parametrize(
    ("content", "name"),
    [(b"\r\n--xy\r\n--xyz-\r\n", "x.csv"), (bytes(range(256)) * 4096, "æ ø.csv"), (b"", "empty.csv")],
)
def test_whatever_is_in_the_file_is_kept_as_it_is(program: Client, content: bytes, name: str) -> None:
    told = send(program, form(PLAIN, content.replace(b"\r\n--xyz", b"\r\n--xyy"), name)).json()
    assert told["file"] == name
    kept = program.ask("GET", "deliveries/1/original").body
    assert kept == content.replace(b"\r\n--xyz", b"\r\n--xyy")


def test_a_form_in_single_bytes_is_read_alike(door: Api, program: Client) -> None:
    body = form(PLAIN, CLEAN[:300])
    with posting(door, program, len(body)) as sender:
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(len(body)):
            sender.sendall(body[place : place + 1])
        assert sender.recv(200).startswith(b"HTTP/1.1 202")
    assert program.ask("GET", "deliveries/1/original").body == CLEAN[:300]


def test_a_key_in_a_field_makes_a_second_click_harmless(program: Client) -> None:
    twice = form({**PLAIN, "idempotency_key": "form-1"})
    first, again = send(program, twice), send(program, twice)
    assert first.json()["id"] == again.json()["id"] == 1
    assert again.headers["idempotent-replayed"] == "true"
    other = form({**PLAIN, "name": "b.csv", "idempotency_key": "form-1"})
    assert refused(program, other) == (422, "idempotency_key_reused")
    assert refused(program, form({**PLAIN, "idempotency_key": "a b"})) == (422, "value_unusable")


def test_what_is_no_form_is_refused(home: House, program: Client) -> None:
    assert refused(program, form(PLAIN), "text/csv") == (422, "form_unusable")
    assert refused(program, form(PLAIN), "multipart/form-data") == (422, "form_unusable")
    assert refused(program, b"nonsense") == (422, "form_unusable")
    assert refused(program, form(PLAIN, None)) == (422, "form_unusable")
    assert refused(program, form({**PLAIN, "nothing": "x"})) == (422, "form_unusable")
    assert refused(program, form(PLAIN, end=b"")) == (422, "form_unusable")  # it may be cut
    late = form(PLAIN, end=b"").removesuffix(b"--xyz\r\n") + form({"owner": "team:berlin"}, None)
    assert refused(program, late) == (422, "form_unusable")
    assert refused(program, form({})) == (422, "value_unusable")
    assert refused(program, form({**PLAIN, "owner": "team:arhus"})) == (422, "owner_unknown")
    assert refused(program, form(PLAIN, filename="")) == (422, "name_unusable")
    assert refused(program, form({**PLAIN, "mapping": "x" * 70_000})) == (413, "too_large")
    assert left_files(home) == []


def test_who_may_not_is_told_before_a_byte_is_read(door: Api) -> None:
    for client, status in ((door.anybody(), b"401"), (door.user("berlin-1"), b"403")):
        with posting(door, client, 500_000) as sender:
            assert sender.recv(200).startswith(b"HTTP/1.1 " + status)


def test_a_bound_key_is_told_when_the_fields_are_there(door: Api) -> None:
    bound = door.key(Permission.LEAD_POOLS, source="stadtwerk")
    with posting(door, bound, 500_000) as sender:
        sender.sendall(form(PLAIN)[:400])
        assert sender.recv(200).startswith(b"HTTP/1.1 403")


def test_a_form_that_is_too_large_is_refused_while_it_arrives(door: Api, home: House, program: Client) -> None:
    with posting(door, program, 2**40) as sender:
        sender.sendall(form(PLAIN)[:400])
        assert sender.recv(200).startswith(b"HTTP/1.1 413")
    until(lambda: left_files(home) == [], "the partial file to be removed")


@pytest.mark.parametrize(
    "part",
    [
        b'--xyz\r\nContent-Disposition: form-data; name="' + b"n" * 3_900 + b'%d"\r\n\r\n\r\n',
        b'--xyz\r\nContent-Disposition: form-data; name="%d"\r\n\r\n\r\n',
    ],
)
def test_names_of_fields_and_their_headers_count(door: Api, program: Client, part: bytes) -> None:
    """All of them are refused with the first 64 KiB, however many are to come."""
    with posting(door, program, 2**40) as sender:
        sender.sendall(b"".join(part % number for number in range(90_000 // len(part) + 20)))
        assert sender.recv(200).startswith(b"HTTP/1.1 413")


def test_another_sites_page_cannot_upload_for_a_user(door: Api) -> None:
    admin = door.user("admin")
    answer = send(admin, form(PLAIN), Sec_Fetch_Site="cross-site")
    assert (answer.status, answer.json()["code"]) == (403, "cross_origin")


def test_a_sender_who_goes_away_leaves_nothing(door: Api, home: House, program: Client) -> None:
    with posting(door, program, 3_000_000) as sender:
        sender.sendall(form(PLAIN, b"x" * 1_000_000)[:-20])
        until(lambda: left_files(home) != [], "the file to be opened")
    until(lambda: left_files(home) == [], "the partial file to be removed")
    assert program.get("deliveries")["items"] == []
