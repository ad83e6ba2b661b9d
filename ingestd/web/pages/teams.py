"""The organisation: the tree of teams with Lead Ownership Codes, and a team's own page."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Form, Query, Request, Response
from sqlalchemy import Connection

from ingestd.errors import Refused
from ingestd.organisation import changes, owners, tree
from ingestd.organisation.changes import Record
from ingestd.store.engine import reading, writing
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.teams import LOOKING, MANAGING
from ingestd.web.pages.filled import Filled, Said, Word, again, key_of, text_of, title_of
from ingestd.web.pages.rendering import onward, show
from ingestd.web.pages.routes import Pages

pages = Pages()

INDENT = "\u2003"


class TeamForm(Filled):
    """A team as it was typed."""

    key: Word = ""
    name: Word = ""
    parent: Word = ""
    code: Word = ""

    def values(self) -> dict[str, Any]:
        """As the verbs of the organisation take them; raises Invalid."""
        return {"name": title_of(self.name), "parent": self.parent or None, "code": self.code.strip() or None}


@pages.get("/organisation", access=LOOKING)
def show_tree(request: Request, desk: AtDesk, q: Annotated[str, Query(max_length=200)] = "") -> Response:
    """Every team below the one that it belongs to; with `q` the teams and users that answer to it."""
    with reading(desk.engine) as connection:
        teams, users = changes.every(connection, "team"), changes.every(connection, "user")
    wanted = q.strip()
    return show(
        request,
        "organisation.html",
        fragment="found",
        q=wanted,
        branches=tree.grown(teams, users),
        team_names={team.key: team.facts["name"] for team in teams},
        counts=(len(teams), sum(user.facts["active"] for user in users)),
        teams=tree.matching(teams, wanted) if wanted else [],
        users=tree.matching(users, wanted) if wanted else [],
    )


@pages.get("/organisation/new-team", access=MANAGING)
def new_team(request: Request, desk: AtDesk, parent: Annotated[str, Query(max_length=64)] = "") -> Response:
    """The form for a team."""
    return _new(request, desk, TeamForm(parent=parent))


@pages.post("/organisation/new-team", access=MANAGING)
def add_team(request: Request, desk: AtDesk, caller: ByCaller, form: Annotated[TeamForm, Form()]) -> Response:
    """Makes a team below another one."""
    try:
        with writing(desk.engine) as connection:
            key = key_of(form.key, "key")
            changes.create(connection, caller.deed(desk.clock(), form.why), "team", key, form.values())
    except Refused as problem:
        return _new(request, desk, form, problem)
    return onward(f"/organisation/teams/{key}", f"The team {form.name.strip()} is there.")


@pages.get("/organisation/teams/{name}", access=LOOKING)
def show_team(request: Request, desk: AtDesk, name: str) -> Response:
    """A team with its users and the teams below it."""
    return _team(request, desk, name)


@pages.post("/organisation/teams/{name}", access=MANAGING)
def edit_team(
    request: Request, desk: AtDesk, caller: ByCaller, name: str, form: Annotated[TeamForm, Form()]
) -> Response:
    """Renames a team, moves it, or changes its code; a code that leads hang on is asked about first."""
    deed = caller.deed(desk.clock(), form.why)
    try:
        with writing(desk.engine) as connection:
            values = form.values()
            owners.edit(connection, deed, "team", name, values, seen=form.seen, confirmed=form.confirmed)
    except Refused as problem:
        return _team(request, desk, name, form=form, problem=problem)
    return onward(f"/organisation/teams/{name}", "Saved.")


@pages.post("/organisation/teams/{name}/deactivate", access=MANAGING)
def deactivate_team(
    request: Request, desk: AtDesk, caller: ByCaller, name: str, said: Annotated[Said, Form()]
) -> Response:
    """Takes a team out; it stays in all that happened."""
    deed, confirmed = caller.deed(desk.clock(), said.reason), said.confirm == "yes"
    try:
        with writing(desk.engine) as connection:
            owners.edit(connection, deed, "team", name, {"active": False}, confirmed=confirmed)
    except Refused as problem:
        return _team(request, desk, name, problem=problem, again_at=f"/organisation/teams/{name}/deactivate")
    return onward(f"/organisation/teams/{name}", "The team is not active any more.")


@pages.post("/organisation/teams/{name}/activate", access=MANAGING)
def activate_team(
    request: Request, desk: AtDesk, caller: ByCaller, name: str, said: Annotated[Said, Form()]
) -> Response:
    """Takes a team in again."""
    try:
        with writing(desk.engine) as connection:
            owners.edit(connection, caller.deed(desk.clock(), said.reason), "team", name, {"active": True})
    except Refused as problem:
        return _team(request, desk, name, problem=problem)
    return onward(f"/organisation/teams/{name}", "The team is active again. Give it a code if files name it.")


def team_options(connection: Connection) -> list[tuple[str, str]]:
    """Every active team for a choice, as the tree has them."""
    every = tree.flat(tree.grown(changes.every(connection, "team"), ()))
    return [(team.key, f"{INDENT * depth}{team.facts['name']}") for team, depth in every if team.facts["active"]]


def _new(request: Request, desk: Desk, form: TeamForm, problem: Refused | None = None) -> Response:
    with reading(desk.engine) as connection:
        options = team_options(connection)
    return again(request, "team_new.html", problem, "/organisation/new-team", form=form, options=options)


def _team(
    request: Request,
    desk: Desk,
    name: str,
    *,
    form: TeamForm | None = None,
    problem: Refused | None = None,
    again_at: str = "",
) -> Response:
    with reading(desk.engine) as connection:
        team = changes.get(connection, "team", name)
        teams, options = changes.every(connection, "team"), team_options(connection)
        users = [user for user in changes.every(connection, "user") if user.facts["team"] == name]
    return again(
        request,
        "team.html",
        problem,
        f"/organisation/teams/{name}",
        team=team,
        form=form or _form(team),
        again_at=again_at,
        above=tree.above(teams, name),
        below=[each for each in teams if each.facts["parent"] == name],
        users=users,
        options=[(key, title) for key, title in options if key != name],
    )


def _form(team: Record) -> TeamForm:
    facts = {field: text_of(team.facts[field]) for field in ("name", "parent", "code")}
    return TeamForm(tag=team.tag, **facts)
