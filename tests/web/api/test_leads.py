"""Leads over the API: who sees which."""

from __future__ import annotations

from ingestd.access.permissions import Permission
from tests.leads.conftest import NOON, Desk
from tests.web.serving import Api, Client


def numbers(client: Client, query: str = "") -> list[int]:
    return [each["id"] for each in client.get(f"leads{query}")["items"]]


def test_everybody_sees_what_is_theirs_and_the_rest_is_like_unknown(api: Api) -> None:
    desk = Desk(engine=api.desk.engine)
    (danish,) = desk.leads({})
    (gone,) = desk.leads({"deactivated_at": NOON})
    berlin, copenhagen = api.user("berlin-1"), api.user("copenhagen-1")
    assert numbers(berlin) == []
    assert berlin.refused("GET", f"leads/{danish}") == (404, "lead_unknown")
    assert berlin.refused("GET", f"leads/{danish}/explain") == (404, "lead_unknown")
    assert numbers(copenhagen) == [danish]
    assert copenhagen.refused("GET", f"leads/{gone}") == (404, "lead_unknown")
    assert numbers(api.user("lead-denmark")) == numbers(api.user("admin")) == [gone, danish]


def test_a_lead_is_told_with_its_version(api: Api) -> None:
    (number,) = Desk(engine=api.desk.engine).leads({})
    answer = api.user("copenhagen-1").ask("GET", f"leads/{number}")
    told = answer.json()
    assert answer.headers["etag"] == f'"{told["version"]}"'
    assert (told["owner"], told["original_owner"]) == ("team:denmark", "team:denmark")
    assert (told["campaign"], told["status"]) == ("DK-ENERGY", "unprocessed")
    assert told["fields"]["phone"] == f"+4526{number:06d}"


def test_pages_and_filters_leave_nothing_out(api: Api) -> None:
    made = Desk(engine=api.desk.engine).leads({}, {}, {})
    admin = api.user("admin")
    first = admin.get("leads?limit=2")
    rest = admin.get(f"leads?limit=2&cursor={first['next']}")
    assert [each["id"] for each in first["items"] + rest["items"]] == made[::-1]
    assert rest["next"] is None
    assert numbers(admin, "?campaign=DK-ENERGY&owner=team:denmark&status=open&deactivated=false") == made[::-1]
    assert numbers(admin, f"?phone=%2B4526{made[1]:06d}") == [made[1]]
    assert numbers(admin, "?status=closed") == []


def test_leads_of_whom_and_what_has_left_are_listed_by_name(api: Api) -> None:
    desk = Desk(engine=api.desk.engine)
    (left,) = desk.leads({}, owner="user:aarhus-1")
    (ended,) = desk.leads({}, campaign="DK-FIBRE", owner="team:aarhus")
    desk.set("users", "login", "aarhus-1", active=False)
    desk.set("campaigns", "code", "DK-FIBRE", active=False)
    admin = api.user("admin")
    assert numbers(admin, "?owner=user:aarhus-1") == [left]
    assert numbers(admin, "?campaign=DK-FIBRE") == [ended]
    assert admin.refused("GET", "leads?owner=user:nobody") == (422, "owner_unknown")
    assert admin.refused("GET", "leads?owner=aarhus-1") == (422, "owner_unknown")
    assert admin.refused("GET", "leads?campaign=NONE") == (422, "campaign_unknown")


def test_explain_gives_each_rule_and_others_only_to_lead_admins(api: Api) -> None:
    (number,) = Desk(engine=api.desk.engine).leads({})
    agent = api.user("copenhagen-1")
    assert agent.get(f"leads/{number}/explain")["agent"] == "copenhagen-1"
    assert agent.refused("GET", f"leads/{number}/explain?agent=berlin-1") == (403, "permission_missing")
    told = api.user("lead-denmark").get(f"leads/{number}/explain?agent=berlin-1")
    assert not told["may_call"]
    assert "owner" in [rule["name"] for rule in told["calling"] if not rule["holds"]]


def test_a_key_of_the_house_sees_no_lead(api: Api) -> None:
    assert api.key(Permission.LEAD_ADMIN).refused("GET", "leads") == (403, "key_without_user")
