"""Opening the database: what both kinds are told so that a commit is durable and writers take turns."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    DisconnectionError,
    InvalidatePoolError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from ingestd.errors import Damaged, Deadlocked, Misconfigured, Unavailable

BUSY_SECONDS = 60
"""How long a writer waits for another one on SQLite; the largest load holds the lock for a few seconds."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.0003, 0.005
"""Seconds between two tries of a waiting writer to have SQLite."""
TRUSTED_SECONDS = 1.0
"""How long PostgreSQL is not asked again whether it is there: for the smallest transactions that was a third of the
work. One that finds it gone all the same is Unavailable, as when it goes in the middle."""
DEADLOCK = "40P01"
"""PostgreSQL's word for it."""
CHECKPOINT_PAGES = 4000
"""Pages in SQLite's log from which a commit copies them into the database."""

Facts = ParamSpec("Facts")
Done = TypeVar("Done")


def open_engine(url: str) -> Engine:
    """An engine for `url`, an SQLAlchemy URL of SQLite or PostgreSQL; raises Misconfigured when it is neither."""
    try:
        if make_url(url).get_backend_name() == "sqlite":
            return _sqlite(url)
        return _postgresql(url)
    except (ArgumentError, ImportError) as problem:  # no URL at all, or of a database that has no driver here
        raise Misconfigured("ingestd.toml", "store.url", f"cannot be used: {problem}") from problem


def _postgresql(url: str) -> Engine:
    engine = create_engine(url)
    dialect = engine.dialect

    def put_back(_connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        record.info["used"] = time.monotonic()

    def check(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: Any) -> None:
        if time.monotonic() - record.info.get("used", time.monotonic()) < TRUSTED_SECONDS:
            return
        try:
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as problem:
            raise InvalidatePoolError from problem  # the others are as old, and were lost with it

    event.listen(engine, "checkin", put_back)
    event.listen(engine, "checkout", check)
    return engine


def sqlite_url(home: Path) -> str:
    """The URL of the embedded database in a home folder."""
    return f"sqlite:///{home / 'ingestd.db'}"


def _sqlite(url: str) -> Engine:
    # Connections stay open between uses: opening one reads the schema again, and the last one to close copies the whole
    # log into the database, fsyncs it and removes the log, which cost a small file more than its loading. An idle
    # connection is in no transaction, so it keeps nothing from being copied.
    arguments = {"timeout": BUSY_SECONDS, "isolation_level": None, "check_same_thread": False}
    engine = create_engine(url, connect_args=arguments, poolclass=QueuePool, pool_size=4, max_overflow=-1)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "checkout", _check_file)
    event.listen(engine, "begin", _begin)
    # SQLite lets writers wait by sleeping and asking again, so eight threads of one process spent half their time
    # asleep. Behind a lock the next one goes on at once; asking again is left for other processes.
    return engine.execution_options(turn=threading.Lock())


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    for pragma in (
        "journal_mode=WAL",  # readers never wait for the loader
        "foreign_keys=ON",
        "secure_delete=ON",  # what is deleted or overwritten does not stay readable in the file
        "temp_store=MEMORY",
        "cache_size=-65536",  # KiB
        f"wal_autocheckpoint={CHECKPOINT_PAGES}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _check_file(connection: sqlite3.Connection, record: Any, _proxy: Any) -> None:
    """A file that was moved away or replaced is written to as long as it is open, and what it takes is lost."""
    if "path" not in record.info:
        record.info["path"] = connection.execute("PRAGMA database_list").fetchone()[2]
        record.info["file"] = _file(record.info["path"])
    elif record.info["file"] != _file(record.info["path"]):
        raise DisconnectionError("the database's file was moved away or replaced")


def _file(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - before each transaction: pathlib takes as long again
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("readonly"):
        _say(connection, "BEGIN DEFERRED")
        return
    # Set each time, because connections are used again. FULL: a commit is durable when it returns.
    _say(connection, f"PRAGMA synchronous={'NORMAL' if options.get('forgettable') else 'FULL'}")
    _wait_for_turn(connection)


def _wait_for_turn(connection: Connection) -> None:
    """Begins to write when no other process does; raises OperationalError after BUSY_SECONDS.

    SQLite's own waiting sleeps longer each time, up to a tenth of a second in which nobody has the lock. Two workers
    with small files stood still for a tenth of their time.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    pause = SHORTEST_PAUSE
    _say(connection, "PRAGMA busy_timeout=0")
    try:
        while not _begun(connection, last=time.monotonic() > deadline):
            time.sleep(pause)
            pause = min(pause * 1.1, LONGEST_PAUSE)
    finally:  # what else may have to wait does so in SQLite's way
        _say(connection, f"PRAGMA busy_timeout={BUSY_SECONDS * 1000:.0f}")


def _begun(connection: Connection, *, last: bool) -> bool:
    try:
        # A writer waits here, at its first statement, and never fails in the middle with "database is locked".
        _say(connection, "BEGIN IMMEDIATE")
    except OperationalError as problem:
        busy = isinstance(problem.orig, sqlite3.Error) and problem.orig.sqlite_errorname.startswith("SQLITE_BUSY")
        if last or not busy:
            raise
        return False
    return True


def _say(connection: Connection, statement: str) -> None:
    """To the driver itself: what SQLAlchemy does around a statement takes five times as long as these do."""
    try:
        connection.connection.cursor().execute(statement)
    except sqlite3.OperationalError as problem:
        raise OperationalError(statement, None, problem) from problem
    except sqlite3.DatabaseError as problem:  # of a file that is no database, or not a whole one
        raise DatabaseError(statement, None, problem) from problem


@contextmanager
def writing(engine: Engine, *, forgettable: bool = False, bulk: bool = False) -> Iterator[Connection]:
    """One write transaction; a database that is away, full or locked becomes Unavailable. Never one inside another.

    One whose file is no database, or not a whole one any more, becomes Damaged.

    A `forgettable` one is not fsynced: it survives the death of every process, but a power cut may undo it together
    with whatever was committed after it. Only for what is then done again by itself, and never for a receipt. A `bulk`
    one writes so much that copying it from SQLite's log into the database is left to the next transaction.
    """
    turn = engine.get_execution_options().get("turn") or contextlib.nullcontext()
    options = {"forgettable": True} if forgettable else {}
    with turn, _translated(), engine.connect().execution_options(**options) as connection:
        checkpoint = _no_checkpoint(connection) if bulk else contextlib.nullcontext()
        with checkpoint, connection.begin():
            if forgettable and connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SET LOCAL synchronous_commit TO off")
            yield connection


@contextmanager
def _no_checkpoint(connection: Connection) -> Iterator[None]:
    """Whoever waits for this commit does not wait for the copying too, which takes as long again."""
    if connection.dialect.name != "sqlite":
        yield
        return
    _say(connection, "PRAGMA wal_autocheckpoint=0")
    try:
        yield
    finally:
        _say(connection, f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")


def settle(engine: Engine) -> bool:
    """After an erasure: copies SQLite's log into the database and empties it, so that no file has the old text.

    False when somebody reads an older state for so long that it has to be done again. PostgreSQL keeps the old version
    of a row until its vacuum.
    """
    if engine.dialect.name != "sqlite":
        return True
    with _translated(), engine.connect() as connection:
        busy, *_ = connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def take_turn(connection: Connection, what: str, *, beside: bool = False) -> None:
    """Holds `what` against every other process until the transaction ends, on whatever machine it is.

    Those `beside` each other only wait for one that holds it alone. SQLite's writers take turns anyway.
    """
    if connection.dialect.name == "postgresql":
        function = f"pg_advisory_xact_lock{'_shared' if beside else ''}"
        connection.exec_driver_sql(f"SELECT {function}(hashtextextended(%s, 0))", (f"ingestd {what}",))


def try_turn(connection: Connection, what: str, *, beside: bool = False) -> bool:
    """As `take_turn`, but does not wait: False when another process holds it."""
    if connection.dialect.name != "postgresql":
        return True
    query = f"SELECT pg_try_advisory_xact_lock{'_shared' if beside else ''}(hashtextextended(%s, 0))"
    return bool(connection.exec_driver_sql(query, (f"ingestd {what}",)).scalar())


def repeated(work: Callable[Facts, Done], *facts: Facts.args, **more: Facts.kwargs) -> Done:
    """Does what is one transaction; once more when it and another one waited for each other, since that one is through.

    Whoever takes many rows takes them in one order, and still meets loads and dialling, which take them in theirs.
    """
    try:
        return work(*facts, **more)
    except Deadlocked:
        return work(*facts, **more)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A consistent view for reading; never waits for a writer."""
    with _translated(), engine.connect().execution_options(readonly=True) as connection, connection.begin():
        yield connection


def unless_there(connection: Connection, table: Table) -> Any:
    """INSERT that leaves alone what is there already, as each database says it."""
    make = pg_insert if connection.dialect.name == "postgresql" else sqlite_insert
    return make(table).on_conflict_do_nothing()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except PoolTimeout as problem:  # more threads at once than connections, and those in use are slow
        raise Unavailable("the database is not available: all connections are in use") from problem
    except OperationalError as problem:
        kind = Deadlocked if getattr(problem.orig, "sqlstate", None) == DEADLOCK else Unavailable
        raise kind(f"the database is not available: {problem.orig}") from problem
    except DBAPIError as problem:
        if _damaged(problem.orig):
            raise Damaged(f"the database is damaged: {problem.orig}") from problem
        if not problem.connection_invalidated:
            raise
        raise Unavailable(f"the connection to the database was lost: {problem.orig}") from problem


def _damaged(problem: BaseException | None) -> bool:
    code = problem.sqlite_errorname if isinstance(problem, sqlite3.Error) else ""
    return code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT"))
