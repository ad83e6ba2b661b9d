"""The tree of teams as people look at it."""

from __future__ import annotations

from ingestd.organisation import tree
from ingestd.organisation.changes import Record


def team(key: str, parent: str | None, *, name: str = "", code: str | None = None, active: bool = True) -> Record:
    facts = {"name": name or key.title(), "parent": parent, "code": code, "active": active}
    return Record(kind="team", key=key, facts=facts)


def user(login: str, where: str, *, active: bool = True) -> Record:
    return Record(kind="user", key=login, facts={"name": login, "team": where, "code": None, "active": active})


TEAMS = [
    team("top", None),
    team("b", "top", name="beta", code="B-1"),
    team("a", "top", name="Alpha"),
    team("gone", "top", name="Aaa", active=False),
    team("deep", "b"),
]


def test_teams_beside_each_other_go_by_name_and_those_that_are_gone_last() -> None:
    every = tree.flat(tree.grown(TEAMS, ()))
    assert [(each.key, depth) for each, depth in every] == [("top", 0), ("a", 1), ("b", 1), ("deep", 2), ("gone", 1)]


def test_users_are_counted_where_they_sit_and_above() -> None:
    users = [user("one", "deep"), user("two", "b"), user("three", "b", active=False)]
    (top,) = tree.grown(TEAMS, users)
    beta = top.children[1]
    assert (top.users, top.everybody, beta.users, beta.everybody) == (0, 2, 1, 2)


def test_the_way_up() -> None:
    assert [each.key for each in tree.above(TEAMS, "deep")] == ["top", "b"]
    assert tree.above(TEAMS, "top") == []


def test_a_word_finds_key_name_and_code_whatever_its_capitals() -> None:
    assert [each.key for each in tree.matching(TEAMS, " b-1 ")] == ["b"]
    assert [each.key for each in tree.matching(TEAMS, "ALPHA")] == ["a"]
    assert tree.matching(TEAMS, "nowhere") == []
