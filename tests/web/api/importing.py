"""What the tests of imports share: half a request, and what it leaves."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ingestd.house import House
from tests.web.serving import Api, Client


@contextmanager
def sending(
    api: Api, client: Client, length: str, query: str = "source=nordlead&name=a.csv"
) -> Iterator[socket.socket]:
    """An import whose head has been sent."""
    head = [f"POST /api/v1/imports?{query} HTTP/1.1", "Host: x", length]
    head += [f"{name}: {value}" for name, value in client.headers.items()]
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as sender:
        sender.sendall("\r\n".join([*head, "", ""]).encode())
        yield sender


def left_files(home: House) -> list[Path]:
    """Every file in the spool, whole or not."""
    return [path for path in (home.places.home / "spool").rglob("*") if path.is_file()]
