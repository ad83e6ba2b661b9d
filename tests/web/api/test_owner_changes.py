"""Change Owner over the API: at once or in the background, both sides told, and nothing twice whoever dies."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ingestd.access.permissions import Permission
from ingestd.leads import owner_change, owner_changes
from ingestd.leads.owner_changes import OwnerChange
from ingestd.store.engine import reading
from ingestd.store.ledger import now
from ingestd.worker import Mover
from tests.leads.conftest import NOON, Desk
from tests.web.serving import Api, Client

LEADER = "lead-denmark"


def desk_of(api: Api) -> Desk:
    return Desk(engine=api.desk.engine)


def move(client: Client, leads: Any, to: str = "team:aarhus", **wish: Any) -> Any:
    which = {"ids": leads} if isinstance(leads, list) else {"filter": leads}
    return client.do("POST", "owner-changes", {**which, "to": to, **wish})


def results(client: Client, number: int, query: str = "") -> list[tuple[int, str]]:
    return [(each["lead"], each["outcome"]) for each in client.get(f"owner-changes/{number}/results{query}")["items"]]


def test_a_few_are_moved_at_once_and_both_sides_are_told(api: Api) -> None:
    desk = desk_of(api)
    caller, until = desk.owner("user:copenhagen-1"), now() + timedelta(hours=1)
    held = {"locked_by_id": caller, "locked_until": until}
    plain, locked, gone, called = desk.leads({}, held, {"deactivated_at": NOON}, {"processed_by_id": caller})
    (foreign,) = desk.leads({}, owner="team:berlin")
    leader = api.user(LEADER)
    answer = leader.ask(
        "POST",
        "owner-changes",
        {"ids": [called, plain, locked, gone, foreign, 999], "to": "code: dk-aar", "why": "new team"},
    )
    told = answer.json()
    assert (answer.status, answer.headers["location"]) == (201, f"/api/v1/owner-changes/{told['id']}")
    assert (told["state"], told["to"], told["total"], told["done"], told["moved"]) == ("done", "team:aarhus", 6, 6, 2)
    assert told["refused"] == {"locked": 1, "deactivated": 1, "unknown": 2}
    assert results(leader, told["id"]) == [
        (gone, "deactivated"),
        (locked, "locked"),
        (plain, "moved"),
        (called, "moved"),
        (foreign, "unknown"),
        (999, "unknown"),
    ]
    here = leader.get(f"leads/{called}")
    assert (here["owner"], here["original_owner"], here["processed_by"]) == (
        "team:aarhus",
        "team:denmark",
        "user:copenhagen-1",
    )
    assert [(each["by"], each["field"], each["why"]) for each in leader.get(f"leads/{plain}/history")["items"]] == [
        (f"user:{LEADER}", "owner", "new team")
    ]
    trail = api.user("admin").get(f"audit?subject=owner_change:{told['id']}")["items"]
    assert [each["action"] for each in trail] == ["owner_change_done", "owner_change_begun"]
    assert move(leader, [locked, gone], unlock=True, deactivated=True)["moved"] == 2


def test_the_leads_of_who_has_left_are_moved_by_name(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, admin = desk_of(api), api.user("admin")
    desk.leads({}, {}, owner="user:aarhus-1")
    monkeypatch.setattr("ingestd.web.api.owner_changes.AT_ONCE", 1)
    waiting = move(admin, {"owner": "user:aarhus-1"}, "user:copenhagen-1")
    desk.set("users", "login", "aarhus-1", active=False)
    assert Mover(engine=desk.engine, clock=lambda: 0.0).sweep()
    told = admin.get(f"owner-changes/{waiting['id']}")
    assert (told["state"], told["moved"], told["problem"]) == ("done", 2, "")
    desk.set("users", "login", "copenhagen-1", active=False)
    monkeypatch.undo()
    assert move(admin, {"owner": "user:copenhagen-1"})["moved"] == 2


def test_results_come_in_pages_and_by_outcome(api: Api) -> None:
    numbers = desk_of(api).leads(*({} for _ in range(5)))
    leader = api.user(LEADER)
    number = move(leader, [*numbers, 998, 999])["id"]
    first = leader.get(f"owner-changes/{number}/results?limit=4")
    rest = leader.get(f"owner-changes/{number}/results?limit=4&cursor={first['next']}")
    assert [each["lead"] for each in first["items"] + rest["items"]] == [*numbers, 998, 999]
    assert rest["next"] is None
    assert results(leader, number, "?outcome=unknown") == [(998, "unknown"), (999, "unknown")]
    assert leader.refused("GET", f"owner-changes/{number}/results?cursor=x") == (422, "cursor_unusable")


def test_private_redials_may_be_retained(api: Api) -> None:
    desk = desk_of(api)
    private, plain = desk.leads({}, {})
    desk.change(private, "manual_redial_private")
    leader, pool = api.user(LEADER), desk.lead(plain).pool_id
    told = move(leader, {"pool": pool, "status": "open"}, retain=True)
    assert (told["moved"], told["refused"], told["filter"]) == (1, {"retained": 1}, {"pool": pool, "status": "open"})
    assert leader.get(f"leads/{private}")["owner"] == "user:copenhagen-1"


CITY = {"field": "city", "op": "in", "value": ["Lund", "Malmö"]}


def test_any_filter_moves_the_leads_that_it_finds(api: Api) -> None:
    """The whole language of Lead Admin; what identifies a person is not kept with the change."""
    desk, leader = desk_of(api), api.user(LEADER)
    lund, malmo, kiel, gone = desk.leads(
        {"city": "Lund"}, {"city": "malmö", "attempts": 3}, {"city": "Kiel"}, {"city": "Lund", "deactivated_at": NOON}
    )
    desk.leads({"city": "Lund"}, owner="team:berlin")
    often = {"field": "attempts", "op": "from", "value": 3}
    told = move(leader, {"all": [CITY, {"not": often}]})
    assert (told["state"], told["total"], told["moved"], told["refused"]) == ("done", 2, 1, {"deactivated": 1})
    assert results(leader, told["id"]) == [(gone, "deactivated"), (lund, "moved")]
    told = move(leader, {"any": [CITY, {"field": "phone", "op": "is", "value": desk.lead(kiel).fields["phone"]}]})
    kept = {"any": [CITY, {"field": "phone", "op": "is"}]}
    assert (told["moved"], told["filter"]) == (2, kept)
    assert {lead for lead, outcome in results(leader, told["id"]) if outcome == "moved"} == {malmo, kiel}
    trail = api.user("admin").get(f"audit?subject=owner_change:{told['id']}")["items"]
    assert trail[-1]["after"]["filter"] == kept
    nothing = move(leader, {"field": "city", "op": "is", "value": "Oslo"})
    assert (nothing["state"], nothing["total"], nothing["done"]) == ("done", 0, 0)
    admin = api.user("admin")
    admin.do("PUT", f"users/{LEADER}/permissions/extended_insights", {"granted": True})
    assert move(leader, CITY)["total"] == 3, "what is seen for reports alone is not moved, as with the other form"


def test_a_filter_that_means_too_many_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, leader = desk_of(api), api.user(LEADER)
    desk.leads({"city": "Lund"}, {"city": "Lund"}, {"city": "Lund"})
    monkeypatch.setattr(owner_changes, "MOST_NAMED", 2)
    answer = leader.ask("POST", "owner-changes", {"filter": CITY, "to": "team:aarhus"})
    assert (answer.status, answer.json()["code"]) == (422, "filter_unusable")
    assert "more than 2 leads match" in answer.json()["detail"]


def test_what_cannot_be_asked_for_is_told(api: Api) -> None:
    leader = api.user(LEADER)
    for wrong, code in (
        ({"ids": [1]}, "request_unusable"),
        ({"to": "team:aarhus"}, "request_unusable"),
        ({"ids": [], "to": "team:aarhus"}, "request_unusable"),
        ({"ids": [1], "filter": {"pool": 1}, "to": "team:aarhus"}, "request_unusable"),
        ({"ids": [1], "to": "team:nowhere"}, "owner_unknown"),
        ({"ids": [1], "to": "code:XX"}, "owner_unknown"),
        ({"filter": {}, "to": "team:aarhus"}, "filter_unusable"),
        ({"filter": {"shoe": 1}, "to": "team:aarhus"}, "filter_unusable"),
        ({"filter": {"phone": "+4526141516"}, "to": "team:aarhus"}, "filter_unusable"),  # it would be kept
        ({"filter": {"pool": "1"}, "to": "team:aarhus"}, "filter_unusable"),
        ({"filter": {"pool": 1, "all": []}, "to": "team:aarhus"}, "filter_unusable"),
        ({"filter": {"all": []}, "to": "team:aarhus"}, "filter_unusable"),  # every lead, by mistake
        ({"filter": {"field": "shoe", "value": 1}, "to": "team:aarhus"}, "filter_unusable"),
        ({"filter": {"field": "owner", "value": "team:nowhere"}, "to": "team:aarhus"}, "filter_unusable"),
        ({"filter": {"campaign": "NONE"}, "to": "team:aarhus"}, "campaign_unknown"),
        ({"filter": {"status": "none"}, "to": "team:aarhus"}, "status_unknown"),
    ):
        assert leader.refused("POST", "owner-changes", wrong) == (422, code), wrong
    assert api.user("copenhagen-1").refused("POST", "owner-changes", {}) == (403, "permission_missing")


def test_a_change_is_for_the_eyes_of_whoever_asked(api: Api) -> None:
    number = move(api.user(LEADER), desk_of(api).leads({}))["id"]
    api.user("admin").do("PUT", "users/berlin-1/permissions/lead_admin", {"granted": True})
    other, admin = api.user("berlin-1"), api.user("admin")
    for path in ("", "/results"):
        assert other.refused("GET", f"owner-changes/{number}{path}") == (404, "owner_change_unknown")
    assert other.refused("POST", f"owner-changes/{number}/cancel") == (404, "owner_change_unknown")
    assert other.get("owner-changes")["items"] == []
    assert [each["id"] for each in admin.get("owner-changes")["items"]] == [number]
    assert admin.refused("POST", f"owner-changes/{number}/cancel") == (409, "owner_change_ended")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three leads a batch, and everything goes on in the background."""
    monkeypatch.setattr(owner_changes, "BATCH", 3)
    monkeypatch.setattr(owner_change, "BATCH", 3)
    monkeypatch.setattr(owner_change.walk_of, "__kwdefaults__", {"batch": 3, "within": None})
    monkeypatch.setattr("ingestd.web.api.owner_changes.AT_ONCE", 1)


def stand(desk: Desk, number: int) -> OwnerChange:
    with reading(desk.engine) as connection:
        return owner_changes.find(connection, number)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("meant", ["named", "found", "walked"])
def test_many_are_moved_in_the_background_and_nothing_twice(
    api: Api, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, leader = desk_of(api), api.user(LEADER)
    numbers = desk.leads(*({} for _ in range(8)))
    named = meant == "named"
    language = {"field": "owner", "op": "is", "value": "team:denmark"}
    wish = (
        {"ids": [*numbers, 999]} if named else {"filter": language if meant == "found" else {"owner": "team:denmark"}}
    )
    answer = leader.ask("POST", "owner-changes", {**wish, "to": "team:aarhus"})
    assert (answer.status, answer.headers["retry-after"], answer.json()["state"]) == (202, "2", "queued")
    number = answer.json()["id"]
    assert owner_changes.advance(desk.engine, NOON, number=number)
    half = leader.get(f"owner-changes/{number}")
    assert (half["state"], half["done"], half["moved"]) == ("running", 3, 3)
    (late,) = desk.leads({})

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(owner_changes, "_note", die)
        with pytest.raises(KeyboardInterrupt):  # in the middle of a batch
            owner_changes.advance(desk.engine, NOON)
    assert stand(desk, number).moved == 3
    assert Mover(engine=desk.engine, clock=lambda: 0.0).sweep()
    done = leader.get(f"owner-changes/{number}")
    numbers += [late] if meant == "walked" else []
    assert (done["state"], done["moved"], done["total"]) == ("done", len(numbers), 9 if named else 8)
    assert [lead for lead, outcome in results(leader, number) if outcome == "moved"] == numbers
    assert all(len(desk.told(each)) == 1 for each in numbers)
    assert owner_changes.advance(desk.engine, NOON, number=number) is None


@pytest.mark.usefixtures("small")
def test_a_change_is_cancelled_between_two_batches(api: Api) -> None:
    desk, leader = desk_of(api), api.user(LEADER)
    numbers = desk.leads(*({} for _ in range(8)))
    number = leader.do("POST", "owner-changes", {"ids": numbers, "to": "team:aarhus"})["id"]
    owner_changes.advance(desk.engine, NOON)
    assert leader.do("POST", f"owner-changes/{number}/cancel")["state"] == "cancelled"
    assert Mover(engine=desk.engine, clock=lambda: 0.0).sweep()
    assert (stand(desk, number).moved, len(results(leader, number))) == (3, 3)


@pytest.mark.usefixtures("small")
def test_who_loses_the_permission_meanwhile_moves_no_more(api: Api) -> None:
    desk, leader, admin = desk_of(api), api.user(LEADER), api.user("admin")
    numbers = desk.leads({}, {}, {}, {})
    first = leader.do("POST", "owner-changes", {"ids": numbers, "to": "team:aarhus"})["id"]
    key = api.key(Permission.LEAD_ADMIN, user_id=desk.owner("user:admin"))
    second = key.do("POST", "owner-changes", {"filter": {"campaign": "DK-ENERGY"}, "to": "team:aarhus"})["id"]
    admin.do("PUT", f"users/{LEADER}/permissions/lead_admin", {"granted": False})
    assert Mover(engine=desk.engine, clock=lambda: 0.0).sweep()
    assert (stand(desk, first).state, stand(desk, first).moved) == ("failed", 0)
    assert "lacks the permission lead_admin" in stand(desk, first).problem
    assert stand(desk, second).moved == 0  # the key has less than the admin: leads of Denmark are not within its sight


@pytest.mark.usefixtures("small")
def test_the_fate_of_each_lead_is_forgotten_and_the_counts_stay(api: Api) -> None:
    desk, leader = desk_of(api), api.user(LEADER)
    numbers = desk.leads(*({} for _ in range(7)))
    first = leader.do("POST", "owner-changes", {"ids": numbers, "to": "team:aarhus"})["id"]
    assert Mover(engine=desk.engine, clock=lambda: 0.0).sweep()
    ended = stand(desk, first).ended_at
    assert ended
    last = leader.do("POST", "owner-changes", {"ids": numbers, "to": "team:denmark"})["id"]
    assert Mover(engine=desk.engine, keep=timedelta(days=1), clock=lambda: 0.0).sweep()
    assert len(results(leader, first)) == len(results(leader, last)) == 7
    desk.set("owner_changes", "id", first, ended_at=ended - timedelta(days=1))
    turns = iter([True, False])
    assert not owner_changes.forget(desk.engine, ended, lambda: next(turns))
    assert len(results(leader, first)) == 4, "a batch of three is removed at a time"
    assert Mover(engine=desk.engine, keep=timedelta(days=1), clock=lambda: 0.0).sweep()
    assert (results(leader, first), len(results(leader, last))) == ([], 7)
    assert stand(desk, first).moved == 7
