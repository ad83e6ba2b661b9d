"""Segments over the API: made, previewed, ordered, copied; and who is told what."""

from __future__ import annotations

from typing import Any

from ingestd.leads import placing
from tests.leads.conftest import Desk
from tests.web.serving import Api, Client

LUND = {"field": "city", "op": "is", "value": "Lund"}


def made(admin: Client, name: str = "By city", **facts: Any) -> int:
    number: int = admin.do("POST", "segment-groups", {"project": "ENERGY", "name": name, **facts})["id"]
    return number


def segment(admin: Client, group: int, name: str, tree: Any) -> int:
    number: int = admin.do("POST", "segments", {"group": group, "name": name, "filter": tree})["id"]
    return number


def test_segments_are_made_edited_and_followed_by_their_leads(api: Api) -> None:
    admin, desk = api.user("admin"), Desk(engine=api.desk.engine)
    lund, kiel = desk.leads({"city": "Lund"}, {"city": "Kiel"})
    group = made(admin)
    first = admin.ask("POST", "segments", {"group": group, "name": "Lund", "filter": LUND})
    assert (first.status, first.headers["etag"]) == (201, '"1"')
    assert first.json()["told"] == "City is Lund"
    rest = segment(admin, group, "rest", {})
    waiting = admin.get(f"segment-groups/{group}")
    assert (waiting["computed"], waiting["pending"]) == (0, None)
    placing.work(api.desk.engine)
    done = admin.get(f"segment-groups/{group}")
    assert (done["computed"], done["pending"], [each["name"] for each in done["segments"]]) == (2, 0, ["Lund", "rest"])
    assert [desk.lead(number).segment_id for number in (lund, kiel)] == [first.json()["id"], rest]
    path = f"segments/{rest}"
    assert admin.refused("PATCH", path, {"name": "others"}, if_match='"7"') == (412, "changed_since")
    assert admin.do("PATCH", path, {"name": "others", "active": False}, if_match='"1"')["version"] == 2
    placing.work(api.desk.engine)
    assert desk.lead(kiel).segment_id is None
    assert admin.do("DELETE", path, if_match='"2"') is None
    assert admin.refused("GET", path) == (404, "segment_unknown")
    (told,) = [each for each in admin.get("audit?subject=segment:1")["items"] if each["action"] == "segment_added"]
    assert told["after"]["filter"] == LUND


def test_what_segments_contest_is_counted_of_the_leads_that_one_sees(api: Api) -> None:
    admin, leader, desk = api.user("admin"), api.user("lead-denmark"), Desk(engine=api.desk.engine)
    desk.leads({"city": "Lund"}, {"city": "Lund"})
    desk.leads({"city": "Lund"}, owner="team:berlin")
    group = made(admin)
    first, second = (segment(admin, group, name, LUND) for name in ("one", "two"))
    for user, leads in ((admin, 3), (leader, 2)):
        (one, two) = user.get(f"segment-groups/{group}/contested")
        assert (one["id"], one["matches"], one["taken"], one["left"]) == (first, leads, {}, leads)
        assert (two["id"], two["matches"], two["taken"], two["left"]) == (second, leads, {str(first): leads}, 0)


def test_a_filter_is_previewed_before_it_is_kept(api: Api) -> None:
    desk = Desk(engine=api.desk.engine)
    (lund, _) = desk.leads({"city": "Lund"}, {"city": "Kiel"})
    desk.leads({"city": "Lund"}, owner="team:berlin")
    admin, leader = api.user("admin"), api.user("lead-denmark")
    assert admin.do("POST", "segments/preview", {"project": "ENERGY", "filter": LUND})["count"] == 2
    found = leader.do("POST", "segments/preview", {"project": "ENERGY", "filter": LUND})
    assert (found["count"], found["exact"], found["told"]) == (1, True, "City is Lund")
    (example,) = found["examples"]
    assert (example["id"], example["owner"], example["fields"]["city"]) == (lund, "team:denmark", "Lund")
    assert admin.refused("POST", "segments/preview", {"project": "NO", "filter": {}}) == (422, "project_unknown")
    for tree in ({"field": "locked", "op": "is", "value": True}, {"field": "x"}, {"all": 3}):
        wanted = {"project": "ENERGY", "filter": tree}
        assert admin.refused("POST", "segments/preview", wanted) == (422, "filter_unusable")


def test_orders_copies_and_what_is_contested(api: Api) -> None:
    admin, desk = api.user("admin"), Desk(engine=api.desk.engine)
    desk.leads({"city": "Lund"}, {"city": "Lund"}, {})
    group, other = made(admin), made(admin, "others", active=False)
    lund, rest = segment(admin, group, "Lund", LUND), segment(admin, group, "rest", {})
    assert admin.get(f"segment-groups/{group}/contested") == [
        {"id": lund, "matches": 2, "taken": {}, "left": 2, "exact": True},
        {"id": rest, "matches": 3, "taken": {str(lund): 2}, "left": 1, "exact": True},
    ]
    turned = admin.do("PUT", f"segment-groups/{group}/order", {"segments": [rest, lund]}, if_match='"1"')
    assert [each["id"] for each in turned["segments"]] == [rest, lund]
    assert turned["version"] == 2
    lacking = admin.refused("PUT", f"segment-groups/{group}/order", {"segments": [rest]})
    assert lacking == (409, "order_incomplete")
    ordered = admin.do("PUT", "segment-groups/order", {"project": "ENERGY", "groups": [other, group]})
    assert [each["id"] for each in ordered] == [other, group]
    copied = admin.do("POST", f"segments/{rest}/copy", {"name": "once more"})
    names = [each["name"] for each in admin.get("segments?project=ENERGY")]
    assert names == ["rest", copied["name"], "Lund"]
    twin = admin.do("POST", f"segment-groups/{group}/copy", {"name": "a twin"})
    assert (twin["active"], len(twin["segments"])) == (False, 3)
    assert admin.refused("POST", f"segment-groups/{group}/copy", {"name": "a twin"}) == (409, "exists")
    assert admin.do("PATCH", f"segment-groups/{twin['id']}", {"active": True})["active"] is True
    admin.do("DELETE", f"segment-groups/{twin['id']}")
    assert admin.refused("GET", f"segment-groups/{twin['id']}") == (404, "segment_group_unknown")


def test_who_dials_is_told_the_names_of_what_can_be_dialled_in(api: Api) -> None:
    admin, agent = api.user("admin"), api.user("copenhagen-1")
    group, off = made(admin), made(admin, "off", active=False)
    lund, hidden = segment(admin, group, "Lund", LUND), segment(admin, off, "hidden", {})
    (seen,) = agent.get("segment-groups")
    assert (seen["id"], seen["created_by"]) == (group, None)
    (told,) = agent.get("segments")
    assert (told["id"], told["name"], told["filter"], told["told"]) == (lund, "Lund", None, None)
    assert agent.get(f"segments/{lund}")["filter"] is None
    assert agent.refused("GET", f"segments/{hidden}") == (404, "segment_unknown")
    assert agent.refused("GET", f"segment-groups/{off}") == (404, "segment_group_unknown")
    assert agent.refused("POST", "segments/preview", {"project": "ENERGY", "filter": {}}) == (403, "permission_missing")
