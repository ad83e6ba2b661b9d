"""Crews: who may call the leads of an owner, asked before there is a lead (LEADS.md, "Who may call a lead")."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Connection, select

from ingestd.access.permissions import Permission, Role, effective
from ingestd.leads.agents import DEEPEST
from ingestd.store import facts
from ingestd.store.access_tables import user_permissions
from ingestd.store.facts import Facts, Kind, World
from ingestd.store.tables import users


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A team or user that may own leads, and where it stands."""

    word: str
    """`team:<key>` or `user:<login>`"""
    name: str
    code: str
    """the Lead Ownership Code; empty for none"""
    path: tuple[str, ...]
    """the names of the teams above it, from the top"""

    @property
    def kind(self) -> str:
        """`team` or `user`."""
        return self.word.partition(":")[0]


@dataclass(frozen=True, kw_only=True)
class Crews:
    """The organisation, as far as it says who may call whose leads."""

    world: World
    callers: frozenset[str]
    """logins of the active users who may dial"""

    @classmethod
    def read(cls, connection: Connection) -> Crews:
        """As it is now."""
        world = facts.world(connection)
        exceptions: dict[str, dict[Permission, bool]] = {}
        table = user_permissions.c
        query = select(users.c.login, table.permission, table.granted).join(users, users.c.id == table.user_id)
        for login, word, granted in connection.execute(query):
            exceptions.setdefault(login, {})[Permission(word)] = granted
        dialling = (
            login
            for login, user in world["user"].items()
            if user["active"] and Permission.DIAL in effective(Role(user["role"]), exceptions.get(login, {}))
        )
        return cls(world=world, callers=frozenset(dialling))

    def of(self, owner: str, campaign: str = "") -> list[str]:
        """The logins of those who may call the leads of `team:<key>` or `user:<login>`, in a campaign if one is named.

        Whoever is the owner, or in the team that is, or in a team below it; and whom the campaign is open to.
        """
        return sorted(
            login
            for login in self.callers
            if (owner == f"user:{login}" or owner in self._ways[login]) and self._let_in(login, campaign)
        )

    def counts(self, campaign: str = "") -> Mapping[str, int]:
        """The same as numbers, of every owner at once; an owner whose leads nobody may call is not in it."""
        found: Counter[str] = Counter()
        for login in self.callers:
            if self._let_in(login, campaign):
                found.update((f"user:{login}", *self._ways[login]))
        return found

    def owners(self) -> list[Owner]:
        """Every active team and user as a tree from the top: each team, its users, then the teams below it."""
        return [owner for key in self._teams_below.get("", ()) for owner in self._below(key, ())]

    @property
    def names(self) -> Mapping[str, str]:
        """What each team and user is called, by `team:<key>` and `user:<login>`."""
        kinds: tuple[Kind, ...] = ("team", "user")
        return {f"{kind}:{key}": each["name"] for kind in kinds for key, each in self.world[kind].items()}

    @cached_property
    def _teams(self) -> Mapping[str, Facts]:
        return {key: team for key, team in self.world["team"].items() if team["active"]}

    @cached_property
    def _ways(self) -> Mapping[str, frozenset[str]]:
        """Login → the user's own team and all above it, as owners."""
        return {login: frozenset(f"team:{key}" for key in self._way(self.world["user"][login]["team"]))
                for login in self.callers}  # fmt: skip

    def _way(self, key: str | None) -> list[str]:
        way: list[str] = []
        while key and key in self.world["team"] and len(way) < DEEPEST:
            way.append(key)
            key = self.world["team"][key]["parent"]
        return way

    def _let_in(self, login: str, campaign: str) -> bool:
        """A campaign that names nobody is open to everybody."""
        named = self.world["campaign"].get(campaign, {}).get("access", [])
        return not named or f"user:{login}" in named or not self._ways[login].isdisjoint(named)

    @cached_property
    def _teams_below(self) -> Mapping[str, list[str]]:
        """Key of an active team → those right below it by name; of nobody: those at the top."""
        found: dict[str, list[str]] = {}
        for key, team in sorted(self._teams.items(), key=_by_name):
            found.setdefault(team["parent"] if team["parent"] in self._teams else "", []).append(key)
        return found

    @cached_property
    def _users_in(self) -> Mapping[str, list[str]]:
        """Key of a team → the logins of its active users by name."""
        found: dict[str, list[str]] = {}
        for login, user in sorted(self.world["user"].items(), key=_by_name):
            if user["active"]:
                found.setdefault(user["team"], []).append(login)
        return found

    def _below(self, key: str, path: tuple[str, ...]) -> Iterator[Owner]:
        team = self._teams[key]
        yield _owner("team", key, team, path)
        if len(path) == DEEPEST:
            return
        inside = (*path, team["name"])
        for login in self._users_in.get(key, ()):
            yield _owner("user", login, self.world["user"][login], inside)
        for below in self._teams_below.get(key, ()):
            yield from self._below(below, inside)


def _owner(kind: str, key: str, its: Facts, path: tuple[str, ...]) -> Owner:
    return Owner(word=f"{kind}:{key}", name=its["name"], code=its["code"] or "", path=path)


def _by_name(pair: tuple[str, Facts]) -> tuple[str, str]:
    return pair[1]["name"].casefold(), pair[0]
