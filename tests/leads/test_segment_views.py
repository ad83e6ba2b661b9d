"""Segments before they are kept, and what they take from each other."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import true

from ingestd.leads import segment_views, segments
from ingestd.leads.segment_views import Contest, Preview
from ingestd.store.engine import reading, writing
from tests.leads.conftest import NOON, Desk
from tests.leads.test_segments import DEED, LUND, OPEN, SCHEMAS, group, segment


def preview(desk: Desk, tree: Any, login: str = "admin", **facts: Any) -> Preview:
    with reading(desk.engine) as connection:
        checked = segments.checked(connection, SCHEMAS, "ENERGY", tree)
        return segment_views.preview(connection, "ENERGY", checked, desk.agent(login), **facts)


def test_a_preview_counts_and_shows_the_newest(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_views, "BATCH", 7)
    numbers = desk.leads(*({"city": "Lund" if number % 2 else "Kiel"} for number in range(40)))
    desk.leads({"city": "Lund"}, campaign="DK-FIBRE")
    (german,) = desk.leads({"city": "Lund"}, campaign="DE-ENERGY", owner="team:germany")
    found = preview(desk, LUND)
    assert (found.count, found.exact) == (21, True)
    assert [each.id for each in found.examples] == [german, *reversed(numbers[-18:])][:1] + numbers[:20:-2][:9]
    assert preview(desk, {"field": "city", "op": "is", "value": "Oslo"}) == Preview(count=0, exact=True, examples=())
    pool = desk.lead(german).pool_id
    assert preview(desk, {"all": [LUND, {"field": "pool", "op": "is", "value": pool}]}).count == 1


def test_a_preview_shows_what_the_caller_sees(desk: Desk) -> None:
    desk.leads({"city": "Lund"}, {"city": "Lund", "deactivated_at": NOON})
    desk.leads({"city": "Lund"}, owner="team:berlin")
    assert preview(desk, LUND).count == 3
    assert preview(desk, LUND, "copenhagen-1").count == 1
    assert [each.owner_id for each in preview(desk, LUND, "copenhagen-1").examples] == [desk.owner("team:denmark")]


def test_what_is_not_counted_in_time_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_views, "BATCH", 7)
    desk.leads(*({"city": "Lund"} for _ in range(40)))
    found = preview(desk, LUND, clock=iter(range(100)).__next__)
    assert (found.count, found.exact, len(found.examples)) == (14, False, 10)


def test_what_segments_take_from_each_other(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_views, "BATCH", 3)
    desk.leads(*({"city": "Lund"} for _ in range(5)), {}, {})
    done = desk.leads({"city": "Lund"})[0]
    desk.change(done, "success")
    before, its = group(desk, "before"), group(desk, "its", active=False)
    best = segment(desk, before, "best", {"field": "id", "op": "in", "value": [done]})
    lund, opened = segment(desk, its, "Lund", LUND), segment(desk, its, "Open", OPEN)
    segment(desk, its, "off", {}, active=False)
    with reading(desk.engine) as connection:
        found = segment_views.contested(connection, segments.group(connection, its.id), true())
    assert found == [
        Contest(id=lund.id, matches=6, taken={best.id: 1}),
        Contest(id=opened.id, matches=7, taken={lund.id: 5}),
    ]
    assert [each.left for each in found] == [5, 2]
    with writing(desk.engine) as connection:
        empty = segments.add_group(connection, DEED, "FIBRE", "empty")
        assert segment_views.contested(connection, empty, true()) == []
