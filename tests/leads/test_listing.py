"""Lead Admin's pages against sorting all leads: whatever filter and sort, every lead comes once, in its place."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ingestd.errors import Invalid
from ingestd.leads import access, columns, filters, listing, ordering, scope, walking
from ingestd.leads.agents import Agent
from ingestd.leads.filter_fields import Kind
from ingestd.leads.letters import ascii_lower
from ingestd.leads.listing import Count, Page, Wish
from ingestd.store.engine import reading
from tests.leads.conftest import NOON, Desk
from tests.leads.test_conditions import TREES, matching, one, rows
from tests.leads.test_filters import FIELDS
from tests.leads.test_kpis import delivered

EVERY = columns.known(FIELDS)
SORTS = sorted(set(EVERY) - ordering.NEVER)
WALKED = sorted({"id", "phone", *ordering.STAMPS, *ordering.OF_POOLS})


def several_pools(desk: Desk) -> None:
    """Leads with and without values in pools of three campaigns."""
    given = rows()
    for number, values in enumerate(given):
        values |= {
            "modified_at": None if number % 2 else NOON - (number % 9) * timedelta(minutes=1),
            "scheduled_at": None if number % 7 else NOON,
            "processed_by_id": desk.owner("user:berlin-1") if number % 8 == 0 else None,
        }
    desk.leads(*given[:25])
    desk.leads(*given[25:30], owner="user:copenhagen-1")
    desk.leads(*given[30:45], campaign="DE-ENERGY", owner="team:germany")
    desk.leads(*given[45:], owner="team:copenhagen")
    for number in range(1, 5):
        desk.set("pools", "id", number, uploaded_at=NOON + timedelta(days=number % 3), name=f"pool {number % 2}")
    delivered(desk, 1, login="nordlead", protocol="ftps", name="a.csv")
    delivered(desk, 2, login="user:copenhagen-1", protocol="http", source="upload", name="b.csv")


def paged(desk: Desk, tree: Any, sort: str, cursor: str | None = None, who: Agent | None = None, **facts: Any) -> Page:
    wish = Wish(
        tree=filters.parsed(tree, FIELDS),
        sort=ordering.parsed(sort, EVERY),
        cursor=cursor,
        at=NOON,
        who=who,
        **{"limit": 7, **facts},
    )
    with reading(desk.engine) as connection:
        return listing.page(connection, wish)


def pages(desk: Desk, tree: Any, sort: str, **facts: Any) -> Iterator[Page]:
    page = paged(desk, tree, sort, **facts)
    yield page
    while page.next:
        page = paged(desk, tree, sort, page.next, **facts)
        yield page


def numbers(found: list[Page]) -> list[int]:
    return [place.id for page in found for place in page.places]


def sorted_by_reading(desk: Desk, found: set[int], sort: str) -> list[int]:
    """The same leads, sorted as a whole."""
    wanted = ordering.parsed(sort, EVERY)
    name = wanted.column.name
    campaigns = {lead["id"]: lead["campaign_id"] for lead in desk.all_leads()}
    places = [columns.Place(campaign_id=campaigns[number], id=number) for number in sorted(found)]
    shown = [EVERY[column] for column in ("id", name, "pool")]
    with reading(desk.engine) as connection:
        cells = columns.cells(connection, places, shown, NOON)
    filled = [row for row in cells if row[1] is not None or name in ordering.OF_POOLS]
    empty = [row for row in cells if row[1] is None and name not in ordering.OF_POOLS]

    def key(row: Any) -> Any:
        number, value, pool = row
        if value is None:
            value = "" if name == "file" else 0
        value = ascii_lower(value) if isinstance(value, str) and wanted.column.kind != Kind.PHONE else value
        return (value, pool, number) if name in ordering.OF_POOLS else (value, number)

    filled.sort(key=key, reverse=wanted.descending)
    empty.sort(key=lambda row: row[0], reverse=wanted.descending)
    return [row[0] for row in filled + empty]


def holds(desk: Desk, tree: Any, sort: str, **facts: Any) -> None:
    expected = sorted_by_reading(desk, matching(desk, tree), sort)
    found = list(itertools.islice(pages(desk, tree, sort, **facts), 200))
    assert found[-1].next is None
    assert numbers(found) == expected, (sort, facts)
    back = [found[-1]]
    while back[0].previous:
        back.insert(0, paged(desk, tree, sort, back[0].previous, **facts))
        assert len(back) <= 200
    assert numbers(back) == expected, (sort, facts, "backwards")


NATURAL = st.one_of(
    TREES,
    st.sampled_from([
        one("pool", "in", [1, 3]),
        one("uploaded_at", "from", "2026-06-17"),
        one("processed_by", "filled"),
        one("locked", "is", False),
        {"all": [one("campaign", "is", "DK-ENERGY"), one("modified_at", "filled")]},
        one("uploaded_by", "is_not", "source:nordlead"),
        one("phone", "starts_with", "+45260000"),
    ]),
)  # fmt: skip


@settings(
    max_examples=30,
    deadline=None,
    phases=[Phase.generate],  # making a failure smaller over a database takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(tree=NATURAL, sort=st.sampled_from(SORTS), down=st.booleans(), limit=st.integers(4, 20), data=st.data())
def test_every_lead_comes_once_and_in_its_place(
    desk: Desk, tree: Any, sort: str, down: bool, limit: int, data: st.DataObject
) -> None:
    if not desk.all_leads():
        several_pools(desk)
    with pytest.MonkeyPatch.context() as patch:
        if sort in WALKED and data.draw(st.booleans(), label="walked"):
            patch.setattr(scope, "FEW", -1)  # as if there were too many leads
            patch.setattr(walking, "LARGEST_PIECE", data.draw(st.sampled_from([1, 3, 8000]), label="piece"))
        patience = data.draw(st.sampled_from([-1.0, 60.0]), label="patience")
        holds(desk, tree, f"{'-' if down else ''}{sort}", limit=limit, patience=patience)


def test_a_cursor_of_another_list_or_a_forged_one_is_refused(desk: Desk) -> None:
    several_pools(desk)
    cursor = paged(desk, None, "city").next
    assert cursor is not None
    for tree, sort, word in [
        (None, "-city", cursor),
        (one("city", "filled"), "city", cursor),
        (None, "city", "nonsense"),
        (None, "city", "W10"),
        (None, "city", forged(cursor, [0, 7, 1])),
        (None, "city", forged(cursor, [0, "a\0", 1])),
        (None, "city", forged(cursor, [0, "a", 1, 1])),
        (None, "city", forged(cursor, [2, "a", 1])),
        (None, "city", forged(cursor, [0, "a", 2**70])),
        (None, "city", forged(cursor, {"a": 1})),
    ]:
        with pytest.raises(Invalid) as refusal:
            paged(desk, tree, sort, word)
        assert refusal.value.code == "cursor_unusable"


def forged(cursor: str, key: Any) -> str:
    mark, back, _ = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    return base64.urlsafe_b64encode(json.dumps([mark, back, key]).encode()).decode().rstrip("=")


def test_what_cannot_be_sorted_in_time_says_what_can(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    several_pools(desk)
    monkeypatch.setattr(scope, "FEW", 10)
    with pytest.raises(Invalid) as refusal:
        paged(desk, None, "city")
    assert refusal.value.code == "sort_not_offered"
    assert "narrow the filter" in refusal.value.message
    assert refusal.value.facts["sorts"] == WALKED
    assert paged(desk, None, "id").sorts == frozenset(WALKED)
    few = paged(desk, {"all": [one("pool", "is", 2), one("city", "filled")]}, "city")
    assert few.sorts is None
    with pytest.raises(Invalid) as refusal:
        paged(desk, None, "locked")
    assert refusal.value.code == "sort_unknown"


def test_a_page_that_is_not_full_in_time_says_how_far_it_looked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    several_pools(desk)
    monkeypatch.setattr(scope, "FEW", -1)
    monkeypatch.setattr(walking, "LARGEST_PIECE", 5)
    page = paged(desk, one("city", "is", "Nowhere"), "id", patience=-1.0)
    assert (page.places, page.complete) == ([], False)
    assert page.searched_until == "5"
    assert list(pages(desk, one("city", "is", "Nowhere"), "id", patience=-1.0))[-1].complete


def test_leads_that_come_and_go_do_not_move_the_others_between_pages(desk: Desk) -> None:
    made = desk.leads({}, {}, {}, {})
    first = paged(desk, None, "-id", limit=2)
    new = desk.leads({})
    second = paged(desk, None, "-id", first.next, limit=2)
    assert numbers([first, second]) == made[::-1]
    assert second.next is None
    before = paged(desk, None, "-id", first.next, limit=2).previous
    assert numbers([paged(desk, None, "-id", before, limit=2)]) == made[:1:-1]
    assert numbers([paged(desk, None, "-id", limit=2)])[0] == new[0]


@pytest.mark.parametrize("login", ["copenhagen-1", "berlin-1", "lead-denmark", "admin"])
@pytest.mark.parametrize("sort", ["-uploaded_at", "city", "-called_at"])
def test_everybody_sees_what_is_theirs(desk: Desk, login: str, sort: str) -> None:
    several_pools(desk)
    who = desk.agent(login)
    with reading(desk.engine) as connection:
        seen = {lead["id"] for lead in desk.all_leads() if access.explain(connection, lead["id"], who, NOON).may_see}
    assert numbers(list(pages(desk, None, sort, who=who))) == sorted_by_reading(desk, seen, sort)
    with reading(desk.engine) as connection:
        assert listing.count(connection, filters.EVERYTHING, who, NOON) == Count(leads=len(seen), exact=True)


def test_a_count_is_exact_up_to_its_limit(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    several_pools(desk)
    monkeypatch.setattr(listing, "COUNTED", 20)
    for few in (25_000, -1):
        monkeypatch.setattr(scope, "FEW", few)
        with reading(desk.engine) as connection:
            many = filters.parsed(one("attempts", "from", 0), FIELDS)
            pool = filters.parsed(one("pool", "is", 2), FIELDS)
            assert listing.count(connection, many, None, NOON) == Count(leads=20, exact=False)
            assert listing.count(connection, pool, None, NOON) == Count(leads=5, exact=True)
            assert listing.count(connection, filters.EVERYTHING, None, NOON) == Count(leads=20, exact=False)


def test_the_columns_show_where_a_lead_came_from_and_who_has_it(desk: Desk) -> None:
    (number,) = desk.leads({"processed_by_id": desk.owner("user:berlin-1"), "extra": '{"supplier": "Havvind"}'})
    shown = ["pool_name", "file", "row", "uploaded_by", "owner", "owner_name", "original_owner", "processed_by_name"]
    shown += ["status_name", "extra.supplier", "campaign", "deactivated", "locked", "extra.consumption_kwh"]
    place = columns.Place(campaign_id=desk.campaign(), id=number)
    with reading(desk.engine) as connection:
        (row,) = columns.cells(connection, [place], columns.chosen(shown, EVERY), NOON)
    assert row[:8] == ("a pool", None, 1, "user:test", "team:denmark", "Denmark", "team:denmark", row[7])
    assert row[7]
    assert row[8:] == ("Unprocessed", "Havvind", "DK-ENERGY", False, False, None)


def test_a_lead_has_a_name_however_its_file_said_it(desk: Desk) -> None:
    parts = {"first_name": "Anna", "last_name": "Berg"}
    these = desk.leads(parts, {**parts, "full_name": "Dr. A. Berg"}, {"company": "Havvind"}, {"last_name": "Holm"}, {})
    places = [columns.Place(campaign_id=desk.campaign(), id=number) for number in these]
    with reading(desk.engine) as connection:
        shown = columns.cells(connection, places, columns.chosen(["name"], EVERY), NOON)
    assert shown == [("Anna Berg",), ("Dr. A. Berg",), ("Havvind",), ("Holm",), (None,)]
    assert "name" in columns.DEFAULT


def test_who_uploaded_a_file_is_its_uploader_and_not_the_source_upload(desk: Desk) -> None:
    """A partner's login that looks like a user is none."""
    by_user, by_partner, typed = (desk.leads({})[0] for _ in range(3))
    delivered(desk, desk.lead(by_user).pool_id, login="user:copenhagen-1", protocol="http", source="upload")
    delivered(desk, desk.lead(by_partner).pool_id, login="user:copenhagen-1", protocol="sftp")
    desk.set("pools", "id", desk.lead(typed).pool_id, uploaded_by="copenhagen-1")
    assert matching(desk, one("uploaded_by", "is", "user:copenhagen-1")) == {by_user, typed}
    places = [columns.Place(campaign_id=desk.campaign(), id=number) for number in (by_user, by_partner, typed)]
    with reading(desk.engine) as connection:
        shown = columns.cells(connection, places, columns.chosen(["uploaded_by"], EVERY), NOON)
    assert shown == [("user:copenhagen-1",), ("source:nordlead",), ("user:copenhagen-1",)]


def test_columns_that_no_lead_has_are_refused() -> None:
    with pytest.raises(Invalid, match="shoe_size"):
        columns.chosen(["city", "shoe_size"], EVERY)
    assert [column.name for column in columns.chosen(None, EVERY)] == list(columns.DEFAULT)
    assert all(name in EVERY for names in columns.SETS.values() for name in names)
