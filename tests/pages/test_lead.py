"""The page of one lead: everything about it, and what people do with it."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

from tests.pages.browsing import Site, check_access, look_at, picture
from tests.pages.test_lead_admin import typed

FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def number(site: Site) -> int:
    """A lead of Copenhagen with a history."""
    made = typed(site, "+4520305001", email="signe@example.com")
    admin = site.client("admin")
    admin.do("PATCH", f"leads/{made}?why=As+told+by+phone", {"fields": {"city": "Odense C"}})
    site.client("copenhagen-1").do("POST", f"leads/{made}/status", {"status": "not_interested", "call": True})
    return made


@pytest.mark.slow
def test_everybody_can_use_the_page(site: Site, number: int) -> None:
    look_at(site, f"/leads/{number}", "lead", ready="table.history")
    look_at(site, f"/leads/{number}", "lead-agent", login="copenhagen-1", ready="table.history")


@pytest.mark.slow
def test_everybody_can_use_the_forms(site: Site, number: int) -> None:
    look_at(site, f"/leads/{number}/edit", "lead-edit")
    look_at(site, "/leads/new?campaign=DK-ENERGY", "lead-new")
    look_at(site, f"/leads/{number}/anonymise", "lead-anonymise")


def test_a_lead_is_typed_in_and_belongs_to_the_top_level_team(site: Site) -> None:
    with site.visit() as page:
        page.goto("/leads/new")
        page.get_by_label("Campaign").select_option("DK-ENERGY")
        expect(page.locator("main")).to_contain_text("else to the top-level team: Company")
        page.get_by_label("Phone", exact=False).first.fill("12")
        page.locator("#field-last_name").fill("Typed")
        page.get_by_role("button", name="Save lead").click()
        expect(page.get_by_role("alert")).to_contain_text("Not saved yet.")
        expect(page.locator("#problem-phone")).to_be_visible()
        check_access(page)
        picture(page, "lead-new-problem")
        expect(page.locator("#field-last_name")).to_have_value("Typed")
        page.locator("#field-phone").fill("20 30 50 02")
        page.get_by_role("button", name="Save lead").click()
        expect(page.locator("h1")).to_have_text("Typed")
        expect(page.locator(".head")).to_contain_text("+4520305002")
        expect(page.locator("#owner-title + dl")).to_contain_text("team:company")


def test_fields_are_changed_with_their_reason(site: Site) -> None:
    number = typed(site, "+4520305003")
    with site.visit("lead-denmark") as page:
        page.goto(f"/leads/{number}")
        page.get_by_role("link", name="Edit").click()
        page.locator("#field-postcode").fill("not a postcode")
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#problem-postcode")).to_be_visible()
        page.locator("#field-postcode").fill("8000")
        page.locator("#field-city").fill("Aarhus")
        page.get_by_label("Why").fill("The person has moved")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text(f"Lead {number} is changed.")).to_be_visible()
        expect(page.locator("table.history")).to_contain_text("The person has moved")
    told = site.client("admin").get(f"leads/{number}")
    assert told["fields"]["city"] == "Aarhus"
    assert told["modified_by"] == "user:lead-denmark"


def test_a_comment_of_several_lines_stays_when_something_else_is_changed(site: Site) -> None:
    """A browser shows it in a line; what it took out is no change of the person's."""
    number = typed(site, "+4520305009", comments="rang twice\nleave a message")
    with site.visit("lead-denmark") as page:
        page.goto(f"/leads/{number}/edit")
        page.locator("#field-city").fill("Ribe")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text(f"Lead {number} is changed.")).to_be_visible()
    fields = site.client("admin").get(f"leads/{number}")["fields"]
    assert (fields["city"], fields["comments"]) == ("Ribe", "rang twice\nleave a message")


def test_nobody_overwrites_what_somebody_else_has_changed(site: Site) -> None:
    number = typed(site, "+4520305004")
    with site.visit() as page:
        page.goto(f"/leads/{number}/edit")
        site.client("lead-denmark").do("PATCH", f"leads/{number}", {"fields": {"city": "Esbjerg"}})
        page.locator("#field-city").fill("Skagen")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("alert")).to_contain_text("City: now Esbjerg, you typed Skagen")
        check_access(page)
        assert site.client("admin").get(f"leads/{number}")["fields"]["city"] == "Esbjerg"
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text(f"Lead {number} is changed.")).to_be_visible()
    assert site.client("admin").get(f"leads/{number}")["fields"]["city"] == "Skagen"


def test_a_lead_is_held_and_given_free(site: Site) -> None:
    number = typed(site, "+4520305005")
    with site.visit("copenhagen-1") as page:
        page.goto(f"/leads/{number}")
        page.get_by_role("button", name="Lock").click()
        expect(page.locator(".head")).to_contain_text("locked by user:copenhagen-1")
    with site.visit("copenhagen-2") as page:
        page.goto(f"/leads/{number}")
        expect(page.locator("main")).to_contain_text("user:copenhagen-1 works with it until")
        expect(page.get_by_role("link", name="Edit")).to_have_count(0)
        expect(page.get_by_role("button", name="Unlock")).to_have_count(0)
    with site.visit("lead-denmark") as page:
        page.goto(f"/leads/{number}")
        page.get_by_role("button", name="Unlock").click()
        page.get_by_role("button", name="Unlock it").click()
        expect(page.get_by_text(f"Nobody holds lead {number} any more.")).to_be_visible()


def test_a_lead_goes_out_of_use_and_comes_back(site: Site) -> None:
    number = typed(site, "+4520305006")
    with site.visit("lead-denmark") as page:
        page.goto(f"/leads/{number}")
        page.get_by_role("button", name="Deactivate").click()
        page.get_by_role("dialog").get_by_label("Why").fill("A test")
        page.get_by_role("button", name="Deactivate it").click()
        expect(page.locator(".head")).to_contain_text("Deactivated")
        assert site.client("copenhagen-1").ask("GET", f"/leads/{number}").status == 404
        page.get_by_role("button", name="Activate").click()
        expect(page.get_by_text(f"Lead {number} is in use again.")).to_be_visible()


def test_a_person_is_blanked_for_good_only_when_one_is_sure(site: Site) -> None:
    number = typed(site, "+4520305007", last_name="Forgotten")
    assert site.client("admin").ask("POST", f"/leads/{number}/anonymise", b"", Content_Type=FORM).status == 422
    with site.visit() as page:
        page.goto(f"/leads/{number}")
        page.get_by_role("link", name="Anonymise").click()
        page.get_by_label("Blank the person").check()
        page.get_by_role("button", name="Anonymise").click()
        expect(page.get_by_text(f"Lead {number} is anonymised.")).to_be_visible()
        expect(page.locator("main")).not_to_contain_text("Forgotten")
        expect(page.get_by_role("link", name="Anonymise")).to_have_count(0)
        check_access(page)


@pytest.mark.parametrize(
    ("phone", "owner", "may", "fact"),
    [
        ("+4520306001", "user:copenhagen-1", "Yes", "the agent"),
        ("+4520306002", "team:copenhagen", "Yes", "the agent's own team"),
        ("+4520306003", "team:denmark", "Yes", "above the agent's team"),
        ("+4520306004", "team:company", "Yes", "above the agent's team"),
        ("+4520306005", "team:copenhagen-evening", "No", "neither team:copenhagen nor above it"),
        ("+4520306006", "user:copenhagen-2", "No", "another user"),
    ],
)
def test_step_1_understand_lead_ownership(site: Site, phone: str, owner: str, may: str, fact: str) -> None:
    """Each lead has an owner, and only users with ownership (through their team or individual user) can call that lead.

    Agents cannot call leads owned by teams below them.
    """
    number = typed(site, phone, owner=owner)
    with site.visit() as page:
        page.goto(f"/leads/{number}")
        expect(page.locator("#owner-title + dl")).to_contain_text(owner)
        page.get_by_label("For the agent").fill("copenhagen-1")
        page.get_by_role("button", name="Explain").click()
        row = page.locator("#explained tr", has_text="owns the lead").first
        expect(row).to_contain_text(may)
        expect(row).to_contain_text(fact)


def test_every_rule_is_explained_with_its_fact(site: Site, number: int) -> None:
    with site.visit() as page:
        page.goto(f"/leads/{number}?agent=berlin-1")
        row = page.locator("tr", has_text="a team above it owns the lead")
        expect(row).to_contain_text("No")
        expect(row).to_contain_text("team:copenhagen owns it, which is neither team:berlin nor above it")
        page.goto(f"/leads/{number}?agent=nobody")
        expect(page.get_by_role("alert")).to_have_text("There is no user nobody.")


def test_agents_ask_for_themselves_only(site: Site, number: int) -> None:
    body = site.client("copenhagen-1").ask("GET", f"/leads/{number}?agent=berlin-1").body.decode()
    assert "those who have the permission lead_admin" in body
    assert "neither team:berlin" not in body
    assert "/anonymise" not in body


def test_a_status_that_may_not_follow_is_refused(site: Site) -> None:
    number = typed(site, "+4520305008")
    for form, status in (
        ({"status": "anonymised", "version": 1}, 409),
        ({"status": "nonsense", "version": 1}, 422),
        ({"status": "success", "version": 77}, 412),
        ({"status": "success", "version": 1, "when": "soon"}, 422),
        ({"status": "automatic_redial", "version": 1, "when": "2027-03-28T02:30"}, 422),
    ):
        answer = site.client("admin").ask(
            "POST", f"/leads/{number}/status", urlencode(form).encode(), Content_Type=FORM
        )
        assert answer.status == status, form


def test_what_cannot_be_kept_is_refused(site: Site, number: int) -> None:
    for path in (f"/leads/{number}/edit", "/leads/new"):
        body = urlencode({"field.city": "a\0b", "campaign": "DK-ENERGY"}).encode()
        assert site.client("admin").ask("POST", path, body, Content_Type=FORM).status == 422
