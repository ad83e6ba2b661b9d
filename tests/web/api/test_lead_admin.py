"""Lead Admin over the API: lists, counts and files of what the caller sees."""

from __future__ import annotations

from typing import Any

import pytest

from ingestd.access.permissions import Permission
from ingestd.leads import scope
from tests.leads.conftest import NOON, Desk
from tests.web.serving import Api, Client

LUND = {"field": "city", "op": "is", "value": "lund"}


def found(client: Client, **body: Any) -> list[int]:
    return [each["id"] for each in client.do("POST", "leads/search", body)["items"]]


def test_a_list_has_the_columns_asked_for_in_the_order_asked_for(api: Api) -> None:
    made = Desk(engine=api.desk.engine).leads({"city": "Lund"}, {"city": "Aarhus"}, {"city": "Odense"}, {"city": None})
    admin = api.user("admin")
    body = {"columns": ["city", "owner_name", "uploaded_at"], "sort": "city", "limit": 2}
    page = admin.do("POST", "leads/search", body)
    assert page["columns"] == ["city", "owner_name", "uploaded_at"]
    assert page["items"][0] == {"id": made[1], "values": ["Aarhus", "Denmark", "2026-06-15T12:00:00Z"]}
    assert (page["complete"], page["sorts"], page["previous"], page["told"]) == (True, None, None, "every lead")
    second = admin.do("POST", "leads/search", {**body, "cursor": page["next"]})
    assert [each["id"] for each in page["items"] + second["items"]] == [made[1], made[0], made[2], made[3]]
    assert second["next"] is None
    again = admin.do("POST", "leads/search", {**body, "cursor": second["previous"]})
    assert again["items"] == page["items"]
    assert found(admin, filter=LUND) == [made[0]]
    assert admin.do("POST", "leads/count", {"filter": LUND}) == {"leads": 1, "exact": True}


def test_everybody_finds_what_they_see(api: Api) -> None:
    desk = Desk(engine=api.desk.engine)
    (danish,) = desk.leads({})
    (gone,) = desk.leads({"deactivated_at": NOON})
    assert found(api.user("berlin-1")) == []
    assert found(api.user("copenhagen-1")) == [danish]
    assert found(api.user("lead-denmark")) == found(api.user("admin")) == [gone, danish]
    assert api.user("copenhagen-1").do("POST", "leads/count", {}) == {"leads": 1, "exact": True}
    assert api.key(Permission.LEAD_ADMIN).refused("POST", "leads/search", {}) == (403, "key_without_user")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"filter": {"field": "shoe_size", "op": "is", "value": 44}}, "filter_unusable"),
        ({"filter": {"field": "owner", "op": "is", "value": "team:nobody"}}, "filter_unusable"),
        ({"columns": ["shoe_size"]}, "column_unknown"),
        ({"sort": "shoe_size"}, "sort_unknown"),
        ({"cursor": "x"}, "cursor_unusable"),
        ({"limit": 0}, "request_unusable"),
        ({"sort": "city"}, "sort_not_offered"),
    ],
)
def test_what_cannot_be_listed_says_why(
    api: Api, body: dict[str, Any], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Desk(engine=api.desk.engine).leads({}, {})
    monkeypatch.setattr(scope, "FEW", 1)
    assert api.user("admin").refused("POST", "leads/search", body) == (422, code)
    if "limit" not in body and "cursor" not in body:
        assert api.user("admin").refused("POST", "leads/export", body) == (422, code)


def test_fields_say_how_they_are_asked_for(api: Api) -> None:
    told = api.user("berlin-1").get("lead-fields")
    by_name = {each["name"]: each for each in told["columns"]}
    assert by_name["city"]["operators"][0] == "is"
    assert (by_name["city"]["sortable"], by_name["id"]["sortable"], by_name["locked"]["sortable"]) == (
        "few", "always", "never",
    )  # fmt: skip
    assert (by_name["pool_name"]["operators"], by_name["pool_name"]["shown"]) == ([], True)
    reach = by_name["callable_by"]
    assert (reach["operators"], reach["shown"], reach["sortable"]) == (["is", "is_not", "in"], False, "never")
    shown = [each["name"] for each in told["columns"] if each["shown"]]
    found = api.user("admin").do("POST", "leads/search", {"columns": shown})
    assert found["columns"] == shown
    assert by_name["extra.supplier"]["title"]
    assert set(told["sets"]["Lead Pool Data"]) <= by_name.keys()


def test_an_export_is_a_download_that_the_audit_knows(api: Api) -> None:
    made = Desk(engine=api.desk.engine).leads({"city": "Lund"}, {"city": "Aarhus"})
    admin = api.user("admin")
    answer = admin.ask("POST", "leads/export?why=audit", {"columns": ["id", "city"], "sort": "-id"})
    assert answer.status == 200
    assert answer.headers["content-disposition"] == 'attachment; filename="leads.csv"'
    lines = answer.body.decode("utf-8-sig").splitlines()
    assert lines == ["Lead,City", f"{made[1]},Aarhus", f"{made[0]},Lund"]
    end, begun = admin.get("audit?subject=leads")["items"]
    assert (end["action"], end["actor"], end["why"]) == ("leads_exported", "user:admin", "audit")
    assert (end["after"]["leads"], begun["action"]) == (2, "lead_export_begun")
    for form, begin in (("xlsx", b"PK"), ("parquet", b"PAR1")):
        assert admin.ask("POST", "leads/export", {"format": form, "filter": LUND}).body.startswith(begin)
    assert api.user("berlin-1").refused("POST", "leads/export", {}) == (403, "permission_missing")


def test_an_alternative_number_that_is_listed_is_told_nowhere(api: Api) -> None:
    desk = Desk(engine=api.desk.engine)
    (number,) = desk.leads({})
    admin, agent = api.user("admin"), api.user("copenhagen-1")
    other, kept = "+4526141599", "+4526141598"
    for phone in (kept, other):
        admin.do("PATCH", f"leads/{number}", {"fields": {"alternative_phone": phone}})
    shown = {"columns": ["id", "alternative_phone"]}
    before = agent.do("POST", "leads/search", shown)["items"]
    assert before == [{"id": number, "values": [number, other]}]
    admin.do("POST", "do-not-call", {"numbers": [other], "reason": "asked"})
    for client in (agent, admin):
        assert client.get(f"leads/{number}")["withheld"] == ["alternative_phone"]
        assert client.do("POST", "leads/search", shown)["items"] == [{"id": number, "values": [number, None]}]
        history = client.get(f"leads/{number}/history")["items"]
        told = [(each["before"], each["after"]) for each in history if each["field"] == "alternative_phone"]
        assert told == [(None, kept), (kept, None)]
        for page in (f"/leads/{number}", "/leads?columns=id,alternative_phone"):
            assert other.encode() not in client.ask("GET", page).body
    assert other.encode() not in admin.ask("GET", f"/leads/{number}/edit").body
    assert other.encode() not in admin.ask("POST", "leads/export", {**shown, "format": "csv"}).body
    preview = {"project": "ENERGY", "filter": {"field": "id", "op": "is", "value": number}}
    (example,) = admin.do("POST", "segments/preview", preview)["examples"]
    assert (example["id"], example["fields"]["alternative_phone"]) == (number, None)


VIEW = {"name": "Lund", "filter": LUND, "columns": ["id", "city"], "sort": "-id"}


def test_a_view_is_saved_changed_and_taken_away_by_its_owner(api: Api) -> None:
    leader = api.user("lead-denmark")
    answer = leader.ask("POST", "views", VIEW)
    view = answer.json()
    assert (answer.status, answer.headers["etag"], view["owner"], view["mine"]) == (201, '"1"', "lead-denmark", True)
    assert (view["filter"], view["told"], view["shared"]) == (LUND, "City is lund", "nobody")
    path = f"views/{view['id']}"
    assert leader.refused("POST", "views", VIEW) == (409, "exists")
    changed = leader.do("PATCH", path, {"sort": None, "shared": "everybody"}, if_match='"1"')
    assert (changed["sort"], changed["shared"], changed["version"]) == ("-uploaded_at", "everybody", 2)
    assert (changed["filter"], changed["columns"]) == (LUND, ["id", "city"])
    assert leader.refused("PATCH", path, {"name": "x"}, if_match='"1"') == (412, "changed_since")
    other = api.user("berlin-1")
    assert other.get(path)["mine"] is False
    assert other.refused("PATCH", path, {"name": "x"}) == (403, "view_of_another")
    assert other.refused("DELETE", path) == (403, "view_of_another")
    leader.do("DELETE", path)
    assert leader.refused("GET", path) == (404, "view_unknown")
    assert leader.refused("POST", "views", {**VIEW, "sort": "shoe_size"}) == (422, "sort_unknown")
    assert leader.refused("POST", "views", {**VIEW, "shared": "team:x"}) == (422, "owner_unknown")
    actions = [each["action"] for each in api.user("admin").get(f"audit?subject=view:{view['id']}")["items"]]
    assert actions == ["view_removed", "view_edited", "view_saved"]


def test_the_audit_of_a_view_names_nobody(api: Api) -> None:
    admin = api.user("admin")
    view = admin.do("POST", "views", {**VIEW, "filter": {"field": "email", "op": "is", "value": "anna@example.com"}})
    admin.do("PATCH", f"views/{view['id']}", {"filter": {"field": "status", "op": "is", "value": "open"}})
    admin.do("PATCH", f"views/{view['id']}", {"filter": {"field": "phone", "op": "is", "value": "+4526141516"}})
    admin.do("DELETE", f"views/{view['id']}")
    told = admin.get(f"audit?subject=view:{view['id']}")["items"]
    assert not any(word in str(told) for word in ("anna@example.com", "4526141516"))
    assert told[1]["before"]["filter"] == {"field": "status", "op": "is", "value": "open"}


def test_views_are_seen_starred_and_copied_by_those_they_are_shared_with(api: Api) -> None:
    leader, agent, german = (api.user(login) for login in ("lead-denmark", "copenhagen-1", "berlin-1"))
    mine, danish, all_of_us = (
        leader.do("POST", "views", {**VIEW, "name": name, "shared": shared})["id"]
        for name, shared in (("a", "nobody"), ("b", "team:denmark"), ("c", "everybody"))
    )

    def names(client: Client) -> list[tuple[str, bool]]:
        return [(each["name"], each["starred"]) for each in client.get("views")]

    assert names(leader) == [("a", False), ("b", False), ("c", False)]
    assert names(agent) == [("b", False), ("c", False)]
    assert names(german) == [("c", False)]
    assert german.refused("GET", f"views/{danish}") == (404, "view_unknown")
    assert german.refused("POST", f"views/{mine}/copy", {}) == (404, "view_unknown")
    assert agent.do("PUT", f"views/{all_of_us}/star")["starred"]
    agent.do("PUT", f"views/{all_of_us}/star")
    assert names(agent) == [("c", True), ("b", False)]
    assert names(leader)[2] == ("c", False)
    copy = agent.do("POST", f"views/{danish}/copy", {})
    assert (copy["name"], copy["mine"], copy["shared"]) == ("b (copy)", True, "nobody")
    assert agent.refused("POST", f"views/{danish}/copy", {}) == (409, "exists")
    assert agent.do("DELETE", f"views/{all_of_us}/star")["starred"] is False
    leader.do("DELETE", f"views/{all_of_us}")
    assert names(german) == []


POOLS_VIEW = {
    "kind": "pools",
    "name": "Lund",
    "filter": {"state": "Active", "since": "2026-06-01", "name": ""},
    "columns": ["kpi:success_rate", "total", "state", "kpi:count:busy"],
    "sort": "name",
}


def test_lists_of_pools_have_views_of_their_own(api: Api) -> None:
    leader, agent = api.user("lead-denmark"), api.user("copenhagen-1")
    leader.do("POST", "views", VIEW)
    view = leader.do("POST", "views", {**POOLS_VIEW, "shared": "everybody"})
    assert (view["kind"], view["filter"]) == ("pools", {"state": "Active", "since": "2026-06-01"})
    assert view["told"] == "state is Active, uploaded from 2026-06-01"
    assert view["columns"] == ["name", "state", "total", "kpi:success_rate", "kpi:count:busy"]
    assert [each["kind"] for each in leader.get("views")] == ["leads"]
    assert [each["id"] for each in leader.get("views?kind=pools")] == [view["id"]]
    assert leader.refused("POST", "views", POOLS_VIEW) == (409, "exists")
    path = f"views/{view['id']}"
    changed = leader.do("PATCH", path, {"filter": None, "columns": None, "sort": None}, if_match='"1"')
    assert (changed["told"], changed["sort"], changed["columns"][-1]) == ("every pool", "-uploaded", "uploaded")
    assert leader.do("PUT", f"{path}/star")["starred"]
    copy = leader.do("POST", f"{path}/copy", {})
    assert (copy["kind"], copy["name"], copy["shared"]) == ("pools", "Lund (copy)", "nobody")
    assert agent.refused("GET", "views?kind=pools") == (403, "permission_missing")
    assert agent.refused("POST", "views", POOLS_VIEW) == (403, "permission_missing")
    assert agent.refused("GET", path) == (404, "view_unknown")
    leader.do("DELETE", path)
    assert [each["id"] for each in leader.get("views?kind=pools")] == [copy["id"]]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"filter": {"city": "Lund"}}, "filter_unusable"),
        ({"filter": {"name": 7}}, "filter_unusable"),
        ({"filter": {"until": "9999-12-31"}}, "value_unusable"),
        ({"columns": ["city"]}, "column_unknown"),
        ({"columns": ["kpi:nothing"]}, "kpi_unknown"),
        ({"columns": [f"kpi:{kind}:{code}" for kind in ("count", "share", "first")
                      for code in ("busy", "success", "no_answer", "unprocessed", "invalid", "duplicate", "deceased")]},
         "kpi_unknown"),
        ({"sort": "total"}, "sort_unknown"),
        ({"name": " "}, "name_unusable"),
        ({"kind": "segments"}, "request_unusable"),
    ],
)  # fmt: skip
def test_what_no_list_of_pools_has_is_refused(api: Api, wrong: dict[str, Any], code: str) -> None:
    assert api.user("admin").refused("POST", "views", {**POOLS_VIEW, **wrong}) == (422, code)
