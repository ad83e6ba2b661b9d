"""A whole store as one file, taken while others write, and put back: by each database's own means.

SQLite: the online backup within one read transaction, so that a store that is written to is copied once and not again
and again. PostgreSQL: pg_dump, in a snapshot that this connection has exported.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, func, inspect, select
from sqlalchemy import table as named
from sqlalchemy.exc import SQLAlchemyError

from ingestd.errors import Rejected, Unavailable
from ingestd.store import erasures, pgtools
from ingestd.store.engine import reading, writing
from ingestd.store.tables import deliveries, identity

PAGES = 4_096
"""of SQLite that are copied between two looks at the progress: 16 MiB"""

Advance = Callable[[int, int], None]
"""Is told how much is done, and of how much."""


@dataclass(frozen=True, kw_only=True)
class Named:
    """A file of the spool that the store names."""

    delivery_id: int
    spool_key: str
    size: int
    """bytes"""
    sha256: str


@dataclass(frozen=True, kw_only=True)
class StoreFacts:
    """What a store says about itself; a restored one must say the same."""

    kind: str
    """`sqlite` or `postgresql`"""
    server: int
    """version of the PostgreSQL server as one number, such as 150018; 0 for SQLite"""
    identity: str
    """the name that the store shares with its home"""
    revision: str
    """the newest migration that was applied"""
    tables: dict[str, int]
    """rows of each table"""


@contextmanager
def taken(engine: Engine, target: Path, advance: Advance) -> Iterator[Connection]:
    """Copies the store to a new file; the connection sees exactly what is in the copy. Raises Unavailable."""
    if engine.dialect.name == "sqlite":
        with reading(engine) as connection:
            _copy_sqlite(connection, target, advance)
            yield connection
    else:
        with reading(engine.execution_options(isolation_level="REPEATABLE READ")) as connection:
            _dump(connection, engine, target)
            yield connection


def _copy_sqlite(connection: Connection, target: Path, advance: Advance) -> None:
    connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()  # the transaction begins to read here
    source = connection.connection.driver_connection
    assert isinstance(source, sqlite3.Connection)
    try:
        with closing(sqlite3.connect(target)) as copy:
            source.backup(copy, pages=PAGES, progress=lambda _, left, total: advance(total - left, total))
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
            (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as problem:
        raise Unavailable(f"the store cannot be copied: {problem}") from problem
    if found != "ok":
        raise Unavailable(f"the store is damaged: {found}")


def _dump(connection: Connection, engine: Engine, target: Path) -> None:
    snapshot = connection.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one()
    schema = connection.exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    program = pgtools.program("pg_dump", pgtools.server_version(connection))
    wanted = (f"--snapshot={snapshot}", f"--schema={schema}", "--format=custom", "--compress=1", f"--file={target}")
    pgtools.run(program, engine, *wanted)


def facts(connection: Connection) -> StoreFacts:
    """What the store says about itself; raises Rejected when it is no store of ours."""
    tables = inspect(connection).get_table_names()
    if identity.name not in tables:
        raise Rejected("store_missing", "the database has no tables of ingestd", suggestion="look at store.url")
    its = connection.scalar(select(identity.c.value)) or ""
    counts = {name: connection.scalar(select(func.count()).select_from(named(name))) or 0 for name in sorted(tables)}
    return StoreFacts(
        kind=connection.dialect.name,
        server=0 if connection.dialect.name == "sqlite" else pgtools.server_version(connection),
        identity=its,
        revision=MigrationContext.configure(connection).get_current_revision() or "",
        tables=counts,
    )


def files(connection: Connection) -> list[Named]:
    """Every file of the spool that a delivery names, oldest first."""
    table = deliveries.c
    columns = select(table.id, table.spool_key, table.size, table.sha256)
    found = connection.execute(columns.where(table.spool_key != "").order_by(table.id))
    rewritten = erasures.all_latest(connection)
    files = ((row, rewritten.get(row.id, row)) for row in found)
    return [Named(delivery_id=row.id, spool_key=row.spool_key, size=now.size, sha256=now.sha256) for row, now in files]


def logs(connection: Connection) -> list[str]:
    """The key of every pool log that a delivery names."""
    table = deliveries.c
    return list(connection.scalars(select(table.log_key).where(table.log_key != "").order_by(table.id)))


def names_file(engine: Engine, spool_key: str) -> bool:
    """Whether a delivery still names a file of the spool."""
    with reading(engine) as connection:
        return connection.scalar(select(deliveries.c.id).where(deliveries.c.spool_key == spool_key)) is not None


def is_empty(engine: Engine) -> bool:
    """True when nothing would be overwritten by a restored store."""
    if engine.dialect.name == "sqlite":
        return not database_file(engine).exists()
    with reading(engine) as connection:
        return not inspect(connection).get_table_names()


def database_file(engine: Engine) -> Path:
    """The file of an SQLite store."""
    return Path(str(engine.url.database))


def put_back(engine: Engine, copy: Path, made_on: int) -> None:
    """Restores the copy of a store into an empty database, whole or not at all; raises Unavailable.

    `made_on` is the version of the PostgreSQL server that the copy came from.
    """
    if engine.dialect.name == "sqlite":
        _place(database_file(engine), copy)
        return
    with reading(engine) as connection:
        server = pgtools.server_version(connection)
        schema = connection.exec_driver_sql("SELECT current_schema()").scalar_one()
    if pgtools.major(server) < pgtools.major(made_on):
        told = f"the backup is of PostgreSQL {pgtools.major(made_on)}, this server is {pgtools.major(server)}"
        raise Unavailable(f"{told}; restore into a server of that version or a later one")
    program = pgtools.program("pg_restore", max(server, made_on))
    # Only what is in the schema: the schema itself is there. Roles and rights are the new server's.
    wanted = (f"--schema={schema}", "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges")
    pgtools.run(program, engine, *wanted, str(copy))
    with writing(engine) as connection:
        connection.exec_driver_sql("ANALYZE")  # a restored database knows nothing of its rows, and would plan badly


def _place(database: Path, copy: Path) -> None:
    partial = database.with_name(f"{database.name}.restoring")
    try:
        shutil.copyfile(copy, partial)
        partial.chmod(0o600)
        partial.rename(database)
    except OSError as problem:
        partial.unlink(missing_ok=True)
        raise Unavailable(f"{database} cannot be written: {problem.strerror or problem}") from problem


@contextmanager
def aside(engine: Engine, name: str) -> Iterator[None]:
    """Keeps what a PostgreSQL database holds under another schema; brings it back when the block fails."""
    with writing(engine) as connection:
        schema = connection.exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
        connection.exec_driver_sql(f'ALTER SCHEMA {schema} RENAME TO "{name}"')
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    try:
        yield
    except BaseException:
        with writing(engine) as connection:
            connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
            connection.exec_driver_sql(f'ALTER SCHEMA "{name}" RENAME TO {schema}')
        raise


def check_same(engine: Engine, told: StoreFacts) -> None:
    """Raises Unavailable unless the store says of itself what the backup says of it."""
    try:
        with reading(engine) as connection:
            its = facts(connection)
    except (SQLAlchemyError, Rejected) as problem:
        raise Unavailable(f"the restored store cannot be read: {problem}") from problem
    if (its.identity, its.revision, its.tables) != (told.identity, told.revision, told.tables):
        differing = sorted(name for name in told.tables if its.tables.get(name) != told.tables[name])
        raise Unavailable(f"the restored store is not what was backed up; tables that differ: {', '.join(differing)}")
