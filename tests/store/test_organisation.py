"""The organisation in the store, on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError

from ingestd.settings import Configuration, Organisation
from ingestd.store import organisation, rules, tables
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
    changes = applied(organised, changed(example, team=tuple(teams)))
    assert changes == organisation.Changes(changed=1)
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


def test_who_may_call_in_a_campaign_is_applied(organised: Engine, example: Configuration) -> None:
    campaigns = list(example.organisation.campaign)
    campaigns[0] = campaigns[0].model_copy(update={"access": ("team:denmark", "user:berlin-1")})
    some = example.organisation.model_copy(update={"campaign": tuple(campaigns)})
    limited = example.model_copy(update={"organisation": some})
    table = tables.campaign_access
    assert applied(organised, limited) == organisation.Changes(added=2)
    with reading(organised) as connection:
        owners = rules.owners(connection).by_name
        assert set(connection.scalars(select(table.c.owner_id))) == {
            owners["team:denmark"].id,
            owners["user:berlin-1"].id,
        }
    assert applied(organised, limited) == organisation.Changes()
    assert applied(organised, example) == organisation.Changes(deactivated=2)


def test_an_access_that_names_nobody_is_refused(example: Configuration) -> None:
    values = example.organisation.model_dump()
    values["campaign"][0]["access"] = ["team:nowhere"]
    with pytest.raises(ValueError, match=r"campaign\.access: 'team:nowhere' does not exist"):
        Organisation.model_validate(values)
