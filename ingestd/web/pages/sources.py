"""Sources: the partner feeds, with their last delivery, and the definition of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Form, Path, Request, Response
from sqlalchemy import Connection

from ingestd.access import keys
from ingestd.access.keys import Issued
from ingestd.errors import Refused
from ingestd.organisation import changes, mappings, silence, sources
from ingestd.organisation.mappings import Change
from ingestd.store.engine import reading, writing
from ingestd.store.mappings import Version
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.sources import MANAGING
from ingestd.web.pages.filled import Said, Word, again, key_of
from ingestd.web.pages.rendering import onward, show
from ingestd.web.pages.routes import Pages
from ingestd.web.pages.source_form import SourceForm, filled

pages = Pages()

PROTOCOLS = ("ftp", "ftps", "sftp", "http")
VERSIONS_SHOWN = 10

Number = Annotated[int, Path(ge=1, le=2**31 - 1)]


class UseAgain(Said):
    """The button of an earlier version of a mapping."""

    tag: Word = ""
    """of the mapping as the person has read it"""


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """A version of a source's mapping."""

    version: Version
    changed: tuple[Change, ...]
    """since the version before it"""
    back: tuple[Change, ...]
    """of the mapping now, if this version were used again"""


@pages.get("/sources", access=MANAGING)
def list_sources(request: Request, desk: AtDesk) -> Response:
    """Every source with its last delivery, and whether it is late."""
    with reading(desk.engine) as connection:
        every = changes.every(connection, "source")
        late = {each.source for each in silence.silent(connection, desk.clock())}
    rows = [(source, _last(desk, source.key)) for source in every]
    return show(request, "sources.html", rows=rows, late=late)


@pages.get("/sources/-new", access=MANAGING)
def new_source(request: Request, desk: AtDesk) -> Response:
    """The form for a source."""
    return _new(request, desk, SourceForm())


@pages.post("/sources/-new", access=MANAGING)
def add_source(request: Request, desk: AtDesk, caller: ByCaller, form: Annotated[SourceForm, Form()]) -> Response:
    """Makes a source; its logins and keys come afterwards."""
    try:
        with writing(desk.engine) as connection:
            name, deed = key_of(form.name, "name"), caller.deed(desk.clock(), form.why)
            sources.create(connection, deed, name, form.values({}), folder=desk.schemas)
    except Refused as problem:
        return _new(request, desk, form, problem)
    return onward(f"/sources/{name}", "The source is there. Make a login or a key, so that the partner can deliver.")


@pages.get("/sources/{name}", access=MANAGING)
def show_source(request: Request, desk: AtDesk, name: str) -> Response:
    """A source with its logins and keys."""
    return source_page(request, desk, name)


@pages.post("/sources/{name}", access=MANAGING)
def edit_source(
    request: Request, desk: AtDesk, caller: ByCaller, name: str, form: Annotated[SourceForm, Form()]
) -> Response:
    """Changes the definition; the next delivery is loaded by it."""
    deed = caller.deed(desk.clock(), form.why)
    try:
        with writing(desk.engine) as connection:
            values = form.values(changes.get(connection, "source", name).facts)
            sources.edit(connection, deed, name, values, folder=desk.schemas, seen=form.seen)
    except Refused as problem:
        return source_page(request, desk, name, form=form, problem=problem)
    return onward(f"/sources/{name}", "Saved. The next delivery is loaded by it.")


@pages.post("/sources/{name}/deactivate", access=MANAGING)
def deactivate_source(
    request: Request, desk: AtDesk, caller: ByCaller, name: str, said: Annotated[Said, Form()]
) -> Response:
    """Takes a source out: its logins are refused."""
    return _switch(request, desk, caller, name, said, active=False)


@pages.post("/sources/{name}/activate", access=MANAGING)
def activate_source(
    request: Request, desk: AtDesk, caller: ByCaller, name: str, said: Annotated[Said, Form()]
) -> Response:
    """Takes a source in again."""
    return _switch(request, desk, caller, name, said, active=True)


@pages.post("/sources/{name}/mapping/{version}/use", access=MANAGING)
def use_mapping(
    request: Request, desk: AtDesk, caller: ByCaller, name: str, version: Number, said: Annotated[UseAgain, Form()]
) -> Response:
    """Saves an earlier version of the mapping once more, as the newest; what was stays as it was."""
    deed = caller.deed(desk.clock(), said.reason)
    try:
        with writing(desk.engine) as connection:
            seen = said.tag or None
            saved = mappings.restore(connection, deed, name, version, folder=desk.schemas, seen=seen)
    except Refused as problem:
        return source_page(request, desk, name, problem=problem)
    told = (
        f"Version {version} of the mapping is used again, as version {saved.version}. The next delivery is read by it."
    )
    return onward(f"/sources/{name}", told)


def _switch(request: Request, desk: Desk, caller: ByCaller, name: str, said: Said, *, active: bool) -> Response:
    deed = caller.deed(desk.clock(), said.reason)
    try:
        with writing(desk.engine) as connection:
            sources.edit(connection, deed, name, {"active": active}, folder=desk.schemas)
    except Refused as problem:
        return source_page(request, desk, name, problem=problem)
    told = "is active again" if active else "is not active any more; the doors refuse its logins within a second"
    return onward(f"/sources/{name}", f"The source {told}.")


def source_page(
    request: Request,
    desk: Desk,
    name: str,
    *,
    form: SourceForm | None = None,
    problem: Refused | None = None,
    issued: Issued | None = None,
    password: tuple[str, str] | None = None,
) -> Response:
    """The page of a source; `issued` and `password` (login, password) are what was just made and is shown once."""
    at = desk.clock()
    with reading(desk.engine) as connection:
        source = changes.get(connection, "source", name)
        facts: dict[str, Any] = {
            "keys": [(key, key.spent(at)) for key in keys.every(connection, source=name)],
            "versions": sources.versions(connection, name)[:VERSIONS_SHOWN],
            "mapping": _mappings(mappings.versions(connection, name)),
            "mapping_tag": mappings.tag(mappings.current(connection, name)),
            **_choices(connection),
        }
    return again(
        request,
        "source.html",
        problem,
        f"/sources/{name}",
        source=source,
        form=form or filled(source),
        issued=issued,
        password=password,
        last=_last(desk, name),
        protocols=PROTOCOLS,
        **facts,
    )


def _mappings(versions: Sequence[Version]) -> list[Mapped]:
    """Every version with what it changed, and what would be otherwise if it were used again."""
    older = [each.mapping for each in versions[1:]]
    befores: list[Mapping[str, str]] = [*older, {}]
    return [
        Mapped(
            version=each,
            changed=mappings.changes_between(before, each.mapping),
            back=mappings.changes_between(versions[0].mapping, each.mapping),
        )
        for each, before in zip(versions, befores, strict=True)
    ]


def _new(request: Request, desk: Desk, form: SourceForm, problem: Refused | None = None) -> Response:
    with reading(desk.engine) as connection:
        choices = _choices(connection)
    return again(request, "source_new.html", problem, "/sources/-new", form=form, **choices)


def _choices(connection: Connection) -> dict[str, Any]:
    active = {
        kind: [each for each in changes.every(connection, kind) if each.facts["active"]]
        for kind in ("campaign", "team", "user")
    }
    owners = [
        (f"{kind}:{each.key}", f"{each.facts['name']} ({kind})") for kind in ("team", "user") for each in active[kind]
    ]
    codes = [(each.key, f"{each.key}, {each.facts['name']}") for each in active["campaign"]]
    return {"campaigns": codes, "owners": owners}


def _last(desk: Desk, name: str) -> Any:
    """The newest delivery of a source; None when nothing ever came."""
    return next(iter(desk.ledger.latest(limit=1, source=name)), None)
