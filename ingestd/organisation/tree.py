"""The tree of teams as people look at it: who is below whom, how many sit where, and who answers to a word. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ingestd.organisation.changes import Record


@dataclass(frozen=True, kw_only=True)
class Branch:
    """A team with all that is below it."""

    team: Record
    users: int
    """active users who sit in the team itself"""
    children: tuple[Branch, ...]

    @property
    def everybody(self) -> int:
        """Active users of the team and of all teams below it."""
        return self.users + sum(child.everybody for child in self.children)


def grown(teams: Iterable[Record], users: Iterable[Record]) -> tuple[Branch, ...]:
    """The tree from the top-level team down; teams beside each other by name, those that are not active last."""
    sitting = Counter(user.facts["team"] for user in users if user.facts["active"])
    below: dict[str | None, list[Record]] = {}
    for team in teams:
        below.setdefault(team.facts["parent"], []).append(team)

    def branches(parent: str | None) -> tuple[Branch, ...]:
        return tuple(
            Branch(team=team, users=sitting[team.key], children=branches(team.key))
            for team in sorted(below.get(parent, ()), key=_order)
        )

    return branches(None)


def flat(branches: Iterable[Branch], depth: int = 0) -> list[tuple[Record, int]]:
    """Every team with its depth, in the order of the tree."""
    found: list[tuple[Record, int]] = []
    for branch in branches:
        found += [(branch.team, depth), *flat(branch.children, depth + 1)]
    return found


def above(teams: Sequence[Record], key: str) -> list[Record]:
    """The teams above one, from the top-level team down, without itself."""
    by_key, found = {team.key: team for team in teams}, list[Record]()
    parent = by_key[key].facts["parent"]
    while parent is not None:
        found.insert(0, by_key[parent])
        parent = by_key[parent].facts["parent"]
    return found


def matching(records: Iterable[Record], wanted: str) -> list[Record]:
    """Those whose key, name or Lead Ownership Code holds the words, whatever their capitals."""
    word = wanted.strip().casefold()
    return [
        record
        for record in records
        if any(word in text.casefold() for text in (record.key, record.facts["name"], record.facts["code"] or ""))
    ]


def _order(team: Record) -> tuple[bool, str]:
    return not team.facts["active"], team.facts["name"].casefold()
