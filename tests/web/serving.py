"""The API on a real port, in a thread, over the database of a test."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from ingestd import dispatch
from ingestd.access import keys, people
from ingestd.access.permissions import Permission
from ingestd.accounts import hash_password
from ingestd.spool import Spool
from ingestd.storage import Folder
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import writing
from ingestd.store.ledger import Ledger, now
from ingestd.throttle import Throttle, ThrottleRules
from ingestd.web import app, server
from ingestd.web.api.desk import Desk
from ingestd.web.observer import Observer
from tests.databases import ROOT
from tests.receive.receiving import CHEAP
from tests.running import until

PASSWORD = "correct horse battery"
HASHED = hash_password(PASSWORD, CHEAP)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(kw_only=True)
class Client:
    """Somebody who asks: a browser with a cookie, a program with a key, or anybody."""

    port: int
    headers: dict[str, str] = field(default_factory=dict)
    patience: float = 20
    """seconds that an answer may take"""

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request; dashes of headers are written as underscores."""
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body)
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.patience)) as connection:
            connection.request(method, path if path.startswith("/") else f"/api/v1/{path}", data, sent)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def get(self, path: str, **headers: str) -> Any:
        """What a path has; it must be there."""
        answer = self.ask("GET", path, **headers)
        assert answer.status == 200, answer.body
        return answer.json()

    def do(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Has something done; it must be."""
        answer = self.ask(method, path, body, **headers)
        assert 200 <= answer.status < 300, answer.body
        return answer.json() if answer.body else None

    def refused(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        """With which status and code something is refused."""
        answer = self.ask(method, path, body, **headers)
        assert answer.headers["content-type"] == "application/problem+json", answer.body
        problem = answer.json()
        assert problem["status"] == answer.status >= 400
        return answer.status, problem.get("code", "")


@dataclass(kw_only=True)
class Api:
    """A running API and whoever asks it."""

    desk: Desk
    port: int

    def anybody(self) -> Client:
        """Somebody unknown."""
        return Client(port=self.port)

    def user(self, login: str) -> Client:
        """A user of the example organisation who has signed in."""
        with writing(self.desk.engine) as connection:
            deed = Deed(actor=COMMAND_LINE, at=now())
            people.set_password(connection, deed, people.known(connection, login), HASHED)
        signed = self.anybody().ask("POST", "session", {"login": login, "password": PASSWORD})
        assert signed.status == 200, signed.body
        return Client(port=self.port, headers={"Cookie": signed.headers["set-cookie"].partition(";")[0]})

    def key(self, *permissions: Permission, **facts: Any) -> Client:
        """A program with a key."""
        with writing(self.desk.engine) as connection:
            issued = keys.issue(connection, Deed(actor=COMMAND_LINE, at=now()), "test", permissions, **facts)
        return Client(port=self.port, headers={"Authorization": f"Bearer {issued.secret}"})


@contextmanager
def serving(engine: Engine, folder: Path, **facts: Any) -> Iterator[Api]:
    """The API of a home in a folder."""
    dispatcher = dispatch.of(engine, worker="test", retry=timedelta(seconds=1))
    ledger = Ledger(engine=engine, submit=dispatcher.submit)
    storage = Folder(folder)
    spool = Spool(folder / "spool", storage=storage.below("spool"))
    given: Mapping[str, Any] = {
        "throttle": Throttle(ThrottleRules(delay_seconds=0.0)),
        "session_lasts": timedelta(hours=1),
        "cost": CHEAP,
        **facts,
    }
    desk = Desk(
        engine=engine,
        ledger=ledger,
        dispatcher=dispatcher,
        spool=spool,
        logs=storage.below("logs"),
        schemas=ROOT / "schemas",
        **{name: value for name, value in given.items() if name not in ("proxies", "strangers")},
    )
    around = {name: value for name, value in given.items() if name in ("proxies", "strangers")}
    with serving_at(desk, folder / "run", **around) as running:
        yield running


@contextmanager
def serving_at(
    desk: Desk, run: Path, *, proxies: Sequence[str] = (), strangers: int = server.STRANGERS
) -> Iterator[Api]:
    """The API of a desk."""
    observer = Observer(ledger=desk.ledger, dispatcher=desk.dispatcher, spool=desk.spool, storage=desk.logs, run=run)
    built = app.build(observer, run / "metrics", desk)
    running = server.configured(built, lambda: None, proxies=proxies, strangers=strangers)
    with server.listen("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            until(lambda: running.started, "the server to start")
            yield Api(desk=desk, port=listening.getsockname()[1])
        finally:
            running.should_exit = True
            thread.join()
            desk.writing_uses.shutdown()
            desk.hashing.shutdown()
