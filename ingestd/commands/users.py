"""`ingestd user`: who may come in, and what they may do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingestd import printing
from ingestd.commands.options import CONFIG, HOME, AsJson, Config, Home, Why, Yes, deed, given, opened

if TYPE_CHECKING:
    from ingestd.house import House

user = typer.Typer(help="Users: who may come in, and what they may do.", no_args_is_help=True)

Login = Annotated[str, typer.Argument(metavar="LOGIN", help="The user's login.")]
PermissionName = Annotated[str, typer.Argument(metavar="PERMISSION", help="Such as lead_admin.")]


@user.command(name="add")
def add(
    login: Login,
    name: Annotated[str, typer.Option("--name", help="The name people see.")],
    team: Annotated[str, typer.Option("--team", help="Key of the user's team.")],
    role: Annotated[str, typer.Option("--role", help="agent, team_leader or admin.")] = "agent",
    code: Annotated[str | None, typer.Option("--code", help="Lead Ownership Code.")] = None,
    without: Annotated[bool, typer.Option("--no-password", help="Ask for none; the user cannot come in yet.")] = False,
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
) -> None:
    """Makes a user, and asks for the password."""
    from ingestd.organisation import users
    from ingestd.store.engine import writing

    house = opened(config, home)
    encoded = None if without else _asked_password()
    with writing(house.engine) as connection:
        users.create(connection, deed(why), login, {"name": name, "team": team, "role": role, "code": code})
        if encoded:
            users.set_password(connection, deed(why), login, encoded)
    typer.echo(f"user {login} is there" + ("" if encoded else ", without a password"))


@user.command(name="list")
def list_users(config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False) -> None:
    """Lists the users with team, role and permissions."""
    found = _users(opened(config, home))
    if as_json:
        printing.print_json(found)
        return
    table = printing.table_of("login", "name", "team", "role", "may", "password", "state")
    for each in found:
        may = ", ".join(each["permissions"])
        state = "active" if each["active"] else "inactive"
        password = "set" if each["password"] else "none"
        table.add_row(each["login"], each["name"], each["team"], each["role"], may, password, state)
    printing.print_table(table)


@user.command(name="password")
def password(login: Login, config: Config = CONFIG, home: Home = HOME) -> None:
    """Asks for another password of a user, and ends the user's sessions."""
    from ingestd.organisation import users
    from ingestd.store.engine import writing

    house = opened(config, home)
    encoded = _asked_password()
    with writing(house.engine) as connection:
        users.set_password(connection, deed(), login, encoded)
    typer.echo(f"user {login} has another password")


@user.command(name="grant")
def grant(login: Login, permission: PermissionName, why: Why = "", config: Config = CONFIG, home: Home = HOME) -> None:
    """Grants a user a permission beyond the role."""
    _allow(opened(config, home), login, permission, why, granted=True)


@user.command(name="revoke")
def revoke(login: Login, permission: PermissionName, why: Why = "", config: Config = CONFIG, home: Home = HOME) -> None:
    """Takes a permission off a user, also one of the role."""
    _allow(opened(config, home), login, permission, why, granted=False)


@user.command(name="edit")
def edit(
    login: Login,
    name: Annotated[str | None, typer.Option("--name", help="The name people see.")] = None,
    team: Annotated[str | None, typer.Option("--team", help="Key of another team.")] = None,
    role: Annotated[str | None, typer.Option("--role", help="agent, team_leader or admin.")] = None,
    code: Annotated[str | None, typer.Option("--code", help="Lead Ownership Code; empty: none.")] = None,
    yes: Yes = False,
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
) -> None:
    """Changes a user: name, team, role, Lead Ownership Code."""
    _edit(opened(config, home), login, given(name=name, team=team, role=role, code=code), why, yes=yes)
    typer.echo(f"user {login} is changed")


@user.command(name="deactivate")
def deactivate(login: Login, yes: Yes = False, why: Why = "", config: Config = CONFIG, home: Home = HOME) -> None:
    """Shuts a user out, now; leads and logs go on naming the user."""
    _edit(opened(config, home), login, {"active": False}, why, yes=yes)
    typer.echo(f"user {login} is deactivated")


@user.command(name="activate")
def activate(login: Login, why: Why = "", config: Config = CONFIG, home: Home = HOME) -> None:
    """Lets a user in again."""
    _edit(opened(config, home), login, {"active": True}, why, yes=True)
    typer.echo(f"user {login} is active")


def _edit(house: House, login: str, values: dict[str, Any], why: str, *, yes: bool) -> None:
    from ingestd.organisation import users
    from ingestd.store.engine import writing

    with writing(house.engine) as connection:
        users.edit(connection, deed(why), login, values, confirmed=yes)


def _allow(house: House, login: str, permission: str, why: str, *, granted: bool) -> None:
    from ingestd.access.permissions import permission_named
    from ingestd.organisation import users
    from ingestd.store.engine import writing

    wanted = permission_named(permission)
    with writing(house.engine) as connection:
        person = users.allow(connection, deed(why), login, wanted, granted=granted)
    typer.echo(f"user {login} may now: {', '.join(sorted(person.permissions)) or 'nothing'}")


def _users(house: House) -> list[dict[str, Any]]:
    from ingestd.access import people
    from ingestd.organisation import changes
    from ingestd.store.engine import reading

    found = []
    with reading(house.engine) as connection:
        with_password = people.with_passwords(connection)
        for record in changes.every(connection, "user"):
            person = people.known(connection, record.key)
            may = {"permissions": sorted(person.permissions), "password": person.id in with_password}
            found.append({"login": record.key, **record.facts, **may})
    return found


def _asked_password() -> str:
    from ingestd.access.people import check_password
    from ingestd.accounts import hash_password

    asked = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    check_password(asked)
    return hash_password(asked)
