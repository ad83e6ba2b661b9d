"""Typing a lead in, and editing one: judged field by field, as an import judges it."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response

from ingestd import schemas
from ingestd.errors import Invalid, Missing, Rejected
from ingestd.leads import checking, creating, editing, rights
from ingestd.model import Outcome
from ingestd.organisation import changes
from ingestd.schemas import Schema
from ingestd.store import organisation, rules
from ingestd.store.engine import reading, writing
from ingestd.web.api.deliveries import Number
from ingestd.web.api.desk import AtDesk, ByCaller
from ingestd.web.api.lead_changes import WORKING
from ingestd.web.api.leads import agent_of
from ingestd.web.pages import lead
from ingestd.web.pages.rendering import onward, show
from ingestd.web.pages.routes import Pages

pages = Pages()

FIELD = "field."
"""before the names of a lead's fields in the form, so that none is taken for a field of the form itself"""
LONGEST = 10_000

OUTCOMES: Mapping[Outcome, str] = {
    Outcome.INSERTED: "Lead {} is there now.",
    Outcome.UPDATED: "The campaign has this number already: lead {} was brought up to date.",
    Outcome.UNCHANGED: "The campaign has this number already: lead {} stays as it was.",
}


async def filled(request: Request) -> dict[str, str]:
    """Every text of a form; raises Invalid for one that cannot be kept."""
    form = await request.form()
    found = {name: value for name, value in form.multi_items() if isinstance(value, str)}
    for name, value in found.items():
        if "\0" in value or len(value) > LONGEST:
            raise Invalid("request_unusable", f"the text of {name!r} cannot be kept", field=name)
    return found


ByForm = Annotated[dict[str, str], Depends(filled)]


@pages.get("/leads/new", access=WORKING)
def ask_for_new(request: Request, desk: AtDesk, campaign: Annotated[str, Query(max_length=64)] = "") -> Response:
    """The campaign first, then its fields."""
    return _new(request, desk, campaign, {}, ())


@pages.post("/leads/new", access=WORKING)
def create(request: Request, desk: AtDesk, caller: ByCaller, form: ByForm) -> Response:
    """Makes the lead; what is wrong with it stands beside the fields, and what was typed stays."""
    campaign, owner = form.get("campaign", ""), form.get("owner", "").strip() or None
    values = {name: value or None for name, value in _typed(form).items()}
    with reading(desk.engine) as connection:
        who = agent_of(connection, caller)
        wish = creating.Typed(campaign=campaign, values=values, by=who, at=desk.clock(), owner=owner)
        creating.check_may(connection, wish)
    try:
        made = creating.create(desk.engine, desk.schemas, wish)
    except checking.Refused as refused:
        return _new(request, desk, campaign, form, refused.problems)
    with reading(desk.engine) as connection:
        try:
            rights.see(connection, who, made.lead_id)
        except Missing:
            return onward("/leads/new", OUTCOMES[made.outcome].format(made.lead_id))
    return onward(f"/leads/{made.lead_id}", OUTCOMES[made.outcome].format(made.lead_id))


@pages.get("/leads/{number}/edit", access=WORKING)
def ask_for_edit(request: Request, desk: AtDesk, caller: ByCaller, number: Number) -> Response:
    """Its fields as they are."""
    return _edit(request, desk, caller, number, None, ())


@pages.post("/leads/{number}/edit", access=WORKING)
def edit(request: Request, desk: AtDesk, caller: ByCaller, number: Number, form: ByForm) -> Response:
    """Changes the fields that differ from what the person saw; another's change meanwhile is shown, not overwritten."""
    typed, before = _typed(form), {name[4:]: value for name, value in form.items() if name.startswith("was.")}
    changed = {name: value or None for name, value in typed.items() if value.strip() != before.get(name, "").strip()}
    if not changed:
        return onward(f"/leads/{number}", "Nothing was changed.")
    version = form.get("version", "")
    try:
        with writing(desk.engine) as connection:
            who = agent_of(connection, caller)
            rights.take(connection, who, number)
            seen = int(version) if version.isdecimal() and len(version) < 18 else None
            wish = editing.Edit(values=changed, by=who.id, at=desk.clock(), why=form.get("why", "")[:500], version=seen)
            editing.edit(connection, desk.schemas, number, wish)
    except checking.Refused as refused:
        return _edit(request, desk, caller, number, form, refused.problems)
    except Rejected as problem:
        if problem.code != "version_conflict":
            raise
        return _edit(request, desk, caller, number, form, (), meanwhile=True)
    return onward(f"/leads/{number}", f"Lead {number} is changed.")


def _typed(form: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(FIELD): value for name, value in form.items() if name.startswith(FIELD)}


def _new(
    request: Request, desk: AtDesk, campaign: str, form: Mapping[str, str], problems: tuple[checking.Problem, ...]
) -> Response:
    schema: Schema | None = None
    with reading(desk.engine) as connection:
        every = changes.every(connection, "campaign")
        known = [(each.key, each.facts["name"]) for each in every if each.facts.get("active", True)]
        if campaign:
            schema = schemas.read(desk.schemas, rules.campaign(connection, campaign).template)
        teams = organisation.tree(connection)
    owners = [(f"team:{team['key']}", f"{team['name']}, team") for team in teams if team["active"]]
    owners += [(f"user:{user['login']}", user["name"]) for team in teams for user in team["users"]]
    return show(
        request,
        "lead_new.html",
        status=HTTPStatus.UNPROCESSABLE_ENTITY if problems else HTTPStatus.OK,
        campaigns=known,
        campaign=campaign,
        schema=schema,
        values=_typed(form),
        owner=form.get("owner", ""),
        owners=owners,
        top=teams[0]["name"] if teams else "",
        problems=_by_field(problems),
    )


def _edit(
    request: Request,
    desk: AtDesk,
    caller: ByCaller,
    number: int,
    form: Mapping[str, str] | None,
    problems: tuple[checking.Problem, ...],
    *,
    meanwhile: bool = False,
) -> Response:
    with reading(desk.engine) as connection:
        seen = lead.see(desk, connection, agent_of(connection, caller), number)
    now = {name: _text(value) for name, _, value in seen.values}
    status = HTTPStatus.CONFLICT if meanwhile else HTTPStatus.UNPROCESSABLE_ENTITY if problems else HTTPStatus.OK
    before = now if form is None or meanwhile else {name[4:]: text for name, text in form.items() if name[:4] == "was."}
    return show(
        request,
        "lead_edit.html",
        status=status,
        seen=seen,
        values=now if form is None else {**now, **_typed(form)},
        before=before,
        version=seen.lead.version if form is None or meanwhile else form.get("version", ""),
        now=now,
        meanwhile=meanwhile,
        problems=_by_field(problems),
    )


def _by_field(problems: tuple[checking.Problem, ...]) -> dict[str, list[checking.Problem]]:
    found: dict[str, list[checking.Problem]] = {}
    for each in problems:
        found.setdefault(each.field, []).append(each)
    return found


def _text(value: Any) -> str:
    """A value as people type it."""
    if value is None:
        return ""
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
