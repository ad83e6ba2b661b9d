"""`ingestd lead …`: the leads themselves on the command line, over the same functions as everything else.

Heavy modules are imported inside the commands, as in `cli`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from ingestd import printing
from ingestd.commands import lead_printing, lead_search
from ingestd.commands.options import CONFIG, HOME, As, AsJson, Config, Home, Limit, opened, take, worker

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ingestd.house import House
    from ingestd.leads.lead import Lead
    from ingestd.leads.selection import Filter

lead = typer.Typer(help="Leads: who may call them, and what happens to them.", no_args_is_help=True)
lead.command()(lead_search.export)

Number = Annotated[int, typer.Argument(help="The lead's number.", metavar="LEAD")]
Why = Annotated[str, typer.Option("--why", help="Kept in the history.")]
Version = Annotated[int | None, typer.Option("--version", help="Refuse when the lead has another version.")]
Campaign = Annotated[str | None, typer.Option("--campaign", help="Only of this campaign.")]
Pool = Annotated[int | None, typer.Option("--pool", help="Only of this pool.")]
Status = Annotated[str | None, typer.Option("--status", help="Only with this status; or `open`, `closed`.")]
Owner = Annotated[str | None, typer.Option("--owner", help="Only of this team:<key> or user:<login>.")]
Fields = Annotated[list[str], typer.Argument(help="Such as city=Lund; nothing after = empties the field.")]


@lead.command(name="list")
def list_leads(
    config: Config = CONFIG,
    home: Home = HOME,
    limit: Limit = 50,
    campaign: Campaign = None,
    pool: Pool = None,
    status: Status = None,
    owner: Owner = None,
    phone: Annotated[str | None, typer.Option("--phone", help="Only this number, as it is kept.")] = None,
    deactivated: Annotated[
        bool | None, typer.Option("--deactivated/--active", help="Only what is out of use, or in use.")
    ] = None,
    callable_by: Annotated[str | None, typer.Option("--callable-by", help="Only what this user may call.")] = None,
    visible_to: lead_search.VisibleTo = None,
    where: lead_search.Where = None,
    as_filter: lead_search.AsJsonFilter = None,
    columns: lead_search.Columns = None,
    sort: lead_search.SortBy = None,
    as_json: AsJson = False,
) -> None:
    """Lists leads, the newest first; with --where, --filter, --columns or --sort, as Lead Admin does."""
    if where or as_filter or columns or sort:
        if callable_by:
            raise typer.BadParameter("--callable-by goes with none of --where, --filter, --columns and --sort")
        plain = lead_search.asked(as_filter, campaign=campaign, pool=pool, status=status, owner=owner, phone=phone)
        house = opened(config, home)
        lead_search.listed(house, [where], plain, columns, sort, limit, visible_to, as_json=as_json)
        return
    from ingestd.leads import access, agents, selection, statuses
    from ingestd.store.ledger import now

    with _reading(opened(config, home)) as connection:
        wanted = filter_of(connection, campaign, pool, status, owner)
        conditions = [access.visible_to(agents.agent(connection, visible_to))] if visible_to else []
        if callable_by:
            known, book = access.campaigns(connection).values(), statuses.read(connection)
            conditions.append(access.callable_by(agents.agent(connection, callable_by), known, book, now()))
        further = conditions[0] if len(conditions) == 1 else (conditions[0] & conditions[1] if conditions else None)
        wanted = dataclasses.replace(wanted, phone=phone, deactivated=deactivated, further=further)
        found = [lead_printing.told(connection, each) for each in selection.latest(connection, wanted, limit=limit)]
    if as_json:
        printing.print_json(found)
        return
    table = printing.table_of("id", "campaign", "phone", "name", "status", "owner", "attempts", "scheduled", "state")
    for each in found:
        table.add_row(
            str(each["id"]), each["campaign"], each["phone"], lead_printing.name_of(each), each["status"],
            each["owner"], str(each["attempts"]), str(each["scheduled_at"] or ""), lead_printing.state_of(each),
        )  # fmt: skip
    printing.print_table(table)


@lead.command()
def show(number: Number, config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False) -> None:
    """Shows everything about one lead."""
    from ingestd.leads import lead as leads

    with _reading(opened(config, home)) as connection:
        lead_printing.show(lead_printing.told(connection, leads.find(connection, number)), as_json=as_json)


@lead.command()
def create(
    fields: Fields,
    campaign: Annotated[str, typer.Option("--campaign", help="The campaign that gets the lead.")],
    user: As,
    owner: Annotated[str | None, typer.Option("--owner", help="team:<key> or user:<login>; else the top team.")] = None,
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Makes a lead by hand, checked as those of a file: `ingestd lead create phone=26141516 --campaign …`."""
    from ingestd.access.permissions import Permission
    from ingestd.leads import creating
    from ingestd.store.ledger import now

    house, values = opened(config, home), values_of(fields)
    with _reading(house) as connection:
        by = worker(connection, user, Permission.LEAD_ADMIN, Permission.DIAL)
        typed = creating.Typed(campaign=campaign, values=values, by=by, at=now(), owner=owner)
        creating.check_may(connection, typed)
    made = creating.create(house.engine, house.schemas, typed)
    if as_json:
        printing.print_json(dataclasses.asdict(made))
        return
    typer.echo(f"lead {made.lead_id}: {made.outcome}")
    for remark in made.remarks:
        typer.echo(f"  {remark.field}: {remark.message}", err=True)


@lead.command()
def edit(
    number: Number,
    fields: Fields,
    user: As,
    version: Version = None,
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Changes fields of a lead: `ingestd lead edit 7 city=Lund --as admin`."""
    from ingestd.leads import editing

    house, values = opened(config, home), values_of(fields)

    def change(connection: Connection, by: int, at: datetime) -> Lead:
        wish = editing.Edit(values=values, by=by, at=at, why=why, version=version)
        return editing.edit(connection, house.schemas, number, wish)

    _change(house, number, user, change, as_json=as_json)


@lead.command()
def status(
    number: Number,
    to: Annotated[str, typer.Argument(help="Code of the status.", metavar="STATUS")],
    user: As,
    call: Annotated[bool, typer.Option("--call", help="How a call of who may call it ended: an attempt.")] = False,
    retain: Annotated[bool, typer.Option("--retain", help="Private and VIP do not change the owner.")] = False,
    at: Annotated[datetime | None, typer.Option("--at", help="When to call next, in UTC; not past.")] = None,
    version: Version = None,
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Gives a lead another status, with what that does to owner, attempts and lock."""
    from datetime import UTC

    from ingestd.leads import agents, rights, statuses

    scheduled = at.replace(tzinfo=UTC) if at else None

    def change(connection: Connection, by: int, moment: datetime) -> Lead:
        if call:
            rights.check_call(connection, agents.agent(connection, user), number, moment)
        wish = statuses.Change(
            to=to, by=by, at=moment, why=why, call=call, retain_owner=retain, scheduled_at=scheduled, version=version
        )
        return statuses.change_status(connection, number, wish)

    _change(opened(config, home), number, user, change, as_json=as_json)


@lead.command()
def lock(
    number: Number,
    user: As,
    minutes: Annotated[int, typer.Option("--minutes", min=1, help="For how long.")] = 15,
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Holds a lead for a user, so that nobody else calls or changes it."""
    from ingestd.leads import editing

    lease = timedelta(minutes=minutes)
    _change(
        opened(config, home),
        number,
        user,
        lambda connection, by, at: editing.lock(connection, number, by=by, at=at, lease=lease),
        as_json=as_json,
    )


@lead.command()
def unlock(
    number: Number,
    user: As,
    force: Annotated[bool, typer.Option("--force", help="Also when somebody else holds it.")] = False,
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Gives a lead free."""
    from ingestd.leads import editing

    _change(
        opened(config, home),
        number,
        user,
        lambda connection, by, at: editing.unlock(connection, number, by=by, at=at, force=force),
        as_json=as_json,
        leading=force,
    )


@lead.command()
def deactivate(
    number: Number, user: As, why: Why = "", config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False
) -> None:
    """Takes a lead out of use: nobody calls it, and only leaders see it."""
    from ingestd.leads import editing

    _change(
        opened(config, home),
        number,
        user,
        lambda connection, by, at: editing.deactivate(connection, number, by=by, at=at, why=why),
        as_json=as_json,
        leading=True,
    )


@lead.command()
def activate(
    number: Number, user: As, why: Why = "", config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False
) -> None:
    """Takes a lead into use again."""
    from ingestd.leads import editing

    _change(
        opened(config, home),
        number,
        user,
        lambda connection, by, at: editing.activate(connection, number, by=by, at=at, why=why),
        as_json=as_json,
        leading=True,
    )


@lead.command(name="history")
def show_history(number: Number, config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False) -> None:
    """Shows everything that happened to a lead: who, when, from, to, why."""
    from ingestd.leads import lead as leads
    from ingestd.leads import telling

    with _reading(opened(config, home)) as connection:
        told = [
            lead_printing.event_line(each)
            for each in telling.history_of(connection, leads.find(connection, number), listed=True)
        ]
    if as_json:
        printing.print_json(told)
        return
    table = printing.table_of("version", "when (UTC)", "who", "what", "field", "from", "to", "why")
    for each in told:
        table.add_row(*(str(value) if value is not None else "" for value in each.values()))
    printing.print_table(table)


@lead.command()
def explain(
    number: Number,
    agent: Annotated[str, typer.Option("--agent", help="Login of the user.", metavar="USER")],
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Says whether a user may call and see a lead: each rule with yes or no, and the fact behind it."""
    from ingestd.leads import access, agents
    from ingestd.store.ledger import now

    with _reading(opened(config, home)) as connection:
        told = access.explain(connection, number, agents.agent(connection, agent), now())
    if as_json:
        printing.print_json({**dataclasses.asdict(told), "may_call": told.may_call, "may_see": told.may_see})
        return
    for verb, may, every in (("call", told.may_call, told.calling), ("see", told.may_see, told.seeing)):
        typer.echo(f"{agent} may {'' if may else 'not '}{verb} lead {number}")
        for rule in every:
            typer.echo(f"  {'yes' if rule.holds else 'NO ':<3}  {rule.name:<20} {rule.fact}")


@lead.command()
def anonymise(
    number: Number,
    user: As,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; there is no way back.")] = False,
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Blanks a person for good: the lead, its history, and its record in logs, results and received files."""
    from ingestd.access.permissions import Permission
    from ingestd.leads import anonymise as forget
    from ingestd.store.engine import writing
    from ingestd.store.ledger import now
    from ingestd.worker import publisher_of

    if not yes:
        raise typer.BadParameter("a person's data cannot be brought back; say --yes to do it")
    house = opened(config, home)
    with writing(house.engine) as connection:
        by = worker(connection, user, Permission.EXTENDED_DATA)
        worker(connection, user, Permission.LEAD_ADMIN)
        take(connection, by, number)
    places = forget.Places(
        engine=house.engine, ledger=house.ledger, spool=house.spool, logs=house.logs, schemas=house.schemas
    )
    done = forget.anonymise(places, number, by=by.id, at=now())
    publisher = publisher_of(house)
    for delivery in done.deliveries:
        publisher.publish_again(delivery)
    if as_json:
        printing.print_json(
            {"lead": number, "erased": [dataclasses.asdict(each) for each in done.erased], "left": done.left}
        )
        return
    typer.echo(f"lead {number} is anonymised")
    for each in done.erased:
        typer.echo(
            f"  delivery {each.delivery_id}: row {', '.join(map(str, each.rows))} blanked, in its log and results too"
        )
    for place in done.left:
        typer.echo(f"  still there: {place}")


@contextmanager
def _reading(house: House) -> Iterator[Connection]:
    from ingestd.store.engine import reading

    with reading(house.engine) as connection:
        yield connection


def _change(
    house: House,
    number: int,
    user: str,
    change: Callable[[Connection, int, datetime], Lead],
    *,
    as_json: bool,
    leading: bool = False,
) -> None:
    """One change in one transaction, of a lead that the user may change; shows the lead as it is then.

    `leading`: it needs the permission `lead_admin`.
    """
    from ingestd.access.permissions import Permission
    from ingestd.store.engine import writing
    from ingestd.store.ledger import now

    with writing(house.engine) as connection:
        by = worker(connection, user, Permission.LEAD_ADMIN, *(() if leading else (Permission.DIAL,)))
        take(connection, by, number)
        after = change(connection, by.id, now())
        told = lead_printing.told(connection, after)
    lead_printing.show(told, as_json=as_json)


def filter_of(
    connection: Connection, campaign: str | None, pool: int | None, status: str | None, owner: str | None
) -> Filter:
    """The leads that plain options name."""
    from ingestd.leads import selection

    number = selection.campaign_named(connection, campaign) if campaign else None
    owned = selection.owner_named(connection, owner) if owner else None
    return selection.Filter(campaign_id=number, pool_id=pool, status=status, owner_id=owned)


def values_of(fields: list[str]) -> dict[str, str | None]:
    """`field=value` as a mapping."""
    pairs = [field.partition("=") for field in fields]
    wrong = [name for name, equals, _ in pairs if not equals]
    if wrong:
        raise typer.BadParameter(f"{wrong[0]!r} is not written as field=value")
    return {name.strip(): value for name, _, value in pairs}
