"""Sources in a real browser: what they are, and by what partners come in."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher
from playwright.sync_api import expect

from ingestd.access import keys
from ingestd.organisation import changes, mappings, sources
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing
from ingestd.store.facts import Facts
from ingestd.store.ledger import now
from ingestd.web.pages.source_form import filled
from tests.databases import ROOT
from tests.pages.browsing import Served, Site, check_access, look_at
from tests.pages.forms import Paper, paper
from tests.web.serving import HASHED

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6Yh0Yb3q4p8b2vYv0j7m1m1x7wKq9m8o3n4t5u6v7w partner"


def facts(site: Served, name: str) -> Facts:
    with reading(site.house.engine) as connection:
        return changes.get(connection, "source", name).facts


def test_the_list_says_what_came_last(site: Site) -> None:
    with site.visit() as page:
        page.goto("/sources")
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name="stadtwerk", exact=True))
        row.locator("time").wait_for()
        row.get_by_text("DE-ENERGY").wait_for()


def test_a_form_that_nobody_touched_changes_nothing(site: Site) -> None:
    with reading(site.house.engine) as connection:
        for source in changes.every(connection, "source"):
            said = filled(source).values(source.facts)
            assert {name: source.facts[name] for name in said} == said


def test_hours_that_nobody_can_wait_for_stay_in_the_form(served: Served) -> None:
    made_with_a_login(served, "patient")
    admin = served.client("admin")
    for typed in ("99999999999", "1e400", "nan"):
        for field in ("expected_every_hours", "wait_hours", "max_megabytes"):
            said = paper(admin, "/sources/patient").form("Save").send(admin, **{field: typed})
            assert (said.status, typed in said.body.decode()) == (422, True), field


def test_a_source_is_made_and_its_partner_comes_in(site: Site) -> None:
    with site.visit() as page:
        page.goto("/sources/-new")
        page.get_by_label("Name", exact=True).fill("vandpost")
        page.get_by_label("What the feed is").fill("Vandpost, water leads")
        page.get_by_label("Campaign", exact=True).select_option("DK-ENERGY")
        page.get_by_label("Default owner", exact=True).select_option("team:denmark")
        page.get_by_label("Between two fields").select_option("tab")
        page.get_by_label("Most rejected records, %").fill("12.5")
        page.get_by_label("Mapping").fill("Kunde-nr. = nothing_known")
        page.get_by_role("button", name="Make the source").click()
        page.get_by_role("alert").get_by_text("nothing_known").wait_for()
        page.get_by_label("Mapping").fill("Kunde-nr. = external_id\nBemærk =")
        page.get_by_role("button", name="Make the source").click()
        page.get_by_text("The source is there.").wait_for()
        known = facts(site, "vandpost")
        assert known["mapping"] == {"Kunde-nr.": "external_id", "Bemærk": ""}
        assert (known["dialect"]["delimiter"], known["limits"]["max_rejected_share"]) == ("\t", 0.125)
        page.get_by_role("textbox", name="Login").fill("vandpost")
        page.get_by_role("button", name="Make the login").click()
        first = page.locator(".secret code").inner_text()
        check_access(page)
        (login,) = facts(site, "vandpost")["login"]
        assert PasswordHasher().verify(login["password_hash"], first)
        assert login["protocols"] == ["ftps", "sftp", "http"]
        page.goto("/sources/vandpost")
        assert first not in page.content()


def made_with_a_login(site: Served, name: str) -> None:
    """A source of the test's own, with a login of its name for every door."""
    deed, doors = Deed(actor=COMMAND_LINE, at=now()), ("ftp", "ftps", "sftp", "http")
    with writing(site.house.engine) as connection:
        values = {"title": "Doors", "campaign": "DK-FIBRE"}
        sources.create(connection, deed, name, values, folder=ROOT / "schemas")
        sources.add_login(connection, deed, name, name, encoded=HASHED, public_keys=(), protocols=doors)


def test_a_new_password_leaves_doors_and_keys_alone(site: Site) -> None:
    made_with_a_login(site, "doors")
    with site.visit() as page:
        page.goto("/sources/doors")
        page.get_by_text("Doors and public keys of doors").click()
        form = page.locator("form[action='/sources/doors/logins/doors']").last
        form.get_by_label("FTP", exact=True).uncheck()
        form.get_by_label("Public keys for SFTP").fill(KEY)
        before = facts(site, "doors")["login"][0]["password_hash"]
        form.get_by_role("button", name="Save the login").click()
        page.get_by_text("The login doors is saved.").wait_for()
        assert facts(site, "doors")["login"][0]["password_hash"] == before
        page.get_by_role("button", name="New password").click()
        page.get_by_role("button", name="Make a new password").click()
        made = page.locator(".secret code").inner_text()
        (login,) = facts(site, "doors")["login"]
        assert PasswordHasher().verify(login["password_hash"], made)
        assert (login["public_keys"], login["protocols"]) == ([KEY], ["ftps", "sftp", "http"])
        page.get_by_role("button", name="Remove").click()
        page.get_by_role("button", name="Remove it").click()
        page.get_by_text("The login doors is removed").wait_for()
        assert facts(site, "doors")["login"] == []


def test_a_password_is_made_without_scripts_and_told_once(
    served: Served, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    made_with_a_login(served, "plain")
    admin = served.client("admin")
    form = paper(admin, "/sources/plain").form("Make a new password")
    answer = form.send(admin, reason="the old one was mailed")
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    made = Paper(answer.body.decode()).text.partition("before you leave this page. ")[2].split()[0]
    (login,) = facts(served, "plain")["login"]
    assert PasswordHasher().verify(login["password_hash"], made)
    assert login["protocols"] == ["ftp", "ftps", "sftp", "http"]
    assert made not in admin.ask("GET", "/sources/plain").body.decode()
    captured = capsys.readouterr()
    assert "path=/sources/plain/logins/plain/password" in captured.out
    assert made not in captured.out + captured.err + caplog.text
    with writing(served.house.engine) as connection:
        sources.remove_login(connection, Deed(actor=COMMAND_LINE, at=now()), "plain", "plain")
    gone = form.send(admin)
    assert (gone.status, "has no login" in Paper(gone.body.decode()).text) == (404, True)


def test_an_earlier_mapping_is_used_again_as_the_newest(served: Served) -> None:
    made_with_a_login(served, "mapped")
    for mapping in ({"A": "city", "B": "comments"}, {"A": "", "C": "postcode"}):
        with writing(served.house.engine) as connection:
            deed = Deed(actor=COMMAND_LINE, at=now(), why="by phone")
            mappings.save(connection, deed, "mapped", mapping, folder=ROOT / "schemas")
    admin = served.client("admin")
    page = paper(admin, "/sources/mapped")
    assert "A: city → ignored" in page.text
    assert "by phone" in page.text
    form = page.form("Use version 2 again")
    assert "For 3 columns that is another field than now" in page.text
    assert form.send(admin, reason="they changed it back").status == 303
    assert facts(served, "mapped")["mapping"] == {"A": "city", "B": "comments"}
    with reading(served.house.engine) as connection:
        versions = mappings.versions(connection, "mapped")
    assert [(each.version, each.mapping) for each in versions[1:3]] == [
        (3, {"A": "", "C": "postcode"}),
        (2, {"A": "city", "B": "comments"}),
    ]
    assert (versions[0].version, versions[0].saved_by, versions[0].why) == (4, "user:admin", "they changed it back")
    late = form.send(admin)
    assert (late.status, "was changed since you read it" in Paper(late.body.decode()).text) == (412, True)
    assert "the same as now" in paper(admin, "/sources/mapped").text


def test_a_key_of_a_partner_is_shown_once_and_revoked(site: Site) -> None:
    with site.visit() as page:
        page.goto("/sources/nordlead")
        page.get_by_text("New key").click()
        page.get_by_label("What it is for").fill("webshop")
        page.get_by_role("button", name="Make the key").click()
        secret = page.locator(".secret code").inner_text()
        with reading(site.house.engine) as connection:
            key = keys.find(connection, secret)
        assert key is not None
        assert (key.source, key.user) == ("nordlead", None)
        page.goto("/sources/nordlead")
        assert secret not in page.content()
        page.get_by_role("button", name="Revoke").first.click()
        page.get_by_role("button", name="Revoke it").click()
        page.get_by_text("The key is revoked").wait_for()


def test_a_source_is_changed_and_taken_out_and_in(site: Site) -> None:
    with site.visit() as page:
        page.goto("/sources/stadtwerk")
        page.get_by_label("Largest file, MB").fill("20")
        page.get_by_role("button", name="Save", exact=True).click()
        page.get_by_text("Saved. The next delivery").wait_for()
        known = facts(site, "stadtwerk")
        assert known["limits"]["max_file_bytes"] == 20 * 1024 * 1024
        assert known["mapping"]["Kürzel"] == "ownership_code"
        page.get_by_role("button", name="Deactivate").click()
        page.get_by_role("dialog").get_by_role("button", name="Deactivate").click()
        page.get_by_text("The source is not active any more").wait_for()
        page.get_by_role("button", name="Activate").click()
        page.get_by_role("dialog").get_by_role("button", name="Activate").click()
        page.get_by_text("The source is active again.").wait_for()
        expect(page.get_by_role("heading", name="stadtwerk")).to_be_visible()


@pytest.mark.slow
def test_everybody_can_use_it(site: Site) -> None:
    look_at(site, "/sources", "sources")
    look_at(site, "/sources/nordlead", "source")
    look_at(site, "/sources/-new", "source-new")
