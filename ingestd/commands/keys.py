"""`ingestd key`: the keys of programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingestd import printing
from ingestd.commands.options import CONFIG, HOME, AsJson, Config, Home, Why, deed, opened

if TYPE_CHECKING:
    from ingestd.access.keys import Issued, Key

key = typer.Typer(help="API keys of programs.", no_args_is_help=True)


@key.command(name="add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.")],
    permission: Annotated[list[str], typer.Option("--permission", help="What it may do; several are allowed.")],
    user: Annotated[str | None, typer.Option("--user", help="Whose it is: it can do no more than this user.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="The only source that it may act for.")] = None,
    days: Annotated[int | None, typer.Option("--days", min=1, help="Days until it expires; else never.")] = None,
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Makes a key and prints it: the only time that it is shown."""
    issued = _issue(config, home, name, permission, user, source, days, why)
    if as_json:
        printing.print_json({**told(issued.key), "key": issued.secret})
        return
    typer.echo(issued.secret)
    typer.echo("keep it now: it is not shown again", err=True)


@key.command(name="list")
def list_keys(config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False) -> None:
    """Lists the keys, the newest first, and when each was last used."""
    from ingestd.access import keys
    from ingestd.store.engine import reading
    from ingestd.store.ledger import now

    with reading(opened(config, home).engine) as connection:
        found = keys.every(connection)
    if as_json:
        printing.print_json([told(each) for each in found])
        return
    table = printing.table_of("key", "name", "of", "source", "may", "expires (UTC)", "last used (UTC)", "state")
    for each in found:
        expires = f"{each.expires_at:%Y-%m-%d %H:%M}" if each.expires_at else "never"
        used = f"{each.last_used_at:%Y-%m-%d %H:%M}" if each.last_used_at else "never"
        may = ", ".join(sorted(each.permissions))
        table.add_row(
            each.id, each.name, each.user or "the house", each.source or "any", may, expires, used,
            each.spent(now()) or "good",
        )  # fmt: skip
    printing.print_table(table)


@key.command(name="revoke")
def revoke(
    number: Annotated[str, typer.Argument(metavar="KEY", help="The part of the key before the dot.")],
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
) -> None:
    """Ends a key for good."""
    from ingestd.access import keys
    from ingestd.store.engine import writing

    with writing(opened(config, home).engine) as connection:
        keys.revoke(connection, deed(why), keys.known(connection, number))
    typer.echo(f"key {number} is revoked")


def told(key: Key) -> dict[str, Any]:
    """A key for programs; never its secret."""
    from dataclasses import asdict

    return {**asdict(key), "permissions": sorted(key.permissions)}


def _issue(
    config: Any,
    home: Any,
    name: str,
    words: list[str],
    user: str | None,
    source: str | None,
    days: int | None,
    why: str,
) -> Issued:
    from datetime import timedelta

    from ingestd.access import keys, people
    from ingestd.access.permissions import permission_named
    from ingestd.store.engine import writing

    done = deed(why)
    permissions = {permission_named(word) for word in words}
    with writing(opened(config, home).engine) as connection:
        return keys.issue(
            connection,
            done,
            name,
            permissions,
            user_id=people.known(connection, user).id if user else None,
            source=source,
            expires_at=done.at + timedelta(days=days) if days else None,
        )
