"""The counts of pools: whatever happens to leads, they equal what counting the leads themselves gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, case, delete, false, func, or_, select, update

from ingestd.leads import pools, timed
from ingestd.store import pool_counts, tables
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing
from ingestd.store.lead_tables import pool_counts as counted
from ingestd.store.pool_counts import Group
from ingestd.store.tables import leads
from tests.leads.conftest import NOON, Desk


def by_the_leads(connection: Connection) -> Counter[tuple[int, Group]]:
    called, gone = or_(leads.c.attempts > 0, leads.c.called_at.is_not(None)), leads.c.deactivated_at.is_not(None)
    own = [leads.c.pool_id, leads.c.status_id, leads.c.result_id]
    kinds = [*own, case((called, 1), else_=0), case((gone, 1), else_=0)]
    query = select(*kinds, func.count(), func.sum(leads.c.attempts)).group_by(*kinds)
    return Counter((row[0], _group(*row[1:])) for row in connection.execute(query))


def _group(status: int, result: int | None, called: int, gone: int, count: int, attempts: int, /) -> Group:
    facts = {"called": bool(called), "deactivated": bool(gone), "leads": count, "attempts": attempts}
    return Group(status_id=status, result_id=result, **facts)


def by_the_counts(connection: Connection) -> Counter[tuple[int, Group]]:
    numbers = list(connection.scalars(select(tables.pools.c.id)))
    found = pool_counts.of_pools(connection, numbers)
    return Counter((number, group) for number, groups in found.items() for group in groups)


def check(desk: Desk) -> None:
    with reading(desk.engine) as connection:
        assert by_the_counts(connection) == by_the_leads(connection)


def settle(desk: Desk) -> None:
    with writing(desk.engine) as connection:
        for number in connection.scalars(select(tables.pools.c.id)).all():
            pool_counts.sum_up(connection, number)


def rows(desk: Desk) -> int:
    with reading(desk.engine) as connection:
        return connection.scalar(select(func.count()).select_from(counted)) or 0


Deeds = dict[str, Callable[[Desk, int], object]]


def set_columns(desk: Desk, number: int, **values: object) -> None:
    with writing(desk.engine) as connection:
        connection.execute(update(leads).where(leads.c.id == number).values(values))


def drop(desk: Desk, number: int) -> None:
    with writing(desk.engine) as connection:
        connection.execute(delete(leads).where(leads.c.id == number))


DEEDS: Deeds = {
    "called": lambda desk, number: set_columns(desk, number, attempts=leads.c.attempts + 1),
    "closed": lambda desk, number: set_columns(desk, number, status_id=desk.status("success")),
    "closed and called": lambda desk, number: set_columns(
        desk, number, status_id=desk.status("busy"), attempts=leads.c.attempts + 2
    ),
    "called without an attempt": lambda desk, number: set_columns(desk, number, called_at=NOON),
    "ended by a rule": lambda desk, number: set_columns(
        desk, number, status_id=desk.status("expired"), result_id=leads.c.status_id
    ),
    "deactivated": lambda desk, number: set_columns(desk, number, deactivated_at=NOON),
    "activated": lambda desk, number: set_columns(desk, number, deactivated_at=None),
    "edited": lambda desk, number: set_columns(desk, number, city="Roskilde"),
    "deleted": drop,
    "summed up": lambda desk, _: settle(desk),
    "more": lambda desk, _: desk.leads({}, {}),
}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(sorted(DEEDS)), st.integers(0, 7)), max_size=12))
def test_counts_equal_the_leads_whatever_happens(desk: Desk, deeds: list[tuple[str, int]]) -> None:
    numbers = desk.leads(*[{}] * 8)
    for name, at in deeds:
        DEEDS[name](desk, numbers[at])
    check(desk)


def test_the_verbs_of_leads_are_counted_too(desk: Desk) -> None:
    numbers = desk.leads(*[{}] * 6)
    pool = desk.lead(numbers[0]).pool_id
    desk.change(numbers[0], "success")
    desk.change(numbers[1], "unresolved")
    timed.apply(desk.engine, NOON + timedelta(days=8))
    assert desk.lead(numbers[1]).status == "abandoned"
    check(desk)
    with writing(desk.engine) as connection:
        assert pools.delete_unprocessed(connection, Deed(actor=COMMAND_LINE, at=NOON), pool, false()).deleted == 4
    check(desk)


def test_summing_up_leaves_one_row_a_kind(desk: Desk) -> None:
    numbers = desk.leads(*[{}] * 40)
    for number in numbers:
        set_columns(desk, number, status_id=desk.status("success"), attempts=1)
    assert rows(desk) == 1 + 2 * 40
    assert pools.settle(desk.engine) == 1
    assert rows(desk) == 1
    assert pools.settle(desk.engine) == 0
    check(desk)


def test_what_is_counted_while_it_is_summed_up_is_not_lost(desk: Desk) -> None:
    numbers = desk.leads(*[{}] * 60)

    def work(number: int) -> None:
        for status in ("busy", "no_answer", "success"):
            set_columns(desk, number, status_id=desk.status(status), attempts=leads.c.attempts + 1)

    with ThreadPoolExecutor(4) as threads:
        working = [threads.submit(work, number) for number in numbers]
        while not all(each.done() for each in working):
            settle(desk)
        for each in working:
            each.result()
    check(desk)


def test_leads_that_came_otherwise_are_counted_anew(desk: Desk) -> None:
    numbers = desk.leads(*[{}] * 5)
    set_columns(desk, numbers[0], attempts=3)
    with writing(desk.engine) as connection:
        connection.execute(delete(counted))
        pool_counts.recount(connection)
    check(desk)


def test_without_leads_there_is_nothing_to_count(desk: Desk) -> None:
    with reading(desk.engine) as connection:
        assert pool_counts.of_pools(connection, []) == {}
    check(desk)
