"""Each campaign's leads lie in a partition of their own on PostgreSQL, which looks to all others like one table."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, Engine, inspect

from ingestd.store import partitions
from ingestd.store.engine import open_engine, reading, writing
from tests.conftest import Postgres

ROW = "INSERT INTO {table} (campaign_id, id, pool_id, row, owner_id, status_id, phone) VALUES ({campaign}, {id}, 1, 1, 1, 1, '+45')"  # noqa: E501 - one statement


@pytest.fixture
def engine(postgres: Postgres, migrated: str) -> Engine:
    return open_engine(postgres.new_database(migrated))


def add(connection: Connection, table: str, campaign: int, number: int) -> None:
    connection.exec_driver_sql(ROW.format(table=table, campaign=campaign, id=number))


def test_a_partition_is_seen_only_when_its_load_is_committed(engine: Engine) -> None:
    with writing(engine) as connection:
        assert not partitions.there(connection, 3)
        with partitions.made(connection, 3) as table:
            add(connection, table, 3, 1)
            with reading(engine) as other:
                assert other.exec_driver_sql("SELECT count(*) FROM leads").scalar() == 0
    with reading(engine) as connection:
        assert partitions.there(connection, 3)
        assert connection.exec_driver_sql("SELECT campaign_id, id FROM leads").all() == [(3, 1)]
    engine.dispose()


def test_one_that_was_begun_is_no_partition_until_it_is_made(engine: Engine) -> None:
    with writing(engine) as connection:
        partitions.begin(connection, 3)
        assert not partitions.there(connection, 3)
        with partitions.made(connection, 3) as table:
            add(connection, table, 3, 1)
        assert partitions.there(connection, 3)
        partitions.begin(connection, 3)  # which changes nothing any more
        assert connection.exec_driver_sql("SELECT campaign_id, id FROM leads").all() == [(3, 1)]
    engine.dispose()


def test_a_partition_has_the_indexes_of_the_table(engine: Engine) -> None:
    with writing(engine) as connection, partitions.made(connection, 3) as table:
        add(connection, table, 3, 1)
    found = inspect(engine)
    indexes = {tuple(index["column_names"]) for index in found.get_indexes("leads_c3")}
    assert indexes == {tuple(index["column_names"]) for index in found.get_indexes("leads")}
    assert indexes > {("phone",), ("pool_id", "id")}
    assert len(found.get_indexes("leads_c3")) == len(found.get_indexes("leads"))
    assert found.get_pk_constraint("leads_c3")["constrained_columns"] == ["campaign_id", "id"]
    assert found.get_check_constraints("leads_c3") == []
    engine.dispose()


def test_what_is_the_same_in_all_rows_is_filled_in_for_them_alone(engine: Engine) -> None:
    same = {"campaign_id": 3, "pool_id": 8, "status_id": 2}
    with (
        writing(engine) as connection,
        partitions.made(connection, 3) as table,
        partitions.filled_in(connection, table, same),
    ):
        connection.exec_driver_sql(f"INSERT INTO {table} (id, row, owner_id, phone) VALUES (1, 1, 1, '+45')")
    with reading(engine) as connection:
        assert connection.exec_driver_sql("SELECT campaign_id, pool_id, status_id FROM leads").all() == [(3, 8, 2)]
    columns = {column["name"]: column["default"] for column in inspect(engine).get_columns("leads_c3")}
    assert {name for name, default in columns.items() if default is not None} == {"attempts", "version"}
    engine.dispose()


def test_two_campaigns_get_their_partitions_at_the_same_time(engine: Engine) -> None:
    with writing(engine) as first, partitions.made(first, 3) as table:
        add(first, table, 3, 1)
        with writing(engine) as second, partitions.made(second, 4) as other:
            add(second, other, 4, 2)
    with reading(engine) as connection:
        assert connection.exec_driver_sql("SELECT campaign_id, id FROM leads ORDER BY id").all() == [(3, 1), (4, 2)]
    engine.dispose()


def fail_in_the_middle(engine: Engine) -> None:
    with writing(engine) as connection, partitions.made(connection, 3) as table:
        add(connection, table, 3, 1)
        raise ZeroDivisionError


def test_a_load_that_fails_leaves_no_partition(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_in_the_middle(engine)
    with reading(engine) as connection:
        assert not partitions.there(connection, 3)
    engine.dispose()
