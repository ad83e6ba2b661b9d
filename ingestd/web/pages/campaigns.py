"""Projects and their campaigns: the rules by which files are loaded and leads are called."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import Form, Query, Request, Response
from pydantic import Field

from ingestd.errors import Invalid, Refused
from ingestd.organisation import campaigns, changes
from ingestd.organisation.changes import Record
from ingestd.store.engine import reading, writing
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.teams import LOOKING, MANAGING
from ingestd.web.pages.filled import (
    Filled,
    Line,
    Said,
    Why,
    Word,
    again,
    joined,
    key_of,
    text_of,
    title_of,
    whole,
    words,
)
from ingestd.web.pages.rendering import onward, show
from ingestd.web.pages.routes import Pages
from ingestd.web.pages.teams import team_options

pages = Pages()

NOT_TEMPLATES = ("lead", "countries")
"""Files in `schemas/` that are part of every template."""


class CampaignForm(Filled):
    """A campaign as it was typed."""

    code: Word = ""
    name: Word = ""
    project: Word = ""
    template: Word = ""
    region: Word = ""
    timezone: Word = "UTC"
    expires: Word = ""
    max_attempts: Word = "10"
    on_duplicate: Word = "reject"
    on_do_not_call: Word = "reject"
    on_invalid_phone: Word = "reject"
    teams: list[Word] = Field([])
    logins: Line = ""

    def values(self) -> dict[str, Any]:
        """As the verbs of the organisation take them; raises Invalid."""
        rules = {field: getattr(self, field) for field in ("on_duplicate", "on_do_not_call", "on_invalid_phone")}
        owners = [f"team:{key}" for key in self.teams] + [f"user:{login}" for login in words(self.logins)]
        return {
            "name": title_of(self.name),
            "project": self.project,
            "template": self.template or None,
            "region": _region(self.region),
            "timezone": self.timezone.strip(),
            "expires": _day(self.expires),
            "max_attempts": whole(self.max_attempts, "max_attempts"),
            "access": owners,
            **rules,
        }


@pages.get("/campaigns", access=LOOKING)
def list_campaigns(request: Request, desk: AtDesk, q: Annotated[str, Query(max_length=200)] = "") -> Response:
    """Every campaign below its project."""
    word = q.strip().casefold()
    with reading(desk.engine) as connection:
        projects, every = changes.every(connection, "project"), changes.every(connection, "campaign")
    found = [each for each in every if word in each.key.casefold() or word in each.facts["name"].casefold()]
    grouped = [(project, [each for each in found if each.facts["project"] == project.key]) for project in projects]
    shown = [(project, its) for project, its in grouped if its or not word]
    return show(request, "campaigns.html", fragment="found", q=q.strip(), grouped=shown, total=len(every))


@pages.post("/campaigns/-projects", access=MANAGING)
def add_project(
    desk: AtDesk,
    caller: ByCaller,
    code: Annotated[str, Form(max_length=200)] = "",
    name: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Makes a project."""
    with writing(desk.engine) as connection:
        deed = caller.deed(desk.clock())
        made = changes.create(connection, deed, "project", key_of(code, "code"), {"name": title_of(name)})
    return onward("/campaigns", f"The project {made.facts['name']} is there.")


@pages.post("/campaigns/-projects/{code}", access=MANAGING)
def rename_project(
    desk: AtDesk,
    caller: ByCaller,
    code: str,
    name: Annotated[str, Form(max_length=200)] = "",
    reason: Annotated[Why, Form()] = "",
) -> Response:
    """Gives a project another name."""
    with writing(desk.engine) as connection:
        changes.edit(connection, caller.deed(desk.clock(), reason), "project", code, {"name": title_of(name)})
    return onward("/campaigns", "Saved.")


@pages.get("/campaigns/-new", access=MANAGING)
def new_campaign(request: Request, desk: AtDesk, project: Annotated[str, Query(max_length=64)] = "") -> Response:
    """The form for a campaign."""
    return _new(request, desk, CampaignForm(project=project))


@pages.post("/campaigns/-new", access=MANAGING)
def add_campaign(request: Request, desk: AtDesk, caller: ByCaller, form: Annotated[CampaignForm, Form()]) -> Response:
    """Makes a campaign."""
    try:
        with writing(desk.engine) as connection:
            code, deed = key_of(form.code, "code"), caller.deed(desk.clock(), form.why)
            campaigns.create(connection, deed, code, form.values(), folder=desk.schemas)
    except Refused as problem:
        return _new(request, desk, form, problem)
    return onward(f"/campaigns/{code}", f"The campaign {form.name.strip()} is there.")


@pages.get("/campaigns/{code}", access=LOOKING)
def show_campaign(request: Request, desk: AtDesk, code: str) -> Response:
    """A campaign and its rules."""
    return _campaign(request, desk, code)


@pages.post("/campaigns/{code}", access=MANAGING)
def edit_campaign(
    request: Request, desk: AtDesk, caller: ByCaller, code: str, form: Annotated[CampaignForm, Form()]
) -> Response:
    """Changes the rules; the next delivery is loaded by them."""
    deed = caller.deed(desk.clock(), form.why)
    try:
        with writing(desk.engine) as connection:
            values, seen = form.values(), form.seen
            confirmed, folder = form.confirmed, desk.schemas
            campaigns.edit(connection, deed, code, values, folder=folder, seen=seen, confirmed=confirmed)
    except Refused as problem:
        return _campaign(request, desk, code, form=form, problem=problem)
    return onward(f"/campaigns/{code}", "Saved. The next delivery is loaded by these rules.")


@pages.post("/campaigns/{code}/deactivate", access=MANAGING)
def deactivate_campaign(
    request: Request, desk: AtDesk, caller: ByCaller, code: str, said: Annotated[Said, Form()]
) -> Response:
    """Ends a campaign: nothing is loaded into it, and nobody calls in it."""
    deed, confirmed = caller.deed(desk.clock(), said.reason), said.confirm == "yes"
    try:
        with writing(desk.engine) as connection:
            campaigns.edit(connection, deed, code, {"active": False}, folder=desk.schemas, confirmed=confirmed)
    except Refused as problem:
        return _campaign(request, desk, code, problem=problem, again_at=f"/campaigns/{code}/deactivate")
    return onward(f"/campaigns/{code}", "The campaign is not active any more.")


@pages.post("/campaigns/{code}/activate", access=MANAGING)
def activate_campaign(
    request: Request, desk: AtDesk, caller: ByCaller, code: str, said: Annotated[Said, Form()]
) -> Response:
    """Begins a campaign anew."""
    deed = caller.deed(desk.clock(), said.reason)
    try:
        with writing(desk.engine) as connection:
            campaigns.edit(connection, deed, code, {"active": True}, folder=desk.schemas)
    except Refused as problem:
        return _campaign(request, desk, code, problem=problem)
    return onward(f"/campaigns/{code}", "The campaign is active again.")


def _new(request: Request, desk: Desk, form: CampaignForm, problem: Refused | None = None) -> Response:
    return again(request, "campaign_new.html", problem, "/campaigns/-new", form=form, **_choices(desk))


def _campaign(
    request: Request,
    desk: Desk,
    code: str,
    *,
    form: CampaignForm | None = None,
    problem: Refused | None = None,
    again_at: str = "",
) -> Response:
    with reading(desk.engine) as connection:
        campaign = changes.get(connection, "campaign", code)
    facts = {"campaign": campaign, "form": form or _form(campaign), "again_at": again_at, **_choices(desk)}
    return again(request, "campaign.html", problem, f"/campaigns/{code}", **facts)


def _choices(desk: Desk) -> dict[str, Any]:
    with reading(desk.engine) as connection:
        projects = [(each.key, each.facts["name"]) for each in changes.every(connection, "project")]
        teams = team_options(connection)
    names = sorted(path.stem for path in desk.schemas.glob("*.toml"))
    return {
        "projects": projects,
        "team_options": teams,
        "templates": [(name, name) for name in names if name not in NOT_TEMPLATES],
        "duplicates": [
            ("reject", "Reject the record"),
            ("update", "Update the lead that is there"),
            ("keep", "Load a second lead"),
        ],
        "listed": [("reject", "Reject the record"), ("close", "Load it as a closed lead")],
    }


def _form(campaign: Record) -> CampaignForm:
    facts = campaign.facts
    by_kind = [name.partition(":") for name in facts["access"]]
    plain = {name: text_of(facts[name]) for name in CampaignForm.model_fields if name in facts and name != "access"}
    return CampaignForm(
        tag=campaign.tag,
        teams=[key for kind, _, key in by_kind if kind == "team"],
        logins=joined(key for kind, _, key in by_kind if kind == "user"),
        **plain,
    )


def _region(text: str) -> str:
    wanted = text.strip().upper()
    if len(wanted) != 2 or not wanted.isalpha() or not wanted.isascii():
        raise Invalid("value_unusable", "the region is a country of two letters, such as DK", field="region")
    return wanted


def _day(text: str) -> str | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise Invalid("value_unusable", f"{text!r} is no day; write it as 2026-11-30", field="expires") from None
