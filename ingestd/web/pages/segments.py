"""Segments: groups in their order, what each segment takes, and how one is built."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Form, Query, Request, Response
from sqlalchemy import Connection

from ingestd.errors import Conflict, Invalid, Missing
from ingestd.leads import access, conditions, filter_text, filters, placing, segment_views, segments
from ingestd.leads.filters import Filter
from ingestd.leads.segment_plan import NEVER
from ingestd.leads.segments import Group
from ingestd.organisation import changes
from ingestd.store.engine import reading, writing
from ingestd.web.api.deliveries import Number
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.leads import agent_of, told
from ingestd.web.api.segments import MANAGING
from ingestd.web.pages import comparing
from ingestd.web.pages.rendering import onward, show
from ingestd.web.pages.routes import Pages

pages = Pages()

LONGEST_SENTENCE = 20_000

Word = Annotated[str, Query(max_length=500)]
Sentence = Annotated[str, Query(max_length=LONGEST_SENTENCE)]
Field = Annotated[str, Form(max_length=500, pattern=r"^[^\x00]*$")]
SentenceField = Annotated[str, Form(max_length=LONGEST_SENTENCE, pattern=r"^[^\x00]*$")]
Id = Annotated[int, Query(ge=0, lt=2**63)]
IdField = Annotated[int, Form(ge=0, lt=2**63)]


@pages.get("/segments", access=MANAGING)
def list_groups(request: Request, desk: AtDesk, project: Word = "") -> Response:
    """The groups of a project with their segments; what these take is counted after the page."""
    with reading(desk.engine) as connection:
        projects = [(each.key, each.facts["name"]) for each in changes.every(connection, "project")]
        chosen = project or (projects[0][0] if projects else "")
        known = any(key == chosen for key, _ in projects)
        found = segments.groups(connection, chosen) if known else []
    return show(request, "segments.html", projects=projects, project=chosen, groups=found)


@pages.get("/segments/groups/{number}", access=MANAGING)
def show_group(request: Request, desk: AtDesk, caller: ByCaller, number: Number) -> Response:
    """One group, with the leads that its segments match and take from each other, of those that one sees."""
    with reading(desk.engine) as connection:
        group = segments.group(connection, number)
        seen = access.visible_to(agent_of(connection, caller))
        contests = {each.id: each for each in segment_views.contested(connection, group, seen)}
        done = placing.progress(connection, segments.project_number(connection, group.project))
        every = {each.id: each.name for other in segments.groups(connection, group.project) for each in other.segments}
    facts: dict[str, Any] = {"group": group, "contests": contests, "done": done, "names": every}
    return show(request, "segment_group.html", fragment="panel", **facts)


@pages.post("/segments/groups", access=MANAGING)
def add_group(desk: AtDesk, caller: ByCaller, project: Field = "", name: Field = "") -> Response:
    """Makes a group."""
    with writing(desk.engine) as connection:
        segments.add_group(connection, caller.deed(desk.clock(), ""), project, name)
    return _to_list(project, f"The group {name!r} was made.")


@pages.post("/segments/groups/{number}", access=MANAGING)
def edit_group(
    desk: AtDesk, caller: ByCaller, number: Number, name: Field = "", active: Field = "", seen: Field = ""
) -> Response:
    """Renames a group, or switches it on or off; what is not sent stays."""
    values: dict[str, Any] = {"name": name} if name else {}
    values |= {"active": active == "yes"} if active else {}
    with writing(desk.engine) as connection:
        deed = caller.deed(desk.clock(), "")
        after = segments.edit_group(connection, deed, number, values, seen=seen or None)
    return _to_list(after.project, "The group was changed; its leads follow within moments.")


@pages.post("/segments/groups/{number}/copy", access=MANAGING)
def copy_group(desk: AtDesk, caller: ByCaller, number: Number, name: Field = "") -> Response:
    """The same segments in a new group, which is not active."""
    with writing(desk.engine) as connection:
        made = segments.copy_group(connection, caller.deed(desk.clock(), ""), desk.schemas, number, name)
    return _to_list(made.project, f"The copy is called {made.name!r}. Switch it on when it is as you want it.")


@pages.post("/segments/groups/{number}/delete", access=MANAGING)
def delete_group(desk: AtDesk, caller: ByCaller, number: Number, seen: Field = "") -> Response:
    """Takes a group away with its segments."""
    with writing(desk.engine) as connection:
        group = segments.group(connection, number)
        segments.remove_group(connection, caller.deed(desk.clock(), ""), number, seen=seen or None)
    return _to_list(group.project, f"The group {group.name!r} and its segments are gone.")


@pages.post("/segments/groups/{number}/move", access=MANAGING)
def move_group(desk: AtDesk, caller: ByCaller, number: Number, to: Field = "") -> Response:
    """One place up or down among the groups of its project."""
    with writing(desk.engine) as connection:
        project = segments.group(connection, number).project
        there = [each.id for each in segments.groups(connection, project)]
        segments.order_groups(connection, caller.deed(desk.clock(), ""), project, moved(there, number, to))
    return _to_list(project, "The order was changed.")


@pages.get("/segments/build", access=MANAGING)
def build(  # noqa: PLR0913, PLR0917 - each is a part of the request
    request: Request,
    desk: AtDesk,
    group: Id = 0,
    segment: Id = 0,
    name: Word = "",
    where: Sentence = "",
    join: Word = "",
    field: Word = "",
    op: Word = "is",
    value: Sentence = "",
    do: Word = "",
) -> Response:
    """A segment as it is being built; the address holds all of it. `do=add` adds what was typed."""
    place = {"group": group, "segment": segment, "name": name}
    problem: Invalid | None = None
    if do == "add":
        try:
            return onward(
                "/segments/build?" + urlencode({**place, "where": _longer(desk, group, where, join, field, op, value)})
            )
        except Invalid as found:
            problem = found
    return _builder(request, desk, place, where, {"field": field, "op": op, "value": value}, problem)


@pages.get("/segments/preview", access=MANAGING)
def preview(request: Request, desk: AtDesk, caller: ByCaller, project: Word = "", where: Sentence = "") -> Response:
    """How many leads a filter finds of those that one sees, and ten of them."""
    with reading(desk.engine) as connection:
        who, tree = agent_of(connection, caller), _read(connection, desk, project, where)
        checked = segments.checked(connection, desk.schemas, project, filters.written(tree))
        found = segment_views.preview(connection, project, checked, who)
        examples = told(connection, list(found.examples))
    return show(request, "segment_preview.html", fragment="found", found=found, examples=examples)


@pages.get("/segments/{number}", access=MANAGING)
def show_segment(desk: AtDesk, number: Number) -> Response:
    """A segment that is there, in the builder."""
    with reading(desk.engine) as connection:
        found = segments.segment(connection, number)
        project = segments.group(connection, found.group_id).project
        fields = segments.fields_of(connection, desk.schemas, project)
        where = comparing.sentence(filters.parsed(found.filter, fields))
    facts = {"group": found.group_id, "segment": number, "name": found.name, "where": where}
    return onward("/segments/build?" + urlencode(facts))


@pages.post("/segments", access=MANAGING)
def save(  # noqa: PLR0913, PLR0917 - each is a field of the form
    request: Request,
    desk: AtDesk,
    caller: ByCaller,
    group: IdField = 0,
    segment: IdField = 0,
    name: Field = "",
    where: SentenceField = "",
    seen: Field = "",
) -> Response:
    """Keeps what was built, as a new segment or in the place of the one that it was."""
    deed = caller.deed(desk.clock(), "")
    try:
        with writing(desk.engine) as connection:
            project = segments.group(connection, group).project
            tree = filters.written(_read(connection, desk, project, where))
            if segment:
                values = {"name": name, "filter": tree}
                segments.edit(connection, deed, desk.schemas, segment, values, seen=seen or None)
            else:
                segments.add(connection, deed, desk.schemas, group, name, tree)
    except (Invalid, Conflict) as problem:
        place = {"group": group, "segment": segment, "name": name}
        return _builder(request, desk, place, where, {}, problem)
    return _to_list(project, f"The segment {name!r} is kept; its leads follow within moments.")


@pages.post("/segments/{number}/active", access=MANAGING)
def switch(desk: AtDesk, caller: ByCaller, number: Number, active: Field = "", seen: Field = "") -> Response:
    """Switches a segment on or off."""
    with writing(desk.engine) as connection:
        deed, values = caller.deed(desk.clock(), ""), {"active": active == "yes"}
        after = segments.edit(connection, deed, desk.schemas, number, values, seen=seen or None)
        project = segments.group(connection, after.group_id).project
    return _to_list(project, f"The segment {after.name!r} is {'active' if after.active else 'not active'} now.")


@pages.post("/segments/{number}/copy", access=MANAGING)
def copy(desk: AtDesk, caller: ByCaller, number: Number, name: Field = "") -> Response:
    """The same filter under another name, directly behind it."""
    with writing(desk.engine) as connection:
        made = segments.copy(connection, caller.deed(desk.clock(), ""), desk.schemas, number, name)
    return onward(f"/segments/{made.id}", f"This is the copy {made.name!r}. Change what differs, and save it.")


@pages.post("/segments/{number}/delete", access=MANAGING)
def delete(desk: AtDesk, caller: ByCaller, number: Number, seen: Field = "") -> Response:
    """Takes a segment away; its leads come into the next one that matches."""
    with writing(desk.engine) as connection:
        found = segments.segment(connection, number)
        project = segments.group(connection, found.group_id).project
        segments.remove(connection, caller.deed(desk.clock(), ""), number, seen=seen or None)
    return _to_list(project, f"The segment {found.name!r} is gone.")


@pages.post("/segments/{number}/move", access=MANAGING)
def move(desk: AtDesk, caller: ByCaller, number: Number, to: Field = "") -> Response:
    """One place up or down in its group: the first segment that matches has the lead."""
    with writing(desk.engine) as connection:
        group = segments.group(connection, segments.segment(connection, number).group_id)
        order = moved([each.id for each in group.segments], number, to)
        segments.order(connection, caller.deed(desk.clock(), ""), group.id, order)
    return _to_list(group.project, "The order was changed.")


def moved(there: list[int], number: int, to: str) -> list[int]:
    """The order with one of them a place further up or down; at the end it stays. Pure."""
    place = there.index(number)
    other = place + (-1 if to == "up" else 1)
    if not 0 <= other < len(there):
        return there
    order = list(there)
    order[place], order[other] = order[other], order[place]
    return order


def _longer(desk: Desk, group: int, where: str, join: str, field: str, op: str, value: str) -> str:
    with reading(desk.engine) as connection:
        project = segments.group(connection, group).project
        fields = segments.fields_of(connection, desk.schemas, project)
        wanted = comparing.compared(fields.get(field), op, value)
        tree = comparing.added(filter_text.read(where, fields), join, wanted, fields)
        segments.checked(connection, desk.schemas, project, filters.written(tree))
    return comparing.sentence(tree)


def _builder(
    request: Request,
    desk: Desk,
    place: dict[str, Any],
    where: str,
    typed: dict[str, str],
    problem: Invalid | Conflict | None,
) -> Response:
    with reading(desk.engine) as connection:
        group = _group(connection, place["group"])
        fields = segments.fields_of(connection, desk.schemas, group.project)
        names = conditions.terms(connection, NEVER)
        version = segments.segment(connection, place["segment"]).version if place["segment"] else ""
        try:
            tree = filter_text.read(where, fields)
        except Invalid as found:
            tree, problem = filters.EVERYTHING, problem or found
    join, parts = comparing.parts_of(tree)
    chosen = fields.get(typed.get("field", ""))
    usable = [each for each in fields.values() if each.lasting and each.name != "segment"]
    return show(
        request,
        "segment_build.html",
        fragment="comparing",
        status=200 if problem is None else 422,
        group=group,
        place=place,
        version=version,
        tree_told=filters.told(tree),
        where=comparing.sentence(tree),
        join=join,
        chips=[(filters.told(part), comparing.sentence(comparing.without(tree, at))) for at, part in enumerate(parts)],
        other=comparing.sentence(comparing.joined("any" if join == "all" else "all", parts)),
        fields=[(each.name, each.title) for each in usable],
        operators=_operators(chosen),
        suggestions=comparing.suggestions(chosen, names),
        hint=comparing.hint(chosen, typed.get("op", "")),
        typed=typed,
        problem=problem,
    )


def _operators(field: Any) -> list[tuple[str, str]]:
    """Those of a field; of all, as long as none is chosen."""
    known = comparing.OPERATORS
    return [(op, title) for op, title in known.items() if field is None or op in field.operators]


def _group(connection: Connection, number: int) -> Group:
    if not number:
        raise Missing("segment_group_unknown", "a segment is built in a group; choose one from the list")
    return segments.group(connection, number)


def _read(connection: Connection, desk: Desk, project: str, where: str) -> Filter:
    return filter_text.read(where, segments.fields_of(connection, desk.schemas, project))


def _to_list(project: str, notice: str) -> Response:
    return onward("/segments?" + urlencode({"project": project}), notice)
