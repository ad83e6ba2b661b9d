"""A user: name, team, role and Lead Ownership Code, in and out; what one may do is in `user_access`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Form, Query, Request, Response

from ingestd.access import keys, people
from ingestd.access.callers import Caller
from ingestd.access.keys import Issued
from ingestd.access.permissions import ROLES, Permission, Role
from ingestd.errors import Refused
from ingestd.organisation import changes, users
from ingestd.organisation.changes import Record
from ingestd.store.engine import reading, writing
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.teams import LOOKING, MANAGING
from ingestd.web.pages.filled import Filled, Said, Word, again, key_of, text_of, title_of
from ingestd.web.pages.rendering import onward
from ingestd.web.pages.routes import Pages
from ingestd.web.pages.teams import team_options

pages = Pages()

MEANINGS: dict[Permission, str] = {
    Permission.LEAD_ADMIN: "See, edit and reassign leads",
    Permission.LEAD_POOLS: "Import leads; see deliveries, pools and their logs; activate and deactivate pools",
    Permission.MANAGE_ORGANISATION: "Teams, users, Lead Ownership Codes, projects and campaigns; the audit",
    Permission.MANAGE_SOURCES: "Partner feeds with their logins and keys",
    Permission.EXTENDED_DATA: "Deactivated leads, and leads outside the own team",
    Permission.EXTENDED_INSIGHTS: "Reports outside the own team",
    Permission.DIAL: "Be given leads to call",
}


class UserForm(Filled):
    """A user as it was typed."""

    login: Word = ""
    name: Word = ""
    team: Word = ""
    role: Word = Role.AGENT.value
    code: Word = ""

    def values(self) -> dict[str, Any]:
        """As the verbs of the organisation take them; raises Invalid."""
        facts = {"team": self.team, "role": self.role, "code": self.code.strip() or None}
        return {"name": title_of(self.name), **facts}


@pages.get("/organisation/new-user", access=MANAGING)
def new_user(request: Request, desk: AtDesk, team: Annotated[str, Query(max_length=64)] = "") -> Response:
    """The form for a user."""
    return _new(request, desk, UserForm(team=team))


@pages.post("/organisation/new-user", access=MANAGING)
def add_user(request: Request, desk: AtDesk, caller: ByCaller, form: Annotated[UserForm, Form()]) -> Response:
    """Makes a user, who comes in once there is a password."""
    deed = caller.deed(desk.clock(), form.why)
    try:
        with writing(desk.engine) as connection:
            login = key_of(form.login, "login")
            users.create(connection, deed, login, form.values(), mine=caller.permissions)
    except Refused as problem:
        return _new(request, desk, form, problem)
    return onward(f"/organisation/users/{login}", "The user is there. Set a password, so that the user can sign in.")


@pages.get("/organisation/users/{name}", access=LOOKING)
def show_user(request: Request, desk: AtDesk, caller: ByCaller, name: str) -> Response:
    """A user with permissions and keys."""
    return user_page(request, desk, caller, name)


@pages.post("/organisation/users/{name}", access=MANAGING)
def edit_user(
    request: Request, desk: AtDesk, caller: ByCaller, name: str, form: Annotated[UserForm, Form()]
) -> Response:
    """Changes name, team, role or Lead Ownership Code."""
    deed, mine = caller.deed(desk.clock(), form.why), caller.permissions
    try:
        with writing(desk.engine) as connection:
            values = form.values()
            users.edit(connection, deed, name, values, seen=form.seen, confirmed=form.confirmed, mine=mine)
    except Refused as problem:
        return user_page(request, desk, caller, name, form=form, problem=problem)
    return onward(f"/organisation/users/{name}", "Saved.")


@pages.post("/organisation/users/{name}/deactivate", access=MANAGING)
def deactivate_user(
    request: Request, desk: AtDesk, caller: ByCaller, name: str, said: Annotated[Said, Form()]
) -> Response:
    """Shuts a user out, at once."""
    deed, confirmed = caller.deed(desk.clock(), said.reason), said.confirm == "yes"
    try:
        with writing(desk.engine) as connection:
            users.edit(connection, deed, name, {"active": False}, confirmed=confirmed, mine=caller.permissions)
    except Refused as problem:
        again_at = f"/organisation/users/{name}/deactivate"
        return user_page(request, desk, caller, name, problem=problem, again_at=again_at)
    return onward(f"/organisation/users/{name}", "The user is not active any more, and signed out everywhere.")


@pages.post("/organisation/users/{name}/activate", access=MANAGING)
def activate_user(
    request: Request, desk: AtDesk, caller: ByCaller, name: str, said: Annotated[Said, Form()]
) -> Response:
    """Lets a user in again."""
    deed = caller.deed(desk.clock(), said.reason)
    try:
        with writing(desk.engine) as connection:
            users.edit(connection, deed, name, {"active": True}, mine=caller.permissions)
    except Refused as problem:
        return user_page(request, desk, caller, name, problem=problem)
    return onward(f"/organisation/users/{name}", "The user is active again. Give a code if files name it.")


def user_page(  # noqa: PLR0913 - each is a part of the page
    request: Request,
    desk: Desk,
    caller: Caller,
    name: str,
    *,
    form: UserForm | None = None,
    problem: Refused | None = None,
    again_at: str = "",
    issued: Issued | None = None,
) -> Response:
    """The page of a user, with what was typed and why it could not be done, or with a key that was just made."""
    at: datetime = desk.clock()
    with reading(desk.engine) as connection:
        user, known = changes.get(connection, "user", name), people.known(connection, name)
        facts: dict[str, Any] = {
            "exceptions": people.exceptions(connection, known.id),
            "has_password": known.id in people.with_passwords(connection),
            "keys": [(key, key.spent(at)) for key in keys.every(connection, user_id=known.id)],
            "options": team_options(connection),
            "team_name": changes.get(connection, "team", known.team).facts["name"],
            "sources": [each.key for each in changes.every(connection, "source") if each.facts["active"]],
        }
    return again(
        request,
        "user.html",
        problem,
        f"/organisation/users/{name}",
        user=user,
        known=known,
        form=form or _form(user),
        again_at=again_at,
        issued=issued,
        own=caller.person is not None and caller.person.id == known.id,
        by_role=ROLES[known.role],
        meanings=MEANINGS,
        roles=list(Role),
        **facts,
    )


def _new(request: Request, desk: Desk, form: UserForm, problem: Refused | None = None) -> Response:
    with reading(desk.engine) as connection:
        options = team_options(connection)
    facts = {"form": form, "options": options, "roles": list(Role)}
    return again(request, "user_new.html", problem, "/organisation/new-user", **facts)


def _form(user: Record) -> UserForm:
    facts = {field: text_of(user.facts[field]) for field in ("name", "team", "role", "code")}
    return UserForm(tag=user.tag, **facts)
