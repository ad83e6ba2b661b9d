"""Transactions as the store makes them: durable unless said otherwise, and one writer after the other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, insert, select, update

from ingestd.errors import Damaged, Unavailable
from ingestd.store import engine as store_engine
from ingestd.store.engine import CHECKPOINT_PAGES, open_engine, reading, sqlite_url, writing
from ingestd.store.migrations import upgrade
from ingestd.store.tables import lead_numbers, projects
from tests.conftest import Postgres
from tests.running import until


def synced(connection: Connection) -> bool:
    """Whether the commit of this transaction waits for the disk."""
    if connection.dialect.name == "postgresql":
        return bool(connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on")
    return bool(connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2)


def test_a_database_file_that_is_gone_takes_nothing(tmp_path: Path) -> None:
    """Open connections would still write to it, and a receipt would be lost with it."""
    opened = open_engine(sqlite_url(tmp_path))
    upgrade(opened)
    (tmp_path / "ingestd.db").rename(tmp_path / "moved.db")
    with pytest.raises(Unavailable), writing(opened) as connection:
        connection.execute(insert(projects).values(code="X", name="lost"))
    opened.dispose()


def test_a_database_that_is_not_whole_any_more_is_damaged(tmp_path: Path) -> None:
    opened = open_engine(sqlite_url(tmp_path))
    upgrade(opened)
    opened.dispose()
    database = tmp_path / "ingestd.db"
    content = database.read_bytes()
    database.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    for begun in (reading(opened), writing(opened)):
        with pytest.raises(Damaged, match="the database is damaged"), begun as connection:
            connection.execute(select(projects.c.code)).all()
    opened.dispose()


def test_a_commit_waits_for_the_disk_also_after_one_that_did_not(engine: Engine) -> None:
    with writing(engine) as connection:
        assert synced(connection)
    with writing(engine, forgettable=True) as connection:
        assert not synced(connection)
    with writing(engine) as connection:
        assert synced(connection)


def test_a_forgettable_commit_is_seen_by_others_at_once(engine: Engine) -> None:
    with writing(engine, forgettable=True) as connection:
        connection.execute(insert(lead_numbers).values(id=1, next=5))
    with reading(engine) as connection:
        assert connection.scalar(select(lead_numbers.c.next)) == 5


def test_threads_that_write_at_once_all_get_their_turn(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(insert(lead_numbers).values(id=1, next=0))

    def count(_: int) -> None:
        with writing(engine) as connection:
            seen = connection.scalar(select(lead_numbers.c.next).with_for_update())
            connection.execute(update(lead_numbers).values(next=seen + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(80)))
    with reading(engine) as connection:
        assert connection.scalar(select(lead_numbers.c.next)) == 80


def test_a_bulk_commit_leaves_the_copying_to_the_next_one(tmp_path: Path) -> None:
    engine = open_engine(sqlite_url(tmp_path))
    database = tmp_path / "ingestd.db"
    with writing(engine, bulk=True) as connection:
        connection.exec_driver_sql("CREATE TABLE large (value BLOB)")
        connection.exec_driver_sql(f"INSERT INTO large VALUES (zeroblob({CHECKPOINT_PAGES * 2 * 4096}))")
    assert database.stat().st_size < 4096 * 10
    with writing(engine) as connection:
        connection.exec_driver_sql("INSERT INTO large VALUES (zeroblob(1))")
    assert database.stat().st_size > CHECKPOINT_PAGES * 4096


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[tuple[Engine, Engine]]:
    """Engines of the same file, which know of each other as little as two processes do."""
    opened = open_engine(sqlite_url(tmp_path)), open_engine(sqlite_url(tmp_path))
    upgrade(opened[0])
    yield opened
    for each in opened:
        each.dispose()


def test_a_writer_waits_for_that_of_another_process(processes: tuple[Engine, Engine]) -> None:
    mine, others = processes
    with ThreadPoolExecutor(1) as thread:
        with writing(others) as connection:
            connection.execute(insert(lead_numbers).values(id=1, next=5))
            waiting = thread.submit(add_one, mine)
            with pytest.raises(TimeoutError):
                waiting.result(0.1)
        waiting.result()
    with reading(others) as connection:
        assert connection.scalar(select(lead_numbers.c.next)) == 6


def add_one(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(update(lead_numbers).values(next=lead_numbers.c.next + 1))


def test_a_writer_that_waits_too_long_is_told(
    processes: tuple[Engine, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, others = processes
    monkeypatch.setattr(store_engine, "BUSY_SECONDS", 0.05)
    with writing(others), pytest.raises(Unavailable, match="locked"):
        add_one(mine)
    add_one(mine)
    with reading(mine) as connection:  # anything else that has to wait does so as before
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 50


def test_a_store_whose_connections_are_all_in_use_is_away(postgres: Postgres) -> None:
    engine = create_engine(postgres.new_database(), pool_size=1, max_overflow=0, pool_timeout=0.05)
    with reading(engine), pytest.raises(Unavailable, match="all connections are in use"), reading(engine):
        pass
    engine.dispose()


def backend(engine: Engine) -> int:
    """The process of the server behind the connection that is used next."""
    with reading(engine) as connection:
        return int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())


def lose(engine: Engine, other: Engine) -> int:
    """Has the server close the connection that is used next; returns its process, which is gone."""
    lost = backend(engine)

    def asked(query: str) -> object:
        with reading(other) as connection:
            return connection.exec_driver_sql(query, (lost,)).scalar()

    asked("SELECT pg_terminate_backend(%s)")
    until(lambda: asked("SELECT count(*) FROM pg_stat_activity WHERE pid = %s") == 0, "the connection is closed")
    return lost


@pytest.fixture
def two(postgres: Postgres) -> Iterator[tuple[Engine, Engine]]:
    """Engines of the same database."""
    url = postgres.new_database()
    opened = open_engine(url), open_engine(url)
    yield opened
    for each in opened:
        each.dispose()


def test_a_connection_that_was_lost_in_a_pause_is_replaced(
    two: tuple[Engine, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_engine, "TRUSTED_SECONDS", 0.0)
    assert lose(*two) != backend(two[0])


def test_a_connection_that_is_lost_while_it_is_trusted_is_unavailable_once(
    two: tuple[Engine, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_engine, "TRUSTED_SECONDS", 3600.0)
    assert backend(two[0]) == backend(two[0])
    lost = lose(*two)
    with pytest.raises(Unavailable):
        backend(two[0])
    assert backend(two[0]) != lost
