"""The organisation in the store, on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError

from ingestd.errors import Misconfigured
from ingestd.organisation import changes
from ingestd.organisation import sources as source_definitions
from ingestd.settings import Configuration, Organisation
from ingestd.store import audit, lead_tables, organisation, rules, tables
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing
from ingestd.store.ledger import now


def applied(engine: Engine, configuration: Configuration) -> organisation.Changes:
    with writing(engine) as connection:
        return organisation.apply(connection, configuration, now())


def changed(example: Configuration, **parts: object) -> Configuration:
    return example.model_copy(update={"organisation": example.organisation.model_copy(update=parts)})


def test_the_example_has_what_the_house_promises(example: Configuration) -> None:
    parents = {team.key: team.parent for team in example.organisation.team}

    def depth(key: str | None) -> int:
        return 0 if key is None else 1 + depth(parents[key])

    assert max(depth(key) for key in parents) >= 3
    assert len(example.organisation.user) == 20
    assert (len(example.organisation.project), len(example.organisation.campaign)) == (2, 3)
    assert len(example.sources.source) == 3
    kinds = [status.kind for status in example.statuses.status]
    assert (kinds.count("open"), kinds.count("closed")) == (14, 22)


def test_applying_twice_changes_nothing(organised: Engine, example: Configuration) -> None:
    assert applied(organised, example) == organisation.Changes()
    with reading(organised) as connection:
        assert organisation.version(connection, "organisation") == 1


def test_owners_keep_their_number_when_renamed(organised: Engine, example: Configuration) -> None:
    with reading(organised) as connection:
        before = rules.owners(connection).by_code["dk-cph"]
    teams = [
        t.model_copy(update={"name": "København"}) if t.key == "copenhagen" else t for t in example.organisation.team
    ]
    assert applied(organised, changed(example, team=tuple(teams))) == organisation.Changes(changed=1)
    with reading(organised) as connection:
        assert rules.owners(connection).by_code["dk-cph"] == before
        assert organisation.version(connection, "organisation") == 2


def test_two_owners_swap_their_codes(organised: Engine, example: Configuration) -> None:
    swap = {"berlin": "DE-HAM", "hamburg": "DE-BER"}
    teams = [t.model_copy(update={"code": swap.get(t.key, t.code)}) for t in example.organisation.team]
    applied(organised, changed(example, team=tuple(teams)))
    with reading(organised) as connection:
        assert rules.owners(connection).by_code["de-ber"].name == "hamburg"


def test_who_is_gone_is_deactivated_and_owns_nothing_new(organised: Engine, example: Configuration) -> None:
    users = tuple(user for user in example.organisation.user if user.login != "berlin-1")
    assert applied(organised, changed(example, user=users)).deactivated == 1
    with reading(organised) as connection:
        assert "ber-101" not in rules.owners(connection).by_code
        assert connection.scalar(select(tables.users.c.active).where(tables.users.c.login == "berlin-1")) is False
    assert applied(organised, example).changed == 1  # and back again


@pytest.mark.parametrize("taken", ["DK-CPH", "dk-cph"])
def test_a_code_is_unique_over_teams_and_users(organised: Engine, taken: str) -> None:
    with pytest.raises(IntegrityError), writing(organised) as connection:
        connection.execute(
            tables.owners.insert().values(kind="user", ownership_code=taken, ownership_code_key="dk-cph")
        )


def test_the_tree_is_told_top_first(organised: Engine) -> None:
    with reading(organised) as connection:
        tree = organisation.tree(connection)
    assert [(team["key"], team["depth"]) for team in tree[:2]] == [("company", 0), ("denmark", 1)]
    evening = next(team for team in tree if team["key"] == "copenhagen-evening")
    assert evening["depth"] == 3
    assert [user["ownership_code"] for user in evening["users"]] == ["EVE-101", "EVE-102", "EVE-103"]


def test_a_status_keeps_its_number_when_the_file_is_reordered(organised: Engine, example: Configuration) -> None:
    with reading(organised) as connection:
        before = rules.statuses(connection)
    statuses = example.statuses.model_copy(update={"status": tuple(reversed(example.statuses.status))})
    assert applied(organised, example.model_copy(update={"statuses": statuses})) == organisation.Changes()
    with reading(organised) as connection:
        assert rules.statuses(connection) == before
    assert set(before) == {
        "unprocessed", "invalid_phone_number", "in_do_not_call_list", "in_global_do_not_call_list", "duplicate",
    }  # fmt: skip


# --- the file beside the API and the command line

DEED = Deed(actor=COMMAND_LINE, at=now())


def renamed(example: Configuration, **names: str) -> Configuration:
    teams = [t.model_copy(update={"name": names.get(t.key, t.name)}) for t in example.organisation.team]
    return changed(example, team=tuple(teams))


def test_what_was_made_by_api_is_not_touched_by_an_import(organised: Engine, example: Configuration) -> None:
    with writing(organised) as connection:
        made = changes.create(connection, DEED, "team", "malmo", {"name": "Malmö", "parent": "denmark", "code": "SE"})
    assert applied(organised, example) == organisation.Changes()
    assert applied(organised, renamed(example, berlin="Bärlin")).changed == 1
    with reading(organised) as connection:
        assert changes.get(connection, "team", "malmo") == made


def test_what_was_changed_by_api_stays_and_is_told(organised: Engine, example: Configuration) -> None:
    with writing(organised) as connection:
        changes.edit(connection, DEED, "team", "berlin", {"name": "Berlin West", "code": "B-W"})
    first = applied(organised, renamed(example, hamburg="Hamburg Hafen"))
    assert (first.changed, first.kept, first.overruled) == (1, ("team berlin.name", "team berlin.code"), ())
    with reading(organised) as connection:
        assert changes.get(connection, "team", "berlin").facts["name"] == "Berlin West"
        assert changes.get(connection, "team", "hamburg").facts["name"] == "Hamburg Hafen"


def test_where_both_changed_the_file_holds_and_the_audit_has_the_other(
    organised: Engine, example: Configuration
) -> None:
    with writing(organised) as connection:
        changes.edit(connection, DEED, "team", "berlin", {"name": "Berlin West"})
    done = applied(organised, renamed(example, berlin="Bärlin"))
    assert (done.changed, done.kept, done.overruled) == (1, (), ("team berlin.name",))
    with reading(organised) as connection:
        (entry, *_) = audit.latest(connection, limit=1, subject="team:berlin")
    assert (entry.actor, entry.before, entry.after) == ("configuration", {"name": "Berlin West"}, {"name": "Bärlin"})
    assert applied(organised, renamed(example, berlin="Bärlin")) == organisation.Changes()


def test_a_file_that_would_leave_a_user_of_the_api_without_a_team_is_not_applied(
    organised: Engine, example: Configuration
) -> None:
    with writing(organised) as connection:
        changes.create(connection, DEED, "user", "new", {"name": "New", "team": "copenhagen-evening"})
    organisation_ = example.organisation
    gone = changed(
        example,
        team=tuple(t for t in organisation_.team if t.key != "copenhagen-evening"),
        user=tuple(u for u in organisation_.user if u.team != "copenhagen-evening"),
    )
    with pytest.raises(Misconfigured, match="user new is active, but the team copenhagen-evening is not"):
        applied(organised, gone)
    assert applied(organised, example) == organisation.Changes()


def test_a_file_that_takes_the_code_of_another_is_not_applied(organised: Engine, example: Configuration) -> None:
    with writing(organised) as connection:
        changes.create(connection, DEED, "team", "malmo", {"name": "Malmö", "parent": "denmark", "code": "SE"})
    teams = [t.model_copy(update={"code": "se "}) if t.key == "berlin" else t for t in example.organisation.team]
    with pytest.raises(Misconfigured, match="used twice"):
        applied(organised, changed(example, team=tuple(teams)))


def test_a_store_of_before_the_api_is_the_file_s(organised: Engine, example: Configuration) -> None:
    """As after the migration, which does not know the files: what is in the store came from them."""
    with writing(organised) as connection:
        connection.exec_driver_sql("UPDATE applied SET facts = '{}'")
    users = tuple(user for user in example.organisation.user if user.login != "berlin-1")
    teams = [t.model_copy(update={"name": "B"}) if t.key == "berlin" else t for t in example.organisation.team]
    done = applied(organised, changed(example, user=users, team=tuple(teams)))
    assert (done.changed, done.deactivated, done.kept, done.overruled) == (1, 1, (), ())


def test_each_definition_of_a_source_is_kept(organised: Engine, example: Configuration) -> None:
    first = example.sources.source[0]
    other = first.model_copy(update={"title": "Other"})
    sources = example.sources.model_copy(update={"source": (other, *example.sources.source[1:])})
    applied(organised, example.model_copy(update={"sources": sources}))
    with reading(organised) as connection:
        kept = source_definitions.versions(connection, first.name)
        told = audit.latest(connection, limit=1, subject=f"source:{first.name}")[0]
    assert [(each.version, each.definition) for each in kept] == [(2, other), (1, first)]
    assert told.after == {"title": "Other"}
    assert "argon2" not in str(told)


def test_who_may_call_in_a_campaign_is_applied(organised: Engine, example: Configuration) -> None:
    campaigns = list(example.organisation.campaign)
    campaigns[0] = campaigns[0].model_copy(update={"access": ("team:denmark", "user:berlin-1")})
    some = example.organisation.model_copy(update={"campaign": tuple(campaigns)})
    limited = example.model_copy(update={"organisation": some})
    table = lead_tables.campaign_access
    assert applied(organised, limited) == organisation.Changes(changed=1)
    with reading(organised) as connection:
        owners = rules.owners(connection).by_name
        assert set(connection.scalars(select(table.c.owner_id))) == {
            owners["team:denmark"].id,
            owners["user:berlin-1"].id,
        }
    assert applied(organised, limited) == organisation.Changes()
    assert applied(organised, example) == organisation.Changes(changed=1)


def test_an_access_that_names_nobody_is_refused(example: Configuration) -> None:
    values = example.organisation.model_dump()
    values["campaign"][0]["access"] = ["team:nowhere"]
    with pytest.raises(ValueError, match=r"campaign\.access: 'team:nowhere' does not exist"):
        Organisation.model_validate(values)
