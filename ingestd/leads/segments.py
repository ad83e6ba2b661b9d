"""Segments and their groups: made, changed, ordered, copied and taken away (LEADS.md, "Segments").

Every change holds `segment_plan.TURN`, is audited, and has the leads of the project looked at again where it could put
any of them into another segment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, delete, func, insert, select, update

from ingestd import schemas
from ingestd.errors import Conflict, Invalid, Missing, Stale
from ingestd.leads import conditions, filter_fields, filters, placing, segment_plan
from ingestd.leads.conditions import Terms
from ingestd.leads.filter_fields import Field
from ingestd.leads.filters import Filter
from ingestd.leads.segment_plan import NEVER
from ingestd.store import audit
from ingestd.store.audit import Deed
from ingestd.store.engine import take_turn
from ingestd.store.segment_tables import segment_groups, segments
from ingestd.store.tables import campaigns, leads, projects

MOST = 200
"""Segments of one project; each lead is held against all of them."""
LONGEST_NAME = 200
"""characters"""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A filter over the leads of its group's project."""

    id: int
    group_id: int
    name: str
    active: bool
    filter: Mapping[str, Any]
    """as JSON"""
    told: str
    """the filter as a sentence"""
    problem: str
    """why no lead matches it any more, such as a name that is gone; else empty"""
    position: int
    version: int
    created_by: str
    created_at: datetime
    modified_by: str
    modified_at: datetime


@dataclass(frozen=True, kw_only=True)
class Group:
    """Segments of one project, which are switched on and off together."""

    id: int
    project: str
    """its code"""
    name: str
    active: bool
    position: int
    version: int
    created_by: str
    created_at: datetime
    modified_by: str
    modified_at: datetime
    segments: tuple[Segment, ...]
    """in their order"""


def groups(connection: Connection, project: str | None = None) -> list[Group]:
    """Every group with its segments, by project and order."""
    group = segment_groups.c
    query = select(segment_groups, projects.c.code.label("project")).join(projects, projects.c.id == group.project_id)
    if project is not None:
        query = query.where(projects.c.code == project)
    rows = connection.execute(query.order_by(projects.c.code, group.position, group.id)).mappings().all()
    return _with_segments(connection, rows)


def group(connection: Connection, number: int) -> Group:
    """One group; raises Missing."""
    query = select(segment_groups, projects.c.code.label("project"))
    query = query.join(projects, projects.c.id == segment_groups.c.project_id).where(segment_groups.c.id == number)
    found = _with_segments(connection, connection.execute(query).mappings().all())
    if not found:
        raise Missing("segment_group_unknown", f"there is no segment group {number}")
    return found[0]


def segment(connection: Connection, number: int) -> Segment:
    """One segment; raises Missing."""
    row = connection.execute(select(segments).where(segments.c.id == number)).mappings().one_or_none()
    if row is None:
        raise Missing("segment_unknown", f"there is no segment {number}")
    return _segment(row, conditions.terms(connection, NEVER))


def checked(connection: Connection, folder: Path, project: str, written: Any) -> Filter:
    """A filter as a segment may have it; `folder` holds the schemas.

    Raises Invalid: it is none, or names what is not there, what is of another project, or what changes with time alone.
    """
    tree = filters.parsed(written, fields_of(connection, folder, project))
    names = conditions.terms(connection, NEVER)
    conditions.condition(tree, names)
    for one in filters.comparisons(tree):
        if not one.field.lasting or one.op == "last_days":
            told = f"{one.field.name} {one.op} changes with time alone; a segment asks for what lasts"
            raise Invalid("filter_unusable", told, field=f"filter.{one.field.name}")
        if one.field.name == "segment":
            raise Invalid("filter_unusable", "a segment cannot rest on a segment", field="filter.segment")
        _check_inside(one, names, project)
    return tree


def add_group(connection: Connection, deed: Deed, project: str, name: str, *, active: bool = True) -> Group:
    """A new group behind those that the project has; raises Invalid, or Conflict when it has one of the name."""
    take_turn(connection, segment_plan.TURN)
    project_id = project_number(connection, project)
    named = _name(name)
    _check_free(connection, segment_groups, (segment_groups.c.project_id == project_id,), named)
    last = select(func.max(segment_groups.c.position)).where(segment_groups.c.project_id == project_id)
    values = {"project_id": project_id, "name": named, "active": active, "position": _after(connection, last)}
    number = _insert(connection, segment_groups, deed, values)
    facts = {"project": project, "name": named, "active": active}
    audit.note(connection, deed, "segment_group_added", f"segment_group:{number}", after=facts)
    return group(connection, number)


def edit_group(
    connection: Connection, deed: Deed, number: int, values: Mapping[str, Any], *, seen: str | None = None
) -> Group:
    """Renames a group, or switches it on or off; raises Missing, Stale, Invalid or Conflict."""
    take_turn(connection, segment_plan.TURN)
    before = group(connection, number)
    _check_seen(before.version, seen)
    after = {"name": _name(values.get("name", before.name)), "active": values.get("active", before.active)}
    if after == (facts := {"name": before.name, "active": before.active}):
        return before
    mine = segment_groups.c.project_id == project_number(connection, before.project)
    _check_free(connection, segment_groups, (mine, segment_groups.c.id != number), after["name"])
    _write(connection, segment_groups, deed, number, after)
    _look_again(connection, before.project)
    audit.note(connection, deed, "segment_group_changed", f"segment_group:{number}", before=facts, after=after)
    return group(connection, number)


def remove_group(connection: Connection, deed: Deed, number: int, *, seen: str | None = None) -> None:
    """Takes a group away with all its segments; raises Missing or Stale."""
    take_turn(connection, segment_plan.TURN)
    before = group(connection, number)
    _check_seen(before.version, seen)
    connection.execute(delete(segments).where(segments.c.group_id == number))
    connection.execute(delete(segment_groups).where(segment_groups.c.id == number))
    _look_again(connection, before.project)
    facts = {"project": before.project, "name": before.name, "segments": [each.name for each in before.segments]}
    audit.note(connection, deed, "segment_group_removed", f"segment_group:{number}", before=facts)


def copy_group(
    connection: Connection, deed: Deed, folder: Path, number: int, name: str, *, project: str | None = None
) -> Group:
    """The same segments under another name, not active at first, also in another project.

    Raises as `add_group`, and Invalid for a filter that makes no sense in the other project.
    """
    before = group(connection, number)
    made = add_group(connection, deed, project or before.project, name, active=False)
    for each in before.segments:
        add(connection, deed, folder, made.id, each.name, each.filter, active=each.active)
    return group(connection, made.id)


def order_groups(connection: Connection, deed: Deed, project: str, numbers: Sequence[int]) -> list[Group]:
    """Sets the order of a project's groups; raises Conflict unless all are named, each once."""
    take_turn(connection, segment_plan.TURN)
    project_number(connection, project)
    _reorder(connection, segment_groups, [each.id for each in groups(connection, project)], numbers)
    _look_again(connection, project)
    audit.note(connection, deed, "segment_groups_ordered", f"project:{project}", after={"groups": list(numbers)})
    return groups(connection, project)


def order(
    connection: Connection, deed: Deed, group_id: int, numbers: Sequence[int], *, seen: str | None = None
) -> Group:
    """Sets the order of a group's segments; raises Missing, Stale, and Conflict unless all are named, each once."""
    take_turn(connection, segment_plan.TURN)
    before = group(connection, group_id)
    _check_seen(before.version, seen)
    _reorder(connection, segments, [each.id for each in before.segments], numbers)
    _write(connection, segment_groups, deed, group_id, {})
    _look_again(connection, before.project)
    after = {"segments": list(numbers)}
    audit.note(connection, deed, "segments_ordered", f"segment_group:{group_id}", after=after)
    return group(connection, group_id)


def add(
    connection: Connection, deed: Deed, folder: Path, group_id: int, name: str, written: Any, *, active: bool = True
) -> Segment:
    """A new segment behind those of its group; raises Missing, Invalid or Conflict."""
    take_turn(connection, segment_plan.TURN)
    its = group(connection, group_id)
    if sum(len(each.segments) for each in groups(connection, its.project)) >= MOST:
        raise Conflict("too_many_segments", f"the project {its.project} has {MOST} segments, which are the most")
    named, tree = _name(name), checked(connection, folder, its.project, written)
    _check_free(connection, segments, (segments.c.group_id == group_id,), named)
    last = select(func.max(segments.c.position)).where(segments.c.group_id == group_id)
    place = {"group_id": group_id, "position": _after(connection, last)}
    number = _insert(connection, segments, deed, {**place, "name": named, "active": active, **_kept(tree)})
    _look_again(connection, its.project)
    facts = {"group": group_id, "name": named, "active": active, "filter": filters.written(tree, personal=False)}
    audit.note(connection, deed, "segment_added", f"segment:{number}", after=facts)
    return segment(connection, number)


def edit(
    connection: Connection,
    deed: Deed,
    folder: Path,
    number: int,
    values: Mapping[str, Any],
    *,
    seen: str | None = None,
) -> Segment:
    """Changes name, filter or state of a segment; raises Missing, Stale, Invalid or Conflict."""
    take_turn(connection, segment_plan.TURN)
    before = segment(connection, number)
    _check_seen(before.version, seen)
    project = group(connection, before.group_id).project
    after: dict[str, Any] = {"name": _name(values.get("name", before.name))}
    after["active"] = values.get("active", before.active)
    kept, told = {}, _audited(connection, number)
    if "filter" in values:
        tree = checked(connection, folder, project, values["filter"])
        kept, after["filter"] = _kept(tree), filters.written(tree)
    facts = {name: getattr(before, name) for name in after}
    if after == facts:
        return before
    others = (segments.c.group_id == before.group_id, segments.c.id != number)
    _check_free(connection, segments, others, after["name"])
    _write(connection, segments, deed, number, {"name": after["name"], "active": after["active"], **kept})
    _look_again(connection, project)
    facts, after = facts | told, after | _audited(connection, number)
    audit.note(connection, deed, "segment_changed", f"segment:{number}", before=facts, after=after)
    return segment(connection, number)


def remove(connection: Connection, deed: Deed, number: int, *, seen: str | None = None) -> None:
    """Takes a segment away; raises Missing or Stale."""
    take_turn(connection, segment_plan.TURN)
    before = segment(connection, number)
    _check_seen(before.version, seen)
    project = group(connection, before.group_id).project
    facts = {"group": before.group_id, "name": before.name, **_audited(connection, number)}
    connection.execute(delete(segments).where(segments.c.id == number))
    _look_again(connection, project)
    audit.note(connection, deed, "segment_removed", f"segment:{number}", before=facts)


def copy(
    connection: Connection, deed: Deed, folder: Path, number: int, name: str, *, group_id: int | None = None
) -> Segment:
    """The same filter under another name, directly behind the segment, or last in another group; raises as `add`."""
    before = segment(connection, number)
    made = add(connection, deed, folder, group_id or before.group_id, name, before.filter, active=before.active)
    if made.group_id == before.group_id:
        there = [each.id for each in group(connection, before.group_id).segments if each.id != made.id]
        there.insert(there.index(number) + 1, made.id)
        order(connection, deed, before.group_id, there)
    return segment(connection, made.id)


def size(connection: Connection, project: str, number: int) -> int:
    """How many leads a segment of a project has, as far as that is worked out."""
    mine = (leads.c.campaign_id.in_(campaigns_in(connection, project)), leads.c.segment_id == number)
    return connection.scalar(select(func.count()).select_from(leads).where(*mine)) or 0


def recompute(connection: Connection, deed: Deed, project: str) -> None:
    """Has every lead of a project looked at once more; raises Invalid when there is no such project."""
    take_turn(connection, segment_plan.TURN)
    placing.again(connection, campaigns_in(connection, project))
    audit.note(connection, deed, "segments_recomputed", f"project:{project}")


def project_number(connection: Connection, code: str) -> int:
    """The number of a project; raises Invalid when there is none."""
    found: int | None = connection.scalar(select(projects.c.id).where(projects.c.code == code))
    if found is None:
        raise Invalid("project_unknown", f"there is no project {code!r}", field="project")
    return found


def campaigns_in(connection: Connection, project: str) -> Sequence[int]:
    """The numbers of a project's campaigns; raises Invalid when there is no such project."""
    mine = campaigns.c.project_id == project_number(connection, project)
    return connection.scalars(select(campaigns.c.id).where(mine).order_by(campaigns.c.id)).all()


def fields_of(connection: Connection, folder: Path, project: str) -> dict[str, Field]:
    """Every field that a segment of a project may name; raises Invalid when there is no such project."""
    mine = campaigns.c.project_id == project_number(connection, project)
    templates = connection.scalars(select(campaigns.c.template).where(mine).distinct()).all()
    return filter_fields.known([schemas.read(folder), *(schemas.read(folder, each) for each in templates if each)])


def _check_inside(one: filters.Comparison, names: Terms, project: str) -> None:
    """Raises Invalid when a filter names another project, or a campaign of one."""
    if one.field.name not in ("campaign", "project"):
        return
    known = names.campaigns if one.field.name == "campaign" else names.projects
    for value in one.value if isinstance(one.value, tuple) else (one.value,):
        if not known[str(value)] <= names.projects[project] or (one.field.name == "project" and value != project):
            told = f"the {one.field.name} {value!r} does not belong to the project {project}"
            raise Invalid("filter_unusable", told, field=f"filter.{one.field.name}")


def _with_segments(connection: Connection, rows: Sequence[RowMapping]) -> list[Group]:
    numbers = [row["id"] for row in rows]
    found: dict[int, list[Segment]] = {number: [] for number in numbers}
    query = select(segments).where(segments.c.group_id.in_(numbers)).order_by(segments.c.position, segments.c.id)
    mine = connection.execute(query).mappings().all()
    names = conditions.terms(connection, NEVER) if mine else None
    for row in mine:
        assert names is not None
        found[row["group_id"]].append(_segment(row, names))
    plain = [name for name in Group.__dataclass_fields__ if name != "segments"]
    return [Group(**{name: row[name] for name in plain}, segments=tuple(found[row["id"]])) for row in rows]


def _segment(row: RowMapping, names: Terms) -> Segment:
    tree = segment_plan.tree_of(row["filter"], row["fields"])
    made: dict[str, Any] = {
        "filter": filters.written(tree),
        "told": filters.told(tree),
        "problem": segment_plan.problem(tree, names),
    }
    return Segment(**{name: row[name] for name in Segment.__dataclass_fields__ if name not in made}, **made)


def _audited(connection: Connection, number: int) -> dict[str, Any]:
    """The filter of a segment for the audit, which outlives a person's data."""
    row = connection.execute(select(segments.c.filter, segments.c.fields).where(segments.c.id == number)).one()
    return {"filter": filters.written(segment_plan.tree_of(row.filter, row.fields), personal=False)}


def _kept(tree: Filter) -> dict[str, str]:
    text = json.dumps(filters.written(tree), ensure_ascii=False)
    return {"filter": text, "fields": segment_plan.fields_text(tree)}


def _name(name: str) -> str:
    found = " ".join(name.split())
    if not found or len(found) > LONGEST_NAME:
        raise Invalid("value_unusable", f"a name has 1 to {LONGEST_NAME} characters", field="name")
    return found


def _check_free(connection: Connection, table: Table, among: Sequence[Any], name: str) -> None:
    if connection.scalar(select(table.c.id).where(*among, table.c.name == name)) is not None:
        raise Conflict("exists", f"there is one that is called {name!r} already", field="name")


def _check_seen(version: int, seen: str | None) -> None:
    if seen is not None and seen != str(version):
        raise Stale("changed_since", "it was changed since you read it; read it again")


def _after(connection: Connection, last: Any) -> int:
    return (connection.scalar(last) or 0) + 1


def _insert(connection: Connection, table: Table, deed: Deed, values: Mapping[str, Any]) -> int:
    by = {"created_by": deed.actor.name, "created_at": deed.at, "modified_by": deed.actor.name, "modified_at": deed.at}
    made = connection.execute(insert(table).values(version=1, **by, **values)).inserted_primary_key
    assert made is not None
    number: int = made[0]
    return number


def _write(connection: Connection, table: Table, deed: Deed, number: int, values: Mapping[str, Any]) -> None:
    signed = {"modified_by": deed.actor.name, "modified_at": deed.at, "version": table.c.version + 1}
    connection.execute(update(table).where(table.c.id == number).values({**values, **signed}))


def _reorder(connection: Connection, table: Table, there: Sequence[int], wanted: Sequence[int]) -> None:
    if sorted(there) != sorted(wanted):
        raise Conflict("order_incomplete", f"an order names each of {sorted(there)} once", there=sorted(there))
    for position, number in enumerate(wanted, 1):
        connection.execute(update(table).where(table.c.id == number).values(position=position))


def _look_again(connection: Connection, project: str) -> None:
    placing.begin(connection, campaigns_in(connection, project))
