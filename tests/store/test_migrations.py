"""The migrations make exactly the tables that the code uses."""

from __future__ import annotations

from importlib.resources import files

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from procrastinate.schema import SchemaManager
from sqlalchemy import Engine

from ingestd.store import tables
from ingestd.store.engine import open_engine, reading, writing
from ingestd.store.migrations import configured, upgrade
from ingestd.store.view_tables import metadata
from tests.conftest import Postgres


def test_migrated_tables_are_the_tables_of_the_code(engine: Engine) -> None:
    with reading(engine) as connection:
        # procrastinate's tables are its own: it has no metadata of them, and the next test compares its schema instead.
        own = {"include_name": lambda name, _kind, _parents: not (name or "").startswith("procrastinate_")}
        context = MigrationContext.configure(connection, opts={"compare_type": True, **own})
        assert compare_metadata(context, metadata) == []


def test_the_migrated_queue_is_that_of_the_installed_procrastinate() -> None:
    """A new version of it may bring migrations: then one of ours applies them, and names another file here."""
    kept = files("ingestd.store.migrations") / "procrastinate_3_10.sql"
    assert kept.read_text(encoding="utf-8") == SchemaManager.get_schema()


def test_migrating_twice_does_nothing(engine: Engine) -> None:
    upgrade(engine)


def test_a_migrated_database_is_opened_while_a_load_is_writing(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(tables.projects.insert().values(code="X", name="in the middle of a load"))
        upgrade(engine)  # would wait for a minute, and fail, if it took the write lock


def test_leads_of_before_the_partitions_are_all_there(postgres: Postgres) -> None:
    engine = open_engine(postgres.new_database())
    before = ["(7, 1, 1, 1, 1, 1, '+4520000001')", "(9, 2, 2, 1, 1, 1, '+4520000001')", "(7, 3, 1, 2, 1, 1, '+45')"]
    with writing(engine) as connection:
        config = configured()
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        columns = "campaign_id, id, pool_id, row, owner_id, status_id, phone"
        connection.exec_driver_sql(f"INSERT INTO leads ({columns}) VALUES {', '.join(before)}")
    upgrade(engine)
    with reading(engine) as connection:
        found = connection.exec_driver_sql("SELECT tableoid::regclass::text, id FROM leads ORDER BY id").all()
        options = {
            "compare_type": True,
            "include_name": lambda name, *_: not str(name).startswith(("leads_c", "procrastinate_")),
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
    assert [tuple(row) for row in found] == [("leads_c7", 1), ("leads_c9", 2), ("leads_c7", 3)]
    engine.dispose()
