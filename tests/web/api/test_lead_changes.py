"""Changing leads over the API: what each verb does, and who may do it."""

from __future__ import annotations

from typing import Any

from ingestd.access.permissions import Permission
from ingestd.model import PoolState
from ingestd.store import tables
from ingestd.store.engine import writing
from ingestd.store.ledger import now
from tests.leads.conftest import NOON, Desk
from tests.web.serving import Answer, Api, Client

AGENT = "copenhagen-1"


def desk_of(api: Api) -> Desk:
    return Desk(engine=api.desk.engine)


def type_in(client: Client, phone: str = "26141516", **facts: Any) -> Answer:
    return client.ask("POST", "leads", {"campaign": "DK-ENERGY", "fields": {"phone": phone}, **facts})


def test_a_lead_is_typed_in_for_the_top_team_into_a_pool_that_is_shared(api: Api) -> None:
    agent = api.user(AGENT)
    answer = type_in(agent, fields={"phone": "26141516", "first_name": "Anna", "priority": 7})
    assert answer.status == 201, answer.body
    made = answer.json()
    assert made["outcome"] == "inserted"
    assert answer.headers["location"] == f"/api/v1/leads/{made['lead']['id']}"
    assert (made["lead"]["owner"], made["lead"]["created_by"]) == ("team:company", f"user:{AGENT}")
    assert (made["lead"]["fields"]["phone"], made["lead"]["fields"]["priority"]) == ("+4526141516", 7)
    again = type_in(agent, "26141517").json()
    assert again["lead"]["pool_id"] == made["lead"]["pool_id"]
    assert type_in(api.user("aarhus-1"), "26141518").json()["lead"]["pool_id"] != made["lead"]["pool_id"]


def test_what_is_wrong_with_a_typed_lead_is_told_field_by_field(api: Api) -> None:
    admin = api.user("admin")
    answer = type_in(admin, fields={"phone": "12", "email": "nobody"})
    assert (answer.status, answer.json()["code"]) == (422, "lead_refused")
    assert [each["field"] for each in answer.json()["errors"]] == ["body.fields.phone", "body.fields.email"]
    assert type_in(admin).status == 201
    assert type_in(admin).json()["code"] == "lead_refused"  # a duplicate
    nothing = {"fields": {"phone": "26141599", "shoe_size": "44"}}
    assert admin.refused("POST", "leads", {"campaign": "DK-ENERGY", **nothing}) == (422, "field_unknown")
    assert admin.refused("POST", "leads", {"campaign": "NONE", "fields": {}}) == (422, "campaign_unknown")
    assert type_in(admin, owner="team:nobody").json()["code"] == "owner_unknown"


def test_agents_type_for_owners_in_their_reach_only(api: Api) -> None:
    agent = api.user(AGENT)
    for theirs in ({"owner": "team:aarhus"}, {"fields": {"phone": "26141516", "ownership_code": "DK-AAR"}}):
        answer = type_in(agent, **theirs)
        assert (answer.status, answer.json().get("permission")) == (403, "lead_admin"), answer.body
    assert type_in(agent, owner="team:copenhagen").json()["lead"]["owner"] == "team:copenhagen"
    assert type_in(api.user("lead-denmark"), "26141517", owner="team:aarhus").status == 201


def test_a_number_that_is_there_changes_nobody_elses_lead(api: Api) -> None:
    desk = desk_of(api)
    desk.set("campaigns", "code", "DK-ENERGY", on_duplicate="update")
    assert type_in(api.user("aarhus-1"), owner="team:aarhus").status == 201
    wish = {"campaign": "DK-ENERGY", "fields": {"phone": "26141516", "city": "Lund"}}
    assert api.user(AGENT).refused("POST", "leads", wish) == (409, "duplicate_elsewhere")
    mine = api.user("aarhus-1").ask("POST", "leads", wish)
    assert (mine.status, mine.json()["outcome"], mine.json()["lead"]["fields"]["city"]) == (200, "updated", "Lund")


def test_an_edit_is_refused_when_somebody_was_quicker(api: Api) -> None:
    (number,) = desk_of(api).leads({})
    agent = api.user(AGENT)
    first = agent.ask("PATCH", f"leads/{number}?why=typo", {"fields": {"city": "Lund"}}, If_Match='"0"')
    assert (first.status, first.headers["etag"]) == (200, '"1"')
    wish = {"fields": {"city": "Kiel", "email": None}}
    assert agent.refused("PATCH", f"leads/{number}", wish, If_Match='"0"') == (412, "version_conflict")
    assert agent.refused("PATCH", f"leads/{number}", wish, If_Match="x") == (412, "version_conflict")
    assert agent.do("PATCH", f"leads/{number}", wish, If_Match='"1"')["fields"]["city"] == "Kiel"
    assert agent.refused("PATCH", f"leads/{number}", {"fields": {"phone": "1"}}) == (422, "lead_refused")
    told = agent.get(f"leads/{number}/history")["items"]
    assert [(each["by"], each["field"], each["after"], each["why"]) for each in told] == [
        (f"user:{AGENT}", "city", "Lund", "typo"),
        (f"user:{AGENT}", "city", "Kiel", ""),
    ]


def test_what_may_not_be_seen_is_not_there_and_what_is_not_ones_own_is_denied(api: Api) -> None:
    desk = desk_of(api)
    theirs, called, gone = desk.leads(
        {}, {"processed_by_id": desk.owner(f"user:{AGENT}")}, {"deactivated_at": NOON}, owner="team:aarhus"
    )
    agent, verbs = api.user(AGENT), {"status": {"status": "success"}, "lock": None, "unlock": None}
    for verb, body in verbs.items():
        for hidden in (theirs, gone, 999):
            assert agent.refused("POST", f"leads/{hidden}/{verb}", body) == (404, "lead_unknown")
        denied = agent.ask("POST", f"leads/{called}/{verb}", body)  # seen, because they called it
        assert (denied.status, denied.json()["permission"]) == (403, "lead_admin")
    assert agent.refused("GET", f"leads/{theirs}/history") == (404, "lead_unknown")
    assert agent.refused("PATCH", f"leads/{theirs}", {"fields": {}}) == (404, "lead_unknown")
    leader = api.user("lead-denmark")
    assert leader.do("POST", f"leads/{theirs}/status", {"status": "success"})["status"] == "success"
    assert api.user("berlin-1").refused("POST", f"leads/{theirs}/lock") == (404, "lead_unknown")


def test_extended_insights_show_and_change_nothing(api: Api) -> None:
    (number,) = desk_of(api).leads({}, owner="team:berlin")
    admin, leader = api.user("admin"), api.user("lead-denmark")
    admin.do("PUT", "users/lead-denmark/permissions/extended_insights", {"granted": True})
    assert leader.get(f"leads/{number}")["owner"] == "team:berlin"
    denied = leader.ask("POST", f"leads/{number}/lock")
    assert (denied.status, denied.json()["permission"]) == (403, "extended_data")
    admin.do("PUT", "users/lead-denmark/permissions/extended_data", {"granted": True})
    assert leader.do("POST", f"leads/{number}/lock")["locked_by"] == "user:lead-denmark"


def test_a_campaign_for_others_is_not_ones_own(api: Api) -> None:
    desk = desk_of(api)
    (number,) = desk.leads({})
    with writing(desk.engine) as connection:
        only = {"campaign_id": desk.campaign(), "owner_id": desk.owner("team:aarhus")}
        connection.execute(tables.metadata.tables["campaign_access"].insert().values(only))
    agent = api.user(AGENT)
    assert agent.refused("POST", f"leads/{number}/lock") == (403, "permission_missing")
    assert type_in(agent).status == 403
    assert api.user("aarhus-1").do("POST", f"leads/{number}/lock")["locked_by"] == "user:aarhus-1"


def test_a_call_ends_for_who_holds_the_lead_or_may_call_it(api: Api) -> None:
    desk = desk_of(api)
    (number,) = desk.leads({})
    agent, ended = api.user(AGENT), {"status": "busy", "call": True}
    assert agent.do("POST", f"leads/{number}/status", ended)["attempts"] == 1
    desk.set("pools", "id", desk.lead(number).pool_id, state=PoolState.INACTIVE)
    refused = agent.ask("POST", f"leads/{number}/status", ended)
    assert (refused.status, refused.json()["code"]) == (409, "not_callable")
    assert refused.json()["facts"] == {"rules": ["pool_active"]}
    assert agent.do("POST", f"leads/{number}/status", {"status": "no_answer"})["attempts"] == 1
    agent.do("POST", f"leads/{number}/lock")
    assert agent.do("POST", f"leads/{number}/status", ended)["attempts"] == 2


def test_no_call_of_a_closed_lead_counts(api: Api) -> None:
    desk = desk_of(api)
    (number,) = desk.leads({})
    agent, ended = api.user(AGENT), {"status": "not_interested", "call": True}
    assert agent.do("POST", f"leads/{number}/status", ended)["attempts"] == 1
    assert agent.refused("POST", f"leads/{number}/status", ended) == (409, "not_callable")
    agent.do("POST", f"leads/{number}/lock")
    assert agent.refused("POST", f"leads/{number}/status", ended) == (409, "not_callable")
    assert agent.refused("POST", f"dial/{number}/result", {"status": "success"}) == (409, "not_callable")
    assert desk.lead(number).attempts == 1
    assert agent.do("POST", f"leads/{number}/status", {"status": "success"})["status"] == "success"


def test_private_takes_the_owner_and_releasing_gives_back(api: Api) -> None:
    (number,) = desk_of(api).leads({})
    agent = api.user(AGENT)
    wish = {"status": "manual_redial_private", "call": True}
    assert agent.refused("POST", f"leads/{number}/status", wish) == (422, "value_unusable")
    past = {**wish, "scheduled_at": "2020-01-01T10:00:00Z"}
    assert agent.refused("POST", f"leads/{number}/status", past) == (422, "value_unusable")
    private = agent.do("POST", f"leads/{number}/status", {**wish, "scheduled_at": now().isoformat()})
    assert (private["owner"], private["original_owner"]) == (f"user:{AGENT}", "team:denmark")
    assert (private["attempts"], private["processed_by"]) == (1, f"user:{AGENT}")
    assert api.user("copenhagen-2").refused("POST", f"leads/{number}/lock") == (404, "lead_unknown")
    back = agent.do("POST", f"leads/{number}/status", {"status": "automatic_redial"})
    assert (back["owner"], back["attempts"]) == ("team:denmark", 1)


def test_a_status_that_may_not_follow_is_told_those_that_may(api: Api) -> None:
    (number,) = desk_of(api).leads({})
    agent = api.user(AGENT)
    answer = agent.ask("POST", f"leads/{number}/status", {"status": "unprocessed"})
    assert (answer.status, answer.json()["code"]) == (409, "status_not_allowed")
    agent.do("POST", f"leads/{number}/status", {"status": "success"})
    known = {each["code"]: each for each in agent.get("statuses")}
    assert len(known) == 36
    told = agent.ask("POST", f"leads/{number}/status", {"status": "expired"}).json()
    by_people = {code for code in known["success"]["may_become"] if known[code]["set_by"] == "anyone"}
    assert told["facts"] == {"status": "success", "may_become": sorted(by_people)}
    assert agent.refused("POST", f"leads/{number}/status", {"status": "nothing"}) == (422, "status_unknown")
    soon = {"status": "automatic_redial", "scheduled_at": "2026-06-15T12:00:00"}
    assert agent.refused("POST", f"leads/{number}/status", soon) == (422, "request_unusable")


def test_a_lock_is_for_one_and_may_be_longer_or_broken_by_lead_admins(api: Api) -> None:
    (number,) = desk_of(api).leads({})
    agent, other, leader = api.user(AGENT), api.user("copenhagen-2"), api.user("lead-denmark")
    first = agent.do("POST", f"leads/{number}/lock", {"seconds": 60})
    longer = agent.do("POST", f"leads/{number}/lock", {"seconds": 600})
    assert longer["locked_until"] > first["locked_until"]
    assert other.refused("POST", f"leads/{number}/lock") == (409, "lead_locked")
    assert other.refused("PATCH", f"leads/{number}", {"fields": {"city": "Lund"}}) == (409, "lead_locked")
    assert other.refused("POST", f"leads/{number}/unlock", {"force": True}) == (403, "permission_missing")
    assert leader.refused("POST", f"leads/{number}/unlock") == (409, "lead_locked")
    assert leader.do("POST", f"leads/{number}/unlock", {"force": True})["locked_by"] is None
    assert agent.refused("POST", f"leads/{number}/lock", {"seconds": 10**6}) == (422, "request_unusable")


def test_leaders_take_leads_out_of_use_and_back(api: Api) -> None:
    (number,) = desk_of(api).leads({})
    agent, leader = api.user(AGENT), api.user("lead-denmark")
    assert agent.refused("POST", f"leads/{number}/deactivate") == (403, "permission_missing")
    assert leader.do("POST", f"leads/{number}/deactivate?why=wrong")["deactivated_at"]
    assert agent.refused("GET", f"leads/{number}") == (404, "lead_unknown")
    assert leader.do("POST", f"leads/{number}/activate")["deactivated_at"] is None
    kinds = [(each["kind"], each["why"]) for each in leader.get(f"leads/{number}/history")["items"]]
    assert kinds == [("deactivated", "wrong"), ("activated", "")]


def test_anonymising_proves_what_is_gone_and_says_what_is_left(api: Api) -> None:
    admin = api.user("admin")
    first = type_in(admin, fields={"phone": "26141516", "first_name": "Anna"}).json()["lead"]["id"]
    other = admin.do("POST", "leads", {"campaign": "DE-ENERGY", "fields": {"phone": "+4526141516"}})["lead"]["id"]
    assert api.user("lead-denmark").refused("POST", f"leads/{first}/anonymise") == (403, "permission_missing")
    done = admin.do("POST", f"leads/{first}/anonymise")
    assert (done["lead"]["status"], done["lead"]["fields"]["first_name"]) == ("anonymised", None)
    assert done["left"] == [f"lead {other} has the same number"]
    assert all(each["after"] != "Anna" for each in admin.get(f"leads/{first}/history")["items"])


def test_many_leads_at_once_with_both_sides(api: Api) -> None:
    desk = desk_of(api)
    plain, held, gone = desk.leads(
        {}, {"locked_by_id": desk.owner("user:aarhus-1"), "locked_until": api.desk.clock().replace(year=2099)}, {}
    )
    (foreign,) = desk.leads({}, owner="team:berlin")
    leader, every = api.user("lead-denmark"), [gone, plain, held, foreign, 999, plain]
    done = leader.do("POST", "leads/actions", {"action": "deactivate", "ids": every, "why": "old"})
    assert done["done"] == [plain, gone]
    assert [(each["lead"], each["code"]) for each in done["refused"]] == [
        (held, "lead_locked"),
        (foreign, "lead_unknown"),
        (999, "lead_unknown"),
    ]
    assert leader.do("POST", "leads/actions", {"action": "activate", "ids": every})["done"] == [plain, gone]
    kinds = [(each["kind"], each["why"]) for each in leader.get(f"leads/{plain}/history")["items"]]
    assert kinds == [("deactivated", "old"), ("activated", "")]
    shown = api.user(AGENT).do("POST", "dial/next", {"campaign": "DK-ENERGY"})["lead"]
    assert (shown["id"], shown["version"]) == (plain, 3)  # it is in the order of dialling again
    api.user(AGENT).do("POST", f"dial/{plain}/release")
    wish = {"action": "unlock", "ids": [held], "force": True}
    assert api.user(AGENT).refused("POST", "leads/actions", wish) == (403, "permission_missing")
    assert leader.do("POST", "leads/actions", wish)["done"] == [held]
    locked = api.user(AGENT).do("POST", "leads/actions", {"action": "lock", "ids": every, "seconds": 60})
    assert locked["done"] == [plain, held, gone]
    told = api.user(AGENT).do("POST", "leads/actions", {"action": "status", "ids": every, "status": "success"})
    assert told["done"] == [plain, held, gone]
    wrong = {"action": "status", "ids": [plain]}
    assert leader.refused("POST", "leads/actions", wrong) == (422, "request_unusable")
    assert leader.refused("POST", "leads/actions", {**wrong, "status": "nothing"}) == (422, "status_unknown")
    too_many = {"action": "lock", "ids": list(range(1, 10_002))}
    assert leader.refused("POST", "leads/actions", too_many) == (422, "request_unusable")


def test_a_key_of_a_user_does_no_more_than_it_may(api: Api) -> None:
    desk = desk_of(api)
    (number,) = desk.leads({}, owner="team:aarhus")
    key = api.key(Permission.DIAL, user_id=desk.owner("user:lead-denmark"))
    assert key.refused("POST", f"leads/{number}/lock") == (403, "permission_missing")
    assert api.key(Permission.LEAD_ADMIN).refused("POST", f"leads/{number}/lock") == (403, "key_without_user")
