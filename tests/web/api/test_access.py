"""Every route with everybody: who is let in is written down here once more, by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from ingestd import openapi
from ingestd.access.permissions import Permission
from ingestd.store.engine import open_engine
from ingestd.web.api.access import needs
from ingestd.web.api.resources import RESOURCES
from ingestd.web.api.routes import Routes, made, unguarded
from tests import databases
from tests.databases import ROOT
from tests.web.serving import Api, Client, serving

# anonymous, agent, team leader, admin, a key with lead_pools, the same bound to a source
ANYBODY = "anon agent leader admin key bound"
SIGNED = "agent leader admin key"
POOLS = "leader admin key bound"
ADMIN = "admin"

WHO_MAY = {
    "GET /openapi.json": ANYBODY,
    "POST /session": ANYBODY,
    "DELETE /session": ANYBODY,
    "GET /me": f"{SIGNED} bound",
    "PUT /me/password": SIGNED,
    "GET /keys": SIGNED,
    "POST /keys": SIGNED,
    "DELETE /keys/{key}": SIGNED,
    "GET /sources/{source}/keys": ADMIN,
    "POST /sources/{source}/keys": ADMIN,
    "GET /teams": "leader admin key",
    "GET /teams/{key}": "leader admin key",
    "POST /teams": ADMIN,
    "PATCH /teams/{key}": ADMIN,
    "GET /users": "leader admin key",
    "GET /users/{login}": "leader admin key",
    "POST /users": ADMIN,
    "PATCH /users/{login}": ADMIN,
    "PUT /users/{login}/password": ADMIN,
    "PUT /users/{login}/permissions/{permission}": ADMIN,
    "GET /ownership-codes": "leader admin key",
    "GET /ownership-codes/{code}": "leader admin key",
    "GET /projects": SIGNED,
    "POST /projects": ADMIN,
    "PATCH /projects/{code}": ADMIN,
    "GET /campaigns": SIGNED,
    "GET /campaigns/{code}": SIGNED,
    "POST /campaigns": ADMIN,
    "PATCH /campaigns/{code}": ADMIN,
    "GET /sources": ADMIN,
    "GET /sources/{source}": ADMIN,
    "POST /sources": ADMIN,
    "PATCH /sources/{source}": ADMIN,
    "GET /sources/{source}/versions": ADMIN,
    "PUT /sources/{source}/logins/{login}": ADMIN,
    "DELETE /sources/{source}/logins/{login}": ADMIN,
    "GET /audit": ADMIN,
    "GET /sources/{source}/mapping": "leader admin key",
    "PUT /sources/{source}/mapping": ADMIN,
    "GET /sources/{source}/mapping/versions": "leader admin key",
    "POST /sources/{source}/mapping/versions/{version}/restore": ADMIN,
    "POST /mappings/suggest": POOLS,
    "POST /mappings/preview": "leader admin key",  # a bound key names its source
    "POST /imports": POOLS,
    "POST /imports/form": POOLS,
    "POST /imports/leads": POOLS,
    "POST /sources/{source}/leads": POOLS,
    "POST /imports/dry-run": "leader admin key",  # the same
    "GET /deliveries": POOLS,
    "GET /deliveries/{number}": POOLS,
    "POST /deliveries/{number}/retry": POOLS,
    "POST /deliveries/{number}/cancel": POOLS,
    "POST /deliveries/{number}/dry-run": POOLS,
    "POST /deliveries/{number}/rerun": "leader admin key",
    "POST /deliveries/{number}/confirm": "leader admin key",
    "GET /pools": POOLS,
    "GET /pools/{number}": POOLS,
    "GET /pools/{number}/kpis": POOLS,
    "GET /kpis": POOLS,
    "POST /pools/{number}/activate": "leader admin key",
    "POST /pools/{number}/deactivate": "leader admin key",
    "POST /pools/{number}/shuffle": "leader admin key",
    "DELETE /pools/{number}/unprocessed": "leader admin key",
    "POST /pools/{number}/undo": "leader admin key",
    **{
        f"GET /{of}/{{number}}/{kind}": POOLS
        for of in ("pools", "deliveries")
        for kind in ("log.csv", "errors.csv", "rejected.csv", "original", "summary")
    },
    "GET /leads": "agent leader admin",
    "GET /leads/{number}": "agent leader admin",
    "GET /leads/{number}/explain": "agent leader admin",
    "GET /segment-groups": "agent leader admin",
    "POST /segment-groups": "leader admin",
    "PUT /segment-groups/order": "leader admin",
    "GET /segment-groups/{number}": "agent leader admin",
    "PATCH /segment-groups/{number}": "leader admin",
    "DELETE /segment-groups/{number}": "leader admin",
    "POST /segment-groups/{number}/copy": "leader admin",
    "PUT /segment-groups/{number}/order": "leader admin",
    "GET /segment-groups/{number}/contested": "leader admin",
    "GET /segments": "agent leader admin",
    "POST /segments": "leader admin",
    "POST /segments/preview": "leader admin",
    "GET /segments/{number}": "agent leader admin",
    "PATCH /segments/{number}": "leader admin",
    "DELETE /segments/{number}": "leader admin",
    "POST /segments/{number}/copy": "leader admin",
    "GET /leads/{number}/history": "agent leader admin",
    "GET /statuses": SIGNED,
    "POST /leads": "agent leader admin",
    "PATCH /leads/{number}": "agent leader admin",
    **{f"POST /leads/{{number}}/{verb}": "agent leader admin" for verb in ("status", "lock", "unlock")},
    "POST /leads/{number}/deactivate": "leader admin",
    "POST /leads/{number}/activate": "leader admin",
    "POST /leads/{number}/anonymise": ADMIN,
    "POST /leads/actions": "agent leader admin",
    "POST /owner-changes": "leader admin",
    "GET /owner-changes": "leader admin",
    "GET /owner-changes/{number}": "leader admin",
    "GET /owner-changes/{number}/results": "leader admin",
    "POST /owner-changes/{number}/cancel": "leader admin",
    "POST /dial/next": "agent leader admin",
    "POST /dial/{number}/result": "agent leader admin",
    "POST /dial/{number}/release": "agent leader admin",
    "GET /do-not-call": "leader admin",
    "POST /do-not-call": "leader admin",
    "POST /do-not-call/import": "leader admin",
    "GET /do-not-call/{phone}": "leader admin",
    "DELETE /do-not-call/{phone}": "leader admin",
    "GET /lead-fields": "agent leader admin",
    "POST /leads/search": "agent leader admin",
    "POST /leads/count": "agent leader admin",
    "POST /leads/export": "leader admin",
    "GET /views": "agent leader admin",
    "POST /views": "agent leader admin key",  # whose body is looked at before it is said that it stands for no user
    "GET /views/{number}": "agent leader admin",
    "PATCH /views/{number}": "agent leader admin key",
    "DELETE /views/{number}": "agent leader admin",
    "POST /views/{number}/copy": "agent leader admin key",
    "PUT /views/{number}/star": "agent leader admin",
    "DELETE /views/{number}/star": "agent leader admin",
    "GET /queue": "leader admin key",
    "GET /reports": "leader admin",
    "GET /reports.csv": "leader admin",
    "GET /webhooks": ADMIN,
    "POST /webhooks": ADMIN,
    "GET /webhooks/{number}": ADMIN,
    "PATCH /webhooks/{number}": ADMIN,
    "DELETE /webhooks/{number}": ADMIN,
    "POST /webhooks/{number}/test": ADMIN,
    "GET /webhooks/{number}/deliveries": ADMIN,
    "GET /webhooks/{number}/deliveries/{message}": ADMIN,
    "POST /webhooks/{number}/deliveries/{message}/replay": ADMIN,
}


@pytest.fixture(scope="module")
def callers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Client]]:
    """One of each; the store is one for all, since nothing that is asked for here is there."""
    folder = tmp_path_factory.mktemp("access")
    engine = open_engine(databases.embedded(folder, organised=True))
    with serving(engine, folder) as api:
        yield {
            "anon": api.anybody(),
            "agent": api.user("berlin-1"),
            "leader": api.user("lead-denmark"),
            "admin": api.user("admin"),
            "key": api.key(Permission.LEAD_POOLS),
            "bound": api.key(Permission.LEAD_POOLS, source="nordlead"),
        }
    engine.dispose()


def declared() -> set[str]:
    return {f"{each.method} {each.path}" for resource in RESOURCES for each in resource.declared}


def test_every_route_is_written_down() -> None:
    assert declared() == set(WHO_MAY)


@pytest.mark.parametrize("route", WHO_MAY)
def test_a_route_is_open_to_whom_it_says_and_to_nobody_else(callers: dict[str, Client], route: str) -> None:
    method, _, path = route.partition(" ")
    for name in ("key", "source", "login", "code", "permission", "phone"):
        path = path.replace(f"{{{name}}}", "nothing")
    path = path.replace("{number}", "77").replace("{version}", "77").replace("{message}", "78").removeprefix("/")
    let_in = set()
    for who, client in callers.items():
        if method == "DELETE" and path == "session" and who in ("agent", "leader", "admin"):
            let_in.add(who)  # the others need their sessions; test_session.py signs out
            continue
        answer = client.ask(method, path, None if method in ("GET", "DELETE") else b"no json")
        assert answer.status != 500
        if answer.status in (401, 403) and who == "anon":
            assert answer.headers["www-authenticate"].startswith("Bearer")
        if answer.status == 403:
            assert answer.json()["code"] in ("permission_missing", "key_bound", "key_without_user")
            assert ("permission" in answer.json()) == (answer.json()["code"] == "permission_missing")
        if answer.status not in (401, 403):
            let_in.add(who)
    assert let_in == set(WHO_MAY[route].split())


def test_a_route_that_does_not_say_who_may_use_it_is_found() -> None:
    app = FastAPI()
    app.router.routes.extend(made(RESOURCES))
    assert unguarded(app) == []
    app.get("/api/v1/secret")(lambda: "leaked")
    assert unguarded(app) == ["/api/v1/secret"]


def test_a_route_cannot_be_declared_without() -> None:
    with pytest.raises(TypeError, match="access"):
        Routes("x").get("/x")  # type: ignore[call-arg]
    with pytest.raises(AssertionError):
        needs()


def test_the_openapi_document_is_up_to_date() -> None:
    told = "run: python -m ingestd.openapi > docs/openapi.json"
    assert (ROOT / "docs" / "openapi.json").read_text(encoding="utf-8") == openapi.render(), told


def test_the_openapi_document_is_served(callers: dict[str, Client]) -> None:
    served = callers["anon"].get("openapi.json")
    assert served["info"]["title"] == "ingestd"
    assert {f"/api/v1{path.partition(' ')[2]}" for path in WHO_MAY} - set(served["paths"]) == {"/api/v1/openapi.json"}


def test_a_permission_that_was_revoked_counts_at_once(api: Api) -> None:
    agent = api.user("berlin-1")
    admin = api.user("admin")
    assert agent.refused("GET", "queue") == (403, "permission_missing")
    admin.do("PUT", "users/berlin-1/permissions/lead_pools", {"granted": True})
    assert agent.get("queue")["ready"] == 0
    admin.do("PUT", "users/berlin-1/permissions/lead_pools", {"granted": False})
    assert agent.refused("GET", "queue") == (403, "permission_missing")
    admin.do("PATCH", "users/berlin-1", {"active": False})
    assert agent.refused("GET", "me") == (401, "not_signed_in")
