"""`ingestd lead owner`: Change Owner on the command line, by number or by any filter."""

from __future__ import annotations

from typing import Annotated

import typer

from ingestd import printing
from ingestd.commands import lead_search
from ingestd.commands.leads import Campaign, Owner, Pool, Status, Why, filter_of, lead
from ingestd.commands.options import CONFIG, HOME, As, AsJson, Config, Home, opened, worker

__all__ = ["lead"]


@lead.command()
def owner(
    to: Annotated[
        str,
        typer.Argument(help="The new owner, team:<key>, user:<login> or code:<Lead Ownership Code>.", metavar="OWNER"),
    ],
    user: As,
    numbers: Annotated[list[int] | None, typer.Argument(help="Leads; without any, those of the filter.")] = None,
    campaign: Campaign = None,
    pool: Pool = None,
    with_status: Status = None,
    of: Owner = None,
    where: lead_search.Where = None,
    as_filter: lead_search.AsJsonFilter = None,
    retain: Annotated[bool, typer.Option("--retain", help="Private and VIP redials stay with their agents.")] = False,
    unlock: Annotated[bool, typer.Option("--unlock", help="Unlock and move what somebody holds.")] = False,
    deactivated: Annotated[bool, typer.Option("--deactivated", help="Move deactivated leads too.")] = False,
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Change Owner: moves leads, by number or by filter, and says which did not move and why."""
    from ingestd.access.permissions import Permission
    from ingestd.leads import access, owner_change, owner_changes, rights, statuses
    from ingestd.store import rules
    from ingestd.store.engine import reading
    from ingestd.store.ledger import now

    house = opened(config, home)
    with reading(house.engine) as connection:
        by = worker(connection, user, Permission.LEAD_ADMIN)
        target = owner_changes.target(rules.owners(connection), to)
        wanted = filter_of(connection, campaign, pool, with_status, of)
        plain, any_filter = any((campaign, pool, with_status, of)), where or as_filter
        if [bool(numbers), plain, bool(any_filter)].count(True) != 1:
            raise typer.BadParameter(
                "name leads, or a filter: --campaign, --pool, --status and --owner; or --where and --filter"
            )
        if any_filter:
            numbers = lead_search.meant_by(house, connection, where, as_filter, by)
        within = rights.changed_by(by, access.campaigns(connection).values(), statuses.read(connection))
    move = owner_change.Move(
        to=target, by=by.id, at=now(), why=why, retain=retain, unlock=unlock, deactivated=deactivated
    )
    with printing.progress() as progress:
        task = progress.add_task("moving", total=None)
        moved = owner_change.change_owner(
            house.engine,
            move,
            wanted if plain else numbers or [],
            within=within,
            progress=lambda so_far: progress.update(task, completed=so_far.looked_at),
        )
    if as_json:
        refused = {reason: list(some) for reason, some in moved.refused.items()}
        printing.print_json({"moved": list(moved.moved), "refused": refused})
        return
    typer.echo(f"{len(moved.moved):,} moved to {to}")
    for reason, some in moved.refused.items():
        first = ", ".join(map(str, some[:10])) + (" …" if len(some) > 10 else "")
        typer.echo(f"{len(some):,} {reason.replace('_', ' ')}: {first}")
