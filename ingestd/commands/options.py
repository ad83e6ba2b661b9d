"""What many commands take, and how they open the home."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ingestd.access.callers import Caller
    from ingestd.house import House
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
    """The home, with a store of this version; made on first use."""
    from ingestd.house import open_house
    from ingestd.preparing import prepare_store

    house = open_house(config.resolve(), home.resolve())
    prepare_store(house)
    return house


def deed(why: str = "") -> Deed:
    """What is done now on the command line."""
    from ingestd.store.audit import COMMAND_LINE, Deed
    from ingestd.store.ledger import now

    return Deed(actor=COMMAND_LINE, at=now(), why=why)


def caller(connection: Connection, login: str) -> Caller:
    """A user who may work with deliveries and pools; raises Missing and Denied."""
    from ingestd.access import callers, people
    from ingestd.access.permissions import Permission

    found = callers.of_person(people.known(connection, login))
    found.require([Permission.LEAD_POOLS])
    return found


def allowed(house: House, login: str) -> str:
    """The same as deliveries name those who bring them: `user:<login>`."""
    from ingestd.store.engine import reading

    with reading(house.engine) as connection:
        return caller(connection, login).actor.name


def given(**values: object) -> dict[str, object]:
    """The options that were given; an empty text takes a value away."""
    return {name: None if value == "" else value for name, value in values.items() if value is not None}
