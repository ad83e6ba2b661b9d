"""Segments: each lead is in the first one that matches, whatever changes, and whoever dies in between."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, update

from ingestd.errors import Conflict, Invalid, Missing, Stale
from ingestd.leads import (
    conditions,
    creating,
    editing,
    owner_change,
    placing,
    segment_plan,
    segments,
    selection,
)
from ingestd.leads.placing import Placed, Progress
from ingestd.leads.segments import Group, Segment
from ingestd.organisation import changes
from ingestd.store import audit, rules, tables
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, take_turn, writing
from ingestd.store.segment_tables import segment_arrivals, segment_groups, segment_progress
from ingestd.store.segment_tables import segments as segments_table
from tests.databases import ROOT
from tests.leads.conftest import NOON, Desk
from tests.running import until

SCHEMAS = ROOT / "schemas"
DEED = Deed(actor=COMMAND_LINE, at=NOON)
PROJECT = "ENERGY"
LUND = {"field": "city", "op": "is", "value": "Lund"}
OPEN = {"field": "status", "op": "is", "value": "open"}


def group(desk: Desk, name: str = "a group", *, active: bool = True, project: str = PROJECT) -> Group:
    with writing(desk.engine) as connection:
        return segments.add_group(connection, DEED, project, name, active=active)


def segment(desk: Desk, its: Group, name: str, tree: Any, *, active: bool = True) -> Segment:
    with writing(desk.engine) as connection:
        return segments.add(connection, DEED, SCHEMAS, its.id, name, tree, active=active)


def placed(desk: Desk, **facts: Any) -> Placed:
    return placing.work(desk.engine, **facts)


def kept(desk: Desk) -> dict[int, int | None]:
    """Lead → the segment it is in."""
    return {row["id"]: row["segment_id"] for row in desk.all_leads()}


def expected(desk: Desk) -> dict[int, int | None]:
    """The same by brute force: every segment's filter by itself, and the first one wins."""
    lead = tables.leads.c
    with reading(desk.engine) as connection:
        names = conditions.terms(connection, NOON)
        found: dict[int, int | None] = dict.fromkeys(connection.scalars(select(lead.id)))
        for each in segments.groups(connection):
            for one in each.segments if each.active else ():
                row = connection.execute(select(segments_table).where(segments_table.c.id == one.id)).one()
                mine = lead.campaign_id.in_(segments.campaigns_in(connection, each.project)) & one.active
                where = conditions.condition(segment_plan.tree_of(row.filter, row.fields), names)
                for number in connection.scalars(select(lead.id).where(mine, where)):
                    found[number] = found[number] or one.id
    return found


def own(desk: Desk, name: str) -> None:
    """Gives every lead of a campaign to an owner."""
    with reading(desk.engine) as connection:
        to = rules.owners(connection).by_name[name]
    move = owner_change.Move(to=to, by=desk.owner("user:admin"), at=NOON)
    owner_change.change_owner(desk.engine, move, selection.Filter(campaign_id=desk.campaign()))


def settled(desk: Desk) -> None:
    """Everything is where it belongs, and a walk through all of it finds nothing else."""
    assert placed(desk).finished
    assert kept(desk) == expected(desk)
    with reading(desk.engine) as connection:
        numbers = connection.scalars(select(segment_progress.c.campaign_id)).all()
        assert connection.scalar(select(func.count()).select_from(segment_arrivals)) == 0
    with writing(desk.engine) as connection:
        placing.again(connection, numbers)
    assert placed(desk, batch=7).moved == 0
    assert kept(desk) == expected(desk)


def test_the_first_segment_that_matches_has_the_lead(desk: Desk) -> None:
    lund, kiel, other, closed = desk.leads({"city": "Lund"}, {"city": "Kiel"}, {}, {"city": "Lund"})
    desk.change(closed, "success")
    (elsewhere,) = desk.leads({"city": "Lund"}, campaign="DK-FIBRE")
    its = group(desk)
    first = segment(desk, its, "Open in Lund", {"all": [LUND, OPEN]})
    second = segment(desk, its, "Open", OPEN)
    assert placed(desk) == Placed(looked_at=5, moved=3)  # the one that was closed is one that changed, too
    assert kept(desk) == {lund: first.id, kiel: second.id, other: second.id, closed: None, elsewhere: None}
    with writing(desk.engine) as connection:
        segments.order(connection, DEED, its.id, [second.id, first.id])
    settled(desk)
    assert kept(desk)[lund] == second.id
    with writing(desk.engine) as connection:
        segments.edit_group(connection, DEED, its.id, {"active": False})
    settled(desk)
    assert set(kept(desk).values()) == {None}
    assert placed(desk) == Placed()


def test_groups_come_in_their_order(desk: Desk) -> None:
    (lund,) = desk.leads({"city": "Lund"})
    first, second = group(desk, "first"), group(desk, "second")
    later, sooner = segment(desk, second, "Lund", LUND), segment(desk, first, "All", {})
    settled(desk)
    assert kept(desk) == {lund: sooner.id}
    with writing(desk.engine) as connection:
        ordered = segments.order_groups(connection, DEED, PROJECT, [second.id, first.id])
        assert [each.name for each in ordered] == ["second", "first"]
    settled(desk)
    assert kept(desk) == {lund: later.id}


def test_what_is_loaded_and_what_changes_is_found_by_itself(desk: Desk) -> None:
    its = group(desk)
    lund = segment(desk, its, "Lund", LUND)
    team = segment(desk, its, "Berlin's", {"field": "owner", "op": "is", "value": "team:berlin"})
    assert placed(desk) == Placed()
    one, two = desk.leads({}, {"city": "lund"})
    assert placed(desk) == Placed(looked_at=2, moved=1)
    with writing(desk.engine) as connection:
        wish = editing.Edit(values={"city": "Lund"}, by=desk.owner("user:admin"), at=NOON)
        editing.edit(connection, SCHEMAS, one, wish)
    assert kept(desk) == {one: lund.id, two: lund.id}  # an edit by hand counts at once
    own(desk, "team:berlin")
    with writing(desk.engine) as connection:
        connection.execute(update(tables.leads).where(tables.leads.c.id == two).values(city=None, version=99))
    settled(desk)
    assert kept(desk) == {one: lund.id, two: team.id}
    typed = creating.Typed(
        campaign="DK-ENERGY", values={"phone": "26999999", "city": "Lund"}, by=desk.agent("admin"), at=NOON
    )
    made = creating.create(desk.engine, SCHEMAS, typed)
    settled(desk)
    assert kept(desk)[made.lead_id] == lund.id


def test_a_new_campaign_and_one_that_moves_to_another_project(desk: Desk) -> None:
    segment(desk, group(desk, project="FIBRE"), "all", {})
    (energy,) = desk.leads({})
    assert placed(desk).finished
    with writing(desk.engine) as connection:
        changes.edit(connection, DEED, "campaign", "DK-ENERGY", {"project": "FIBRE"})
    settled(desk)
    assert kept(desk)[energy] is not None
    with writing(desk.engine) as connection:
        changes.edit(connection, DEED, "campaign", "DK-ENERGY", {"project": "ENERGY"})
    settled(desk)
    assert kept(desk) == {energy: None}


def test_leads_that_an_agent_may_reach_follow_the_organisation(desk: Desk) -> None:
    (copenhagen,) = desk.leads({}, owner="team:copenhagen")
    (berlin,) = desk.leads({}, owner="team:berlin")
    its = group(desk)
    mine = segment(desk, its, "mine", {"field": "callable_by", "op": "is", "value": "user:copenhagen-1"})
    below = segment(desk, its, "below", {"field": "owner", "op": "below", "value": "team:germany"})
    settled(desk)
    assert kept(desk) == {copenhagen: mine.id, berlin: below.id}
    with writing(desk.engine) as connection:
        changes.edit(connection, DEED, "user", "copenhagen-1", {"team": "aarhus"})
        changes.edit(connection, DEED, "team", "berlin", {"parent": "denmark"})
    settled(desk)
    assert kept(desk) == {copenhagen: None, berlin: None}
    with writing(desk.engine) as connection:
        changes.edit(connection, DEED, "user", "copenhagen-1", {"name": "Another"})
    assert placed(desk) == Placed()  # nothing that segments depend on


def test_progress_is_told(desk: Desk) -> None:
    desk.leads(*({} for _ in range(10)))
    segment(desk, group(desk), "all", {})
    with reading(desk.engine) as connection:
        project_id = segments.project_number(connection, PROJECT)

    def progress() -> Progress:
        with reading(desk.engine) as connection:
            return placing.progress(connection, project_id)

    assert progress() == Progress(computed=0, pending=None)
    assert not placed(desk, batch=4, go_on=iter([True, True, False]).__next__).finished
    told = progress()
    assert (told.computed, told.pending) in {(4, 6), (4, None)}
    assert placed(desk, batch=4).finished
    assert progress() == Progress(computed=10, pending=0)
    desk.leads({}, {})
    desk.change(desk.leads({})[0], "busy")
    assert progress().pending == 4
    placed(desk)
    assert progress() == Progress(computed=13, pending=0)


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ({"field": "locked", "op": "is", "value": True}, "locked is changes with time alone"),
        ({"field": "called_at", "op": "last_days", "value": 3}, "called_at last_days changes with time alone"),
        ({"not": {"field": "segment", "op": "is", "value": 1}}, "cannot rest on a segment"),
        ({"field": "campaign", "op": "is", "value": "DK-FIBRE"}, "does not belong to the project ENERGY"),
        ({"field": "project", "op": "in", "value": ["ENERGY", "FIBRE"]}, "does not belong to the project ENERGY"),
        ({"field": "owner", "op": "is", "value": "team:nowhere"}, "is not known"),
        ({"field": "extra.nothing", "op": "empty"}, "which no lead has"),
    ],
)
def test_filters_that_no_segment_can_have(desk: Desk, tree: Any, told: str) -> None:
    its = group(desk)
    with pytest.raises(Invalid) as refusal:
        segment(desk, its, "x", tree)
    assert told in refusal.value.message


def test_groups_and_segments_are_copied_edited_and_taken_away(desk: Desk) -> None:
    desk.leads({"city": "Lund"})
    its = group(desk)
    first, last = segment(desk, its, "first", LUND), segment(desk, its, "last", {})
    with writing(desk.engine) as connection:
        between = segments.copy(connection, DEED, SCHEMAS, first.id, "between")
        assert [each.name for each in segments.group(connection, its.id).segments] == ["first", "between", "last"]
        assert between.filter == first.filter == LUND
        assert between.told == "City is Lund"
        twin = segments.copy_group(connection, DEED, SCHEMAS, its.id, "a twin", project="FIBRE")
        assert (twin.active, twin.project, [each.name for each in twin.segments]) == (
            False, "FIBRE", ["first", "between", "last"]
        )  # fmt: skip
        edited = segments.edit(connection, DEED, SCHEMAS, first.id, {"filter": OPEN}, seen="1")
        assert (edited.version, edited.filter, edited.created_by) == (2, OPEN, "command line")
        with pytest.raises(Stale):
            segments.edit(connection, DEED, SCHEMAS, first.id, {"name": "x"}, seen="1")
        with pytest.raises(Conflict, match="'last' already"):
            segments.edit(connection, DEED, SCHEMAS, first.id, {"name": " last "})
        with pytest.raises(Conflict, match="names each"):
            segments.order(connection, DEED, its.id, [first.id])
        segments.remove(connection, DEED, last.id)
        with pytest.raises(Missing):
            segments.segment(connection, last.id)
        segments.remove_group(connection, DEED, its.id)
        with pytest.raises(Missing):
            segments.group(connection, its.id)
        with pytest.raises(Missing):
            segments.segment(connection, first.id)
    assert segment(desk, group(desk), "new", {}).id > between.id  # a number is never given twice
    settled(desk)


def test_the_audit_of_a_segment_names_nobody(desk: Desk) -> None:
    its = group(desk)
    made = segment(desk, its, "Anna", {"all": [{"field": "first_name", "op": "is", "value": "Anna"}, LUND]})
    older = segment(desk, its, "Bo", {"field": "first_name", "op": "is", "value": "Bo"})
    kept_before = json.dumps({"first_name": ["First name", "text"]})
    with writing(desk.engine) as connection:
        connection.execute(update(segments_table).where(segments_table.c.id == older.id).values(fields=kept_before))
        dahl = {"field": "last_name", "op": "is", "value": "Dahl"}
        segments.edit(connection, DEED, SCHEMAS, made.id, {"filter": dahl})
        segments.remove(connection, DEED, made.id)
        segments.remove(connection, DEED, older.id)
        lines = audit.latest(connection, limit=20)
    told = [f"{line.before} {line.after}" for line in lines]
    assert not any(name in each for each in told for name in ("'Anna'}", "Dahl", "'Bo'}"))
    removed, changed = (
        next(line.before for line in lines if line.action == action and line.subject == f"segment:{made.id}")
        for action in ("segment_removed", "segment_changed")
    )
    assert removed is not None
    assert removed["filter"] == {"field": "last_name", "op": "is"}
    assert changed == {"filter": {"all": [{"field": "first_name", "op": "is"}, LUND]}}


def test_a_segment_whose_names_are_gone_matches_nothing_and_says_so(desk: Desk) -> None:
    (number,) = desk.leads({})
    its = group(desk)
    gone = segment(desk, its, "gone", {"field": "owner", "op": "is", "value": "team:denmark"})
    whole = segment(desk, its, "all", {})
    with writing(desk.engine) as connection:
        connection.execute(update(tables.teams).where(tables.teams.c.key == "denmark").values(key="nordic"))
    placed(desk)
    assert kept(desk) == {number: whole.id}
    with reading(desk.engine) as connection:
        assert "is not known" in segments.segment(connection, gone.id).problem


_WORKING = """
import sys
from ingestd.leads import placing
from ingestd.store.engine import open_engine
placing.work(open_engine(sys.argv[1]), batch=5)
"""


def test_whoever_is_killed_in_the_middle_loses_nothing(desk: Desk) -> None:
    desk.leads(*({"city": "Lund" if number % 3 else "Kiel"} for number in range(2000)))
    its = group(desk)
    segment(desk, its, "Lund", LUND)
    placed(desk, batch=50, go_on=iter([True] * 5 + [False]).__next__)
    segment(desk, its, "others", {})  # begins again
    url = desk.engine.url.render_as_string(hide_password=False)

    def looked_at() -> int:
        with reading(desk.engine) as connection:
            return connection.scalar(select(func.sum(segment_progress.c.placed))) or 0

    for _ in range(2):
        before = looked_at()
        worker = subprocess.Popen([sys.executable, "-c", _WORKING, url], cwd=ROOT)
        until(lambda before=before: looked_at() > before + 20, "some batches")
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    assert 40 < looked_at() < 2000
    own(desk, "team:berlin")
    settled(desk)


def test_nobody_waits_for_a_load_and_others_leave_it_to_the_one_who_is_at_it(desk: Desk) -> None:
    if desk.engine.dialect.name == "sqlite":  # whose writers take turns
        return
    desk.leads({})
    segment(desk, group(desk), "all", {})
    for held in ("", "placing of leads", segment_plan.TURN):
        with writing(desk.engine) as connection:
            if held:
                take_turn(connection, held)
            else:
                connection.execute(update(tables.campaigns).values(load_sequence=9))
            assert placed(desk) == Placed(finished=False)
    settled(desk)


CITIES = ["Lund", "Kiel", "Malmö", None]
TREES = st.sampled_from(
    [
        LUND,
        OPEN,
        {},
        {"not": LUND},
        {
            "any": [
                {"field": "city", "op": "starts_with", "value": "m"},
                {"field": "priority", "op": "from", "value": 5},
            ]
        },
        {"all": [OPEN, {"field": "owner", "op": "is", "value": "team:berlin"}]},
        {"field": "callable_by", "op": "is", "value": "user:copenhagen-1"},
        {"field": "owner", "op": "below", "value": "team:denmark"},
        {"field": "campaign", "op": "is", "value": "DE-ENERGY"},
        {"field": "modified_by", "op": "filled"},
        {"field": "attempts", "op": "from", "value": 1},
    ]
)
VERBS = st.sampled_from(
    [
        "load",
        "load",
        "status",
        "edit",
        "owner",
        "update",
        "add",
        "refilter",
        "remove",
        "reorder",
        "switch",
        "team",
        "work",
    ]
)


class Events:
    """What happens in a call centre, by chance."""

    def __init__(self, desk: Desk, data: st.DataObject) -> None:
        self.desk, self.data = desk, data
        with writing(desk.engine) as connection:
            for table in (tables.leads, segments_table, segment_groups, segment_progress, segment_arrivals):
                connection.execute(delete(table))
        self.groups = [group(desk, name).id for name in ("first", "second")]
        self.teams = 0

    def load(self) -> None:
        rows = self.data.draw(st.lists(st.sampled_from(CITIES), min_size=1, max_size=6))
        campaign = self.data.draw(st.sampled_from(["DK-ENERGY", "DE-ENERGY", "DK-FIBRE"]))
        owner = self.data.draw(st.sampled_from(["team:denmark", "team:berlin", "team:copenhagen"]))
        self.desk.leads(*({"city": city, "priority": len(rows)} for city in rows), campaign=campaign, owner=owner)

    def status(self) -> None:
        if (number := self.lead()) is not None and self.desk.lead(number).status != "busy":
            self.desk.change(number, "busy", call=True)

    def edit(self) -> None:
        if (number := self.lead()) is not None:
            wish = editing.Edit(values={"city": self.data.draw(st.sampled_from(CITIES))}, by=1, at=NOON)
            with writing(self.desk.engine) as connection:
                editing.edit(connection, SCHEMAS, number, wish)

    def owner(self) -> None:
        name = self.data.draw(st.sampled_from(["team:berlin", "team:denmark"]))
        own(self.desk, name)

    def update(self) -> None:
        """As an import does."""
        values = {"city": self.data.draw(st.sampled_from(CITIES)), "version": tables.leads.c.version + 1}
        with writing(self.desk.engine) as connection:
            connection.execute(update(tables.leads).where(tables.leads.c.priority > 2).values(values))

    def add(self) -> None:
        with writing(self.desk.engine) as connection:
            name = f"segment {connection.scalar(select(func.count()).select_from(segments_table))} {self.teams}"
            self.teams += 1
            its, active = self.data.draw(st.sampled_from(self.groups)), self.data.draw(st.booleans())
            segments.add(connection, DEED, SCHEMAS, its, name, self.data.draw(TREES), active=active)

    def refilter(self) -> None:
        if numbers := self.segments():
            with writing(self.desk.engine) as connection:
                values = {"filter": self.data.draw(TREES), "active": self.data.draw(st.booleans())}
                segments.edit(connection, DEED, SCHEMAS, self.data.draw(st.sampled_from(numbers)), values)

    def remove(self) -> None:
        if numbers := self.segments():
            with writing(self.desk.engine) as connection:
                segments.remove(connection, DEED, self.data.draw(st.sampled_from(numbers)))

    def reorder(self) -> None:
        with writing(self.desk.engine) as connection:
            segments.order_groups(connection, DEED, PROJECT, self.data.draw(st.permutations(self.groups)))

    def switch(self) -> None:
        its, active = self.data.draw(st.sampled_from(self.groups)), self.data.draw(st.booleans())
        with writing(self.desk.engine) as connection:
            segments.edit_group(connection, DEED, its, {"active": active})

    def team(self) -> None:
        key = self.data.draw(st.sampled_from(["aarhus", "berlin", "copenhagen"]))
        with writing(self.desk.engine) as connection:
            changes.edit(connection, DEED, "user", "copenhagen-1", {"team": key})

    def work(self) -> None:
        steps = self.data.draw(st.integers(0, 4))
        placed(self.desk, batch=3, go_on=iter([True] * steps + [False]).__next__)

    def lead(self) -> int | None:
        numbers = [row["id"] for row in self.desk.all_leads()]
        return self.data.draw(st.sampled_from(numbers)) if numbers else None

    def segments(self) -> list[int]:
        with reading(self.desk.engine) as connection:
            return list(connection.scalars(select(segments_table.c.id)))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), verbs=st.lists(VERBS, min_size=3, max_size=16))
def test_whatever_happens_every_lead_is_in_the_first_segment_that_matches(
    desk: Desk, data: st.DataObject, verbs: list[str]
) -> None:
    events = Events(desk, data)
    events.add()
    for verb in verbs:
        getattr(events, verb)()
    assert placed(desk, batch=3).finished
    settled(desk)
