"""What the benchmark of growth fills a campaign with, and how it tells growth."""

from __future__ import annotations

import itertools

import pytest
from sqlalchemy import Engine, func, select

from bench import growth
from bench.growth import Point
from bench.road import Run
from ingestd.store.engine import reading
from ingestd.store.tables import leads


def test_the_leads_that_are_there_have_phones_of_their_own_in_no_order(organised: Engine, database_url: str) -> None:
    growth.fill(database_url, 3_000)
    with reading(organised) as connection:
        rows = connection.execute(select(leads.c.id, leads.c.row, leads.c.phone).order_by(leads.c.row)).all()
        assert connection.scalar(select(func.count(leads.c.campaign_id.distinct()))) == 1
    phones = [row.phone for row in rows]
    assert len(set(phones)) == 3_000
    assert {len(phone) for phone in phones} == {len("+45260000000")}  # one digit more than those of the file
    ascents = sum(one < other for one, other in itertools.pairwise(phones))
    assert 600 < ascents < 2_400
    numbered = sorted(rows, key=lambda row: row.id)
    assert [row.id for row in numbered] == list(range(1, 3_001))
    assert [row.phone for row in numbered] == sorted(phones)


def point(existing: int, seconds: float) -> Point:
    run = Run(seconds=seconds, stages=dict.fromkeys(growth.STAGES, 0.0), peak_mib=0, processor=0, written_mib=0)
    return Point(existing=existing, run=run, filled=0, size_mib=0)


def test_the_exponent_is_the_slope_of_the_logarithms() -> None:
    assert growth.exponent([point(0, 1), point(1_000, 2), point(100_000, 20)]) == pytest.approx(0.5)
    assert growth.exponent([point(0, 1), point(1_000, 2)]) is None


def test_a_goal_counts_only_when_ten_million_leads_were_there() -> None:
    (missed,) = growth._results("postgresql", [point(0, 1), point(10_000_000, 1.6)])
    (unknown,) = growth._results("postgresql", [point(0, 1), point(1_000_000, 1.6)])
    assert (missed.met, missed.ratio, unknown.met) == (False, "1.60 x", None)
