"""`ingestd source`: partner feeds and their logins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingestd import printing
from ingestd.commands.options import CONFIG, HOME, AsJson, Config, Home, Why, deed, opened

if TYPE_CHECKING:
    from ingestd.organisation.changes import Record

source = typer.Typer(help="Sources and their logins.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="SOURCE", help="Name of the source.")]
Login = Annotated[str, typer.Argument(metavar="LOGIN", help="The login.")]


@source.command(name="password")
def password() -> None:
    """Asks for a password and prints the hash for `password_hash` in sources.toml."""
    from ingestd.accounts import hash_password

    typer.echo(hash_password(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)))


@source.command(name="list")
def list_sources(config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False) -> None:
    """Lists the sources with their campaigns and logins."""
    from ingestd.organisation import changes
    from ingestd.store.engine import reading

    with reading(opened(config, home).engine) as connection:
        found = changes.every(connection, "source")
    if as_json:
        printing.print_json([_told(each) for each in found])
        return
    table = printing.table_of("source", "title", "campaign", "logins", "state")
    for each in found:
        facts = each.facts
        logins = ", ".join(login["login"] for login in facts["login"])
        state = "active" if facts["active"] else "inactive"
        table.add_row(each.key, facts["title"], facts["campaign"], logins, state)
    printing.print_table(table)


@source.command(name="add")
def add(
    name: Name,
    title: Annotated[str, typer.Option("--title", help="What the feed is, for people.")],
    campaign: Annotated[str, typer.Option("--campaign", help="Code of the campaign of its files.")],
    owner: Annotated[str | None, typer.Option("--owner", help="Default owner, such as team:berlin.")] = None,
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
) -> None:
    """Makes a source; logins and keys come afterwards."""
    from ingestd.organisation import sources
    from ingestd.store.engine import writing

    house = opened(config, home)
    values = {"title": title, "campaign": campaign, "default_owner": owner}
    with writing(house.engine) as connection:
        sources.create(connection, deed(why), name, values, folder=house.schemas)
    typer.echo(f"source {name} is there")


@source.command(name="login")
def login(
    name: Name,
    word: Login,
    key: Annotated[list[str] | None, typer.Option("--key", help="OpenSSH public key, for SFTP.")] = None,
    without: Annotated[bool, typer.Option("--no-password", help="By public key only.")] = False,
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
) -> None:
    """Makes a login, or gives one another password and keys; prints the password, the only time that it is shown."""
    from ingestd.accounts import hash_password
    from ingestd.organisation import sources
    from ingestd.store.engine import writing

    house = opened(config, home)
    made = None if without else sources.new_password()
    encoded = hash_password(made) if made else None
    doors = ("sftp",) if without else ("ftp", "ftps", "sftp", "http")
    with writing(house.engine) as connection:
        sources.add_login(
            connection, deed(why), name, word, encoded=encoded, public_keys=tuple(key or ()), protocols=doors
        )
    if made:
        typer.echo(made)
        typer.echo("hand it over now: it is not shown again", err=True)


@source.command(name="deactivate")
def deactivate(name: Name, why: Why = "", config: Config = CONFIG, home: Home = HOME) -> None:
    """Shuts a source out; its deliveries and logs stay."""
    _edit(config, home, name, {"active": False}, why)
    typer.echo(f"source {name} is deactivated")


@source.command(name="activate")
def activate(name: Name, why: Why = "", config: Config = CONFIG, home: Home = HOME) -> None:
    """Lets a source send again."""
    _edit(config, home, name, {"active": True}, why)
    typer.echo(f"source {name} is active")


def _edit(config: Path, home: Path, name: str, values: dict[str, Any], why: str) -> None:
    from ingestd.organisation import sources
    from ingestd.store.engine import writing

    house = opened(config, home)
    with writing(house.engine) as connection:
        sources.edit(connection, deed(why), name, values, folder=house.schemas)


def _told(record: Record) -> dict[str, Any]:
    """A source for programs; a hash is nobody's business."""
    shown = ("login", "protocols", "public_keys")
    logins = [
        {**{name: each[name] for name in shown}, "has_password": each["password_hash"] is not None}
        for each in record.facts["login"]
    ]
    return {"name": record.key, **record.facts, "login": logins}
