"""The migrations make exactly the tables that the code uses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from procrastinate.schema import SchemaManager
from sqlalchemy import Connection, Engine, insert, select, update

from ingestd.errors import Misconfigured
from ingestd.store import mappings, pool_calls, pool_counts, tables
from ingestd.store.all_tables import metadata
from ingestd.store.engine import open_engine, reading, sqlite_url, writing
from ingestd.store.migrations import check, configured, upgrade
from ingestd.store.view_tables import saved_views, view_stars
from tests.conftest import Postgres


def differences(connection: Connection, *left_out: str) -> Any:
    """What alembic would change in the database, without tables that begin so."""

    def here(item: Any, _name: str | None, _kind: str, reflected: bool, _other: Any) -> bool:
        only = getattr(item, "_ddl_if", None)  # alembic does not ask for which database an index is
        return reflected or only is None or only.dialect == connection.dialect.name

    options = {
        "compare_type": True,
        "include_name": lambda name, *_: not str(name).startswith(left_out),
        "include_object": here,
    }
    return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


def test_migrated_tables_are_the_tables_of_the_code(engine: Engine) -> None:
    with reading(engine) as connection:
        # procrastinate's tables are its own: it has no metadata of them, and the next test compares its schema instead.
        assert differences(connection, "procrastinate_") == []


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


def test_a_database_of_a_newer_version_is_left_alone(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Misconfigured, match="made by a newer ingestd, with migration 9999; this one knows 00"):
        upgrade(engine)


def test_a_file_that_is_no_database_asks_for_a_backup(tmp_path: Path) -> None:
    (tmp_path / "ingestd.db").write_bytes(b"not a database" * 500)
    engine = open_engine(sqlite_url(tmp_path))
    with pytest.raises(Misconfigured, match="file is not a database; restore a backup"):
        check(engine)
    engine.dispose()


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
        assert differences(connection, "leads_c", "procrastinate_") == []
    assert [tuple(row) for row in found] == [("leads_c7", 1), ("leads_c9", 2), ("leads_c7", 3)]
    engine.dispose()


def test_the_mapping_that_a_source_has_is_its_first_version(tmp_path: Path) -> None:
    engine = open_engine(sqlite_url(tmp_path))
    with writing(engine) as connection:
        config = configured()
        config.attributes["connection"] = connection
        command.upgrade(config, "0010")
        definition = '{"name": "feed", "mapping": {"Fon": "phone", "Größe": ""}}'
        connection.exec_driver_sql("INSERT INTO sources VALUES (7, 'feed', ?, 1)", (definition,))
    upgrade(engine)
    with reading(engine) as connection:
        (first,) = mappings.every(connection, 7)
    assert (first.version, first.mapping, first.saved_by) == (1, {"Fon": "phone", "Größe": ""}, "configuration")
    engine.dispose()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_views_keep_their_stars_and_calls_of_before_are_counted(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    on_sqlite = kind == "sqlite"
    engine = open_engine(sqlite_url(tmp_path) if on_sqlite else request.getfixturevalue("postgres").new_database())
    yesterday = datetime.now(UTC) - timedelta(days=1)
    at = f"'{yesterday:%Y-%m-%d} 12:00:00{'' if on_sqlite else '+00'}'"
    with writing(engine) as connection:
        config = configured()
        config.attributes["connection"] = connection
        command.upgrade(config, "0017")
        if not on_sqlite:
            connection.exec_driver_sql("CREATE TABLE leads_c1 PARTITION OF leads FOR VALUES IN (1)")
        for statement in (
            "INSERT INTO owners (id, kind) VALUES (1, 'team'), (2, 'user')",
            "INSERT INTO teams (id, key, name, active) VALUES (1, 'top', 'Top', true)",
            "INSERT INTO users (id, login, name, team_id, role, active) VALUES (2, 'eva', 'Eva', 1, 'admin', true)",
            f"INSERT INTO lead_views VALUES (7, 2, 'Mine', '{{}}', '[\"id\"]', 'id', false, 1, {at}, 3)",
            "INSERT INTO view_stars VALUES (2, 7)",
            """INSERT INTO leads (campaign_id, id, pool_id, row, owner_id, status_id, phone)
                VALUES (1, 1, 5, 1, 1, 1, '')""",
            f"""INSERT INTO lead_events (campaign_id, lead_id, version, field, kind, at) VALUES
                (1, 1, 1, 'status', 'call', {at}), (1, 1, 1, 'attempts', 'call', {at}),
                (1, 1, 2, 'status', 'call', {at}), (1, 1, 3, 'status', 'status', {at}),
                (1, 1, 0, 'status', 'call', '2020-01-01 12:00:00')""",
        ):
            connection.exec_driver_sql(statement)
    upgrade(engine)
    with writing(engine) as connection:
        (view,) = connection.execute(select(saved_views)).all()
        assert (view.id, view.kind, view.name, view.team_id, view.version) == (7, "leads", "Mine", 1, 3)
        assert connection.execute(select(view_stars)).all() == [(2, 7)]
        values = {**view._mapping, "kind": "pools"}
        del values["id"]
        assert connection.execute(insert(saved_views).values(values)).inserted_primary_key == (8,)
        assert pool_calls.of_pools(connection, [5], [yesterday.date()]) == {5: [2]}
    engine.dispose()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_calls_of_before_that_counted_no_attempt_are_calls(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    on_sqlite = kind == "sqlite"
    engine = open_engine(sqlite_url(tmp_path) if on_sqlite else request.getfixturevalue("postgres").new_database())
    with writing(engine) as connection:
        config = configured()
        config.attributes["connection"] = connection
        command.upgrade(config, "0020")
        if not on_sqlite:
            connection.exec_driver_sql("CREATE TABLE leads_c1 PARTITION OF leads FOR VALUES IN (1)")
        counted = "(pool_id, status_id, called, deactivated, leads, attempts)"
        for statement in (
            """INSERT INTO leads (campaign_id, id, pool_id, row, owner_id, status_id, phone, attempts, called_at) VALUES
                (1, 1, 5, 1, 1, 7, '', 0, '2026-06-15 12:00:00'), (1, 2, 5, 2, 1, 7, '', 2, '2026-06-15 12:00:00'),
                (1, 3, 5, 3, 1, 7, '', 0, NULL)""",
            f"INSERT INTO pool_counts {counted} VALUES (5, 7, false, false, 2, 0), (5, 7, true, false, 1, 2)",
        ):
            connection.exec_driver_sql(statement)
    upgrade(engine)

    def counts() -> set[tuple[int, int | None, bool, int, int]]:
        with reading(engine) as connection:
            groups = pool_counts.of_pools(connection, [5])[5]
        return {(each.status_id, each.result_id, each.called, each.leads, each.attempts) for each in groups}

    assert counts() == {(7, None, False, 1, 0), (7, None, True, 2, 2)}
    with writing(engine) as connection:  # and so are those to come
        these = tables.leads.c.id.in_((1, 2))
        connection.execute(update(tables.leads).where(these).values(status_id=18, result_id=7))
    assert counts() == {(7, None, False, 1, 0), (18, 7, True, 2, 2)}
    engine.dispose()
