"""The house: what every process of ingestd opens, wired by hand, once."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Engine, insert, select

from ingestd import schemas, settings
from ingestd.dispatch.local import LocalDispatcher
from ingestd.errors import Misconfigured
from ingestd.settings import Configuration
from ingestd.spool import Spool
from ingestd.store import organisation
from ingestd.store.engine import open_engine, reading, sqlite_url, writing
from ingestd.store.ledger import Ledger, now
from ingestd.store.migrations import upgrade
from ingestd.store.tables import identity


@dataclass(frozen=True, kw_only=True)
class Places:
    """The folders of one home."""

    home: Path

    @property
    def logs(self) -> Path:
        """Pool logs, `<delivery>/<epoch>`."""
        return self.home / "logs"

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
    dispatcher: LocalDispatcher
    ledger: Ledger
    spool: Spool


def open_house(config: Path, home: Path, *, worker: str = "") -> House:
    """Opens a home, making it on first use; raises Misconfigured or Unavailable."""
    configuration = settings.read(config)
    _make_home(home)
    engine = open_engine(configuration.daemon.store.url or sqlite_url(home))
    retry = timedelta(seconds=configuration.daemon.worker.retry_seconds)
    dispatcher = LocalDispatcher(engine=engine, worker=worker, retry=retry)
    return House(
        configuration=configuration,
        config=config,
        places=Places(home=home),
        schemas=config.parent / "schemas",
        engine=engine,
        dispatcher=dispatcher,
        ledger=Ledger(engine=engine, submit=dispatcher.submit),
        spool=Spool(home / "spool"),
    )


def _make_home(home: Path) -> None:
    """Nobody else may look: it holds personal data. A folder that is there is left as it is."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as problem:
        raise Misconfigured(str(home), "home", f"cannot be made: {problem.strerror}") from problem


def prepare_store(house: House) -> None:
    """Migrates the store, and applies the organisation when it never was: the first start."""
    upgrade(house.engine)
    _pair(house)
    with reading(house.engine) as connection:
        fresh = organisation.version(connection, "organisation") == 0
        older = organisation.version(connection, "statuses") == 0
    if fresh:
        apply_organisation(house)
    elif older:  # a store of before the statuses had rules, without which no lead could change its status
        with writing(house.engine) as connection:
            organisation.apply_statuses(connection, house.configuration.statuses, now())


def _pair(house: House) -> None:
    """A home and its store belong together; raises Misconfigured when each belongs to another.

    A daemon with the wrong store would take the files of its spool for nobody's, and would load deliveries whose files
    it lacks.
    """
    place = house.places.home / "store-id"
    mine = place.read_text(encoding="ascii").strip() if place.exists() else None
    with reading(house.engine) as connection:
        its = connection.scalar(select(identity.c.value))
    if mine is None and its is None:
        mine = its = secrets.token_hex(16)
        with writing(house.engine) as connection:
            connection.execute(insert(identity).values(id=1, value=its))
            place.write_text(f"{mine}\n", encoding="ascii")
    if mine != its:
        told = "this home and this store do not belong together; give each home the store it was made with"
        raise Misconfigured(str(place), "store.url", told)


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
