"""The organisation over the API: what the rules are is tested below; here is what HTTP makes of them."""

from __future__ import annotations

from ingestd.store import organisation
from ingestd.store.engine import reading
from tests.web.serving import Api


def test_teams(api: Api) -> None:
    admin = api.user("admin")
    made = admin.ask("POST", "teams?why=growth", {"key": "malmo", "name": "Malmö", "parent": "company", "code": "SE"})
    assert made.status == 201
    team = {"key": "malmo", "name": "Malmö", "parent": "company", "code": "SE", "active": True}
    assert made.json() == team == admin.get("teams/malmo")
    assert team in admin.get("teams")
    tag = made.headers["etag"]
    moved = admin.ask("PATCH", "teams/malmo", {"parent": "denmark", "code": None}, If_Match=tag)
    assert moved.json() == {**team, "parent": "denmark", "code": None}
    assert admin.refused("PATCH", "teams/malmo", {"name": "x"}, If_Match=tag) == (412, "changed_since")
    assert admin.refused("PATCH", "teams/denmark", {"parent": "malmo"}) == (409, "team_circle")
    assert admin.refused("PATCH", "teams/malmo", {"nam": "x"}) == (422, "request_unusable")
    assert admin.refused("POST", "teams", {"key": "berlin", "name": "B", "parent": "company"}) == (409, "exists")
    assert admin.ask("DELETE", "teams/malmo").headers["allow"] == "GET, PATCH"
    assert admin.do("PATCH", "teams/malmo", {"name": None, "parent": None, "active": None})["parent"] == "denmark"
    hanging = admin.ask("PATCH", "teams/denmark", {"active": False}).json()
    assert hanging["facts"]["hanging"]["teams"] == ["aarhus", "copenhagen", "malmo"]
    assert admin.refused("GET", "teams/nowhere") == (404, "team_unknown")
    first = admin.get("audit?subject=team:malmo&limit=1")
    assert (first["items"][0]["actor"], first["items"][0]["after"]["code"]) == ("user:admin", None)
    (second,) = admin.get(f"audit?subject=team:malmo&cursor={first['next']}")["items"]
    assert (second["action"], second["why"]) == ("team_added", "growth")


def test_users_and_codes(api: Api) -> None:
    admin = api.user("admin")
    body = {"login": "anna", "name": "Anna", "team": "berlin", "role": "team_leader", "code": "ANNA"}
    made = admin.do("POST", "users", body)
    assert made["permissions"] == ["dial", "lead_admin", "lead_pools"]
    assert made["has_password"] is False
    assert admin.refused("PUT", "users/anna/password", {"password": "short"}) == (422, "request_unusable")
    admin.do("PUT", "users/anna/password", {"password": "a long enough one"})
    assert admin.get("users/anna")["has_password"] is True
    signed = api.anybody().ask("POST", "session", {"login": "anna", "password": "a long enough one"})
    assert signed.json()["role"] == "team_leader"
    assert admin.get("ownership-codes/anna") == {
        "code": "ANNA", "kind": "user", "owner": "anna", "name": "Anna", "leads": 0
    }  # fmt: skip
    admin.do("PATCH", "users/anna", {"team": "hamburg", "role": "agent", "code": None})
    assert admin.refused("GET", "ownership-codes/ANNA") == (404, "code_unknown")
    assert "anna" not in {each["owner"] for each in admin.get("ownership-codes")}
    granted = admin.do("PUT", "users/anna/permissions/extended_data", {"granted": True})
    assert granted["permissions"] == ["dial", "extended_data"]
    assert admin.refused("PATCH", "users/admin", {"active": False}) == (409, "yourself")
    admin.do("PATCH", "users/anna", {"active": False})
    assert "anna" in {each["login"] for each in admin.get("users")}


def test_who_manages_the_organisation_does_not_become_an_admin(api: Api) -> None:
    admin, deputy = api.user("admin"), api.user("berlin-1")
    admin.do("PUT", "users/berlin-1/permissions/manage_organisation", {"granted": True})
    assert deputy.refused("PATCH", "users/berlin-1", {"role": "admin"}) == (403, "permission_beyond_yours")
    assert deputy.refused("PUT", "users/admin/password", {"password": "a long enough one"})[0] == 403
    deputy.do("PATCH", "users/berlin-2", {"name": "Bo"})


def test_projects_and_campaigns(api: Api) -> None:
    admin = api.user("admin")
    admin.do("POST", "projects", {"code": "WATER", "name": "Water"})
    assert admin.do("PATCH", "projects/WATER", {"name": "Clean water"}) in admin.get("projects")
    body = {"code": "SE-WATER", "name": "Swedish water", "project": "WATER", "region": "SE", "template": "energy"}
    made = admin.do("POST", "campaigns", body)
    assert (made["timezone"], made["max_attempts"], made["active"]) == ("UTC", 10, True)
    edited = admin.do("PATCH", "campaigns/SE-WATER", {"expires": "2027-01-31", "template": None, "max_attempts": 3})
    assert (edited["expires"], edited["template"], edited["max_attempts"]) == ("2027-01-31", None, 3)
    assert edited == admin.get("campaigns/SE-WATER")
    assert admin.do("PATCH", "campaigns/SE-WATER", {"expires": None})["expires"] is None
    assert admin.do("PATCH", "campaigns/SE-WATER", {"access": ["team:berlin"]})["access"] == ["team:berlin"]
    assert admin.refused("PATCH", "campaigns/SE-WATER", {"access": ["team:nowhere"]}) == (422, "owner_unknown")
    assert admin.do("PATCH", "campaigns/SE-WATER", {"access": []})["access"] == []
    assert admin.refused("PATCH", "campaigns/SE-WATER", {"project": "NOWHERE"}) == (422, "project_unknown")
    assert admin.refused("PATCH", "campaigns/SE-WATER", {"template": "nothing"}) == (422, "template_unknown")
    twin = {**body, "code": "se-water"}
    assert admin.refused("POST", "campaigns", twin) == (409, "organisation_inconsistent")
    assert admin.do("PATCH", "campaigns/SE-WATER", {"active": False})["active"] is False
    assert {each["code"] for each in admin.get("campaigns")} >= {"SE-WATER", "DK-ENERGY"}


def test_sources(api: Api) -> None:
    admin = api.user("admin")
    definition = {"title": "New feed", "campaign": "DK-FIBRE", "default_owner": "team:denmark"}
    made = admin.do("POST", "sources", {"name": "newfeed", "definition": definition})
    assert made["logins"] == []
    issued = admin.do("PUT", "sources/newfeed/logins/newfeed", {"protocols": ["sftp"]})
    assert len(issued["password"]) >= 24
    assert issued["password"] not in str(admin.get("sources")) + str(admin.get("audit"))
    with reading(api.desk.engine) as connection:
        source = organisation.source(connection, "newfeed")
    assert source is not None
    assert source.login[0].password_hash is not None
    admin.do("PATCH", "sources/newfeed", {"definition": {"mapping": {"Tlf": "phone"}}})
    versions = admin.get("sources/newfeed/versions")
    assert [each["version"] for each in versions] == [3, 2, 1]
    assert "argon2" not in str(versions) + str(admin.get("sources/newfeed"))
    bad = {"definition": {"login": []}}
    assert admin.refused("PATCH", "sources/newfeed", bad) == (422, "value_unusable")
    assert admin.refused("PATCH", "sources/newfeed", {"definition": {"mapping": {"x": "y"}}}) == (
        422, "mapping_unusable",
    )  # fmt: skip
    for hours in (99_999_999_999, 1e308, float("inf")):
        for slip in ({"expected_every_hours": hours}, {"proof": {"wait_hours": hours}}):
            assert admin.refused("PATCH", "sources/newfeed", {"definition": slip}) == (422, "value_unusable")
    assert admin.do("PATCH", "sources/newfeed", {"active": False})["active"] is False
    admin.do("DELETE", "sources/newfeed/logins/newfeed")
    assert admin.refused("DELETE", "sources/newfeed/logins/newfeed") == (404, "login_unknown")
