"""What `ingestd deliveries` and `ingestd pools` do with a delivery once more, with another mapping or the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingestd import printing
from ingestd.commands.mappings import mapping_of
from ingestd.commands.options import caller

if TYPE_CHECKING:
    from ingestd.house import House
    from ingestd.leads.reruns import Places, Wish
    from ingestd.store.audit import Deed

Save = Annotated[
    bool,
    typer.Option("--save", help="Also for later files of its source; the user then needs manage_sources."),
]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Who asks, and how the file is to be read."""

    by: str
    why: str
    pairs: list[str] | None
    file: Path | None
    save: bool


def run_again(house: House, number: int, asked: Asked, *, as_json: bool) -> None:
    """Reads a delivery's file once more, as a new delivery."""
    from ingestd.leads import reruns, rights
    from ingestd.store.engine import reading

    deed, wish = _allowed(house, asked)
    with reading(house.engine) as connection:
        beyond = rights.out_of_reach(connection, caller(connection, asked.by))
    done = reruns.rerun(_places(house), deed, number, wish, beyond)
    deleted = done.undone.deleted if done.undone else 0
    if as_json:
        printing.print_json({"delivery": done.delivery_id, "rerun_of": number, "deleted": deleted})
        return
    typer.echo(f"delivery {number} is run again as delivery {done.delivery_id}, which is queued")
    if done.undone:
        typer.echo(f"leads taken back: {deleted:,}")


def confirmed(house: House, number: int, asked: Asked) -> None:
    """Lets a delivery go on that waits for that."""
    from ingestd.leads import reruns

    deed, wish = _allowed(house, asked)
    reruns.confirm(_places(house), deed, number, wish)
    typer.echo(f"delivery {number} is confirmed, and queued")


def _allowed(house: House, asked: Asked) -> tuple[Deed, Wish]:
    """The deed of a user who may do it; raises Denied."""
    from ingestd.access.permissions import Permission
    from ingestd.leads.reruns import Wish
    from ingestd.store.engine import reading
    from ingestd.store.ledger import now

    wish = Wish(mapping=mapping_of(asked.pairs, asked.file), save=asked.save)
    if wish.save and wish.mapping is None:
        raise typer.BadParameter("--save keeps what is named of the mapping; name something")
    with reading(house.engine) as connection:
        who = caller(connection, asked.by)
    if asked.save:
        who.require([Permission.MANAGE_SOURCES])
    return who.deed(now(), asked.why), wish


def _places(house: House) -> Places:
    from ingestd.leads.reruns import Places

    return Places(engine=house.engine, ledger=house.ledger, spool=house.spool, schemas=house.schemas)
