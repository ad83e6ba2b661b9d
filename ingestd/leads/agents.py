"""Users as they stand in the team tree: what they own, and what they may see."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import CompoundSelect, Connection, Select, literal, select

from ingestd.access import people
from ingestd.access.permissions import Permission, Role
from ingestd.errors import Rejected
from ingestd.store import tables
from ingestd.store.tables import teams

DEEPEST = 64
"""Teams above each other. Only stops a walk that a circle in the tree would keep going for ever."""


@dataclass(frozen=True, kw_only=True)
class Agent:
    """A user who calls leads, or looks at them."""

    id: int
    login: str
    name: str
    role: Role
    active: bool
    teams: tuple[int, ...]
    """the agent's own team, and every team above it up to the top-level one"""
    permissions: frozenset[Permission]
    """what the role brings, with the exceptions of this user"""

    @property
    def reach(self) -> tuple[int, ...]:
        """The owners whose leads the agent may call (LEADS.md, "Who may call a lead")."""
        return (self.id, *self.teams)

    @property
    def may_dial(self) -> bool:
        """True with the permission to call leads at all."""
        return Permission.DIAL in self.permissions

    @property
    def sees_everything(self) -> bool:
        """True with Extended Data Permissions, or Extended Insights: leads of all teams."""
        return not self.permissions.isdisjoint({Permission.EXTENDED_DATA, Permission.EXTENDED_INSIGHTS})

    @property
    def sees_deactivated(self) -> bool:
        """True for team leaders and users with Extended Data Permissions, which admins have."""
        return self.role == Role.TEAM_LEADER or Permission.EXTENDED_DATA in self.permissions


def agent(connection: Connection, login: str) -> Agent:
    """A user by login, with the way up the tree; raises Rejected when there is none."""
    found = people.by_login(connection, login)
    if found is None:
        raise Rejected("user_unknown", f"there is no user {login!r}", suggestion="ingestd org show lists them")
    return Agent(
        id=found.id,
        login=found.login,
        name=found.name,
        role=found.role,
        active=found.active,
        teams=above(connection, found.team_id),
        permissions=found.permissions,
    )


def above(connection: Connection, team_id: int) -> tuple[int, ...]:
    """A team and every team above it, from the bottom up: one question, whatever the size of the tree."""
    start = select(teams.c.id, teams.c.parent_id, literal(0).label("step")).where(teams.c.id == team_id)
    way = start.cte("way", recursive=True)
    up = select(teams.c.id, teams.c.parent_id, way.c.step + 1).join(way, teams.c.id == way.c.parent_id)
    way = way.union_all(up.where(way.c.step < DEEPEST))
    return tuple(connection.scalars(select(way.c.id).order_by(way.c.step)))


def below(connection: Connection, team_id: int) -> frozenset[int]:
    """A team and every team below it."""
    return frozenset(connection.scalars(teams_below(team_id)))


def teams_below(team_id: int) -> Select[tuple[int]]:
    """The same as a question, to be asked inside of others."""
    start = select(teams.c.id, literal(0).label("step")).where(teams.c.id == team_id)
    way = start.cte(recursive=True)  # without a name, so that one statement may ask it twice
    down = select(teams.c.id, way.c.step + 1).join(way, teams.c.parent_id == way.c.id)
    way = way.union_all(down.where(way.c.step < DEEPEST))
    return select(way.c.id)


def reach_of(users: Collection[int]) -> CompoundSelect[tuple[int]]:
    """The owners whose leads at least one of these users may call, as a question: users, teams, and teams above."""
    user = tables.users.c
    start = select(user.team_id.label("id"), literal(0).label("step")).where(user.id.in_(users))
    way = start.cte(recursive=True)
    up = select(teams.c.parent_id, way.c.step + 1).join(way, teams.c.id == way.c.id)
    way = way.union_all(up.where(teams.c.parent_id.is_not(None), way.c.step < DEEPEST))
    return select(way.c.id).union(select(user.id).where(user.id.in_(users)))


def top_team(connection: Connection) -> int:
    """The team that owns what is typed by hand (LEADS.md); raises Rejected before there is an organisation."""
    found: int | None = connection.scalar(select(teams.c.id).where(teams.c.parent_id.is_(None), teams.c.active))
    if found is None:
        raise Rejected("owner_unknown", "there is no top-level team", suggestion="apply it with ingestd org import")
    return found
