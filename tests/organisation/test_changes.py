"""Changes of the organisation, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, insert

from ingestd.access.permissions import Permission
from ingestd.errors import Conflict, Denied, Invalid, Missing, Stale
from ingestd.organisation import campaigns, changes, owners, sources, users
from ingestd.store import audit, facts, organisation, rules, tables
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing
from tests.databases import ROOT

DEED = Deed(actor=COMMAND_LINE, at=datetime(2026, 11, 25, tzinfo=UTC), why="tidy")
SCHEMAS = ROOT / "schemas"


def with_leads(connection: Connection, owner: str, count: int) -> None:
    """Leads in the campaign DE-ENERGY that a team or user owns."""
    kind, _, key = owner.partition(":")
    number = facts.number(connection, kind, key)  # type: ignore[arg-type]
    campaign = facts.number(connection, "campaign", "DE-ENERGY")
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"CREATE TABLE leads_c{campaign} PARTITION OF leads FOR VALUES IN ({campaign})")
    row: dict[str, Any] = {"campaign_id": campaign, "pool_id": 1, "owner_id": number, "status_id": 1, "phone": "+45"}
    connection.execute(insert(tables.leads), [{**row, "id": each, "row": each} for each in range(1, count + 1)])


def test_a_team_is_made_renamed_moved_and_taken_out(organised: Engine) -> None:
    with writing(organised) as connection:
        first = changes.create(connection, DEED, "team", "malmo", {"name": "M", "parent": "company", "code": " SE "})
        assert first.facts == {"name": "M", "parent": "company", "code": "SE", "active": True}
        moved = changes.edit(connection, DEED, "team", "malmo", {"name": "Malmö", "parent": "denmark"}, seen=first.tag)
        assert moved.tag != first.tag
        assert rules.owners(connection).by_code["se"].name == "malmo"
        gone = owners.edit(connection, DEED, "team", "malmo", {"active": False})
        assert gone.facts == {"name": "Malmö", "parent": "denmark", "code": None, "active": False}
        told = audit.latest(connection, limit=3, subject="team:malmo")
        assert [each.action for each in told] == ["team_changed", "team_changed", "team_added"]
        assert told[1].before == {"name": "M", "parent": "company"}
        assert organisation.version(connection, "organisation") == 4


def test_nothing_is_written_when_nothing_changes(organised: Engine) -> None:
    with writing(organised) as connection:
        before = len(audit.latest(connection, limit=999))
        changes.edit(connection, DEED, "team", "berlin", {"name": "Berlin"})
        assert len(audit.latest(connection, limit=999)) == before


def test_who_has_read_an_older_state_changes_nothing(organised: Engine) -> None:
    with writing(organised) as connection:
        read = changes.get(connection, "team", "berlin").tag
        changes.edit(connection, DEED, "team", "berlin", {"name": "B"}, seen=read)
        with pytest.raises(Stale):
            changes.edit(connection, DEED, "team", "berlin", {"name": "C"}, seen=read)


@pytest.mark.parametrize(
    ("key", "values", "code"),
    [
        ("denmark", {"parent": "copenhagen-evening"}, "team_circle"),
        ("denmark", {"parent": "denmark"}, "team_circle"),
        ("company", {"parent": "denmark"}, "team_circle"),
        ("berlin", {"parent": None}, "organisation_inconsistent"),
        ("berlin", {"code": "dk-cph "}, "code_taken"),
        ("berlin", {"code": "ham-101"}, "code_taken"),
        ("denmark", {"active": False}, "in_use"),
    ],
)
def test_a_team_that_would_not_fit_is_a_conflict(
    organised: Engine, key: str, values: dict[str, Any], code: str
) -> None:
    with pytest.raises(Conflict) as conflict, writing(organised) as connection:
        changes.edit(connection, DEED, "team", key, values)
    assert conflict.value.code == code
    if code == "in_use":
        assert conflict.value.facts["hanging"]["teams"] == ["aarhus", "copenhagen"]


def test_what_is_no_value_or_not_there_is_said(organised: Engine) -> None:
    with writing(organised) as connection:
        with pytest.raises(Missing):
            changes.edit(connection, DEED, "team", "nowhere", {"name": "x"})
        with pytest.raises(Invalid) as invalid:
            changes.create(connection, DEED, "team", "new", {"name": "x", "parent": "nowhere"})
        assert invalid.value.facts["field"] == "parent"
        with pytest.raises(Invalid):
            changes.create(connection, DEED, "team", "a b", {"name": "x", "parent": "company"})
        with pytest.raises(Conflict) as conflict:
            changes.create(connection, DEED, "team", "berlin", {"name": "x", "parent": "company"})
        assert conflict.value.code == "exists"
        with pytest.raises(Invalid, match="no such time zone"):
            campaigns.edit(connection, DEED, "DK-FIBRE", {"timezone": "Mars"}, folder=SCHEMAS)
        with pytest.raises(Invalid, match="no template 'nothing'"):
            campaigns.edit(connection, DEED, "DK-FIBRE", {"template": "nothing"}, folder=SCHEMAS)


def test_taking_a_code_away_says_for_how_many_leads(organised: Engine) -> None:
    with writing(organised) as connection:
        with_leads(connection, "team:berlin", 3)
    with pytest.raises(Conflict, match="berlin owns 3 leads") as conflict, writing(organised) as connection:
        owners.edit(connection, DEED, "team", "berlin", {"code": "B-NEW"})
    assert conflict.value.facts == {"leads": 3, "code_lost": "DE-BER"}
    with reading(organised) as connection:
        assert changes.get(connection, "team", "berlin").facts["code"] == "DE-BER"
    with writing(organised) as connection:
        after = owners.edit(connection, DEED, "team", "berlin", {"code": "B-NEW"}, confirmed=True)
        assert after.facts["code"] == "B-NEW"
        other = owners.edit(connection, DEED, "team", "berlin", {"code": "b-new", "name": "B"})  # the same code
        assert other.facts["code"] == "b-new"


def test_a_user_or_campaign_with_leads_is_taken_out_after_a_word(organised: Engine) -> None:
    with writing(organised) as connection:
        with_leads(connection, "user:berlin-1", 2)
        # nothing may load into it any more
        sources.edit(connection, DEED, "stadtwerk", {"campaign": "DK-ENERGY"}, folder=SCHEMAS)
    with pytest.raises(Conflict, match="owns 2 leads"), writing(organised) as connection:
        users.edit(connection, DEED, "berlin-1", {"active": False})
    with pytest.raises(Conflict, match="has 2 leads"), writing(organised) as connection:
        campaigns.edit(connection, DEED, "DE-ENERGY", {"active": False}, folder=SCHEMAS)
    with writing(organised) as connection:
        assert not users.edit(connection, DEED, "berlin-1", {"active": False}, confirmed=True).facts["active"]
        campaigns.edit(connection, DEED, "DE-ENERGY", {"active": False}, folder=SCHEMAS, confirmed=True)
        campaigns.edit(connection, DEED, "DE-ENERGY", {"active": True, "max_attempts": 3}, folder=SCHEMAS)


def test_codes_are_found_trimmed_and_without_case(organised: Engine) -> None:
    with reading(organised) as connection:
        assert owners.code(connection, " de-ber").owner == "berlin"
        with pytest.raises(Missing):
            owners.code(connection, "XX")
        assert {each.kind for each in owners.codes(connection)} == {"team", "user"}


def test_nobody_has_power_over_whoever_may_more(organised: Engine) -> None:
    mine = frozenset({Permission.MANAGE_ORGANISATION, Permission.DIAL})
    with writing(organised) as connection:
        for done in (
            lambda: users.create(connection, DEED, "x", {"name": "x", "team": "berlin", "role": "admin"}, mine=mine),
            lambda: users.edit(connection, DEED, "admin", {"name": "x"}, mine=mine),
            lambda: users.edit(connection, DEED, "berlin-1", {"role": "admin"}, mine=mine),
            lambda: users.set_password(connection, DEED, "admin", "hash", mine=mine),
            lambda: users.allow(connection, DEED, "berlin-1", Permission.LEAD_ADMIN, granted=True, mine=mine),
            lambda: users.allow(connection, DEED, "admin", Permission.DIAL, granted=False, mine=mine),
        ):
            with pytest.raises(Denied):
                done()
        users.create(connection, DEED, "x", {"name": "x", "team": "berlin"}, mine=mine)


def test_a_source_is_made_changed_and_given_logins(organised: Engine) -> None:
    with writing(organised) as connection:
        values = {"title": "New", "campaign": "DK-FIBRE", "default_owner": "team:denmark"}
        sources.create(connection, DEED, "newfeed", values, folder=SCHEMAS)
        doors = {"public_keys": (), "protocols": ("sftp",)}
        sources.add_login(connection, DEED, "newfeed", "newfeed", encoded="$argon2id$x", **doors)
        sources.edit(connection, DEED, "newfeed", {"mapping": {"Tlf": "phone"}}, folder=SCHEMAS)
        loaded = organisation.source(connection, "newfeed")
        assert loaded is not None
        assert (loaded.login[0].login, loaded.mapping) == ("newfeed", {"Tlf": "phone"})
        assert [each.version for each in sources.versions(connection, "newfeed")] == [3, 2, 1]
        assert organisation.version(connection, "sources") == 4
        sources.add_login(connection, DEED, "newfeed", "newfeed", encoded="$argon2id$y", **doors)
        changed = audit.latest(connection, limit=1)[0]
        assert "argon2id" not in str(changed)
        assert changed.before != changed.after
        sources.remove_login(connection, DEED, "newfeed", "newfeed")
        with pytest.raises(Missing):
            sources.remove_login(connection, DEED, "newfeed", "newfeed")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"campaign": "NOWHERE"}, Conflict),
        ({"default_owner": "team:nowhere"}, Conflict),
        ({"mapping": {"x": "phonne"}}, Invalid),
        ({"code_in_name": "("}, Invalid),
    ],
)
def test_a_source_that_would_not_fit_is_not_taken(
    organised: Engine, values: dict[str, Any], kind: type[Exception]
) -> None:
    with pytest.raises(kind), writing(organised) as connection:
        sources.edit(connection, DEED, "nordlead", values, folder=SCHEMAS)
    with reading(organised) as connection:
        assert len(sources.versions(connection, "nordlead")) == 1


def test_a_login_belongs_to_one_source(organised: Engine) -> None:
    with pytest.raises(Conflict, match="another source"), writing(organised) as connection:
        sources.add_login(connection, DEED, "nordlead", "stadtwerk", encoded="$argon2id$", public_keys=(), protocols=())
    with pytest.raises(Invalid, match="neither password_hash nor public_keys"), writing(organised) as connection:
        sources.add_login(connection, DEED, "nordlead", "x", encoded=None, public_keys=(), protocols=("sftp",))


def test_who_may_call_in_a_campaign_is_changed(organised: Engine) -> None:
    with writing(organised) as connection:
        names = ["user:berlin-1", "team:denmark", "user:berlin-1"]
        edited = campaigns.edit(connection, DEED, "DK-FIBRE", {"access": names}, folder=SCHEMAS)
        assert edited.facts["access"] == ["team:denmark", "user:berlin-1"]
        assert changes.get(connection, "campaign", "DK-FIBRE") == edited
        assert changes.get(connection, "campaign", "DK-ENERGY").facts["access"] == []
        (told,) = audit.latest(connection, limit=1, subject="campaign:DK-FIBRE")
        assert (told.before, told.after) == ({"access": []}, {"access": ["team:denmark", "user:berlin-1"]})
        for wrong in ("team:nowhere", "user:denmark", "denmark"):
            with pytest.raises(Invalid) as invalid:
                campaigns.edit(connection, DEED, "DK-FIBRE", {"access": [wrong]}, folder=SCHEMAS)
            assert invalid.value.facts["field"].startswith("access")
        opened = campaigns.edit(connection, DEED, "DK-FIBRE", {"access": []}, folder=SCHEMAS)
        assert opened.facts["access"] == []
