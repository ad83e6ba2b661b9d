"""Lists of pools: every order goes through all of them page by page, and filters leave out the others."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, update

from ingestd.errors import Invalid
from ingestd.model import PoolState
from ingestd.store import pool_lists
from ingestd.store.engine import reading, writing
from ingestd.store.pool_lists import SORTS, Wanted
from ingestd.store.tables import pools as table
from tests.store.test_pools import MOMENT, filled

NAMES = ("b.csv", "a.csv", "b.csv", "c_1.csv", "A.csv")


@pytest.fixture
def numbers(organised: Engine) -> list[int]:
    """Five pools in two campaigns; their numbers."""
    found = []
    for place, name in enumerate(NAMES):
        code = "DK-FIBRE" if place % 2 else "DK-ENERGY"
        state = PoolState.INACTIVE if place == 3 else PoolState.ACTIVE
        found.append(filled(organised, {"unprocessed": place}, code=code, state=state, name=f"{place}{name}"))
        at = {"name": name, "uploaded_at": MOMENT + timedelta(days=place), "uploaded_by": f"by{place % 2}"}
        with writing(organised) as connection:
            connection.execute(update(table).where(table.c.id == found[-1]).values(at))
    return found


def walked(engine: Engine, sort: str, limit: int, wanted: Wanted = Wanted()) -> list[int]:  # noqa: B008 - frozen
    """The numbers of all pages, one after the other."""
    found: list[int] = []
    after = None
    while True:
        with reading(engine) as connection:
            page = pool_lists.page(connection, wanted, sort=sort, after=after, limit=limit)
        assert len(page.rows) <= limit
        found += [row["id"] for row in page.rows]
        after = page.following
        if after is None:
            return found


@pytest.mark.parametrize("sort", [sign + name for name in SORTS for sign in ("", "-")])
def test_every_order_shows_each_pool_once(organised: Engine, numbers: list[int], sort: str) -> None:
    whole = walked(organised, sort, 99)
    assert sorted(whole) == numbers
    assert walked(organised, sort, 2) == whole
    assert walked(organised, sort[1:] if sort.startswith("-") else f"-{sort}", 1) == whole[::-1]


def test_the_newest_comes_first_and_names_are_in_their_order(organised: Engine, numbers: list[int]) -> None:
    assert walked(organised, "", 9) == numbers[::-1]
    by_name = walked(organised, "name", 9)
    assert [NAMES[numbers.index(number)] for number in by_name] == sorted(NAMES)


def test_an_order_that_is_none_is_refused(organised: Engine) -> None:
    with reading(organised) as connection, pytest.raises(Invalid, match="not sorted by 'total'"):
        pool_lists.page(connection, Wanted(), sort="-total", limit=1)


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        (Wanted(campaign="DK-FIBRE"), [1, 3]),
        (Wanted(project="ENERGY"), [0, 2, 4]),
        (Wanted(state="Inactive"), [3]),
        (Wanted(name="A."), [1, 4]),
        (Wanted(name="_"), [3]),
        (Wanted(name="%"), []),
        (Wanted(uploaded_by="Y1"), [1, 3]),
        (Wanted(since=MOMENT + timedelta(days=1), until=MOMENT + timedelta(days=3)), [1, 2]),
        (Wanted(source="nordlead"), [0, 1, 2, 3, 4]),
        (Wanted(source="stadtwerk"), []),
        (Wanted(campaign="DK-FIBRE", name="a"), [1]),
    ],
)
def test_filters(organised: Engine, numbers: list[int], wanted: Wanted, places: list[int]) -> None:
    assert walked(organised, "uploaded", 2, wanted) == [numbers[place] for place in places]


def test_a_page_has_the_totals_of_its_pools(organised: Engine, numbers: list[int]) -> None:
    with reading(organised) as connection:
        page = pool_lists.page(connection, Wanted(), limit=2)
    assert [(row["total"], row["state"]) for row in page.rows] == [(4, "Active"), (3, "Inactive")]
    assert page.following == (numbers[3], numbers[3])
