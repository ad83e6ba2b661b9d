"""`ingestd import`: one file as a delivery, of a source or as an upload.

Heavy modules are imported inside the commands, as in `cli`.
"""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from ingestd import printing
from ingestd.commands.exits import code_of
from ingestd.commands.options import CONFIG, HOME, AsJson, Config, Home, allowed, opened


def import_file(
    file: Annotated[
        Path, typer.Argument(help="The file to load.", metavar="FILE", exists=True, dir_okay=False, readable=True)
    ],
    source_name: Annotated[
        str, typer.Option("--source", help="The source whose campaign, mapping and owner apply; without: an upload.")
    ] = "",
    campaign: Annotated[
        str, typer.Option("--campaign", help="Its campaign: one of the source's; an upload needs it.", metavar="CODE")
    ] = "",
    owner: Annotated[
        str,
        typer.Option(
            "--owner",
            help="Who gets what names no Lead Ownership Code: team:<key>, user:<login> or code:<code>.",
            metavar="OWNER",
        ),
    ] = "",
    mapping: Annotated[
        str,
        typer.Option(
            "--mapping",
            help="For this file alone: a JSON object of header and field, or source:<name> for a saved one.",
            metavar="MAPPING",
        ),
    ] = "",
    user: Annotated[
        str | None,
        typer.Option(
            "--as", help="Login of the user who brings it, and needs lead_pools; by default yourself.", metavar="USER"
        ),
    ] = None,
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would become of it; load nothing.")] = False,
) -> None:
    """Makes FILE a delivery and follows it to its end.

    A running daemon loads it; without one it is loaded here. Without a source it is an upload, as on the pages: say its
    campaign, and the owner unless every record has a Lead Ownership Code.
    """
    from ingestd import foreground
    from ingestd.organisation.uploads import Wish

    if not source_name and not campaign:
        raise typer.BadParameter("name its source with --source; or with --campaign what an upload goes into")
    house = opened(config, home)
    wish = Wish(source=source_name, campaign=campaign, owner=owner, mapping=mapping)
    order = foreground.Order(file=file, wish=wish, login=allowed(house, user) if user else getpass.getuser())
    if not source_name and not owner and (count := foreground.without_owner(house, order)):
        raise typer.BadParameter(f"{count:,} records have no Lead Ownership Code; say with --owner who gets them")
    if dry_run:
        rehearsed = foreground.rehearse_file(house, order)
        printing.rehearsed(rehearsed, as_json=as_json)
        raise typer.Exit(code_of(rehearsed.state))
    with printing.progress() as progress:
        delivery = foreground.import_file(house, order, progress)
    printing.report(delivery, as_json=as_json)
    raise typer.Exit(code_of(delivery.state))
