"""API keys, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from ingestd.access import callers, keys, people
from ingestd.access.permissions import Permission
from ingestd.errors import Conflict, Denied, Invalid, Missing
from ingestd.organisation import users
from ingestd.store import audit
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing

AT = datetime(2026, 11, 25, 12, 0, 30, tzinfo=UTC)
DEED = Deed(actor=COMMAND_LINE, at=AT)
POOLS = {Permission.LEAD_POOLS}


def test_a_key_is_found_by_its_secret_and_by_nothing_else(organised: Engine) -> None:
    with writing(organised) as connection:
        issued = keys.issue(connection, DEED, "feed", POOLS)
        number, secret = issued.secret.split(".")
        assert keys.find(connection, issued.secret) == issued.key
        for wrong in ("", ".", number, f"{number}.", f"{number}.{secret}x", f"x.{secret}", f"{number}.\udcff"):
            assert keys.find(connection, wrong) is None
        kept = connection.exec_driver_sql("SELECT * FROM api_keys").all()
        assert secret not in str(kept)
        assert secret not in str(audit.latest(connection, limit=9))


def test_a_key_ends_by_its_expiry_and_by_revocation(organised: Engine) -> None:
    with writing(organised) as connection:
        key = keys.issue(connection, DEED, "feed", POOLS, expires_at=AT + timedelta(days=1)).key
        assert key.spent(AT) == ""
        assert key.spent(AT + timedelta(days=1)) == "the key has expired"
        keys.revoke(connection, DEED, key)
        revoked = keys.known(connection, key.id)
        assert revoked.spent(AT) == "the key was revoked"
        with pytest.raises(Conflict):
            keys.revoke(connection, DEED, revoked)
        assert [each.action for each in audit.latest(connection, limit=2)] == ["key_revoked", "key_added"]


def test_a_key_can_do_no_more_than_its_user(organised: Engine) -> None:
    with writing(organised) as connection:
        admin = people.known(connection, "admin")
        key = keys.issue(connection, DEED, "mine", POOLS, user_id=admin.id).key
        assert keys.may(key, people.by_id(connection, admin.id)) == POOLS
        people.allow(connection, DEED, admin, Permission.LEAD_POOLS, granted=False)
        assert keys.may(key, people.by_id(connection, admin.id)) == frozenset()
        people.allow(connection, DEED, people.known(connection, "admin"), Permission.LEAD_POOLS, granted=True)
        users.edit(connection, DEED, "admin", {"active": False})
        assert keys.may(key, people.by_id(connection, admin.id)) == frozenset()


def test_the_last_use_is_kept_to_the_minute(organised: Engine) -> None:
    with writing(organised) as connection:
        key = keys.issue(connection, DEED, "feed", POOLS).key
        keys.used(connection, key.id, AT)
        assert keys.known(connection, key.id).last_used_at == AT.replace(second=0)


def test_a_key_that_would_open_nothing_is_not_made(organised: Engine) -> None:
    with reading(organised) as connection:
        with pytest.raises(Invalid):
            keys.issue(connection, DEED, "x", set())
        with pytest.raises(Invalid):
            keys.issue(connection, DEED, " ", POOLS)
        with pytest.raises(Invalid):
            keys.issue(connection, DEED, "x", POOLS, expires_at=AT)
        with pytest.raises(Missing):
            keys.issue(connection, DEED, "x", POOLS, source="nowhere")


def test_a_caller_says_what_it_lacks(organised: Engine) -> None:
    with writing(organised) as connection:
        caller = callers.by_key(connection, keys.issue(connection, DEED, "feed", POOLS, source="nordlead").key)
    caller.require([Permission.LEAD_ADMIN, Permission.LEAD_POOLS])
    caller.require([])
    with pytest.raises(Denied, match="lead_admin") as denied:
        caller.require([Permission.LEAD_ADMIN])
    assert denied.value.facts == {"permission": "lead_admin"}
    assert caller.may_act_for("nordlead")
    assert not caller.may_act_for("stadtwerk")
    assert caller.deed(AT).actor.key_id == caller.key.id  # type: ignore[union-attr]


def test_keys_are_listed_by_user_and_source(organised: Engine) -> None:
    with writing(organised) as connection:
        admin = people.known(connection, "admin")
        mine = keys.issue(connection, DEED, "mine", POOLS, user_id=admin.id).key
        feed = keys.issue(connection, DEED, "feed", POOLS, source="nordlead").key
        assert keys.every(connection, user_id=admin.id) == [mine]
        assert keys.every(connection, source="nordlead") == [feed]
        assert len(keys.every(connection)) == 2
        assert mine.user == "admin"
