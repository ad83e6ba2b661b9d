"""`ingestd segments`: filters over leads, and the groups in which they are switched on and off.

Heavy modules are imported inside the commands, as in `cli`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingestd import printing
from ingestd.commands.options import CONFIG, HOME, As, AsJson, Config, Home, Why, given, opened, permitted

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from ingestd.leads.segments import Group, Segment
    from ingestd.store.audit import Deed

segments = typer.Typer(help="Segments: each lead is in the first one that matches it.", no_args_is_help=True)
group = typer.Typer(help="Groups of segments, switched on and off together.", no_args_is_help=True)
segments.add_typer(group, name="group")

Number = Annotated[int, typer.Argument(help="The segment's number.", metavar="SEGMENT")]
GroupNumber = Annotated[int, typer.Argument(help="The group's number.", metavar="GROUP")]
Numbers = Annotated[list[int], typer.Argument(help="Every number once, the first one first.")]
Project = Annotated[str, typer.Option("--project", help="Code of the project.")]
Name = Annotated[str, typer.Option("--name", help="The name people see.")]
NewName = Annotated[str | None, typer.Option("--name", help="Another name.")]
Filter = Annotated[str, typer.Option("--filter", help='JSON, such as {"field": "city", "op": "is", "value": "Lund"}.')]
NewFilter = Annotated[str | None, typer.Option("--filter", help="Another filter, as JSON.")]
Active = Annotated[bool, typer.Option("--active/--inactive", help="Whether leads come into it.")]
NewActive = Annotated[bool | None, typer.Option("--active/--inactive", help="Whether leads come into it.")]
OtherGroup = Annotated[int | None, typer.Option("--group", help="Another group than its own.")]
OtherProject = Annotated[str | None, typer.Option("--project", help="Another project than its own.")]


@segments.command(name="list")
def list_segments(
    config: Config = CONFIG,
    home: Home = HOME,
    project: Annotated[str | None, typer.Option("--project", help="Only of this project.")] = None,
    as_json: AsJson = False,
) -> None:
    """Lists the groups with their segments, in the order in which leads come into them."""
    from ingestd.leads import segments as queries
    from ingestd.store.engine import reading

    with reading(opened(config, home).engine) as connection:
        found = queries.groups(connection, project)
    if as_json:
        printing.print_json([asdict(each) for each in found])
        return
    table = printing.table_of("project", "group", "", "id", "segment", "active", "filter")
    for its in found:
        for each in its.segments or (None,):
            table.add_row(its.project, str(its.id), its.name, *_row(its, each))
    printing.print_table(table)


@segments.command()
def show(number: Number, config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False) -> None:
    """Shows a segment: its filter, how many leads are in it, and how far that is worked out."""
    from ingestd.leads import placing
    from ingestd.leads import segments as queries
    from ingestd.store.engine import reading

    with reading(opened(config, home).engine) as connection:
        found = queries.segment(connection, number)
        its = queries.group(connection, found.group_id)
        done = placing.progress(connection, queries.project_number(connection, its.project))
        count = queries.size(connection, its.project, number)
    if as_json:
        printing.print_json({**asdict(found), "leads": count, "computed": done.computed, "pending": done.pending})
        return
    typer.echo(f"{found.name} of {its.name}, {its.project}: {found.told}")
    typer.echo(json.dumps(dict(found.filter), ensure_ascii=False))
    waiting = "not counted yet" if done.pending is None else f"{done.pending:,}"
    typer.echo(f"{count:,} leads; of the project {done.computed:,} are worked out, pending: {waiting}")
    if found.problem:
        typer.echo(found.problem, err=True)


@segments.command()
def add(
    of: Annotated[int, typer.Option("--group", help="The group that gets it.")],
    name: Name,
    written: Filter,
    by: As,
    active: Active = True,
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
) -> None:
    """Makes a segment, behind those of its group."""
    from ingestd.leads import segments as deeds

    with _doing(config, home, by, why) as (connection, deed, schemas):
        made = deeds.add(connection, deed, schemas, of, name, _read(written), active=active)
    typer.echo(f"segment {made.id}: {made.told}")


@segments.command()
def edit(
    number: Number,
    by: As,
    name: NewName = None,
    written: NewFilter = None,
    active: NewActive = None,
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
) -> None:
    """Changes name, filter or state of a segment; its leads follow within moments."""
    from ingestd.leads import segments as deeds

    tree = None if written is None else _read(written)
    with _doing(config, home, by, why) as (connection, deed, schemas):
        after = deeds.edit(connection, deed, schemas, number, given(name=name, filter=tree, active=active))
    typer.echo(f"segment {after.id}: {after.told}")


@segments.command()
def remove(number: Number, by: As, why: Why = "", config: Config = CONFIG, home: Home = HOME) -> None:
    """Takes a segment away."""
    from ingestd.leads import segments as deeds

    with _doing(config, home, by, why) as (connection, deed, _):
        deeds.remove(connection, deed, number)
    typer.echo(f"segment {number} is gone")


@segments.command()
def copy(
    number: Number, name: Name, by: As, to: OtherGroup = None, why: Why = "", config: Config = CONFIG, home: Home = HOME
) -> None:
    """Copies a segment: directly behind it, or to another group."""
    from ingestd.leads import segments as deeds

    with _doing(config, home, by, why) as (connection, deed, schemas):
        made = deeds.copy(connection, deed, schemas, number, name, group_id=to)
    typer.echo(f"segment {made.id}: {made.told}")


@segments.command()
def preview(
    project: Project, written: Filter, by: As, config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False
) -> None:
    """Counts the leads that a filter finds, of those that the user sees, and shows ten of them."""
    from ingestd.commands import lead_printing
    from ingestd.leads import agents, segment_views
    from ingestd.leads import segments as queries
    from ingestd.store.engine import reading

    house, tree = opened(config, home), _read(written)
    with reading(house.engine) as connection:
        checked = queries.checked(connection, house.schemas, project, tree)
        found = segment_views.preview(connection, project, checked, agents.agent(connection, by))
        examples = [lead_printing.told(connection, each) for each in found.examples]
    if as_json:
        printing.print_json({"count": found.count, "exact": found.exact, "examples": examples})
        return
    typer.echo(f"{'' if found.exact else 'at least '}{found.count:,} leads")
    table = printing.table_of("id", "campaign", "phone", "name", "status", "owner")
    for each in examples:
        name = lead_printing.name_of(each)
        table.add_row(str(each["id"]), each["campaign"], each["phone"], name, each["status"], each["owner"])
    printing.print_table(table)


@segments.command()
def recompute(project: Project, by: As, why: Why = "", config: Config = CONFIG, home: Home = HOME) -> None:
    """Looks at every lead of a project once more, and waits until all are in their segments."""
    from ingestd.leads import placing
    from ingestd.leads import segments as deeds

    with _doing(config, home, by, why) as (connection, deed, _):
        deeds.recompute(connection, deed, project)
    done = placing.work(opened(config, home).engine)
    for failure in done.failed.values():
        raise failure
    typer.echo(f"{done.looked_at:,} leads were looked at, {done.moved:,} came into another segment")
    if not done.finished:
        typer.echo("others are at it, and go on", err=True)


@segments.command()
def contested(number: GroupNumber, config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False) -> None:
    """Tells how many leads each segment of a group matches, and how many of these others before it take."""
    from sqlalchemy import true

    from ingestd.leads import segment_views
    from ingestd.leads import segments as queries
    from ingestd.store.engine import reading

    with reading(opened(config, home).engine) as connection:
        found = segment_views.contested(connection, queries.group(connection, number), true())
    if as_json:
        printing.print_json([{**asdict(each), "left": each.left} for each in found])
        return
    table = printing.table_of("segment", "matches", "left", "taken by")
    for each in found:
        taken = ", ".join(f"{count:,} by {other}" for other, count in each.taken.items())
        least = "" if each.exact else "at least "
        table.add_row(str(each.id), f"{least}{each.matches:,}", f"{each.left:,}", taken)
    printing.print_table(table)


@segments.command()
def order(
    number: GroupNumber, numbers: Numbers, by: As, why: Why = "", config: Config = CONFIG, home: Home = HOME
) -> None:
    """Sets the order of a group's segments: `ingestd segments order 1 3 2 --as admin`."""
    from ingestd.leads import segments as deeds

    with _doing(config, home, by, why) as (connection, deed, _):
        after = deeds.order(connection, deed, number, numbers)
    typer.echo(", ".join(each.name for each in after.segments))


@group.command(name="add")
def add_group(
    project: Project,
    name: Name,
    by: As,
    active: Active = True,
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
) -> None:
    """Makes a group, behind those of its project."""
    from ingestd.leads import segments as deeds

    with _doing(config, home, by, why) as (connection, deed, _):
        made = deeds.add_group(connection, deed, project, name, active=active)
    typer.echo(f"segment group {made.id}: {made.name}")


@group.command(name="edit")
def edit_group(
    number: GroupNumber,
    by: As,
    name: NewName = None,
    active: NewActive = None,
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
) -> None:
    """Renames a group, or switches it on or off."""
    from ingestd.leads import segments as deeds

    with _doing(config, home, by, why) as (connection, deed, _):
        after = deeds.edit_group(connection, deed, number, given(name=name, active=active))
    typer.echo(f"segment group {after.id}: {after.name}, {'active' if after.active else 'inactive'}")


@group.command(name="remove")
def remove_group(number: GroupNumber, by: As, why: Why = "", config: Config = CONFIG, home: Home = HOME) -> None:
    """Takes a group away with all its segments."""
    from ingestd.leads import segments as deeds

    with _doing(config, home, by, why) as (connection, deed, _):
        deeds.remove_group(connection, deed, number)
    typer.echo(f"segment group {number} is gone")


@group.command(name="copy")
def copy_group(
    number: GroupNumber,
    name: Name,
    by: As,
    project: OtherProject = None,
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
) -> None:
    """Copies a group with its segments; the copy is not active."""
    from ingestd.leads import segments as deeds

    with _doing(config, home, by, why) as (connection, deed, schemas):
        made = deeds.copy_group(connection, deed, schemas, number, name, project=project)
    typer.echo(f"segment group {made.id}: {made.name}, inactive")


@group.command(name="order")
def order_groups(
    numbers: Numbers, project: Project, by: As, why: Why = "", config: Config = CONFIG, home: Home = HOME
) -> None:
    """Sets the order of a project's groups."""
    from ingestd.leads import segments as deeds

    with _doing(config, home, by, why) as (connection, deed, _):
        after = deeds.order_groups(connection, deed, project, numbers)
    typer.echo(", ".join(each.name for each in after))


def _row(its: Group, each: Segment | None) -> tuple[str, ...]:
    if each is None:
        return "", "", "yes" if its.active else "no", ""
    on = "yes" if its.active and each.active else "no"
    return str(each.id), each.name, on, f"{each.told}{f' ({each.problem})' if each.problem else ''}"


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as problem:
        raise typer.BadParameter(f"--filter is no JSON: {problem}") from problem


@contextmanager
def _doing(config: Path, home: Path, login: str, why: str) -> Iterator[tuple[Connection, Deed, Path]]:
    """A transaction of a user who may work with leads; with the folder of the schemas."""
    from ingestd.access.permissions import Permission
    from ingestd.store.engine import writing
    from ingestd.store.ledger import now

    house = opened(config, home)
    with writing(house.engine) as connection:
        caller = permitted(connection, login, Permission.LEAD_ADMIN)
        yield connection, caller.deed(now(), why), house.schemas
