"""`ingestd org`: teams, ownership codes, projects and campaigns, and the audit of their changes."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingestd import printing
from ingestd.commands.options import CONFIG, HOME, AsJson, Config, Home, Limit, Why, Yes, deed, given, opened

if TYPE_CHECKING:
    from ingestd.store.facts import Kind

org = typer.Typer(help="The organisation: teams, users, ownership codes, projects, campaigns.", no_args_is_help=True)
team = typer.Typer(help="Teams.", no_args_is_help=True)
project = typer.Typer(help="Projects, by which campaigns are grouped.", no_args_is_help=True)
campaign = typer.Typer(help="Campaigns.", no_args_is_help=True)
org.add_typer(team, name="team")
org.add_typer(project, name="project")
org.add_typer(campaign, name="campaign")


def _day(text: str | None) -> str | None:
    """A day as the store has it; nothing and an empty text stay what they are."""
    try:
        return date.fromisoformat(text).isoformat() if text else text
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no day; write it as 2027-01-31") from None


Team = Annotated[str, typer.Argument(metavar="TEAM", help="Key of the team.")]
Campaign = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Code of the campaign.")]
Name = Annotated[str | None, typer.Option("--name", help="The name people see.")]
Parent = Annotated[str | None, typer.Option("--parent", help="Key of the team above.")]
Project = Annotated[str | None, typer.Option("--project", help="Code of its project.")]
Region = Annotated[str | None, typer.Option("--region", help="Country of phones whose record names none, such as DK.")]
Template = Annotated[str | None, typer.Option("--template", help="schemas/<template>.toml; empty: none.")]
Timezone = Annotated[str | None, typer.Option("--timezone", help="Such as Europe/Copenhagen.")]
Expires = Annotated[
    str | None,
    typer.Option("--expires", help="Last day, written as 2027-01-31; empty: never.", metavar="DAY", callback=_day),
]
Attempts = Annotated[int | None, typer.Option("--max-attempts", min=1, help="Call attempts for one lead.")]
Access = Annotated[
    list[str] | None,
    typer.Option("--access", help="Who may call in it, team:<key> or user:<login>, several times; empty: everybody."),
]
Duplicates = Annotated[str | None, typer.Option("--on-duplicate", help="reject, update or keep.")]
Code = Annotated[str | None, typer.Option("--code", help="Lead Ownership Code; empty: none.")]


@org.command(name="import")
def org_import(config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False) -> None:
    """Applies organisation, sources and statuses of the configuration to the store; twice changes nothing."""
    from ingestd.house import apply_organisation

    changes = apply_organisation(opened(config, home))
    if as_json:
        from dataclasses import asdict

        printing.print_json(asdict(changes))
        return
    typer.echo(f"{changes.added} added, {changes.changed} changed, {changes.deactivated} deactivated")
    for field in changes.kept:
        typer.echo(f"  {field}: kept as it was changed by API or command line; the file says something else", err=True)
    for field in changes.overruled:
        typer.echo(f"  {field}: changed in the file and elsewhere; the file's value holds", err=True)


@org.command(name="show")
def org_show(config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False) -> None:
    """Shows the team tree with users and Lead Ownership Codes."""
    from ingestd.store import organisation
    from ingestd.store.engine import reading

    with reading(opened(config, home).engine) as connection:
        teams = organisation.tree(connection)
    if as_json:
        printing.print_json(teams)
        return
    for each in teams:
        indent = "  " * each["depth"]
        typer.echo(f"{indent}{each['name']}{printing.code_of(each)}" + ("" if each["active"] else "  (inactive)"))
        for user in each["users"]:
            inactive = "" if user["active"] else "  (inactive)"
            typer.echo(f"{indent}  · {user['login']}, {user['role']}{printing.code_of(user)}{inactive}")


@org.command(name="codes")
def org_codes(config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False) -> None:
    """Lists the Lead Ownership Codes and whose they are."""
    from dataclasses import asdict

    from ingestd.organisation import owners
    from ingestd.store.engine import reading

    with reading(opened(config, home).engine) as connection:
        found = owners.codes(connection)
    if as_json:
        printing.print_json([asdict(each) for each in found])
        return
    table = printing.table_of("code", "kind", "owner", "name")
    for each in found:
        table.add_row(each.code, each.kind, each.owner, each.name)
    printing.print_table(table)


@org.command(name="audit")
def org_audit(
    config: Config = CONFIG,
    home: Home = HOME,
    limit: Limit = 50,
    subject: Annotated[str | None, typer.Option("--subject", help="Such as team:berlin.")] = None,
    as_json: AsJson = False,
) -> None:
    """Lists who changed what, the newest first."""
    from dataclasses import asdict

    from ingestd.store import audit
    from ingestd.store.engine import reading

    with reading(opened(config, home).engine) as connection:
        found = audit.latest(connection, limit=limit, subject=subject)
    if as_json:
        printing.print_json([asdict(each) for each in found])
        return
    table = printing.table_of("id", "when (UTC)", "who", "did", "what", "from", "to", "why")
    for each in found:
        states = [_told(each.before), _told(each.after)]
        when = f"{each.at:%Y-%m-%d %H:%M:%S}"
        table.add_row(str(each.id), when, each.actor, each.action, each.subject, *states, each.why)
    printing.print_table(table)


@team.command(name="add")
def team_add(
    key: Team,
    name: Annotated[str, typer.Option("--name", help="The name people see.")],
    parent: Annotated[str, typer.Option("--parent", help="Key of the team above.")],
    code: Code = None,
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
) -> None:
    """Makes a team below another one."""
    _create(config, home, "team", key, {"name": name, "parent": parent, "code": code}, why)
    typer.echo(f"team {key} is there")


@team.command(name="edit")
def team_edit(
    key: Team,
    name: Name = None,
    parent: Parent = None,
    code: Code = None,
    yes: Yes = False,
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
) -> None:
    """Renames a team, moves it below another one, or changes its Lead Ownership Code."""
    _edit_team(config, home, key, given(name=name, parent=parent, code=code), why, yes=yes)
    typer.echo(f"team {key} is changed")


@team.command(name="deactivate")
def team_deactivate(key: Team, yes: Yes = False, why: Why = "", config: Config = CONFIG, home: Home = HOME) -> None:
    """Takes a team out, when nothing hangs on it any more."""
    _edit_team(config, home, key, {"active": False}, why, yes=yes)
    typer.echo(f"team {key} is deactivated")


@project.command(name="add")
def project_add(
    code: Annotated[str, typer.Argument(metavar="PROJECT", help="Code of the project.")],
    name: Annotated[str, typer.Option("--name", help="The name people see.")],
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
) -> None:
    """Makes a project."""
    _create(config, home, "project", code, {"name": name}, why)
    typer.echo(f"project {code} is there")


@campaign.command(name="add")
def campaign_add(
    code: Campaign,
    name: Annotated[str, typer.Option("--name", help="The name people see.")],
    project: Annotated[str, typer.Option("--project", help="Code of its project.")],
    region: Annotated[str, typer.Option("--region", help="Country of phones whose record names none, such as DK.")],
    template: Template = None,
    timezone: Timezone = None,
    expires: Expires = None,
    max_attempts: Attempts = None,
    access: Access = None,
    on_duplicate: Duplicates = None,
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
) -> None:
    """Makes a campaign."""
    from ingestd.organisation import campaigns
    from ingestd.store.engine import writing

    house = opened(config, home)
    rules = given(
        template=template, timezone=timezone, expires=expires, max_attempts=max_attempts, on_duplicate=on_duplicate,
        access=_names(access),
    )  # fmt: skip
    values = {"name": name, "project": project, "region": region, **rules}
    with writing(house.engine) as connection:
        campaigns.create(connection, deed(why), code, values, folder=house.schemas)
    typer.echo(f"campaign {code} is there")


@campaign.command(name="edit")
def campaign_edit(
    code: Campaign,
    name: Name = None,
    project: Project = None,
    region: Region = None,
    template: Template = None,
    timezone: Timezone = None,
    expires: Expires = None,
    max_attempts: Attempts = None,
    access: Access = None,
    on_duplicate: Duplicates = None,
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
) -> None:
    """Changes a campaign; the next delivery is loaded by the new rules."""
    values = given(
        name=name, project=project, region=region, template=template, timezone=timezone, expires=expires,
        max_attempts=max_attempts, on_duplicate=on_duplicate, access=_names(access),
    )  # fmt: skip
    _edit_campaign(config, home, code, values, why, yes=True)
    typer.echo(f"campaign {code} is changed")


def _names(given: list[str] | None) -> list[str] | None:
    """Those that were given; none at all for one that is empty."""
    return [name for name in given if name] if given else None


@campaign.command(name="list")
def campaign_list(config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False) -> None:
    """Lists the campaigns with their rules."""
    from ingestd.organisation import changes
    from ingestd.store.engine import reading

    with reading(opened(config, home).engine) as connection:
        found = changes.every(connection, "campaign")
    if as_json:
        printing.print_json([{"code": each.key, **each.facts} for each in found])
        return
    table = printing.table_of("code", "name", "project", "template", "region", "expires", "attempts", "state")
    for each in found:
        facts = each.facts
        table.add_row(
            each.key, facts["name"], facts["project"], facts["template"] or "", facts["region"],
            facts["expires"] or "never", str(facts["max_attempts"]), "active" if facts["active"] else "inactive",
        )  # fmt: skip
    printing.print_table(table)


@campaign.command(name="activate")
def campaign_activate(code: Campaign, why: Why = "", config: Config = CONFIG, home: Home = HOME) -> None:
    """Lets files be loaded into a campaign, and its leads be called, again."""
    _edit_campaign(config, home, code, {"active": True}, why, yes=True)
    typer.echo(f"campaign {code} is active")


@campaign.command(name="deactivate")
def campaign_deactivate(
    code: Campaign, yes: Yes = False, why: Why = "", config: Config = CONFIG, home: Home = HOME
) -> None:
    """Ends a campaign: nothing is loaded into it, and none of its leads is called."""
    _edit_campaign(config, home, code, {"active": False}, why, yes=yes)
    typer.echo(f"campaign {code} is deactivated")


def _create(config: Path, home: Path, kind: Kind, key: str, values: dict[str, Any], why: str) -> None:
    from ingestd.organisation import changes
    from ingestd.store.engine import writing

    with writing(opened(config, home).engine) as connection:
        changes.create(connection, deed(why), kind, key, values)


def _edit_team(config: Path, home: Path, key: str, values: dict[str, Any], why: str, *, yes: bool) -> None:
    from ingestd.organisation import owners
    from ingestd.store.engine import writing

    with writing(opened(config, home).engine) as connection:
        owners.edit(connection, deed(why), "team", key, values, confirmed=yes)


def _edit_campaign(config: Path, home: Path, code: str, values: dict[str, Any], why: str, *, yes: bool) -> None:
    from ingestd.organisation import campaigns
    from ingestd.store.engine import writing

    house = opened(config, home)
    with writing(house.engine) as connection:
        campaigns.edit(connection, deed(why), code, values, folder=house.schemas, confirmed=yes)


def _told(facts: dict[str, Any] | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in (facts or {}).items())
