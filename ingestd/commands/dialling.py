"""`ingestd lead next`, `result`, `statuses`: dialling on the command line, as the API does it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from ingestd import printing
from ingestd.commands import lead_printing
from ingestd.commands.lead_owners import lead
from ingestd.commands.leads import Number, values_of
from ingestd.commands.options import CONFIG, HOME, As, AsJson, Config, Home, opened, worker

__all__ = ["lead"]


@lead.command(name="next")
def next_lead(
    campaign: Annotated[str, typer.Option("--campaign", help="Where to dial.")],
    user: As,
    minutes: Annotated[int, typer.Option("--minutes", min=1, help="For how long the lead is held.")] = 15,
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Gives a user the best lead to call, and holds it; or says why there is none."""
    from ingestd.leads.shifts import Shifts
    from ingestd.store.engine import reading
    from ingestd.store.ledger import now

    house = opened(config, home)
    given = Shifts(engine=house.engine).next_lead(user, campaign, now(), lease=timedelta(minutes=minutes))
    with reading(house.engine) as connection:
        told = None if given.lead is None else lead_printing.told(connection, given.lead)
    if as_json:
        printing.print_json({"lead": told, "reasons": [vars(each) for each in given.reasons]})
        return
    if told is not None:
        lead_printing.show(told, as_json=False)
        return
    typer.echo("there is no lead to call now")
    for reason in given.reasons:
        soon = f", the first at {reason.next_at:%Y-%m-%d %H:%M:%S} UTC" if reason.next_at else ""
        typer.echo(f"  {reason.leads:,} {reason.rule}{soon}")


@lead.command()
def result(
    number: Number,
    status: Annotated[str, typer.Argument(help="Code of the status.", metavar="STATUS")],
    user: As,
    fields: Annotated[list[str] | None, typer.Argument(help="What was learned, such as city=Lund.")] = None,
    at: Annotated[datetime | None, typer.Option("--at", help="When to call next, in UTC.")] = None,
    comment: Annotated[str, typer.Option("--comment", help="Kept in the history.")] = "",
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Says how the call of a lead ended that the user holds: status, fields and attempt in one, and it is free."""
    from ingestd.access.permissions import Permission
    from ingestd.leads import shifts
    from ingestd.store.engine import reading
    from ingestd.store.ledger import now

    house = opened(config, home)
    with reading(house.engine) as connection:
        who = worker(connection, user, Permission.DIAL)
    scheduled = at.replace(tzinfo=UTC) if at else None
    ended = shifts.Result(
        status=status, at=now(), fields=values_of(fields or []), scheduled_at=scheduled, comment=comment
    )
    after = shifts.finish(house.engine, house.schemas, who, number, ended)
    with reading(house.engine) as connection:
        told = lead_printing.told(connection, after)
    lead_printing.show(told, as_json=as_json)


@lead.command()
def statuses(config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False) -> None:
    """Lists every status, what it does, and how many may follow it."""
    from ingestd.leads import statuses as book
    from ingestd.store.engine import reading

    house = opened(config, home)
    with reading(house.engine) as connection:
        every = book.read(connection).by_code.values()
    if as_json:
        printing.print_json([{**vars(each), "may_become": sorted(each.may_become)} for each in every])
        return
    table = printing.table_of("code", "name", "kind", "dialled", "given by", "does", "may become")
    for each in every:
        verbs = ("counts_attempt", "takes_owner", "gives_back", "outlives_pool", "kept_for_caller")
        does = ", ".join(verb.replace("_", " ") for verb in verbs if getattr(each, verb))
        place = "" if each.dial_order is None else str(each.dial_order)
        table.add_row(each.code, each.name, each.kind, place, each.set_by, does, str(len(each.may_become)))
    printing.print_table(table)
