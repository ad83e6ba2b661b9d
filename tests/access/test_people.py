"""Users as those who come in, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine

from ingestd.access import callers, people, sessions
from ingestd.access.people import Person
from ingestd.access.permissions import ROLES, Permission, Role
from ingestd.errors import Invalid, Missing
from ingestd.organisation import users
from ingestd.store import audit
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing

AT = datetime(2026, 11, 25, 12, 0, 30, tzinfo=UTC)
DEED = Deed(actor=COMMAND_LINE, at=AT, why="asked for")
HOURS = timedelta(hours=12)


def person(connection: Connection, login: str = "berlin-1") -> Person:
    return people.known(connection, login)


def test_a_user_may_what_the_role_may(organised: Engine) -> None:
    with reading(organised) as connection:
        assert person(connection).permissions == ROLES[Role.AGENT]
        assert person(connection, "admin").permissions == set(Permission)
        with pytest.raises(Missing, match="'nobody'"):
            people.known(connection, "nobody")


def test_a_grant_and_a_revocation_are_kept_and_audited(organised: Engine) -> None:
    with writing(organised) as connection:
        people.allow(connection, DEED, person(connection), Permission.LEAD_ADMIN, granted=True)
        after = people.allow(connection, DEED, person(connection), Permission.DIAL, granted=False)
        assert after.permissions == {Permission.LEAD_ADMIN}
        people.allow(connection, DEED, person(connection), Permission.LEAD_ADMIN, granted=False)
        assert people.exceptions(connection, after.id) == {Permission.DIAL: False}  # the role never had lead_admin
        told = audit.latest(connection, limit=9, subject="user:berlin-1")
    assert [(each.action, each.after) for each in told[:3]] == [
        ("permission_revoked", {"permission": "lead_admin"}),
        ("permission_revoked", {"permission": "dial"}),
        ("permission_granted", {"permission": "lead_admin"}),
    ]
    assert {(each.actor, each.why, each.at) for each in told[:3]} == {("command line", "asked for", AT)}


def test_granting_what_the_role_gives_keeps_no_exception(organised: Engine) -> None:
    with writing(organised) as connection:
        before = len(audit.latest(connection, limit=99))
        people.allow(connection, DEED, person(connection), Permission.DIAL, granted=True)
        assert people.exceptions(connection, person(connection).id) == {}
        assert len(audit.latest(connection, limit=99)) == before


def test_another_password_ends_the_sessions(organised: Engine) -> None:
    with writing(organised) as connection:
        assert people.password_hash(connection, "berlin-1") == ""
        people.set_password(connection, DEED, person(connection), "first hash")
        token = sessions.start(connection, person(connection).id, at=AT, lasts=HOURS)
        people.set_password(connection, DEED, person(connection), "second hash")
        assert people.password_hash(connection, "berlin-1") == "second hash"
        assert sessions.person(connection, token, at=AT) is None
        assert "hash" not in str(audit.latest(connection, limit=99, subject="user:berlin-1")[0].after)


@pytest.mark.parametrize("password", ["", "short", "x" * 1025])
def test_a_password_has_a_length(password: str) -> None:
    with pytest.raises(Invalid, match="12 to 1024"):
        people.check_password(password)


def test_a_session_ends_by_itself_by_logout_and_with_its_user(organised: Engine) -> None:
    with writing(organised) as connection:
        one, two = (sessions.start(connection, person(connection).id, at=AT, lasts=HOURS) for _ in range(2))
        caller = callers.by_session(connection, one, at=AT + HOURS - timedelta(seconds=1))
        assert caller is not None
        assert caller.actor.name == "user:berlin-1"
        assert sessions.person(connection, one, at=AT + HOURS) is None
        sessions.end(connection, one)
        assert sessions.person(connection, one, at=AT) is None
        assert sessions.person(connection, two, at=AT) is not None
        users.edit(connection, DEED, "berlin-1", {"active": False})
        assert sessions.person(connection, two, at=AT) is None
        assert people.password_hash(connection, "berlin-1") == ""


def test_the_store_does_not_have_the_token(organised: Engine) -> None:
    with writing(organised) as connection:
        token = sessions.start(connection, person(connection).id, at=AT, lasts=HOURS)
        kept = connection.exec_driver_sql("SELECT * FROM sessions").all()
    assert token not in str(kept)
    assert sessions.digest(token) in str(kept)


def test_sessions_that_expired_are_cleared_at_the_next_login(organised: Engine) -> None:
    with writing(organised) as connection:
        sessions.start(connection, person(connection).id, at=AT, lasts=HOURS)
        sessions.start(connection, person(connection).id, at=AT + HOURS, lasts=HOURS)
        assert len(connection.exec_driver_sql("SELECT * FROM sessions").all()) == 1
