"""The house: what every process of ingestd opens, wired by hand, once."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Engine

from ingestd import dispatch, roster, schemas, settings
from ingestd.dispatch.dispatcher import Dispatcher
from ingestd.errors import Misconfigured
from ingestd.node import own_name
from ingestd.settings import Configuration
from ingestd.spool import Spool
from ingestd.storage import Storage, open_storage
from ingestd.store import organisation
from ingestd.store.engine import open_engine, sqlite_url, writing
from ingestd.store.ledger import Ledger, now
from ingestd.whereabouts import Whereabouts


@dataclass(frozen=True, kw_only=True)
class Places:
    """The folders of one home."""

    home: Path

    @property
    def homes(self) -> Path:
        """The FTP home of each source, with its `results/`."""
        return self.home / "homes"

    @property
    def keys(self) -> Path:
        """Private keys that the daemon has made for itself."""
        return self.home / "keys"

    @property
    def run(self) -> Path:
        """What only holds while the daemon runs: lock, endpoints, roles, metrics."""
        return self.home / "run"

    @property
    def endpoints(self) -> Path:
        """The addresses of the open doors, written when every door is open."""
        return self.run / "endpoints.json"

    @property
    def roster(self) -> Path:
        """How each role is, written every second."""
        return self.run / "roles.json"

    @property
    def identity(self) -> Path:
        """What this home calls itself, whatever its node is called."""
        return self.home / "home-id"

    @property
    def store(self) -> Path:
        """The name that this home and its store share."""
        return self.home / "store-id"

    @property
    def metrics(self) -> Path:
        """What the roles have counted since the daemon started."""
        return self.run / "metrics"


@dataclass(frozen=True, kw_only=True)
class House:
    """Configuration, store, spool and dispatcher of one home."""

    configuration: Configuration
    config: Path
    """the folder of the configuration; files that it names are relative to it"""
    places: Places
    schemas: Path
    engine: Engine
    dispatcher: Dispatcher
    ledger: Ledger
    storage: Storage
    """where received files and pool logs are kept for good; several homes may share it"""
    spool: Spool
    process: str = ""
    """which one of the daemon's processes this is"""
    node: int | None = None
    """the number of the node that this process belongs to; None outside of a daemon"""

    @property
    def shared(self) -> bool:
        """Whether other homes may use the store too: it is a server, and every node can read every file."""
        return self.engine.dialect.name == "postgresql" and bool(self.configuration.daemon.storage.url)

    @property
    def logs(self) -> Storage:
        """Pool logs, `<delivery>/<epoch>`."""
        return self.storage.below("logs")

    @property
    def whereabouts(self) -> Whereabouts:
        """Whether the storage is that of the store."""
        return Whereabouts(engine=self.engine, storage=self.storage, url=self.configuration.daemon.storage.url)


def open_house(config: Path, home: Path, *, process: str = "", node: int | None = None) -> House:
    """Opens a home, making it on first use; raises Misconfigured or Unavailable.

    `process` is which one of the daemon's this is, and `node` the daemon's number; of a command there is neither.
    """
    configuration = settings.read(config)
    _make_home(home)
    engine = open_engine(configuration.daemon.store.url or sqlite_url(home))
    storage = open_storage(configuration.daemon.storage, home)
    limits = configuration.daemon.worker
    dispatcher = dispatch.of(
        engine,
        node=own_name(configuration.daemon.node.name, socket.gethostname()),
        worker=process,
        retry=timedelta(seconds=limits.retry_seconds),
        dead=timedelta(seconds=limits.dead_seconds),
    )
    return House(
        configuration=configuration,
        config=config,
        places=Places(home=home),
        schemas=config.parent / "schemas",
        engine=engine,
        dispatcher=dispatcher,
        ledger=Ledger(engine=engine, submit=dispatcher.submit, node=node),
        storage=storage,
        spool=Spool(home / "spool", storage=storage.below("spool")),
        process=process,
        node=node,
    )


def _make_home(home: Path) -> None:
    """Nobody else may look: it holds personal data. A folder that is there is left as it is."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as problem:
        raise Misconfigured(str(home), "home", f"cannot be made: {problem.strerror}") from problem


def home_id(places: Places) -> str:
    """What this home calls itself; made at the first start."""
    if not places.identity.exists():
        roster.replace(places.identity, secrets.token_hex(16))
    return places.identity.read_text(encoding="ascii").strip()


def apply_organisation(house: House) -> organisation.Changes:
    """Brings the store to the configuration; the same configuration twice changes nothing. Raises Misconfigured."""
    schemas.check_mappings(house.schemas, house.configuration)
    with writing(house.engine) as connection:
        return organisation.apply(connection, house.configuration, now())


class Lock:
    """One process tree for one home. Children inherit the lock, so it lasts until the last of them is gone."""

    def __init__(self, places: Places) -> None:
        places.run.mkdir(parents=True, exist_ok=True)
        self.path = places.run / "lock"
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)

    def taken(self) -> bool:
        """Takes the lock if it is free; True when it is ours now."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def wait(self, seconds: float, pause: Callable[[float], None]) -> None:
        """Takes the lock, waiting for the children of a daemon that died; raises Misconfigured when it stays taken."""
        for _ in range(max(1, int(seconds / 0.1))):
            if self.taken():
                return
            pause(0.1)
        raise Misconfigured(str(self.path), "lock", "another ingestd uses this home; stop it or choose another --home")

    def release(self) -> None:
        """Gives the lock up, as far as this process holds it."""
        os.close(self.descriptor)


def running(places: Places) -> bool:
    """True while a daemon, or an import in the foreground, holds the home."""
    lock = Lock(places)
    free = lock.taken()
    lock.release()
    return not free
