"""Keys over the API."""

from __future__ import annotations

from datetime import timedelta

from ingestd.access import keys
from ingestd.access.permissions import Permission
from ingestd.store.engine import reading
from tests.running import until
from tests.web.serving import Api, Client


def program(api: Api, secret: str) -> Client:
    return Client(port=api.port, headers={"Authorization": f"Bearer {secret}"})


def test_a_key_is_made_used_seen_and_ended(api: Api) -> None:
    leader = api.user("lead-denmark")
    made = leader.do("POST", "keys", {"name": "import", "permissions": ["lead_pools"], "days": 1})
    user = program(api, made["key"])
    me = user.get("me")
    assert (me["login"], me["permissions"], me["key"]) == ("lead-denmark", ["lead_pools"], made["id"])

    def last_used() -> str | None:
        (listed,) = leader.get("keys")
        assert "key" not in listed
        return listed["last_used_at"]  # type: ignore[no-any-return]

    assert until(last_used, "the use to be written").endswith(":00Z")
    leader.do("DELETE", f"keys/{made['id']}")
    assert user.refused("GET", "me") == (401, "key_spent")
    assert leader.refused("DELETE", f"keys/{made['id']}") == (409, "key_revoked")


def test_a_use_is_written_once_a_minute(api: Api) -> None:
    user = api.key(Permission.LEAD_POOLS)
    submitted: list[object] = []
    whole = api.desk.writing_uses.submit
    api.desk.writing_uses.submit = lambda *words: submitted.append(words) or whole(*words)  # type: ignore[assignment, func-returns-value]
    for _ in range(3):
        user.get("queue")
    assert len(submitted) == 1
    at = api.desk.clock()
    api.desk.clock = lambda: at + timedelta(seconds=61)
    user.get("queue")
    assert len(submitted) == 2


def test_a_key_can_do_no_more_than_who_made_it(api: Api) -> None:
    leader = api.user("lead-denmark")
    beyond = {"name": "k", "permissions": ["manage_organisation"]}
    assert leader.refused("POST", "keys", beyond) == (403, "permission_beyond_yours")
    house = {"name": "k", "permissions": ["lead_pools"], "house": True}
    assert leader.refused("POST", "keys", house) == (403, "permission_missing")
    made = api.user("admin").do("POST", "keys", house)
    assert made["user"] is None
    assert program(api, made["key"]).get("me")["login"] is None


def test_a_key_is_refused_while_its_user_is_not_active(api: Api) -> None:
    admin, leader = api.user("admin"), api.user("lead-denmark")
    user = program(api, leader.do("POST", "keys", {"name": "import", "permissions": ["lead_pools"]})["key"])
    admin.do("PATCH", "users/lead-denmark", {"active": False})
    for path in ("me", "keys", "statuses", "pools"):
        assert user.refused("GET", path) == (401, "key_spent")
    admin.do("PATCH", "users/lead-denmark", {"active": True})
    assert user.get("me")["login"] == "lead-denmark"


def test_keys_do_not_make_keys(api: Api) -> None:
    user = api.key(*Permission)
    assert user.refused("POST", "keys", {"name": "k", "permissions": ["dial"]}) == (403, "not_by_key")
    assert user.refused("POST", "sources/nordlead/keys", {"name": "k"}) == (403, "not_by_key")
    assert user.refused("PUT", "me/password", {"old": "x", "new": "y" * 12}) == (403, "not_by_key")


def test_each_sees_their_own_keys(api: Api) -> None:
    leader, admin = api.user("lead-denmark"), api.user("admin")
    made = admin.do("POST", "keys", {"name": "k", "permissions": ["dial"]})
    assert leader.get("keys") == []
    assert leader.refused("DELETE", f"keys/{made['id']}") == (404, "key_unknown")
    leader.do("POST", "keys", {"name": "l", "permissions": ["dial"]})
    assert {each["name"] for each in admin.get("keys")} == {"k", "l"}


def test_who_lacks_what_a_partner_s_key_can_makes_none(api: Api) -> None:
    admin, keeper = api.user("admin"), api.user("berlin-1")
    admin.do("PUT", "users/berlin-1/permissions/manage_sources", {"granted": True})
    beyond = (403, "permission_beyond_yours")
    assert keeper.refused("POST", "sources/nordlead/keys", {"name": "k"}) == beyond
    form = {"Content_Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
    assert keeper.ask("POST", "/sources/nordlead/keys", b"label=k", **form).status == 403
    assert keeper.get("sources/nordlead/keys") == []
    admin.do("PUT", "users/berlin-1/permissions/lead_pools", {"granted": True})
    assert keeper.do("POST", "sources/nordlead/keys", {"name": "k"})["permissions"] == ["lead_pools"]


def test_a_partner_s_key_is_for_its_source_only(api: Api) -> None:
    admin = api.user("admin")
    made = admin.do("POST", "sources/nordlead/keys", {"name": "Nordlead's server", "days": 30})
    assert (made["source"], made["permissions"], made["user"]) == ("nordlead", ["lead_pools"], None)
    user = program(api, made["key"])
    assert user.get("me")["source"] == "nordlead"
    assert user.get("deliveries") == {"items": [], "next": None}
    assert user.refused("GET", "queue") == (403, "key_bound")
    assert [each["id"] for each in admin.get("sources/nordlead/keys")] == [made["id"]]
    assert admin.refused("POST", "sources/nowhere/keys", {"name": "k"}) == (404, "source_unknown")
    with reading(api.desk.engine) as connection:
        assert keys.known(connection, made["id"]).created_by == "user:admin"
