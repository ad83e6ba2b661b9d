"""Every page with everybody: who is let in is written down here once more, by hand."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from ingestd.access.permissions import Permission
from ingestd.web.pages.index import PAGES
from ingestd.web.pages.navigation import PLACES, places
from ingestd.web.pages.routes import made, unguarded
from tests.pages.browsing import Site
from tests.web.serving import Client

# anonymous, agent, team leader, admin; nobody comes in by a key
ANYBODY = "anon agent leader admin"
SIGNED = "agent leader admin"
POOLS = "leader admin"
LEADS = "leader admin"
ADMIN = "admin"

WHO_MAY = {
    "GET /": SIGNED,
    "GET /login": ANYBODY,
    "POST /login": ANYBODY,
    "POST /logout": ANYBODY,
    "POST /theme": ANYBODY,
    "GET /deliveries": POOLS,
    "GET /deliveries/live": POOLS,
    "GET /deliveries/phones": POOLS,
    "GET /deliveries/{number}": POOLS,
    "GET /deliveries/{number}/columns": POOLS,
    "GET /deliveries/{number}/pool": POOLS,
    "GET /deliveries/{number}/rows": POOLS,
    "POST /deliveries/{number}/retry": POOLS,
    "POST /deliveries/{number}/cancel": POOLS,
    "GET /deliveries/{number}/rerun": POOLS,
    "POST /deliveries/{number}/rerun": POOLS,
    "POST /deliveries/{number}/confirm": POOLS,
    "GET /deliveries/{number}/undo": POOLS,
    "POST /deliveries/{number}/undo": POOLS,
    "GET /pools": POOLS,
    "GET /pools/act": POOLS,
    "POST /pools/act": POOLS,
    "POST /pools/kpis": POOLS,
    "POST /pools/views": POOLS,
    "POST /pools/views/{number}": POOLS,
    "GET /pools/{number}": POOLS,
    "GET /pools/{number}/figure": POOLS,
    "GET /pools/{number}/owners": POOLS,
    "GET /upload": POOLS,
    "POST /upload": POOLS,
    "GET /upload/crew": POOLS,
    "GET /upload/deliveries/{number}": POOLS,
    "GET /upload/{draft}": POOLS,
    "GET /upload/{draft}/preview": POOLS,
    "GET /upload/{draft}/rehearsal": POOLS,
    "POST /upload/{draft}/import": POOLS,
    "POST /upload/{draft}/discard": POOLS,
    "GET /organisation": POOLS,
    "GET /organisation/new-team": ADMIN,
    "POST /organisation/new-team": ADMIN,
    "GET /organisation/teams/{name}": POOLS,
    "POST /organisation/teams/{name}": ADMIN,
    "POST /organisation/teams/{name}/deactivate": ADMIN,
    "POST /organisation/teams/{name}/activate": ADMIN,
    "GET /organisation/new-user": ADMIN,
    "POST /organisation/new-user": ADMIN,
    "GET /organisation/users/{name}": POOLS,
    "POST /organisation/users/{name}": ADMIN,
    "POST /organisation/users/{name}/deactivate": ADMIN,
    "POST /organisation/users/{name}/activate": ADMIN,
    "POST /organisation/users/{name}/permissions": ADMIN,
    "POST /organisation/users/{name}/password": ADMIN,
    "POST /organisation/users/{name}/keys": POOLS,
    "POST /organisation/users/{name}/keys/{number}/revoke": POOLS,
    "GET /campaigns": POOLS,
    "POST /campaigns/-projects": ADMIN,
    "POST /campaigns/-projects/{code}": ADMIN,
    "GET /campaigns/-new": ADMIN,
    "POST /campaigns/-new": ADMIN,
    "GET /campaigns/{code}": POOLS,
    "POST /campaigns/{code}": ADMIN,
    "POST /campaigns/{code}/deactivate": ADMIN,
    "POST /campaigns/{code}/activate": ADMIN,
    "GET /sources": ADMIN,
    "GET /sources/-new": ADMIN,
    "POST /sources/-new": ADMIN,
    "GET /sources/{name}": ADMIN,
    "POST /sources/{name}": ADMIN,
    "POST /sources/{name}/deactivate": ADMIN,
    "POST /sources/{name}/activate": ADMIN,
    "POST /sources/{name}/logins": ADMIN,
    "POST /sources/{name}/logins/{login}": ADMIN,
    "POST /sources/{name}/logins/{login}/password": ADMIN,
    "POST /sources/{name}/logins/{login}/remove": ADMIN,
    "POST /sources/{name}/mapping/{version}/use": ADMIN,
    "POST /sources/{name}/keys": ADMIN,
    "POST /sources/{name}/keys/{number}/revoke": ADMIN,
    "GET /system": ADMIN,
    "GET /system/audit": ADMIN,
    "GET /leads": LEADS,
    "GET /leads/narrow": LEADS,
    "POST /leads/export": LEADS,
    "GET /leads/act": LEADS,
    "POST /leads/act": LEADS,
    "POST /leads/owner": LEADS,
    "GET /leads/owner-changes/{number}": LEADS,
    "POST /leads/owner-changes/{number}/cancel": LEADS,
    "POST /leads/views": LEADS,
    "POST /leads/views/{number}": LEADS,
    "POST /views/{number}/remove": LEADS,
    "POST /views/{number}/copy": LEADS,
    "POST /views/{number}/star": LEADS,
    "GET /leads/new": SIGNED,
    "POST /leads/new": SIGNED,
    "GET /leads/{number}/edit": SIGNED,
    "POST /leads/{number}/edit": SIGNED,
    "GET /leads/{number}": SIGNED,
    "POST /leads/{number}/status": SIGNED,
    "POST /leads/{number}/lock": SIGNED,
    "POST /leads/{number}/unlock": SIGNED,
    "POST /leads/{number}/deactivate": LEADS,
    "POST /leads/{number}/activate": LEADS,
    "GET /leads/{number}/anonymise": ADMIN,
    "POST /leads/{number}/anonymise": ADMIN,
    "GET /dial": SIGNED,
    "POST /dial/next": SIGNED,
    "GET /dial/{number}": SIGNED,
    "POST /dial/{number}/result": SIGNED,
    "POST /dial/{number}/hold": SIGNED,
    "POST /dial/{number}/release": SIGNED,
    "GET /reports": POOLS,
    "GET /do-not-call": POOLS,
    "POST /do-not-call": POOLS,
    "POST /do-not-call/remove": POOLS,
    "POST /do-not-call/import": POOLS,
    "GET /segments": POOLS,
    "POST /segments": POOLS,
    "GET /segments/build": POOLS,
    "GET /segments/preview": POOLS,
    "GET /segments/{number}": POOLS,
    "POST /segments/{number}/active": POOLS,
    "POST /segments/{number}/copy": POOLS,
    "POST /segments/{number}/delete": POOLS,
    "POST /segments/{number}/move": POOLS,
    "POST /segments/groups": POOLS,
    "GET /segments/groups/{number}": POOLS,
    "POST /segments/groups/{number}": POOLS,
    "POST /segments/groups/{number}/copy": POOLS,
    "POST /segments/groups/{number}/delete": POOLS,
    "POST /segments/groups/{number}/move": POOLS,
}


@pytest.fixture(scope="module")
def visitors(site: Site) -> dict[str, Client]:
    key = site.api.key(*Permission)
    return {
        "anon": Client(port=site.api.port, headers={"Accept": "text/html"}),
        "agent": site.client("berlin-1"),
        "leader": site.client("lead-denmark"),
        "admin": site.client("admin"),
        "key": Client(port=key.port, headers={**key.headers, "Accept": "text/html"}),
    }


def declared() -> set[str]:
    return {f"{each.method} {each.path}" for pages in PAGES for each in pages.declared}


def test_every_page_is_written_down() -> None:
    assert declared() == set(WHO_MAY)


@pytest.mark.parametrize("route", WHO_MAY)
def test_a_page_is_open_to_whom_it_says_and_to_nobody_else(visitors: dict[str, Client], route: str) -> None:
    method, _, path = route.partition(" ")
    path = (
        path.replace("{number}", "7777")
        .replace("{name}", "nothing")
        .replace("{code}", "nothing")
        .replace("{version}", "7")
    )
    let_in = set()
    for who, client in visitors.items():
        if path == "/logout" and who in ("agent", "leader", "admin"):
            let_in.add(who)  # the others need their sessions; test_session.py signs out
            continue
        if path == "/deliveries/live" and who in ("leader", "admin"):
            let_in.add(who)  # an answer without an end; test_live.py listens
            continue
        body = None if method == "GET" else b""
        answer = client.ask(method, path, body, Content_Type="application/x-www-form-urlencoded")
        assert answer.status != 500
        to_login = answer.status == 303 and answer.headers["location"].startswith("/login?next=")
        if answer.status == 403:
            assert b"permission" in answer.body
        if not to_login and answer.status != 403:
            let_in.add(who)
    assert let_in - {"key"} == set(WHO_MAY[route].split())
    assert ("key" in let_in) == (WHO_MAY[route] == ANYBODY)


def test_a_page_that_does_not_say_who_may_open_it_is_found() -> None:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.router.routes.extend(made(PAGES))
    assert unguarded(app) == []
    app.get("/secret")(lambda: "leaked")
    assert unguarded(app) == ["/secret"]


def test_only_what_one_may_open_is_linked(site: Site) -> None:
    known = places(PAGES)
    assert [place.path for place in known] == [path for path in PLACES if f"GET {path}" in WHO_MAY]
    for login in ("berlin-1", "lead-denmark", "admin"):
        client = site.client(login)
        body = client.ask("GET", "/deliveries").body.decode()  # refused or not, with all that one may open
        linked = [place for place in known if f'<li><a href="{place.path}"' in body]
        assert all(client.ask("GET", place.path).status == 200 for place in linked)
        assert len(linked) == sum(client.ask("GET", place.path).status == 200 for place in known)
