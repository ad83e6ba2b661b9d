"""The audit, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError

from ingestd.store import audit
from ingestd.store.audit import Actor, Deed
from ingestd.store.engine import reading, writing

AT = datetime(2026, 11, 25, tzinfo=UTC)
DEED = Deed(actor=Actor(name="user:anna", user_id=7, key_id="k"), at=AT, why="because")


def test_only_what_differs_is_kept(engine: Engine) -> None:
    with writing(engine) as connection:
        audit.note(connection, DEED, "team_changed", "team:a", before={"x": 1, "y": 2}, after={"x": 1, "y": 3})
        audit.note(connection, DEED, "team_added", "team:b", after={"x": "é"})
        second, first = audit.latest(connection, limit=9)
    assert (first.before, first.after, first.why, first.at) == ({"y": 2}, {"y": 3}, "because", AT)
    assert (second.before, second.after) == (None, {"x": "é"})


def test_it_is_read_from_the_newest_on(engine: Engine) -> None:
    with writing(engine) as connection:
        for number in range(5):
            audit.note(connection, DEED, "x", f"team:{number % 2}")
        page = audit.latest(connection, limit=2)
        rest = audit.latest(connection, limit=9, before=page[-1].id)
        assert [each.id for each in (*page, *rest)] == sorted((each.id for each in (*page, *rest)), reverse=True)
        assert len(rest) == 3
        assert len(audit.latest(connection, limit=9, subject="team:1")) == 2


@pytest.mark.parametrize("statement", ["UPDATE audit SET why = ''", "DELETE FROM audit"])
def test_nobody_changes_a_line(engine: Engine, statement: str) -> None:
    with writing(engine) as connection:
        audit.note(connection, DEED, "x", "team:a")
    with pytest.raises(DatabaseError, match="append only"), writing(engine) as connection:
        connection.exec_driver_sql(statement)
    with reading(engine) as connection:
        assert len(audit.latest(connection, limit=9)) == 1
