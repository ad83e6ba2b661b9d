"""The organisation in a real browser: the tree, a team, a user, what is asked first, what is shown once."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from ingestd.access import keys
from ingestd.access.permissions import Permission
from ingestd.organisation import changes
from ingestd.organisation.changes import Record
from ingestd.store.engine import reading
from ingestd.store.facts import Kind
from tests.pages.browsing import Site, check_access, look_at
from tests.web.serving import Client

FORM = "application/x-www-form-urlencoded"


def record(site: Site, kind: Kind, key: str) -> Record:
    with reading(site.house.engine) as connection:
        return changes.get(connection, kind, key)


def post(client: Client, path: str, body: str) -> tuple[int, str]:
    answer = client.ask("POST", path, body.encode(), Content_Type=FORM)
    return answer.status, answer.body.decode()


def make_team(page: Page, name: str, key: str, above: str, code: str = "") -> None:
    page.goto(f"/organisation/new-team?parent={above}")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Key").fill(key)
    page.get_by_label("Lead Ownership Code").fill(code)
    page.get_by_role("button", name="Make the team").click()
    page.get_by_text(f"The team {name} is there.").wait_for()


def make_user(page: Page, name: str, login: str, team: str) -> None:
    page.goto(f"/organisation/new-user?team={team}")
    page.get_by_label("Name").fill(name)
    page.get_by_role("textbox", name="Login").fill(login)
    page.get_by_role("button", name="Make the user").click()
    page.get_by_text("The user is there.").wait_for()


def test_the_tree_says_who_is_below_whom(site: Site) -> None:
    with site.visit() as page:
        page.goto("/organisation")
        tree = page.get_by_role("list", name="Teams")
        tree.get_by_role("link", name="Copenhagen Evening").wait_for()
        page.locator("summary", has_text="Teams below Denmark").click()
        expect(tree.get_by_role("link", name="Copenhagen Evening")).to_be_hidden()
        page.get_by_label("Team, user or Lead Ownership Code").fill("dk-aar")
        page.get_by_role("table").get_by_role("link", name="Aarhus").wait_for()
        assert page.url.endswith("?q=dk-aar")
        page.get_by_role("link", name="Aarhus", exact=True).click()
        page.get_by_role("heading", name="Aarhus").wait_for()
        page.go_back()
        page.get_by_role("table").get_by_role("link", name="Aarhus").wait_for()
        page.get_by_label("Team, user or Lead Ownership Code").fill("nobody at all")
        page.get_by_text("Nobody answers to “nobody at all”").wait_for()


def test_the_tree_folds_without_scripts(site: Site) -> None:
    with site.visit(java_script_enabled=False) as page:
        page.goto("/organisation")
        page.locator("summary", has_text="Teams below Germany").click()
        expect(page.get_by_role("link", name="Berlin")).to_be_hidden()


def test_a_team_is_made_moved_given_a_code_and_taken_out(site: Site) -> None:
    with site.visit() as page:
        make_team(page, "Odense <b>", "odense", "germany", "DK-ODE")
        page.get_by_label("Name").fill("Odense")
        page.get_by_label("Team above").select_option("denmark")
        page.get_by_label("Lead Ownership Code").fill("DK-ODN")
        page.locator("#edit").get_by_label("Why").fill("opened in November")
        page.get_by_role("button", name="Save").click()
        page.get_by_text("Saved.").wait_for()
        known = record(site, "team", "odense").facts
        assert (known["name"], known["parent"], known["code"]) == ("Odense", "denmark", "DK-ODN")
        make_user(page, "Ulla", "ulla", "odense")
        page.goto("/organisation/teams/odense")
        page.get_by_role("button", name="Deactivate").click()
        page.get_by_role("dialog").get_by_role("button", name="Deactivate").click()
        page.get_by_role("alert").get_by_text("users ulla").wait_for()
        check_access(page)
        page.goto("/organisation/users/ulla")
        page.get_by_label("Team", exact=True).select_option("denmark")
        page.get_by_role("button", name="Save", exact=True).click()
        page.goto("/organisation/teams/odense")
        page.get_by_role("button", name="Deactivate").click()
        page.get_by_role("dialog").get_by_role("button", name="Deactivate").click()
        page.get_by_text("The team is not active any more.").wait_for()
        assert not record(site, "team", "odense").facts["active"]


def test_a_code_that_leads_hang_on_is_asked_about_first(site: Site) -> None:
    before = record(site, "team", "denmark")
    with site.visit() as page:
        page.goto("/organisation/teams/denmark")
        page.get_by_label("Lead Ownership Code").fill("DANMARK")
        page.get_by_role("button", name="Save").click()
        told = page.get_by_role("alert")
        told.get_by_text("leads; files that name DK will have those records rejected").wait_for()
        assert record(site, "team", "denmark") == before
        assert page.get_by_label("Lead Ownership Code").input_value() == "DANMARK"
        check_access(page)
        told.get_by_role("button", name="Do it all the same").click()
        page.get_by_text("Saved.").wait_for()
        assert record(site, "team", "denmark").facts["code"] == "DANMARK"
        page.get_by_label("Lead Ownership Code").fill("DK")
        page.get_by_role("button", name="Save").click()
        page.get_by_role("button", name="Do it all the same").click()
        page.get_by_text("Saved.").wait_for()
    assert record(site, "team", "denmark") == before


def test_nobody_overwrites_what_somebody_else_has_changed(site: Site) -> None:
    with site.visit() as page:
        make_team(page, "Changed", "changed", "germany")
        page.goto("/organisation/teams/changed")
        status, _ = post(site.client("admin"), "/organisation/teams/changed", "name=Other&parent=germany")
        assert status == 303
        page.get_by_label("Name").fill("Mine")
        page.get_by_role("button", name="Save").click()
        page.get_by_text("Nothing was saved.").wait_for()
        assert page.get_by_label("Name").input_value() == "Mine"
        page.get_by_role("link", name="Load the page again").click()
        expect(page.get_by_label("Name")).to_have_value("Other")


def test_a_user_gets_a_role_exceptions_a_password_and_is_shut_out(site: Site) -> None:
    with site.visit() as page:
        make_user(page, "Xenia", "xenia", "berlin")
        page.get_by_text("No password is set yet").wait_for()
        page.get_by_label("New password").fill("a long enough password")
        page.get_by_role("button", name="Set the password").click()
        page.get_by_text("The password is set").wait_for()
        page.get_by_label("Lead pools").check()
        page.get_by_label("Dial").uncheck()
        page.get_by_role("button", name="Save permissions").click()
        page.get_by_text("The permissions are saved.").wait_for()
        page.get_by_text("granted beyond the role").wait_for()
        page.get_by_text("taken away from the role").wait_for()
        page.get_by_label("Role", exact=True).select_option("team_leader")
        page.get_by_role("button", name="Save", exact=True).click()
        page.get_by_text("Saved.").wait_for()
        assert (
            site.api.anybody().ask("POST", "session", {"login": "xenia", "password": "a long enough password"}).status
            == 200
        )
        page.get_by_role("button", name="Deactivate").click()
        page.get_by_role("dialog").get_by_role("button", name="Deactivate").click()
        page.get_by_text("The user is not active any more, and signed out everywhere.").wait_for()
        page.get_by_text("Inactive", exact=True).wait_for()


def test_a_key_of_ones_own_is_shown_once_and_revoked(site: Site) -> None:
    with site.visit("lead-denmark") as page:
        page.goto("/organisation/users/lead-denmark")
        page.get_by_text("Make a key").click()
        page.get_by_label("What it is for").fill("nightly export")
        page.get_by_label("Lead pools").check()
        page.get_by_role("button", name="Make the key").click()
        secret = page.locator(".secret code").inner_text()
        check_access(page)
        with reading(site.house.engine) as connection:
            key = keys.find(connection, secret)
        assert key is not None
        assert (key.user, key.permissions) == ("lead-denmark", frozenset({Permission.LEAD_POOLS}))
        page.goto("/organisation/users/lead-denmark")
        assert secret not in page.content()
        page.get_by_role("button", name="Revoke").first.click()
        page.get_by_role("button", name="Revoke it").click()
        page.get_by_text("The key is revoked").wait_for()


def test_nobody_makes_a_key_in_anothers_name_or_beyond_the_own_power(site: Site) -> None:
    admin, leader = site.client("admin"), site.client("lead-denmark")
    status, told = post(admin, "/organisation/users/lead-denmark/keys", "label=mine&can=dial")
    assert (status, "sign in as this user" in told) == (403, True)
    status, _ = post(leader, "/organisation/users/lead-denmark/keys", "label=mine&can=manage_sources")
    assert status == 403


def test_who_only_looks_gets_no_forms(site: Site) -> None:
    with site.visit("lead-denmark") as page:
        for path in ("/organisation", "/organisation/teams/denmark", "/organisation/users/admin"):
            page.goto(path)
            page.get_by_role("heading", level=1).wait_for()
            assert page.get_by_role("button", name="Save").count() == 0
            assert page.get_by_role("button", name="Deactivate").count() == 0


def test_what_cannot_be_is_said_beside_what_was_typed(site: Site) -> None:
    admin = site.client("admin")
    status, told = post(admin, "/organisation/new-team", "name=A&key=a+b&parent=denmark")
    assert (status, "dots, dashes and underscores, at most 64, and begins" in told, 'value="a b"' in told) == (
        422,
        True,
        True,
    )
    status, told = post(admin, "/organisation/new-team", "name=A&key=berlin&parent=denmark")
    assert (status, "there already" in told or "already" in told) == (409, True)
    status, told = post(admin, "/organisation/new-user", "name=A&login=aa&team=denmark&code=dk-aar+")
    assert (status, "is that of the team aarhus" in told) == (409, True)
    status, told = post(admin, "/organisation/users/lead-denmark/password", "password=short")
    assert (status, "12 to 1024" in told) == (422, True)
    assert post(admin, "/organisation/users/admin/deactivate", "")[0] == 409


@pytest.mark.slow
def test_everybody_can_use_it(site: Site) -> None:
    look_at(site, "/organisation", "organisation")
    look_at(site, "/organisation?q=berlin", "organisation-search")
    look_at(site, "/organisation/teams/denmark", "team")
    look_at(site, "/organisation/users/lead-denmark", "user")
    look_at(site, "/organisation/users/lead-denmark", "user-own", login="lead-denmark")
    look_at(site, "/organisation/new-team?parent=denmark", "team-new")
    look_at(site, "/organisation/new-user", "user-new")
