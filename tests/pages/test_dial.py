"""Dialling in a browser, as an agent does it: by keyboard, one lead after the other."""

from __future__ import annotations

import html
import re
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from ingestd.leads import editing, lead, statuses
from ingestd.leads.editing import Edit
from ingestd.leads.lead import Lead
from ingestd.store.engine import reading, writing
from ingestd.store.ledger import now
from ingestd.web.pages import dial
from tests.databases import ROOT
from tests.leads.conftest import Desk
from tests.pages.browsing import Served, Site, check_access, look_at, picture

AGENT = "hamburg-1"


FORM = "application/x-www-form-urlencoded"


def held(site: Served, agent: str, **fields: str) -> int:
    """A lead that the agent has on the line."""
    desk = Desk(engine=site.house.engine)
    (number,) = desk.leads(fields, campaign="DE-ENERGY", owner=f"user:{agent}")
    with writing(site.house.engine) as connection:
        editing.lock(connection, number, by=desk.owner(f"user:{agent}"), at=now())
    return number


def on_page(text: str) -> dict[str, str]:
    """The fields of the form, as a browser sends them back."""
    named = re.findall(r'<input[^>]* name="((?:field|was)\.[^"]+)"[^>]* value="([^"]*)"', text)
    return {name: html.unescape(value) for name, value in named}


def by_key(page: Page, result: str) -> None:
    """Records a result as a hand on the keyboard does."""
    page.keyboard.press(str(page.get_by_role("button", name=result).get_attribute("data-key")))
    expect(page.get_by_text(f"{result}: Enter records it.")).to_be_visible()
    page.keyboard.press("Enter")


def found(site: Served, number: int) -> Lead:
    with reading(site.house.engine) as connection:
        return lead.find(connection, number)


def test_an_agent_dials_three_leads_by_keyboard(site: Site) -> None:
    numbers = Desk(engine=site.house.engine).leads(
        {"city": "Hamburg", "first_name": "Ada", "last_name": "Berg", "priority": 9},
        {"city": "Hamburg", "priority": 8},
        {"city": "Hamburg", "priority": 7},
        campaign="DE-ENERGY",
        owner=f"user:{AGENT}",
    )
    with site.visit(AGENT) as page:
        page.goto("/dial")
        page.get_by_label("Campaign").select_option("DE-ENERGY")
        expect(page.get_by_role("button", name="Start")).to_be_visible()
        page.get_by_label("Campaign").press("Escape")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Ada Berg")
        expect(page.locator("[data-until]")).to_have_text(re.compile(r"\(1[45]:\d\d left\)"))
        check_access(page)
        picture(page, "dial-lead")
        page.get_by_label("Comment on this call").fill("speaks with her husband first")
        page.get_by_label("Call again at").fill("2099-01-01T10:00")
        page.get_by_label("Call again at").press("Escape")
        by_key(page, "Follow-up Redial")
        expect(page).to_have_url(re.compile(f"/dial/{numbers[1]}"))
        page.get_by_text("Edit what is known").click()
        page.get_by_label("City").fill("Altona")
        page.get_by_label("City").press("Escape")
        by_key(page, "Success")
        expect(page).to_have_url(re.compile(f"/dial/{numbers[2]}"))
        page.get_by_label("Stop after this one").check()
        by_key(page, "Not Interested")
        expect(page.get_by_text("You have stopped dialling")).to_be_visible()
    first, second, third = (found(site, number) for number in numbers)
    assert (first.status, first.attempts) == ("follow_up_redial", 1)
    assert (second.status, second.fields["city"]) == ("success", "Altona")
    assert third.status == "not_interested"


def test_typing_beside_a_field_ends_no_call(site: Site) -> None:
    number = held(site, "berlin-1")
    with site.visit("berlin-1") as page:
        page.goto(f"/dial/{number}?campaign=DE-ENERGY")
        page.keyboard.type("hello 9 angry man ")
        expect(page.locator(".picked")).to_have_count(1)
        page.keyboard.press("Escape")
        page.keyboard.press("Enter")
        expect(page.locator(".picked")).to_have_count(0)
        by_key(page, "Success")
        expect(page.get_by_text(f"Lead {number}: Success")).to_be_visible()
    assert (found(site, number).status, found(site, number).attempts) == ("success", 1)


@pytest.mark.parametrize("then", [{}, {"then": "stop"}])
def test_the_page_after_a_result_says_what_was_recorded(served: Served, then: dict[str, str]) -> None:
    client, number = served.client(AGENT), held(served, AGENT)
    form = {"campaign": "DE-ENERGY", "status": "unqualified", **then}
    done = client.ask("POST", f"/dial/{number}/result", urlencode(form).encode(), Content_Type=FORM)
    page = client.ask("GET", done.headers["location"]).body.decode()
    assert f"Lead {number}: <strong>Unqualified</strong>" in page
    assert f'<a href="/leads/{number}">correct it</a>' in page
    assert "Unqualified may become" in client.ask("GET", f"/leads/{number}").body.decode()


@pytest.mark.parametrize(
    ("status", "moment", "told"),
    [
        ("automatic_redial", "2020-01-01T10:00", "that is past"),
        ("manual_redial_private", "", "Manual Redial (Private) promises a call"),
    ],
)
def test_a_time_to_call_again_is_to_come(served: Served, status: str, moment: str, told: str) -> None:
    client, number = served.client(AGENT), held(served, AGENT)
    form = {"status": status, "scheduled_at": moment, "comment": "after lunch"}
    answer = client.ask("POST", f"/dial/{number}/result", urlencode(form).encode(), Content_Type=FORM)
    page = answer.body.decode()
    assert (answer.status, told in page, "after lunch" in page) == (422, True, True)
    assert found(served, number).attempts == 0


def test_whoever_begins_anew_is_told_of_the_lead_that_they_hold(served: Served) -> None:
    client, number = served.client("berlin-2"), held(served, "berlin-2")
    page = client.ask("GET", "/dial").body.decode()
    assert f"You still hold lead {number} until" in page
    again = f"/dial/{number}?campaign=DE-ENERGY&amp;segment=0"
    assert f'<a href="{again}">Go on with it</a>' in page
    assert "How did the call end?" in client.ask("GET", html.unescape(again)).body.decode()
    client.ask("POST", f"/dial/{number}/release", b"campaign=DE-ENERGY", Content_Type=FORM)
    assert "You still hold" not in client.ask("GET", "/dial").body.decode()


def test_nothing_is_said_of_a_lead_that_one_does_not_see(served: Served) -> None:
    number = held(served, "berlin-1")
    assert f"Lead {number}" not in served.client(AGENT).ask("GET", f"/dial?recorded={number}").body.decode()


def test_the_results_say_what_becomes_of_the_lead(site: Site) -> None:
    with reading(site.house.engine) as connection:
        groups = dict(dial.results(statuses.read(connection), "unprocessed"))
    again, by_hand, done = ({status.code for _, status in groups[title]} for title in dial.ENDS)
    assert again >= {"automatic_redial", "manual_redial_vip"}
    assert by_hand >= {"busy", "no_answer", "follow_up_redial"}
    assert done > {"success", "not_interested"}
    keys = [key for its in groups.values() for key, _ in its]
    assert keys == [*dial.KEYS[: len(keys)]]


@pytest.mark.slow
def test_everybody_can_use_it(site: Site) -> None:
    (number,) = Desk(engine=site.house.engine).leads({"priority": 9}, campaign="DE-ENERGY", owner="user:hamburg-2")
    look_at(site, "/dial?campaign=DE-ENERGY", "dial", login="hamburg-2")
    site.client("hamburg-2").ask(
        "POST", "/dial/next", b"campaign=DE-ENERGY", Content_Type="application/x-www-form-urlencoded"
    )
    look_at(site, f"/dial/{number}?campaign=DE-ENERGY", "dial-lead", login="hamburg-2", ready="#result")


def test_without_a_lead_it_says_why(site: Site) -> None:
    look_at(site, "/dial?campaign=DK-FIBRE&none=1", "dial-none", login="copenhagen-4", ready="#none-title")


def test_what_cannot_be_kept_is_said_and_nothing_typed_is_lost(site: Site) -> None:
    (number,) = Desk(engine=site.house.engine).leads({"priority": 9}, campaign="DE-ENERGY", owner="user:hamburg-3")
    with site.visit("hamburg-3", java_script_enabled=False) as page:
        page.goto("/dial?campaign=DE-ENERGY")
        page.get_by_role("button", name="Start").click()
        expect(page).to_have_url(re.compile(f"/dial/{number}"))
        page.get_by_label("Comment on this call").fill("a comment")
        page.get_by_text("Edit what is known").click()
        page.get_by_label("Phone", exact=True).fill("no number")
        page.get_by_role("button", name="Success").click()
        expect(page.get_by_role("alert")).to_contain_text("The result was not kept")
        expect(page.get_by_label("Comment on this call")).to_have_value("a comment")
    assert found(site, number).status == "unprocessed"


def test_what_changes_during_the_call_is_not_set_back(served: Served) -> None:
    number = held(served, AGENT, city="Lund", first_name="Anna", last_name="Berg")
    client, path = served.client(AGENT), f"/dial/{number}"
    form = on_page(client.ask("GET", f"{path}?campaign=DE-ENERGY").body.decode())
    assert (form["field.city"], form["was.city"]) == ("Lund", "Lund")
    with writing(served.house.engine) as connection:
        agent = Desk(engine=served.house.engine).owner(f"user:{AGENT}")
        wish = Edit(values={"city": "Odense", "first_name": "Eva"}, by=agent, at=now())
        editing.edit(connection, ROOT / "schemas", number, wish)
    wrong = {**form, "field.last_name": "Holm", "field.email": "none", "status": "success", "then": "stop"}
    again = client.ask("POST", f"{path}/result", urlencode(wrong).encode(), Content_Type=FORM)
    form = on_page(again.body.decode())
    assert (again.status, form["field.city"], form["was.city"], form["was.last_name"]) == (422, "Lund", "Lund", "Berg")
    mended = {**form, "field.email": "", "status": "success", "then": "stop"}
    assert client.ask("POST", f"{path}/result", urlencode(mended).encode(), Content_Type=FORM).status == 303
    here = found(served, number)
    names = [here.fields[name] for name in ("city", "first_name", "last_name", "email")]
    assert (here.status, names) == ("success", ["Odense", "Eva", "Holm", None])
