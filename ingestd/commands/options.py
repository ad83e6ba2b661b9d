"""What many commands take, and how they open the home."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection

    from ingestd.access.callers import Caller
    from ingestd.access.permissions import Permission
    from ingestd.house import House
    from ingestd.leads.agents import Agent
    from ingestd.model import Delivery
    from ingestd.store.audit import Deed

Config = Annotated[Path, typer.Option("--config", help="Folder of the configuration.", envvar="INGESTD_CONFIG")]
Home = Annotated[Path, typer.Option("--home", help="Folder of all data.", envvar="INGESTD_HOME")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many, the newest first.")]
As = Annotated[
    str, typer.Option("--as", help="Login of the user who does it; history and audit name it.", metavar="USER")
]
Why = Annotated[str, typer.Option("--why", help="The reason, for the audit.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it although leads are affected, without asking.")]
CONFIG, HOME = Path("config"), Path("var")


def opened(config: Path, home: Path) -> House:
    """The home, with a store of this version; made on first use, and that is told: it may be a misspelt one."""
    from ingestd.house import open_house
    from ingestd.preparing import prepare_store

    new = not home.exists()
    house = open_house(config.resolve(), home.resolve())
    prepare_store(house)
    if new:
        typer.echo(f"{home.resolve()} was not there; a new home was made", err=True)
    return house


def delivery_of(house: House, number: int, *, pool: bool = False) -> Delivery:
    """A delivery by its number, or by that of its pool; raises Missing."""
    from ingestd.errors import Missing

    found = house.ledger.of_pool(number) if pool else house.ledger.get(number)
    if found is None and pool:
        raise Missing("pool_unknown", f"no delivery became the pool {number}")
    if found is None:
        raise Missing("delivery_unknown", f"there is no delivery {number}")
    return found


def spelt(connection: Connection, column: Column[str], word: str, what: str) -> str:
    """A name as the store spells it, whatever the capitals; raises Missing with the one that may be meant."""
    from sqlalchemy import select

    from ingestd.errors import Missing
    from ingestd.organisation.uploads import meant

    known = {each.casefold(): each for each in connection.scalars(select(column))}
    if word.casefold() not in known:
        raise Missing(f"{what}_unknown", f"there is no {what} {word!r}{meant(word, known.values())}")
    return known[word.casefold()]


def deed(why: str = "") -> Deed:
    """What is done now on the command line."""
    from ingestd.store.audit import COMMAND_LINE, Deed
    from ingestd.store.ledger import now

    return Deed(actor=COMMAND_LINE, at=now(), why=why)


def permitted(connection: Connection, login: str, *needed: Permission) -> Caller:
    """A user who has not left, and has one of the permissions; raises Missing and Denied."""
    from ingestd.access import callers, people
    from ingestd.errors import Missing

    person = people.known(connection, login)
    if not person.active:
        raise Missing("user_unknown", f"{login} is deactivated")
    found = callers.of_person(person)
    found.require(needed)
    return found


def caller(connection: Connection, login: str) -> Caller:
    """A user who may work with deliveries and pools; raises Missing and Denied."""
    from ingestd.access.permissions import Permission

    return permitted(connection, login, Permission.LEAD_POOLS)


def worker(connection: Connection, login: str, *needed: Permission) -> Agent:
    """A user who works with leads, as the API would let them; raises Rejected, Missing and Denied."""
    from ingestd.leads import agents

    found = agents.agent(connection, login)
    permitted(connection, login, *needed)
    return found


def take(connection: Connection, who: Agent, number: int) -> None:
    """Makes sure that a user may change a lead, as the API does; raises Rejected and Denied."""
    from ingestd.errors import Missing, Rejected
    from ingestd.leads import rights

    try:
        rights.take(connection, who, number)
    except Missing as unknown:  # ends as of a number that nobody has
        raise Rejected(unknown.code, unknown.message) from unknown


def allowed(house: House, login: str) -> str:
    """The same as deliveries name those who bring them: `user:<login>`."""
    from ingestd.store.engine import reading

    with reading(house.engine) as connection:
        return caller(connection, login).actor.name


def given(**values: object) -> dict[str, object]:
    """The options that were given; an empty text takes a value away."""
    return {name: None if value == "" else value for name, value in values.items() if value is not None}
