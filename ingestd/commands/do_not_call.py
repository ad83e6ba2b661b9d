"""`ingestd dnc`: the do-not-call lists.

Heavy modules are imported inside the commands, as in `cli`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingestd import printing
from ingestd.commands.options import CONFIG, HOME, As, AsJson, Config, Home, Limit, deed, opened, permitted

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ingestd.house import House
    from ingestd.store.audit import Deed

dnc = typer.Typer(help="Do-not-call lists.", no_args_is_help=True)

WITH_REJECTS = 3

Campaign = Annotated[str | None, typer.Option("--campaign", help="Only for this campaign; else the global list.")]
Region = Annotated[str | None, typer.Option("--region", help="Country of numbers without +, such as DK.")]
Reason = Annotated[str, typer.Option("--reason", help="Why nobody may call them.")]
Number = Annotated[str, typer.Argument(metavar="PHONE", help="Such as +4526141516.")]


@dnc.command(name="list")
def list_numbers(
    campaign: Campaign = None,
    after: Annotated[str, typer.Option("--after", help="Go on behind this number.")] = "",
    limit: Limit = 50,
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Lists the numbers of the global list, or of a campaign's, in their order."""
    from ingestd.leads import do_not_call
    from ingestd.store.engine import reading

    with reading(opened(config, home).engine) as connection:
        found = do_not_call.page(connection, campaign, limit=limit, after=after)
    _print([vars(each) for each in found], as_json=as_json)


@dnc.command()
def add(
    numbers: Annotated[list[str], typer.Argument(metavar="PHONE…", help="Such as +4526141516.")],
    user: As,
    reason: Reason,
    campaign: Campaign = None,
    region: Region = None,
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Lists numbers, and closes their open leads at once; all of them, or none when one is no number."""
    from ingestd.leads import do_not_call

    with _doing(opened(config, home), user, reason) as (connection, done):
        wanted = do_not_call.readable(connection, numbers, campaign, region)
        result = do_not_call.add(connection, wanted, campaign, done)
    if as_json:
        printing.print_json(vars(result))
        return
    typer.echo(f"{result.added:,} added, {result.known:,} known already, {result.closed:,} open leads closed")


@dnc.command()
def remove(
    number: Number,
    user: As,
    why: Annotated[str, typer.Option("--why", help="Why it may be called again; the audit keeps it.")],
    campaign: Campaign = None,
    region: Region = None,
    config: Config = CONFIG,
    home: Home = HOME,
) -> None:
    """Takes a number off a list. Leads that it had closed stay closed."""
    from ingestd.errors import Missing
    from ingestd.leads import do_not_call

    with _doing(opened(config, home), user, why) as (connection, done):
        wanted = do_not_call.readable(connection, [number], campaign, region)[0]
        if not do_not_call.remove(connection, wanted, campaign, done):
            raise Missing("number_unlisted", f"{wanted} is not on the list")
    typer.echo(f"{wanted} is off the list")


@dnc.command()
def check(
    number: Number, region: Region = None, config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False
) -> None:
    """Says on which lists a number is, since when and why, and which leads have it as their phone."""
    from ingestd.leads import do_not_call, selection
    from ingestd.store.engine import reading

    with reading(opened(config, home).engine) as connection:
        wanted = do_not_call.readable(connection, [number], None, region)[0]
        found = do_not_call.of_number(connection, wanted)
        leads = selection.latest(connection, selection.Filter(phone=wanted), limit=50)
    told = [{"id": each.id, "pool_id": each.pool_id, "status": each.status} for each in leads]
    if as_json:
        printing.print_json({"phone": wanted, "lists": [vars(each) for each in found], "leads": told})
        return
    if not found:
        typer.echo(f"{wanted} is on no list")
    for each in found:
        typer.echo(f"{_list(each.campaign)} since {each.added_at:%Y-%m-%d %H:%M} UTC: {each.reason}")
    for lead in told:
        typer.echo(f"lead {lead['id']} of pool {lead['pool_id']}: {lead['status']}")


@dnc.command(name="import")
def import_file(
    file: Annotated[
        Path,
        typer.Argument(
            help="One number a line, or a table with a phone column.",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            readable=True,
        ),
    ],
    campaign: Campaign = None,
    region: Region = None,
    reason: Reason = "imported",
    user: Annotated[
        str | None, typer.Option("--as", help="Login of the user who does it; else the command line.", metavar="USER")
    ] = None,
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Adds numbers to the global do-not-call list, or to a campaign's, and closes their open leads."""
    from ingestd import schemas
    from ingestd.leads import do_not_call

    house = opened(config, home)
    result = do_not_call.import_list(
        house.engine,
        file.read_bytes(),
        name=file.name,
        schema=schemas.read(house.schemas),
        campaign=campaign,
        region=region,
        deed=_deed(house, user, reason),
    )
    if as_json:
        told = ("added", "known", "closed", "unreadable")
        printing.print_json({name: getattr(result, name) for name in told})
    else:
        typer.echo(
            f"{result.added:,} added, {result.known:,} known already, {len(result.unreadable):,} unreadable, "
            f"{result.closed:,} open leads closed"
        )
        for line, text, fault in result.unreadable[:10]:
            typer.echo(f"  line {line}: {text!r} {fault}", err=True)
    if result.unreadable:
        raise typer.Exit(WITH_REJECTS)


def _print(found: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        printing.print_json(found)
        return
    table = printing.table_of("phone", "list", "since (UTC)", "why")
    for each in found:
        table.add_row(each["phone"], _list(each["campaign"]), f"{each['added_at']:%Y-%m-%d %H:%M}", each["reason"])
    printing.print_table(table)


def _list(campaign: str | None) -> str:
    return f"list of {campaign}" if campaign else "global list"


def _deed(house: House, login: str | None, why: str) -> Deed:
    from ingestd.store.engine import reading

    if login is None:
        return deed(why)
    with reading(house.engine) as connection:
        return _of(connection, login, why)


def _of(connection: Connection, login: str, why: str) -> Deed:
    """What a user does who may administer leads."""
    from ingestd.access.permissions import Permission
    from ingestd.store.ledger import now

    return permitted(connection, login, Permission.LEAD_ADMIN).deed(now(), why)


@contextmanager
def _doing(house: House, login: str, why: str) -> Iterator[tuple[Connection, Deed]]:
    from ingestd.store.engine import writing

    with writing(house.engine) as connection:
        yield connection, _of(connection, login, why)
