"""The web process is killed again and again while requests come: with keys, each is done once all the same."""

from __future__ import annotations

import http.client
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from ingestd.access import keys
from ingestd.access.permissions import Permission
from ingestd.store import tables
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing
from ingestd.store.import_tables import idempotency_keys
from ingestd.store.ledger import now
from tests.running import PATIENCE_SECONDS, Daemon, until
from tests.web.serving import Answer, Client

REQUESTS = 25
KILLS = 3


@contextmanager
def killing(daemon: Daemon) -> Iterator[None]:
    """Kills the web role's process in moments that nobody chose."""
    moments, stop = random.Random(7), threading.Event()

    def kill() -> None:
        for _ in range(KILLS):
            stop.wait(moments.uniform(0.3, 0.9))
            for pid in until(lambda: stop.is_set() or daemon.children("web"), "a web process") or []:
                os.kill(pid, signal.SIGKILL)
            until(lambda: stop.is_set() or daemon.children("web"), "another web process")

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        stop.set()


def insisting(daemon: Daemon, client: Client, path: str, body: Any, key: str) -> tuple[Answer, int]:
    """Sends a request until it is answered; the answer, and how often it was sent."""
    tries, deadline = 0, time.monotonic() + PATIENCE_SECONDS
    while True:
        tries += 1
        assert time.monotonic() < deadline, daemon.journal.read_text()[-3000:]
        try:
            client.port = daemon.doors["http"]["port"]
            answer = client.ask("POST", path, body, Idempotency_Key=key)
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
            continue
        if answer.status not in (409, 503):
            return answer, tries
        time.sleep(0.05)


def test_a_web_process_that_is_killed_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        house = daemon.house()
        with writing(house.engine) as connection:
            deed = Deed(actor=COMMAND_LINE, at=now())
            issued = keys.issue(connection, deed, "test", [Permission.LEAD_POOLS])
        client = Client(port=0, headers={"Authorization": f"Bearer {issued.secret}"})
        sent, pushed, tries = [], [], 0
        with killing(daemon):
            for number in range(REQUESTS):
                file = f"phone\n+45261234{number:02}\n".encode()
                answer, first = insisting(
                    daemon, client, f"imports?source=nordlead&name={number}.csv", file, f"f-{number}"
                )
                sent.append(answer.json()["id"])
                lead = {"phone": f"+45261235{number:02}"}
                answer, second = insisting(daemon, client, "sources/nordlead/leads", lead, f"l-{number}")
                pushed.append((answer.json()["delivery"], answer.json()["row"]))
                tries += first + second
                time.sleep(0.05)
        assert tries > 2 * REQUESTS, "no request was cut short"
        assert len(set(sent)) == len(set(pushed)) == REQUESTS
        with reading(house.engine) as connection:
            deliveries = connection.scalar(select(func.count()).select_from(tables.deliveries))
            kept = connection.scalar(select(func.count()).select_from(idempotency_keys))
        gatherings = len({delivery for delivery, _ in pushed})
        assert (deliveries, kept) == (REQUESTS + gatherings, 2 * REQUESTS)
        loaded = select(func.count(), func.count(func.distinct(tables.leads.c.phone))).select_from(tables.leads)

        def all_there() -> bool:
            with reading(house.engine) as connection:
                return tuple(connection.execute(loaded).one()) == (2 * REQUESTS, 2 * REQUESTS)

        until(all_there, "every lead once")
