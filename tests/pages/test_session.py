"""Signing in and out by the form, what goes wrong, and the look of it."""

from __future__ import annotations

import re

import pytest

from tests.pages.browsing import THEMES, Served, Site, check_access, look_at, picture
from tests.web.serving import PASSWORD, Answer, Client

FORM = "application/x-www-form-urlencoded"


def post(client: Client, path: str, body: str, **headers: str) -> Answer:
    return client.ask("POST", path, body.encode(), Content_Type=FORM, **headers)


def stranger(site: Site) -> Client:
    return Client(port=site.api.port, headers={"Accept": "text/html"})


def test_one_comes_to_where_one_wanted_to_go(site: Site) -> None:
    site.client("lead-denmark")  # who has a password now
    with site.visit(None) as page:
        page.goto("/?of=a&b=1")
        page.get_by_role("heading", name="Sign in").wait_for()
        page.get_by_label("Login").fill("lead-denmark")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("alert").get_by_text("Login or password is wrong.").wait_for()
        assert page.get_by_label("Login").input_value() == "lead-denmark"
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.locator("summary").wait_for()
        (cookie,) = [each for each in page.context.cookies() if each["name"] == "ingestd_session"]
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
        page.locator("summary").click()
        page.get_by_role("button", name="Sign out").click()
        page.get_by_text("You have signed out.").wait_for()
        page.goto("/")
        assert "/login" in page.url


def test_signing_in_works_without_scripts(site: Site) -> None:
    site.client("lead-denmark")
    with site.visit(None, java_script_enabled=False) as page:
        page.goto("/login")
        page.get_by_label("Login").fill("lead-denmark")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.locator("summary").click()
        page.get_by_role("button", name="Sign out").click()
        page.get_by_text("You have signed out.").wait_for()


@pytest.mark.parametrize("wanted", ["//evil.example", "https://evil.example", "/%5Cevil.example"])
def test_nobody_is_sent_to_another_site(site: Site, wanted: str) -> None:
    site.client("lead-denmark")
    answer = post(stranger(site), "/login", f"login=lead-denmark&password={PASSWORD.replace(' ', '+')}&next={wanted}")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    form = stranger(site).ask("GET", f"/login?next={wanted}").body.decode()
    assert 'name="next" value="/"' in form


def test_a_page_of_another_site_can_send_no_form(site: Site) -> None:
    for path, body in (("/login", "login=a&password=b"), ("/logout", ""), ("/theme", "theme=dark")):
        answer = post(site.client("admin"), path, body, Sec_Fetch_Site="cross-site")
        assert answer.status == 403, path
        assert b"page of another site" in answer.body


def test_a_page_may_run_load_and_be_framed_by_nothing_but_us(site: Site) -> None:
    headers = stranger(site).ask("GET", "/login").headers
    policy = headers["content-security-policy"]
    assert "unsafe" not in policy
    for part in (
        "default-src 'self'",
        "frame-ancestors 'none'",
        "form-action 'self'",
        "base-uri 'none'",
        "object-src 'none'",
    ):
        assert part in policy
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")


def test_the_theme_is_in_the_page_as_the_server_sends_it(site: Site) -> None:
    with site.visit(None) as page:
        page.goto("/login")
        assert page.locator("html").get_attribute("data-bs-theme") == "auto"
        page.get_by_role("button", name="Dark").click()
        page.wait_for_url("**/*")
        assert page.locator("html").get_attribute("data-bs-theme") == "dark"
    client = Client(port=site.api.port, headers={"Cookie": "ingestd_theme=dark", "Accept": "text/html"})
    assert b'data-bs-theme="dark"' in client.ask("GET", "/login").body
    client = Client(port=site.api.port, headers={"Cookie": 'ingestd_theme="><script>', "Accept": "text/html"})
    assert b'data-bs-theme="auto"' in client.ask("GET", "/login").body


@pytest.mark.parametrize("scheme", THEMES)
def test_without_a_choice_the_theme_is_that_of_the_system(site: Site, scheme: str) -> None:
    paper = {"light": "rgb(245, 246, 247)", "dark": "rgb(18, 23, 26)"}
    with site.visit(None, color_scheme=scheme, java_script_enabled=True) as page:
        page.goto("/login")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper[scheme]
        check_access(page)


def test_problems_are_pages_that_say_what_to_do(site: Site) -> None:
    answer = site.client("admin").ask("GET", "/nowhere")
    assert answer.status == 404
    assert b"There is nothing here" in answer.body
    part = site.client("admin").ask("GET", "/nowhere", HX_Request="true")
    assert (part.status, part.headers["hx-retarget"]) == (404, "#notices")
    assert b"<html" not in part.body
    assert site.client("admin").ask("POST", "/login", b"", Content_Type="text/plain").status == 401
    unusable = post(site.client("admin"), "/theme", "theme=pink")
    assert unusable.status == 422
    assert b"body.theme" in unusable.body


def test_a_session_that_has_ended_leads_to_the_form_and_back(site: Site) -> None:
    answer = stranger(site).ask("GET", "/?a=1")
    assert answer.headers["location"] == "/login?next=%2F%3Fa%3D1"
    current = f"{site.address}/deliveries?state=failed"
    part = stranger(site).ask("GET", "/", HX_Request="true", HX_Current_URL=current)
    assert (part.status, part.headers["hx-redirect"]) == (401, "/login?next=%2Fdeliveries%3Fstate%3Dfailed")


def test_no_path_leads_to_another_host(served: Served) -> None:
    """Browsers take `//host` for another one, and a path that ends with a slash is sent on to nobody's `Host`."""
    html = {"Accept": "text/html"}
    for path in ("//evil.example/x?y=1", "/%09/evil.example/x", "/%5Cevil.example/x"):
        answer = served.api.anybody().ask("GET", path, **html)
        assert answer.status == 404
        assert not re.search(rb'(href|value)="/[/\\\\\t]', answer.body)
    sent_on = served.api.anybody().ask("GET", "/deliveries/", Host="evil.example", **html)
    assert (sent_on.status, sent_on.headers.get("location")) == (404, None)


def test_programs_get_problem_details(site: Site) -> None:
    assert Client(port=site.api.port).refused("GET", "/nowhere") == (404, "")
    assert Client(port=site.api.port).refused("GET", "/") == (401, "not_signed_in")


@pytest.mark.slow
def test_everybody_can_use_it(site: Site) -> None:
    look_at(site, "/nowhere", "not-found")
    for theme in THEMES:
        with site.visit(None, theme=theme) as page:
            page.goto("/login")
            check_access(page)
            picture(page, f"login-{theme}")


def test_the_keyboard_comes_to_the_content_at_once(site: Site) -> None:
    with site.visit("admin") as page:
        page.goto("/nowhere")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
